//! Where people come in: addresses, certificate, the serving of both. The daemon's, or a login's without a daemon.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::config::DoorConfig;
use crate::config::Listen;
use crate::domain::time::UnixTime;
use crate::domain::token_service::TokenService;
use crate::http::Authority;
use crate::http::api::Api;
use crate::http::certificate::SelfSigned;
use crate::http::router::Door;
use crate::http::serve;
use crate::http::serve::Limits;
use crate::http::serve::Secure;
use crate::http::tls;
use crate::http::tls::Reloader;
use crate::http::tls::TlsFeed;
use crate::tasks::Tasks;

/// Why people cannot come in.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// An address is taken, or not this machine's.
    #[error("cannot listen on {0}: {1}; stop what listens there, or change MY_APP_PORT or TOKEND_BIND")]
    Listen(SocketAddr, io::Error),
    /// The certificate cannot be made or read.
    #[error("no certificate to serve: {0}")]
    Certificate(String),
    /// The redirect URI's host cannot stand in a redirect.
    #[error("the redirect URI's host {0:?} is no host name")]
    Host(String),
}

/// Bound addresses, and what they will speak. Nobody is let in before [`FrontDoor::serve`].
pub struct FrontDoor {
    config: DoorConfig,
    listeners: Vec<TcpListener>,
    secure: Option<Secure>,
    reloader: Option<Reloader>,
}

impl FrontDoor {
    /// Binds the addresses and makes or reads the certificate.
    ///
    /// # Errors
    /// [`DoorError`] says what is in the way.
    pub async fn open(config: &DoorConfig, now: UnixTime) -> Result<Self, DoorError> {
        let listeners = listen(&config.addresses).await?;
        let certificate = if config.secure { Some(certificate(config, now.seconds())?) } else { None };
        let (feed, reloader) = certificate.map_or((None, None), |made| (Some(made.feed), made.reloader));
        let secure = feed.map(|feed| secure(feed, config)).transpose()?;
        Ok(Self { config: config.clone(), listeners, secure, reloader })
    }

    /// Lets people in until `tasks` stop; programs of the token service sample, too, if there is one.
    pub fn serve(self, api: Api, token_service: Option<TokenService>, tasks: &Tasks) {
        if let Some(reloader) = self.reloader {
            tasks.spawn("certificate", reloader.watch(tasks.clone(), tls::LOOK_EVERY));
        }
        let door = Door::new(api, &self.config.redirect_uri).with_token_service(token_service);
        let door = Arc::new(door);
        let doors = u32::try_from(self.listeners.len()).unwrap_or(u32::MAX);
        let limits = Arc::new(Limits::within(open_files(), doors));
        for listener in self.listeners {
            serve_on(listener, self.secure.clone(), limits.clone(), door.clone(), tasks);
        }
    }
}

async fn listen(addresses: &[Listen]) -> Result<Vec<TcpListener>, DoorError> {
    let mut listeners = Vec::new();
    for listen in addresses {
        match TcpListener::bind(listen.address).await {
            Ok(listener) => listeners.push(listener),
            // A dual-stack socket may hold the port for both kinds, and many machines have no IPv6.
            Err(e) if listen.optional => log::debug!("not listening on {}: {e}", listen.address),
            Err(e) => return Err(DoorError::Listen(listen.address, e)),
        }
    }
    Ok(listeners)
}

/// Which certificate is served, and who follows it.
struct Certificate {
    feed: TlsFeed,
    reloader: Option<Reloader>,
}

fn certificate(door: &DoorConfig, now_unix_seconds: i64) -> Result<Certificate, DoorError> {
    let wrong = |e: &dyn std::fmt::Display| DoorError::Certificate(e.to_string());
    if let Some((certificate, key)) = door.pem.clone() {
        let (reloader, feed) = Reloader::open(certificate, key).map_err(|e| wrong(&e))?;
        log::info!("certificate: the operator's, key fingerprint {}", reloader.fingerprint());
        return Ok(Certificate { feed, reloader: Some(reloader) });
    }
    let host = door.redirect_uri.host_str().unwrap_or("localhost").trim_matches(['[', ']']);
    let names = [host, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = SelfSigned::make(&names, now_unix_seconds).map_err(|e| wrong(&e))?;
    log::info!(
        "certificate: self-signed, made for this start, key fingerprint {}",
        made.pair().fingerprint()
    );
    Ok(Certificate { feed: tls::fixed(made.pair()).map_err(|e| wrong(&e))?, reloader: None })
}

fn secure(feed: TlsFeed, door: &DoorConfig) -> Result<Secure, DoorError> {
    let url = &door.redirect_uri;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let authority = format!("{}{port}", url.host_str().unwrap_or("localhost"));
    let parsed = Authority::parse(&authority);
    Ok(Secure { feed, authority: parsed.ok_or(DoorError::Host(authority))? })
}

/// How many files this process may open (Linux; elsewhere the usual default).
fn open_files() -> u32 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024)
}

fn serve_on(
    listener: TcpListener,
    secure: Option<Secure>,
    limits: Arc<Limits>,
    door: Arc<Door>,
    tasks: &Tasks,
) {
    let service = move |request, peer| {
        let door = door.clone();
        async move { door.answer(request, peer).await }
    };
    let serving = serve::serve(listener, secure, limits, service, tasks.clone());
    tasks.spawn("door", serving);
}
