//! Reads names and validity from a certificate, for messages to the operator. Clients validate the
//! certificate.

use std::net::IpAddr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const DNS_NAME: u8 = 0x82;
const ADDRESS: u8 = 0x87;

/// `subjectAltName`, with its tag and length.
const ALTERNATIVE_NAMES: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x11];

/// Names and validity of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The DNS names and IP addresses for which it is valid.
    pub names: Vec<String>,
    /// The start of its validity, in Unix seconds.
    pub begins: i64,
    /// The end of its validity, in Unix seconds.
    pub ends: i64,
}

/// Parses a certificate in DER (RFC 5280, 4.1). `None` if it is invalid.
#[must_use]
pub fn read(der: &[u8]) -> Option<CertificateFacts> {
    let (certificate, _) = expect(SEQUENCE, der)?;
    let (mut rest, _) = expect(SEQUENCE, certificate)?;
    if let Some((_, behind)) = expect(VERSION, rest) {
        rest = behind;
    }
    // Skips serial number, signature algorithm and issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (validity, mut rest) = expect(SEQUENCE, rest)?;
    let (begins, behind) = time(validity)?;
    let (ends, _) = time(behind)?;
    let mut names = Vec::new();
    while let Some((tag, body, behind)) = element(rest) {
        if tag == EXTENSIONS {
            names = alternative_names(body).unwrap_or_default();
        }
        rest = behind;
    }
    Some(CertificateFacts { names, begins, ends })
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let (mut rest, _) = expect(SEQUENCE, extensions)?;
    while let Some((extension, behind)) = expect(SEQUENCE, rest) {
        if let Some(value) = extension.strip_prefix(&ALTERNATIVE_NAMES) {
            return names(value);
        }
        rest = behind;
    }
    None
}

/// Skips the flag that marks the extension as critical, which may precede the value.
fn names(mut value: &[u8]) -> Option<Vec<String>> {
    let list = loop {
        let (tag, body, behind) = element(value)?;
        if tag == OCTETS {
            break body;
        }
        value = behind;
    };
    let (mut rest, _) = expect(SEQUENCE, list)?;
    let mut names = Vec::new();
    while let Some((tag, body, behind)) = element(rest) {
        match tag {
            DNS_NAME => names.push(String::from_utf8_lossy(body).into_owned()),
            ADDRESS => names.extend(address(body).map(|address| address.to_string())),
            _ => {}
        }
        rest = behind;
    }
    Some(names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A time in seconds, and the rest.
fn time(der: &[u8]) -> Option<(i64, &[u8])> {
    let (tag, body, behind) = element(der)?;
    let text = std::str::from_utf8(body).ok()?.strip_suffix('Z')?;
    let (year, rest) = text.split_at_checked(if tag == GENERALIZED_TIME { 4 } else { 2 })?;
    let year: i16 = year.parse().ok()?;
    let year = match tag {
        GENERALIZED_TIME => year,
        UTC_TIME if year < 50 => 2000 + year,
        UTC_TIME => 1900 + year,
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let moment = DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
    Some((moment.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second(), behind))
}

/// The content of an element of this kind, and the rest.
fn expect(wanted: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, body, behind) = element(der)?;
    (tag == wanted).then_some((body, behind))
}

/// Tag and content of the first element, and the rest.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (body, behind) = rest.split_at_checked(length)?;
    Some((tag, body, behind))
}

#[cfg(test)]
mod tests {
    use rcgen::CertificateParams;
    use rcgen::KeyPair;
    use time::OffsetDateTime;

    use super::*;

    fn made(names: &[&str], begins: i64, ends: i64) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = OffsetDateTime::from_unix_timestamp(begins).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(ends).unwrap();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_times_are_read_in_both_formats() {
        // The second one ends after 2049, which needs four digits for the year.
        for (begins, ends) in [(1_700_000_000, 1_800_000_001), (0, 4_102_444_799)] {
            let der = made(&["example.com", "*.example.org", "10.0.0.1", "::1"], begins, ends);
            let names = ["example.com", "*.example.org", "10.0.0.1", "::1"].map(str::to_owned).to_vec();
            assert_eq!(read(&der), Some(CertificateFacts { names, begins, ends }));
        }
        assert_eq!(read(&made(&[], 0, 1)).unwrap().names, [""; 0]);
    }

    #[test]
    fn truncated_and_changed_certificates_are_read_without_a_panic() {
        let der = made(&["example.com"], 0, 1_800_000_000);
        for length in 0..der.len() {
            assert_eq!(read(&der[..length]), None, "cut at {length}");
        }
        for at in 0..der.len() {
            for bit in 0..8 {
                let mut changed = der.clone();
                changed[at] ^= 1 << bit;
                let _ = read(&changed);
            }
        }
    }
}
