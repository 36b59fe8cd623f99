//! The rules of `/api/token`, which is compatible with Webex's token service sample: which requests are admitted,
//! which grants belong to the organization, and how the sample splits a token.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ipnet::IpNet;

use crate::domain::grant::Grant;
use crate::domain::secret::Secret;

/// The credentials and the source addresses that a request must have.
#[derive(Clone, Debug)]
pub struct TokenService {
    /// The organization id, as a UUID or in the base64 form of Webex's API.
    pub org_id: String,
    /// The agreed value of `X-From`. If it is the e-mail address of a person who consented, that person's token is
    /// returned.
    pub from: String,
    /// The passphrase.
    pub passphrase: Secret,
    /// The networks that requests may come from.
    pub sources: Vec<Network>,
}

/// The three credential headers of a request, unchanged.
#[derive(Clone, Copy, Default)]
pub struct PresentedCredentials<'a> {
    /// `X-Organization-Id`
    pub org_id: &'a [u8],
    /// `X-From`
    pub from: &'a [u8],
    /// `X-Api-Phrase`
    pub phrase: &'a [u8],
}

/// The checks that a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one flag for each of four independent checks")]
pub struct CredentialError {
    org_id: bool,
    from: bool,
    phrase: bool,
    source: bool,
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.org_id, "X-Organization-Id is not ORG_ID"),
            (self.from, "X-From is not FROM"),
            (self.phrase, "X-Api-Phrase is not PASSPHRASE"),
            (self.source, "the address is not in SOURCE_IP"),
        ];
        let failed: Vec<&str> = all.into_iter().filter(|(wrong, _)| *wrong).map(|(_, text)| text).collect();
        f.write_str(&failed.join(", "))
    }
}

/// An IP network: a single address, or all addresses with the same prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl TokenService {
    /// Admits a request with the right headers from a permitted address. All checks always run, so the time taken does
    /// not reveal which of them failed.
    ///
    /// # Errors
    /// The failed checks: for the log, never for the caller.
    pub fn admit(&self, shown: PresentedCredentials<'_>, from: IpAddr) -> Result<(), CredentialError> {
        let wrong = CredentialError {
            org_id: !same(shown.org_id, &self.org_id),
            from: !same(shown.from, &self.from),
            phrase: !same(shown.phrase, self.passphrase.expose()),
            source: !self.sources.iter().any(|network| network.holds(from)),
        };
        if wrong.org_id | wrong.from | wrong.phrase | wrong.source { Err(wrong) } else { Ok(()) }
    }

    /// Whether the grant belongs to a person of the organization.
    #[must_use]
    pub fn is_for(&self, grant: &Grant) -> bool {
        let wanted = organization_uuid(&self.org_id);
        let theirs = grant.person.org_id.as_deref().map(organization_uuid);
        let tail = tail(grant.tokens.access_token.expose()).map(|(_, org)| org);
        theirs.is_some_and(|theirs| theirs.eq_ignore_ascii_case(&wanted))
            || tail.is_some_and(|org| org.eq_ignore_ascii_case(&wanted))
    }
}

/// Compares hashes of equal length in constant time, so that timing does not even reveal the expected length.
fn same(shown: &[u8], right: &str) -> bool {
    let (shown, right) = (digest(&SHA256, shown), digest(&SHA256, right.as_bytes()));
    verify_slices_are_equal(shown.as_ref(), right.as_ref()).is_ok()
}

/// The UUID inside `base64(ciscospark://us/ORGANIZATION/UUID)`. Any other text is returned unchanged.
pub(crate) fn organization_uuid(text: &str) -> String {
    let plain = STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok();
    let plain = plain.and_then(|bytes| String::from_utf8(bytes).ok());
    let uuid = plain.as_deref().and_then(|uri| {
        let (_, uuid) = uri.strip_prefix("ciscospark://")?.split_once("/ORGANIZATION/")?;
        Some(uuid.to_owned())
    });
    uuid.unwrap_or_else(|| text.to_owned())
}

/// The cluster and the organization in an opaque token such as `…_PF84_UUID`. `None` for other formats.
#[must_use]
pub fn tail(token: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = token.split('_').collect();
    match parts.as_slice() {
        [_, cluster, org] if !cluster.is_empty() && !org.is_empty() => Some((cluster, org)),
        _ => None,
    }
}

impl Network {
    /// Parses `192.0.2.7`, `192.0.2.0/24` or `2001:db8::/32`. An IPv4-mapped IPv6 address is treated as the IPv4
    /// address. Returns `None` for anything else, and if bits after the prefix are set, because then either the address
    /// or the prefix is a mistake.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
        let mapped = match net.addr() {
            IpAddr::V6(ip) => ip.to_ipv4_mapped(),
            IpAddr::V4(_) => None,
        };
        let net = match mapped {
            Some(ip) => IpNet::new(ip.into(), net.prefix_len().checked_sub(96)?).ok()?,
            None => net,
        };
        (net.addr() == net.network()).then_some(Self(net))
    }

    /// Whether the network contains `address`.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        for (network, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7", "::ffff:192.0.2.7", "::192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7", "::1"),
            ("::ffff:192.0.2.0/120", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("0.0.0.0/0", "255.1.2.3", "2001:db8::1"),
            ("10.0.0.0/9", "10.127.0.1", "10.128.0.1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("::/0", "2001:db8::1", "192.0.2.7"),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(network.holds(ip(inside)), "{network:?} {inside}");
            assert!(!network.holds(ip(outside)), "{network:?} {outside}");
        }
        for bad in ["", "localhost", "192.0.2.1/24", "192.0.2.0/33", "::/129", "1.2.3.4/", "1.2.3.4/+8", "/8"]
        {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn all_spellings_of_an_organization_id_yield_the_same_uuid() {
        let uuid = "1eb65fdf-9643-417f-9974-ad72cae0e10f";
        let plain = format!("ciscospark://us/ORGANIZATION/{uuid}");
        let padded = base64::engine::general_purpose::STANDARD.encode(&plain);
        for text in [uuid, &STANDARD_NO_PAD.encode(&plain), &padded] {
            assert_eq!(organization_uuid(text), uuid);
        }
        for other in ["", "x", "Y2lzY28", "ciscospark://us/ORGANIZATION/x"] {
            assert_eq!(organization_uuid(other), other);
        }
    }

    #[test]
    fn only_a_token_of_three_parts_has_a_cluster_and_an_organization() {
        assert_eq!(tail("abc_PF84_org"), Some(("PF84", "org")));
        for token in ["abc", "abc_PF84", "a_b_c_d", "abc__org", "abc_PF84_", ""] {
            assert_eq!(tail(token), None, "{token}");
        }
    }

    #[test]
    fn a_request_is_admitted_only_with_the_right_headers_and_address() {
        let service = TokenService {
            org_id: "org".to_owned(),
            from: "ada".to_owned(),
            passphrase: Secret::new("phrase".to_owned()),
            sources: vec![Network::parse("127.0.0.1").unwrap()],
        };
        let right = PresentedCredentials { org_id: b"org", from: b"ada", phrase: b"phrase" };
        let judged = |shown, from| service.admit(shown, ip(from)).map_err(|wrong| wrong.to_string());
        assert_eq!(judged(right, "127.0.0.1"), Ok(()));
        assert_eq!(judged(right, "127.0.0.2").unwrap_err(), "the address is not in SOURCE_IP");
        for (shown, wrong) in [
            (PresentedCredentials { org_id: b"", ..right }, "X-Organization-Id is not ORG_ID"),
            (PresentedCredentials { from: b"Ada", ..right }, "X-From is not FROM"),
            (PresentedCredentials { phrase: b"phrasE", ..right }, "X-Api-Phrase is not PASSPHRASE"),
            (PresentedCredentials { phrase: b"phrase ", ..right }, "X-Api-Phrase is not PASSPHRASE"),
            (
                PresentedCredentials::default(),
                "X-Organization-Id is not ORG_ID, X-From is not FROM, X-Api-Phrase is not PASSPHRASE",
            ),
        ] {
            assert_eq!(judged(shown, "127.0.0.1").unwrap_err(), wrong);
        }
    }
}
