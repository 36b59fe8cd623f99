//! The refresh service: its state, and the breaker that all refreshes of one integration share.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::sync::Notify;
use tokio::sync::Semaphore;

use crate::domain::breaker::Breaker;
use crate::domain::breaker::Pause;
use crate::domain::breaker::Transition;
use crate::domain::catch_up::PaceEvidence;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::health::PendingCommits;
use crate::log_throttle::LogThrottle;
use crate::refresh::backlog::BacklogWatch;
use crate::refresh::breaker_state::BreakerState;
use crate::refresh::consent_log::ConsentLogLimit;
use crate::refresh::in_flight::InFlight;
use crate::refresh::pace::RefreshPace;
use crate::refresh::person_check::PersonChecks;
use crate::refresh::rate_limit::RateLimits;
use crate::refresh::report::PAUSE_LOG_INTERVAL;
use crate::refresh::report::log_transition;
use crate::refresh::reschedule_state::ClockCorrection;
use crate::refresh::reschedule_state::StartOptions;
use crate::refresh::start_schedule::StartSchedule;
use crate::service_context::ServiceContext;
use crate::store::StoreError;

/// Refreshes the grants of one integration. The event loop, the API and the pages share it.
pub struct RefreshService {
    pub(super) context: ServiceContext,
    /// The configured limits of concurrency and rate.
    pub(super) limits: RateLimits,
    /// The name of this process in claims.
    pub(super) owner: String,
    pub(super) starts: StartSchedule,
    pub(super) backlog: BacklogWatch,
    pub(super) consent_log: ConsentLogLimit,
    pub(super) breaker_state: BreakerState,
    /// The start of the daemon whose preparations the store has interrupted.
    unprepared: Mutex<Option<StartOptions>>,
    /// Limits the log lines that say that refreshes still pause.
    pub(super) pause_log: LogThrottle,
    set_back: Mutex<ClockCorrection>,
    /// Results that are not stored yet.
    pub(super) unkept: Arc<PendingCommits>,
    pub(super) busy: InFlight,
    /// The current pace, and the call permits. A refresh holds a permit while it waits for its start and
    /// during its call, not during its commit.
    pub(super) pace: RefreshPace,
    /// Wakes the tasks whose claimed grants wait for a start when refreshes pause.
    pub(super) paused: Notify,
    /// Permits one batch claim at a time, until all its grants are marked as busy.
    pub(super) claiming: Semaphore,
    /// Claims of the loop so far.
    pub(super) claims: AtomicUsize,
    pub(super) person_checks: PersonChecks,
}

impl RefreshService {
    /// Creates a refresher without work. `owner` is the name of this process in claims, unique among the processes that
    /// have used the store.
    #[must_use]
    pub fn new(context: ServiceContext, limits: RateLimits, owner: String) -> Self {
        let starts = StartSchedule::new(limits);
        let pace = RefreshPace::new(limits, 0.0);
        Self {
            person_checks: PersonChecks::new(context.clone(), limits),
            context,
            limits,
            owner,
            starts,
            backlog: BacklogWatch::default(),
            consent_log: ConsentLogLimit::default(),
            breaker_state: BreakerState::default(),
            unprepared: Mutex::new(None),
            pause_log: LogThrottle::new(PAUSE_LOG_INTERVAL),
            set_back: Mutex::default(),
            unkept: Arc::default(),
            busy: InFlight::default(),
            pace,
            paused: Notify::new(),
            claiming: Semaphore::new(1),
            claims: AtomicUsize::new(0),
        }
    }

    /// Lets the pace grow up to this many refreshes a second while tokens are dead or within their survival margin. A limit that is
    /// not above the configured rate keeps the pace.
    #[must_use]
    pub fn with_catch_up(self, most_per_second: f64) -> Self {
        Self { pace: RefreshPace::new(self.limits, most_per_second), ..self }
    }

    /// The pause of all refreshes, if there is one at present.
    #[must_use]
    pub fn pause(&self) -> Option<Pause> {
        self.breaker().pause()
    }

    /// The configured limits of concurrency and rate.
    #[must_use]
    pub fn configured_limits(&self) -> RateLimits {
        self.limits
    }

    /// The limits at the current pace, which then applies to starts and calls.
    pub(super) fn current_limits(&self) -> RateLimits {
        self.pace.apply(self.limits, &self.starts)
    }

    /// Takes what an answer says about the pace; `urgent`: the token was dead or within its survival margin.
    pub(super) fn pace_answered(&self, evidence: PaceEvidence, urgent: bool) {
        if self.breaker().is_open() {
            self.pace.return_to_configured();
            self.paused.notify_waiters();
        } else {
            self.pace.answered(evidence, urgent);
        }
        self.current_limits();
    }

    /// Loads the state of the breaker that the last run stored. Calls after the first success do nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read; refreshes then continue without the stored state.
    pub async fn load_breaker(&self) -> Result<(), StoreError> {
        self.breaker_state.load(&*self.context.store, self.context.clock.now()).await
    }

    /// Stores the state of the breaker, if it has changed since it was last stored.
    pub(super) async fn save_breaker(&self) {
        self.breaker_state.save(&*self.context.store).await;
    }

    pub(super) fn starts(&self) -> &StartSchedule {
        &self.starts
    }

    pub(super) fn in_flight(&self) -> &InFlight {
        &self.busy
    }

    /// Whether a refresh is under way or waits for its turn.
    pub(super) fn has_work(&self) -> bool {
        !self.busy.persons().is_empty()
    }

    pub(super) fn pending_start(&self) -> MutexGuard<'_, Option<StartOptions>> {
        self.unprepared.lock()
    }

    pub(super) fn set_back(&self) -> MutexGuard<'_, ClockCorrection> {
        self.set_back.lock()
    }

    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker_state.breaker()
    }

    /// Closes a breaker that many refused grants opened a day ago.
    pub(super) async fn end_mass_refusal(&self, now: UnixTime) {
        let turn = self.breaker().end_mass_refusal(now);
        if turn.is_some() {
            self.report_transition(turn);
            self.save_breaker().await;
        }
    }

    /// Closes a breaker that the last run left open because Webex refused the client, if Webex has issued tokens since, which
    /// it did at `issued_at`.
    pub(super) async fn close_if_accepted(&self, issued_at: UnixTime) -> bool {
        let turn = self.breaker().accept_client(issued_at);
        if turn.is_some() {
            self.report_transition(turn);
            self.save_breaker().await;
        }
        turn.is_some()
    }

    /// Logs a change of the breaker and publishes it as an event.
    pub(super) fn report_transition(&self, turn: Option<Transition>) {
        if turn.is_some() {
            self.context.cache.events().breaker_turned();
        }
        log_transition(turn, &self.pause_log);
    }

    /// Whether a refresh of `person` is under way in this process, or waits for its turn.
    #[must_use]
    pub fn is_refreshing(&self, person: &PersonId) -> bool {
        self.busy.contains(person)
    }
}
