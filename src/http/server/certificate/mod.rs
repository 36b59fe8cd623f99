//! The server's certificate: self-signed and made at start, or the operator's own pair of PEM files.

mod error;
mod pem_file;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::sign::SigningKey;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::domain::time::UnixTime;
pub use crate::http::server::certificate::error::CertificateError;
pub use crate::http::server::certificate::error::WrongFiles;
pub use crate::http::server::certificate::pem_file::open_pem;
pub use crate::http::server::certificate::pem_file::read_pem;
use crate::http::server::x509;
use crate::http::server::x509::CertificateFacts;

const DAY_SECONDS: i64 = 24 * 60 * 60;
/// Valid from this long before now, so that clients whose clock is slow accept it.
const BEFORE_SECONDS: i64 = DAY_SECONDS;
/// Browsers accept a life of at most 398 days.
const AFTER_SECONDS: i64 = 397 * DAY_SECONDS;
/// It is renewed this long before its end, so that people who copied it have a month to notice.
const EARLY_SECONDS: i64 = 30 * DAY_SECONDS;

/// The end of the operator's certificate is logged from this long before it.
const SOON_SECONDS: i64 = 21 * DAY_SECONDS;

/// SHA-256 of a public key's DER SubjectPublicKeyInfo (algorithm and key, nothing else of the certificate), printed
/// as `SHA256:` and base64 without padding. It stays the same when a certificate is renewed with the same key. With
/// openssl (which adds the padding):
///
/// ```text
/// openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform der \
///   | openssl dgst -sha256 -binary | openssl base64
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A problem with a certificate that the operator must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateProblem {
    /// Whether clients refuse the certificate at present. Otherwise it is a warning.
    pub is_error: bool,
    /// What is wrong, and what to do.
    pub text: String,
}

/// A certificate chain and its key, which belong together.
#[derive(Clone, Debug)]
pub struct CertificatePair {
    certified: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
}

impl CertificatePair {
    /// Reads the operator's files: a PEM chain, the server's own certificate first, and a PEM key (PKCS#8,
    /// PKCS#1 or SEC1, not encrypted). Other sections in either file are ignored, so one file may be given
    /// twice. Blocks.
    ///
    /// # Errors
    /// [`CertificateError`], if a file cannot be used or the two do not belong together.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        Self::check(certificate, key).map_err(|wrong| match *wrong {
            WrongFiles::Certificate(error) | WrongFiles::Key(error) | WrongFiles::Both(error, _) => error,
        })
    }

    /// Like [`CertificatePair::read`], but reports the errors of both files. Blocks.
    ///
    /// # Errors
    /// [`WrongFiles`], as with [`CertificatePair::read`].
    pub fn check(certificate: &Path, key: &Path) -> Result<Self, Box<WrongFiles>> {
        let (chain, signer) = match (read_chain(certificate), read_signer(key)) {
            (Ok(chain), Ok(signer)) => (chain, signer),
            (Err(error), Ok(_)) => return Err(WrongFiles::Certificate(error).into()),
            (Ok(_), Err(error)) => return Err(WrongFiles::Key(error).into()),
            (Err(certificate), Err(key)) => return Err(WrongFiles::Both(certificate, key).into()),
        };
        let certified = CertifiedKey::new(chain, signer);
        match certified.keys_match() {
            Ok(()) => Self::of(certified).map_err(|found| WrongFiles::Key(unusable(key, found, KEY)).into()),
            Err(rustls::Error::InconsistentKeys(_)) => {
                let (certificate, key) = (certificate.into(), key.into());
                Err(WrongFiles::Key(CertificateError::DifferentKeys { certificate, key }).into())
            }
            Err(error) => Err(WrongFiles::Certificate(unusable_first(certificate, &error)).into()),
        }
    }

    /// The chain and the key, as rustls needs them.
    #[must_use]
    pub fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// The fingerprint of the key. See [`Fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Whether both have the same chain, and so the same key.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }

    /// Names and validity of its first certificate, if they can be read.
    #[must_use]
    pub fn facts(&self) -> Option<CertificateFacts> {
        x509::read(self.certified.cert.first()?)
    }

    /// What is wrong now, or will be soon, with serving it for `host` at this time: clients will refuse it.
    #[must_use]
    pub fn problem(&self, host: &str, now_unix_seconds: i64) -> Option<CertificateProblem> {
        let facts = self.facts()?;
        let left = facts.ends.saturating_sub(now_unix_seconds);
        let (name, end) = (facts.names.join(", "), UnixTime::from_seconds(facts.ends));
        let trouble = |is_error, says| Some(CertificateProblem { is_error, text: says });
        if left <= 0 {
            return trouble(true, format!("the certificate for {name} expired at {end}; replace it"));
        }
        if now_unix_seconds < facts.begins {
            let begin = UnixTime::from_seconds(facts.begins);
            let says = format!(
                "the certificate for {name} is not valid before {begin}; replace it, or correct the system clock"
            );
            return trouble(true, says);
        }
        if !self.is_for(host) {
            let says = format!(
                "the certificate is for {name}, but the redirect URI has the host {host}; use a certificate for that host"
            );
            return trouble(false, says);
        }
        let days = left / DAY_SECONDS;
        let says = || format!("the certificate for {name} expires at {end}, in {days} days; replace it");
        (left <= SOON_SECONDS).then(|| CertificateProblem { is_error: false, text: says() })
    }

    fn is_for(&self, host: &str) -> bool {
        let (Some(der), Ok(name)) = (self.certified.cert.first(), ServerName::try_from(host)) else {
            return true;
        };
        let parsed = ParsedCertificate::try_from(der);
        parsed.is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
    }

    fn of(certified: CertifiedKey) -> Result<Self, String> {
        let public =
            certified.key.public_key().ok_or("a private key whose public key cannot be determined")?;
        let hash = digest::digest(&digest::SHA256, public.as_ref());
        let fingerprint = Fingerprint(format!("SHA256:{}", STANDARD_NO_PAD.encode(hash)));
        Ok(Self { certified: Arc::new(certified), fingerprint })
    }
}

/// For people: its names, its end, and the fingerprint of its key.
impl fmt::Display for CertificatePair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(facts) = self.facts() {
            let (names, end) = (facts.names.join(", "), UnixTime::from_seconds(facts.ends));
            write!(formatter, "for {names}, good until {end}, ")?;
        }
        write!(formatter, "key fingerprint {}", self.fingerprint)
    }
}

/// A self-signed certificate, with a key that never leaves memory.
#[derive(Clone)]
pub struct SelfSigned {
    names: Vec<String>,
    key: Arc<KeyPair>,
    made_at: i64,
    pair: CertificatePair,
    pem: String,
}

impl fmt::Debug for SelfSigned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SelfSigned").field("names", &self.names).field("pair", &self.pair).finish()
    }
}

impl SelfSigned {
    /// Makes a P-256 key and a server certificate for `names` (DNS names or IP addresses without brackets;
    /// duplicates are ignored), valid from a day before `now_unix_seconds` until 397 days after it.
    ///
    /// # Errors
    /// [`CertificateError::SelfSigned`], if there are no names, a name is invalid, the time is out of range,
    /// or the system gives no random bytes.
    pub fn make(names: &[String], now_unix_seconds: i64) -> Result<Self, CertificateError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|error| CertificateError::SelfSigned { found: error.to_string() })?;
        Self::with(normal(names), Arc::new(key), now_unix_seconds)
    }

    /// A new certificate for the same names and the same key, so that pinned keys stay valid.
    ///
    /// # Errors
    /// [`CertificateError::SelfSigned`], if the time is out of range.
    pub fn renew(&self, now_unix_seconds: i64) -> Result<Self, CertificateError> {
        Self::with(self.names.clone(), Arc::clone(&self.key), now_unix_seconds)
    }

    /// Whether it should be renewed: it ends in less than 30 days, has ended, or is not valid yet. The clock
    /// may have been wrong in either direction when it was made.
    #[must_use]
    pub fn is_stale(&self, now_unix_seconds: i64) -> bool {
        let age = now_unix_seconds.saturating_sub(self.made_at);
        !(-BEFORE_SECONDS..AFTER_SECONDS - EARLY_SECONDS).contains(&age)
    }

    /// Its chain (one certificate) and key.
    #[must_use]
    pub fn pair(&self) -> &CertificatePair {
        &self.pair
    }

    /// The certificate, for people who want to trust it. Without the key.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn with(names: Vec<String>, key: Arc<KeyPair>, made_at: i64) -> Result<Self, CertificateError> {
        match Self::sign(&names, &key, made_at) {
            Ok((pair, pem)) => Ok(Self { names, key, made_at, pair, pem }),
            Err(found) => Err(CertificateError::SelfSigned { found }),
        }
    }

    fn sign(
        names: &[String],
        key: &KeyPair,
        now_unix_seconds: i64,
    ) -> Result<(CertificatePair, String), String> {
        let text = |error: rcgen::Error| error.to_string();
        if names.is_empty() {
            return Err("no names".to_owned());
        }
        let mut params = CertificateParams::new(names).map_err(text)?;
        params.not_before = moment(now_unix_seconds, -BEFORE_SECONDS)?;
        params.not_after = moment(now_unix_seconds, AFTER_SECONDS)?;
        params.distinguished_name = DistinguishedName::new();
        // A constant, because names may be longer than the 64 characters of a CN, and clients do not match
        // names by CN.
        params.distinguished_name.push(DnType::CommonName, "webex-tokend self-signed");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.self_signed(key).map_err(text)?;
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let certified = CertifiedKey::from_der(vec![certificate.der().clone()], private, &default_provider())
            .map_err(|error| error.to_string())?;
        Ok((CertificatePair::of(certified)?, certificate.pem()))
    }
}

/// Each name once, in its normal form.
fn normal(names: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for name in names {
        let name =
            name.parse::<IpAddr>().map_or_else(|_| name.to_ascii_lowercase(), |address| address.to_string());
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}

fn moment(now_unix_seconds: i64, offset_seconds: i64) -> Result<OffsetDateTime, String> {
    OffsetDateTime::from_unix_timestamp(now_unix_seconds.saturating_add(offset_seconds))
        .map_err(|_| format!("a clock at {now_unix_seconds} s"))
}

const CHAIN: &str = "a PEM certificate chain (BEGIN CERTIFICATE), the server's own first";
const KEY: &str = "a PEM private key without a passphrase (BEGIN PRIVATE KEY, RSA or EC PRIVATE KEY)";

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let pem = read_file(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, format!("broken PEM ({error})"), CHAIN))?;
    let first = chain.first().ok_or_else(|| unusable(path, sections(&pem), CHAIN))?;
    ParsedCertificate::try_from(first).map_err(|error| unusable_first(path, &error))?;
    Ok(chain)
}

fn unusable_first(path: &Path, error: &rustls::Error) -> CertificateError {
    unusable(path, format!("a first certificate that cannot be used ({error})"), CHAIN)
}

fn read_signer(path: &Path) -> Result<Arc<dyn SigningKey>, CertificateError> {
    let pem = read_file(path)?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        // The old way (RFC 1421) to write a key with a passphrase, under the label of one without.
        _ if is_encrypted(&pem) => unusable(path, "a key with a passphrase".to_owned(), KEY),
        rustls::pki_types::pem::Error::NoItemsFound => unusable(path, sections(&pem), KEY),
        error => unusable(path, format!("broken PEM ({error})"), KEY),
    })?;
    let signer = default_provider().key_provider.load_private_key(private);
    signer.map_err(|error| unusable(path, format!("a key that cannot be used ({error})"), KEY))
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    read_pem(path).map_err(|error| CertificateError::Unreadable { path: path.into(), error })
}

fn unusable(path: &Path, found: String, expected: &'static str) -> CertificateError {
    CertificateError::Unusable { path: path.into(), found, expected }
}

fn is_encrypted(pem: &[u8]) -> bool {
    String::from_utf8_lossy(pem)
        .lines()
        .any(|line| line.starts_with("Proc-Type:") && line.contains("ENCRYPTED"))
}

/// The labels of the PEM sections, so that the message explains swapped files and encrypted keys.
fn sections(pem: &[u8]) -> String {
    let text = String::from_utf8_lossy(pem);
    let labels: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .take(5)
        .collect();
    if labels.is_empty() { "no PEM section".to_owned() } else { format!("only {}", labels.join(", ")) }
}
