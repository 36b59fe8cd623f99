//! A string that is redacted in `Debug` output, compared in constant time and zeroed on drop.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// A token, client secret, code or verifier. `Debug` prints `[redacted]`, and there is no `Display`.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of the secret. Other copies are not zeroed; that is up to the caller.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself, for code that sends or seals it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A short identifier for the log: the first 48 bits of the secret's SHA-256. The end of a Webex token cannot serve as
    /// one, because it is the same for all persons of an organization (webex-api, "Token shape").
    #[must_use]
    pub fn fingerprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.sha256().get(..6).unwrap_or_default())
    }

    /// The secret's SHA-256, which identifies a secret of full strength without storing it.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        let digest = digest::digest(&digest::SHA256, self.0.as_bytes());
        hash.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        hash
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Takes constant time for secrets of equal length.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new("s3cr3t-value".to_owned());
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert!(!secret.fingerprint().contains("s3cr"));
    }

    #[test]
    fn tokens_with_the_same_ending_have_different_fingerprints() {
        let a = Secret::new("aaaa_PF84_org".to_owned()).fingerprint();
        let b = Secret::new("bbbb_PF84_org".to_owned()).fingerprint();
        assert_ne!(a, b);
        assert_eq!(a.len(), 8);
    }

    #[test]
    fn secrets_are_equal_when_their_text_is() {
        assert_eq!(Secret::new("a".to_owned()), Secret::new("a".to_owned()));
        assert_ne!(Secret::new("a".to_owned()), Secret::new("ab".to_owned()));
    }
}
