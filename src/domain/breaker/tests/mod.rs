//! When everybody waits, for how long, and whose fault it is.

mod roles;

use super::*;
use crate::domain::secret::Secret;
use crate::domain::verdict::Issued;

const NOW: UnixTime = UnixTime(1_795_000_000_000);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn person(n: usize) -> PersonId {
    PersonId::parse(&format!("person-{n}")).unwrap()
}

fn success() -> Verdict {
    Verdict::Renewed(Issued {
        access_token: Secret::new("access".to_owned()),
        refresh_token: None,
        expires_in: HOUR,
        refresh_token_expires_in: None,
        token_type: None,
        scope: None,
    })
}

fn unauthorized() -> Verdict {
    Verdict::ClientRefused("HTTP 401".to_owned())
}

fn transient() -> Verdict {
    Verdict::Transient("HTTP 500".to_owned())
}

fn busy() -> Verdict {
    Verdict::Busy("HTTP 429".to_owned())
}

/// Notes what happened to a person, with no wish of Webex.
fn note(breaker: &mut Breaker, n: usize, verdict: &Verdict, now: UnixTime) -> Option<Turn> {
    breaker.note(&person(n), verdict, None, now)
}

fn opened(cause: Cause, until: UnixTime) -> Option<Turn> {
    Some(Turn::Opened { until, cause, again: false })
}

fn again(cause: Cause, until: UnixTime) -> Option<Turn> {
    Some(Turn::Opened { until, cause, again: true })
}

/// A breaker that opened at [`NOW`] for a minute.
fn refused() -> Breaker {
    let mut breaker = Breaker::default();
    assert_eq!(note(&mut breaker, 1, &unauthorized(), NOW), opened(Cause::ClientRefused, NOW + MINUTE));
    breaker
}

fn busy_for(wish: Option<Duration>) -> Option<Turn> {
    Breaker::default().note(&person(1), &busy(), wish, NOW)
}

/// Judges one person's 401, as a refresh does.
fn refuse(breaker: &mut Breaker, n: usize, before: Option<UnixTime>, now: UnixTime) -> Verdict {
    judge(breaker, (n, Role::Probe), before, unauthorized(), now).0
}

/// Judges what came back about one person.
fn judge(
    breaker: &mut Breaker,
    (n, role): (usize, Role),
    before: Option<UnixTime>,
    verdict: Verdict,
    now: UnixTime,
) -> (Verdict, Option<Turn>) {
    let whom = Whom { person: person(n), refused_at: before, role };
    breaker.judge(verdict, &whom, None, now)
}

#[test]
fn a_new_breaker_lets_everybody_through() {
    let mut breaker = Breaker::default();
    assert_eq!(breaker.admit(NOW), Admission::Go);
    assert_eq!(breaker.trouble(), None);
    assert_eq!(note(&mut breaker, 1, &success(), NOW), None);
}

#[test]
fn a_refused_client_opens_it_once_however_many_stragglers_come() {
    let mut breaker = refused();
    for n in 2..20 {
        assert_eq!(note(&mut breaker, n, &unauthorized(), NOW + SECOND), None);
    }
    assert_eq!(breaker.trouble(), Some(Cause::ClientRefused));
    assert_eq!(breaker.admit(NOW + MINUTE - SECOND), Admission::Hold(NOW + MINUTE));
}

#[test]
fn a_wish_of_webex_is_obeyed_within_bounds() {
    assert_eq!(busy_for(Some(2 * MINUTE)), opened(Cause::Busy, NOW + 2 * MINUTE));
    assert_eq!(busy_for(None), opened(Cause::Busy, NOW + MINUTE));
    assert_eq!(busy_for(Some(Duration::ZERO)), opened(Cause::Busy, NOW + SECOND));
    assert_eq!(busy_for(Some(Duration::MAX)), opened(Cause::Busy, NOW + 6 * HOUR));
}

#[test]
fn a_longer_wish_counts_even_when_it_comes_late() {
    let mut breaker = Breaker::default();
    breaker.note(&person(1), &busy(), Some(MINUTE), NOW);
    assert_eq!(breaker.note(&person(2), &busy(), Some(HOUR), NOW), None);
    assert_eq!(breaker.note(&person(3), &busy(), Some(SECOND), NOW), None);
    assert_eq!(breaker.admit(NOW + MINUTE), Admission::Hold(NOW + HOUR));
}

#[test]
fn an_answer_that_was_under_way_does_not_take_the_wish_back() {
    let mut breaker = Breaker::default();
    breaker.note(&person(1), &busy(), Some(MINUTE), NOW);
    assert_eq!(note(&mut breaker, 2, &success(), NOW + SECOND), None);
    assert_eq!(breaker.admit(NOW + SECOND), Admission::Hold(NOW + MINUTE));
}

#[test]
fn five_different_persons_failing_in_a_row_open_it() {
    let mut breaker = Breaker::default();
    for n in 1..5 {
        assert_eq!(note(&mut breaker, n, &transient(), NOW), None);
    }
    assert_eq!(note(&mut breaker, 5, &transient(), NOW), opened(Cause::ManyFailing, NOW + MINUTE));
    assert_eq!(note(&mut breaker, 6, &transient(), NOW), None, "a straggler");
}

#[test]
fn one_person_failing_for_ever_opens_nothing() {
    let mut breaker = Breaker::default();
    for _ in 0..100 {
        assert_eq!(note(&mut breaker, 1, &transient(), NOW), None);
    }
    assert_eq!(breaker.admit(NOW), Admission::Go);
}

#[test]
fn every_sign_of_life_ends_the_row() {
    let signs = [success(), Verdict::TokenLimit, Verdict::ConsentNeeded("HTTP 400".to_owned())];
    for sign in signs {
        let mut breaker = Breaker::default();
        for n in 0..20 {
            let verdict = if n % 5 == 4 { &sign } else { &transient() };
            assert_eq!(note(&mut breaker, n, verdict, NOW), None);
        }
        assert_eq!(breaker.admit(NOW), Admission::Go);
    }
}

#[test]
fn a_refused_client_is_told_although_many_were_failing() {
    let mut breaker = Breaker::default();
    for n in 1..=5 {
        note(&mut breaker, n, &transient(), NOW);
    }
    let turn = note(&mut breaker, 6, &unauthorized(), NOW);
    assert_eq!(turn, opened(Cause::ClientRefused, NOW + 2 * MINUTE));
}

#[test]
fn half_open_it_lets_one_probe_through() {
    let mut breaker = refused();
    let later = NOW + MINUTE;
    assert_eq!(breaker.admit(later), Admission::Probe);
    assert_eq!(breaker.admit(later), Admission::Hold(later + PROBE_PATIENCE));
    assert_eq!(breaker.trouble(), Some(Cause::ClientRefused));
}

#[test]
fn a_probe_that_succeeds_closes_it_and_the_ladder_starts_anew() {
    let mut breaker = refused();
    breaker.admit(NOW + MINUTE);
    assert_eq!(note(&mut breaker, 1, &success(), NOW + MINUTE), Some(Turn::Closed));
    assert_eq!(breaker.admit(NOW + MINUTE), Admission::Go);
    assert_eq!(breaker.trouble(), None);
    let again = NOW + HOUR;
    assert_eq!(note(&mut breaker, 1, &unauthorized(), again), opened(Cause::ClientRefused, again + MINUTE));
}

#[test]
fn a_probe_that_fails_opens_it_for_longer_up_to_an_hour() {
    let (mut breaker, mut now) = (refused(), NOW + MINUTE);
    for minutes in [2, 5, 10, 20, 30, 60, 60, 60] {
        assert_eq!(breaker.admit(now), Admission::Probe);
        let until = now + minutes * MINUTE;
        assert_eq!(note(&mut breaker, 1, &unauthorized(), now), again(Cause::ClientRefused, until));
        assert_eq!(breaker.admit(until - SECOND), Admission::Hold(until));
        now = until;
    }
}

#[test]
fn one_transient_probe_is_enough_to_open_it_again() {
    let mut breaker = refused();
    breaker.admit(NOW + MINUTE);
    let turn = note(&mut breaker, 1, &transient(), NOW + MINUTE);
    assert_eq!(turn, opened(Cause::ManyFailing, NOW + 3 * MINUTE));
}

#[test]
fn a_probe_that_found_nobody_leaves_the_next_one_free() {
    let mut breaker = refused();
    breaker.admit(NOW + MINUTE);
    breaker.no_probe();
    assert_eq!(breaker.trouble(), Some(Cause::ClientRefused));
    assert_eq!(breaker.admit(NOW + MINUTE), Admission::Probe);
}

#[test]
fn what_is_shown_of_a_trouble_has_its_beginning_whatever_it_turns_into() {
    let mut breaker = refused();
    let later = NOW + MINUTE;
    breaker.admit(later);
    let shown =
        Pause { cause: Cause::ClientRefused, since: NOW, until: later + PROBE_PATIENCE, probing: true };
    assert_eq!(breaker.pause(), Some(shown));
    note(&mut breaker, 1, &busy(), later);
    let shown = Pause { cause: Cause::Busy, since: NOW, until: later + MINUTE, probing: false };
    assert_eq!(breaker.pause(), Some(shown));
    breaker.admit(later + MINUTE);
    note(&mut breaker, 1, &success(), later + MINUTE);
    assert_eq!(breaker.pause(), None);
}

#[test]
fn a_cause_explains_what_repeats_it_and_nothing_else() {
    let explained = |cause: Cause| {
        let all = [Outcome::ClientRefused, Outcome::Busy, Outcome::Transient, Outcome::ConsentNeeded];
        all.map(|outcome| cause.explains(outcome))
    };
    assert_eq!(explained(Cause::ClientRefused), [true, false, false, false]);
    assert_eq!(explained(Cause::Busy), [false, true, false, false]);
    assert_eq!(explained(Cause::ManyFailing), [false, false, true, false]);
}

#[test]
fn a_lost_probe_is_given_up() {
    let (mut breaker, sent) = (refused(), NOW + MINUTE);
    breaker.admit(sent);
    assert!(matches!(breaker.admit(sent + 3 * MINUTE - SECOND), Admission::Hold(_)));
    assert_eq!(breaker.admit(sent + 3 * MINUTE), Admission::Probe);
}

#[test]
fn a_clock_set_back_does_not_hold_the_door() {
    let a_year_ago = NOW - 365 * 24 * HOUR;
    let held = a_year_ago + MINUTE;
    let mut breaker = refused();
    assert_eq!(
        breaker.admit(a_year_ago),
        Admission::Hold(held),
        "as long as it was meant to be, from now on"
    );
    assert_eq!(
        (breaker.admit(held - SECOND), breaker.admit(held)),
        (Admission::Hold(held), Admission::Probe)
    );
    let mut probing = refused();
    probing.admit(NOW + MINUTE);
    let patience = a_year_ago + PROBE_PATIENCE;
    assert_eq!(probing.admit(a_year_ago), Admission::Hold(patience), "a probe of the future");
    assert_eq!(probing.admit(patience), Admission::Probe);
    for minutes in 0..100_000 {
        let now = NOW - minutes * MINUTE;
        if let Admission::Hold(until) = refused().admit(now) {
            assert!(until.since(now) <= MINUTE, "{minutes} minutes back");
        }
    }
    let mut recalled = Breaker::from_text(&refused_many().to_text(), NOW).unwrap();
    assert_eq!(recalled.admit(NOW - HOUR), Admission::Hold(NOW - HOUR + MINUTE), "over a restart, too");
}

/// Opened at [`NOW`] for a minute, by many who failed.
fn refused_many() -> Breaker {
    let mut breaker = Breaker::default();
    for n in 1..=5 {
        note(&mut breaker, n, &transient(), NOW);
    }
    breaker
}

#[test]
fn a_wish_that_takes_another_causes_place_is_told() {
    let mut breaker = refused();
    assert_eq!(note(&mut breaker, 2, &busy(), NOW), None, "no longer than what is known");
    let turn = breaker.note(&person(2), &busy(), Some(HOUR), NOW);
    assert_eq!(turn, opened(Cause::Busy, NOW + HOUR));
    assert_eq!(breaker.trouble(), Some(Cause::Busy));
}

#[test]
fn a_clock_set_far_ahead_only_sends_a_probe() {
    assert_eq!(refused().admit(UnixTime::NEVER), Admission::Probe);
    assert_eq!(Breaker::default().admit(UnixTime(i64::MIN)), Admission::Go);
}

#[test]
fn refused_twice_while_others_are_accepted_it_is_this_grant() {
    let mut breaker = Breaker::default();
    let first = refuse(&mut breaker, 1, None, NOW);
    assert_eq!(first.outcome(), unauthorized().outcome());
    breaker.admit(NOW + MINUTE);
    note(&mut breaker, 2, &success(), NOW + MINUTE);
    let second = refuse(&mut breaker, 1, Some(NOW), NOW + 2 * MINUTE);
    assert_eq!(second.outcome(), Verdict::ConsentNeeded(String::new()).outcome());
    assert_eq!(second.detail(), "HTTP 401");
    assert_eq!(breaker.admit(NOW + 2 * MINUTE), Admission::Go, "nobody waits for one person's grant");
}

#[test]
fn a_401_of_a_grant_that_is_to_blame_says_nothing_about_everybody() {
    let (mut breaker, later) = (Breaker::default(), NOW + HOUR);
    note(&mut breaker, 2, &success(), NOW + SECOND);
    assert_eq!(refuse(&mut breaker, 1, Some(NOW), later).outcome(), Outcome::ConsentNeeded);
    assert_eq!(breaker.admit(later), Admission::Go, "it does not open");
    note(&mut breaker, 3, &unauthorized(), later);
    assert_eq!(refuse(&mut breaker, 1, Some(NOW), later).outcome(), Outcome::ConsentNeeded);
    assert_eq!(breaker.admit(later), Admission::Hold(later + MINUTE), "nor close");
    assert_eq!(breaker.admit(later + MINUTE), Admission::Probe);
    assert_eq!(refuse(&mut breaker, 1, Some(NOW), later + MINUTE).outcome(), Outcome::ConsentNeeded);
    assert_eq!(breaker.admit(later + MINUTE), Admission::Probe, "another one is the probe");
}

#[test]
fn refused_for_everybody_it_is_never_a_grant() {
    let mut breaker = Breaker::default();
    note(&mut breaker, 9, &success(), NOW);
    let mut refused_at = [None; 8];
    for round in 1..50_u32 {
        let now = NOW + round * HOUR;
        breaker.admit(now);
        for (n, before) in refused_at.iter_mut().enumerate() {
            let verdict = refuse(&mut breaker, n, *before, now);
            assert_eq!(verdict.outcome(), unauthorized().outcome(), "person {n} in round {round}");
            *before = Some(now);
        }
    }
}

#[test]
fn an_acceptance_of_the_same_person_or_from_before_blames_nobody() {
    let mut breaker = Breaker::default();
    note(&mut breaker, 1, &success(), NOW + MINUTE);
    let outcome = |breaker: &Breaker, n, before| breaker.blame(unauthorized(), &person(n), before).outcome();
    assert_eq!(outcome(&breaker, 1, Some(NOW)), unauthorized().outcome(), "itself");
    assert_eq!(outcome(&breaker, 2, Some(NOW + MINUTE)), unauthorized().outcome(), "not since");
    assert_eq!(outcome(&breaker, 2, None), unauthorized().outcome(), "refused for the first time");
}

#[test]
fn an_acceptance_of_a_clock_that_ran_ahead_blames_nobody() {
    let mut breaker = Breaker::default();
    note(&mut breaker, 9, &success(), NOW + HOUR);
    breaker.admit(NOW);
    let first = refuse(&mut breaker, 1, None, NOW);
    let second = refuse(&mut breaker, 1, Some(NOW), NOW + MINUTE);
    assert_eq!([first.outcome(), second.outcome()], [unauthorized().outcome(); 2]);
}

#[test]
fn only_a_refused_client_is_anybodys_fault() {
    let mut breaker = Breaker::default();
    note(&mut breaker, 2, &success(), NOW + MINUTE);
    for verdict in [success(), transient(), busy(), Verdict::TokenLimit] {
        let outcome = verdict.outcome();
        assert_eq!(breaker.blame(verdict, &person(1), Some(NOW)).outcome(), outcome);
    }
}

#[test]
fn causes_tell_the_operator_what_to_do() {
    let told = Cause::ClientRefused.to_string();
    assert!(told.contains("MY_APP_CLIENT_ID") && told.contains("MY_APP_SECRET_ID"));
    assert!(!Cause::Busy.to_string().is_empty() && !Cause::ManyFailing.to_string().is_empty());
}
