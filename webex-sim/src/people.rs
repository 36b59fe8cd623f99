//! The people of the simulated organization.

use aws_lc_rs::digest::{SHA256, digest};
use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine as _};

/// A person who can consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The `id` of `/people/me`: unpadded base64 of `ciscospark://us/PEOPLE/<uuid>`.
    pub id: String,
    /// The `orgId` of `/people/me`, made alike.
    pub org_id: String,
    /// The UUID inside `id`; `sub` of `/userinfo`.
    pub uuid: String,
    /// The UUID inside `org_id`; the tail of an opaque token.
    pub org_uuid: String,
    /// The first entry of `emails`; may be empty, then `emails` is an empty list.
    pub email: String,
    /// Full name.
    pub display_name: String,
    /// The `type` of `/people/me`: `person`, `bot` or `appuser`.
    pub kind: &'static str,
}

const NAMES: [(&str, &str); 6] = [
    ("Ada Lovelace", "ada"),
    ("Grace Hopper", "grace"),
    ("Katherine Johnson", "katherine"),
    ("Mary Jackson", "mary"),
    ("Dorothy Vaughan", "dorothy"),
    ("Hedy Lamarr", "hedy"),
];

const ORG_UUID: &str = "1eb65fdf-9643-417f-9974-ad72cae0e10f";

impl Person {
    /// A person with this name and address. The ids are derived from the address.
    #[must_use]
    pub fn new(display_name: &str, email: &str) -> Self {
        let uuid = uuid_of(digest(&SHA256, email.as_bytes()).as_ref());
        Self {
            id: BASE64_STANDARD_NO_PAD.encode(format!("ciscospark://us/PEOPLE/{uuid}")),
            org_id: BASE64_STANDARD_NO_PAD.encode(format!("ciscospark://us/ORGANIZATION/{ORG_UUID}")),
            uuid,
            org_uuid: ORG_UUID.to_owned(),
            email: email.to_owned(),
            display_name: display_name.to_owned(),
            kind: "person",
        }
    }

    /// The person at this index of the default list, which has no end: Ada, Grace, Katherine, … Person 6, …
    #[must_use]
    pub fn numbered(index: usize) -> Self {
        NAMES.get(index).map_or_else(
            || Self::new(&format!("Person {index}"), &format!("person{index}@example.com")),
            |(name, mail)| Self::new(name, &format!("{mail}@example.com")),
        )
    }

    /// The first `count` people of the default list.
    #[must_use]
    pub fn some(count: usize) -> Vec<Self> {
        (0..count).map(Self::numbered).collect()
    }

    pub(crate) fn first_name(&self) -> &str {
        self.display_name.split(' ').next().unwrap_or_default()
    }

    pub(crate) fn last_name(&self) -> &str {
        self.display_name.split_once(' ').map_or("", |(_, last)| last)
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A random-looking (version 4) UUID made of the first 16 bytes.
pub(crate) fn uuid_of(bytes: &[u8]) -> String {
    let digits = hex(bytes.get(..16).unwrap_or_default());
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or("0");
    format!("{}-{}-4{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hold_the_uuid_and_have_no_padding() {
        let ada = Person::numbered(0);
        let plain = BASE64_STANDARD_NO_PAD.decode(&ada.id).unwrap();
        assert_eq!(String::from_utf8(plain).unwrap(), format!("ciscospark://us/PEOPLE/{}", ada.uuid));
        assert_eq!(ada.uuid.len(), 36);
        assert!(!ada.id.contains('='));
        assert_eq!((ada.first_name(), ada.last_name()), ("Ada", "Lovelace"));
    }
}
