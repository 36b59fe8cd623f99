//! One refresh: claimed grant -> Webex -> verdict -> stored result -> one log line.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use log::Level;
use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;

use crate::clock::Clock;
use crate::domain::breaker::Breaker;
use crate::domain::breaker::DueSummary;
use crate::domain::breaker::Pause;
use crate::domain::breaker::Role;
use crate::domain::grant::GrantStatus;
use crate::domain::notice::facts::after_refresh;
use crate::domain::person::PersonId;
use crate::domain::schedule::Policy;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;
use crate::domain::verdict::Verdict;
use crate::grant_cache::EventPosition;
use crate::grant_cache::GrantCache;
use crate::health::PendingCommits;
use crate::refresh::breaker_state::BreakerState;
use crate::refresh::breaker_state::sent_refresh;
use crate::refresh::in_flight::InFlight;
use crate::refresh::in_flight::InFlightGuard;
use crate::refresh::person_check::PersonChecks;
use crate::refresh::rate_limit::RateLimits;
use crate::refresh::rate_limit::StartReason;
use crate::refresh::rate_limit::StartSchedule;
use crate::refresh::report::PauseLogThrottle;
use crate::refresh::report::log_about;
use crate::refresh::report::log_discarded;
use crate::refresh::report::log_level;
use crate::refresh::reschedule::ClockCorrection;
use crate::refresh::reschedule::StartOptions;
use crate::store::Claim;
use crate::store::ClaimOrder;
use crate::store::ClaimRequest;
use crate::store::Committed;
use crate::store::Lease;
use crate::store::ListRequest;
use crate::store::ListSelection;
use crate::store::SortBy;
use crate::store::Store;
use crate::store::StoreError;
use crate::tasks::Tasks;
use crate::webex::Webex;
use crate::webex::transport::TOTAL_TIMEOUT;

/// Lease of a claim: enough for the wait for the start, the whole call and the commit.
pub(super) const LEASE: Duration = Duration::from_secs(180);

/// A refresh is not sent if less than this is left of its lease, for instance after the machine was suspended.
const MIN_LEASE_LEFT: Duration = Duration::from_secs(TOTAL_TIMEOUT.as_secs() + 20);

/// Grants to look through for one that is not claimed.
const PROBE_CANDIDATES: u32 = 50;

/// Refreshes the grants of one integration. The event loop, the API and the pages share it.
pub struct RefreshService {
    parts: RefreshServiceParts,
    starts: StartSchedule,
    breaker_state: BreakerState,
    /// The start of the daemon whose preparations the store has interrupted.
    unprepared: Mutex<Option<StartOptions>>,
    /// When it was last logged that refreshes pause.
    pub(super) told_again: PauseLogThrottle,
    set_back: Mutex<ClockCorrection>,
    /// Results that are not stored yet.
    pub(super) unkept: Arc<PendingCommits>,
    busy: InFlight,
    /// Permits for calls of the event loop. A grant that waits for its call or for its commit needs none.
    calls: Semaphore,
    /// Permits for calls on demand; as many as the event loop has.
    asked: Semaphore,
    /// Permits one batch claim at a time, until all its grants are marked as busy.
    claiming: Semaphore,
    /// Claims of the loop so far.
    claims: AtomicUsize,
    person_checks: PersonChecks,
}

/// What a refresher needs.
pub struct RefreshServiceParts {
    /// The client for Webex.
    pub webex: Arc<Webex>,
    /// Stores the results.
    pub store: Arc<dyn Store>,
    /// Plans the next refresh.
    pub policy: Policy,
    /// Limits how many refreshes run at once and how many start per second.
    pub pace: RateLimits,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// The cache of grants, which learns of every stored result.
    pub view: Arc<GrantCache>,
    /// The name of this process in claims.
    pub owner: String,
    /// Runs refreshes on demand. When it stops, retries of commits end.
    pub tasks: Tasks,
}

/// A claim with its mark, which excludes other tasks of this process until it is dropped.
pub(super) struct ClaimedGrant {
    pub(super) claim: Claim,
    pub(super) busy: InFlightGuard,
    pub(super) role: Role,
    /// Whether a reader or an operator waits for it.
    on_demand: bool,
    /// By how much its dates had been corrected when it was claimed, at least.
    mended: Duration,
    /// The latest change that had been published when it was claimed, at most.
    published: EventPosition,
}

impl RefreshService {
    /// Creates a refresher without work.
    #[must_use]
    pub fn new(parts: RefreshServiceParts) -> Self {
        let starts = parts.pace.start_schedule();
        let places = || Semaphore::new(parts.pace.concurrency);
        let (calls, asked) = (places(), places());
        Self {
            person_checks: PersonChecks::new(&parts),
            parts,
            starts,
            breaker_state: BreakerState::default(),
            unprepared: Mutex::new(None),
            told_again: PauseLogThrottle::default(),
            set_back: Mutex::default(),
            unkept: Arc::default(),
            busy: InFlight::default(),
            calls,
            asked,
            claiming: Semaphore::new(1),
            claims: AtomicUsize::new(0),
        }
    }

    /// The pause of all refreshes, if there is one at present.
    #[must_use]
    pub fn pause(&self) -> Option<Pause> {
        self.breaker().pause()
    }

    /// The limits of concurrency and rate.
    #[must_use]
    pub fn pace(&self) -> RateLimits {
        self.parts.pace
    }

    /// Loads the state of the breaker that the last run stored. Calls after the first success do nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read; refreshes then continue without the stored state.
    pub async fn load_breaker(&self) -> Result<(), StoreError> {
        self.breaker_state.load(&*self.parts.store, self.parts.clock.now()).await
    }

    /// Stores the state of the breaker, if it has changed since it was last stored.
    pub(super) async fn save_breaker(&self) {
        self.breaker_state.save(&*self.parts.store).await;
    }

    pub(super) fn parts(&self) -> &RefreshServiceParts {
        &self.parts
    }

    pub(super) fn starts(&self) -> &StartSchedule {
        &self.starts
    }

    pub(super) fn on_demand_slots(&self) -> &Semaphore {
        &self.asked
    }

    pub(super) fn in_flight(&self) -> &InFlight {
        &self.busy
    }

    /// Whether a refresh is under way or waits for its turn.
    pub(super) fn has_work(&self) -> bool {
        !self.busy.persons().is_empty()
    }

    pub(super) fn pending_start(&self) -> MutexGuard<'_, Option<StartOptions>> {
        self.unprepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_back(&self) -> MutexGuard<'_, ClockCorrection> {
        self.set_back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker_state.breaker()
    }

    /// Claims up to `limit` grants that were due at `due_by`. A refresh may be sent only for a claimed grant.
    pub(super) async fn claim(
        &self,
        due_by: UnixTime,
        limit: usize,
        probe: bool,
    ) -> Result<(Vec<ClaimedGrant>, Vec<PersonId>), StoreError> {
        let now = self.parts.clock.now();
        let order = if probe { ClaimOrder::Healthiest } else { self.next_claim_order() };
        let ask = ClaimRequest {
            lease: self.lease(now),
            due_by: due_by.min(now),
            limit,
            except: self.busy.persons(),
            order,
        };
        let (mended, published) = (self.set_back().mended, self.parts.view.events().position());
        // The semaphore is never closed.
        let _claiming = self.claiming.acquire().await;
        let claims = self.parts.store.claim_due(ask).await?;
        let role = if probe { Role::Probe } else { Role::Ordinary };
        let take = |claim: Claim| {
            let busy = self.busy.begin(&claim.grant.person.id);
            ClaimedGrant { claim, busy, role, on_demand: false, mended, published }
        };
        Ok((claims.claims.into_iter().map(take).collect(), claims.unreadable))
    }

    /// Three orders in turn: by the least life left alone, a few grants whose calls hang would starve all others.
    fn next_claim_order(&self) -> ClaimOrder {
        match self.claims.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => ClaimOrder::LeastLife,
            1 => ClaimOrder::NoFailures,
            _ => ClaimOrder::LongestFailing,
        }
    }

    /// Claims the living grant that is due next for a probe, however far ahead that is.
    pub(super) async fn claim_next(&self) -> Result<Option<ClaimedGrant>, StoreError> {
        let page = ListRequest::first_page(
            ListSelection::All(SortBy::NextRefresh),
            PROBE_CANDIDATES,
            self.parts.clock.now(),
        );
        for (_, grant) in self.parts.store.list(page).await? {
            if grant.status != GrantStatus::Active {
                continue;
            }
            let taken = self.claim_probe(&grant.person.id).await?;
            if taken.is_some() {
                return Ok(taken);
            }
        }
        Ok(None)
    }

    /// Claims one person's grant for a probe, unless it is being refreshed.
    pub(super) async fn claim_probe(&self, person: &PersonId) -> Result<Option<ClaimedGrant>, StoreError> {
        let (_, busy) = self.busy.join(person);
        let Some(busy) = busy else { return Ok(None) };
        let taken = self.claim_one(busy, Role::Probe).await?;
        Ok(taken.map(|taken| ClaimedGrant { on_demand: false, ..taken }))
    }

    /// What waits for a refresh. While the breaker is closed, that does not matter and is not read.
    pub(super) async fn due_summary(&self) -> Result<DueSummary, StoreError> {
        if self.breaker().is_open() {
            self.parts.store.due_summary(self.parts.clock.now()).await
        } else {
            Ok(DueSummary::default())
        }
    }

    /// Claims one person's grant, due or not, for a reader or an operator.
    pub(super) async fn claim_one(
        &self,
        busy: InFlightGuard,
        role: Role,
    ) -> Result<Option<ClaimedGrant>, StoreError> {
        let (lease, mended) = (self.lease(self.parts.clock.now()), self.set_back().mended);
        let published = self.parts.view.events().position();
        if let Some(claim) = self.parts.store.claim_one(busy.person().clone(), lease).await? {
            return Ok(Some(ClaimedGrant { claim, busy, role, on_demand: true, mended, published }));
        }
        // The event loop may have claimed the grant a moment ago. Then callers that wait for `busy` wait for the loop's
        // refresh, which must be marked before this mark is removed.
        drop(self.claiming.acquire().await);
        Ok(None)
    }

    pub(super) fn lease(&self, now: UnixTime) -> Lease {
        Lease { now, owner: self.parts.owner.clone(), end: now + LEASE }
    }

    /// Refreshes a claimed grant and stores the result. `None` if the refresh was not sent, or its result not stored.
    pub(super) async fn refresh(&self, taken: ClaimedGrant) -> Option<Outcome> {
        let claimed_at = self.parts.clock.now();
        // The semaphore is never closed. The permit comes first, because a start that is not used at once would be lost.
        let place = self.calls.acquire().await.ok()?;
        self.starts.next(StartReason::Due).await;
        let grant = &taken.claim.grant;
        if self.parts.view.events().changed_since(taken.published, &grant.person.id) {
            log_about(&grant.person, Level::Info, "not refreshed: the grant was replaced or removed");
            drop(place);
            self.release(taken).await;
            return None;
        }
        if let Some(why) = self.reason_to_skip(&taken, claimed_at) {
            let person = &taken.claim.grant.person;
            log_about(person, Level::Info, &format!("not refreshed: {why}; it is due again"));
            drop(place);
            self.release(taken).await;
            return None;
        }
        self.send(taken, place).await
    }

    /// Why a claimed grant is not refreshed after all: what has changed while it waited for its turn.
    fn reason_to_skip(&self, taken: &ClaimedGrant, claimed_at: UnixTime) -> Option<&'static str> {
        let late = self.parts.clock.now() + MIN_LEASE_LEFT > claimed_at + LEASE;
        let paused = !self.breaker().may_send(taken.role);
        match () {
            () if late => Some("its claim would end during the call"),
            () if paused => Some("refreshes pause"),
            () if self.commit_stalled() => Some("the store cannot be written at present"),
            () if self.parts.tasks.stopping().is_cancelled() => Some("the daemon is stopping"),
            () => None,
        }
    }

    /// Releases a claim without a refresh. If that fails, its lease ends by itself.
    async fn release(&self, taken: ClaimedGrant) {
        let ClaimedGrant { claim: Claim { mut grant, fence }, busy: _busy, role, mut mended, .. } = taken;
        if role == Role::Probe {
            self.breaker().cancel_probe();
        }
        self.mend(&mut grant, &mut mended);
        match self.parts.store.release(grant.person.id.clone(), fence, grant.next).await {
            Ok(_) => self.parts.view.invalidate(&grant.person.id),
            Err(why) => {
                log_about(&grant.person, why.log_level(), &format!("cannot release the claim: {why}"))
            }
        }
    }

    /// Refreshes a claimed grant whose turn has come. The permit is released when Webex has responded, so the next call need
    /// not wait for the commit.
    pub(super) async fn send(&self, taken: ClaimedGrant, place: SemaphorePermit<'_>) -> Option<Outcome> {
        let ClaimedGrant { mut claim, busy: _busy, role, on_demand, mut mended, .. } = taken;
        let reply = self.parts.webex.refresh(&claim.grant.tokens.refresh_token).await;
        let verdict = Verdict::from_response(reply.fact, &claim.grant.tokens);
        let only_person = self.is_the_only_person(&verdict).await;
        let now = self.parts.clock.now();
        self.mend(&mut claim.grant, &mut mended);
        let (verdict, turn, repeated) = {
            let mut breaker = self.breaker();
            let sent = sent_refresh(&claim.grant, (role, on_demand, only_person), now);
            let (verdict, turn) = breaker.record(verdict, &sent, reply.retry_after, now);
            let repeated = breaker.cause().is_some_and(|cause| cause.explains(verdict.outcome()));
            (verdict, turn, repeated)
        };
        // Not sooner: the next call must find the breaker as this response leaves it.
        drop(place);
        self.report_transition(turn);
        let next = claim.grant.after(verdict, reply.retry_after, reply.sent_at, &self.parts.policy, now);
        let next = after_refresh(&claim.grant, next);
        let kept = self.commit_with_retry(claim.fence, &next, mended).await;
        self.save_breaker().await;
        if kept == Some(Committed::Kept) {
            let level = log_level(next.last.outcome, repeated);
            self.log_refresh(level, &next, reply.tracking_id.as_deref(), now);
            if next.last.outcome == Outcome::Renewed && self.pause().is_none() {
                self.person_checks.after_refresh(&next);
            }
        } else if kept == Some(Committed::Superseded) {
            log_discarded(&next.person, reply.tracking_id.as_deref());
        }
        kept.filter(|kept| *kept == Committed::Kept).map(|_| next.last.outcome)
    }

    /// Whether there is no other living grant. Read only after a failure, where it matters.
    async fn is_the_only_person(&self, verdict: &Verdict) -> bool {
        if matches!(verdict, Verdict::Renewed(_) | Verdict::Unchanged(_)) {
            return false;
        }
        let totals = self.parts.store.totals().await;
        totals.is_ok_and(|totals| totals.people.saturating_sub(totals.consent_needed) <= 1)
    }
}
