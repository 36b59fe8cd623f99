//! Wiring only: open the store, build the parts, start the named tasks, wait, drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::time::timeout;

use crate::config::Config;
use crate::config::DoorConfig;
use crate::config::Listen;
use crate::consent::Hooked;
use crate::house::House;
use crate::house::HouseError;
use crate::http::Authority;
use crate::http::api;
use crate::http::api::Api;
use crate::http::certificate::SelfSigned;
use crate::http::control::ControlError;
use crate::http::control::ControlSocket;
use crate::http::router::Door;
use crate::http::serve;
use crate::http::serve::Limits;
use crate::http::serve::Secure;
use crate::http::tls;
use crate::http::tls::Reloader;
use crate::http::tls::TlsFeed;
use crate::refresh::EventLoop;
use crate::store::Store;
use crate::store::StoreError;
use crate::tasks::Tasks;

/// After a signal, what runs (a consent, a refresh) has so long to finish; service managers kill after 90 s.
pub const GRACE: Duration = Duration::from_secs(30);

/// Why the daemon did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The parts cannot be put together.
    #[error(transparent)]
    House(#[from] HouseError),
    /// The store's refusal.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address is taken, or not this machine's.
    #[error("cannot listen on {0}: {1}; stop what listens there, or change MY_APP_PORT or TOKEND_BIND")]
    Listen(SocketAddr, io::Error),
    /// The control socket cannot be had.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The certificate cannot be made or read.
    #[error("no certificate to serve: {0}")]
    Certificate(String),
    /// The system refuses something basic.
    #[error("{0}")]
    System(String),
    /// A part that must run for ever ended.
    #[error("the {0} ended by itself; this is a bug, see the log")]
    Ended(&'static str),
}

/// Runs the daemon until a signal ends it. `refresh_at_start` makes every stored grant due at once.
///
/// # Errors
/// [`DaemonError`] says why it could not start, or why it had to end.
pub async fn run(config: Config, refresh_at_start: bool) -> Result<(), DaemonError> {
    log::info!("webex-tokend {}", env!("CARGO_PKG_VERSION"));
    for remark in &config.remarks {
        log::warn!("{remark}");
    }
    let house = House::build(&config).await?;
    let control = match &config.control_socket {
        Some(path) => Some(ControlSocket::open(path).await?),
        None => None,
    };
    let listeners = listen(&config.door.addresses).await?;
    let feed =
        if config.door.secure { Some(certificate(&config.door, house.clock.now().seconds())?) } else { None };
    if let Some(hook) = config.hook.clone() {
        let person = hook.person.clone();
        match house.consents.hook(hook).await? {
            Hooked::Put => log::warn!("test hook: {person} was put into the store, aged for the first wake"),
            Hooked::Aged => {
                log::warn!("test hook: {person} is in the store already, its tokens are kept and aged")
            }
        }
    }
    tell_start(&config, &*house.store).await?;

    let api = api(&house, &config);
    let House { refresher, tasks, wake, .. } = house;
    let secure = follow(feed, &config.door, &tasks)?;
    if let Some(control) = control {
        tasks.spawn("control socket", control.serve(api.clone(), tasks.clone()));
    }
    let door = Arc::new(Door::new(api, &config.door.redirect_uri));
    let doors = u32::try_from(listeners.len()).unwrap_or(u32::MAX);
    let limits = Arc::new(Limits::within(open_files(), doors));
    for listener in listeners {
        serve_on(listener, secure.clone(), limits.clone(), door.clone(), &tasks);
    }
    let event_loop = EventLoop::new(refresher.clone(), wake, tasks.stopping());
    let looping = tasks.spawn("event loop", async move {
        if let Err(why) = refresher.prepare(refresh_at_start).await {
            log::error!("the stored schedule could not be brought in line with the settings: {why}");
        }
        event_loop.run().await;
    });

    let ended = tokio::select! {
        _ = looping => Err(DaemonError::Ended("event loop")),
        name = ended_by_signal() => name.map(|name| log::info!("{name}: finishing what runs, for at most {GRACE:?}")),
    };
    tasks.stop();
    tokio::select! {
        drained = timeout(GRACE, tasks.drained()) => {
            if drained.is_err() {
                log::warn!("not everything was finished in {GRACE:?}; refreshes cut short are sent again at the next start");
            }
        }
        _ = ended_by_signal() => log::warn!("a second signal: leaving at once"),
    }
    log::info!("webex-tokend ends");
    ended
}

/// The API on the parts of `house`.
fn api(house: &House, config: &Config) -> Api {
    Api::new(api::Parts {
        consents: house.consents.clone(),
        refresher: house.refresher.clone(),
        view: house.view.clone(),
        keys: house.keys.clone(),
        clock: house.clock.clone(),
        policy: config.policy,
        health: house.health.clone(),
        tasks: house.tasks.clone(),
        redirect_uri: config.integration.redirect_uri.clone(),
    })
}

async fn listen(addresses: &[Listen]) -> Result<Vec<TcpListener>, DaemonError> {
    let mut listeners = Vec::new();
    for listen in addresses {
        match TcpListener::bind(listen.address).await {
            Ok(listener) => listeners.push(listener),
            // A dual-stack socket may hold the port for both kinds, and many machines have no IPv6.
            Err(e) if listen.optional => log::debug!("not listening on {}: {e}", listen.address),
            Err(e) => return Err(DaemonError::Listen(listen.address, e)),
        }
    }
    Ok(listeners)
}

/// Which certificate is served, and who follows it.
struct Certificate {
    feed: TlsFeed,
    reloader: Option<Reloader>,
}

fn certificate(door: &DoorConfig, now_unix_seconds: i64) -> Result<Certificate, DaemonError> {
    let wrong = |e: &dyn std::fmt::Display| DaemonError::Certificate(e.to_string());
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

fn follow(
    certificate: Option<Certificate>,
    door: &DoorConfig,
    tasks: &Tasks,
) -> Result<Option<Secure>, DaemonError> {
    let Some(Certificate { feed, reloader }) = certificate else { return Ok(None) };
    if let Some(reloader) = reloader {
        tasks.spawn("certificate", reloader.watch(tasks.clone(), tls::LOOK_EVERY));
    }
    let url = &door.redirect_uri;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let authority = format!("{}{port}", url.host_str().unwrap_or("localhost"));
    let unfit = || DaemonError::System(format!("the redirect URI's host {authority:?} is no host name"));
    Ok(Some(Secure { feed, authority: Authority::parse(&authority).ok_or_else(unfit)? }))
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

async fn tell_start(config: &Config, store: &dyn Store) -> Result<(), StoreError> {
    let census = store.census().await?;
    let kept = config.store.path().map_or_else(|| "memory".to_owned(), |path| path.display().to_string());
    log::info!("persons kept: {}, in {kept}", census.people);
    if census.consent_needed > 0 {
        log::warn!("in need of consent: {}", census.consent_needed);
    }
    if census.elsewhere > 0 {
        log::warn!("kept for other client ids than MY_APP_CLIENT_ID, and left alone: {}", census.elsewhere);
    }
    for listen in &config.door.addresses {
        log::info!("listening on {}", listen.address);
    }
    let url = &config.door.redirect_uri;
    log::info!("open {} to consent", url.as_str().strip_suffix("oauth").unwrap_or(url.as_str()));
    Ok(())
}

async fn ended_by_signal() -> Result<&'static str, DaemonError> {
    let hear = |kind| signal(kind).map_err(|e| DaemonError::System(format!("signals cannot be heard: {e}")));
    let (mut terminate, mut interrupt) = (hear(SignalKind::terminate())?, hear(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}
