//! The list of persons who may consent: by e-mail address, by its domain, or by organization.

use std::collections::BTreeSet;

use crate::domain::host::is_host;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::token_service::organization_uuid;

/// The persons who may consent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    emails: BTreeSet<Email>,
    domains: BTreeSet<String>,
    organizations: BTreeSet<String>,
}

/// The expected format of the list, for error messages.
pub const EXPECTED: &str = "e-mail addresses, @domains or organization ids (as Control Hub or Webex's API shows them), \
                            separated by commas, such as ada@example.com,@example.org";

impl AllowList {
    /// Parses a list of items separated by commas or white space.
    ///
    /// # Errors
    /// All invalid items.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let (mut allow, mut wrong) = (Self::default(), Vec::new());
        let separates = |c: char| c == ',' || c.is_whitespace();
        for item in text.split(separates).filter(|item| !item.is_empty()) {
            if allow.add(item).is_none() {
                wrong.push(item.to_owned());
            }
        }
        if wrong.is_empty() { Ok(allow) } else { Err(wrong) }
    }

    /// Whether the list has no items. Such a list admits no person.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.emails.is_empty() && self.domains.is_empty() && self.organizations.is_empty()
    }

    /// Whether `person` may consent. A domain does not include its subdomains.
    #[must_use]
    pub fn admits(&self, person: &Person) -> bool {
        let domain = person.email.as_ref().and_then(|email| email.as_str().split_once('@'));
        person.email.as_ref().is_some_and(|email| self.emails.contains(email))
            || domain.is_some_and(|(_, domain)| self.domains.contains(domain))
            || person.org_id.as_deref().is_some_and(|id| self.organizations.contains(&organization(id)))
    }

    fn add(&mut self, item: &str) -> Option<()> {
        match item.split_once('@') {
            Some(("", domain)) => self.domains.insert(of_domain(domain)?),
            Some(_) => self.emails.insert(Email::parse(item).ok()?),
            None => self.organizations.insert(Some(organization(item)).filter(|id| is_uuid(id))?),
        };
        Some(())
    }
}

fn of_domain(text: &str) -> Option<String> {
    is_host(text).then(|| text.to_ascii_lowercase())
}

/// The UUID of an organization in lower case, from any of its spellings.
fn organization(id: &str) -> String {
    organization_uuid(id).to_ascii_lowercase()
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::person::PersonId;

    const UUID: &str = "1eb65fdf-9643-417f-9974-ad72cae0e10f";
    /// `ciscospark://us/ORGANIZATION/` and the same UUID.
    const ENCODED: &str =
        "Y2lzY29zcGFyazovL3VzL09SR0FOSVpBVElPTi8xZWI2NWZkZi05NjQzLTQxN2YtOTk3NC1hZDcyY2FlMGUxMGY";

    fn person(email: &str, org_id: Option<&str>) -> Person {
        Person {
            email: Email::parse(email).ok(),
            org_id: org_id.map(str::to_owned),
            ..Person::known_by(PersonId::parse("someone").unwrap())
        }
    }

    #[test]
    fn each_kind_of_item_allows_its_own_persons_and_no_others() {
        let cases = [
            ("ada@example.com", "ada@example.com", None, true),
            ("Ada@Example.COM", "ada@example.com", None, true),
            ("ada@example.com", "grace@example.com", None, false),
            ("@example.com", "grace@example.com", None, true),
            ("@Example.COM", "grace@example.com", None, true),
            ("@example.com", "grace@sub.example.com", None, false),
            ("@example.com", "grace@notexample.com", None, false),
            ("@example.com", "grace@example.com.evil.example", None, false),
            ("@example.com", "", None, false),
            (UUID, "eve@elsewhere.example", Some(ENCODED), true),
            (ENCODED, "eve@elsewhere.example", Some(ENCODED), true),
            (&UUID.to_uppercase(), "eve@elsewhere.example", Some(ENCODED), true),
            (UUID, "eve@elsewhere.example", None, false),
            (UUID, "eve@elsewhere.example", Some("another"), false),
            ("b@b.example, @c.example ,ada@example.com", "x@c.example", None, true),
        ];
        for (list, email, org_id, allowed) in cases {
            let allow = AllowList::parse(list).unwrap();
            assert_eq!(allow.admits(&person(email, org_id)), allowed, "{list}: {email} {org_id:?}");
        }
    }

    #[test]
    fn all_invalid_items_are_reported() {
        let list = "ada@example.com,example.com,@,@a b,@-,@ex/ample,a@b@c,*,1eb65fdf,@example.org";
        let wrong = AllowList::parse(list).unwrap_err();
        assert_eq!(wrong, ["example.com", "@", "b", "@ex/ample", "a@b@c", "*", "1eb65fdf"]);
        assert!(AllowList::parse(" , ").unwrap().is_empty());
    }
}
