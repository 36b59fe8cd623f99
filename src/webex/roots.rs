//! Reads root certificates from PEM files.

use std::fmt::Write as _;

use reqwest::Certificate;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Checks that `pem` contains certificates, and that a TLS client can trust each of them.
///
/// # Errors
/// An explanation that quotes nothing of the content.
pub fn check_roots(pem: &[u8]) -> Result<(), String> {
    roots(pem).map(drop)
}

/// The certificates in a PEM file, each validated. Otherwise the client would report a bad one as a problem
/// of the system's roots.
pub(super) fn roots(pem: &[u8]) -> Result<Vec<Certificate>, String> {
    let mut roots = Vec::new();
    for (number, der) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
        let wrong = |why: &dyn std::fmt::Display| {
            format!(
                "certificate {number} in the file cannot be used ({why}); remove it, or add the complete one"
            )
        };
        let der = der.map_err(|e| wrong(&e))?;
        RootCertStore::empty().add(der.clone()).map_err(|e| wrong(&e))?;
        roots.push(Certificate::from_der(&der).map_err(|e| wrong(&chain(&e)))?);
    }
    if roots.is_empty() { Err("the file contains no certificate".to_owned()) } else { Ok(roots) }
}

/// An error with its causes, because reqwest's own texts omit the details.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let _ = write!(text, ": {next}");
        cause = next.source();
    }
    text
}
