//! API keys: their format and their rights. The key itself is shown once; only its hash is stored.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;

/// The prefix of `wtk_ID_SECRET`. It makes a leaked key recognizable.
const PREFIX: &str = "wtk_";

/// Length of the id in characters: base64url of 6 random bytes.
const ID_LEN: usize = 8;

/// What an API key may do. `admin` includes the other rights; `read` and `refresh` are independent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// List persons and get their tokens.
    pub read: bool,
    /// Request refreshes.
    pub refresh: bool,
    /// Everything that clients of the control socket may do.
    pub admin: bool,
}

impl Rights {
    const WORDS: [&str; 3] = ["read", "refresh", "admin"];

    /// Parses names such as `read,refresh,admin`, in any order.
    ///
    /// # Errors
    /// The first name that is not a right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rights = Self::default();
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            match word {
                "read" => rights.read = true,
                "refresh" => rights.refresh = true,
                "admin" => rights.admin = true,
                other => return Err(other.to_owned()),
            }
        }
        Ok(rights)
    }

    /// The names of the granted rights.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        let has = [self.read, self.refresh, self.admin];
        Self::WORDS.into_iter().zip(has).filter(|(_, has)| *has).map(|(word, _)| word).collect()
    }

    /// Whether `right` is granted.
    #[must_use]
    pub fn allow(self, right: Right) -> bool {
        self.admin
            || match right {
                Right::Read => self.read,
                Right::Refresh => self.refresh,
                Right::Admin => false,
            }
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(","))
    }
}

/// The right that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// See [`Rights::read`].
    Read,
    /// See [`Rights::refresh`].
    Refresh,
    /// See [`Rights::admin`].
    Admin,
}

impl Right {
    /// The right's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Refresh => "refresh",
            Self::Admin => "admin",
        }
    }
}

/// The stored record of an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// The key's public part, by which the record is found.
    pub id: String,
    /// A unique name, given by the operator.
    pub name: String,
    /// SHA-256 of the whole key. The key contains 256 random bits, so no slow password hash is needed.
    pub hash: [u8; 32],
    /// The persons that the key is limited to. `None`: all persons.
    pub persons: Option<Vec<PersonId>>,
    /// What the key may do.
    pub rights: Rights,
    /// When the key was created.
    pub created_at: UnixTime,
    /// From this time on the key is rejected. `None`: the key does not expire.
    pub expires_at: Option<UnixTime>,
    /// When the key was last used, accurate to about a minute.
    pub last_used_at: Option<UnixTime>,
}

impl ApiKeyRecord {
    /// Makes a key from random bytes, and the record to store for it.
    #[must_use]
    pub fn make(
        random: &[u8; 38],
        name: String,
        rights: Rights,
        persons: Option<Vec<PersonId>>,
        now: UnixTime,
    ) -> (Secret, Self) {
        let (id, secret) = random.split_at(6);
        let id = URL_SAFE_NO_PAD.encode(id);
        let key = Secret::new(format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret)));
        let hash = key.sha256();
        (key, Self { id, name, hash, persons, rights, created_at: now, expires_at: None, last_used_at: None })
    }

    /// Whether `key` belongs to this record and has not expired. Compares in constant time.
    #[must_use]
    pub fn admits(&self, key: &Secret, now: UnixTime) -> bool {
        let same = verify_slices_are_equal(&self.hash, &key.sha256()).is_ok();
        same && self.is_alive(now)
    }

    /// Whether the key has not expired.
    #[must_use]
    pub fn is_alive(&self, now: UnixTime) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// The id in a key. `None` if the text does not have the format of a key. The secret part is not checked.
#[must_use]
pub fn id_of(key: &Secret) -> Option<&str> {
    let rest = key.expose().strip_prefix(PREFIX)?;
    let (id, secret) = rest.split_at_checked(ID_LEN)?;
    secret.starts_with('_').then_some(id)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000_000);

    fn key() -> (Secret, ApiKeyRecord) {
        let rights = Rights::parse("read").unwrap();
        ApiKeyRecord::make(&[0xfb; 38], "flow".to_owned(), rights, None, NOW)
    }

    #[test]
    fn a_record_admits_its_own_key_until_it_expires() {
        let (key, mut record) = key();
        assert_eq!(id_of(&key), Some(record.id.as_str()));
        assert!(record.admits(&key, NOW));
        assert!(!record.admits(&Secret::new(format!("{}x", key.expose())), NOW));
        record.expires_at = Some(NOW + Duration::from_secs(60));
        assert!(record.admits(&key, NOW + Duration::from_secs(59)));
        assert!(!record.admits(&key, NOW + Duration::from_secs(60)));
    }

    #[test]
    fn only_a_well_formed_key_has_an_id() {
        for text in
            ["", "wtk_", "wtk_short", "wtk_12345678", "wtk_123456789_x", "xxx_12345678_s", "wtk_1234567é_x"]
        {
            assert_eq!(id_of(&Secret::new(text.to_owned())), None, "{text}");
        }
    }

    #[test]
    fn rights_are_parsed_from_and_printed_as_names() {
        let rights = Rights::parse("refresh, read").unwrap();
        assert_eq!(rights.to_string(), "read,refresh");
        assert!(rights.allow(Right::Read) && rights.allow(Right::Refresh) && !rights.allow(Right::Admin));
        assert!(Rights::parse("admin").unwrap().allow(Right::Read));
        assert_eq!(Rights::parse("read,write").unwrap_err(), "write");
        assert!(!Rights::default().allow(Right::Read));
    }
}
