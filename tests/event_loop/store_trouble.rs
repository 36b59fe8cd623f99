//! A store in trouble under the loop: nothing is spent that cannot be kept, nothing is shown that is not kept.

use std::sync::Arc;
use std::sync::Mutex;

use tokio::time::sleep;
use webex_sim::Person;
use webex_sim::Settings;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::store::Answer;
use webex_tokend::store::Ask;
use webex_tokend::store::Bookmark;
use webex_tokend::store::Census;
use webex_tokend::store::Claim;
use webex_tokend::store::Claims;
use webex_tokend::store::Committed;
use webex_tokend::store::Counts;
use webex_tokend::store::Cursor;
use webex_tokend::store::Day;
use webex_tokend::store::Fence;
use webex_tokend::store::Lease;
use webex_tokend::store::Note;
use webex_tokend::store::Page;
use webex_tokend::store::Past;
use webex_tokend::store::Revision;
use webex_tokend::store::Saved;
use webex_tokend::store::Store;
use webex_tokend::store::StoreError;
use webex_tokend::store::memory::MemoryStore;

use crate::event_loop::MINUTE;
use crate::support::world::DAY;
use crate::support::world::HOUR;
use crate::support::world::PACE;
use crate::support::world::POLICY;
use crate::support::world::World;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Trouble {
    #[default]
    None,
    /// Nothing can be claimed.
    NoClaim,
    /// Nothing that came back can be kept.
    NoCommit,
    /// Once, for this person, the program itself is wrong.
    Panic(PersonId),
}

/// A store in memory, and the trouble that it is in.
#[derive(Default)]
struct Shaky {
    inner: MemoryStore,
    trouble: Mutex<Trouble>,
}

impl Shaky {
    fn is_in(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap() = trouble;
    }

    fn suffers(&self, trouble: &Trouble) -> bool {
        *self.trouble.lock().unwrap() == *trouble
    }
}

impl Store for Shaky {
    fn claim_due(&self, ask: Ask) -> Answer<'_, Claims> {
        if self.suffers(&Trouble::NoClaim) {
            return Box::pin(async { Err(StoreError::Full) });
        }
        self.inner.claim_due(ask)
    }

    fn commit(&self, fence: Fence, grant: Grant) -> Answer<'_, Committed> {
        if self.suffers(&Trouble::NoCommit) {
            return Box::pin(async { Err(StoreError::Full) });
        }
        let wrong = Trouble::Panic(grant.person.id.clone());
        if self.suffers(&wrong) {
            self.is_in(Trouble::None);
            panic!("as the test wants it");
        }
        self.inner.commit(fence, grant)
    }

    fn save_consent(&self, grant: Grant) -> Answer<'_, Saved> {
        self.inner.save_consent(grant)
    }

    fn claim_one(&self, person: PersonId, lease: Lease) -> Answer<'_, Option<Claim>> {
        self.inner.claim_one(person, lease)
    }

    fn find(&self, person: PersonId) -> Answer<'_, Option<Grant>> {
        self.inner.find(person)
    }

    fn resolve(&self, email: Email) -> Answer<'_, Option<PersonId>> {
        self.inner.resolve(email)
    }

    fn list(&self, page: Page) -> Answer<'_, Vec<(Bookmark, Grant)>> {
        self.inner.list(page)
    }

    fn forget(&self, person: PersonId) -> Answer<'_, bool> {
        self.inner.forget(person)
    }

    fn next_wake(&self) -> Answer<'_, Option<UnixTime>> {
        self.inner.next_wake()
    }

    fn revise(&self, after: Cursor, limit: u32, revision: Revision) -> Answer<'_, Option<Cursor>> {
        self.inner.revise(after, limit, revision)
    }

    fn census(&self) -> Answer<'_, Census> {
        self.inner.census()
    }

    fn latest(&self) -> Answer<'_, Option<UnixTime>> {
        self.inner.latest()
    }

    fn settle(&self, now: UnixTime, lease_end: UnixTime) -> Answer<'_, ()> {
        self.inner.settle(now, lease_end)
    }

    fn recall(&self, note: Note) -> Answer<'_, Option<String>> {
        self.inner.recall(note)
    }

    fn remember(&self, note: Note, text: String) -> Answer<'_, ()> {
        self.inner.remember(note, text)
    }

    fn check(&self) -> Answer<'_, ()> {
        self.inner.check()
    }

    fn counts(&self, now: UnixTime) -> Answer<'_, Counts> {
        self.inner.counts(now)
    }

    fn history(&self, since: UnixTime) -> Answer<'_, Vec<Past>> {
        self.inner.history(since)
    }

    fn calendar(&self, now: UnixTime, days: u32) -> Answer<'_, Vec<Day>> {
        self.inner.calendar(now, days)
    }

    fn prove(&self) -> Answer<'_, ()> {
        self.inner.prove()
    }
}

/// So many persons who consented two days ago, and the store that they are kept in.
async fn world(persons: usize) -> (World, Arc<Shaky>) {
    let store = Arc::new(Shaky::default());
    let settings = Settings { people: Person::some(persons), ..Settings::default() };
    let world = World::on(store.clone(), settings, POLICY, PACE);
    world.consents(persons).await;
    sleep(2 * DAY).await;
    (world, store)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_kept_is_shown_to_nobody_and_kept_as_soon_as_it_can_be() {
    let (mut world, store) = world(1).await;
    let old = world.grant(0).await;
    assert_eq!(world.view.look(&world.id(0)).await.unwrap().unwrap().tokens, old.tokens);
    store.is_in(Trouble::NoCommit);
    world.start(false).await;
    sleep(20 * MINUTE).await;
    assert_eq!(world.model().counters().refreshes.renewed, 1, "Webex has given a new token");
    assert_eq!(world.view.look(&world.id(0)).await.unwrap().unwrap().tokens, old.tokens);
    store.is_in(Trouble::None);
    sleep(MINUTE).await;
    let (kept, shown) = (world.grant(0).await, world.view.look(&world.id(0)).await.unwrap().unwrap());
    assert_ne!(kept.tokens.access_token, old.tokens.access_token);
    assert_eq!(shown.tokens, kept.tokens);
    assert_eq!(world.starts(0).len(), 1, "and was not asked for another one");
}

#[tokio::test(start_paused = true)]
async fn while_nothing_can_be_kept_no_refresh_is_sent_and_the_old_token_is_there() {
    let (mut world, store) = world(3).await;
    let old = world.grant(0).await;
    store.is_in(Trouble::NoClaim);
    world.start(false).await;
    sleep(6 * HOUR).await;
    assert_eq!(world.model().counters().refreshes.attempts, 0);
    assert_eq!(world.view.look(&world.id(0)).await.unwrap().unwrap().tokens, old.tokens);
    store.is_in(Trouble::None);
    sleep(2 * HOUR).await;
    for person in 0..3 {
        assert_eq!(world.grant(person).await.last.outcome, Outcome::Renewed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_ones_refresh_holds_up_nobody_and_is_made_good_when_its_lease_ends() {
    let (mut world, store) = world(3).await;
    let before = world.grant(0).await;
    store.is_in(Trouble::Panic(world.id(0)));
    world.start(false).await;
    sleep(MINUTE).await;
    assert_eq!(world.grant(0).await.tokens, before.tokens, "broken off");
    for person in 1..3 {
        assert!(world.grant(person).await.renewed_at > before.renewed_at + DAY, "person {person}");
    }
    sleep(2 * HOUR).await;
    assert!(world.grant(0).await.renewed_at > before.renewed_at + DAY);
    assert!(world.is_live(0).await);
}
