//! A forecast of a grant's refreshes from its dates and the policy. It is an estimate.

use std::time::Duration;

use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::schedule::MIN_INTERVAL;
use crate::domain::schedule::Policy;
use crate::domain::schedule::REPROBE_STEP;
use crate::domain::schedule::REPROBES;
use crate::domain::schedule::TokenTimes;
use crate::domain::time::UnixTime;

/// The forecast for one grant up to a given time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The next refresh, if it is due by that time.
    pub next_refresh_at: Option<UnixTime>,
    /// The approximate number of refreshes.
    pub refreshes: u32,
    /// The approximate time between two of them. `None` if there is at most one.
    pub interval: Option<Duration>,
    /// When the person must consent again, if that is by then: when the refresh token expires, as last reported, unless
    /// refreshes move that date. For a grant that Webex no longer renews: now.
    pub consent_by: Option<UnixTime>,
}

/// Forecasts `grant` between `now` and `end`, assuming that every refresh returns a token with the same lifetime.
#[must_use]
pub fn forecast(grant: &Grant, policy: &Policy, now: UnixTime, end: UnixTime) -> Forecast {
    let first = grant.next.due_at.max(now);
    let next_refresh_at = (grant.next.due_at != UnixTime::NEVER && first <= end).then_some(first);
    let left = next_refresh_at.map(|first| end.since(first));
    let (step, most, consent_by) = match grant.status {
        GrantStatus::Active => {
            (step(grant.dates().lifetime(), policy, now), u32::MAX, grant.expected_consent_end(now))
        }
        GrantStatus::ConsentNeeded => {
            (REPROBE_STEP, REPROBES.saturating_add(1).saturating_sub(grant.failures), Some(now))
        }
    };
    let refreshes = left.map_or(0, |left| fitting(left, step).min(most));
    let interval = (refreshes > 1).then_some(step);
    Forecast { next_refresh_at, refreshes, interval, consent_by: consent_by.filter(|by| *by <= end) }
}

/// The interval between refreshes in steady state. The loop refreshes a due grant at its next regular wake, or earlier if
/// it wakes for this grant.
fn step(lifetime: Duration, policy: &Policy, now: UnixTime) -> Duration {
    let renewed = TokenTimes { renewed_at: now, answered_at: now, expires_at: now + lifetime };
    let next = policy.after_answer(&renewed, now);
    let (due, woken) = (next.due_at.since(now), next.wake_at.since(now));
    let sleep = policy.sleep.max(MIN_INTERVAL).as_millis();
    let wake = due.as_millis().div_ceil(sleep).saturating_mul(sleep);
    let wake = Duration::from_millis(u64::try_from(wake).unwrap_or(u64::MAX));
    wake.min(woken).max(due).max(MIN_INTERVAL)
}

/// The number of refreshes in `left`: one immediately, and one more after each `step`.
fn fitting(left: Duration, step: Duration) -> u32 {
    u32::try_from(left.as_millis() / step.as_millis().max(1)).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::refresh_token_end::RefreshTokenEnd;
    use crate::domain::schedule::Schedule;
    use crate::domain::why::sample::POLICY;
    use crate::domain::why::sample::T0;
    use crate::domain::why::sample::days;
    use crate::domain::why::sample::grant;

    #[test]
    fn a_two_week_token_is_refreshed_at_the_first_wake_after_a_day() {
        let ahead = forecast(&grant(), &POLICY, T0, T0 + days(90));
        assert_eq!(ahead.next_refresh_at, Some(grant().next.due_at));
        // A refresh is due slightly more than a day after the last, so it starts at the 25th hourly wake.
        assert_eq!((ahead.refreshes, ahead.interval), (86, Some(Duration::from_secs(25 * 3600))));
        assert_eq!(ahead.consent_by, Some(T0 + days(90)));
    }

    #[test]
    fn a_consent_that_refreshes_extend_has_no_end_unless_refreshes_fail_for_a_week() {
        let mut extended = grant();
        extended.notice_state.refresh_token_end = RefreshTokenEnd::Moves;
        assert_eq!(forecast(&extended, &POLICY, T0, T0 + days(90)).consent_by, None);
        let later = T0 + days(8);
        assert_eq!(forecast(&extended, &POLICY, later, T0 + days(90)).consent_by, Some(T0 + days(90)));
    }

    #[test]
    fn events_after_the_end_are_not_forecast() {
        let ahead = forecast(&grant(), &POLICY, T0, T0 + Duration::from_secs(3600));
        assert_eq!(ahead, Forecast { next_refresh_at: None, refreshes: 0, interval: None, consent_by: None });
    }

    #[test]
    fn an_overdue_refresh_counts_as_due_now() {
        let ahead = forecast(&grant(), &POLICY, T0 + days(3), T0 + days(4));
        assert_eq!(ahead.next_refresh_at, Some(T0 + days(3)));
        assert_eq!((ahead.refreshes, ahead.interval), (1, None));
    }

    #[test]
    fn an_ended_grant_is_only_probed_and_needs_consent_now() {
        let mut dead = grant();
        dead.status = GrantStatus::ConsentNeeded;
        dead.failures = 2;
        dead.next = Schedule::at(T0 + days(1));
        let ahead_of_it = forecast(&dead, &POLICY, T0, T0 + days(90));
        assert_eq!((ahead_of_it.refreshes, ahead_of_it.interval), (4, Some(REPROBE_STEP)));
        assert_eq!(ahead_of_it.consent_by, Some(T0));
        dead.next = Schedule::NEVER;
        let ahead_of_it = forecast(&dead, &POLICY, T0, UnixTime::NEVER);
        assert_eq!((ahead_of_it.refreshes, ahead_of_it.next_refresh_at), (0, None));
    }

    #[test]
    fn no_dates_or_policy_make_the_forecast_overflow() {
        let mut odd = grant();
        odd.tokens.expires_at = odd.renewed_at;
        odd.next = Schedule::at(UnixTime(i64::MIN));
        let mut policy = POLICY;
        policy.sleep = Duration::ZERO;
        policy.max_age = Duration::ZERO;
        policy.noop_window = Duration::ZERO;
        assert!(forecast(&odd, &policy, T0, UnixTime::NEVER).refreshes > 0);
    }
}
