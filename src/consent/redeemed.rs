//! States that were used, until their tickets end by themselves.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;

/// Only states of tickets that open get here, so this many within a ticket's life are no honest crowd.
const MOST: usize = 20_000;

/// Remembers which states were redeemed, with the deadlines of their tickets, soonest first. In memory: after a restart,
/// and when there were too many, Webex itself still refuses a used code.
#[derive(Debug, Default)]
pub(super) struct Redeemed(Mutex<BTreeSet<(UnixTime, String)>>);

impl Redeemed {
    /// True the first time a state is shown, until its deadline.
    pub(super) fn redeem(&self, state: &Secret, deadline: UnixTime, now: UnixTime) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while used.len() >= MOST || used.first().is_some_and(|(ends, _)| *ends < now) {
            used.pop_first();
        }
        used.insert((deadline, state.expose().to_owned()))
    }

    /// The exchange did not take place: the state may be shown again.
    pub(super) fn give_back(&self, state: &Secret, deadline: UnixTime) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.remove(&(deadline, state.expose().to_owned()));
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
        redeemed.give_back(&state, deadline);
        assert!(redeemed.redeem(&state, deadline, now));
    }

    #[test]
    fn a_flood_of_states_is_bounded_and_keeps_nobody_out() {
        let (redeemed, now) = (Redeemed::default(), UnixTime(1));
        let deadline = now + Duration::from_secs(60);
        for n in 0..2 * MOST {
            assert!(redeemed.redeem(&Secret::new(n.to_string()), deadline, now));
        }
        assert_eq!(redeemed.0.lock().unwrap().len(), MOST);
        let honest = Secret::new("honest".to_owned());
        assert!(redeemed.redeem(&honest, deadline + Duration::from_secs(1), now));
        assert!(!redeemed.redeem(&honest, deadline + Duration::from_secs(1), now));
    }

    #[test]
    fn a_state_is_forgotten_after_its_ticket_has_ended() {
        let (redeemed, now) = (Redeemed::default(), UnixTime(1));
        let deadline = now + Duration::from_secs(60);
        assert!(redeemed.redeem(&Secret::new("old".to_owned()), deadline, now));
        let later = deadline + Duration::from_secs(1);
        assert!(redeemed.redeem(&Secret::new("new".to_owned()), later, later));
        assert_eq!(redeemed.0.lock().unwrap().len(), 1);
    }
}
