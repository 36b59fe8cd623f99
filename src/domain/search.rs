//! Search for persons by the start of their address or of any word of their name.

use crate::domain::person::Person;

/// Maximum length of a search text, in characters.
pub const MAX_LEN: usize = 128;

/// Maximum number of indexed words per name. Real names have fewer, and a hostile name must not fill the store.
const MAX_WORDS: usize = 6;

/// A search text: a case-insensitive prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search(String);

impl Search {
    /// Normalizes `text`. Returns `None` if nothing visible remains.
    ///
    /// # Errors
    /// [`TooLong`] for more than [`MAX_LEN`] characters.
    pub fn parse(text: &str) -> Result<Option<Self>, TooLong> {
        let folded = folded(text);
        match folded.chars().count() {
            0 => Ok(None),
            1..=MAX_LEN => Ok(Some(Self(folded))),
            _ => Err(TooLong),
        }
    }

    /// The normalized text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The alphabetically first indexed text of `person` that starts with this search text.
    #[must_use]
    pub fn finds(&self, person: &Person) -> Option<String> {
        texts(person).into_iter().filter(|text| text.starts_with(&self.0)).min()
    }
}

/// The search text is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a search has at most {MAX_LEN} characters")]
pub struct TooLong;

/// The indexed texts of a person: the address, and for each word of the name the rest of the name from that word on.
#[must_use]
pub fn texts(person: &Person) -> Vec<String> {
    let address = person.email.as_ref().map(|email| cut(&folded(email.as_str())).to_owned());
    let name = person.display_name.as_deref().map(folded).unwrap_or_default();
    let mut texts: Vec<String> = address.into_iter().collect();
    let mut inside = false;
    let starts = name.char_indices().filter(|(_, c)| {
        let starts = c.is_alphanumeric() && !inside;
        inside = c.is_alphanumeric();
        starts
    });
    let tails = starts.take(MAX_WORDS).filter_map(|(at, _)| name.get(at..));
    texts.extend(tails.map(|tail| cut(tail).to_owned()));
    texts.sort();
    texts.dedup();
    texts
}

/// Converts a text to lower case and replaces each run of white space and control characters with one space.
fn folded(text: &str) -> String {
    // Limit the work first: names come from outside.
    let plain = text.chars().take(4 * MAX_LEN).map(|c| if c.is_control() { ' ' } else { c });
    // Each letter is converted alone, so that a prefix of a word becomes a prefix of the converted word.
    let plain: String = plain.flat_map(lowered).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Converts a letter to lower case, unless that would turn a non-ASCII letter into an ASCII one: `kate` must not find
/// U+212A followed by `ate`.
fn lowered(letter: char) -> impl Iterator<Item = char> {
    let stays = !letter.is_ascii() && letter.to_lowercase().any(|low| low.is_ascii());
    let low = (!stays).then(|| letter.to_lowercase());
    low.into_iter().flatten().chain(stays.then_some(letter))
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(MAX_LEN).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::person::Email;
    use crate::domain::person::PersonId;

    fn called(name: &str) -> Person {
        let id = PersonId::parse("id").unwrap();
        let email = Email::parse("a.b.lovelace@Example.com").unwrap();
        Person { email: Some(email), display_name: Some(name.to_owned()), ..Person::known_by(id) }
    }

    fn finds(text: &str, name: &str) -> bool {
        Search::parse(text).unwrap().unwrap().finds(&called(name)).is_some()
    }

    #[test]
    fn a_person_is_found_by_the_start_of_the_address_or_of_any_word_of_the_name() {
        let name = "Ada (Countess)  LOVELACE-Byron";
        for text in ["a.b", "A.B.Love", "ada", " ADA  (c", "countess", "love", "byron", "lovelace-b"] {
            assert!(finds(text, name), "{text}");
        }
        for text in ["da", "example", "ount", "%", "_da", "ada%", "id"] {
            assert!(!finds(text, name), "{text}");
        }
        assert!(finds("ΟΔΟΣ", "Οδοσα"), "no special case for the last letter of a word");
        assert!(finds("ÉMIL", "émilie du Châtelet") && finds("châ", "Émilie Du CHÂTELET"));
    }

    #[test]
    fn an_ascii_letter_does_not_match_a_non_ascii_letter() {
        let kelvin = "\u{212a}ate";
        assert!(!finds("kate", kelvin) && !finds("k", kelvin));
        assert!(finds(kelvin, kelvin) && finds("\u{130}b", "\u{130}brahim"));
        let email = Email::parse("\u{212a}im@example.com").unwrap();
        let person = Person { email: Some(email), ..Person::known_by(PersonId::parse("id").unwrap()) };
        let found = |text: &str| Search::parse(text).unwrap().unwrap().finds(&person).is_some();
        assert!(found("\u{212a}im@") && !found("kim@"));
    }

    #[test]
    fn an_empty_search_is_none_and_a_long_one_is_rejected() {
        assert_eq!(Search::parse(" \t\n\0"), Ok(None));
        assert!(Search::parse(&"x".repeat(MAX_LEN)).is_ok());
        assert_eq!(Search::parse(&"é".repeat(MAX_LEN + 1)), Err(TooLong));
    }

    #[test]
    fn a_long_name_yields_few_and_short_texts() {
        let long = called(&"word ".repeat(100_000));
        let texts = texts(&long);
        assert!(texts.len() <= MAX_WORDS + 1);
        assert!(texts.iter().all(|text| text.chars().count() <= MAX_LEN));
        let unbroken = "x".repeat(MAX_LEN);
        assert!(finds(&unbroken, &"X".repeat(5000)), "a long name is found by its start");
    }
}
