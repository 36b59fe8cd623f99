//! Limits the refreshes that one key may cause. All refreshes share one rate (`EVENT_LOOP_MAX_PER_SECOND`)
//! and a number of slots (`EVENT_LOOP_CONCURRENCY`). Without a budget, a single key could use up both, even
//! if it is limited to one person.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::domain::person::PersonId;
use crate::http::auth::caller::Caller;
use crate::http::auth::rate_limit::RateLimit;
use crate::http::response::api_error::ApiError;
use crate::refresh::RateLimits;
use crate::refresh::RefreshService;

/// The share of one key is one in this many refreshes in the long run. At once, a key may cause as many as
/// start in a second.
const KEY_SHARE: f64 = 4.0;

/// The share of one key is one in this many slots.
const KEY_SHARE_OF_SLOTS: usize = 4;

/// `Retry-After` for a key without a free slot. A refresh usually takes a moment. One that hangs takes 40
/// seconds.
const NO_PLACE: Duration = Duration::from_secs(2);

/// The budgets of all keys, by key id. Reads that need no refresh are free.
pub(super) struct RefreshBudget {
    /// `None` if the rate is unlimited.
    starts: Option<Mutex<RateLimit<String>>>,
    /// Maximum number of running refreshes for one key.
    places: usize,
    under_way: Mutex<HashMap<String, RefreshesByPerson>>,
    /// The places of each key for imports, whose person is not known before. Keys without an import are dropped.
    imports: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// One import of a key, until it is dropped. The control socket needs no place.
pub(super) struct ImportCharge(
    #[expect(dead_code, reason = "dropped to free the place")] Option<OwnedSemaphorePermit>,
);

/// The refreshes that one key has begun, by person, with the number of the key's requests that wait for each.
/// A refresh continues after its requests have ended.
type RefreshesByPerson = BTreeMap<PersonId, usize>;

/// The use of a budget by one request.
pub(super) struct RefreshCharge<'a> {
    budget: &'a RefreshBudget,
    caller: &'a Caller,
    refresher: &'a RefreshService,
    person: &'a PersonId,
    /// Whether a refresh was begun for the request.
    begun: bool,
    /// How long the key must wait, if its budget is used up.
    wait: Option<Duration>,
}

impl RefreshBudget {
    /// Budgets for this rate and number of slots.
    pub(super) fn new(pace: RateLimits) -> Self {
        let places = (pace.concurrency / KEY_SHARE_OF_SLOTS).max(1);
        Self {
            starts: starts_of(pace.per_second),
            places,
            under_way: Mutex::default(),
            imports: Mutex::default(),
        }
    }

    /// Prepares a charge for a request of `caller` about `person`.
    pub(super) fn charge<'a>(
        &'a self,
        caller: &'a Caller,
        refresher: &'a RefreshService,
        person: &'a PersonId,
    ) -> RefreshCharge<'a> {
        RefreshCharge { budget: self, caller, refresher, person, begun: false, wait: None }
    }

    /// Charges an import to the key of the caller, as a refresh.
    ///
    /// # Errors
    /// [`ApiError::OverBudget`] if as many imports of the key run already, or the key has used up its rate.
    pub(super) fn charge_import(&self, caller: &Caller) -> Result<ImportCharge, ApiError> {
        let Caller::Key(key) = caller else { return Ok(ImportCharge(None)) };
        let places = {
            let mut all = self.imports.lock();
            all.retain(|id, places| *id == key.id || Arc::strong_count(places) > 1);
            all.entry(key.id.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.places))).clone()
        };
        let place = places.try_acquire_owned().map_err(|_| NO_PLACE);
        let charged = place.and_then(|place| self.take_start(&key.id).map(|()| ImportCharge(Some(place))));
        charged.map_err(|retry_after| ApiError::OverBudget { retry_after })
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, RefreshesByPerson>> {
        self.under_way.lock()
    }

    fn take_start(&self, key: &str) -> Result<(), Duration> {
        let Some(starts) = &self.starts else { return Ok(()) };
        let mut starts = starts.lock();
        starts.take(key.to_owned(), Instant::now())
    }
}

/// `None` if the rate is unlimited.
fn starts_of(per_second: f64) -> Option<Mutex<RateLimit<String>>> {
    if per_second <= 0.0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; never negative")]
    let burst = per_second.ceil() as u32;
    // A step that is too long to be represented is replaced by a very long one.
    let step = Duration::try_from_secs_f64(KEY_SHARE / per_second).unwrap_or(Duration::MAX / 4);
    Some(Mutex::new(RateLimit::new(burst, step)))
}

impl RefreshCharge<'_> {
    /// Whether one more refresh may be sent for this request. The control socket has no budget, because it
    /// belongs to the operator.
    pub(super) fn allows(&mut self) -> bool {
        let Caller::Key(key) = self.caller else { return true };
        let mut all = self.budget.under_way();
        let flights = all.entry(key.id.clone()).or_default();
        flights.retain(|person, requests| *requests > 0 || self.refresher.is_refreshing(person));
        let may_begin = if flights.contains_key(self.person) || flights.len() < self.budget.places {
            self.budget.take_start(&key.id)
        } else {
            Err(NO_PLACE)
        };
        match may_begin {
            Ok(()) => {
                *flights.entry(self.person.clone()).or_default() += 1;
                self.begun = true;
            }
            Err(wait) => self.wait = Some(wait),
        }
        if flights.is_empty() {
            all.remove(&key.id);
        }
        self.begun
    }

    /// The error, if a refresh was not allowed.
    pub(super) fn refusal(&self) -> Option<ApiError> {
        self.wait.map(|retry_after| ApiError::OverBudget { retry_after })
    }
}

impl Drop for RefreshCharge<'_> {
    fn drop(&mut self) {
        let (Caller::Key(key), true) = (self.caller, self.begun) else { return };
        let mut all = self.budget.under_way();
        let Some(flights) = all.get_mut(&key.id) else { return };
        if let Some(requests) = flights.get_mut(self.person) {
            *requests = requests.saturating_sub(1);
        }
        flights.retain(|person, requests| *requests > 0 || self.refresher.is_refreshing(person));
        if flights.is_empty() {
            all.remove(&key.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_causes_a_quarter_of_the_refreshes_in_the_long_run_whatever_others_do() {
        let budget = RefreshBudget::new(RateLimits { concurrency: 16, per_second: 8.0 });
        let asks = |key: &str| u32::from(budget.take_start(key).is_ok());
        let mut caused = [0; 2];
        for _ in 0..6_000 {
            caused = [caused[0] + asks("one"), caused[1] + asks("other")];
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        // In one minute: eight at once, and two in each second.
        assert!(caused.iter().all(|caused| (127..=128).contains(caused)), "{caused:?}");
    }
}
