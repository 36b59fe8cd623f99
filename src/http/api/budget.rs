//! How many refreshes one key may cause. All refreshes share one rate (`EVENT_LOOP_MAX_PER_SECOND`): without a budget
//! a single key, limited to one person or not, could take all of it from the others.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use crate::http::api::Caller;
use crate::http::rate_limit::RateLimit;
use crate::http::refusal::Refusal;

/// A key may cause this part of all refreshes in the long run, and as many at once as start in a second.
const PART: f64 = 4.0;

/// The budgets of all keys, by id. Reads that need no refresh cost nothing.
pub(super) struct Budget(Option<Mutex<RateLimit<String>>>);

/// One request's use of a budget.
pub(super) struct Charge<'a> {
    budget: &'a Budget,
    caller: &'a Caller,
    /// How long the key must wait, where its budget is used up.
    wait: Option<Duration>,
}

impl Budget {
    /// Of the refreshes that start in a second; without such a cap there is nothing to be divided.
    pub(super) fn of(per_second: f64) -> Self {
        if per_second <= 0.0 {
            return Self(None);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates; never negative"
        )]
        let burst = per_second.ceil() as u32;
        // A step that is too long to be written down is as good as for ever.
        let step = Duration::try_from_secs_f64(PART / per_second).unwrap_or(Duration::MAX / 4);
        Self(Some(Mutex::new(RateLimit::new(burst, step))))
    }

    /// Ready to be charged by a request of `caller`.
    pub(super) fn charge<'a>(&'a self, caller: &'a Caller) -> Charge<'a> {
        Charge { budget: self, caller, wait: None }
    }
}

impl Charge<'_> {
    /// Whether one more refresh may be sent for this request. The control socket, which is the operator's own, has no
    /// budget.
    pub(super) fn allows(&mut self) -> bool {
        let (Caller::Key(key), Some(keys)) = (self.caller, &self.budget.0) else { return true };
        let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
        self.wait = keys.take(key.id.clone(), Instant::now()).err();
        self.wait.is_none()
    }

    /// The refusal, where a refresh was not allowed.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.wait.map(|retry_after| Refusal::OverBudget { retry_after })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::key::KeyRecord;
    use crate::domain::key::Rights;
    use crate::domain::time::UnixTime;

    fn caller(random: u8) -> Caller {
        let (_, record) =
            KeyRecord::make(&[random; 38], format!("key {random}"), Rights::default(), None, UnixTime(0));
        Caller::Key(Arc::new(record))
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_causes_a_quarter_of_the_refreshes_in_the_long_run_whatever_others_do() {
        let (budget, [one, other]) = (Budget::of(8.0), [1, 2].map(caller));
        let asks = |caller: &Caller| u32::from(budget.charge(caller).allows());
        let mut caused = [0; 2];
        for _ in 0..6_000 {
            caused = [caused[0] + asks(&one), caused[1] + asks(&other)];
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        // In a minute: eight at once, and two in each second.
        assert!(caused.iter().all(|caused| (127..=128).contains(caused)), "{caused:?}");
        assert!((0..1000).all(|_| budget.charge(&Caller::Control).allows()), "the operator has no budget");
    }
}
