//! Retries within the survival margin.

use super::*;

proptest! {
    /// All calls fail, each within a minute, until Webex works for the length of one rescue window.
    #[test]
    fn every_rescue_window_within_the_margin_contains_a_try(
        lifetime in span(3600..=90 * 86_400),
        failed_before in 0.0..1.0_f64,
        failures in 1_u32..40,
        wait in proptest::option::of(any::<u64>().prop_map(seconds)),
        opens in 0.0..1.0_f64,
    ) {
        let (margin, window) = (Policy::margin(lifetime), Policy::rescue_window(lifetime));
        let expires_at = NOW + lifetime;
        let dates = TokenTimes { renewed_at: NOW, answered_at: NOW, expires_at };
        let window_opens = expires_at - margin + (margin - window).mul_f64(opens);
        // The failure of the last try before the window may be known only a minute after the window has opened.
        let mut now = NOW + lifetime.mul_f64(failed_before).min(window_opens.since(NOW));
        let mut failures = failures;
        while now < window_opens {
            let next = Policy::after_failure(&dates, failures, wait, &ada(), now).due_at;
            prop_assert!(next <= window_opens + window - MINUTE, "{:?}: a try at {next}, not in {window_opens} + {window:?}", lifetime);
            (now, failures) = (next + MINUTE, failures + 1);
        }
    }

    #[test]
    fn an_unconfirmed_refusal_is_retried_in_time(lifetime in span(3600..=90 * 86_400), left in 0.0..1.0_f64) {
        let margin = Policy::margin(lifetime);
        let expires_at = NOW + lifetime;
        let dates = TokenTimes { renewed_at: NOW, answered_at: NOW, expires_at };
        let now = expires_at - lifetime.mul_f64(left);
        let next = Policy::after_unconfirmed_refusal(&dates, 1, &ada(), now).due_at.since(now);
        let outside = expires_at.since(now) > margin + Policy::rescue_window(lifetime) * 2;
        prop_assert!(!outside || next >= Policy::confirm_after(lifetime), "{next:?}");
        prop_assert!(next <= minutes(36).max(Policy::confirm_after(lifetime)));
        let living = expires_at.since(now);
        prop_assert!(living > margin || living < 4 * MINUTE || next <= Policy::rescue_window(lifetime));
    }
}
