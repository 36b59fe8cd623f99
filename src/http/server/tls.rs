//! The current TLS settings, published to every new connection and replaced when the operator's files change.
//! This owns no socket: a connection keeps the settings with which it began.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::ProducesTickets;
use rustls::server::ServerSessionMemoryCache;
use rustls::server::StoresServerSessions;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS12;
use rustls::version::TLS13;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::http::server::certificate::CertificateError;
use crate::http::server::certificate::CertificatePair;
use crate::http::server::certificate::Fingerprint;
use crate::http::server::certificate::SelfSigned;
use crate::tasks::Tasks;
use crate::tasks::Wake;

/// Where connections read the current settings. It stays readable after its writer is dropped.
pub type TlsFeed = watch::Receiver<Arc<ServerConfig>>;

/// How often [`Reloader::watch`] should check: soon enough for an operator who waits, rarely enough to cost
/// nothing.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// A lasting problem with the certificate is logged again after this time.
const DAY_SECONDS: u64 = 86_400;

/// Sessions stored for clients that cannot use tickets (TLS 1.2 without them). Each takes a few hundred
/// bytes.
const MAX_TLS_SESSIONS: usize = 1024;

/// HTTP/2 first: one connection then serves a whole page or a busy API reader.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// TLS cannot be set up: the system gives no random bytes for the ticket keys, or the crypto provider lacks a
/// protocol version.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct TlsError(#[from] rustls::Error);

/// Creates settings that share one session storage, whatever certificate they contain.
///
/// A resumed session was agreed under a certificate that the client had checked, and ticket keys do not
/// depend on the certificate's key. So sessions survive a reload. They end with the ticket keys, after 12
/// hours.
#[derive(Clone, Debug)]
pub struct TlsSessions {
    tickets: Arc<dyn ProducesTickets>,
    memory: Arc<dyn StoresServerSessions>,
}

impl TlsSessions {
    /// With new ticket keys, which rotate every six hours.
    ///
    /// # Errors
    /// [`TlsError`], if the system gives no random bytes.
    pub fn new() -> Result<Self, TlsError> {
        Ok(Self {
            tickets: aws_lc_rs::Ticketer::new()?,
            memory: ServerSessionMemoryCache::new(MAX_TLS_SESSIONS),
        })
    }

    /// TLS 1.2 and 1.3 for HTTP/2 and HTTP/1.1, with resumption and without early data (which can be replayed).
    ///
    /// # Errors
    /// [`TlsError`], if the provider lacks a protocol version; never because of `pair`.
    pub fn settings(&self, pair: &CertificatePair) -> Result<Arc<ServerConfig>, TlsError> {
        // The provider is named, because with two in the dependency tree rustls' own choice panics.
        let mut settings = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair.certified())));
        settings.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        settings.ticketer = Arc::clone(&self.tickets);
        settings.session_storage = Arc::clone(&self.memory);
        Ok(Arc::new(settings))
    }
}

/// The writer of a [`TlsFeed`] that renews a self-signed certificate before it expires.
#[derive(Debug)]
pub struct Renewer {
    served: SelfSigned,
    shown: watch::Sender<CertificatePair>,
    sessions: TlsSessions,
    feed: watch::Sender<Arc<ServerConfig>>,
}

impl Renewer {
    /// Serves `made` until the first renewal.
    ///
    /// # Errors
    /// [`TlsError`], if TLS cannot be set up.
    pub fn open(made: SelfSigned) -> Result<(Self, TlsFeed), TlsError> {
        let sessions = TlsSessions::new()?;
        let (feed, reader) = watch::channel(sessions.settings(made.pair())?);
        let shown = watch::Sender::new(made.pair().clone());
        Ok((Self { served: made, shown, sessions, feed }, reader))
    }

    /// The served certificate, as it changes.
    #[must_use]
    pub fn shown(&self) -> watch::Receiver<CertificatePair> {
        self.shown.subscribe()
    }

    /// If the certificate is stale, publishes a new one for the same key. Returns whether it did. After an
    /// error, the old one stays.
    ///
    /// # Errors
    /// [`PairError`], if none can be created, for example because the clock is far off.
    pub fn renew_if_stale(&mut self, now_unix_seconds: i64) -> Result<bool, PairError> {
        if !self.served.is_stale(now_unix_seconds) {
            return Ok(false);
        }
        let made = self.served.renew(now_unix_seconds)?;
        self.feed.send_replace(self.sessions.settings(made.pair())?);
        self.shown.send_replace(made.pair().clone());
        self.served = made;
        Ok(true)
    }

    /// Renews a stale certificate, and logs the result, every `every` (see [`CHECK_INTERVAL`]) until `tasks`
    /// stop. A lasting problem is logged once.
    pub async fn watch(mut self, clock: Arc<dyn Clock>, tasks: Tasks, every: Duration) {
        let stopping = tasks.stopping();
        let mut told = false;
        while stopping.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            match self.renew_if_stale(clock.now().seconds()) {
                Ok(false) => told = false,
                Ok(true) => {
                    told = false;
                    log::info!(
                        "new self-signed certificate for the same key {}",
                        self.served.pair().fingerprint()
                    );
                }
                Err(_) if told => {}
                Err(error) => {
                    log::error!("cannot renew the self-signed certificate, so the old one stays: {error}");
                    told = true;
                }
            }
        }
    }
}

/// The certificate that new connections get.
#[derive(Clone, Debug)]
pub struct ServedCertificate {
    /// The certificate, as it changes.
    pub shown: watch::Receiver<CertificatePair>,
    /// The host for which it is served.
    pub host: String,
    /// Whether the daemon made it.
    pub self_signed: bool,
}

/// Logs problems of the operator's certificate when they begin, and then once a day.
pub struct ExpiryWarning {
    host: String,
    clock: Arc<dyn Clock>,
    /// What was logged last: the certificate, whether it was an error, and when.
    told: Option<(Fingerprint, bool, i64)>,
}

impl ExpiryWarning {
    /// For a certificate that is served for `host`.
    #[must_use]
    pub fn new(host: &str, clock: Arc<dyn Clock>) -> Self {
        Self { host: host.trim_matches(['[', ']']).to_owned(), clock, told: None }
    }

    /// Logs a problem of `served`, if a line is due now.
    pub fn check(&mut self, served: &CertificatePair) {
        let now = self.clock.now().seconds();
        let Some(trouble) = served.problem(&self.host, now) else {
            self.told = None;
            return;
        };
        let known = self.told.as_ref().is_some_and(|(of, is_error, at)| {
            of == served.fingerprint() && *is_error == trouble.is_error && now.abs_diff(*at) < DAY_SECONDS
        });
        if !known {
            let level = if trouble.is_error { log::Level::Error } else { log::Level::Warn };
            log::log!(level, "{}", trouble.text);
            self.told = Some((served.fingerprint().clone(), trouble.is_error, now));
        }
    }
}

/// Why the operator's files cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The files are not usable.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The result of checking the files.
#[derive(Debug)]
pub enum Reloaded {
    /// Nothing has changed, or the problem with the files was reported before.
    Unchanged,
    /// New connections get the new certificate.
    Reloaded {
        /// The fingerprint of the new certificate's key.
        fingerprint: Fingerprint,
    },
    /// The files changed and cannot be used; the old certificate stays.
    Kept {
        /// What is wrong with them.
        error: PairError,
    },
}

/// The writer of a [`TlsFeed`] that follows the operator's two files.
#[derive(Debug)]
pub struct Reloader {
    certificate: PathBuf,
    key: PathBuf,
    sessions: TlsSessions,
    served: CertificatePair,
    shown: watch::Sender<CertificatePair>,
    seen: FileStamps,
    /// Whether the next check reads the files even if they look unchanged. After a failure, because the other
    /// file may follow. After a change, because a second write within one tick of the file system's clock is
    /// invisible.
    read_again: bool,
    feed: watch::Sender<Arc<ServerConfig>>,
}

impl Reloader {
    /// Reads the files for the first time. It blocks, so it is only for the start.
    ///
    /// # Errors
    /// [`PairError`], if the files cannot be used: there is no old certificate to keep.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<(Self, TlsFeed), PairError> {
        let seen = FileStamps::of(&certificate, &key);
        let served = CertificatePair::read(&certificate, &key)?;
        let sessions = TlsSessions::new()?;
        let (feed, reader) = watch::channel(sessions.settings(&served)?);
        let shown = watch::Sender::new(served.clone());
        Ok((Self { certificate, key, sessions, served, shown, seen, read_again: true, feed }, reader))
    }

    /// The certificate that is served now.
    #[must_use]
    pub fn served(&self) -> &CertificatePair {
        &self.served
    }

    /// The served certificate, as it changes.
    #[must_use]
    pub fn shown(&self) -> watch::Receiver<CertificatePair> {
        self.shown.subscribe()
    }

    /// Checks both files once, and publishes their content if it is new and valid. Open connections keep
    /// their settings. The same problem is reported once.
    pub async fn reload_if_changed(&mut self) -> Reloaded {
        let (certificate, key) = (self.certificate.clone(), self.key.clone());
        let (seen, read_again) = (self.seen, self.read_again);
        let look = tokio::task::spawn_blocking(move || {
            // Taken before reading, so that the next check notices a later write.
            let marks = FileStamps::of(&certificate, &key);
            (marks, (read_again || marks != seen).then(|| CertificatePair::read(&certificate, &key)))
        });
        let (marks, read) = match look.await {
            Ok((marks, Some(read))) => (marks, read),
            Ok((_, None)) => return Reloaded::Unchanged,
            Err(cut_off) => {
                return Reloaded::Kept { error: CertificateError::CutOff(cut_off.to_string()).into() };
            }
        };
        let changed = marks != seen;
        self.seen = marks;
        self.read_again = changed || read.is_err();
        match read {
            Ok(pair) if pair.same_as(&self.served) => Reloaded::Unchanged,
            Ok(pair) => self.publish(pair),
            Err(error) if changed => Reloaded::Kept { error: error.into() },
            Err(_told_already) => Reloaded::Unchanged,
        }
    }

    /// Checks the files every `every` (see [`CHECK_INTERVAL`]), and at each notification, until `tasks` stop.
    /// Logs the result, and what `alarm` finds wrong with the served certificate.
    pub async fn watch(mut self, mut alarm: ExpiryWarning, tasks: Tasks, every: Duration, reload: Wake) {
        let stopping = tasks.stopping();
        alarm.check(&self.served);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(every) => {}
                // An operator waits for the result, so a problem that was logged before is logged again.
                () = reload.notified() => self.seen = FileStamps([None; 2]),
            }
            match self.reload_if_changed().await {
                Reloaded::Unchanged => {}
                Reloaded::Reloaded { .. } => log::info!("loaded a new TLS certificate, {}", self.served),
                Reloaded::Kept { error } => {
                    log::error!("cannot load the new TLS certificate, so the old one stays: {error}")
                }
            }
            alarm.check(&self.served);
        }
    }

    fn publish(&mut self, pair: CertificatePair) -> Reloaded {
        match self.sessions.settings(&pair) {
            Ok(settings) => {
                self.feed.send_replace(settings);
                let fingerprint = pair.fingerprint().clone();
                self.shown.send_replace(pair.clone());
                self.served = pair;
                Reloaded::Reloaded { fingerprint }
            }
            Err(error) => Reloaded::Kept { error: error.into() },
        }
    }
}

/// File attributes that change when a file is written, replaced or linked elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamps([Option<FileStamp>; 2]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    modified: (i64, i64),
    /// Of the inode: it reveals a replacement that preserved the old modification time (`cp -p`).
    changed: (i64, i64),
    bytes: u64,
    inode: u64,
}

impl FileStamps {
    fn of(certificate: &Path, key: &Path) -> Self {
        Self([certificate, key].map(|path| {
            let file = std::fs::metadata(path).ok()?;
            Some(FileStamp {
                modified: (file.mtime(), file.mtime_nsec()),
                changed: (file.ctime(), file.ctime_nsec()),
                bytes: file.len(),
                inode: file.ino(),
            })
        }))
    }
}
