//! Why a certificate cannot be served.

use std::io;
use std::path::PathBuf;

/// Why there is no certificate to serve. Each message names the file, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("{}: cannot be read ({error}); expected a PEM file", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The file has no usable PEM section of the expected kind.
    #[error("{}: found {found}; expected {expected}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The PEM sections in the file, or what is wrong with them. Never their content.
        found: String,
        /// What the file should contain.
        expected: &'static str,
    },
    /// Both files are valid, but the key does not belong to the certificate.
    #[error(
        "{}: found a key that is not the one of the first certificate in {}; \
         expected the private key of that certificate (the server's own comes first in the chain)",
        key.display(), certificate.display()
    )]
    DifferentKeys {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The self-signed certificate cannot be made.
    #[error("self-signed certificate: found {found}; expected DNS names or IP addresses, and a sane clock")]
    SelfSigned {
        /// The cause.
        found: String,
    },
    /// The reading task was cancelled, at shutdown or by a defect.
    #[error("certificate files: reading was cancelled ({0}); expected it to finish")]
    CutOff(String),
}

impl CertificateError {
    /// What was found, never the file's content, and what was expected.
    #[must_use]
    pub fn found_and_expected(&self) -> (String, &str) {
        match self {
            Self::Unreadable { path, error } => {
                (format!("{} ({error})", path.display()), "a readable PEM file")
            }
            Self::Unusable { path, found, expected } => (format!("{} ({found})", path.display()), expected),
            Self::DifferentKeys { certificate, key } => (
                format!(
                    "{} (not the key of the first certificate in {})",
                    key.display(),
                    certificate.display()
                ),
                "the private key of that certificate (the server's own comes first in the chain)",
            ),
            Self::SelfSigned { found } => (found.clone(), "DNS names or IP addresses, and a sane clock"),
            Self::CutOff(found) => (found.clone(), "reading to finish"),
        }
    }
}

/// Which of the operator's two files cannot be used, and why.
#[derive(Debug)]
pub enum WrongFiles {
    /// The certificate's.
    Certificate(CertificateError),
    /// The key's, which may only be the key of another certificate.
    Key(CertificateError),
    /// The certificate's and the key's.
    Both(CertificateError, CertificateError),
}
