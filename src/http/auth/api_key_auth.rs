//! Authenticates API callers by their keys. Invalid keys are limited by address. A valid key is always
//! accepted, because 256 random bits need no protection against guessing; the limit only protects the machine
//! against the work.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::api_keys::ApiKeys;
use crate::domain::api_key::ApiKeyRecord;
use crate::domain::secret::Secret;
use crate::http::auth::client_network::network;
use crate::http::auth::rate_limit::RateLimit;
use crate::http::response::api_error::ApiError;
use crate::log_throttle::LogThrottle;
use crate::tasks::Tasks;

/// Invalid keys that an address may send at once.
const BURST: u32 = 10;

/// After the burst, one more is allowed for each interval.
const REFILL_INTERVAL: Duration = Duration::from_secs(6);

/// Checks API keys.
pub(in crate::http) struct ApiKeyAuth {
    keys: Arc<ApiKeys>,
    tasks: Tasks,
    wrong: Mutex<RateLimit<IpAddr>>,
    /// Limits the log lines about failed sign-ins at the dashboard.
    told: LogThrottle,
}

impl ApiKeyAuth {
    pub(in crate::http) fn new(keys: Arc<ApiKeys>, tasks: Tasks) -> Self {
        Self {
            keys,
            tasks,
            wrong: Mutex::new(RateLimit::new(BURST, REFILL_INTERVAL)),
            told: LogThrottle::default(),
        }
    }

    /// The record of the key in `headers`.
    pub(in crate::http) fn admit(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<Arc<ApiKeyRecord>, ApiError> {
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let Some(first) = shown.next() else {
            return Err(ApiError::Unauthorized("Send an API key: Authorization: Bearer KEY."));
        };
        let key = first.to_str().ok().filter(|_| shown.next().is_none()).and_then(bearer);
        self.admit_key(&key.unwrap_or_else(|| Secret::new(String::new())), from)
    }

    /// The record of `key`, from a header or a form.
    pub(in crate::http) fn admit_key(
        &self,
        key: &Secret,
        from: IpAddr,
    ) -> Result<Arc<ApiKeyRecord>, ApiError> {
        if let Some(record) = self.keys.check(key) {
            self.record_use(&record);
            return Ok(record);
        }
        let mut wrong = self.wrong.lock();
        match wrong.take(network(from), Instant::now()) {
            Ok(()) => Err(ApiError::Unauthorized("The API key is invalid, revoked or expired.")),
            Err(retry_after) => Err(ApiError::TooMany { retry_after }),
        }
    }

    /// Logs, at most once a minute, that a sign-in from `from` failed. The key is not logged.
    pub(in crate::http) fn log_failure(&self, from: IpAddr, why: &str) {
        if let Some(more) = self.told.next_line() {
            log::warn!("dashboard: sign-in from {} failed: {why}{more}", from.to_canonical());
        }
    }

    /// Runs in the background, so that the response does not wait for it.
    fn record_use(&self, record: &Arc<ApiKeyRecord>) {
        if !self.keys.needs_use_recorded(record) {
            return;
        }
        let (keys, record) = (self.keys.clone(), record.clone());
        self.tasks.spawn("key use", async move {
            if let Err(why) = keys.record_use(&record).await {
                log::log!(why.log_level(), "cannot store when key {:?} was last used: {why}", record.name);
            }
        });
    }
}

/// The key of `Bearer KEY`. The scheme is case-insensitive (RFC 9110, 11.1).
fn bearer(text: &str) -> Option<Secret> {
    let (scheme, key) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(key.trim_matches(' ').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_bearer_key_is_read() {
        assert_eq!(bearer("Bearer abc").unwrap().expose(), "abc");
        assert_eq!(bearer("bEARER  abc ").unwrap().expose(), "abc");
        for text in ["Basic abc", "Bearer", "abc", ""] {
            assert!(bearer(text).is_none(), "{text}");
        }
    }
}
