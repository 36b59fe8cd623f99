//! A string that must not be seen: not printed, not logged, not compared in variable time, wiped on drop.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// A token, a client secret, a code, a verifier. `Debug` prints `[redacted]`; there is no `Display`.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the secret over; the caller's own copies are the caller's to wipe.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself, for the one who must send or seal it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A short name for the log: the first 48 bits of the SHA-256 of the whole. The end of a Webex token would
    /// not do: it is the same for everybody in an organization (webex-api, "Token shape").
    #[must_use]
    pub fn fingerprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.sha256().get(..6).unwrap_or_default())
    }

    /// The SHA-256 of the whole, by which a secret of full strength is recognised without being kept.
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

/// Constant in time for secrets of one length.
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
    fn fingerprints_tell_tokens_with_one_tail_apart() {
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
