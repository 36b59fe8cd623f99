//! One refresh: claimed grant -> Webex -> verdict -> kept outcome -> one log line.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;

use crate::clock::Clock;
use crate::domain::breaker::Breaker;
use crate::domain::breaker::Pause;
use crate::domain::breaker::Role;
use crate::domain::breaker::SentRefresh;
use crate::domain::breaker::Waiting;
use crate::domain::grant::Grant;
use crate::domain::grant::Standing;
use crate::domain::person::PersonId;
use crate::domain::schedule::Policy;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;
use crate::domain::verdict::Verdict;
use crate::health::UnkeptResults;
use crate::refresh::busy::Busy;
use crate::refresh::busy::BusyList;
use crate::refresh::gate::Gate;
use crate::refresh::pace::Pace;
use crate::refresh::pace::Reason;
use crate::refresh::pace::Starts;
use crate::refresh::person_check::PersonChecks;
use crate::refresh::report::ToldAgain;
use crate::refresh::report::level;
use crate::refresh::revise::SetBack;
use crate::refresh::revise::Start;
use crate::store::Ask;
use crate::store::Claim;
use crate::store::ClaimOrder;
use crate::store::Committed;
use crate::store::Lease;
use crate::store::Order;
use crate::store::Page;
use crate::store::Pick;
use crate::store::Store;
use crate::store::StoreError;
use crate::tasks::Tasks;
use crate::tokens::LiveView;
use crate::tokens::Mark;
use crate::webex::Webex;
use crate::webex::transport::WHOLE;

/// How long others keep away from a claimed grant: the wait for its start, the whole call, and time to keep it.
pub(super) const LEASE: Duration = Duration::from_secs(180);

/// A refresh is not sent when less than this is left of its lease (after a suspend, say).
const CALL: Duration = Duration::from_secs(WHOLE.as_secs() + 20);

/// Grants looked at to find one that is claimed by nobody.
const CANDIDATES: u32 = 50;

/// Refreshes grants of one integration. Shared by everything that may ask for one.
pub struct Refresher {
    parts: Parts,
    starts: Starts,
    gate: Gate,
    /// The start whose preparations the store did not let finish.
    unprepared: Mutex<Option<Start>>,
    /// When it was last logged that refreshes pause.
    pub(super) told_again: ToldAgain,
    set_back: Mutex<SetBack>,
    /// Outcomes that the store has not taken yet.
    pub(super) unkept: Arc<UnkeptResults>,
    busy: BusyList,
    /// Places of the loop's own calls. What waits for its call, or to be kept, needs none.
    calls: Semaphore,
    /// Refreshes that readers and people asked for; as many as the loop may run on its own.
    asked: Semaphore,
    /// One claim of many at a time, until all of them are marked as busy.
    claiming: Semaphore,
    /// Claims of the loop so far.
    claims: AtomicUsize,
    person_checks: PersonChecks,
}

/// The parts that a refresher is made of.
pub struct Parts {
    /// Who is asked.
    pub webex: Arc<Webex>,
    /// Where outcomes are kept.
    pub store: Arc<dyn Store>,
    /// Plans the next refresh.
    pub policy: Policy,
    /// Bounds how many and how fast.
    pub pace: Pace,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Told of every kept outcome.
    pub view: Arc<LiveView>,
    /// One name for each process.
    pub owner: String,
    /// Runs what readers ask for; its end ends the wait for a store that cannot be written.
    pub tasks: Tasks,
}

/// A claim, and the mark that keeps this process's other tasks away until it is dropped.
pub(super) struct Taken {
    pub(super) claim: Claim,
    pub(super) busy: Busy,
    pub(super) role: Role,
    /// A reader or an operator waits for it.
    on_demand: bool,
    /// What it had been mended by when it was claimed, at least.
    mended: Duration,
    /// What had been published when it was claimed, at most.
    published: Mark,
}

impl Refresher {
    /// Ready to refresh.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let starts = parts.pace.starts();
        let places = || Semaphore::new(parts.pace.at_once);
        let (calls, asked) = (places(), places());
        Self {
            person_checks: PersonChecks::new(&parts),
            parts,
            starts,
            gate: Gate::default(),
            unprepared: Mutex::new(None),
            told_again: ToldAgain::default(),
            set_back: Mutex::default(),
            unkept: Arc::default(),
            busy: BusyList::default(),
            calls,
            asked,
            claiming: Semaphore::new(1),
            claims: AtomicUsize::new(0),
        }
    }

    /// That refreshes of everybody pause at present, if they do.
    #[must_use]
    pub fn pause(&self) -> Option<Pause> {
        self.breaker().pause()
    }

    /// How many refreshes run at once, and how many start in a second.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.parts.pace
    }

    /// Goes on with the breaker that the last run left. Once is enough; more calls do nothing.
    ///
    /// # Errors
    /// The store's; refreshes go on without it then.
    pub async fn recall(&self) -> Result<(), StoreError> {
        self.gate.recall(&*self.parts.store, self.parts.clock.now()).await
    }

    /// Keeps the breaker, if it has turned since it was last kept.
    pub(super) async fn keep_breaker(&self) {
        self.gate.keep(&*self.parts.store).await;
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.parts
    }

    pub(super) fn starts(&self) -> &Starts {
        &self.starts
    }

    pub(super) fn asked(&self) -> &Semaphore {
        &self.asked
    }

    pub(super) fn busy(&self) -> &BusyList {
        &self.busy
    }

    /// Whether anything is in work.
    pub(super) fn is_busy(&self) -> bool {
        !self.busy.persons().is_empty()
    }

    pub(super) fn unprepared(&self) -> MutexGuard<'_, Option<Start>> {
        self.unprepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_back(&self) -> MutexGuard<'_, SetBack> {
        self.set_back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.gate.breaker()
    }

    /// Claims up to `limit` grants that were due at `due_by`. Nothing may be sent to Webex without a claim.
    pub(super) async fn claim(
        &self,
        due_by: UnixTime,
        limit: usize,
        probe: bool,
    ) -> Result<(Vec<Taken>, Vec<PersonId>), StoreError> {
        let now = self.parts.clock.now();
        let order = if probe { ClaimOrder::Healthiest } else { self.next_claim_order() };
        let ask = Ask {
            lease: self.lease(now),
            due_by: due_by.min(now),
            limit,
            except: self.busy.persons(),
            order,
        };
        let (mended, published) = (self.set_back().mended, self.parts.view.events().now());
        // It is never closed.
        let _claiming = self.claiming.acquire().await;
        let claims = self.parts.store.claim_due(ask).await?;
        let role = if probe { Role::Probe } else { Role::Ordinary };
        let take = |claim: Claim| {
            let busy = self.busy.mark(&claim.grant.person.id);
            Taken { claim, busy, role, on_demand: false, mended, published }
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

    /// Claims, for a probe, whoever is due next, however long that takes.
    pub(super) async fn claim_next(&self) -> Result<Option<Taken>, StoreError> {
        let page = Page::first(Pick::All(Order::Next), CANDIDATES, self.parts.clock.now());
        for (_, grant) in self.parts.store.list(page).await? {
            if grant.standing != Standing::Alive {
                continue;
            }
            let taken = self.claim_probe(&grant.person.id).await?;
            if taken.is_some() {
                return Ok(taken);
            }
        }
        Ok(None)
    }

    /// Claims one person's grant for a probe, unless it is in work.
    pub(super) async fn claim_probe(&self, person: &PersonId) -> Result<Option<Taken>, StoreError> {
        let (_, busy) = self.busy.join(person);
        let Some(busy) = busy else { return Ok(None) };
        let taken = self.claim_one(busy, Role::Probe).await?;
        Ok(taken.map(|taken| Taken { on_demand: false, ..taken }))
    }

    /// What waits for a refresh; nothing while the breaker is closed, when it does not matter.
    pub(super) async fn waiting(&self) -> Result<Waiting, StoreError> {
        if self.breaker().is_open() {
            self.parts.store.waiting(self.parts.clock.now()).await
        } else {
            Ok(Waiting::default())
        }
    }

    /// Claims one person's grant, due or not, for a reader or an operator.
    pub(super) async fn claim_one(&self, busy: Busy, role: Role) -> Result<Option<Taken>, StoreError> {
        let (lease, mended) = (self.lease(self.parts.clock.now()), self.set_back().mended);
        let published = self.parts.view.events().now();
        if let Some(claim) = self.parts.store.claim_one(busy.person().clone(), lease).await? {
            return Ok(Some(Taken { claim, busy, role, on_demand: true, mended, published }));
        }
        // The loop may have claimed it a moment ago: whoever waits for `busy` waits for the loop's work then, which
        // must be marked before this mark goes.
        drop(self.claiming.acquire().await);
        Ok(None)
    }

    pub(super) fn lease(&self, now: UnixTime) -> Lease {
        Lease { now, owner: self.parts.owner.clone(), end: now + LEASE }
    }

    /// Refreshes a claimed grant and keeps what became of it. `None` if it was not sent, or not kept.
    pub(super) async fn refresh(&self, taken: Taken) -> Option<Outcome> {
        let claimed_at = self.parts.clock.now();
        // Never closed. The place first: starts are evenly spaced, and who has one goes.
        let place = self.calls.acquire().await.ok()?;
        self.starts.next(Reason::Due).await;
        let grant = &taken.claim.grant;
        if self.parts.view.events().changed_since(taken.published, &grant.person.id) {
            log::info!("{}: a consent or removal came first, nothing is sent", grant.person);
            drop(place);
            self.give_back(taken).await;
            return None;
        }
        if let Some(why) = self.held_back(&taken, claimed_at) {
            let person = &taken.claim.grant.person;
            log::info!("{person}: not refreshed, {why}; it is due again");
            drop(place);
            self.give_back(taken).await;
            return None;
        }
        self.send(taken, place).await
    }

    /// Why a claimed grant is not sent after all: what has happened while it waited for its place.
    fn held_back(&self, taken: &Taken, claimed_at: UnixTime) -> Option<&'static str> {
        let late = self.parts.clock.now() + CALL > claimed_at + LEASE;
        let paused = !self.breaker().may_send(taken.role);
        match () {
            () if late => Some("its turn came too late"),
            () if paused => Some("refreshes pause since"),
            () if self.keeps_nothing() => Some("the store keeps nothing at present"),
            () if self.parts.tasks.stopping().is_cancelled() => Some("the daemon stops"),
            () => None,
        }
    }

    /// Ends a claim that came to nothing. Where that fails, its lease ends by itself.
    async fn give_back(&self, taken: Taken) {
        let Taken { claim: Claim { mut grant, fence }, busy: _busy, role, mut mended, .. } = taken;
        if role == Role::Probe {
            self.breaker().cancel_probe();
        }
        self.mend(&mut grant, &mut mended);
        match self.parts.store.give_back(grant.person.id.clone(), fence, grant.next).await {
            Ok(_) => self.parts.view.publish(&grant.person.id),
            Err(why) => log::log!(why.level(), "{}: its claim cannot be given back: {why}", grant.person),
        }
    }

    /// Refreshes a claimed grant whose start has come. Its place is free when Webex has answered: the store's time is
    /// not taken from the next call's.
    pub(super) async fn send(&self, taken: Taken, place: SemaphorePermit<'_>) -> Option<Outcome> {
        let Taken { mut claim, busy: _busy, role, on_demand, mut mended, .. } = taken;
        let reply = self.parts.webex.refresh(&claim.grant.tokens.refresh_token).await;
        let verdict = Verdict::of(reply.fact, &claim.grant.tokens);
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
        // Not sooner: whoever takes it must find what this answer says of everybody.
        drop(place);
        self.turned(turn);
        let next = claim.grant.after(verdict, reply.retry_after, reply.sent_at, &self.parts.policy, now);
        let kept = self.keep(claim.fence, &next, mended).await;
        self.keep_breaker().await;
        if kept == Some(Committed::Kept) {
            let level = level(next.last.outcome, repeated);
            self.tell(level, &next, reply.tracking_id.as_deref(), now);
            if next.last.outcome == Outcome::Renewed && self.pause().is_none() {
                self.person_checks.after_refresh(&next);
            }
        } else if kept == Some(Committed::Superseded) {
            log::info!("{}: a consent or removal came first, this refresh is put aside", next.person);
        }
        kept.filter(|kept| *kept == Committed::Kept).map(|_| next.last.outcome)
    }

    /// Whether there is no other living grant, as far as it matters: where a refresh failed.
    async fn is_the_only_person(&self, verdict: &Verdict) -> bool {
        if matches!(verdict, Verdict::Renewed(_) | Verdict::Unchanged(_)) {
            return false;
        }
        let census = self.parts.store.census().await;
        census.is_ok_and(|census| census.people.saturating_sub(census.consent_needed) <= 1)
    }
}

/// What the breaker must know of a refresh beside its answer.
fn sent_refresh(
    grant: &Grant,
    (role, on_demand, only_person): (Role, bool, bool),
    now: UnixTime,
) -> SentRefresh {
    SentRefresh {
        person: grant.person.id.clone(),
        role,
        on_demand,
        previous: grant.last.outcome,
        previous_at: grant.last.at,
        refused_since: grant.refused_since,
        ended: grant.standing == Standing::ConsentNeeded,
        token_dead: grant.life_left(now).is_zero(),
        confirm_after: Policy::confirm_after(grant.dates().lifetime()),
        only_person,
    }
}
