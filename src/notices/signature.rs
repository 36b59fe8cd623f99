//! Signatures of Standard Webhooks (version 1.0.0): HMAC-SHA256 over the id, the time and the body of a message.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::secret::Secret;

/// The prefix of every symmetric secret.
const PREFIX: &str = "whsec_";

/// The lengths of keys that the specification allows, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// One key, or two while the operator changes it. A receiver accepts a message if either key signed it.
#[derive(Clone)]
pub struct SigningKeys(Vec<hmac::Key>);

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKeys({})", self.0.len())
    }
}

impl SigningKeys {
    /// Parses one or two secrets of the form `whsec_` and base64, separated by a space. `None` for any other text.
    #[must_use]
    pub fn parse(text: &Secret) -> Option<Self> {
        let keys = text.expose().split(' ').filter(|word| !word.is_empty()).map(|word| {
            let bytes = STANDARD.decode(word.strip_prefix(PREFIX)?).ok()?;
            LENGTHS.contains(&bytes.len()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
        });
        let keys = keys.collect::<Option<Vec<_>>>()?;
        (1..=2).contains(&keys.len()).then_some(Self(keys))
    }

    /// The value of `webhook-signature`: one signature for each key.
    #[must_use]
    pub fn sign(&self, id: &str, seconds: i64, body: &str) -> String {
        let content = format!("{id}.{seconds}.{body}");
        let sign = |key: &hmac::Key| format!("v1,{}", STANDARD.encode(hmac::sign(key, content.as_bytes())));
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Option<SigningKeys> {
        SigningKeys::parse(&Secret::new(text.to_owned()))
    }

    /// The example of the specification's reference implementations.
    #[test]
    fn the_published_example_is_signed_as_published() {
        let key = keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_keys_sign_beside_each_other() {
        let (old, new) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_plJ3nmyCDGBKInavdOK15jsl+abcdefg");
        let both = keys(&format!("{old} {new}")).unwrap().sign("evt_1", 1, "{}");
        let one = |text| keys(text).unwrap().sign("evt_1", 1, "{}");
        assert_eq!(both, format!("{} {}", one(old), one(new)));
    }

    #[test]
    fn only_keys_of_the_right_form_and_length_are_taken() {
        for text in [
            "",
            "whsec_",
            "whsec_c2hvcnQ=",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw nonsense",
        ] {
            assert!(keys(text).is_none(), "{text}");
        }
        let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert!(keys(&format!("{key} {key} {key}")).is_none());
    }
}
