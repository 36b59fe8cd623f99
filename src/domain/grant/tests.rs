//! How results of refreshes change a grant.

use super::*;
use crate::domain::person::PersonId;
use crate::domain::schedule::REPROBES;

const CONSENTED: UnixTime = UnixTime(1_795_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const TWO_WEEKS: Duration = Duration::from_secs(14 * 86_400);

/// Just past the age of a day at which [`POLICY`] refreshes.
const OLDER_THAN_A_DAY: Duration = Duration::from_millis(86_400_001);

const POLICY: Policy =
    Policy { sleep: HOUR, max_age: DAY, noop_window: DAY, floor: Duration::from_secs(300) };

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// A response with every field.
fn answer(access_token: &str, refresh_token: &str) -> TokenSet {
    TokenSet {
        access_token: secret(access_token),
        refresh_token: Some(secret(refresh_token)),
        expires_in: TWO_WEEKS,
        refresh_token_expires_in: Some(90 * DAY),
        token_type: Some("Bearer".to_owned()),
        scope: Some("spark:all spark:kms".to_owned()),
    }
}

/// A response with the required fields only.
fn bare_answer(access_token: &str) -> TokenSet {
    TokenSet {
        access_token: secret(access_token),
        refresh_token: None,
        expires_in: TWO_WEEKS,
        refresh_token_expires_in: None,
        token_type: None,
        scope: None,
    }
}

fn consented() -> Grant {
    let person = Person::known_by(PersonId::parse("ada").unwrap());
    let tokens = Tokens::first(answer("access-0", "refresh-0"), CONSENTED).unwrap();
    Grant::consented(person, tokens, CONSENTED, &POLICY, CONSENTED)
}

/// The grant after a refresh that was sent at `now`.
fn after(grant: &Grant, verdict: Verdict, now: UnixTime) -> Grant {
    grant.after(verdict, None, now, &POLICY, now)
}

fn refusal() -> Verdict {
    Verdict::ConsentNeeded("HTTP 400: invalid_grant".to_owned())
}

fn failures() -> [Verdict; 5] {
    [
        refusal(),
        Verdict::ClientRefused("HTTP 401".to_owned()),
        Verdict::TokenLimit,
        Verdict::Busy("HTTP 429".to_owned()),
        Verdict::Transient("HTTP 500".to_owned()),
    ]
}

/// A grant that Webex has refused for good, a day after its consent.
fn refused() -> Grant {
    after(&consented(), refusal(), CONSENTED + DAY)
}

fn assert_waits(grant: &Grant, now: UnixTime, step: Duration) {
    let wait = grant.next.due_at.since(now);
    assert!(wait >= step && wait <= step + step / 5, "{wait:?} for a step of {step:?}");
    assert_eq!(grant.next.wake_at, grant.next.due_at);
}

#[test]
fn a_consent_is_alive_and_planned_for_the_next_day() {
    let grant = consented();
    assert_eq!(grant.status, GrantStatus::Active);
    assert_eq!(grant.last.outcome, Outcome::Renewed);
    assert_eq!(grant.tokens.expires_at, CONSENTED + TWO_WEEKS);
    assert_eq!(grant.tokens.refresh_token_expires_at, Some(CONSENTED + 90 * DAY));
    assert_eq!(grant.next.due_at, CONSENTED + OLDER_THAN_A_DAY);
    assert_eq!(grant.age(CONSENTED + HOUR), HOUR);
    assert_eq!(grant.life_left(CONSENTED + HOUR), TWO_WEEKS - HOUR);
}

#[test]
fn a_first_answer_without_a_refresh_token_makes_no_grant() {
    assert_eq!(Tokens::first(bare_answer("access"), CONSENTED), None);
}

#[test]
fn no_failure_changes_a_token_a_date_or_the_person() {
    let grant = consented();
    for verdict in failures() {
        let failed = after(&grant, verdict, CONSENTED + DAY);
        assert_eq!(failed.tokens, grant.tokens);
        assert_eq!(failed.dates(), grant.dates());
        assert_eq!((&failed.person, failed.obtained_at), (&grant.person, grant.obtained_at));
        assert_eq!(failed.failures, 1);
        assert_eq!(failed.last.at, CONSENTED + DAY);
        assert!(failed.next.due_at > CONSENTED + DAY, "a retry never follows at once");
    }
}

#[test]
fn only_consent_needed_ends_a_grant() {
    for verdict in failures() {
        let ends = matches!(verdict, Verdict::ConsentNeeded(_));
        let standing = after(&consented(), verdict, CONSENTED + DAY).status;
        assert_eq!(standing == GrantStatus::ConsentNeeded, ends);
    }
}

#[test]
fn a_failure_tells_its_reason() {
    let last = refused().last;
    assert_eq!((last.outcome, last.detail.as_str()), (Outcome::ConsentNeeded, "HTTP 400: invalid_grant"));
}

#[test]
fn a_renewal_takes_both_tokens_and_both_dates() {
    let now = CONSENTED + DAY;
    let renewed = after(&consented(), Verdict::Renewed(answer("access-1", "refresh-1")), now);
    assert_eq!(renewed.tokens.access_token, secret("access-1"));
    assert_eq!(renewed.tokens.refresh_token, secret("refresh-1"), "a rotated refresh token is stored");
    assert_eq!(renewed.tokens.expires_at, now + TWO_WEEKS);
    assert_eq!(renewed.tokens.refresh_token_expires_at, Some(now + 90 * DAY));
    assert_eq!((renewed.renewed_at, renewed.answered_at, renewed.obtained_at), (now, now, CONSENTED));
    assert_eq!(renewed.next.due_at, now + OLDER_THAN_A_DAY);
}

#[test]
fn what_an_answer_leaves_out_stays_as_it_was() {
    let mut grant = consented();
    grant.tokens.token_type = "MAC".to_owned();
    let renewed = after(&grant, Verdict::Renewed(bare_answer("access-1")), CONSENTED + DAY);
    let expected =
        Tokens { access_token: secret("access-1"), expires_at: CONSENTED + DAY + TWO_WEEKS, ..grant.tokens };
    assert_eq!(renewed.tokens, expected);
}

#[test]
fn a_shorter_life_and_a_smaller_scope_are_taken_as_they_are() {
    let now = CONSENTED + DAY;
    let less = TokenSet {
        expires_in: DAY / 2,
        refresh_token_expires_in: Some(DAY),
        scope: Some("spark:people_read".to_owned()),
        ..answer("access-1", "refresh-1")
    };
    let renewed = after(&consented(), Verdict::Renewed(less), now);
    assert_eq!(renewed.tokens.expires_at, now + DAY / 2);
    assert_eq!(renewed.tokens.refresh_token_expires_at, Some(now + DAY));
    assert_eq!(renewed.tokens.scope.as_deref(), Some("spark:people_read"));
    assert!(renewed.next.due_at < now + DAY / 2, "it is refreshed before it expires");
}

#[test]
fn an_unchanged_token_keeps_its_age_and_is_not_asked_for_at_once() {
    let now = CONSENTED + DAY;
    let left = TokenSet { expires_in: TWO_WEEKS - DAY, ..answer("access-0", "refresh-0") };
    let unchanged = after(&consented(), Verdict::Unchanged(left), now);
    assert_eq!((unchanged.renewed_at, unchanged.answered_at), (CONSENTED, now));
    assert_eq!(unchanged.tokens.expires_at, CONSENTED + TWO_WEEKS);
    assert_eq!((unchanged.failures, unchanged.last.outcome), (0, Outcome::Unchanged));
    assert_eq!(unchanged.next.due_at, now + OLDER_THAN_A_DAY);
}

#[test]
fn a_clock_that_went_ahead_does_not_make_an_unchanged_token_due_again_and_again() {
    let short = TokenSet { expires_in: 12 * HOUR, ..answer("access-0", "refresh-0") };
    let mut grant = consented();
    grant.tokens = Tokens::first(short.clone(), CONSENTED).unwrap();
    let now = CONSENTED + 250 * DAY;
    let grant = after(&grant, Verdict::Unchanged(short), now);
    assert!(grant.next.due_at >= now + HOUR, "due again after {:?}", grant.next.due_at.since(now));
    assert_eq!(grant.dates().lifetime(), 12 * HOUR);
}

#[test]
fn an_unchanged_answer_may_rotate_the_refresh_token() {
    let answer = answer("access-0", "refresh-1");
    let unchanged = after(&consented(), Verdict::Unchanged(answer), CONSENTED + DAY);
    assert_eq!(unchanged.tokens.refresh_token, secret("refresh-1"));
}

#[test]
fn lives_count_from_when_the_request_was_sent() {
    let (sent_at, answered) = (CONSENTED + DAY, CONSENTED + DAY + Duration::from_secs(40));
    let verdict = Verdict::Renewed(answer("access-1", "refresh-1"));
    let renewed = consented().after(verdict, None, sent_at, &POLICY, answered);
    assert_eq!(renewed.tokens.expires_at, sent_at + TWO_WEEKS);
    assert_eq!(renewed.tokens.refresh_token_expires_at, Some(sent_at + 90 * DAY));
    assert_eq!(renewed.renewed_at, sent_at);
    assert_eq!(renewed.last.at, answered);
}

#[test]
fn failures_in_a_row_climb_the_ladder_and_a_success_comes_down() {
    let (mut grant, now) = (consented(), CONSENTED + DAY);
    for minutes in [1, 2, 5, 10] {
        grant = after(&grant, Verdict::Transient("HTTP 500".to_owned()), now);
        assert_waits(&grant, now, Duration::from_secs(60 * minutes));
    }
    grant = after(&grant, Verdict::Renewed(answer("access-1", "refresh-0")), now);
    assert_eq!((grant.failures, grant.next.due_at), (0, now + OLDER_THAN_A_DAY));
}

#[test]
fn a_wish_of_webex_puts_off_the_next_try() {
    let now = CONSENTED + DAY;
    let busy = consented().after(Verdict::Busy("HTTP 429".to_owned()), Some(HOUR), now, &POLICY, now);
    assert_waits(&busy, now, HOUR);
}

#[test]
fn a_refused_grant_is_probed_daily_five_times_and_then_left_alone() {
    let (mut grant, mut now) = (refused(), CONSENTED + DAY);
    for _ in 0..REPROBES {
        assert_waits(&grant, now, DAY);
        now = grant.next.due_at;
        grant = after(&grant, refusal(), now);
    }
    assert_eq!(grant.next, Schedule::NEVER);
    assert_eq!(grant.tokens, consented().tokens, "its tokens stay stored");
}

#[test]
fn a_refused_grants_probes_stay_few_and_slow_whatever_they_meet() {
    for verdict in failures() {
        let (mut grant, mut now, mut probes) = (refused(), CONSENTED + DAY, 0);
        while grant.next != Schedule::NEVER {
            assert_waits(&grant, now, DAY);
            now = grant.next.due_at;
            grant = after(&grant, verdict.clone(), now);
            probes += 1;
            assert!(probes <= REPROBES, "{:?} is probed without end", verdict.outcome());
        }
        assert_eq!(grant.status, GrantStatus::ConsentNeeded);
    }
}

#[test]
fn refreshes_that_are_asked_for_use_up_no_probe_of_a_refused_grant() {
    let mut grant = refused();
    let planned = grant.next;
    for (n, verdict) in failures().into_iter().cycle().take(100).enumerate() {
        let now = CONSENTED + DAY + Duration::from_secs(5) * u32::try_from(n).unwrap();
        grant = after(&grant, verdict, now);
        assert_eq!((grant.next, grant.status), (planned, GrantStatus::ConsentNeeded));
    }
    assert_waits(&after(&grant, refusal(), planned.due_at), planned.due_at, DAY);
}

#[test]
fn failures_before_a_refusal_do_not_use_up_its_probes() {
    let mut grant = consented();
    for _ in 0..20 {
        grant = after(&grant, Verdict::Transient("HTTP 500".to_owned()), CONSENTED + DAY);
    }
    let refused = after(&grant, refusal(), CONSENTED + 2 * DAY);
    assert_eq!(refused.failures, 1);
    assert_waits(&refused, CONSENTED + 2 * DAY, DAY);
}

#[test]
fn a_later_success_revives_a_refused_grant() {
    for verdict in [
        Verdict::Renewed(answer("access-1", "refresh-0")),
        Verdict::Unchanged(answer("access-0", "refresh-0")),
    ] {
        let revived = after(&refused(), verdict, CONSENTED + 2 * DAY);
        assert_eq!((revived.status, revived.failures), (GrantStatus::Active, 0));
        assert_eq!(revived.next.due_at, CONSENTED + 2 * DAY + OLDER_THAN_A_DAY);
    }
}

#[test]
fn a_success_between_two_refusals_makes_the_second_one_the_first() {
    let refused = after(&consented(), Verdict::Refused("HTTP 400".to_owned()), CONSENTED + DAY);
    assert_eq!((refused.status, refused.refused_since), (GrantStatus::Active, Some(CONSENTED + DAY)));
    for verdict in [
        Verdict::Renewed(answer("access-1", "refresh-0")),
        Verdict::Unchanged(answer("access-0", "refresh-0")),
    ] {
        let renewed = after(&refused, verdict, CONSENTED + 2 * DAY);
        assert_eq!(renewed.refused_since, None);
    }
}

#[test]
fn refusals_of_the_client_count_from_the_first_of_those_in_a_row() {
    let (day, client) = (CONSENTED + DAY, || Verdict::ClientRefused("HTTP 401".to_owned()));
    let first = after(&consented(), client(), day);
    assert_eq!(first.refused_since, Some(day));
    let second = after(&first, client(), day + HOUR);
    assert_eq!(second.refused_since, Some(day), "the refusals are consecutive");
    let trouble = after(&second, Verdict::Transient("HTTP 500".to_owned()), day + 2 * HOUR);
    let third = after(&trouble, client(), day + 3 * HOUR);
    assert_eq!(
        third.refused_since,
        Some(day + 3 * HOUR),
        "the failure between may have concerned all persons"
    );
}

#[test]
fn a_first_refusal_of_a_clock_that_was_ahead_counts_from_now() {
    let ahead = Grant { refused_since: Some(CONSENTED + 400 * DAY), ..consented() };
    let refused = after(&ahead, Verdict::Refused("HTTP 400".to_owned()), CONSENTED + DAY);
    assert_eq!(refused.refused_since, Some(CONSENTED + DAY));
}

#[test]
fn at_the_token_limit_the_next_try_is_hours_away() {
    let (mut grant, now) = (consented(), CONSENTED + DAY);
    for _ in 0..3 {
        grant = after(&grant, Verdict::TokenLimit, now);
        assert_waits(&grant, now, 6 * HOUR);
    }
}

#[test]
fn at_the_token_limit_a_dying_token_is_still_tried_for_in_time() {
    let dying = CONSENTED + TWO_WEEKS - HOUR;
    let limited = after(&consented(), Verdict::TokenLimit, dying);
    assert_eq!(limited.next, Schedule::at(dying + HOUR / 10), "six minutes, so that ten contain a try");
    let dead = CONSENTED + TWO_WEEKS;
    assert_eq!(after(&consented(), Verdict::TokenLimit, dead).next, Schedule::at(dead + HOUR / 2));
}

#[test]
fn a_refresh_token_past_its_reported_end_is_still_used() {
    let mut grant = consented();
    grant.tokens.refresh_token_expires_at = Some(CONSENTED);
    let failed = after(&grant, Verdict::Transient("HTTP 500".to_owned()), CONSENTED + DAY);
    assert_eq!(failed.status, GrantStatus::Active);
    assert_ne!(failed.next, Schedule::NEVER);
}

#[test]
fn a_grant_prints_no_token() {
    let printed = format!("{:?}", consented());
    assert!(!printed.contains("access-0") && !printed.contains("refresh-0"), "{printed}");
}

#[test]
fn a_token_that_was_dead_when_it_came_is_kept_and_asked_for_again_in_minutes() {
    let (grant, now) = (consented(), CONSENTED + TWO_WEEKS);
    let answer = TokenSet { expires_in: Duration::ZERO, ..answer("access-2", "refresh-2") };
    let earlier = after(&grant, Verdict::Renewed(answer.clone()), CONSENTED + DAY);
    assert_eq!(earlier.tokens.refresh_token.expose(), "refresh-2");
    assert_eq!(earlier.tokens.access_token, grant.tokens.access_token, "the stored one is alive and stays");
    assert_eq!((earlier.tokens.expires_at, earlier.renewed_at), (grant.tokens.expires_at, grant.renewed_at));
    let dead = after(&grant, Verdict::Renewed(answer), now);
    assert_eq!(dead.tokens.refresh_token.expose(), "refresh-2", "the old one may be invalid");
    assert_eq!(dead.life_left(now), Duration::ZERO, "it is not shown as alive");
    assert_eq!(dead.next.due_at, now + POLICY.floor);
    for floor in [Duration::ZERO, 40 * DAY] {
        let wait = Policy { floor, ..POLICY }.floor_for(Duration::ZERO);
        assert!((MINUTE..=30 * MINUTE).contains(&wait), "{wait:?} with a floor of {floor:?}");
    }
}

#[test]
fn a_grant_lacks_what_is_asked_for_and_was_not_granted() {
    let asked = ["spark:all", "spark:rooms_read"].map(str::to_owned);
    let mut grant = consented();
    let mut missing = |scope: Option<&str>| {
        grant.tokens.scope = scope.map(str::to_owned);
        grant.missing_scopes(&asked)
    };
    assert_eq!(missing(Some("spark:kms  spark:rooms_read spark:all")), [""; 0]);
    assert_eq!(missing(Some("spark:all spark:rooms")), ["spark:rooms_read"]);
    assert_eq!(missing(Some("")), asked);
    assert_eq!(missing(None), [""; 0], "scopes that Webex has not named do not count as missing");
}
