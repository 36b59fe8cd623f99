//! Limits the connections of one listener, and evicts connections when the limit is reached.
//!
//! There is no limit for each address, because behind a proxy and on loopback all clients share one address.
//! When the limit is reached, the network with the most connections loses its longest-idle one. So a flood
//! from one network evicts its own connections only. Connections that have already sent a request get no
//! preference; otherwise a flood that sends one request each could lock out new clients.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::http::auth::client_network::network;
use crate::http::server::activity::Activity;

/// A connection that was accepted or had a request in flight within this time is not evicted, because a
/// request or a response may be on its way.
const EVICTION_GRACE: Duration = Duration::from_millis(100);

/// Pause before the next attempt, if no connection can be evicted or an evicted one has not closed yet.
const RECHECK: Duration = Duration::from_millis(50);

/// Limits the number of connections. When the limit is reached, the address with the most connections loses
/// the one that has been idle for the longest time.
#[derive(Debug)]
pub(in crate::http) struct ConnectionLimiter {
    most: usize,
    free: Arc<Semaphore>,
    seated: Mutex<LimiterState>,
}

#[derive(Debug, Default)]
struct LimiterState {
    next: u64,
    all: BTreeMap<u64, ConnectionEntry>,
    /// The number of connections of each network.
    of: HashMap<SourceNetwork, usize>,
}

/// An IP address; for IPv6, its /64 network. `None` on the control socket, where all peers count as one.
type SourceNetwork = Option<IpAddr>;

#[derive(Debug)]
struct ConnectionEntry {
    from: SourceNetwork,
    activity: Arc<Activity>,
}

/// A connection's slot, released on drop.
#[derive(Debug)]
pub(in crate::http) struct ConnectionPermit {
    number: u64,
    activity: Arc<Activity>,
    limiter: Arc<ConnectionLimiter>,
    _slot: OwnedSemaphorePermit,
}

impl ConnectionLimiter {
    /// A limiter for at most `most` connections.
    pub(in crate::http) fn new(most: u32) -> Arc<Self> {
        let most = usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Arc::new(Self { most, free: Arc::new(Semaphore::new(most)), seated: Mutex::default() })
    }

    /// Waits for a free slot for a connection from `from`. It waits only while every connection has a request
    /// in flight, or while the address with the most connections had one in flight a moment ago.
    pub(in crate::http) async fn acquire(self: &Arc<Self>, from: Option<IpAddr>) -> ConnectionPermit {
        let from = from.map(network);
        loop {
            if let Ok(slot) = Arc::clone(&self.free).try_acquire_owned() {
                return self.register(slot, from);
            }
            self.evict(1);
            if let Ok(Ok(slot)) = timeout(RECHECK, Arc::clone(&self.free).acquire_owned()).await {
                return self.register(slot, from);
            }
        }
    }

    /// Evicts up to `wanted` connections and returns how many. Each time it takes the address with the most
    /// connections, and of these the one that has had no request in flight for the longest time, counted from
    /// its accept if it never had one.
    pub(in crate::http) fn evict(&self, wanted: usize) -> usize {
        let now = Instant::now();
        let seated = self.state();
        (0..wanted).take_while(|_| seated.evict_one(now)).count()
    }

    /// Returns when all connections are closed.
    pub(in crate::http) async fn all_closed(&self) {
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        // An error would mean that the semaphore is closed, which it never is.
        let _ = self.free.acquire_many(all).await;
    }

    /// Whether the next connection must wait for a slot.
    pub(in crate::http) fn is_full(&self) -> bool {
        self.free.available_permits() == 0
    }

    /// The number of open connections.
    pub(in crate::http) fn size(&self) -> usize {
        self.most.saturating_sub(self.free.available_permits())
    }

    fn register(self: &Arc<Self>, slot: OwnedSemaphorePermit, from: SourceNetwork) -> ConnectionPermit {
        let activity = Activity::new();
        let mut seated = self.state();
        let number = seated.next;
        seated.next += 1;
        seated.all.insert(number, ConnectionEntry { from, activity: Arc::clone(&activity) });
        *seated.of.entry(from).or_default() += 1;
        ConnectionPermit { number, activity, limiter: Arc::clone(self), _slot: slot }
    }

    fn state(&self) -> MutexGuard<'_, LimiterState> {
        self.seated.lock()
    }
}

impl LimiterState {
    /// Evicts one connection, if possible. If all connections of the largest network were busy a moment ago,
    /// no other network loses one instead: a flood may arrive so fast that its own connections are always the
    /// newest.
    fn evict_one<'a>(&'a self, now: Instant) -> bool {
        let may_go = |entry: &'a ConnectionEntry| {
            let since = entry.activity.evictable_since()?;
            Some((self.connections_of(entry.from), Reverse(since), &entry.activity))
        };
        let first = self.all.values().filter_map(may_go).max_by_key(|(held, since, _)| (*held, *since));
        let Some((_, Reverse(since), activity)) = first else { return false };
        let goes = since + EVICTION_GRACE <= now;
        if goes {
            activity.evict();
        }
        goes
    }

    /// The number of connections from this network.
    fn connections_of(&self, from: SourceNetwork) -> usize {
        self.of.get(&from).copied().unwrap_or_default()
    }

    fn remove(&mut self, number: u64) {
        let Some(ConnectionEntry { from, .. }) = self.all.remove(&number) else { return };
        let left = self.connections_of(from).saturating_sub(1);
        if left > 0 {
            self.of.insert(from, left);
        } else {
            self.of.remove(&from);
        }
    }
}

impl ConnectionPermit {
    /// The activity of this connection.
    pub(in crate::http) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limiter.state().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A limiter without a free slot. Its connections were accepted one millisecond apart.
    async fn full(from: &[&str]) -> (Arc<ConnectionLimiter>, Vec<ConnectionPermit>) {
        let limiter = ConnectionLimiter::new(u32::try_from(from.len()).unwrap());
        let mut permits = Vec::new();
        for address in from {
            permits.push(limiter.acquire(Some(address.parse().unwrap())).await);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        (limiter, permits)
    }

    fn dismissed(permits: &[ConnectionPermit]) -> Vec<usize> {
        (0..permits.len()).filter(|n| permits[*n].activity.is_evicted()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_is_evicted_whether_it_has_sent_a_request_or_not() {
        let (limiter, permits) = full(&["192.0.2.1"; 4]).await;
        drop(permits[0].activity.begin());
        let working = permits[1].activity.begin();
        assert_eq!(limiter.evict(1), 0, "all were busy a moment ago");
        tokio::time::advance(EVICTION_GRACE).await;
        for expected in [vec![2], vec![2, 3], vec![0, 2, 3], vec![0, 2, 3]] {
            limiter.evict(1);
            assert_eq!(dismissed(&permits), expected);
        }
        drop(working);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_from_one_network_evicts_its_own_connections() {
        let (one, other, entry) = ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "192.0.2.1");
        let (limiter, mut permits) = full(&[entry, "2001:db8:1:3::1", one, entry, other, one]).await;
        tokio::time::advance(EVICTION_GRACE).await;
        assert_eq!(limiter.evict(2), 2);
        assert_eq!(dismissed(&permits), [2, 4]);
        // The next connections of the flood are the newest of all, and are evicted nevertheless.
        for n in [4, 2] {
            drop(permits.remove(n));
        }
        permits[3].activity.touch();
        for _ in 0..2 {
            tokio::time::advance(Duration::from_millis(1)).await;
            permits.push(limiter.acquire(Some(other.parse().unwrap())).await);
        }
        assert_eq!((limiter.evict(1), dismissed(&permits)), (0, vec![]));
        tokio::time::advance(EVICTION_GRACE).await;
        assert_eq!((limiter.evict(2), dismissed(&permits)), (2, vec![3, 4]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_whose_connections_are_all_busy_does_not_prevent_eviction() {
        let (limiter, permits) = full(&["192.0.2.1", "192.0.2.2", "192.0.2.2"]).await;
        tokio::time::advance(EVICTION_GRACE).await;
        let _working = [permits[1].activity.begin(), permits[2].activity.begin()];
        assert_eq!((limiter.evict(3), dismissed(&permits)), (1, vec![0]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_is_given_when_one_is_free_and_every_permit_counts() {
        let (limiter, mut permits) = full(&["192.0.2.1", "192.0.2.2"]).await;
        let _working: Vec<_> = permits.iter().map(|permit| permit.activity.begin()).collect();
        assert!(timeout(Duration::from_secs(5), limiter.acquire(None)).await.is_err());
        drop(permits.remove(0));
        let third = timeout(Duration::from_secs(5), limiter.acquire(None)).await.unwrap();
        assert_eq!(limiter.size(), 2);
        drop((permits, third));
        timeout(Duration::from_secs(5), limiter.all_closed()).await.unwrap();
        assert!(limiter.state().all.is_empty() && limiter.state().of.is_empty());
    }
}
