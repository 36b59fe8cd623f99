//! Properties and examples of each rule.

mod rescue;
mod simulation;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NOW: UnixTime = UnixTime(1_795_000_000_000);

/// The age rule needs a token that is older than the age, so it starts this much later.
const A_MOMENT: Duration = Duration::from_millis(1);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn minutes(n: u64) -> Duration {
    seconds(60 * n)
}

fn person(n: u32) -> PersonId {
    PersonId::parse(&format!("person-{n}")).unwrap()
}

fn ada() -> PersonId {
    person(1)
}

fn default_policy() -> Policy {
    Policy { sleep: HOUR, max_age: DAY, noop_window: DAY, floor: minutes(5) }
}

/// A token that was issued at [`NOW`].
fn fresh(lifetime: Duration) -> TokenTimes {
    TokenTimes { renewed_at: NOW, answered_at: NOW, expires_at: NOW + lifetime }
}

/// A token that expires `left` after [`NOW`].
fn with_left(left: Duration) -> TokenTimes {
    TokenTimes { renewed_at: NOW - DAY, answered_at: NOW - DAY, expires_at: NOW + left }
}

fn wait_after_failure(dates: &TokenTimes, failures: u32, retry_after: Option<Duration>) -> Duration {
    Policy::after_failure(dates, failures, retry_after, &ada(), NOW).due_at.since(NOW)
}

/// Asserts that `wait` is `step` plus at most a fifth.
fn assert_jittered(wait: Duration, step: Duration) {
    assert!(wait >= step && wait <= step + step / 5, "{wait:?} for a step of {step:?}");
}

fn span(range: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(seconds)
}

/// Any policy that the settings allow.
fn any_policy() -> impl Strategy<Value = Policy> {
    let days = prop_oneof![1_u64..=2 * 86_400_000, 1_u64..=3650 * 86_400_000];
    (span(1..=31 * 86_400), days, span(0..=365 * 86_400), span(0..=86_400)).prop_map(
        |(sleep, max_age, noop_window, floor)| Policy {
            sleep,
            max_age: Duration::from_millis(max_age),
            noop_window,
            floor,
        },
    )
}

/// Lifetimes from seconds to a century; each order of magnitude is equally likely.
fn any_lifetime() -> impl Strategy<Value = Duration> {
    prop_oneof![
        span(1..=600),
        span(600..=86_400),
        span(86_400..=90 * 86_400),
        span(90 * 86_400..=100 * 366 * 86_400)
    ]
}

/// A token that Webex returned again, unchanged, some time after its renewal.
fn any_dates() -> impl Strategy<Value = TokenTimes> {
    (any_lifetime(), 0.0..=1.0).prop_map(|(lifetime, share)| TokenTimes {
        answered_at: NOW + lifetime.mul_f64(share),
        ..fresh(lifetime)
    })
}

fn any_time() -> impl Strategy<Value = UnixTime> {
    prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), any::<i64>()].prop_map(UnixTime)
}

fn wild_dates() -> impl Strategy<Value = TokenTimes> {
    (any_time(), any_time(), any_time()).prop_map(|(renewed_at, answered_at, expires_at)| TokenTimes {
        renewed_at,
        answered_at,
        expires_at,
    })
}

proptest! {
    #[test]
    fn survival_is_due_a_margin_before_expiry(policy in any_policy(), lifetime in any_lifetime()) {
        let dates = fresh(lifetime);
        let floor_ends = dates.answered_at + policy.floor_for(lifetime);
        let last_moment = (dates.expires_at - Policy::margin(lifetime)).max(floor_ends);
        prop_assert!(policy.survival_at(&dates) <= last_moment);
        let slack = NOW + MIN_INTERVAL;
        prop_assert!(policy.after_answer(&dates, NOW).wake_at <= last_moment.max(slack), "the loop wakes in time");
    }

    #[test]
    fn survival_is_due_a_sleep_and_a_margin_before_expiry(
        policy in any_policy(),
        lifetime in any_lifetime(),
    ) {
        let dates = fresh(lifetime);
        let reserve = policy.sleep + Policy::margin(lifetime);
        prop_assume!(reserve <= lifetime / 2);
        prop_assert_eq!(policy.survival_at(&dates), dates.expires_at - reserve);
    }

    #[test]
    fn the_survival_rule_never_refreshes_in_the_first_half_of_a_lifetime(
        policy in any_policy(),
        lifetime in any_lifetime(),
    ) {
        let dates = fresh(lifetime);
        prop_assert!(policy.survival_at(&dates).since(NOW) >= lifetime / 2);
    }

    #[test]
    fn the_age_rule_stays_out_of_the_no_op_window(
        policy in any_policy(),
        dates in any_dates(),
        share in 0.0..1.0,
    ) {
        let now = dates.answered_at + policy.noop_window.mul_f64(share);
        if now < dates.answered_at + policy.noop_window {
            prop_assert_ne!(policy.due_by(&dates, now), Some(Rule::Age));
        }
    }

    #[test]
    fn only_the_survival_rule_refreshes_inside_the_no_op_window(policy in any_policy(), dates in any_dates()) {
        let due_at = policy.plan(&dates, dates.answered_at).due_at;
        if due_at.since(dates.renewed_at) < policy.noop_window {
            prop_assert_eq!(policy.due_by(&dates, due_at), Some(Rule::Survival));
        }
    }

    #[test]
    fn a_token_older_than_the_age_is_due(policy in any_policy(), dates in any_dates()) {
        let now = dates.answered_at + policy.max_age.max(policy.noop_window).max(MIN_INTERVAL) + A_MOMENT;
        prop_assert!(policy.due_by(&dates, now).is_some());
        prop_assert!(policy.plan(&dates, dates.answered_at).due_at <= now);
    }

    #[test]
    fn the_floor_is_respected_and_is_at_most_a_quarter_of_the_lifetime(policy in any_policy(), dates in any_dates()) {
        let floor = policy.floor_for(dates.lifetime());
        prop_assert!(floor <= (dates.lifetime() / 4).max(MIN_INTERVAL));
        prop_assert!(floor <= policy.floor.max(MIN_INTERVAL));
        prop_assert!(floor >= policy.floor.min(dates.lifetime() / 4));
        prop_assert!(policy.survival_at(&dates) >= dates.answered_at + floor);
    }

    #[test]
    fn no_wake_is_planned_before_its_refresh_is_due(policy in any_policy(), dates in wild_dates(), now in any_time()) {
        for next in [policy.plan(&dates, now), policy.after_answer(&dates, now)] {
            prop_assert!(next.wake_at >= next.due_at);
        }
    }

    #[test]
    fn after_an_answer_no_refresh_is_planned_for_now_or_beyond_the_horizon(
        policy in any_policy(),
        dates in wild_dates(),
    ) {
        let next = policy.after_answer(&dates, NOW);
        prop_assert!(next.due_at >= NOW + MIN_INTERVAL);
        prop_assert!(next.due_at <= NOW + HORIZON && next.wake_at <= NOW + HORIZON);
    }

    #[test]
    fn every_wait_after_a_failure_is_clamped_at_both_ends(
        dates in wild_dates(),
        failures in any::<u32>(),
        retry_after in proptest::option::of(any::<u64>().prop_map(seconds)),
    ) {
        let wait = wait_after_failure(&dates, failures, retry_after);
        prop_assert!(wait >= MINUTE);
        prop_assert!(wait <= RETRY_AFTER_CAP + RETRY_AFTER_CAP / 5);
    }

    #[test]
    fn no_clock_or_date_makes_the_rules_panic(
        policy in (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(a, b, c, d)| Policy {
            sleep: seconds(a), max_age: seconds(b), noop_window: seconds(c), floor: seconds(d),
        }),
        dates in wild_dates(),
        now in any_time(),
        failures in any::<u32>(),
    ) {
        let _ = policy.after_answer(&dates, now);
        let _ = policy.due_by(&dates, now);
        let _ = Policy::after_failure(&dates, failures, Some(Duration::MAX), &ada(), now);
        let _ = Policy::after_refusal(failures, &ada(), now);
        let _ = Policy::after_token_limit(failures, &ada(), now);
    }

    #[test]
    fn jitter_adds_up_to_a_fifth_and_is_the_same_for_the_same_inputs(
        who in any::<u32>(),
        failures in 1_u32..50,
        millis in any::<u32>(),
    ) {
        let now = NOW + Duration::from_millis(millis.into());
        let dates = TokenTimes { expires_at: now + 14 * DAY, ..fresh(DAY) };
        let next = Policy::after_failure(&dates, failures, None, &person(who), now);
        let wait = next.due_at.since(now);
        prop_assert!(wait >= retry_step(failures) && wait <= retry_step(failures) + retry_step(failures) / 5);
        prop_assert_eq!(next, Policy::after_failure(&dates, failures, None, &person(who), now));
    }

    #[test]
    fn the_wait_after_a_failure_is_at_most_a_quarter_of_the_life_left(failures in 1_u32..20, left in span(1..=30 * 86_400)) {
        let wait = wait_after_failure(&with_left(left), failures, None);
        let longest = (left / 4).max(MINUTE);
        prop_assert!(wait <= longest + longest / 5);
        prop_assert!(wait >= MINUTE);
    }
}

#[test]
fn the_margin_is_a_tenth_between_five_minutes_and_a_day_and_at_most_half() {
    for (lifetime, margin) in [
        (100 * 366 * DAY, DAY),
        (14 * DAY, DAY),
        (12 * HOUR, minutes(72)),
        (minutes(50), minutes(5)),
        (minutes(20), minutes(5)),
        (minutes(8), minutes(4)),
        (Duration::ZERO, Duration::ZERO),
    ] {
        assert_eq!(Policy::margin(lifetime), margin, "{lifetime:?}");
    }
}

#[test]
fn a_two_week_token_is_refreshed_daily_without_an_early_wake() {
    let next = default_policy().after_answer(&fresh(14 * DAY), NOW);
    assert_eq!(next.due_at, NOW + DAY + A_MOMENT);
    assert_eq!(next.wake_at, NOW + 13 * DAY);
}

#[test]
fn an_age_shorter_than_the_window_waits_for_the_window() {
    let policy = Policy { max_age: HOUR, ..default_policy() };
    assert_eq!(policy.after_answer(&fresh(14 * DAY), NOW).due_at, NOW + DAY + A_MOMENT);
    assert_eq!(policy.due_by(&fresh(14 * DAY), NOW + DAY), None);
    let no_window = Policy { noop_window: Duration::ZERO, ..policy };
    assert_eq!(no_window.after_answer(&fresh(14 * DAY), NOW).due_at, NOW + HOUR + A_MOMENT);
}

#[test]
fn a_twelve_hour_token_is_refreshed_by_survival_inside_the_no_op_window() {
    let (policy, dates) = (default_policy(), fresh(12 * HOUR));
    let due_at = policy.after_answer(&dates, NOW).due_at;
    assert_eq!(due_at, NOW + 12 * HOUR - HOUR - minutes(72));
    assert_eq!(policy.due_by(&dates, due_at), Some(Rule::Survival));
    assert_eq!(policy.due_by(&dates, due_at - seconds(1)), None);
}

#[test]
fn a_sleep_longer_than_the_lifetime_wakes_the_loop_early_but_rarely() {
    let policy = Policy { sleep: 7 * DAY, ..default_policy() };
    let (mut now, mut refreshes) = (NOW, 0);
    while now < NOW + 30 * DAY {
        let dates = TokenTimes { renewed_at: now, answered_at: now, expires_at: now + 12 * HOUR };
        now = policy.after_answer(&dates, now).wake_at;
        assert!(now <= dates.expires_at - minutes(72), "woken before the margin");
        refreshes += 1;
    }
    assert!(refreshes <= 75, "{refreshes} refreshes in 30 days");
}

#[test]
fn an_unchanged_token_near_expiry_is_requested_again_after_the_floor() {
    let dates = TokenTimes { renewed_at: NOW - 14 * DAY, answered_at: NOW, expires_at: NOW + minutes(30) };
    let next = default_policy().after_answer(&dates, NOW);
    assert_eq!(next, Schedule::at(NOW + minutes(5)));
}

#[test]
fn a_slow_answer_with_a_short_lived_token_is_not_due_at_once() {
    let forty_seconds_later = NOW + seconds(40);
    let next = default_policy().after_answer(&fresh(seconds(10)), forty_seconds_later);
    assert_eq!(next, Schedule::at(forty_seconds_later + MIN_INTERVAL));
}

#[test]
fn a_plan_made_late_is_already_due() {
    let policy = Policy { max_age: HOUR, noop_window: Duration::ZERO, ..default_policy() };
    let next = policy.plan(&fresh(14 * DAY), NOW + 2 * HOUR);
    assert_eq!(next.due_at, NOW + HOUR + A_MOMENT);
}

#[test]
fn the_retry_steps_are_the_documented_ones_and_end_at_six_hours() {
    let minutes_of_steps: Vec<u64> = (1..=12).map(|failures| retry_step(failures).as_secs() / 60).collect();
    assert_eq!(minutes_of_steps, [1, 2, 5, 10, 20, 30, 60, 120, 180, 360, 360, 360]);
    assert_eq!(retry_step(0), MINUTE);
    assert_eq!(retry_step(u32::MAX), 6 * HOUR);
    assert!((0..100).all(|failures| retry_step(failures) <= retry_step(failures + 1)));
}

#[test]
fn a_thousand_grants_that_fail_at_once_are_retried_at_different_times() {
    let dates = fresh(14 * DAY);
    let mut buckets: BTreeMap<u128, u32> = BTreeMap::new();
    for n in 0..1000 {
        let at = Policy::after_failure(&dates, 7, None, &person(n), NOW).due_at;
        let extra = at.since(NOW + HOUR).as_millis();
        *buckets.entry(extra * 10 / (HOUR / 5).as_millis()).or_default() += 1;
    }
    assert_eq!(buckets.len(), 10);
    assert!(buckets.values().all(|persons| *persons <= 200), "{buckets:?}");
}

#[test]
fn retry_after_wins_if_it_is_longer_and_is_capped() {
    let dates = fresh(14 * DAY);
    assert_jittered(wait_after_failure(&dates, 1, Some(minutes(30))), minutes(30));
    assert_jittered(wait_after_failure(&dates, 6, Some(minutes(1))), minutes(30));
    assert_jittered(wait_after_failure(&dates, 1, Some(365 * DAY)), RETRY_AFTER_CAP);
    assert_jittered(wait_after_failure(&dates, 1, Some(Duration::ZERO)), MINUTE);
}

#[test]
fn little_life_left_shortens_the_step_down_to_a_minute() {
    assert_jittered(wait_after_failure(&with_left(minutes(40)), 20, None), minutes(6));
    assert_jittered(wait_after_failure(&with_left(minutes(12)), 20, None), minutes(3));
    assert_jittered(wait_after_failure(&with_left(seconds(90)), 20, None), MINUTE);
    assert_jittered(wait_after_failure(&with_left(minutes(40)), 1, None), MINUTE);
}

#[test]
fn an_expired_token_is_requested_every_half_hour() {
    assert_jittered(wait_after_failure(&with_left(Duration::ZERO), 1, None), MINUTE);
    assert_jittered(wait_after_failure(&with_left(Duration::ZERO), 1000, None), minutes(30));
}

#[test]
fn a_refused_grant_is_probed_daily_five_times_and_then_never() {
    for failures in 1..=REPROBES {
        assert_jittered(Policy::after_refusal(failures, &ada(), NOW).due_at.since(NOW), DAY);
    }
    assert_eq!(Policy::after_refusal(REPROBES + 1, &ada(), NOW), Schedule::NEVER);
    assert_eq!(Policy::after_refusal(u32::MAX, &ada(), NOW), Schedule::NEVER);
}

#[test]
fn at_the_token_limit_the_next_try_is_hours_later() {
    assert_jittered(Policy::after_token_limit(1, &ada(), NOW).due_at.since(NOW), 6 * HOUR);
}
