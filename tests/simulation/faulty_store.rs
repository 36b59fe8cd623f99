//! The store, with the weather on it and the witness beside it. What is below it stands for the disk.
//!
//! Two liberties with time. What the real store does on threads of its own is waited for inside the poll, so that
//! virtual time stands still meanwhile (a reply from another thread would lose against every timer). And while nothing
//! runs, is due or is going to happen, a nap of the loop is shortened by letting the question for the next wake take
//! most of it: without that, 400 days are 576,000 slices in which nothing happens. Some seeds do without.

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
use webex_tokend::domain::breaker::Waiting;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Namesake;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::schedule::Next;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::Answer;
use webex_tokend::store::Ask;
use webex_tokend::store::Bookmark;
use webex_tokend::store::Census;
use webex_tokend::store::Claim;
use webex_tokend::store::Claims;
use webex_tokend::store::Committed;
use webex_tokend::store::Counts;
use webex_tokend::store::Cursor;
use webex_tokend::store::Fence;
use webex_tokend::store::Lease;
use webex_tokend::store::Note;
use webex_tokend::store::Order;
use webex_tokend::store::Page;
use webex_tokend::store::Pick;
use webex_tokend::store::Revision;
use webex_tokend::store::Saved;
use webex_tokend::store::Store;
use webex_tokend::store::StoreError;

use crate::simulation::env::Stage;
use crate::simulation::invariants::By;
use crate::simulation::invariants::Witness;
use crate::support::time::MINUTE;

pub(super) struct Shelf {
    inner: Arc<dyn Store>,
    stage: Arc<Stage>,
    /// From wake to wake, if naps are shortened.
    skips: Option<Duration>,
    /// When the loop's next regular wake is, as far as can be seen from outside.
    regular: Mutex<UnixTime>,
}

impl Shelf {
    pub(super) fn new(inner: Arc<dyn Store>, stage: Arc<Stage>, skips: Option<Duration>) -> Self {
        Self { inner, stage, skips, regular: Mutex::new(UnixTime(0)) }
    }

    /// One verb: `work` is done at one moment, between two at which everything may end.
    async fn verb<'a, T>(
        &'a self,
        name: &'static str,
        work: impl FnOnce(&'a dyn Store) -> Answer<'a, T>,
        saw: impl FnOnce(&mut Witness, &T),
    ) -> Result<T, StoreError> {
        self.stage.witness().verb(name);
        let weather = self.stage.weather().verb(self.stage.clock.true_time());
        if !weather.wait_before.is_zero() {
            sleep(weather.wait_before).await;
        }
        self.stage.fuse.step().await;
        if let Some(why) = weather.refused {
            self.stage.witness().store_failed(name);
            return Err(why);
        }
        let came = in_the_poll(work(&*self.inner))?;
        saw(&mut self.stage.witness(), &came);
        if !weather.wait_after.is_zero() {
            sleep(weather.wait_after).await;
        }
        self.stage.fuse.step().await;
        match weather.denied {
            Some(why) => {
                self.stage.witness().store_failed(name);
                Err(why)
            }
            None => Ok(came),
        }
    }

    /// A verb that changes one person's row: whoever asks after it has answered must see the change.
    async fn change<'a, T>(
        &'a self,
        name: &'static str,
        person: &PersonId,
        work: impl FnOnce(&'a dyn Store) -> Answer<'a, T>,
        saw: impl FnOnce(&mut Witness, &T),
    ) -> Result<T, StoreError> {
        let came = self.verb(name, work, saw).await;
        let mut witness = self.stage.witness();
        let person = witness.number(person);
        witness.change_answered(person, came.is_ok());
        came
    }

    /// Lets most of an idle nap go by.
    async fn skip(&self, sleep: Duration, stored: Option<UnixTime>) {
        let (now, wall) = (self.stage.clock.true_time(), self.stage.clock.now());
        let regular = {
            let mut regular = self.regular.lock().unwrap();
            *regular = (*regular).min(wall + sleep);
            *regular
        };
        let wake = regular.min(stored.unwrap_or(UnixTime::NEVER)).until(wall);
        let event = self.stage.next_event.lock().unwrap().until(now);
        let idle = wake.min(event);
        if idle > 4 * MINUTE && self.stage.witness().quiet() {
            tokio::time::advance(idle - 2 * MINUTE).await;
        }
    }

    /// A claim is the first thing that a wake does.
    fn woke(&self, wall: UnixTime) {
        let Some(sleep) = self.skips else { return };
        let mut regular = self.regular.lock().unwrap();
        if *regular <= wall {
            *regular = (*regular).max(wall - sleep) + sleep;
        }
    }

    fn all(&self) -> Vec<(Bookmark, Grant)> {
        let now = self.stage.clock.now();
        let page = Page::first(Pick::All(Order::Arrival), 10_000, now);
        in_the_poll(self.inner.list(page)).unwrap()
    }
}

impl Store for Shelf {
    fn save_consent(&self, grant: Grant) -> Answer<'_, Saved> {
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

    fn save_import(&self, grant: Grant) -> Answer<'_, Saved> {
        Box::pin(self.verb("save_import", |inner| inner.save_import(grant), |_, _| ()))
    }

    fn claim_due(&self, ask: Ask) -> Answer<'_, Claims> {
        self.woke(ask.lease.now);
        let lease = ask.lease.clone();
        Box::pin(self.verb(
            "claim_due",
            |inner| inner.claim_due(ask),
            move |witness, came| {
                witness.claimed_together(&came.claims, lease.now);
                came.claims.iter().for_each(|claim| witness.claimed(By::Loop, claim, &lease));
            },
        ))
    }

    fn claim_one(&self, person: PersonId, lease: Lease) -> Answer<'_, Option<Claim>> {
        let until = lease.clone();
        Box::pin(self.verb(
            "claim_one",
            |inner| inner.claim_one(person, lease),
            move |witness, came| came.iter().for_each(|claim| witness.claimed(By::Somebody, claim, &until)),
        ))
    }

    fn commit(&self, fence: Fence, grant: Grant) -> Answer<'_, Committed> {
        let (id, kept) = (grant.person.id.clone(), grant.clone());
        Box::pin(async move {
            let saw = |witness: &mut Witness, came: &Committed| witness.committed(fence, &kept, *came);
            self.change("commit", &id, |inner| inner.commit(fence, grant), saw).await
        })
    }

    fn give_back(&self, person: PersonId, fence: Fence, next: Next) -> Answer<'_, Committed> {
        Box::pin(async move {
            let id = person.clone();
            let saw = |witness: &mut Witness, came: &Committed| witness.given_back(&id, fence, *came);
            self.change("give_back", &id, |inner| inner.give_back(person, fence, next), saw).await
        })
    }

    fn find(&self, person: PersonId) -> Answer<'_, Option<Grant>> {
        Box::pin(self.verb("find", |inner| inner.find(person), |_, _| ()))
    }

    fn resolve(&self, email: Email) -> Answer<'_, Vec<Namesake>> {
        Box::pin(self.verb("resolve", |inner| inner.resolve(email), |_, _| ()))
    }

    fn update_person(&self, person: Person, planned: UnixTime, next: UnixTime) -> Answer<'_, bool> {
        Box::pin(self.verb(
            "update_person",
            move |inner| inner.update_person(person, planned, next),
            |_, _| (),
        ))
    }

    fn list(&self, page: Page) -> Answer<'_, Vec<(Bookmark, Grant)>> {
        Box::pin(self.verb("list", |inner| inner.list(page), |_, _| ()))
    }

    fn forget(&self, person: PersonId) -> Answer<'_, bool> {
        let id = person.clone();
        Box::pin(async move {
            let saw = |witness: &mut Witness, there: &bool| {
                let person = witness.number(&id);
                witness.forgotten(person, *there);
            };
            self.change("forget", &id, |inner| inner.forget(person), saw).await
        })
    }

    fn next_wake(&self, after: UnixTime) -> Answer<'_, Option<UnixTime>> {
        Box::pin(async move {
            let stored = self.verb("next_wake", |inner| inner.next_wake(after), |_, _| ()).await?;
            if let Some(sleep) = self.skips {
                self.skip(sleep, stored).await;
            }
            Ok(stored)
        })
    }

    fn waiting(&self, now: UnixTime) -> Answer<'_, Waiting> {
        Box::pin(self.verb("waiting", move |inner| inner.waiting(now), |_, _| ()))
    }

    fn revise(&self, after: Cursor, limit: u32, revision: Revision) -> Answer<'_, Option<Cursor>> {
        let saw = |witness: &mut Witness, _: &Option<Cursor>| {
            for (_, grant) in self.all() {
                let person = witness.number(&grant.person.id);
                witness.revised(person, &grant);
            }
        };
        Box::pin(self.verb("revise", move |inner| inner.revise(after, limit, revision), saw))
    }

    fn census(&self) -> Answer<'_, Census> {
        Box::pin(self.verb("census", |inner| inner.census(), |_, _| ()))
    }

    fn latest(&self) -> Answer<'_, Option<UnixTime>> {
        Box::pin(self.verb("latest", |inner| inner.latest(), |_, _| ()))
    }

    fn settle(&self, now: UnixTime, lease_end: UnixTime) -> Answer<'_, ()> {
        Box::pin(self.verb(
            "settle",
            move |inner| inner.settle(now, lease_end),
            move |w, ()| w.settled(lease_end),
        ))
    }

    fn recall(&self, note: Note) -> Answer<'_, Option<String>> {
        Box::pin(self.verb("recall", move |inner| inner.recall(note), |_, _| ()))
    }

    fn remember(&self, note: Note, text: String) -> Answer<'_, ()> {
        Box::pin(self.verb("remember", move |inner| inner.remember(note, text), |_, ()| ()))
    }

    fn check(&self) -> Answer<'_, ()> {
        Box::pin(self.verb("check", |inner| inner.check(), |_, ()| ()))
    }

    fn prove(&self) -> Answer<'_, ()> {
        Box::pin(self.verb("prove", |inner| inner.prove(), |_, ()| ()))
    }

    fn counts(&self, now: UnixTime) -> Answer<'_, Counts> {
        Box::pin(self.verb("counts", move |inner| inner.counts(now), |_, _| ()))
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits without giving the runtime a turn.
pub(super) fn in_the_poll<T>(work: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    // Without a budget: it would not be filled up before the poll ends.
    let mut work = pin!(tokio::task::unconstrained(work));
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(came) => return came,
            Poll::Pending => thread::park(),
        }
    }
}
