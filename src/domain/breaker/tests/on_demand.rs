//! Refreshes that readers and operators ask for while the breaker is open.

use super::*;

#[test]
fn a_request_for_a_healthy_grant_may_be_the_probe_once_in_half_a_minute() {
    let mut breaker = asked_to_wait(6 * HOUR);
    let now = NOW + MINUTE;
    assert_eq!(breaker.admit_on_demand(true, false, now), Some(Role::Probe));
    assert_eq!(breaker.admit_on_demand(true, false, now), None, "one probe at a time");
    record_wait(&mut breaker, &probe(4), HOUR, now);
    assert_eq!(breaker.admit_on_demand(true, false, now + ON_DEMAND_PAUSE - SECOND), None);
    assert_eq!(breaker.admit_on_demand(true, false, now + ON_DEMAND_PAUSE), Some(Role::Probe));
    assert_eq!(Breaker::default().admit_on_demand(false, false, NOW), Some(Role::Ordinary));
}

#[test]
fn a_request_for_a_grant_that_has_failed_is_sent_beside_the_probes_and_its_failure_says_nothing() {
    let mut breaker = refused();
    let now = NOW + MINUTE;
    assert_eq!(breaker.admit_on_demand(false, false, now), None, "its own schedule does not allow it");
    assert_eq!(breaker.admit_on_demand(false, true, now), Some(Role::Doubtful));
    assert_eq!(breaker.admit_on_demand(false, true, now + SECOND), None, "whichever grant is asked for");
    assert_eq!(
        breaker.admit_on_demand(true, false, now),
        Some(Role::Probe),
        "a healthy grant does not wait for it"
    );
    breaker.cancel_probe();
    let doubtful = SentRefresh { role: Role::Doubtful, ..sent(1) };
    let before = breaker.to_text();
    for verdict in [transient(), unauthorized(), busy(), refusal()] {
        assert_eq!(record(&mut breaker, &doubtful, verdict, now), None);
    }
    assert_eq!(breaker.to_text(), before);
    assert_eq!(record(&mut breaker, &doubtful, success(), now), Some(Transition::Closed));
    let mut waits = asked_to_wait(HOUR);
    assert_eq!(waits.admit_on_demand(false, true, now), None, "Webex asked to wait");
}
