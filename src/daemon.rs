//! Opens the store, builds the services, starts the tasks, waits for a signal, and shuts down in order.

use std::sync::Arc;

use rustix::process::Signal as Kind;
use tokio::signal::unix::Signal;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::config::Config;
use crate::config::WEBEX_BASE;
use crate::consent::TestHookError;
use crate::domain::overview::GrantTotals;
use crate::domain::time::UnixTime;
use crate::http::api::Api;
use crate::http::api::ApiServices;
use crate::http::api::Caller;
use crate::http::server::control_error::ControlError;
use crate::http::server::control_socket::ControlSocket;
use crate::refresh::EventLoop;
use crate::services::BuildError;
use crate::services::Services;
use crate::services::http_server::HttpServer;
use crate::services::http_server::ServeError;
use crate::services::signals;
use crate::store::Store;
use crate::store::StoreError;
use crate::tasks::DRAIN_TIMEOUT;
use crate::tasks::Tasks;
use crate::tasks::Wake;

/// Why the daemon did not start, or stopped without a signal.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The services cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The HTTP server cannot be started.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A basic system call failed.
    #[error("{0}")]
    System(String),
    /// A task that must run until the shutdown has ended.
    #[error("the {0} ended unexpectedly; this is a bug, see the log")]
    Ended(&'static str),
}

/// Runs the daemon until a signal ends it. `refresh_at_start` makes every stored grant due at once.
///
/// # Errors
/// When the daemon cannot start, or when the event loop ends without a signal.
pub async fn run(config: Config, refresh_at_start: bool) -> Result<(), DaemonError> {
    let mut signals = Signals::listen()?;
    log::info!("webex-tokend {}", env!("CARGO_PKG_VERSION"));
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    let group = config.socket_group.as_ref();
    if let (Some(path), Some(group)) = (&config.control_socket, group) {
        ControlSocket::check(path, group)?;
    }
    let services = Services::build(&config).await?;
    let control = match &config.control_socket {
        Some(path) => Some(ControlSocket::open(path, group).await?),
        None => None,
    };
    let server = HttpServer::open(&config.http, services.api.clock.clone()).await?;
    if let Some(hook) = config.hook.clone() {
        let person = hook.person.clone();
        match services.api.consents.hook(hook).await? {
            TestHookError::Put => {
                log::warn!("test hook: {person} was added to the store, due for a refresh at once")
            }
            TestHookError::Aged => {
                log::warn!(
                    "test hook: {person} is stored already; its tokens are kept and are due for a refresh at once"
                )
            }
        }
    }
    log_start(&config, &server, &*services.store).await;

    let ApiServices { consents, refresher, tasks, notices, .. } = services.api.clone();
    let api = Api::new(services.api).serving(server.certificate());
    if let Some(served) = server.certificate() {
        let end = move || Some(UnixTime::from_seconds(served.shown.borrow().facts()?.ends));
        notices.watch_certificate_end(Arc::new(end));
    }
    notices.start(&tasks);
    // The servers stop after everything else, so that tokens are served until the last refresh has ended.
    let (serving, reload) = (Tasks::new(), Wake::new());
    if let Some(control) = control {
        serving.spawn("control socket", serve_control(control, api.clone(), serving.clone()));
    }
    server.serve(api, config.token_service.clone(), &serving, reload.clone());
    tasks.spawn("missing scopes", async move {
        if let Err(why) = consents.tell_missing_scopes().await {
            log::log!(why.log_level(), "cannot check the grants for missing scopes: {why}");
        }
    });
    let event_loop = EventLoop::new(refresher.clone());
    let looping = tasks.spawn("event loop", async move {
        if let Err(why) = refresher.prepare(refresh_at_start).await {
            log::error!("cannot apply the settings to the stored schedule: {why}");
        }
        event_loop.run().await;
    });

    let ended = tokio::select! {
        _ = looping => Err(DaemonError::Ended("event loop")),
        name = signals.wait(&reload) => {
            log::info!("{name}: shutting down; waiting up to {DRAIN_TIMEOUT:?} for running consents and refreshes, and serving tokens until then");
            Ok(())
        }
    };
    tokio::select! {
        () = finish(&tasks, &serving) => {}
        _ = signals.wait(&reload) => log::warn!("second signal: stopping at once"),
    }
    log::info!("webex-tokend stopped");
    ended
}

/// Serves the API without a key. A process that can open the control socket is the operator.
async fn serve_control(socket: ControlSocket, api: Api, tasks: Tasks) {
    let service = move |request| {
        let api = api.clone();
        async move { api.handle_incoming(request, Caller::Control).await }
    };
    socket.serve(service, tasks).await;
}

/// Starts nothing new, waits for what runs, then stops the servers.
async fn finish(tasks: &Tasks, serving: &Tasks) {
    let end = Instant::now() + DRAIN_TIMEOUT;
    tasks.stop();
    let finished = timeout_at(end, tasks.drained()).await;
    serving.stop();
    // The servers limit the time that their own end takes.
    serving.drained().await;
    // Waits for work that the last requests started, such as the end of a consent.
    if finished.is_err() || timeout_at(end, tasks.drained()).await.is_err() {
        log::warn!(
            "some work did not finish within {DRAIN_TIMEOUT:?}; interrupted refreshes are repeated at the next start"
        );
    }
}

async fn log_start(config: &Config, server: &HttpServer, store: &dyn Store) {
    let kept = config.store.path().map_or_else(|| "memory".to_owned(), |path| path.display().to_string());
    match store.totals().await {
        Ok(totals) => log_totals(totals, &kept),
        // The store may have a damaged page. The grants on other pages are still served.
        Err(why) => log::log!(why.log_level(), "store: cannot count the grants in {kept}: {why}"),
    }
    if config.integration.base != WEBEX_BASE {
        log::warn!("Webex's base URL is {} (WEBEX_API_BASE_URL)", config.integration.base);
    }
    if let Some(proxy) = &config.proxy {
        let except =
            proxy.except.as_ref().map(|hosts| format!(", except {hosts} (NO_PROXY)")).unwrap_or_default();
        log::info!("requests to Webex go through the proxy {proxy}{except}");
    }
    for address in server.addresses() {
        log::info!("listening on {address}");
    }
    let url = &config.http.redirect_uri;
    log::info!("open {} to consent", url.as_str().strip_suffix("oauth").unwrap_or(url.as_str()));
}

fn log_totals(totals: GrantTotals, kept: &str) {
    let grants = if totals.people == 1 { "grant" } else { "grants" };
    log::info!("store: {} {grants} in {kept}", totals.people);
    if totals.consent_needed > 0 {
        log::warn!("grants that need a new consent: {}", totals.consent_needed);
    }
    if totals.other_apps > 0 {
        log::warn!(
            "grants of other client ids than MY_APP_CLIENT_ID, which are ignored: {}",
            totals.other_apps
        );
    }
}

/// The signals that the daemon handles. Before this value exists, each of them kills the process.
struct Signals {
    /// Each of these starts an orderly shutdown.
    ending: [(&'static str, Signal); 4],
    /// The certificate's files are to be read again.
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self, DaemonError> {
        let unheard = |e| DaemonError::System(format!("cannot handle signals: {e}"));
        let hear = |kind| signals::handle(kind).map_err(unheard);
        signals::ignore_harmless().map_err(unheard)?;
        Ok(Self {
            ending: [
                ("SIGTERM", hear(Kind::TERM)?),
                ("SIGINT", hear(Kind::INT)?),
                ("SIGQUIT", hear(Kind::QUIT)?),
                ("SIGXCPU", hear(Kind::XCPU)?),
            ],
            hangup: hear(Kind::HUP)?,
        })
    }

    /// Returns the name of the next signal that asks for a shutdown. Until then, each `SIGHUP` notifies
    /// `reload`.
    async fn wait(&mut self, reload: &Wake) -> &'static str {
        let Self { ending: [(term, on_term), (int, on_int), (quit, on_quit), (cpu, on_cpu)], hangup } = self;
        loop {
            tokio::select! {
                _ = on_term.recv() => return term,
                _ = on_int.recv() => return int,
                _ = on_quit.recv() => return quit,
                _ = on_cpu.recv() => return cpu,
                _ = hangup.recv() => {
                    log::info!("SIGHUP: reading the certificate's files again");
                    reload.notify();
                }
            }
        }
    }
}
