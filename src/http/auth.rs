//! Who may use the API over the network: whoever shows a key. Wrong keys are slowed down, address by address; a right
//! one is always let in, since 256 random bits need no protection against guessing, only the machine against the work.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header;
use tokio::time::Instant;

use crate::domain::key::KeyRecord;
use crate::domain::secret::Secret;
use crate::http::refusal::Refusal;
use crate::keys::Keys;
use crate::tasks::Tasks;

/// Wrong keys that an address may show at once.
const BURST: u32 = 10;

/// After them, one more for each of these.
const STEP: Duration = Duration::from_secs(6);

/// Keys that do not let in are told so often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Addresses remembered, in each of two generations. Under 200 bytes each.
const ADDRESSES: usize = 4096;

/// Checks keys.
pub(super) struct Auth {
    keys: Arc<Keys>,
    tasks: Tasks,
    wrong: Mutex<Wrong>,
    /// When a wrong key at the dashboard is worth a line in the log again.
    told: Mutex<Told>,
}

impl Auth {
    pub(super) fn new(keys: Arc<Keys>, tasks: Tasks) -> Self {
        Self { keys, tasks, wrong: Mutex::default(), told: Mutex::default() }
    }

    /// The record of the key in `headers`.
    pub(super) fn admit(&self, headers: &HeaderMap, from: IpAddr) -> Result<Arc<KeyRecord>, Refusal> {
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let Some(first) = shown.next() else {
            return Err(Refusal::Unauthorized("Show a key: Authorization: Bearer KEY."));
        };
        let key = first.to_str().ok().filter(|_| shown.next().is_none()).and_then(bearer);
        self.admit_key(&key.unwrap_or_else(|| Secret::new(String::new())), from)
    }

    /// The record of `key`, however it was shown.
    pub(super) fn admit_key(&self, key: &Secret, from: IpAddr) -> Result<Arc<KeyRecord>, Refusal> {
        if let Some(record) = self.keys.check(key) {
            self.note_use(&record);
            return Ok(record);
        }
        match self.one_more_wrong(from) {
            Ok(()) => Err(Refusal::Unauthorized("This key opens nothing: it is wrong, revoked or expired.")),
            Err(retry_after) => Err(Refusal::TooMany { retry_after }),
        }
    }

    /// How long `from` has to wait until it is listened to, where what is shown could be guessed.
    pub(super) fn patience(&self, from: IpAddr) -> Result<(), Duration> {
        self.wrong().wait(network(from), Instant::now())
    }

    /// Takes note of something wrong that is no key, on the same account.
    pub(super) fn one_more_wrong(&self, from: IpAddr) -> Result<(), Duration> {
        self.wrong().one_more(network(from), Instant::now())
    }

    /// Tells the log of a key that did not let somebody at `from` in, at most once in [`TOLD_EVERY`]. Never the key.
    pub(super) fn tell(&self, from: IpAddr, why: &str) {
        let now = Instant::now();
        if let Some(untold) = self.told.lock().unwrap_or_else(PoisonError::into_inner).one_more(now) {
            let more =
                if untold > 0 { format!("; {untold} more since the last such line") } else { String::new() };
            log::warn!("dashboard: {} showed a key that {why}{more}", from.to_canonical());
        }
    }

    fn wrong(&self) -> MutexGuard<'_, Wrong> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Beside the answer: nobody waits for a date.
    fn note_use(&self, record: &Arc<KeyRecord>) {
        if !self.keys.is_untouched(record) {
            return;
        }
        let (keys, record) = (self.keys.clone(), record.clone());
        self.tasks.spawn("key use", async move {
            if let Err(why) = keys.touch(&record).await {
                log::log!(why.level(), "the use of key {:?} could not be noted: {why}", record.name);
            }
        });
    }
}

/// The key of `Bearer KEY`; the scheme in any case (RFC 9110, 11.1).
fn bearer(text: &str) -> Option<Secret> {
    let (scheme, key) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(key.trim_matches(' ').to_owned()))
}

/// Whoever has one address of a /64 has all of them.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// What was not told of keys that let nobody in: a flood of them must not be one of the log.
#[derive(Default)]
struct Told {
    last: Option<Instant>,
    untold: u64,
}

impl Told {
    /// How many were not told before, if this one is to be told.
    fn one_more(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < TOLD_EVERY) {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// For each address, when all that it did wrong is forgotten. Two generations: when the young one is full it becomes
/// the old one, and what was in the old one is forgotten unless it came again.
#[derive(Default)]
struct Wrong {
    young: HashMap<IpAddr, Instant>,
    old: HashMap<IpAddr, Instant>,
}

impl Wrong {
    /// `Err` says how long the address has to wait before it may be wrong again.
    fn wait(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let known = self.young.get(&from).or_else(|| self.old.get(&from));
        let forgotten_at = known.copied().unwrap_or(now).max(now) + STEP;
        let wait = forgotten_at.saturating_duration_since(now).saturating_sub(STEP * BURST);
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }

    /// Takes note of a wrong key; `Err` says how long the address has to wait for its next one.
    fn one_more(&mut self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let known = self.young.get(&from).copied().or_else(|| self.old.remove(&from));
        let forgotten_at = known.unwrap_or(now).max(now) + STEP;
        let wait = forgotten_at.saturating_duration_since(now).saturating_sub(STEP * BURST);
        // A refused key is not counted: whoever waits as told is let in.
        let kept = if wait.is_zero() { forgotten_at } else { forgotten_at - STEP };
        if self.young.len() >= ADDRESSES && !self.young.contains_key(&from) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(from, kept);
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_flood_of_wrong_keys_one_line_a_minute_is_told_with_the_number_of_the_others() {
        let mut told = Told::default();
        assert_eq!(told.one_more(Instant::now()), Some(0));
        for _ in 0..1000 {
            assert_eq!(told.one_more(Instant::now()), None);
        }
        tokio::time::advance(TOLD_EVERY).await;
        assert_eq!(told.one_more(Instant::now()), Some(1000));
        tokio::time::advance(TOLD_EVERY).await;
        assert_eq!(told.one_more(Instant::now()), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn after_ten_wrong_keys_one_in_six_seconds_is_looked_at() {
        let mut wrong = Wrong::default();
        for _ in 0..BURST {
            assert_eq!(wrong.one_more(ip("192.0.2.1"), Instant::now()), Ok(()));
        }
        assert_eq!(wrong.wait(ip("192.0.2.1"), Instant::now()), Err(STEP));
        assert_eq!(wrong.wait(ip("192.0.2.2"), Instant::now()), Ok(()));
        assert_eq!(wrong.one_more(ip("192.0.2.1"), Instant::now()), Err(STEP));
        assert_eq!(wrong.one_more(ip("192.0.2.1"), Instant::now()), Err(STEP));
        assert_eq!(wrong.one_more(ip("192.0.2.2"), Instant::now()), Ok(()));
        tokio::time::advance(STEP).await;
        assert_eq!(wrong.one_more(ip("192.0.2.1"), Instant::now()), Ok(()));
        assert_eq!(wrong.one_more(ip("192.0.2.1"), Instant::now()), Err(STEP));
        tokio::time::advance(STEP * BURST).await;
        for _ in 0..BURST {
            assert_eq!(wrong.one_more(ip("192.0.2.1"), Instant::now()), Ok(()));
        }
    }

    #[test]
    fn neighbours_in_ipv6_share_one_allowance_and_mapped_addresses_are_ipv4() {
        assert_eq!(network(ip("2001:db8:1:2:aaaa::1")), network(ip("2001:db8:1:2:bbbb::2")));
        assert_ne!(network(ip("2001:db8:1:2::1")), network(ip("2001:db8:1:3::1")));
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_keeps_who_comes_again() {
        let mut wrong = Wrong::default();
        let bad = ip("203.0.113.9");
        let crowd = (0..u32::try_from(ADDRESSES * 5).unwrap()).map(|n| IpAddr::V4(n.into()));
        for from in crowd.flat_map(|other| [other, bad]) {
            let _ = wrong.one_more(from, Instant::now());
        }
        assert!(wrong.young.len() + wrong.old.len() <= 2 * ADDRESSES);
        assert!(wrong.one_more(bad, Instant::now()).is_err());
    }

    #[test]
    fn only_one_bearer_key_is_read() {
        assert_eq!(bearer("Bearer abc").unwrap().expose(), "abc");
        assert_eq!(bearer("bEARER  abc ").unwrap().expose(), "abc");
        for text in ["Basic abc", "Bearer", "abc", ""] {
            assert!(bearer(text).is_none(), "{text}");
        }
    }
}
