//! Where people come in: addresses, certificate, the serving of both. The daemon's, or a login's without a daemon.

use std::io;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::config::DoorConfig;
use crate::config::Listen;
use crate::domain::token_service::TokenService;
use crate::http::Authority;
use crate::http::api::Api;
use crate::http::certificate::SelfSigned;
use crate::http::router::Door;
use crate::http::serve;
use crate::http::serve::Limits;
use crate::http::serve::Secure;
use crate::http::tls;
use crate::http::tls::Alarm;
use crate::http::tls::Reloader;
use crate::http::tls::Renewer;
use crate::http::tls::Served;
use crate::http::tls::TlsFeed;
use crate::tasks::Tasks;
use crate::tasks::Wake;

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
    keeper: Option<Keeper>,
}

impl FrontDoor {
    /// Binds the addresses and makes or reads the certificate.
    ///
    /// # Errors
    /// [`DoorError`] says what is in the way.
    pub async fn open(config: &DoorConfig, clock: Arc<dyn Clock>) -> Result<Self, DoorError> {
        let listeners = listen(&config.addresses).await?;
        let certificate = if config.secure { Some(certificate(config, clock)?) } else { None };
        let (feed, keeper) = certificate.unzip();
        let secure = feed.map(|feed| secure(feed, config)).transpose()?;
        Ok(Self { config: config.clone(), listeners, secure, keeper })
    }

    /// Where people come in.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok())
    }

    /// The certificate that it serves, if it speaks TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<Served> {
        let (shown, self_signed) = match self.keeper.as_ref()? {
            Keeper::Files(reloader, _) => (reloader.shown(), false),
            Keeper::Ourselves(renewer, _) => (renewer.shown(), true),
        };
        Some(Served { shown, host: host(&self.config).to_owned(), self_signed })
    }

    /// Lets people in until `tasks` stop; programs of the token service sample, too, if there is one. A nudge of `reload`
    /// makes the operator's certificate be read again.
    pub fn serve(self, api: Api, token_service: Option<TokenService>, tasks: &Tasks, reload: Wake) {
        match self.keeper {
            Some(Keeper::Files(reloader, alarm)) => {
                tasks.spawn("certificate", reloader.watch(alarm, tasks.clone(), tls::LOOK_EVERY, reload));
            }
            Some(Keeper::Ourselves(renewer, clock)) => {
                tasks.spawn("certificate", renewer.watch(clock, tasks.clone(), tls::LOOK_EVERY));
            }
            None => {}
        }
        let door = Door::new(api, &self.config.redirect_uri, self.config.is_local())
            .with_token_service(token_service)
            .run_by(self.config.operator.clone());
        let door = Arc::new(door);
        let doors = u32::try_from(self.listeners.len()).unwrap_or(u32::MAX);
        let files = serve::open_files();
        let limits = Arc::new(Limits::within(files, doors));
        if limits.connections < Limits::default().connections {
            log::warn!(
                "this process may open {files} files only, so at most {} connections are taken on each address",
                limits.connections
            );
        }
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
            Err(e) if listen.optional && is_spare(listen.address, &e) => {
                log::debug!("not listening on {}: {e}", listen.address);
            }
            Err(e) => return Err(DoorError::Listen(listen.address, e)),
        }
    }
    Ok(listeners)
}

/// Whether nothing is lost without this address. Many machines have no IPv6, and a socket for all of IPv4 may keep the
/// port from another one for all of both. But where another program has a single address, browsers come to that program.
fn is_spare(address: SocketAddr, why: &io::Error) -> bool {
    let no_family = Errno::AFNOSUPPORT.raw_os_error();
    match why.kind() {
        ErrorKind::AddrNotAvailable => true,
        ErrorKind::AddrInUse => address.ip().is_unspecified(),
        _ => why.raw_os_error() == Some(no_family),
    }
}

/// Who keeps the certificate fit to be served.
enum Keeper {
    /// The operator does, in files.
    Files(Reloader, Alarm),
    /// We do.
    Ourselves(Renewer, Arc<dyn Clock>),
}

/// Of the redirect URI; an IPv6 address without its brackets.
fn host(door: &DoorConfig) -> &str {
    door.redirect_uri.host_str().unwrap_or("localhost").trim_matches(['[', ']'])
}

fn certificate(door: &DoorConfig, clock: Arc<dyn Clock>) -> Result<(TlsFeed, Keeper), DoorError> {
    let wrong = |e: &dyn std::fmt::Display| DoorError::Certificate(e.to_string());
    let host = host(door);
    if let Some((certificate, key)) = door.pem.clone() {
        let (reloader, feed) = Reloader::open(certificate, key).map_err(|e| wrong(&e))?;
        log::info!("certificate: the operator's, {}", reloader.served());
        return Ok((feed, Keeper::Files(reloader, Alarm::new(host, clock))));
    }
    let names = [host, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = SelfSigned::make(&names, clock.now().seconds()).map_err(|e| wrong(&e))?;
    log::info!(
        "certificate: self-signed, made for this start, key fingerprint {}",
        made.pair().fingerprint()
    );
    let (renewer, feed) = Renewer::open(made).map_err(|e| wrong(&e))?;
    Ok((feed, Keeper::Ourselves(renewer, clock)))
}

fn secure(feed: TlsFeed, door: &DoorConfig) -> Result<Secure, DoorError> {
    let url = &door.redirect_uri;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let authority = format!("{}{port}", url.host_str().unwrap_or("localhost"));
    let parsed = Authority::parse(&authority);
    Ok(Secure { feed, authority: parsed.ok_or(DoorError::Host(authority))? })
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
