//! Who may use the API over the network: whoever shows a key. Wrong keys are slowed down, address by address; a right
//! one is always let in, since 256 random bits need no protection against guessing, only the machine against the work.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header;
use tokio::time::Instant;

use crate::domain::key::KeyRecord;
use crate::domain::secret::Secret;
use crate::http::log_limit::LogLimit;
use crate::http::rate_limit::RateLimit;
use crate::http::refusal::Refusal;
use crate::keys::Keys;
use crate::tasks::Tasks;

/// Wrong keys that an address may show at once.
const BURST: u32 = 10;

/// After them, one more for each of these.
const STEP: Duration = Duration::from_secs(6);

/// Checks keys.
pub(super) struct Auth {
    keys: Arc<Keys>,
    tasks: Tasks,
    wrong: Mutex<RateLimit<IpAddr>>,
    /// When a wrong key at the dashboard is worth a line in the log again.
    told: LogLimit,
}

impl Auth {
    pub(super) fn new(keys: Arc<Keys>, tasks: Tasks) -> Self {
        Self { keys, tasks, wrong: Mutex::new(RateLimit::new(BURST, STEP)), told: LogLimit::default() }
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
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        match wrong.take(network(from), Instant::now()) {
            Ok(()) => Err(Refusal::Unauthorized("This key opens nothing: it is wrong, revoked or expired.")),
            Err(retry_after) => Err(Refusal::TooMany { retry_after }),
        }
    }

    /// Logs that a key shown at `from` was refused, at most once a minute. Never the key.
    pub(super) fn tell(&self, from: IpAddr, why: &str) {
        if let Some(more) = self.told.due() {
            log::warn!("dashboard: {} showed a key that {why}{more}", from.to_canonical());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn neighbours_in_ipv6_share_one_allowance_and_mapped_addresses_are_ipv4() {
        assert_eq!(network(ip("2001:db8:1:2:aaaa::1")), network(ip("2001:db8:1:2:bbbb::2")));
        assert_ne!(network(ip("2001:db8:1:2::1")), network(ip("2001:db8:1:3::1")));
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
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
