//! Wiring only: open the store, build the parts, start the named tasks, wait, drain.

use rustix::process::Signal as Kind;
use tokio::signal::unix::Signal;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::config::Config;
use crate::config::WEBEX_BASE;
use crate::consent::Hooked;
use crate::house::House;
use crate::house::HouseError;
use crate::house::door::DoorError;
use crate::house::door::FrontDoor;
use crate::house::signals;
use crate::http::control::ControlError;
use crate::http::control::ControlSocket;
use crate::refresh::EventLoop;
use crate::store::Census;
use crate::store::Store;
use crate::store::StoreError;
use crate::tasks::GRACE;
use crate::tasks::Tasks;
use crate::tasks::Wake;

/// Why the daemon did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The parts cannot be put together.
    #[error(transparent)]
    House(#[from] HouseError),
    /// The store's refusal.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// People cannot come in.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The control socket cannot be had.
    #[error(transparent)]
    Control(#[from] ControlError),
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
    let mut signals = Signals::hear()?;
    log::info!("webex-tokend {}", env!("CARGO_PKG_VERSION"));
    for remark in &config.remarks {
        log::warn!("{remark}");
    }
    let group = config.socket_group.as_ref();
    if let (Some(path), Some(group)) = (&config.control_socket, group) {
        ControlSocket::check(path, group)?;
    }
    let house = House::build(&config).await?;
    let control = match &config.control_socket {
        Some(path) => Some(ControlSocket::open(path, group).await?),
        None => None,
    };
    let door = FrontDoor::open(&config.door, house.clock.clone()).await?;
    if let Some(hook) = config.hook.clone() {
        let person = hook.person.clone();
        match house.consents.hook(hook).await? {
            Hooked::Put => log::warn!("test hook: {person} was put into the store, aged for the first wake"),
            Hooked::Aged => {
                log::warn!("test hook: {person} is in the store already, its tokens are kept and aged")
            }
        }
    }
    tell_start(&config, &door, &*house.store).await;

    let api = house.api(&config).serving(door.certificate());
    let House { consents, refresher, tasks, wake, .. } = house;
    // They stop after everything else: live tokens are given until the last refresh is done.
    let (doors, reload) = (Tasks::new(), Wake::new());
    if let Some(control) = control {
        doors.spawn("control socket", control.serve(api.clone(), doors.clone()));
    }
    door.serve(api, config.token_service.clone(), &doors, reload.clone());
    tasks.spawn("missing scopes", async move {
        if let Err(why) = consents.tell_missing_scopes().await {
            log::log!(why.level(), "cannot check the grants for missing scopes: {why}");
        }
    });
    let event_loop = EventLoop::new(refresher.clone(), wake, tasks.stopping());
    let looping = tasks.spawn("event loop", async move {
        if let Err(why) = refresher.prepare(refresh_at_start).await {
            log::error!("the stored schedule could not be brought in line with the settings: {why}");
        }
        event_loop.run().await;
    });

    let ended = tokio::select! {
        _ = looping => Err(DaemonError::Ended("event loop")),
        name = signals.end(&reload) => {
            log::info!("{name}: shutting down; waiting up to {GRACE:?} for running consents and refreshes, live tokens are served until then");
            Ok(())
        }
    };
    tokio::select! {
        () = finish(&tasks, &doors) => {}
        _ = signals.end(&reload) => log::warn!("a second signal: leaving at once"),
    }
    log::info!("webex-tokend ends");
    ended
}

/// Begins nothing new, finishes what runs, and closes the doors then.
async fn finish(tasks: &Tasks, doors: &Tasks) {
    let end = Instant::now() + GRACE;
    tasks.stop();
    let finished = timeout_at(end, tasks.drained()).await;
    doors.stop();
    // The doors bound their own end.
    doors.drained().await;
    // What the last requests have begun, such as the end of a consent.
    if finished.is_err() || timeout_at(end, tasks.drained()).await.is_err() {
        log::warn!(
            "not everything was finished in {GRACE:?}; refreshes cut short are sent again at the next start"
        );
    }
}

async fn tell_start(config: &Config, door: &FrontDoor, store: &dyn Store) {
    let kept = config.store.path().map_or_else(|| "memory".to_owned(), |path| path.display().to_string());
    match store.census().await {
        Ok(census) => tell_census(census, &kept),
        // A page that is damaged: whoever stands on another one is served.
        Err(why) => log::log!(why.level(), "how many persons are kept in {kept} is not known: {why}"),
    }
    if config.integration.base != WEBEX_BASE {
        log::warn!("Webex is looked for at {} (WEBEX_API_BASE_URL)", config.integration.base);
    }
    if let Some(proxy) = &config.proxy {
        let except =
            proxy.except.as_ref().map(|hosts| format!(", but for {hosts} (NO_PROXY)")).unwrap_or_default();
        log::info!("Webex is reached through the proxy {proxy}{except}");
    }
    for address in door.addresses() {
        log::info!("listening on {address}");
    }
    let url = &config.door.redirect_uri;
    log::info!("open {} to consent", url.as_str().strip_suffix("oauth").unwrap_or(url.as_str()));
}

fn tell_census(census: Census, kept: &str) {
    log::info!("persons kept: {}, in {kept}", census.people);
    if census.consent_needed > 0 {
        log::warn!("in need of consent: {}", census.consent_needed);
    }
    if census.elsewhere > 0 {
        log::warn!("kept for other client ids than MY_APP_CLIENT_ID, and left alone: {}", census.elsewhere);
    }
}

/// The signals that the daemon knows, heard from when this is made: until then, they kill.
struct Signals {
    /// These ask for an orderly end.
    ending: [(&'static str, Signal); 4],
    /// Files are to be read again.
    hangup: Signal,
}

impl Signals {
    fn hear() -> Result<Self, DaemonError> {
        let unheard = |e| DaemonError::System(format!("signals cannot be heard: {e}"));
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

    /// The name of the next one that asks for an end. Until then, each `SIGHUP` nudges `reload`.
    async fn end(&mut self, reload: &Wake) -> &'static str {
        let Self { ending: [(term, on_term), (int, on_int), (quit, on_quit), (cpu, on_cpu)], hangup } = self;
        loop {
            tokio::select! {
                _ = on_term.recv() => return term,
                _ = on_int.recv() => return int,
                _ = on_quit.recv() => return quit,
                _ = on_cpu.recv() => return cpu,
                _ = hangup.recv() => {
                    log::info!("SIGHUP: reading the certificate's files again");
                    reload.nudge();
                }
            }
        }
    }
}
