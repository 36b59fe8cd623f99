//! Persons: their ids and e-mail addresses, and how an address is resolved to a person.

use std::fmt;
use std::time::Duration;

use crate::domain::time::DAY;

/// How often a person's address, name and organization are fetched again, because each can change.
pub const CHECK_EVERY: Duration = DAY.saturating_mul(7);

/// The same if the grant's scopes do not permit that request.
pub const CHECK_AFTER_REFUSAL: Duration = DAY.saturating_mul(90);

/// Maximum number of persons looked up for one address.
pub const MAX_SAME_ADDRESS: usize = 10;

/// Webex's id of a person, as returned by `people/me`. It is the key of a grant, because e-mail addresses change and ids do
/// not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonId(String);

/// A text is not a valid person id or e-mail address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersonError {
    /// Not 1 to 256 printable ASCII characters without spaces.
    #[error("a person id has 1 to 256 printable characters and no spaces")]
    Id,
    /// Not of the form `name@host`, or longer than an address may be.
    #[error("an e-mail address has the form name@host and at most 254 characters")]
    Email,
}

impl PersonId {
    /// Accepts 1 to 256 printable ASCII characters. Webex's ids are base64, but Webex does not document this.
    ///
    /// # Errors
    /// [`PersonError::Id`] for anything else.
    pub fn parse(text: &str) -> Result<Self, PersonError> {
        let fits = (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(PersonError::Id) }
    }

    /// The id, exactly as received from Webex.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An e-mail address with its ASCII letters in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

impl Email {
    /// Accepts `name@host` without spaces and control characters, of at most 254 characters. Only ASCII letters are
    /// converted to lower case: U+212A would become `k`, and the address would be that of another person.
    ///
    /// # Errors
    /// [`PersonError::Email`] for anything else.
    pub fn parse(text: &str) -> Result<Self, PersonError> {
        let plain = text.len() <= 254 && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        match text.split_once('@') {
            Some((name, host)) if plain && !name.is_empty() && !host.is_empty() && !host.contains('@') => {
                Ok(Self(text.to_ascii_lowercase()))
            }
            _ => Err(PersonError::Email),
        }
    }

    /// The address with its ASCII letters in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a request names a person: by id or by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PersonQuery {
    /// By Webex's id.
    Id(PersonId),
    /// By e-mail address.
    Email(Email),
}

impl PersonQuery {
    /// Parses an address if the text contains an `@`, otherwise an id.
    ///
    /// # Errors
    /// [`PersonError`] describes the expected format.
    pub fn parse(text: &str) -> Result<Self, PersonError> {
        if text.contains('@') {
            Email::parse(text).map(Self::Email)
        } else {
            PersonId::parse(text).map(Self::Id)
        }
    }
}

impl fmt::Display for PersonQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Email(email) => email.fmt(f),
        }
    }
}

/// A person whose grant has the given address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressMatch {
    /// The person's id.
    pub id: PersonId,
    /// Whether Webex still renews the grant.
    pub is_alive: bool,
}

/// The result of resolving an address to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolvedPerson {
    /// No grant has this address.
    Unknown,
    /// Exactly one person.
    One(PersonId),
    /// The persons of several grants with the same address.
    Ambiguous(Vec<PersonId>),
}

impl ResolvedPerson {
    /// Resolves an address that all `namesakes` have: to the only person whose grant is active, or if there is no active
    /// grant, to the only person. So an address that was reassigned means its new owner once the old grant has ended.
    #[must_use]
    pub fn from_matches(namesakes: &[AddressMatch]) -> Self {
        let living: Vec<AddressMatch> = namesakes.iter().filter(|one| one.is_alive).cloned().collect();
        Self::only(if living.is_empty() { namesakes } else { &living })
    }

    /// Resolves to the only one of `namesakes`, whether the grant is active or not. For actions that cannot be undone.
    #[must_use]
    pub fn only(namesakes: &[AddressMatch]) -> Self {
        match namesakes {
            [] => Self::Unknown,
            [one] => Self::One(one.id.clone()),
            several => Self::Ambiguous(several.iter().map(|one| one.id.clone()).collect()),
        }
    }
}

/// A person as described by Webex. Everything but the id may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The key of the grant.
    pub id: PersonId,
    /// The first valid address.
    pub email: Option<Email>,
    /// The name that pages show.
    pub display_name: Option<String>,
    /// Webex's id of the organization.
    pub org_id: Option<String>,
}

impl Person {
    /// A person with nothing but a known id.
    #[must_use]
    pub fn known_by(id: PersonId) -> Self {
        Self { id, email: None, display_name: None, org_id: None }
    }
}

/// The address if there is one, otherwise the id.
impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.email {
            Some(email) => email.fmt(f),
            None => self.id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_bounded_and_printable() {
        assert!(PersonId::parse("Y2lzY29zcGFyazovL3VzL1BFT1BMRS8x").is_ok());
        for bad in ["", "with space", "line\nbreak", "é", &"x".repeat(257)] {
            assert_eq!(PersonId::parse(bad), Err(PersonError::Id), "{bad:?}");
        }
    }

    #[test]
    fn only_ascii_letters_of_an_address_are_lowered() {
        let kelvin = Email::parse("\u{212a}ate@Example.com").unwrap();
        assert_eq!(kelvin.as_str(), "\u{212a}ate@example.com");
        assert_ne!(kelvin, Email::parse("kate@example.com").unwrap());
        assert_eq!(Email::parse("\u{130}van@a.b").unwrap().as_str(), "\u{130}van@a.b");
    }

    #[test]
    fn an_address_resolves_to_the_only_active_grant_or_else_to_the_only_grant() {
        let of = |standings: &[bool]| {
            let namesake = |(n, is_alive): (usize, &bool)| AddressMatch { id: id(n), is_alive: *is_alive };
            standings.iter().enumerate().map(namesake).collect::<Vec<_>>()
        };
        for (standings, living, all) in [
            (&[][..], ResolvedPerson::Unknown, ResolvedPerson::Unknown),
            (&[true], ResolvedPerson::One(id(0)), ResolvedPerson::One(id(0))),
            (&[false], ResolvedPerson::One(id(0)), ResolvedPerson::One(id(0))),
            (&[true, false], ResolvedPerson::One(id(0)), both()),
            (&[false, true], ResolvedPerson::One(id(1)), both()),
            (&[true, true], both(), both()),
            (&[false, false], both(), both()),
        ] {
            assert_eq!(ResolvedPerson::from_matches(&of(standings)), living, "{standings:?}");
            assert_eq!(ResolvedPerson::only(&of(standings)), all, "{standings:?}");
        }
    }

    fn id(n: usize) -> PersonId {
        PersonId::parse(&n.to_string()).unwrap()
    }

    fn both() -> ResolvedPerson {
        ResolvedPerson::Ambiguous(vec![id(0), id(1)])
    }

    #[test]
    fn addresses_are_lowered_and_checked() {
        assert_eq!(Email::parse("Ada@Example.COM").unwrap().as_str(), "ada@example.com");
        for bad in ["", "ada", "@host", "ada@", "a@b@c", "a b@c", "a@b\n"] {
            assert_eq!(Email::parse(bad), Err(PersonError::Email), "{bad:?}");
        }
    }
}
