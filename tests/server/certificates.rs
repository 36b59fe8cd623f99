//! Certificates by themselves: making them, reading them, and the errors of reading.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rcgen::KeyPair;
use rcgen::PublicKeyData;
use webex_tokend::http::server::certificate::CertificateError;
use webex_tokend::http::server::certificate::CertificatePair;
use webex_tokend::http::server::certificate::SelfSigned;

use super::harness::now;

/// A certificate and its key, both PEM.
pub(super) fn made() -> (String, String, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem(), key)
}

fn read(certificate: &str, key: &str) -> Result<CertificatePair, CertificateError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cert.pem"), certificate).unwrap();
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
    CertificatePair::read(&folder.path().join("cert.pem"), &folder.path().join("key.pem"))
}

#[test]
fn a_name_given_twice_is_in_the_certificate_once() {
    let names = ["LOCALHOST", "localhost", "::1", "0:0:0:0:0:0:0:1"].map(String::from);
    let made = SelfSigned::make(&names, now()).unwrap();
    let der = &made.pair().certified().cert[0];
    let localhosts = der.windows(9).filter(|bytes| bytes == b"localhost").count();
    assert_eq!(localhosts, 1);
}

#[test]
fn invalid_host_names_and_wrong_clocks_are_reported() {
    for (names, now, found) in [
        (vec![], now(), "no names"),
        (vec!["é".to_owned()], now(), "found"),
        (vec!["localhost".to_owned()], i64::MAX, "a clock at"),
    ] {
        let error = SelfSigned::make(&names, now).unwrap_err().to_string();
        assert!(error.contains(found) && error.contains("expected"), "{error}");
    }
}

#[test]
fn the_fingerprint_is_that_of_the_public_key_info() {
    let (certificate, key_pem, key) = made();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key.subject_public_key_info());
    let expected = format!("SHA256:{}", STANDARD_NO_PAD.encode(hash));
    assert_eq!(read(&certificate, &key_pem).unwrap().fingerprint().to_string(), expected);
}

#[test]
fn a_chain_and_its_key_may_share_one_file() {
    let (certificate, key, _) = made();
    let both = format!("{key}{certificate}{}", made().0);
    assert_eq!(read(&both, &both).unwrap().certified().cert.len(), 2);
}

#[test]
fn each_certificate_error_names_the_file_the_finding_and_the_expectation() {
    let (certificate, key, _) = made();
    let stranger = made().1;
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00FF\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let nonsense = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let no_certificate = nonsense.replace("PRIVATE KEY", "CERTIFICATE");
    for (certificate, key, file, found) in [
        (certificate.as_str(), certificate.as_str(), "key.pem", "found only CERTIFICATE"),
        (&key, &key, "cert.pem", "found only PRIVATE KEY"),
        (&certificate, "", "key.pem", "found no PEM section"),
        (&certificate, encrypted, "key.pem", "found only ENCRYPTED PRIVATE KEY"),
        (&certificate, old, "key.pem", "found a key with a passphrase"),
        (&certificate, nonsense, "key.pem", "found a key that cannot be used"),
        (&certificate, &key[..key.len() / 2], "key.pem", "found broken PEM"),
        (&certificate[..certificate.len() / 2], &key, "cert.pem", "found broken PEM"),
        (&no_certificate, &key, "cert.pem", "found a first certificate that cannot be used"),
        (&certificate, &stranger, "key.pem", "found a key that is not the one of the first certificate"),
    ] {
        let error = read(certificate, key).unwrap_err().to_string();
        assert!(error.contains(&format!("{file}: {found}")) && error.contains("expected"), "{error}");
        assert!(!error.contains("AAAA"), "{error}");
    }
    let error = CertificatePair::read(Path::new("/nowhere/cert.pem"), Path::new("/nowhere/key.pem"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("/nowhere/cert.pem: cannot be read") && error.contains("expected"), "{error}");
}
