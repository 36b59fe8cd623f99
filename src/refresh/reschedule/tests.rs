//! What each change does to one grant.

use super::*;
use crate::domain::grant::Tokens;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::secret::Secret;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const POLICY: Policy =
    Policy { sleep: HOUR, max_age: DAY, noop_window: DAY, floor: Duration::from_secs(300) };

/// The current time.
const NOW: UnixTime = UnixTime(1_795_000_000_000);

/// By how much the clock was set back, where that was detected.
const BACK: Duration = Duration::from_secs(30 * 86_400);

/// A grant of a consent at `at`, planned at that time.
fn consented(at: UnixTime) -> Grant {
    let id = PersonId::parse("person-1").unwrap();
    let tokens = Tokens {
        access_token: Secret::new("access".to_owned()),
        refresh_token: Secret::new("refresh".to_owned()),
        token_type: "Bearer".to_owned(),
        scope: None,
        expires_at: at + 14 * DAY,
        refresh_token_expires_at: Some(at + 90 * DAY),
    };
    let person = Person { id, email: None, display_name: None, org_id: None };
    Grant::consented(person, tokens, at, &POLICY, at)
}

/// The same, refused `failures` times.
fn dead(at: UnixTime, failures: u32) -> Grant {
    let mut grant = consented(at);
    (grant.status, grant.failures) = (GrantStatus::ConsentNeeded, failures);
    grant.next = Policy::after_refusal(failures, &grant.person.id, at);
    grant
}

fn mended(mut grant: Grant, back: Duration) -> Grant {
    assert!(mend(&mut grant, back, &POLICY, NOW));
    grant
}

#[test]
fn a_clock_seen_to_be_set_back_takes_all_that_it_wrote_along() {
    let mut grant = consented(NOW + BACK - 9 * HOUR);
    grant.answered_at = NOW + BACK - 5 * HOUR;
    grant.last.at = NOW + BACK - 4 * HOUR;
    grant.next = POLICY.plan(&grant.dates(), NOW + BACK);
    let after = mended(grant.clone(), BACK);
    assert_eq!(after.renewed_at, NOW - 9 * HOUR);
    assert_eq!(after.answered_at, NOW - 5 * HOUR);
    assert_eq!(after.tokens.expires_at, NOW - 9 * HOUR + 14 * DAY);
    assert_eq!(after.last.at, NOW - 4 * HOUR);
    assert_eq!(after.next.due_at, grant.next.due_at - BACK);
    assert_eq!(after.next.wake_at, grant.next.wake_at - BACK);
    assert_eq!(after.obtained_at, NOW - 9 * HOUR, "otherwise a consent under way would count as older");
    assert_eq!((after.person, after.failures), (grant.person, 0));
}

#[test]
fn what_was_written_since_the_clock_was_set_back_keeps_its_time() {
    let mut grant = consented(NOW + BACK - 9 * HOUR);
    grant.last.at = NOW - MINUTE;
    grant.obtained_at = NOW - 400 * DAY;
    let after = mended(grant, BACK);
    assert_eq!((after.last.at, after.obtained_at), (NOW - MINUTE, NOW - 400 * DAY));
}

#[test]
fn a_retry_keeps_its_distance_and_whoever_is_due_stays_so() {
    let mut failing = consented(NOW + BACK - 3 * DAY);
    failing.failures = 3;
    failing.next = Schedule::at(NOW + BACK + 2 * HOUR);
    assert_eq!(
        mended(failing, BACK).next,
        Schedule::at(NOW + 2 * HOUR),
        "not the regular plan, which lies in the past"
    );

    let mut due = consented(NOW + BACK - HOUR);
    due.next = Schedule::at(NOW + BACK - MINUTE);
    assert_eq!(mended(due, BACK).next, Schedule::at(NOW - MINUTE), "not the regular plan, which is tomorrow");

    let mut late = consented(NOW + BACK - HOUR);
    let plan = POLICY.plan(&consented(NOW - HOUR).dates(), NOW);
    late.next = Schedule::at(NOW + BACK + 300 * DAY);
    assert_eq!(mended(late, BACK).next, plan, "the date came from a clock that was further ahead");
}

#[test]
fn without_a_date_in_the_future_nothing_is_mended_unless_the_clock_was_seen() {
    for at in [NOW - 100 * DAY, NOW, NOW + SLACK] {
        let mut grant = consented(at);
        assert!(!mend(&mut grant, Duration::ZERO, &POLICY, NOW), "{at}");
        assert_eq!(grant, consented(at));
    }
}

#[test]
fn what_is_in_the_future_by_any_date_is_due_at_once_and_is_there_no_more() {
    let ahead = NOW + SLACK + Duration::from_millis(1);
    let dates: [fn(&mut Grant) -> &mut UnixTime; 3] =
        [|grant| &mut grant.renewed_at, |grant| &mut grant.answered_at, |grant| &mut grant.last.at];
    for (n, date) in dates.into_iter().enumerate() {
        let mut grant = consented(NOW - HOUR);
        *date(&mut grant) = ahead;
        let mut after = mended(grant, Duration::ZERO);
        assert_eq!((*date(&mut after), after.next), (NOW, Schedule::at(NOW)), "date {n}");
    }
    let after = mended(consented(NOW + 400 * DAY), BACK);
    assert_eq!([after.renewed_at, after.answered_at, after.last.at, after.obtained_at], [NOW; 4]);
    assert_eq!(after.tokens.expires_at, NOW + 14 * DAY, "the life is no longer than Webex said");
    assert_eq!(after.next, Schedule::at(NOW));
}

#[test]
fn a_dead_grant_is_tried_again_in_its_time_or_not_at_all() {
    let planned = dead(NOW + BACK - HOUR, 2).next.due_at;
    assert_eq!(mended(dead(NOW + BACK - HOUR, 2), BACK).next, Schedule::at(planned - BACK));
    let after = mended(dead(NOW + 400 * DAY, 2), BACK);
    assert_eq!(after.next, Policy::after_refusal(2, &after.person.id, NOW), "its original plan is unknown");
    for at in [NOW + BACK - HOUR, NOW + 400 * DAY] {
        let mut given_up = dead(at, 2);
        given_up.next = Schedule::NEVER;
        assert_eq!(mended(given_up, BACK).next, Schedule::NEVER);
    }
}

#[test]
fn other_settings_plan_anew_what_no_failure_planned() {
    let other = Policy { max_age: 5 * DAY, ..POLICY };
    let mut grant = consented(NOW - HOUR);
    assert!(!replan(&mut grant, &POLICY, NOW), "the same settings");
    assert!(replan(&mut grant, &other, NOW));
    assert_eq!(grant.next, other.plan(&grant.dates(), NOW));
    let mut failing = consented(NOW - HOUR);
    failing.failures = 1;
    for grant in [failing, dead(NOW - HOUR, 0)] {
        let mut replanned = grant.clone();
        assert!(!replan(&mut replanned, &other, NOW));
        assert_eq!(replanned, grant);
    }
}

#[test]
fn a_start_that_asks_for_everybody_makes_all_due_whom_nobody_asked_for_since() {
    let start = StartOptions { at: NOW, refresh_all: true };
    for (last, now, is_due) in [
        (NOW - HOUR, NOW, true),
        // Written by a clock that was ahead.
        (NOW + HOUR, NOW, true),
        (NOW - HOUR, NOW + MINUTE, true),
        (NOW, NOW + MINUTE, true),
        (NOW + MINUTE / 2, NOW + MINUTE, false),
    ] {
        let mut grant = consented(NOW - HOUR);
        grant.last.at = last;
        let before = grant.next;
        assert_eq!(due(&mut grant, start, now), is_due, "{last}, {now}");
        assert_eq!(grant.next, if is_due { Schedule::at(now) } else { before });
    }
}

#[test]
fn a_grant_that_a_fast_clock_planned_is_due_again_even_if_its_other_dates_are_right() {
    let far = Schedule::at(NOW + 200 * DAY);
    let mut failing = Grant { failures: 3, next: far, ..consented(NOW - 30 * DAY) };
    failing.last.at = NOW - DAY;
    assert_eq!(mended(failing, Duration::ZERO).next, Schedule::at(NOW));
    let healthy = Grant { next: far, ..consented(NOW - HOUR) };
    assert_eq!(mended(healthy, Duration::ZERO).next, consented(NOW - HOUR).next);
    let ended = Grant { next: far, ..dead(NOW - HOUR, 2) };
    let next = mended(ended, Duration::ZERO).next;
    assert!(next.due_at > NOW && next.due_at < NOW + 2 * DAY, "{next:?}");
}
