//! A store that keeps nothing for a while: no refresh is sent that could not be kept, none is lost that was sent, the
//! loop does not spin, and everything goes on by itself.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;
use webex_sim::Settings;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::refresh::Came;
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
use crate::support::world::lifetimes;

/// Which writes fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    Claims,
    Commits,
}

/// A store in memory that can be broken and mended.
struct Flaky {
    inner: MemoryStore,
    broken: Mutex<(Broken, StoreError)>,
    /// How long the answer to a claim of many is on its way.
    claims_travel: Mutex<Duration>,
    claims: AtomicU64,
    commits: AtomicU64,
}

impl Flaky {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(),
            broken: Mutex::new((Broken::Nothing, StoreError::Full)),
            claims_travel: Mutex::default(),
            claims: AtomicU64::new(0),
            commits: AtomicU64::new(0),
        })
    }

    fn breaks(&self, what: Broken, why: StoreError) {
        *self.broken.lock().unwrap() = (what, why);
    }

    fn is_mended(&self) {
        self.broken.lock().unwrap().0 = Broken::Nothing;
    }

    fn trouble(&self, what: Broken) -> Result<(), StoreError> {
        let broken = self.broken.lock().unwrap();
        if broken.0 == what { Err(broken.1.clone()) } else { Ok(()) }
    }

    /// Claims and commits asked for since this was last asked.
    fn writes(&self) -> (u64, u64) {
        (self.claims.swap(0, Ordering::Relaxed), self.commits.swap(0, Ordering::Relaxed))
    }
}

impl Store for Flaky {
    fn save_consent(&self, grant: Grant) -> Answer<'_, Saved> {
        self.inner.save_consent(grant)
    }

    fn claim_due(&self, ask: Ask) -> Answer<'_, Claims> {
        Box::pin(async move {
            self.claims.fetch_add(1, Ordering::Relaxed);
            self.trouble(Broken::Claims)?;
            let claims = self.inner.claim_due(ask).await;
            let travel = *self.claims_travel.lock().unwrap();
            sleep(travel).await;
            claims
        })
    }

    fn claim_one(&self, person: PersonId, lease: Lease) -> Answer<'_, Option<Claim>> {
        Box::pin(async move {
            self.claims.fetch_add(1, Ordering::Relaxed);
            self.trouble(Broken::Claims)?;
            self.inner.claim_one(person, lease).await
        })
    }

    fn commit(&self, fence: Fence, grant: Grant) -> Answer<'_, Committed> {
        Box::pin(async move {
            self.commits.fetch_add(1, Ordering::Relaxed);
            self.trouble(Broken::Commits)?;
            self.inner.commit(fence, grant).await
        })
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

fn every_trouble() -> [StoreError; 6] {
    [
        StoreError::Full,
        StoreError::ReadOnly,
        StoreError::Locked,
        StoreError::Disk("disk I/O error".to_owned()),
        StoreError::Corrupt("database disk image is malformed".to_owned()),
        StoreError::Moved("tokend.db".into()),
    ]
}

/// Three persons whose grants are due in a day.
async fn world() -> (Arc<Flaky>, World) {
    let store = Flaky::new();
    let mut world = World::on(store.clone(), Settings::default(), POLICY, PACE);
    world.start(false).await;
    world.consents(3).await;
    (store, world)
}

fn attempts(world: &World) -> u64 {
    world.model().counters().refreshes.attempts
}

#[tokio::test(start_paused = true)]
async fn without_a_claim_that_is_kept_nothing_is_sent_and_the_loop_neither_spins_nor_ends() {
    for why in every_trouble() {
        let (store, world) = world().await;
        store.writes();
        store.breaks(Broken::Claims, why.clone());
        sleep(3 * DAY).await;
        assert_eq!(attempts(&world), 0, "{why:?}");
        let (claims, _) = store.writes();
        assert!((8_600..=8_640).contains(&claims), "{why:?}: every half minute, {claims} in three days");

        store.is_mended();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(attempts(&world), 3, "{why:?}: and then by itself");
        assert!(world.is_live(2).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_near_its_end_is_claimed_again_every_half_minute() {
    let store = Flaky::new();
    let mut world = World::on(store.clone(), lifetimes(12 * HOUR, 60 * DAY), POLICY, PACE);
    world.start(false).await;
    world.consents(3).await;
    sleep(9 * HOUR).await;
    store.breaks(Broken::Claims, StoreError::Full);
    sleep(2 * HOUR).await;
    store.writes();
    sleep(MINUTE * 30).await;
    let (claims, _) = store.writes();
    assert!((55..=65).contains(&claims), "{claims} tries in half an hour");
    assert_eq!(attempts(&world), 0);
    store.is_mended();
    sleep(MINUTE).await;
    assert_eq!(attempts(&world), 3);
}

#[tokio::test(start_paused = true)]
async fn what_webex_answered_is_held_until_it_is_kept_and_shown_only_then() {
    for why in every_trouble() {
        let (store, world) = world().await;
        let old = world.grant(0).await.tokens.access_token;
        store.breaks(Broken::Commits, why.clone());
        sleep(DAY + 2 * HOUR).await;
        assert_eq!(attempts(&world), 3, "{why:?}: sent once, and not again");
        let shown =
            || async { world.view.look(&world.id(0)).await.unwrap().unwrap().tokens.access_token.clone() };
        assert_eq!(shown().await, old, "{why:?}: what is not kept is not shown");
        store.writes();
        sleep(HOUR).await;
        let (claims, commits) = store.writes();
        assert!((300..=400).contains(&commits), "{why:?}: {commits} tries for three outcomes in an hour");
        assert!(claims <= 150, "{why:?}: {claims} claims in an hour");
        assert_eq!(attempts(&world), 3, "{why:?}");

        store.is_mended();
        sleep(MINUTE).await;
        assert_ne!(shown().await, old, "{why:?}");
        assert_eq!(attempts(&world), 3, "{why:?}: it is the answer of then");
        for person in 0..3 {
            assert!(world.is_live(person).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_asked_for_in_the_moment_of_the_loops_claim_is_the_loops() {
    let (store, world) = world().await;
    sleep(DAY - 2 * HOUR).await;
    *store.claims_travel.lock().unwrap() = Duration::from_secs(1);
    let refresher = world.refresher.clone().unwrap();
    let planned = world.grant(0).await.next.due_at;
    while world.grant(0).await.next.due_at == planned {
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(attempts(&world), 0, "it is claimed, and the loop does not know it yet");
    let report = refresher.renew(&world.id(0), true).await.unwrap();
    assert_eq!(report.came, Came::Renewed, "{}", report.detail);
    assert_eq!(world.starts(0).len(), 1, "and one refresh was enough");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_asked_for_is_sent_where_the_one_under_way_gives_way_to_a_consent() {
    let (_, world) = world().await;
    sleep(DAY - MINUTE).await;
    world.model().settings_mut().latency = Duration::from_secs(30);
    while world.starts(0).is_empty() {
        sleep(Duration::from_secs(1)).await;
    }
    world.model().settings_mut().latency = Duration::ZERO;
    world.model().settings_mut().noop_window = Duration::ZERO;
    world.consent(0).await;
    let consented = world.grant(0).await;
    let report = world.refresher.clone().unwrap().renew(&world.id(0), true).await.unwrap();
    assert_eq!(report.came, Came::Renewed, "{}", report.detail);
    assert_ne!(report.grant.tokens.access_token, consented.tokens.access_token);
    assert_eq!(report.grant.obtained_at, consented.obtained_at, "the consent stands");
    assert!(world.is_live(0).await);
    assert_eq!(world.model().counters().most_in_flight_for_one_token, 1);
}
