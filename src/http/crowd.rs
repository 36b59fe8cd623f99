//! The connections of one listener, and who goes when there are too many.
//!
//! There is no cap for each address: behind a proxy, and on loopback, everybody has the same one. And those that have
//! asked before are no better than those that have not: whoever is new could never get in past a crowd that asked once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::http::activity::Activity;

/// Whoever came, or was answered, within this time is not sent away: a request or an answer may be on its way.
const MOMENT: Duration = Duration::from_millis(100);

/// When nobody could be sent away, or somebody does not go: this long until the next look.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// At most so many connections, each with a seat. When all are taken the one that has been of no use for the longest
/// time makes room for the next.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    free: Arc<Semaphore>,
    seated: Mutex<Seated>,
}

#[derive(Debug, Default)]
struct Seated {
    next: u64,
    all: BTreeMap<u64, Arc<Activity>>,
}

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    number: u64,
    activity: Arc<Activity>,
    crowd: Arc<Crowd>,
    _slot: OwnedSemaphorePermit,
}

impl Crowd {
    /// Room for `most` connections.
    pub(super) fn new(most: u32) -> Arc<Self> {
        let most = usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Arc::new(Self { most, free: Arc::new(Semaphore::new(most)), seated: Mutex::default() })
    }

    /// A seat, as soon as there is one. Waits only while every connection has a request in flight, or had one a moment
    /// ago.
    pub(super) async fn seat(self: &Arc<Self>) -> Seat {
        loop {
            if let Ok(slot) = Arc::clone(&self.free).try_acquire_owned() {
                return self.taken(slot);
            }
            self.make_room(1);
            if let Ok(Ok(slot)) = timeout(LOOK_AGAIN, Arc::clone(&self.free).acquire_owned()).await {
                return self.taken(slot);
            }
        }
    }

    /// Sends up to `wanted` connections away and says how many: those that have had no request in flight for the
    /// longest time, counted from their arrival if they never had one.
    pub(super) fn make_room(&self, wanted: usize) -> usize {
        let now = Instant::now();
        let seated = self.seated();
        let quiet = |activity: &Arc<Activity>| Some((activity.may_go()?, Arc::clone(activity)));
        let mut quiet: Vec<_> = seated.all.values().filter_map(quiet).collect();
        quiet.retain(|(since, _)| *since + MOMENT <= now);
        quiet.sort_by_key(|(since, _)| *since);
        quiet.iter().take(wanted).map(|(_, activity)| activity.dismiss()).count()
    }

    /// Returns when nobody is left.
    pub(super) async fn gone(&self) {
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        // An error would mean that the seats are closed, which they never are.
        let _ = self.free.acquire_many(all).await;
    }

    /// Whether the next connection has to wait for a seat.
    pub(super) fn is_full(&self) -> bool {
        self.free.available_permits() == 0
    }

    /// How many are here.
    pub(super) fn size(&self) -> usize {
        self.most.saturating_sub(self.free.available_permits())
    }

    fn taken(self: &Arc<Self>, slot: OwnedSemaphorePermit) -> Seat {
        let activity = Activity::new();
        let mut seated = self.seated();
        let number = seated.next;
        seated.next += 1;
        seated.all.insert(number, Arc::clone(&activity));
        Seat { number, activity, crowd: Arc::clone(self), _slot: slot }
    }

    fn seated(&self) -> MutexGuard<'_, Seated> {
        self.seated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Of the connection that sits here.
    pub(super) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.seated().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn full(most: u32) -> (Arc<Crowd>, Vec<Seat>) {
        let crowd = Crowd::new(most);
        let mut seats = Vec::new();
        for _ in 0..most {
            seats.push(crowd.seat().await);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        (crowd, seats)
    }

    fn dismissed(seats: &[Seat]) -> Vec<usize> {
        (0..seats.len()).filter(|n| seats[*n].activity.is_dismissed()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_goes_that_has_been_quiet_for_the_longest_time_asked_or_not() {
        let (crowd, seats) = full(4).await;
        drop(seats[0].activity.begin());
        let working = seats[1].activity.begin();
        assert_eq!(crowd.make_room(1), 0, "all were busy a moment ago");
        tokio::time::advance(MOMENT).await;
        for expected in [vec![2], vec![2, 3], vec![0, 2, 3], vec![0, 2, 3]] {
            crowd.make_room(1);
            assert_eq!(dismissed(&seats), expected);
        }
        drop(working);
    }

    #[tokio::test(start_paused = true)]
    async fn a_seat_is_given_once_one_is_free_and_every_seat_counts() {
        let (crowd, mut seats) = full(2).await;
        let _working: Vec<_> = seats.iter().map(|seat| seat.activity.begin()).collect();
        assert!(timeout(Duration::from_secs(5), crowd.seat()).await.is_err());
        drop(seats.remove(0));
        let third = timeout(Duration::from_secs(5), crowd.seat()).await.unwrap();
        assert_eq!(crowd.size(), 2);
        drop((seats, third));
        timeout(Duration::from_secs(5), crowd.gone()).await.unwrap();
        assert_eq!(crowd.seated().all.len(), 0);
    }
}
