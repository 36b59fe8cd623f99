//! The store, with faults and the invariant checker. The store below it stands for the disk.
//!
//! Two liberties with time. The real store works on its own threads; the simulation waits for them inside the poll, so
//! that virtual time stands still meanwhile (otherwise every timer would fire before a reply from another thread). And
//! while nothing runs, is due or is planned, an idle sleep of the loop is shortened: the query for the next wake takes
//! most of it. Without that, 400 days are 576,000 slices in which nothing happens. Some seeds run without it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;
use std::thread;
use std::thread::Thread;
use std::time::Duration;

use tokio::time::sleep;
use webex_tokend::clock::Clock as _;
use webex_tokend::domain::breaker::DueSummary;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::list::ListPosition;
use webex_tokend::domain::list::ListRequest;
use webex_tokend::domain::list::ListSelection;
use webex_tokend::domain::list::SortBy;
use webex_tokend::domain::overview::GrantTotals;
use webex_tokend::domain::overview::StateCounts;
use webex_tokend::domain::person::AddressMatch;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::BacklogCounts;
use webex_tokend::store::BacklogRequest;
use webex_tokend::store::BatchPosition;
use webex_tokend::store::Claim;
use webex_tokend::store::ClaimRequest;
use webex_tokend::store::Claims;
use webex_tokend::store::Committed;
use webex_tokend::store::Fence;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::GrantQueries;
use webex_tokend::store::GrantUpdate;
use webex_tokend::store::ImportedToken;
use webex_tokend::store::Lease;
use webex_tokend::store::MetaKey;
use webex_tokend::store::Removal;
use webex_tokend::store::Saved;
use webex_tokend::store::Store;
use webex_tokend::store::StoreError;
use webex_tokend::store::StoreFuture;
use webex_tokend::store::StoreMetadata;

use crate::simulation::env::SimEnv;
use crate::simulation::invariants::ClaimedBy;
use crate::simulation::invariants::InvariantChecker;
use crate::support::time::MINUTE;

pub(super) struct SimStore {
    inner: Arc<dyn Store>,
    env: Arc<SimEnv>,
    /// The time between wakes, if idle sleeps are shortened.
    skips: Option<Duration>,
    /// The loop's next regular wake, as far as it can be known from outside.
    regular: Mutex<UnixTime>,
}

impl SimStore {
    pub(super) fn new(inner: Arc<dyn Store>, env: Arc<SimEnv>, skips: Option<Duration>) -> Self {
        Self { inner, env, skips, regular: Mutex::new(UnixTime(0)) }
    }

    /// One call: `work` is done at one moment, between two points at which the process may crash.
    async fn store_call<'a, T>(
        &'a self,
        name: &'static str,
        work: impl FnOnce(&'a dyn Store) -> StoreFuture<'a, T>,
        saw: impl FnOnce(&mut InvariantChecker, &T),
    ) -> Result<T, StoreError> {
        self.env.checker().store_call(name);
        let faults = self.env.faults().store_call(self.env.clock.true_time());
        if !faults.wait_before.is_zero() {
            sleep(faults.wait_before).await;
        }
        self.env.crash.step().await;
        if let Some(why) = faults.refused {
            self.env.checker().store_failed(name);
            return Err(why);
        }
        let result = block_in_poll(work(&*self.inner))?;
        saw(&mut self.env.checker(), &result);
        if !faults.wait_after.is_zero() {
            sleep(faults.wait_after).await;
        }
        self.env.crash.step().await;
        match faults.reply_lost {
            Some(why) => {
                self.env.checker().store_failed(name);
                Err(why)
            }
            None => Ok(result),
        }
    }

    /// A call that changes one person's row: reads after its reply must see the change.
    async fn change<'a, T>(
        &'a self,
        name: &'static str,
        person: &PersonId,
        work: impl FnOnce(&'a dyn Store) -> StoreFuture<'a, T>,
        saw: impl FnOnce(&mut InvariantChecker, &T),
    ) -> Result<T, StoreError> {
        let result = self.store_call(name, work, saw).await;
        let mut checker = self.env.checker();
        let person = checker.number(person);
        checker.change_answered(person, result.is_ok());
        result
    }

    /// Skips most of an idle sleep.
    async fn skip_idle(&self, sleep: Duration, stored: Option<UnixTime>) {
        let (now, wall) = (self.env.clock.true_time(), self.env.clock.now());
        let regular = {
            let mut regular = self.regular.lock().unwrap();
            *regular = (*regular).min(wall + sleep);
            *regular
        };
        let wake = regular.min(stored.unwrap_or(UnixTime::NEVER)).until(wall);
        let event = self.env.next_event.lock().unwrap().until(now);
        let idle = wake.min(event);
        if idle > 4 * MINUTE && self.env.checker().quiet() {
            tokio::time::advance(idle - 2 * MINUTE).await;
        }
    }

    /// A claim is the first operation of a wake.
    fn note_wake(&self, wall: UnixTime) {
        let Some(sleep) = self.skips else { return };
        let mut regular = self.regular.lock().unwrap();
        if *regular <= wall {
            *regular = (*regular).max(wall - sleep) + sleep;
        }
    }

    fn all(&self) -> Vec<(ListPosition, Grant)> {
        let now = self.env.clock.now();
        let page = ListRequest::first_page(ListSelection::All(SortBy::CreatedAt), 10_000, now);
        block_in_poll(self.inner.list(page)).unwrap()
    }
}

impl GrantCommands for SimStore {
    fn save_consent(&self, grant: Grant) -> StoreFuture<'_, Saved> {
        let (id, kept) = (grant.person.id.clone(), grant.clone());
        Box::pin(async move {
            self.change(
                "save_consent",
                &id,
                |inner| inner.save_consent(grant),
                |w, saved| w.consented(&kept, *saved),
            )
            .await
        })
    }

    fn save_import(&self, grant: Grant, token: ImportedToken) -> StoreFuture<'_, Saved> {
        Box::pin(self.store_call("save_import", move |inner| inner.save_import(grant, token), |_, _| ()))
    }

    fn claim_due(&self, ask: ClaimRequest) -> StoreFuture<'_, Claims> {
        self.note_wake(ask.lease.now);
        let lease = ask.lease.clone();
        Box::pin(self.store_call(
            "claim_due",
            |inner| inner.claim_due(ask),
            move |checker, result| {
                checker.claimed_together(&result.claims, lease.now);
                result.claims.iter().for_each(|claim| checker.claimed(ClaimedBy::Loop, claim, &lease));
            },
        ))
    }

    fn claim_one(&self, person: PersonId, lease: Lease) -> StoreFuture<'_, Option<Claim>> {
        let until = lease.clone();
        Box::pin(self.store_call(
            "claim_one",
            |inner| inner.claim_one(person, lease),
            move |checker, result| {
                result.iter().for_each(|claim| checker.claimed(ClaimedBy::Caller, claim, &until))
            },
        ))
    }

    fn commit(&self, fence: Fence, grant: Grant) -> StoreFuture<'_, Committed> {
        let (id, kept) = (grant.person.id.clone(), grant.clone());
        Box::pin(async move {
            let saw =
                |checker: &mut InvariantChecker, result: &Committed| checker.committed(fence, &kept, *result);
            self.change("commit", &id, |inner| inner.commit(fence, grant), saw).await
        })
    }

    fn release(&self, person: PersonId, fence: Fence, next: Schedule) -> StoreFuture<'_, Committed> {
        Box::pin(async move {
            let id = person.clone();
            let saw =
                |checker: &mut InvariantChecker, result: &Committed| checker.given_back(&id, fence, *result);
            self.change("give_back", &id, |inner| inner.release(person, fence, next), saw).await
        })
    }

    fn update_person(&self, person: Person, planned: UnixTime, next: UnixTime) -> StoreFuture<'_, bool> {
        Box::pin(self.store_call(
            "update_person",
            move |inner| inner.update_person(person, planned, next),
            |_, _| (),
        ))
    }

    fn forget(&self, person: PersonId) -> StoreFuture<'_, bool> {
        let id = person.clone();
        Box::pin(async move {
            let saw = |checker: &mut InvariantChecker, there: &bool| {
                let person = checker.number(&id);
                checker.forgotten(person, *there);
            };
            self.change("forget", &id, |inner| inner.forget(person), saw).await
        })
    }

    fn forget_all(&self, removal: Removal) -> StoreFuture<'_, Vec<PersonId>> {
        let saw = |checker: &mut InvariantChecker, gone: &Vec<PersonId>| {
            for person in gone {
                let person = checker.number(person);
                checker.forgotten(person, true);
            }
        };
        Box::pin(self.store_call("forget_all", move |inner| inner.forget_all(removal), saw))
    }

    fn update_batch(
        &self,
        after: BatchPosition,
        limit: u32,
        revision: GrantUpdate,
    ) -> StoreFuture<'_, Option<BatchPosition>> {
        let saw = |checker: &mut InvariantChecker, _: &Option<BatchPosition>| {
            for (_, grant) in self.all() {
                let person = checker.number(&grant.person.id);
                checker.revised(person, &grant);
            }
        };
        Box::pin(self.store_call("revise", move |inner| inner.update_batch(after, limit, revision), saw))
    }

    fn clamp_times(&self, now: UnixTime, lease_end: UnixTime) -> StoreFuture<'_, ()> {
        Box::pin(self.store_call(
            "settle",
            move |inner| inner.clamp_times(now, lease_end),
            move |w, ()| w.settled(lease_end),
        ))
    }
}

impl GrantQueries for SimStore {
    fn find_import(&self, token_hash: [u8; 32]) -> StoreFuture<'_, Option<PersonId>> {
        Box::pin(self.store_call("find_import", move |inner| inner.find_import(token_hash), |_, _| ()))
    }

    fn find(&self, person: PersonId) -> StoreFuture<'_, Option<Grant>> {
        Box::pin(self.store_call("find", |inner| inner.find(person), |_, _| ()))
    }

    fn resolve(&self, email: Email) -> StoreFuture<'_, Vec<AddressMatch>> {
        Box::pin(self.store_call("resolve", |inner| inner.resolve(email), |_, _| ()))
    }

    fn list(&self, page: ListRequest) -> StoreFuture<'_, Vec<(ListPosition, Grant)>> {
        Box::pin(self.store_call("list", |inner| inner.list(page), |_, _| ()))
    }

    fn next_wake(&self, after: UnixTime) -> StoreFuture<'_, Option<UnixTime>> {
        Box::pin(async move {
            let stored = self.store_call("next_wake", |inner| inner.next_wake(after), |_, _| ()).await?;
            if let Some(sleep) = self.skips {
                self.skip_idle(sleep, stored).await;
            }
            Ok(stored)
        })
    }

    fn due_summary(&self, now: UnixTime) -> StoreFuture<'_, DueSummary> {
        Box::pin(self.store_call("waiting", move |inner| inner.due_summary(now), |_, _| ()))
    }

    fn totals(&self) -> StoreFuture<'_, GrantTotals> {
        Box::pin(self.store_call("census", |inner| inner.totals(), |_, _| ()))
    }

    fn backlog(&self, ask: BacklogRequest) -> StoreFuture<'_, BacklogCounts> {
        Box::pin(self.store_call("backlog", move |inner| inner.backlog(ask), |_, _| ()))
    }

    fn counts(&self, now: UnixTime) -> StoreFuture<'_, StateCounts> {
        Box::pin(self.store_call("counts", move |inner| inner.counts(now), |_, _| ()))
    }
}

impl StoreMetadata for SimStore {
    fn last_write_at(&self) -> StoreFuture<'_, Option<UnixTime>> {
        Box::pin(self.store_call("latest", |inner| inner.last_write_at(), |_, _| ()))
    }

    fn get_meta(&self, note: MetaKey) -> StoreFuture<'_, Option<String>> {
        Box::pin(self.store_call("recall", move |inner| inner.get_meta(note), |_, _| ()))
    }

    fn set_meta(&self, note: MetaKey, text: String) -> StoreFuture<'_, ()> {
        Box::pin(self.store_call("remember", move |inner| inner.set_meta(note, text), |_, ()| ()))
    }

    fn check_readable(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.store_call("check", |inner| inner.check_readable(), |_, ()| ()))
    }

    fn check_writable(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.store_call("prove", |inner| inner.check_writable(), |_, ()| ()))
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks without giving the runtime a turn.
pub(crate) fn block_in_poll<T>(work: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    // Without tokio's budget, which would not be refilled before the poll ends.
    let mut work = pin!(tokio::task::unconstrained(work));
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}
