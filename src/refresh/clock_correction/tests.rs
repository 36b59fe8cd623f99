//! How dates are corrected.

use super::*;
use crate::refresh::sample_grants::*;

/// By how much the clock was set back, where that was detected.
const BACK: Duration = Duration::from_secs(30 * 86_400);

fn corrected(mut grant: Grant, back: Duration) -> Grant {
    assert!(correct_dates(&mut grant, back, &POLICY, NOW));
    grant
}

#[test]
fn a_step_back_of_known_length_shifts_all_dates() {
    let mut grant = consented(NOW + BACK - 9 * HOUR);
    grant.answered_at = NOW + BACK - 5 * HOUR;
    grant.last.at = NOW + BACK - 4 * HOUR;
    grant.next = POLICY.plan(&grant.dates(), NOW + BACK);
    let after = corrected(grant.clone(), BACK);
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
fn dates_written_after_the_clock_was_set_back_stay() {
    let mut grant = consented(NOW + BACK - 9 * HOUR);
    grant.last.at = NOW - MINUTE;
    grant.obtained_at = NOW - 400 * DAY;
    let after = corrected(grant, BACK);
    assert_eq!((after.last.at, after.obtained_at), (NOW - MINUTE, NOW - 400 * DAY));
}

#[test]
fn a_retry_keeps_its_distance_and_a_due_grant_stays_due() {
    let mut failing = consented(NOW + BACK - 3 * DAY);
    failing.failures = 3;
    failing.next = Schedule::at(NOW + BACK + 2 * HOUR);
    assert_eq!(
        corrected(failing, BACK).next,
        Schedule::at(NOW + 2 * HOUR),
        "not the regular plan, which lies in the past"
    );

    let mut due = consented(NOW + BACK - HOUR);
    due.next = Schedule::at(NOW + BACK - MINUTE);
    assert_eq!(
        corrected(due, BACK).next,
        Schedule::at(NOW - MINUTE),
        "not the regular plan, which is tomorrow"
    );

    let mut late = consented(NOW + BACK - HOUR);
    let plan = POLICY.plan(&consented(NOW - HOUR).dates(), NOW);
    late.next = Schedule::at(NOW + BACK + 300 * DAY);
    assert_eq!(corrected(late, BACK).next, plan, "the date came from a clock that was further ahead");
}

#[test]
fn without_a_date_in_the_future_only_a_step_of_known_length_is_corrected() {
    for at in [NOW - 100 * DAY, NOW, NOW + SLACK] {
        let mut grant = consented(at);
        assert!(!correct_dates(&mut grant, Duration::ZERO, &POLICY, NOW), "{at}");
        assert_eq!(grant, consented(at));
    }
}

#[test]
fn a_grant_with_any_date_in_the_future_is_due_at_once_and_has_none_afterwards() {
    let ahead = NOW + SLACK + Duration::from_millis(1);
    let dates: [fn(&mut Grant) -> &mut UnixTime; 3] =
        [|grant| &mut grant.renewed_at, |grant| &mut grant.answered_at, |grant| &mut grant.last.at];
    for (n, date) in dates.into_iter().enumerate() {
        let mut grant = consented(NOW - HOUR);
        *date(&mut grant) = ahead;
        let mut after = corrected(grant, Duration::ZERO);
        assert_eq!((*date(&mut after), after.next), (NOW, Schedule::at(NOW)), "date {n}");
    }
    let after = corrected(consented(NOW + 400 * DAY), BACK);
    assert_eq!([after.renewed_at, after.answered_at, after.last.at, after.obtained_at], [NOW; 4]);
    assert_eq!(after.tokens.expires_at, NOW + 14 * DAY, "the life is no longer than Webex said");
    assert_eq!(after.next, Schedule::at(NOW));
}

#[test]
fn an_ended_grant_is_tried_again_at_its_time_or_not_at_all() {
    let planned = dead(NOW + BACK - HOUR, 2).next.due_at;
    assert_eq!(corrected(dead(NOW + BACK - HOUR, 2), BACK).next, Schedule::at(planned - BACK));
    let after = corrected(dead(NOW + 400 * DAY, 2), BACK);
    assert_eq!(after.next, Policy::after_refusal(2, &after.person.id, NOW), "its original plan is unknown");
    for at in [NOW + BACK - HOUR, NOW + 400 * DAY] {
        let mut given_up = dead(at, 2);
        given_up.next = Schedule::NEVER;
        assert_eq!(corrected(given_up, BACK).next, Schedule::NEVER);
    }
}

#[test]
fn a_grant_that_a_fast_clock_planned_is_due_again_even_if_its_other_dates_are_right() {
    let far = Schedule::at(NOW + 200 * DAY);
    let mut failing = Grant { failures: 3, next: far, ..consented(NOW - 30 * DAY) };
    failing.last.at = NOW - DAY;
    assert_eq!(corrected(failing, Duration::ZERO).next, Schedule::at(NOW));
    let healthy = Grant { next: far, ..consented(NOW - HOUR) };
    assert_eq!(corrected(healthy, Duration::ZERO).next, consented(NOW - HOUR).next);
    let ended = Grant { next: far, ..dead(NOW - HOUR, 2) };
    let next = corrected(ended, Duration::ZERO).next;
    assert!(next.due_at > NOW && next.due_at < NOW + 2 * DAY, "{next:?}");
}
