//! Tokens, codes and ids as text: functions of the seed and of how many were made before.

use aws_lc_rs::digest::{SHA256, digest};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};

use crate::people::{Person, hex, uuid_of};
use crate::settings::Settings;

/// Makes the strings, each only once.
#[derive(Debug)]
pub(super) struct Strings {
    seed: u64,
    made: u64,
    tracked: u64,
}

impl Strings {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, made: 0, tracked: 0 }
    }

    fn noise(&mut self) -> [u8; 32] {
        self.made += 1;
        let mut input = [0_u8; 16];
        let (seed, count) = input.split_at_mut(8);
        seed.copy_from_slice(&self.seed.to_be_bytes());
        count.copy_from_slice(&self.made.to_be_bytes());
        let mut noise = [0_u8; 32];
        noise.copy_from_slice(digest(&SHA256, &input).as_ref());
        noise
    }

    /// `base64("<uuid><8 hex>-<3 hex>")`, `_`, cluster, `_`, organization: tokens and codes alike.
    pub(super) fn opaque(&mut self, cluster: &str, person: &Person) -> String {
        let noise = self.noise();
        let tail = hex(noise.get(16..22).unwrap_or_default());
        let (eight, rest) = tail.split_at(8);
        let plain = format!("{}{eight}-{}", uuid_of(&noise), rest.get(..3).unwrap_or_default());
        format!("{}_{cluster}_{}", BASE64_STANDARD.encode(plain), person.org_uuid)
    }

    /// A self-contained token of more than 2 kB. Its signature is random and cannot be verified.
    pub(super) fn jwt(&mut self, settings: &Settings, person: &Person, expires_ms: i64) -> String {
        let noise = self.noise();
        let claims = serde_json::json!({
            "cluster": settings.cluster,
            "private": hex(&noise).repeat(24),
            "reference_id": uuid_of(&noise),
            "iss": "https://idbroker.webex.com/idb",
            "token_type": "Bearer",
            "client_id": settings.client_id,
            "user_type": "user",
            "expiry_time": expires_ms,
            "realm": person.org_uuid,
            "cis_uuid": person.uuid,
        });
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let head = encode(br#"{"alg":"RS256","typ":"JWT"}"#);
        format!(
            "{head}.{}.{}",
            encode(claims.to_string().as_bytes()),
            encode(hex(&noise).repeat(5).as_bytes())
        )
    }

    pub(super) fn uuid(&mut self) -> String {
        uuid_of(&self.noise())
    }

    /// Lower-case hex, 64 characters.
    pub(super) fn hash(&mut self) -> String {
        hex(&self.noise())
    }

    /// Six digits.
    pub(super) fn six_digits(&mut self) -> String {
        let number = self.noise().iter().take(4).fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
        format!("{:06}", number % 1_000_000)
    }

    /// Names one answer; no secret, so a cheap mix will do.
    pub(super) fn tracking_id(&mut self) -> String {
        self.tracked += 1;
        let mix = (self.seed ^ self.tracked).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        format!("ROUTER_{:016x}{:08x}", mix ^ (mix >> 29), self.tracked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opaque_token_has_webex_s_length_and_ends_in_the_organization() {
        let ada = Person::numbered(0);
        let token = Strings::new(0).opaque("PF84", &ada);
        assert_eq!(token.len(), 106);
        assert_eq!(token.split('_').collect::<Vec<_>>()[1..], ["PF84", ada.org_uuid.as_str()]);
    }

    #[test]
    fn a_jwt_is_longer_than_two_kilobytes() {
        let token = Strings::new(0).jwt(&Settings::default(), &Person::numbered(0), 1);
        assert!(token.starts_with("eyJ") && token.len() > 2048, "{}", token.len());
    }
}
