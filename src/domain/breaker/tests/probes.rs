//! When single refreshes are sent while the breaker is open, and what their answers say.

use super::*;

#[test]
fn the_first_probe_follows_after_a_second_and_a_success_ends_what_was_only_suspected() {
    let mut breaker = suspected();
    assert_eq!(breaker.trouble(), None, "the failure is not shown");
    assert_eq!(breaker.admit(&waiting(), NOW), Admission::Hold(NOW + SECOND));
    assert_eq!(breaker.admit(&waiting(), NOW + SECOND), PROBE);
    assert_eq!(record(&mut breaker, &probe(3), success(), NOW + SECOND), None, "nothing was logged");
    assert_eq!(breaker.admit(&waiting(), NOW + SECOND), Admission::Go);
    let mut breaker = suspected();
    assert_eq!(record(&mut breaker, &sent(4), success(), NOW), None, "a refresh that was under way");
    assert!(!breaker.is_open());
}

#[test]
fn probes_follow_after_longer_and_longer_pauses_but_never_after_ten_minutes() {
    let (mut breaker, mut now) = (refused(), NOW + SECOND);
    for pause in [5, 15, 30, 60, 120, 300, 540, 540, 540] {
        let at = now + Duration::from_secs(pause);
        assert_eq!(breaker.admit(&waiting(), at - SECOND), Admission::Hold(at));
        assert_eq!(breaker.admit(&waiting(), at), PROBE);
        let turn = record(&mut breaker, &probe(3), unauthorized(), at);
        assert!(matches!(turn, Some(Transition::Opened { again: true, .. })), "{turn:?}");
        now = at;
    }
}

#[test]
fn while_a_token_is_dying_a_probe_follows_after_a_quarter_of_the_life_left() {
    for minutes in [6, 8, 20, 35] {
        let (mut breaker, mut now) = (refused(), NOW + SECOND);
        for _ in 0..10 {
            now = now + MAX_PAUSE;
            assert_ne!(breaker.admit(&waiting(), now), Admission::Go);
            record(&mut breaker, &probe(3), unauthorized(), now);
        }
        let left = minutes * MINUTE;
        let half = TokenTimes { renewed_at: now - left, answered_at: now, expires_at: now + left };
        assert!(!Policy::is_at_risk(&half, now), "inside its margin a token is tried after seconds");
        let due = DueSummary { next_to_die: Some((person(0), half)), ..waiting() };
        assert_eq!(breaker.next_probe(&due, now), Some(now + left / 4), "{minutes} minutes left");
    }
}

#[test]
fn a_token_inside_its_margin_is_tried_after_seconds() {
    let mut breaker = refused();
    for _ in 0..10 {
        breaker.admit(&waiting(), NOW + HOUR);
        record(&mut breaker, &probe(3), unauthorized(), NOW + HOUR);
    }
    let now = NOW + HOUR;
    let due = dying(now, 70 * MINUTE);
    assert_eq!(breaker.admit(&due, now + MIN_PAUSE - SECOND), Admission::Hold(now + MIN_PAUSE));
    let admissions = [0, 1].map(|_| {
        let admission = breaker.admit(&due, now + MIN_PAUSE);
        breaker.cancel_probe();
        record(&mut breaker, &probe(3), locked(), now);
        admission
    });
    assert!(
        admissions.contains(&URGENT_PROBE) && admissions.contains(&PROBE),
        "they take turns: {admissions:?}"
    );
}

#[test]
fn a_healthy_grant_waits_half_a_minute_at_most() {
    let mut breaker = refused();
    for _ in 0..10 {
        breaker.admit(&waiting(), NOW + HOUR);
        record(&mut breaker, &probe(3), unauthorized(), NOW + HOUR);
    }
    let due = DueSummary { healthy: true, ..waiting() };
    assert_eq!(breaker.admit(&due, NOW + HOUR), Admission::Hold(NOW + HOUR + HEALTHY_PAUSE));
    assert_eq!(breaker.admit(&due, NOW + HOUR + HEALTHY_PAUSE), PROBE);
}

#[test]
fn healthy_grants_and_tokens_at_risk_are_the_probe_in_turn() {
    let (mut breaker, mut now, mut urgent) = (refused(), NOW + SECOND, Vec::new());
    for _ in 0..6 {
        now = now + MINUTE;
        let due = DueSummary { healthy: true, ..dying(now, 30 * MINUTE) };
        let admission = breaker.admit(&due, now);
        urgent.push(admission == URGENT_PROBE);
        record(&mut breaker, &probe(3), unauthorized(), now);
    }
    assert!(urgent.windows(2).all(|pair| pair[0] != pair[1]), "{urgent:?}");
}

#[test]
fn a_probe_that_is_answered_about_its_person_only_is_followed_by_another_one_soon() {
    for verdict in [locked(), refusal()] {
        let (mut breaker, mut now) = (refused(), NOW + SECOND);
        for _ in 0..10 {
            now = now + MAX_PAUSE;
            breaker.admit(&waiting(), now);
            record(&mut breaker, &probe(3), unauthorized(), now);
        }
        now = now + MAX_PAUSE;
        assert_eq!(breaker.admit(&waiting(), now), PROBE);
        assert_eq!(record(&mut breaker, &probe(4), verdict.clone(), now), None);
        assert_eq!(breaker.admit(&waiting(), now + MIN_PAUSE), PROBE, "{verdict:?}");
    }
}

#[test]
fn a_known_trouble_of_the_probes_person_confirms_nothing() {
    let mut breaker = Breaker::default();
    for n in 1..=5 {
        record(&mut breaker, &sent(n), transient(), NOW);
    }
    let at = NOW + SECOND;
    breaker.admit(&waiting(), at);
    let ill = SentRefresh { previous: Outcome::ClientRefused, ..probe(9) };
    assert_eq!(record(&mut breaker, &ill, unauthorized(), at), None);
    assert_eq!(breaker.trouble(), None);
    assert_eq!(breaker.admit(&waiting(), at + SECOND), PROBE);
}

#[test]
fn several_probes_that_fail_confirm_even_what_is_not_new_for_their_persons() {
    let mut breaker = suspected();
    let known = |n| SentRefresh { previous: Outcome::ClientRefused, ..probe(n) };
    let mut now = NOW;
    for n in 3..6 {
        now = now + MINUTE;
        assert_eq!(breaker.admit(&waiting(), now), PROBE);
        let turn = record(&mut breaker, &known(n), unauthorized(), now);
        assert_eq!(turn.is_some(), n == 5, "probe {n}");
    }
    assert_eq!(breaker.trouble(), Some(Cause::ClientRefused));
}
