//! Whose answers speak for everybody.

use super::*;

#[test]
fn a_straggler_does_not_end_what_a_probe_is_to_find_out() {
    let (mut breaker, later) = (Breaker::default(), NOW + HOUR);
    note(&mut breaker, 9, &success(), NOW + SECOND);
    note(&mut breaker, 2, &unauthorized(), later);
    let probing = later + MINUTE;
    assert_eq!(breaker.admit(probing), Admission::Probe);
    let held = Admission::Hold(probing + PROBE_PATIENCE);
    let blamed = judge(&mut breaker, (1, Role::Ordinary), Some(NOW), unauthorized(), probing);
    assert_eq!((blamed.0.outcome(), blamed.1), (Outcome::ConsentNeeded, None));
    assert_eq!(breaker.admit(probing), held, "the probe is still out");
    assert_eq!(judge(&mut breaker, (3, Role::Ordinary), None, transient(), probing).1, None);
    assert_eq!(breaker.admit(probing), held, "nor does it open again for longer");
    assert!(judge(&mut breaker, (4, Role::Probe), None, transient(), probing).1.is_some());
}

#[test]
fn a_grant_that_failed_before_can_only_bring_good_news() {
    let mut breaker = refused();
    assert!(!breaker.admit_doubtful(NOW + MINUTE - SECOND), "not before its time");
    let later = NOW + MINUTE;
    for verdict in [transient(), unauthorized()] {
        assert_eq!(judge(&mut breaker, (1, Role::Doubtful), None, verdict, later).1, None);
    }
    assert_eq!(breaker.clone().admit(later), Admission::Probe, "it has held up nobody");
    let mut busy_now = breaker.clone();
    let turn = judge(&mut busy_now, (1, Role::Doubtful), None, busy(), later).1;
    assert_eq!(turn, opened(Cause::Busy, later + MINUTE), "but a wish of Webex is one");
    assert_eq!(judge(&mut busy_now, (1, Role::Doubtful), None, success(), later).1, None, "it stays one");
    assert_eq!(judge(&mut breaker, (1, Role::Doubtful), None, success(), later).1, Some(Turn::Closed));
    let mut waits = Breaker::default();
    note(&mut waits, 1, &busy(), NOW);
    assert_eq!(judge(&mut waits, (1, Role::Doubtful), None, success(), later).1, Some(Turn::Closed));
}

#[test]
fn grants_that_failed_before_are_asked_about_seldom_and_beside_the_probe() {
    let (mut breaker, later) = (refused(), NOW + MINUTE);
    assert!(breaker.admit_doubtful(later));
    assert!(!breaker.admit_doubtful(later + DOUBT_STEP - SECOND), "whoever's they are");
    assert_eq!(breaker.admit(later + SECOND), Admission::Probe);
    assert!(!breaker.admit_doubtful(later + DOUBT_STEP), "the probe will tell");
    breaker.no_probe();
    assert!(breaker.admit_doubtful(later + DOUBT_STEP));
    assert!(breaker.admit_doubtful(later + SECOND), "a clock set back does not hold the door");
}

#[test]
fn nobody_needs_an_exception_where_nobody_waits() {
    assert!(!Breaker::default().admit_doubtful(NOW));
}

#[test]
fn a_clock_set_back_holds_nobody_who_is_asked_for_longer_than_a_pause() {
    let mut breaker = refused();
    let earlier = NOW - HOUR;
    assert!(!breaker.admit_doubtful(earlier), "the pause begins anew");
    assert!(breaker.admit_doubtful(earlier + MINUTE));
    let mut probing = refused();
    assert_eq!(probing.admit(NOW + MINUTE), Admission::Probe);
    assert!(!probing.admit_doubtful(earlier));
    assert!(probing.admit_doubtful(earlier + PROBE_PATIENCE));
}

#[test]
fn a_refused_client_of_the_last_run_is_tried_once() {
    let mut left = Breaker::from_text(&refused().to_text(), NOW).unwrap();
    assert!(left.is_untried());
    assert_eq!(left.admit(NOW), Admission::Probe);
    judge(&mut left, (1, Role::Probe), None, unauthorized(), NOW);
    assert!(!left.is_untried(), "the present one is known now");
}
