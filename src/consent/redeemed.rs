//! States that were used, until their tickets end by themselves.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;

/// Only states of tickets that open get here, so this many within a ticket's life are no honest crowd.
const MOST: usize = 20_000;

/// Remembers which states were redeemed. In memory: after a restart Webex itself still refuses a used code.
#[derive(Debug, Default)]
pub(super) struct Redeemed(Mutex<BTreeMap<String, UnixTime>>);

impl Redeemed {
    /// True the first time a state is shown, until its deadline. False also when there are too many to remember.
    pub(super) fn redeem(&self, state: &Secret, deadline: UnixTime, now: UnixTime) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MOST {
            used.retain(|_, ends| *ends >= now);
        }
        if used.len() >= MOST || used.contains_key(state.expose()) {
            return false;
        }
        used.insert(state.expose().to_owned(), deadline);
        true
    }

    /// The exchange did not take place: the state may be shown again.
    pub(super) fn give_back(&self, state: &Secret) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(state.expose());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_state_is_redeemed_once_and_given_back_only_on_purpose() {
        let (redeemed, state, now) = (Redeemed::default(), Secret::new("s".to_owned()), UnixTime(1));
        let deadline = now + Duration::from_secs(60);
        assert!(redeemed.redeem(&state, deadline, now));
        assert!(!redeemed.redeem(&state, deadline, now));
        redeemed.give_back(&state);
        assert!(redeemed.redeem(&state, deadline, now));
    }

    #[test]
    fn a_flood_of_states_is_bounded_and_passes() {
        let (redeemed, now) = (Redeemed::default(), UnixTime(1));
        let deadline = now + Duration::from_secs(60);
        for n in 0..MOST {
            assert!(redeemed.redeem(&Secret::new(n.to_string()), deadline, now));
        }
        let one_more = Secret::new("one more".to_owned());
        assert!(!redeemed.redeem(&one_more, deadline, now));
        assert!(redeemed.redeem(&one_more, deadline, deadline + Duration::from_secs(1)));
    }
}
