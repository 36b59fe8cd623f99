//! Refused grants: what the cause is, and when a refusal is final.

use super::*;
use crate::domain::breaker::CLOSED;

/// A refresh of a grant that was refused first at [`NOW`].
fn refused_before(n: usize, previous: Outcome, previous_at: UnixTime) -> SentRefresh {
    SentRefresh { previous, previous_at, refused_since: Some(NOW), ..sent(n) }
}

fn outcome(breaker: &mut Breaker, sent: &SentRefresh, verdict: Verdict, now: UnixTime) -> Outcome {
    breaker.record(verdict, sent, None, now).0.outcome()
}

#[test]
fn a_refusal_is_final_when_it_is_repeated_after_its_time() {
    let mut breaker = Breaker::default();
    assert_eq!(outcome(&mut breaker, &sent(1), refusal(), NOW), Outcome::Refused);
    let again = refused_before(1, Outcome::Refused, NOW);
    let early = NOW + 10 * MINUTE - SECOND;
    assert_eq!(outcome(&mut breaker, &again, refusal(), early), Outcome::Refused);
    assert_eq!(outcome(&mut breaker, &again, refusal(), NOW + 10 * MINUTE), Outcome::ConsentNeeded);
    let other = refused_before(1, Outcome::Transient, NOW + MINUTE);
    let late = NOW + 10 * MINUTE;
    assert_eq!(outcome(&mut breaker, &other, refusal(), late), Outcome::ConsentNeeded, "trouble between");
}

#[test]
fn a_refusal_is_final_sooner_where_the_token_is_dead_and_a_caller_waits() {
    let mut breaker = Breaker::default();
    let again = refused_before(1, Outcome::Refused, NOW);
    let soon = NOW + MINUTE;
    for (token_dead, on_demand) in [(false, false), (true, false), (false, true)] {
        let sent = SentRefresh { token_dead, on_demand, ..again.clone() };
        assert_eq!(outcome(&mut breaker, &sent, refusal(), soon), Outcome::Refused);
    }
    let waits = SentRefresh { token_dead: true, on_demand: true, ..again };
    assert_eq!(outcome(&mut breaker, &waits, refusal(), soon), Outcome::ConsentNeeded);
    let first = SentRefresh { token_dead: true, on_demand: true, ..sent(2) };
    assert_eq!(outcome(&mut breaker, &first, refusal(), soon), Outcome::Refused, "the first is never final");
}

#[test]
fn a_first_refusal_from_the_future_confirms_nothing() {
    let mut breaker = Breaker::default();
    let again = refused_before(1, Outcome::Refused, NOW);
    assert_eq!(outcome(&mut breaker, &again, refusal(), NOW - 24 * HOUR), Outcome::Refused);
}

#[test]
fn a_grant_that_has_ended_stays_so_and_says_nothing_about_all() {
    let mut breaker = Breaker::default();
    for n in 0..50 {
        let ended = SentRefresh { ended: true, ..refused_before(n, Outcome::ConsentNeeded, NOW) };
        assert_eq!(outcome(&mut breaker, &ended, refusal(), NOW), Outcome::ConsentNeeded);
        assert_eq!(outcome(&mut breaker, &ended, unauthorized(), NOW), Outcome::ClientRefused);
        assert!(!breaker.is_open());
    }
}

/// A breaker that six refused grants opened at [`NOW`].
fn mass_refusal() -> Breaker {
    let mut breaker = Breaker::default();
    // Webex renewed grants until then.
    record(&mut breaker, &sent(8), success(), NOW - HOUR);
    for n in 0..6 {
        let (verdict, turn) = breaker.record(refusal(), &sent(n), None, NOW);
        assert_eq!(verdict.outcome(), Outcome::Refused);
        assert_eq!(turn, if n < 5 { None } else { opened(Cause::ManyRefused, NOW + SECOND) }, "one alert");
    }
    breaker
}

#[test]
fn while_many_are_refused_none_is_final_before_another_success_or_a_day() {
    let mut breaker = mass_refusal();
    for hours in 1..24 {
        let again = refused_before(1, Outcome::Refused, NOW);
        let now = NOW + hours * HOUR;
        assert_eq!(outcome(&mut breaker, &again, refusal(), now), Outcome::Refused, "after {hours} hours");
        assert!(breaker.is_open());
    }
    let mut success_came = breaker.clone();
    record(&mut success_came, &probe(7), success(), NOW + 23 * HOUR);
    assert!(!success_came.is_open());
    let again = refused_before(1, Outcome::Refused, NOW);
    let now = NOW + 23 * HOUR + MINUTE;
    assert_eq!(outcome(&mut success_came, &again, refusal(), now), Outcome::ConsentNeeded);
    let day = NOW + 24 * HOUR;
    assert_eq!(breaker.end_mass_refusal(day - SECOND), None);
    assert_eq!(outcome(&mut breaker, &again, refusal(), day), Outcome::ConsentNeeded);
    assert_eq!(breaker.end_mass_refusal(day), Some(Transition::MassRefusalEnded));
    assert!(!breaker.is_open(), "each is judged by itself again");
    assert_eq!(breaker.end_mass_refusal(day), None, "said once");
}

#[test]
fn a_token_limit_does_not_show_that_refresh_tokens_are_accepted() {
    let mut breaker = mass_refusal();
    breaker.admit(&waiting(), NOW + MINUTE);
    assert_eq!(record(&mut breaker, &probe(7), Verdict::TokenLimit, NOW + MINUTE), None);
    assert_eq!(breaker.cause(), Some(Cause::ManyRefused));
    let again = refused_before(1, Outcome::Refused, NOW);
    assert_eq!(outcome(&mut breaker, &again, refusal(), NOW + HOUR), Outcome::Refused);

    let mut breaker = Breaker::default();
    for n in 0..5 {
        breaker.record(refusal(), &sent(n), None, NOW);
    }
    breaker.record(Verdict::TokenLimit, &sent(7), None, NOW);
    let (_, turn) = breaker.record(refusal(), &sent(8), None, NOW);
    assert_eq!(turn, opened(Cause::ManyRefused, NOW + SECOND), "the sixth refusal without a renewal between");
}

#[test]
fn a_success_before_a_mass_refusal_makes_none_of_its_refusals_final() {
    let mut breaker = Breaker::default();
    breaker.record(refusal(), &sent(1), None, NOW - MINUTE);
    breaker.record(success(), &sent(9), None, NOW - SECOND);
    for n in 2..8 {
        breaker.record(refusal(), &sent(n), None, NOW);
    }
    assert_eq!(breaker.cause(), Some(Cause::ManyRefused));
    let again = refused_before(1, Outcome::Refused, NOW - MINUTE);
    assert_eq!(outcome(&mut breaker, &again, refusal(), NOW + HOUR), Outcome::Refused);
}

#[test]
fn a_mass_refusal_is_remembered_through_other_trouble_and_a_restart() {
    let mut breaker = mass_refusal();
    breaker.admit(&waiting(), NOW + MINUTE);
    for n in 9..14 {
        breaker.admit(&waiting(), NOW + MINUTE);
        let turn = record(&mut breaker, &probe(n), transient(), NOW + MINUTE);
        let switched =
            matches!(turn, Some(Transition::Opened { cause: Cause::ManyFailing, again: false, .. }));
        assert_eq!(switched, n == 13, "five persons are evidence of another trouble: {turn:?}");
    }
    for mut breaker in [breaker.clone(), Breaker::from_text(&breaker.to_text(), NOW + MINUTE).unwrap()] {
        let again = refused_before(1, Outcome::Refused, NOW);
        let now = NOW + HOUR;
        assert_eq!(outcome(&mut breaker, &again, refusal(), now), Outcome::Refused);
    }
}

#[test]
fn six_refusals_are_no_mass_refusal_with_a_success_between_or_over_hours() {
    let mut breaker = Breaker::default();
    for n in 0..100 {
        let verdict = if n % 5 == 4 { success() } else { refusal() };
        breaker.record(verdict, &sent(n), None, NOW);
        assert!(!breaker.is_open());
    }
    let mut breaker = Breaker::default();
    for n in 0..100 {
        breaker.record(refusal(), &sent(n), None, NOW + u32::try_from(n).unwrap() * 3 * MINUTE);
        assert!(!breaker.is_open());
    }
}

#[test]
fn a_refusal_closes_nothing() {
    let mut breaker = refused();
    breaker.admit(&waiting(), NOW + MINUTE);
    assert_eq!(record(&mut breaker, &probe(4), refusal(), NOW + MINUTE), None);
    assert_eq!(breaker.trouble(), Some(Cause::ClientRefused));
}

#[test]
fn a_client_refused_again_and_again_for_one_person_only_is_this_grant() {
    let mut breaker = Breaker::default();
    assert_eq!(outcome(&mut breaker, &sent(1), unauthorized(), NOW), Outcome::ClientRefused);
    record(&mut breaker, &sent(2), success(), NOW + MINUTE);
    let again = refused_before(1, Outcome::ClientRefused, NOW);
    let (soon, late) = (NOW + 2 * MINUTE, NOW + 10 * MINUTE);
    assert_eq!(
        outcome(&mut breaker, &again, unauthorized(), soon),
        Outcome::ClientRefused,
        "not confirmed yet"
    );
    assert_eq!(outcome(&mut breaker, &again, unauthorized(), late), Outcome::ConsentNeeded);
    assert!(!breaker.is_open());
}

#[test]
fn a_success_that_was_under_way_when_the_secret_changed_blames_no_grant() {
    let mut breaker = Breaker::default();
    assert_eq!(outcome(&mut breaker, &sent(1), unauthorized(), NOW), Outcome::ClientRefused);
    record(&mut breaker, &sent(2), success(), NOW + SECOND);
    let mut before = NOW;
    for minutes in [1, 3, 8, 18, 38] {
        let again = refused_before(1, Outcome::ClientRefused, before.max(NOW + MINUTE));
        before = NOW + minutes * MINUTE;
        let again = if minutes == 1 { refused_before(1, Outcome::ClientRefused, NOW) } else { again };
        assert_eq!(
            outcome(&mut breaker, &again, unauthorized(), before),
            Outcome::ClientRefused,
            "{minutes}"
        );
    }
}

#[test]
fn a_caller_who_waits_confirms_nothing_while_another_grant_is_refused() {
    let mut breaker = Breaker::default();
    assert_eq!(outcome(&mut breaker, &sent(2), refusal(), NOW), Outcome::Refused);
    let waits = SentRefresh { token_dead: true, on_demand: true, ..refused_before(1, Outcome::Refused, NOW) };
    assert_eq!(outcome(&mut breaker, &waits, refusal(), NOW + SECOND), Outcome::Refused);
    assert_eq!(outcome(&mut breaker, &waits, refusal(), NOW + 10 * MINUTE), Outcome::ConsentNeeded);
}

#[test]
fn a_client_refused_for_all_is_never_a_grant() {
    let mut breaker = Breaker::default();
    record(&mut breaker, &sent(9), success(), NOW - HOUR);
    let mut before = vec![sent(0); 8];
    for round in 0..50_u32 {
        let now = NOW + round * HOUR;
        breaker.admit(&waiting(), now);
        for (n, sent) in before.iter_mut().enumerate() {
            let this = SentRefresh { person: person(n), role: Role::Probe, ..sent.clone() };
            let found = outcome(&mut breaker, &this, unauthorized(), now);
            assert_eq!(found, Outcome::ClientRefused, "person {n} in round {round}");
            *sent = SentRefresh {
                previous: Outcome::ClientRefused,
                previous_at: now,
                refused_since: sent.refused_since.or(Some(now)),
                ..this
            };
        }
    }
}

#[test]
fn an_acceptance_of_the_same_person_or_from_before_blames_no_grant() {
    let accepted = |n, at| {
        let mut breaker = Breaker::default();
        record(&mut breaker, &sent(n), success(), at);
        breaker
    };
    let late = NOW + HOUR;
    let again = SentRefresh {
        refused_since: Some(NOW + MINUTE),
        ..refused_before(1, Outcome::ClientRefused, NOW + MINUTE)
    };
    let mut itself = accepted(1, NOW + 2 * MINUTE);
    assert_eq!(outcome(&mut itself, &again, unauthorized(), late), Outcome::ClientRefused);
    let mut before = accepted(2, NOW + MINUTE);
    assert_eq!(outcome(&mut before, &again, unauthorized(), late), Outcome::ClientRefused);
    let mut future = accepted(2, NOW + 5 * HOUR);
    assert_eq!(outcome(&mut future, &again, unauthorized(), late), Outcome::ClientRefused);
    let mut since = accepted(2, NOW + 2 * MINUTE);
    assert_eq!(outcome(&mut since, &again, unauthorized(), late), Outcome::ConsentNeeded);
}

#[test]
fn only_refusals_are_made_final() {
    let mut breaker = Breaker::default();
    record(&mut breaker, &sent(2), success(), NOW + MINUTE);
    for verdict in [success(), transient(), busy(), locked(), Verdict::TokenLimit] {
        let expected = verdict.outcome();
        let again = refused_before(1, Outcome::ClientRefused, NOW);
        assert_eq!(outcome(&mut breaker.clone(), &again, verdict, NOW + HOUR), expected);
    }
}

#[test]
fn refusals_before_the_state_of_the_last_run_is_read_count_for_a_mass_refusal() {
    let mut breaker = Breaker::default();
    for n in 0..4 {
        outcome(&mut breaker, &sent(n), refusal(), NOW);
    }
    breaker.restore(&Breaker::from_text(CLOSED, NOW).unwrap());
    outcome(&mut breaker, &sent(4), refusal(), NOW + MINUTE);
    outcome(&mut breaker, &sent(5), refusal(), NOW + MINUTE);
    let again = refused_before(0, Outcome::Refused, NOW);
    assert_eq!(outcome(&mut breaker, &again, refusal(), NOW + 20 * MINUTE), Outcome::Refused);
    assert_eq!(breaker.cause(), Some(Cause::ManyRefused));
}

#[test]
fn a_success_before_the_state_of_the_last_run_is_read_ends_its_outage() {
    let mut breaker = Breaker::default();
    record(&mut breaker, &sent(1), success(), NOW);
    breaker.restore(&Breaker::from_text(&refused().to_text(), NOW).unwrap());
    assert!(!breaker.is_open() && !breaker.is_untried());
    breaker.restore(&Breaker::from_text(&asked_to_wait(HOUR).to_text(), NOW).unwrap());
    assert!(breaker.is_open(), "a requested wait is obeyed");
}
