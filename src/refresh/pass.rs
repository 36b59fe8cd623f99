//! One pass of the event loop: claims the due grants and starts their refreshes.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::task::JoinSet;

use crate::domain::breaker::Admission;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;
use crate::refresh::claim::ClaimedGrant;
use crate::refresh::pace::is_urgent;
use crate::refresh::rate_limit::MAX_START_WAIT;
use crate::refresh::rate_limit::RateLimits;
use crate::refresh::rate_limit::spacing;
use crate::refresh::service::RefreshService;

/// Pause before the store is tried again after an error.
pub(super) const STORE_RETRY: Duration = Duration::from_secs(30);

/// The refreshes under way, and the results of those that have ended.
pub(super) struct Pass {
    refresher: Arc<RefreshService>,
    running: JoinSet<(PersonId, Option<Outcome>)>,
    /// Counts the refreshes that are not urgent and have not started: each holds a clone.
    waiting_not_urgent: Arc<()>,
    tally: PassResult,
    /// Whether the last claim failed, or was not tried because of the store.
    stuck: bool,
}

/// The results of a pass, as numbers of grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PassResult {
    sent: usize,
    renewed: usize,
    unchanged: usize,
    consent_needed: usize,
    failed: usize,
    /// Tasks that panicked.
    broken: usize,
    /// Grants whose refresh was not sent, or whose result was not stored. A grant that is claimed again is removed from here.
    dropped: BTreeSet<PersonId>,
}

impl fmt::Display for PassResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} due: {} renewed, {} unchanged, {} failed, {} in need of consent",
            self.sent, self.renewed, self.unchanged, self.failed, self.consent_needed
        )?;
        let dropped = self.broken + self.dropped.len();
        if dropped > 0 { write!(f, ", {dropped} dropped") } else { Ok(()) }
    }
}

/// How one step of a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PassStep {
    /// More grants may be claimed now.
    More,
    /// The limit of concurrency is reached: wait until a refresh ends.
    Full,
    /// The limit of the rate is reached: wait this long.
    Later(Duration),
    /// No more grants are due.
    Done,
    /// The breaker holds back the due grants.
    Held,
    /// Grants that were due at `due_by` cannot be claimed before `until`.
    Stuck {
        /// Grants that fall due later can be claimed.
        due_by: UnixTime,
        /// When to try again.
        until: UnixTime,
    },
    /// The store failed. The loop must wake at this time, whatever is due.
    Failed(UnixTime),
}

impl Pass {
    pub(super) fn new(refresher: Arc<RefreshService>) -> Self {
        Self {
            refresher,
            running: JoinSet::new(),
            waiting_not_urgent: Arc::default(),
            tally: PassResult::default(),
            stuck: false,
        }
    }

    /// Claims grants that were due at `due_by`, as many as may run now, and starts their refreshes.
    pub(super) async fn step(&mut self, due_by: UnixTime) -> PassStep {
        self.count_ended();
        let context = &self.refresher.context;
        let limits = self.refresher.current_limits();
        let batch = match self.next_batch(limits) {
            Ok(batch) => batch,
            Err(step) => return step,
        };
        let ahead = self.refresher.starts().backlog();
        if ahead > MAX_START_WAIT {
            return PassStep::Later(ahead - MAX_START_WAIT);
        }
        let now = context.clock.now();
        self.stuck = self.refresher.commit_stalled();
        if self.stuck {
            return PassStep::Failed(now + STORE_RETRY);
        }
        let (admission, next_to_die) = match self.admit(now).await {
            Ok(admitted) => admitted,
            Err(step) => return step,
        };
        let limit = match admission {
            Admission::Go => batch,
            Admission::Probe { .. } => 1,
            Admission::Hold(_) => return PassStep::Held,
        };
        let probe = limit == 1 && admission != Admission::Go;
        let claimed = match next_to_die {
            Some(person) => {
                let taken = self.refresher.claim_probe(&person).await;
                taken.map(|taken| (taken.into_iter().collect(), Vec::new()))
            }
            None => self.refresher.claim(due_by, limit, probe).await,
        };
        self.stuck = claimed.is_err();
        let (taken, unreadable) = match claimed {
            Ok(claimed) => claimed,
            Err(why) => {
                log::log!(
                    why.log_level(),
                    "no refresh is sent, because no grant could be claimed in the store: {why}"
                );
                if probe {
                    self.refresher.breaker().cancel_probe();
                }
                return PassStep::Failed(now + STORE_RETRY);
            }
        };
        for person in &unreadable {
            // The store has logged the reason.
            log::warn!(
                person = person.as_str();
                "a stored record does not open: consent needed at {}; the record is tried again in a day",
                context.webex.consent_url(&Person::known_by(person.clone()))
            );
            context.cache.invalidate(person);
        }
        let taken = if probe && taken.is_empty() { self.probe_without_due_grants().await } else { taken };
        let found = taken.len();
        if probe && found == 0 {
            self.refresher.breaker().cancel_probe();
        }
        for taken in taken {
            self.start(taken);
        }
        let nothing = found + unreadable.len() == 0;
        if nothing && (probe || self.refresher.has_work()) {
            // The due grants may be under way here for longer than their leases, for instance because their results cannot
            // be stored yet.
            return PassStep::Stuck { due_by, until: now + STORE_RETRY };
        }
        if found + unreadable.len() < limit { PassStep::Done } else { PassStep::More }
    }

    /// How many grants to claim next, or when to try again.
    ///
    /// At a higher pace, refreshes that are not urgent wait for starts at the configured rate. Those beyond the configured number wait
    /// without a call permit, so urgent grants are claimed beside them. How many may be claimed is limited, because their leases must
    /// not end during the wait. Living tokens are claimed first, so no dead one is claimed while more of them are due.
    fn next_batch(&self, limits: RateLimits) -> Result<usize, PassStep> {
        let configured = self.refresher.configured_limits();
        let waiting = Arc::strong_count(&self.waiting_not_urgent) - 1;
        let running = self.running.len().saturating_sub(waiting.saturating_sub(configured.max_claimed()));
        let free = limits.max_claimed().saturating_sub(running);
        if free < limits.min_batch() {
            return Err(PassStep::Full);
        }
        let batch = free.min(limits.max_batch());
        if limits.per_second <= configured.per_second {
            return Ok(batch);
        }
        match configured.max_not_urgent().saturating_sub(waiting) {
            // The calls of those that have started may hang, so the end of one is no sign.
            0 => Err(PassStep::Later(spacing(configured.per_second))),
            most => Ok(batch.min(most)),
        }
    }

    /// Asks the breaker what may be sent now, and for which person if the probe must be a particular one.
    async fn admit(&self, now: UnixTime) -> Result<(Admission, Option<PersonId>), PassStep> {
        self.refresher.end_mass_refusal(now).await;
        let waiting = self.refresher.due_summary().await.map_err(|why| {
            log::log!(why.log_level(), "no refresh is sent, because the store cannot be read: {why}");
            PassStep::Failed(now + STORE_RETRY)
        })?;
        let mut breaker = self.refresher.breaker();
        if breaker.is_open() && !waiting.due && !breaker.is_untried() {
            return Err(PassStep::Done);
        }
        let admission = breaker.admit(&waiting, now);
        let next_to_die = waiting.next_to_die.filter(|_| admission == Admission::Probe { next_to_die: true });
        Ok((admission, next_to_die.map(|(person, _)| person)))
    }

    /// The probe if no grant is due: none, unless this start may have fixed a refused client.
    async fn probe_without_due_grants(&self) -> Vec<ClaimedGrant> {
        if !self.refresher.breaker().is_untried() {
            return Vec::new();
        }
        let next = self.refresher.claim_next().await;
        next.inspect_err(|why| log::log!(why.log_level(), "no probe is sent: {why}"))
            .ok()
            .flatten()
            .into_iter()
            .collect()
    }

    fn start(&mut self, taken: ClaimedGrant) {
        let person = taken.claim.grant.person.id.clone();
        // A grant whose claim was released in this pass is counted already.
        self.tally.sent += usize::from(!self.tally.dropped.remove(&person));
        let refresher = self.refresher.clone();
        let urgent = is_urgent(&taken.claim.grant, refresher.context.clock.now());
        let waiting = (!urgent).then(|| self.waiting_not_urgent.clone());
        self.running.spawn(async move { (person, refresher.refresh(taken, waiting).await) });
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.running.len()
    }

    /// Waits for one refresh to end. Cancel safe.
    pub(super) async fn wait_for_one(&mut self) {
        if let Some(joined) = self.running.join_next().await {
            self.count(joined);
        }
        self.count_ended();
    }

    /// Counts all refreshes that have ended, so that others may start.
    fn count_ended(&mut self) {
        while let Some(joined) = self.running.try_join_next() {
            self.count(joined);
        }
    }

    fn count(&mut self, joined: Result<(PersonId, Option<Outcome>), JoinError>) {
        match joined {
            Ok((person, outcome)) => self.tally.count(person, outcome),
            // A panic loses no token: the lease of the claim ends by itself, and the grant is tried again.
            Err(e) => {
                log::error!("a refresh ended unexpectedly: {e}");
                self.tally.broken += 1;
            }
        }
    }

    /// Describes why there are no results.
    pub(super) fn idle_reason(&self) -> &'static str {
        if self.stuck { "nothing could be claimed" } else { "nothing is due" }
    }

    /// The results since the last call, if no refresh is running and at least one was started.
    pub(super) fn take_result(&mut self) -> Option<PassResult> {
        (self.is_idle() && self.tally.sent > 0).then(|| std::mem::take(&mut self.tally))
    }
}

impl PassResult {
    fn count(&mut self, person: PersonId, outcome: Option<Outcome>) {
        let place = match outcome {
            Some(Outcome::Renewed) => &mut self.renewed,
            Some(Outcome::Unchanged) => &mut self.unchanged,
            Some(Outcome::ConsentNeeded) => &mut self.consent_needed,
            Some(_) => &mut self.failed,
            None => {
                self.dropped.insert(person);
                return;
            }
        };
        *place += 1;
    }
}
