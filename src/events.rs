//! What changed, for whoever watches: a bounded ring of *whose* state changed, never of what it became. A reader looks
//! the state up when it is about to tell it, so a burst of changes is told once, and a late reader tells the newest.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::ops::Bound;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::watch;

use crate::domain::person::PersonId;

/// Changes kept, one for each person at most; whoever is further behind must load everything anew.
pub const KEPT: usize = 1024;

/// The ring. A person's change is noted after it is durable, never before; the breaker's as soon as it has turned, since
/// it is at work then, whether it could be kept or not.
pub struct Events {
    /// Tells this process's ids from any other's: random, since a clock may be set back.
    run: u64,
    ring: Mutex<Ring>,
    news: watch::Sender<()>,
}

#[derive(Default)]
struct Ring {
    /// The latest change's number; the first is 1.
    latest: u64,
    /// Whoever has seen no more than this may have missed something.
    lost: u64,
    changes: BTreeMap<u64, Change>,
    /// Where each change stands now: a new one of the same kind takes the old one's place.
    places: HashMap<Change, u64>,
}

/// Something that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A person's grant: another state, or none any more.
    Person(PersonId),
    /// Whether refreshes pause.
    Breaker,
}

/// How far a reader has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// What comes after a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing yet.
    Nothing,
    /// This, which brings the reader to this mark.
    Next(Mark, Change),
    /// Nobody knows any more: everything may have changed up to this mark.
    Lost(Mark),
}

impl Default for Events {
    fn default() -> Self {
        Self {
            run: RandomState::new().hash_one(std::process::id()),
            ring: Mutex::default(),
            news: watch::Sender::new(()),
        }
    }
}

impl Events {
    /// This person's grant changed, or is gone.
    pub fn person_changed(&self, person: &PersonId) {
        self.note(Change::Person(person.clone()));
    }

    /// Refreshes pause from now on, or go on again.
    pub fn breaker_turned(&self) {
        self.note(Change::Breaker);
    }

    /// Many grants changed at once: every reader must load everything anew.
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

    /// Becomes changed with every change.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Where whoever begins to read now stands.
    #[must_use]
    pub fn now(&self) -> Mark {
        Mark(self.ring().latest)
    }

    /// The mark's name, outside: grows within a run of this process, and is another one's in no other.
    #[must_use]
    pub fn id(&self, mark: Mark) -> String {
        format!("{:016x}-{}", self.run, mark.0)
    }

    /// The mark of this name, unless it is unknown, or something after it is forgotten.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Mark> {
        let (run, number) = id.split_once('-')?;
        let number: u64 = number.parse().ok()?;
        let (mark, ring) = (Mark(number), self.ring());
        let ours = run == format!("{:016x}", self.run) && (ring.lost..=ring.latest).contains(&number);
        ours.then_some(mark)
    }

    /// The first change after `mark`.
    #[must_use]
    pub fn after(&self, mark: Mark) -> After {
        let ring = self.ring();
        if mark.0 < ring.lost {
            return After::Lost(Mark(ring.latest));
        }
        let next = ring.changes.range((Bound::Excluded(mark.0), Bound::Unbounded)).next();
        next.map_or(After::Nothing, |(number, change)| After::Next(Mark(*number), change.clone()))
    }

    /// Whether this person's grant is known to have changed after `mark`. What is forgotten is not known.
    #[must_use]
    pub fn changed_since(&self, mark: Mark, person: &PersonId) -> bool {
        let number = self.ring().places.get(&Change::Person(person.clone())).copied();
        number.is_some_and(|number| number > mark.0)
    }

    fn note(&self, change: Change) {
        {
            let mut ring = self.ring();
            ring.latest += 1;
            let number = ring.latest;
            if let Some(before) = ring.places.insert(change.clone(), number) {
                ring.changes.remove(&before);
            }
            ring.changes.insert(number, change);
            if ring.changes.len() > KEPT
                && let Some((oldest, gone)) = ring.changes.pop_first()
            {
                ring.places.remove(&gone);
                ring.lost = oldest;
            }
        }
        self.news.send_replace(());
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(n: usize) -> PersonId {
        PersonId::parse(&format!("person-{n}")).unwrap()
    }

    /// All that comes after `mark`, and where the reader stands then.
    fn read(events: &Events, mut mark: Mark) -> (Vec<Change>, Mark) {
        let mut all = Vec::new();
        while let After::Next(next, change) = events.after(mark) {
            assert!(next.0 > mark.0);
            all.push(change);
            mark = next;
        }
        (all, mark)
    }

    #[test]
    fn a_burst_of_changes_of_one_person_is_told_once() {
        let events = Events::default();
        let start = events.now();
        for n in [1, 2, 1, 1, 2, 1] {
            events.person_changed(&person(n));
        }
        events.breaker_turned();
        events.breaker_turned();
        let (changes, mark) = read(&events, start);
        assert_eq!(changes, [Change::Person(person(2)), Change::Person(person(1)), Change::Breaker]);
        assert_eq!((mark, events.after(mark)), (events.now(), After::Nothing));
    }

    #[test]
    fn a_reader_in_the_middle_misses_nothing_that_took_another_place() {
        let events = Events::default();
        events.person_changed(&person(1));
        events.person_changed(&person(2));
        let After::Next(middle, _) = events.after(Mark(0)) else { panic!("nothing came") };
        events.person_changed(&person(1));
        assert_eq!(read(&events, middle).0, [Change::Person(person(2)), Change::Person(person(1))]);
    }

    #[test]
    fn whoever_is_too_far_behind_is_told_so() {
        let events = Events::default();
        let start = events.now();
        for n in 0..KEPT {
            events.person_changed(&person(n));
        }
        assert_eq!(read(&events, start).0.len(), KEPT);
        events.person_changed(&person(KEPT));
        assert_eq!(events.after(start), After::Lost(events.now()));
        assert_eq!(read(&events, Mark(1)).0.len(), KEPT);
        let ring = events.ring();
        assert_eq!((ring.changes.len(), ring.places.len()), (KEPT, KEPT));
    }

    #[test]
    fn whose_grant_has_changed_since_is_known_until_it_is_forgotten() {
        let events = Events::default();
        let before = events.now();
        events.person_changed(&person(1));
        let after = events.now();
        assert!(events.changed_since(before, &person(1)));
        assert!(!events.changed_since(after, &person(1)));
        assert!(!events.changed_since(before, &person(2)));
        events.everything_changed();
        assert!(!events.changed_since(before, &person(1)));
    }

    #[test]
    fn when_everything_changed_everybody_is_told_so() {
        let events = Events::default();
        events.person_changed(&person(1));
        let mark = events.now();
        events.everything_changed();
        assert_eq!(events.after(mark), After::Lost(events.now()));
        assert_eq!(events.after(events.now()), After::Nothing);
    }

    #[test]
    fn only_ids_of_this_run_that_lost_nothing_are_found() {
        let (events, other) = (Events::default(), Events::default());
        let start = events.now();
        events.person_changed(&person(1));
        for mark in [start, events.now()] {
            assert_eq!(events.find(&events.id(mark)), Some(mark));
            assert_eq!(other.find(&events.id(mark)), None);
        }
        assert_eq!(events.find(&events.id(Mark(2))), None, "the future");
        for odd in ["", "-", "1", "x-1", &format!("{}0", events.id(start)), &events.id(start).to_uppercase()]
        {
            let same = odd == events.id(start);
            assert!(same || events.find(odd).is_none_or(|mark| mark == start), "{odd}");
        }
        events.everything_changed();
        assert_eq!(events.find(&events.id(start)), None, "lost");
    }
}
