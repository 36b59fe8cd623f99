//! Waits that Webex asks for.

use super::*;

#[test]
fn a_wait_that_a_probe_confirmed_is_obeyed_to_its_end() {
    let mut breaker = asked_to_wait(2 * HOUR);
    assert_eq!(breaker.trouble(), Some(Cause::Busy));
    let end = NOW + 2 * HOUR;
    for minutes in 0..119 {
        let now = NOW + SECOND + minutes * MINUTE;
        assert_eq!(breaker.admit(&waiting(), now), Admission::Hold(end), "{minutes}");
    }
    assert_eq!(breaker.admit(&waiting(), end), PROBE);
}

#[test]
fn during_a_confirmed_wait_a_probe_is_sent_whenever_a_quarter_of_the_least_life_left_has_gone_by() {
    let mut breaker = asked_to_wait(6 * HOUR);
    let now = NOW + SECOND;
    let due = dying(now, 72 * MINUTE);
    let at = now + 18 * MINUTE;
    assert_eq!(breaker.admit(&due, at - SECOND), Admission::Hold(at));
    assert_eq!(breaker.admit(&due, at), PROBE);
    record_wait(&mut breaker, &probe(4), 5 * HOUR, at);
    let next = at + Duration::from_secs(54 * 60 / 4);
    assert_eq!(breaker.admit(&due, next - SECOND), Admission::Hold(next));
    assert_eq!(
        breaker.admit(&due, next),
        URGENT_PROBE,
        "persons who are asked to wait, too, are not always the probe"
    );
}

#[test]
fn only_as_long_as_two_persons_were_asked_to_wait_all_wait() {
    let mut breaker = Breaker::default();
    record_wait(&mut breaker, &sent(1), 6 * HOUR, NOW);
    record_wait(&mut breaker, &sent(2), MINUTE, NOW);
    let at = NOW + SECOND;
    breaker.admit(&waiting(), at);
    // The response to the probe has no readable wait.
    record(&mut breaker, &probe(3), busy(), at);
    assert_eq!(breaker.pause().unwrap().until, at + MINUTE);
    let mut over = Breaker::default();
    record_wait(&mut over, &sent(1), MINUTE, NOW);
    record_wait(&mut over, &sent(2), MINUTE, NOW + HOUR);
    assert!(!over.is_open(), "the wait of the first person is over");
}

#[test]
fn a_wait_is_obeyed_within_bounds() {
    let until = |wait| {
        let mut breaker = Breaker::default();
        let only = SentRefresh { only_person: true, ..sent(1) };
        breaker.record(busy(), &only, wait, NOW);
        breaker.pause().unwrap().until
    };
    assert_eq!(until(Some(2 * MINUTE)), NOW + 2 * MINUTE);
    assert_eq!(until(None), NOW + MINUTE);
    assert_eq!(until(Some(Duration::ZERO)), NOW + SECOND);
    assert_eq!(until(Some(Duration::MAX)), NOW + 6 * HOUR);
}

#[test]
fn an_answer_that_was_under_way_does_not_end_a_confirmed_wait_and_a_probe_does() {
    let mut breaker = asked_to_wait(HOUR);
    assert_eq!(record(&mut breaker, &sent(4), success(), NOW + 2 * SECOND), None);
    assert!(breaker.is_open());
    assert_eq!(record(&mut breaker, &probe(4), success(), NOW + 2 * SECOND), Some(Transition::Closed));
    assert!(!breaker.is_open());
}

#[test]
fn whether_there_is_another_person_may_be_learned_after_the_response() {
    for verdict in [unauthorized(), busy()] {
        let (mut breaker, mut known) = (Breaker::default(), Breaker::default());
        breaker.record(verdict.clone(), &sent(1), Some(HOUR), NOW);
        assert!(!breaker.is_open() && breaker.needs_person_count(&verdict, &sent(1)));
        let turn = breaker.record_as_only_person(&verdict, &sent(1), Some(HOUR), NOW);
        let only = SentRefresh { only_person: true, ..sent(1) };
        assert_eq!(turn, known.record(verdict.clone(), &only, Some(HOUR), NOW).1);
        assert_eq!(breaker.to_text(), known.to_text());
        assert!(breaker.is_open() && !breaker.needs_person_count(&verdict, &sent(1)));
    }
    for verdict in [success(), transient(), locked(), refusal()] {
        assert!(!Breaker::default().needs_person_count(&verdict, &sent(1)), "{verdict:?}");
    }
}
