//! Seals tokens with AES-256-GCM-SIV and a random nonce, bound to the place where the sealed text is stored. Columns that
//! stay readable but must not be changed by another program get a MAC (HMAC-SHA256).
//!
//! A store of a million grants that are refreshed daily seals about 2^29 texts a year. That is close to the safe number of
//! random nonces for plain GCM, and far below that of GCM-SIV.

use aws_lc_rs::aead::AES_256_GCM_SIV;
use aws_lc_rs::aead::Aad;
use aws_lc_rs::aead::NONCE_LEN;
use aws_lc_rs::aead::Nonce;
use aws_lc_rs::aead::RandomizedNonceKey;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use aws_lc_rs::hkdf;
use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::domain::secret::Secret;

/// Length of a store key in bytes.
pub const KEY_LEN: usize = 32;

const FORMAT: u8 = 1;
const KEY_ID_LEN: usize = 8;

/// Label for deriving the MAC key from the store key, so that the two uses have independent keys.
const MAC_KEY_LABEL: &[u8] = b"webex-tokend row mac 1";
const HEAD_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;

/// Seals and opens texts with one key. A sealed text starts with a format byte and the id of the key, so that texts of
/// several keys can be told apart.
pub struct Sealer {
    key: RandomizedNonceKey,
    mac_key: hmac::Key,
    key_id: [u8; KEY_ID_LEN],
}

/// The text was not sealed with this key for this place, or has been changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("does not open with this key")]
pub struct SealError;

impl Sealer {
    /// Creates a sealer with this key.
    ///
    /// # Errors
    /// [`SealError`] if the library refuses the key.
    pub fn new(key: &[u8; KEY_LEN]) -> Result<Self, SealError> {
        let hash = digest::digest(&digest::SHA256, key);
        let mut key_id = [0; KEY_ID_LEN];
        key_id.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        let sealing_key = RandomizedNonceKey::new(&AES_256_GCM_SIV, key).map_err(|_| SealError)?;
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(key);
        let mac_key = extracted.expand(&[MAC_KEY_LABEL], hmac::HMAC_SHA256).map_err(|_| SealError)?.into();
        Ok(Self { key: sealing_key, mac_key, key_id })
    }

    /// Creates a sealer with a random key that is not stored.
    ///
    /// # Errors
    /// [`SealError`] if the system provides no random bytes.
    pub fn ephemeral() -> Result<Self, SealError> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        rand::fill(key.as_mut()).map_err(|_| SealError)?;
        Self::new(&key)
    }

    /// Seals `secret` for `place`. [`Sealer::open`] opens it only with the same place.
    ///
    /// # Errors
    /// [`SealError`] if the system provides no random bytes.
    pub fn seal(&self, secret: &Secret, place: &str) -> Result<Vec<u8>, SealError> {
        let mut text = secret.expose().as_bytes().to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(place), &mut text).map_err(|_| SealError)?;
        let mut sealed = Vec::with_capacity(HEAD_LEN + text.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.key_id);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// Opens a text that was sealed for `place`.
    ///
    /// # Errors
    /// [`SealError`] if it was sealed with another key or for another place, or has been changed.
    pub fn open(&self, sealed: &[u8], place: &str) -> Result<Secret, SealError> {
        let (head, text) = sealed.split_at_checked(HEAD_LEN).ok_or(SealError)?;
        let (lead, nonce) = head.split_at_checked(1 + KEY_ID_LEN).ok_or(SealError)?;
        if lead.split_first() != Some((&FORMAT, &self.key_id[..])) {
            return Err(SealError);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
        let mut text = Zeroizing::new(text.to_vec());
        let opened = self.key.open_in_place(nonce, Aad::from(place), &mut text).map_err(|_| SealError)?;
        let opened = std::str::from_utf8(opened).map_err(|_| SealError)?;
        Ok(Secret::new(opened.to_owned()))
    }

    /// The MAC of the columns of one row, in this order. `kind` separates the rows of different tables; `None` is a column
    /// without a value. Like a sealed text, it starts with a format byte and the id of the key.
    #[must_use]
    pub fn mac(&self, kind: &str, columns: &[Option<&[u8]>]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.mac_key);
        for column in std::iter::once(&Some(kind.as_bytes())).chain(columns) {
            // Each part is preceded by its length, so that different rows never give the same bytes.
            context.update(&[u8::from(column.is_some())]);
            context.update(&column.map_or(0, <[u8]>::len).to_be_bytes());
            context.update(column.unwrap_or_default());
        }
        let tag = context.sign();
        let mut mac = Vec::with_capacity(1 + KEY_ID_LEN + tag.as_ref().len());
        mac.push(FORMAT);
        mac.extend_from_slice(&self.key_id);
        mac.extend_from_slice(tag.as_ref());
        mac
    }

    /// Checks in constant time that `mac` is the MAC of these columns.
    ///
    /// # Errors
    /// [`SealError`] if the key, the kind or a column differs.
    pub fn verify(&self, mac: &[u8], kind: &str, columns: &[Option<&[u8]>]) -> Result<(), SealError> {
        verify_slices_are_equal(mac, &self.mac(kind, columns)).map_err(|_| SealError)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::new("a token".to_owned())
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let sealed = sealer.seal(&secret(), "ada access_token").unwrap();
        assert_eq!(sealer.open(&sealed, "ada access_token").unwrap(), secret());
        assert_eq!(sealer.open(&sealed, "eve access_token").unwrap_err(), SealError);
        assert!(!sealed.windows(7).any(|w| w == b"a token"));
    }

    #[test]
    fn another_key_or_any_changed_bit_does_not_open() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let sealed = sealer.seal(&secret(), "place").unwrap();
        assert!(Sealer::new(&[8; 32]).unwrap().open(&sealed, "place").is_err());
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.open(&changed, "place").is_err(), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert!(sealer.open(&sealed[..len], "place").is_err(), "cut at {len}");
        }
    }

    #[test]
    fn a_mac_fits_its_key_its_kind_and_its_columns_only() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let columns: [Option<&[u8]>; 3] = [Some(b"ada"), None, Some(b"x")];
        let mac = sealer.mac("grants", &columns);
        assert_eq!(sealer.verify(&mac, "grants", &columns), Ok(()));
        assert_eq!(Sealer::new(&[8; 32]).unwrap().verify(&mac, "grants", &columns), Err(SealError));
        assert_eq!(sealer.verify(&mac, "keys", &columns), Err(SealError));
        let others: [&[Option<&[u8]>]; 6] = [
            &[Some(b"ada"), Some(b""), Some(b"x")],
            &[Some(b"adax"), None, Some(b"")],
            &[Some(b"ada"), None, None],
            &[None, Some(b"ada"), Some(b"x")],
            &[Some(b"ada"), None],
            &[Some(b"ada"), None, Some(b"x"), None],
        ];
        for other in others {
            assert_eq!(sealer.verify(&mac, "grants", other), Err(SealError), "{other:?}");
        }
        for bit in 0..mac.len() * 8 {
            let mut changed = mac.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.verify(&changed, "grants", &columns).is_err(), "bit {bit}");
        }
        assert!(sealer.verify(&[], "grants", &columns).is_err());
    }

    #[test]
    fn one_text_never_seals_the_same_way_twice() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        assert_ne!(sealer.seal(&secret(), "p").unwrap(), sealer.seal(&secret(), "p").unwrap());
    }
}
