//! The clock is set back or ahead.

use super::*;

#[test]
fn a_clock_set_back_holds_no_refresh_longer_than_a_pause() {
    let earlier = NOW - 365 * 24 * HOUR;
    let mut breaker = refused();
    assert_eq!(breaker.admit(&waiting(), earlier), Admission::Hold(earlier + 5 * SECOND));
    assert_eq!(breaker.admit(&waiting(), earlier + 5 * SECOND), PROBE);
    let mut probing = refused();
    probing.admit(&waiting(), NOW + MINUTE);
    assert_eq!(probing.admit(&waiting(), earlier), Admission::Hold(earlier + PROBE_TIMEOUT));
    let mut busy = asked_to_wait(6 * HOUR);
    let end = earlier + 6 * HOUR - SECOND;
    for minutes in 0..360 {
        let held = busy.admit(&waiting(), earlier + minutes * MINUTE);
        assert_eq!(held, Admission::Hold(end), "the end does not move with the clock");
    }
    assert_eq!(busy.admit(&waiting(), end), PROBE);
    let mut on_demand = refused();
    assert!(on_demand.admit_on_demand(false, true, NOW + MINUTE).is_some());
    assert!(on_demand.admit_on_demand(false, true, earlier).is_some());
}

#[test]
fn a_wait_ends_when_it_would_have_ended_however_far_the_clock_was_set_back() {
    for back in [2 * MINUTE, HOUR, 4 * HOUR, 7 * HOUR, 900 * 24 * HOUR] {
        let (mut breaker, now) = (asked_to_wait(6 * HOUR), NOW + 5 * HOUR - back);
        breaker.set_back(back, now);
        let end = now + HOUR;
        assert_eq!(breaker.admit(&waiting(), now), Admission::Hold(end), "{back:?}");
        assert_eq!(breaker.admit(&waiting(), end), PROBE, "{back:?}");
    }
}

#[test]
fn a_wait_does_not_become_longer_when_a_breaker_is_read_before_the_step_is_noticed() {
    for (wait, back) in [(MINUTE, 142 * 24 * HOUR), (MINUTE, HOUR), (2 * HOUR, 24 * HOUR)] {
        let (mut breaker, earlier) = (asked_to_wait(wait), NOW - back);
        assert_eq!(breaker.admit(&waiting(), earlier), Admission::Hold(earlier + wait - SECOND), "{wait:?}");
        breaker.set_back(back, earlier + MINUTE);
        assert_eq!(breaker.admit(&waiting(), earlier + wait), PROBE, "{wait:?}");
    }
}

#[test]
fn a_wait_requested_before_the_clock_was_set_back_confirms_no_other() {
    let (mut breaker, earlier) = (Breaker::default(), NOW - 24 * HOUR);
    record_wait(&mut breaker, &sent(1), MINUTE, NOW);
    record_wait(&mut breaker, &sent(2), MINUTE, earlier);
    assert!(!breaker.is_open(), "one person");
    record_wait(&mut breaker, &sent(3), MINUTE, earlier);
    breaker.admit(&waiting(), earlier + SECOND);
    record_wait(&mut breaker, &probe(4), MINUTE, earlier + SECOND);
    assert_eq!(breaker.admit(&waiting(), earlier + 2 * SECOND), Admission::Hold(earlier + MINUTE));
}

#[test]
fn a_wait_that_came_after_the_clock_was_set_back_keeps_its_time() {
    let mut breaker = asked_to_wait(6 * HOUR);
    breaker.set_back(900 * 24 * HOUR, NOW + MINUTE);
    assert_eq!(breaker.admit(&waiting(), NOW + MINUTE), Admission::Hold(NOW + 6 * HOUR));
}

#[test]
fn a_clock_set_far_ahead_only_sends_a_probe() {
    assert!(matches!(refused().admit(&waiting(), UnixTime::NEVER), Admission::Probe { .. }));
    assert_eq!(Breaker::default().admit(&waiting(), UnixTime(i64::MIN)), Admission::Go);
}
