//! A bounded log of changes for subscribers. The entry of a changed grant names the person, not the new
//! state. A reader looks the state up when it reports the change, so a burst of changes is reported once,
//! with the newest state. The entry of a notice is the notice itself, which never changes.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::Hash;
use std::hash::Hasher;
use std::ops::Bound;
use std::sync::Arc;

use aws_lc_rs::aead::AES_256_GCM_SIV;
use aws_lc_rs::aead::Aad;
use aws_lc_rs::aead::NONCE_LEN;
use aws_lc_rs::aead::Nonce;
use aws_lc_rs::aead::RandomizedNonceKey;
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::domain::notice::Notice;
use crate::domain::person::PersonId;

/// Maximum number of stored changes, at most one for each person. A reader that is further behind must load
/// everything again.
pub const RING_LEN: usize = 1024;

const AES_256_KEY_LEN: usize = 32;

/// Length of an event id: nonce, number and authentication tag.
const ID_LEN: usize = NONCE_LEN + 8 + 16;

/// The log of changes. A change of a person is added once it is durable, never before. A change of the
/// circuit breaker is added immediately, because it takes effect before it is stored.
pub struct Events {
    /// Encrypts the event ids: a reader that is limited to some persons must not learn the number of all
    /// changes. `None` if the system has no random bytes; then no id is accepted.
    names: Option<RandomizedNonceKey>,
    ring: Mutex<Ring>,
    news: watch::Sender<()>,
}

#[derive(Default)]
struct Ring {
    /// Number of the latest change; the first is 1.
    latest: u64,
    /// A reader at an earlier position than this may have missed a change.
    lost: u64,
    changes: BTreeMap<u64, Change>,
    /// The latest entry of each change. A new one replaces the older one of the same kind.
    places: HashMap<Change, u64>,
}

/// A change that readers may report.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// The person's grant has another state, or is removed.
    Person(PersonId),
    /// The circuit breaker changed: refreshes pause or continue.
    Breaker,
    /// An event of the catalogue of notices.
    Notice(NoticeEvent),
}

/// A notice, as subscribers get it. Two values are equal if the ids of their notices are.
#[derive(Clone, Debug)]
pub struct NoticeEvent {
    /// The notice. Its data contains the links.
    pub notice: Arc<Notice>,
    /// Whether subscribers that see all persons get a digest in its place.
    pub is_in_digest: bool,
}

impl PartialEq for NoticeEvent {
    fn eq(&self, other: &Self) -> bool {
        self.notice.id == other.notice.id
    }
}

impl Eq for NoticeEvent {}

impl Hash for NoticeEvent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.notice.id.hash(state);
    }
}

/// The position of a reader in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPosition(u64);

/// What follows a position in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextEvent {
    /// No change yet.
    Nothing,
    /// The next change, and the reader's position after it.
    Next(EventPosition, Change),
    /// Changes up to this position may be missing, so everything may have changed.
    Lost(EventPosition),
}

/// A key that no other process has.
fn id_key() -> Option<RandomizedNonceKey> {
    let mut key = Zeroizing::new([0; AES_256_KEY_LEN]);
    rand::fill(key.as_mut()).ok()?;
    RandomizedNonceKey::new(&AES_256_GCM_SIV, key.as_ref()).ok()
}

impl Default for Events {
    fn default() -> Self {
        Self { names: id_key(), ring: Mutex::default(), news: watch::Sender::new(()) }
    }
}

impl Events {
    /// Adds a change of this person's grant, which may have been removed.
    pub fn person_changed(&self, person: &PersonId) {
        self.push(Change::Person(person.clone()));
    }

    /// Adds a change of the circuit breaker.
    pub fn breaker_turned(&self) {
        self.push(Change::Breaker);
    }

    /// Adds a notice that is durable, or that cannot be stored.
    pub fn notice_created(&self, notice: Notice, is_in_digest: bool) {
        self.push(Change::Notice(NoticeEvent { notice: Arc::new(notice), is_in_digest }));
    }

    /// Makes every reader load everything again, because many grants changed at once.
    pub fn everything_changed(&self) {
        {
            let mut ring = self.ring();
            ring.latest += 1;
            ring.lost = ring.latest;
            ring.changes.clear();
            ring.places.clear();
        }
        self.news.send_replace(());
    }

    /// Returns a receiver that is notified of every change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// The position of a reader that starts now.
    #[must_use]
    pub fn position(&self) -> EventPosition {
        EventPosition(self.ring().latest)
    }

    /// The event id that clients see for the position. It differs with each call, has a fixed length, reveals
    /// nothing, and is readable by this process only.
    #[must_use]
    pub fn encode_id(&self, mark: EventPosition) -> String {
        let mut number = mark.0.to_be_bytes().to_vec();
        let sealed =
            self.names.as_ref().map(|names| names.seal_in_place_append_tag(Aad::empty(), &mut number));
        let Some(Ok(nonce)) = sealed else { return String::new() };
        let name = [nonce.as_ref().as_slice(), &number].concat();
        URL_SAFE_NO_PAD.encode(name)
    }

    /// The position with this id. `None` if the id is unknown or later changes were dropped.
    #[must_use]
    pub fn decode_id(&self, id: &str) -> Option<EventPosition> {
        let name = URL_SAFE_NO_PAD.decode(id).ok().filter(|name| name.len() == ID_LEN)?;
        let (nonce, sealed) = name.split_at_checked(NONCE_LEN)?;
        let (nonce, mut sealed) = (Nonce::try_assume_unique_for_key(nonce).ok()?, sealed.to_vec());
        let opened = self.names.as_ref()?.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        let number = u64::from_be_bytes((*opened).try_into().ok()?);
        let ring = self.ring();
        (ring.lost..=ring.latest).contains(&number).then_some(EventPosition(number))
    }

    /// The first change after `mark`.
    #[must_use]
    pub fn next_after(&self, mark: EventPosition) -> NextEvent {
        let ring = self.ring();
        if mark.0 < ring.lost {
            return NextEvent::Lost(EventPosition(ring.latest));
        }
        let next = ring.changes.range((Bound::Excluded(mark.0), Bound::Unbounded)).next();
        next.map_or(NextEvent::Nothing, |(number, change)| {
            NextEvent::Next(EventPosition(*number), change.clone())
        })
    }

    /// Whether this person's grant is known to have changed after `mark`. Dropped changes count as unknown.
    #[must_use]
    pub fn changed_since(&self, mark: EventPosition, person: &PersonId) -> bool {
        let number = self.ring().places.get(&Change::Person(person.clone())).copied();
        number.is_some_and(|number| number > mark.0)
    }

    fn push(&self, change: Change) {
        {
            let mut ring = self.ring();
            ring.latest += 1;
            let number = ring.latest;
            if let Some(before) = ring.places.insert(change.clone(), number) {
                ring.changes.remove(&before);
            }
            ring.changes.insert(number, change);
            if ring.changes.len() > RING_LEN
                && let Some((oldest, gone)) = ring.changes.pop_first()
            {
                ring.places.remove(&gone);
                ring.lost = oldest;
            }
        }
        self.news.send_replace(());
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn person(n: usize) -> PersonId {
        PersonId::parse(&format!("person-{n}")).unwrap()
    }

    /// All changes after `mark`, and the reader's position after them.
    fn read(events: &Events, mut mark: EventPosition) -> (Vec<Change>, EventPosition) {
        let mut all = Vec::new();
        while let NextEvent::Next(next, change) = events.next_after(mark) {
            assert!(next.0 > mark.0);
            all.push(change);
            mark = next;
        }
        (all, mark)
    }

    #[test]
    fn a_burst_of_changes_of_one_person_is_reported_once() {
        let events = Events::default();
        let start = events.position();
        for n in [1, 2, 1, 1, 2, 1] {
            events.person_changed(&person(n));
        }
        events.breaker_turned();
        events.breaker_turned();
        let (changes, mark) = read(&events, start);
        assert_eq!(changes, [Change::Person(person(2)), Change::Person(person(1)), Change::Breaker]);
        assert_eq!((mark, events.next_after(mark)), (events.position(), NextEvent::Nothing));
    }

    #[test]
    fn a_reader_in_the_middle_misses_no_change_that_moved() {
        let events = Events::default();
        events.person_changed(&person(1));
        events.person_changed(&person(2));
        let NextEvent::Next(middle, _) = events.next_after(EventPosition(0)) else { panic!("nothing came") };
        events.person_changed(&person(1));
        assert_eq!(read(&events, middle).0, [Change::Person(person(2)), Change::Person(person(1))]);
    }

    #[test]
    fn a_reader_too_far_behind_must_load_everything() {
        let events = Events::default();
        let start = events.position();
        for n in 0..RING_LEN {
            events.person_changed(&person(n));
        }
        assert_eq!(read(&events, start).0.len(), RING_LEN);
        events.person_changed(&person(RING_LEN));
        assert_eq!(events.next_after(start), NextEvent::Lost(events.position()));
        assert_eq!(read(&events, EventPosition(1)).0.len(), RING_LEN);
        let ring = events.ring();
        assert_eq!((ring.changes.len(), ring.places.len()), (RING_LEN, RING_LEN));
    }

    #[test]
    fn a_change_of_a_grant_is_known_until_it_is_dropped() {
        let events = Events::default();
        let before = events.position();
        events.person_changed(&person(1));
        let after = events.position();
        assert!(events.changed_since(before, &person(1)));
        assert!(!events.changed_since(after, &person(1)));
        assert!(!events.changed_since(before, &person(2)));
        events.everything_changed();
        assert!(!events.changed_since(before, &person(1)));
    }

    #[test]
    fn when_everything_changed_every_reader_must_load_everything() {
        let events = Events::default();
        events.person_changed(&person(1));
        let mark = events.position();
        events.everything_changed();
        assert_eq!(events.next_after(mark), NextEvent::Lost(events.position()));
        assert_eq!(events.next_after(events.position()), NextEvent::Nothing);
    }

    /// It reveals neither how much changed nor that nothing changed.
    #[test]
    fn an_event_id_reveals_nothing_about_other_changes() {
        let events = Events::default();
        let mut ids = vec![events.encode_id(events.position()), events.encode_id(events.position())];
        for n in 0..300 {
            events.person_changed(&person(n));
            ids.push(events.encode_id(events.position()));
        }
        let lengths: BTreeSet<usize> = ids.iter().map(String::len).collect();
        let distinct: BTreeSet<&String> = ids.iter().collect();
        assert_eq!((lengths.len(), distinct.len()), (1, ids.len()));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(ids.iter().all(|id| id.chars().all(is_plain)), "{ids:?}");
    }

    #[test]
    fn only_event_ids_of_this_run_without_dropped_changes_are_found() {
        let (events, other) = (Events::default(), Events::default());
        let start = events.position();
        events.person_changed(&person(1));
        for mark in [start, events.position()] {
            assert_eq!(events.decode_id(&events.encode_id(mark)), Some(mark));
            assert_eq!(other.decode_id(&events.encode_id(mark)), None);
        }
        assert_eq!(events.decode_id(&events.encode_id(EventPosition(2))), None, "the future");
        let id = events.encode_id(start);
        let flipped = format!("{}{}", if id.starts_with('A') { 'B' } else { 'A' }, &id[1..]);
        for odd in ["", "-", "1", "x-1", &format!("{id}0"), &id[..id.len() - 4], &flipped] {
            assert_eq!(events.decode_id(odd), None, "{odd}");
        }
        events.everything_changed();
        assert_eq!(events.decode_id(&events.encode_id(start)), None, "lost");
    }
}
