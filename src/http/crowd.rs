//! The connections of one listener, and who goes when there are too many.
//!
//! There is no cap for each address: behind a proxy, and on loopback, everybody has the same one. But whoever holds most
//! seats gives the next: a crowd from elsewhere sends its own away, and nobody else's. And those that have asked before
//! are no better than those that have not: whoever is new could never get in past a crowd that asked once.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::net::IpAddr;
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
use crate::http::auth::network;

/// Whoever came, or was answered, within this time is not sent away: a request or an answer may be on its way.
const MOMENT: Duration = Duration::from_millis(100);

/// When nobody could be sent away, or somebody does not go: this long until the next look.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// At most so many connections, each with a seat. When all are taken, the address with most of them makes room for the
/// next: with the connection that has been of no use for the longest time.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    free: Arc<Semaphore>,
    seated: Mutex<Seated>,
}

#[derive(Debug, Default)]
struct Seated {
    next: u64,
    all: BTreeMap<u64, Guest>,
    /// How many each has.
    of: HashMap<Network, usize>,
}

/// An address, of IPv6 its network; none on the control socket, where all come from the same place.
type Network = Option<IpAddr>;

#[derive(Debug)]
struct Guest {
    from: Network,
    activity: Arc<Activity>,
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

    /// A seat for somebody from `from`, as soon as there is one. Waits only while every connection has a request in
    /// flight, or those of the address that must make room had one a moment ago.
    pub(super) async fn seat(self: &Arc<Self>, from: Option<IpAddr>) -> Seat {
        let from = from.map(network);
        loop {
            if let Ok(slot) = Arc::clone(&self.free).try_acquire_owned() {
                return self.taken(slot, from);
            }
            self.make_room(1);
            if let Ok(Ok(slot)) = timeout(LOOK_AGAIN, Arc::clone(&self.free).acquire_owned()).await {
                return self.taken(slot, from);
            }
        }
    }

    /// Sends up to `wanted` connections away and says how many: each time the one that has had no request in flight
    /// for the longest time, counted from its arrival if it never had one, of the address that holds most.
    pub(super) fn make_room(&self, wanted: usize) -> usize {
        let now = Instant::now();
        let seated = self.seated();
        (0..wanted).take_while(|_| seated.dismiss_one(now)).count()
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

    fn taken(self: &Arc<Self>, slot: OwnedSemaphorePermit, from: Network) -> Seat {
        let activity = Activity::new();
        let mut seated = self.seated();
        let number = seated.next;
        seated.next += 1;
        seated.all.insert(number, Guest { from, activity: Arc::clone(&activity) });
        *seated.of.entry(from).or_default() += 1;
        Seat { number, activity, crowd: Arc::clone(self), _slot: slot }
    }

    fn seated(&self) -> MutexGuard<'_, Seated> {
        self.seated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seated {
    /// Whether somebody could go. Nobody else does while all of the greatest crowd were busy a moment ago: it may come
    /// so fast that its own are always the newest.
    fn dismiss_one<'a>(&'a self, now: Instant) -> bool {
        let may_go = |guest: &'a Guest| {
            let since = guest.activity.may_go()?;
            Some((self.held(guest.from), Reverse(since), &guest.activity))
        };
        let first = self.all.values().filter_map(may_go).max_by_key(|(held, since, _)| (*held, *since));
        let Some((_, Reverse(since), activity)) = first else { return false };
        let goes = since + MOMENT <= now;
        if goes {
            activity.dismiss();
        }
        goes
    }

    /// How many seats are taken from there.
    fn held(&self, from: Network) -> usize {
        self.of.get(&from).copied().unwrap_or_default()
    }

    fn leave(&mut self, number: u64) {
        let Some(Guest { from, .. }) = self.all.remove(&number) else { return };
        let left = self.held(from).saturating_sub(1);
        if left > 0 {
            self.of.insert(from, left);
        } else {
            self.of.remove(&from);
        }
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
        self.crowd.seated().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crowd without a free seat, each taken a millisecond after the one before it.
    async fn full(from: &[&str]) -> (Arc<Crowd>, Vec<Seat>) {
        let crowd = Crowd::new(u32::try_from(from.len()).unwrap());
        let mut seats = Vec::new();
        for address in from {
            seats.push(crowd.seat(Some(address.parse().unwrap())).await);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        (crowd, seats)
    }

    fn dismissed(seats: &[Seat]) -> Vec<usize> {
        (0..seats.len()).filter(|n| seats[*n].activity.is_dismissed()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_goes_that_has_been_quiet_for_the_longest_time_asked_or_not() {
        let (crowd, seats) = full(&["192.0.2.1"; 4]).await;
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
    async fn a_crowd_from_elsewhere_sends_its_own_away_and_nobody_elses() {
        let (one, other, guest) = ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "192.0.2.1");
        let (crowd, mut seats) = full(&[guest, "2001:db8:1:3::1", one, guest, other, one]).await;
        tokio::time::advance(MOMENT).await;
        assert_eq!(crowd.make_room(2), 2);
        assert_eq!(dismissed(&seats), [2, 4]);
        // Its next are the newest of all, and make room nonetheless.
        for n in [4, 2] {
            drop(seats.remove(n));
        }
        seats[3].activity.touch();
        for _ in 0..2 {
            tokio::time::advance(Duration::from_millis(1)).await;
            seats.push(crowd.seat(Some(other.parse().unwrap())).await);
        }
        assert_eq!((crowd.make_room(1), dismissed(&seats)), (0, vec![]));
        tokio::time::advance(MOMENT).await;
        assert_eq!((crowd.make_room(2), dismissed(&seats)), (2, vec![3, 4]));
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_most_and_is_all_at_work_keeps_nobody_else_from_making_room() {
        let (crowd, seats) = full(&["192.0.2.1", "192.0.2.2", "192.0.2.2"]).await;
        tokio::time::advance(MOMENT).await;
        let _working = [seats[1].activity.begin(), seats[2].activity.begin()];
        assert_eq!((crowd.make_room(3), dismissed(&seats)), (1, vec![0]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_seat_is_given_once_one_is_free_and_every_seat_counts() {
        let (crowd, mut seats) = full(&["192.0.2.1", "192.0.2.2"]).await;
        let _working: Vec<_> = seats.iter().map(|seat| seat.activity.begin()).collect();
        assert!(timeout(Duration::from_secs(5), crowd.seat(None)).await.is_err());
        drop(seats.remove(0));
        let third = timeout(Duration::from_secs(5), crowd.seat(None)).await.unwrap();
        assert_eq!(crowd.size(), 2);
        drop((seats, third));
        timeout(Duration::from_secs(5), crowd.gone()).await.unwrap();
        assert!(crowd.seated().all.is_empty() && crowd.seated().of.is_empty());
    }
}
