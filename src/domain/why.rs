//! Explains why a grant is refreshed or not: the result of every rule, and a summary in one sentence.

use crate::domain::breaker::Pause;
use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::schedule::Policy;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;

/// The result of one rule for one grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleResult {
    /// The rule's name.
    pub rule: &'static str,
    /// `true`: the rule requests a refresh now. `false`: it forbids one now. `None`: it does neither.
    pub refresh: Option<bool>,
    /// When the result changes without further events.
    pub at: Option<UnixTime>,
    /// The reason, as a sentence for operators.
    pub text: String,
}

/// Evaluates every rule for `grant` at `now`.
#[must_use]
pub fn explain(grant: &Grant, policy: &Policy, pause: Option<Pause>, now: UnixTime) -> [RuleResult; 7] {
    [
        survival(grant, policy, now),
        age(grant, policy, now),
        noop_window(grant, policy, now),
        floor(grant, policy, now),
        retry(grant, now),
        breaker(pause),
        standing(grant),
    ]
}

/// Summarizes the results of all rules in one sentence.
#[must_use]
pub fn summary(grant: &Grant, pause: Option<Pause>, now: UnixTime) -> String {
    let (due_at, token) = (grant.next.due_at, token(grant, now));
    if grant.status == GrantStatus::ConsentNeeded {
        let again = if due_at == UnixTime::NEVER {
            "it is not tried again automatically".to_owned()
        } else {
            format!("it is tried once more at {due_at}, in case Webex was wrong")
        };
        return format!(
            "The person must consent again: Webex no longer renews this grant; {again}; {token}."
        );
    }
    if let Some(Pause { cause, until, .. }) = pause {
        return format!("Refreshes of all persons are paused until {until}: {cause}; {token}.");
    }
    let failures = grant.failures;
    if failures > 0 {
        let failed = failed(failures);
        return format!(
            "The refresh {failed} ({}); the next try is at {due_at}; {token}.",
            grant.last.outcome
        );
    }
    if due_at <= now {
        return format!(
            "A refresh has been due since {due_at} and starts when the loop next wakes; {token}."
        );
    }
    format!("All is well: the next refresh is at {due_at}; {token}.")
}

/// Says how long the access token lives.
pub(super) fn token(grant: &Grant, now: UnixTime) -> String {
    let ends = grant.tokens.expires_at;
    if ends <= now {
        format!("the access token expired at {ends}")
    } else {
        format!("the access token is valid until {ends}")
    }
}

/// Describes the number of failures in a row: `failed once`, `failed 3 times in a row`.
#[must_use]
pub fn failed(failures: u32) -> String {
    match failures {
        1 => "failed once".to_owned(),
        _ => format!("failed {failures} times in a row"),
    }
}

/// The result of a rule that requests a refresh from `at` on.
fn asks(rule: &'static str, at: UnixTime, now: UnixTime, says: String) -> RuleResult {
    let asks = now >= at;
    RuleResult { rule, refresh: asks.then_some(true), at: (!asks).then_some(at), text: says }
}

/// The result of a rule that forbids a refresh until `at`.
fn forbids(rule: &'static str, at: UnixTime, now: UnixTime, says: String) -> RuleResult {
    let forbids = now < at;
    RuleResult { rule, refresh: forbids.then_some(false), at: forbids.then_some(at), text: says }
}

fn survival(grant: &Grant, policy: &Policy, now: UnixTime) -> RuleResult {
    let at = policy.survival_at(&grant.dates());
    let ends = grant.tokens.expires_at;
    asks(
        "survival",
        at,
        now,
        format!(
            "the access token expires at {ends}; from {at} on it would not safely outlive the loop's sleep"
        ),
    )
}

fn age(grant: &Grant, policy: &Policy, now: UnixTime) -> RuleResult {
    let at = policy.age_at(&grant.dates());
    let renewed = grant.renewed_at;
    asks(
        "age",
        at,
        now,
        format!(
            "the access token was issued at {renewed}; from {at} on it is older than EVENT_LOOP_DAYS and outside the no-op window"
        ),
    )
}

fn noop_window(grant: &Grant, policy: &Policy, now: UnixTime) -> RuleResult {
    let (answered, at) = (grant.answered_at, grant.answered_at + policy.noop_window);
    forbids(
        "noop_window",
        at,
        now,
        format!(
            "Webex last returned a token at {answered} and returns the same one until {at}; survival, retries and forced refreshes do not wait for that"
        ),
    )
}

fn floor(grant: &Grant, policy: &Policy, now: UnixTime) -> RuleResult {
    let floor = policy.floor_for(grant.dates().lifetime());
    let at = grant.answered_at + floor;
    forbids(
        "floor",
        at,
        now,
        format!(
            "survival and token requests refresh at most once every {} seconds; this does not limit age, retries and forced refreshes",
            floor.as_secs()
        ),
    )
}

fn retry(grant: &Grant, now: UnixTime) -> RuleResult {
    let (failures, at) = (grant.failures, grant.next.due_at);
    let silent = match grant.status {
        GrantStatus::ConsentNeeded => {
            Some("only a new consent helps; a few retries are sent all the same, in case Webex was wrong")
        }
        GrantStatus::Active if failures == 0 => Some("the last refresh did not fail"),
        GrantStatus::Active => None,
    };
    if let Some(says) = silent {
        return RuleResult { rule: "retry", refresh: None, at: None, text: says.to_owned() };
    }
    let (failed, last) = (failed(failures), grant.last.at);
    let says = format!("{failed}, the last time at {last}; the next try is at {at}");
    let wait = now < at;
    RuleResult { rule: "retry", refresh: Some(!wait), at: wait.then_some(at), text: says }
}

fn breaker(pause: Option<Pause>) -> RuleResult {
    match pause {
        Some(Pause { cause, until, .. }) => RuleResult {
            rule: "breaker",
            refresh: Some(false),
            at: Some(until),
            text: format!("refreshes of all persons are paused: {cause}"),
        },
        None => RuleResult {
            rule: "breaker",
            refresh: None,
            at: None,
            text: "refreshes are not paused".to_owned(),
        },
    }
}

fn standing(grant: &Grant) -> RuleResult {
    let at = Some(grant.next.due_at).filter(|at| *at != UnixTime::NEVER);
    match grant.status {
        GrantStatus::Active => RuleResult { rule: "standing", refresh: None, at: None, text: alive(grant) },
        GrantStatus::ConsentNeeded => RuleResult {
            rule: "standing",
            refresh: Some(false),
            at,
            text: "Webex no longer renews this grant: the person must consent again".to_owned(),
        },
    }
}

/// Describes a grant that Webex still renews. A refusal counts as unconfirmed until Webex repeats it.
fn alive(grant: &Grant) -> String {
    let Some(first) = grant.refused_since else {
        let says =
            if grant.failures > 0 { "Webex has not refused this grant" } else { "Webex renews this grant" };
        return says.to_owned();
    };
    let what = match grant.last.outcome {
        Outcome::ClientRefused => {
            return "Webex refused the client id or secret; this grant ends only if Webex accepts them for other persons and \
                    goes on to refuse them here"
                .to_owned();
        }
        Outcome::Refused => "this grant",
        _ => "a refresh of this grant",
    };
    format!(
        "Webex refused {what} at {first}; this is not final until Webex repeats it, and the grant is tried again"
    )
}

/// A grant and a policy for tests.
#[cfg(test)]
pub(crate) mod sample {
    use std::time::Duration;

    use super::*;
    use crate::domain::grant::Tokens;
    use crate::domain::person::Person;
    use crate::domain::person::PersonId;
    use crate::domain::secret::Secret;

    pub(crate) const T0: UnixTime = UnixTime(1_700_000_000_000);

    pub(crate) const POLICY: Policy = Policy {
        sleep: Duration::from_secs(3600),
        max_age: Duration::from_secs(86_400),
        noop_window: Duration::from_secs(86_400),
        floor: Duration::from_secs(300),
    };

    pub(crate) fn days(days: u64) -> Duration {
        Duration::from_secs(days * 86_400)
    }

    /// A grant of a consent at [`T0`]. The access token is valid for 14 days, the refresh token for 90.
    pub(crate) fn grant() -> Grant {
        let tokens = Tokens {
            access_token: Secret::new("access".to_owned()),
            refresh_token: Secret::new("refresh".to_owned()),
            token_type: "Bearer".to_owned(),
            scope: None,
            expires_at: T0 + days(14),
            refresh_token_expires_at: Some(T0 + days(90)),
        };
        Grant::consented(Person::known_by(PersonId::parse("ada").unwrap()), tokens, T0, &POLICY, T0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::sample::POLICY;
    use super::sample::T0;
    use super::sample::days;
    use super::sample::grant;
    use super::*;
    use crate::domain::breaker::Cause;
    use crate::domain::schedule::Schedule;

    fn said(
        grant: &Grant,
        pause: Option<Pause>,
        now: UnixTime,
    ) -> Vec<(&'static str, Option<bool>, Option<UnixTime>)> {
        explain(grant, &POLICY, pause, now)
            .into_iter()
            .map(|word| (word.rule, word.refresh, word.at))
            .collect()
    }

    #[test]
    fn a_new_token_is_not_refreshed_and_each_rule_reports_when_that_changes() {
        let now = T0 + Duration::from_secs(60);
        let dates = grant().dates();
        assert_eq!(
            said(&grant(), None, now),
            [
                ("survival", None, Some(POLICY.survival_at(&dates))),
                ("age", None, Some(POLICY.age_at(&dates))),
                ("noop_window", Some(false), Some(T0 + days(1))),
                ("floor", Some(false), Some(T0 + Duration::from_secs(300))),
                ("retry", None, None),
                ("breaker", None, None),
                ("standing", None, None),
            ]
        );
        assert!(summary(&grant(), None, now).starts_with("All is well"));
    }

    #[test]
    fn the_age_rule_requests_a_refresh_before_the_survival_rule_does() {
        let words = said(&grant(), None, T0 + days(2));
        assert_eq!((words[0].1, words[1].1, words[2].1, words[3].1), (None, Some(true), None, None));
        assert_eq!(said(&grant(), None, T0 + days(13))[0], ("survival", Some(true), None));
        assert!(summary(&grant(), None, T0 + days(2)).contains("has been due since"));
    }

    #[test]
    fn after_a_failure_the_retry_rule_reports_the_next_try() {
        let mut failed = grant();
        failed.failures = 2;
        failed.next = Schedule::at(T0 + days(2));
        assert_eq!(said(&failed, None, T0 + days(1))[4], ("retry", Some(false), Some(T0 + days(2))));
        assert_eq!(said(&failed, None, T0 + days(2))[4], ("retry", Some(true), None));
        assert!(summary(&failed, None, T0).starts_with("The refresh failed 2 times in a row (renewed)"));
        assert!(
            explain(&failed, &POLICY, None, T0)[4]
                .text
                .starts_with("failed 2 times in a row, the last time at ")
        );
        failed.failures = 1;
        assert!(summary(&failed, None, T0).starts_with("The refresh failed once ("));
        assert!(explain(&failed, &POLICY, None, T0)[4].text.starts_with("failed once, the last time at "));
    }

    #[test]
    fn an_unconfirmed_refusal_is_reported_neither_as_renewed_nor_as_final() {
        let (refused_at, retry_at) = (T0 + days(2), T0 + days(2) + Duration::from_secs(600));
        let mut refused = grant();
        refused.failures = 1;
        refused.refused_since = Some(refused_at);
        refused.last.at = refused_at;
        refused.next = Schedule::at(retry_at);
        let cases = [
            (Outcome::Refused, "Webex refused this grant at 2023-11-16T22:13:20Z"),
            (Outcome::Transient, "Webex refused a refresh of this grant at 2023-11-16T22:13:20Z"),
            (Outcome::ClientRefused, "Webex refused the client id or secret"),
        ];
        for (outcome, expected) in cases {
            refused.last.outcome = outcome;
            for at in [refused_at, retry_at] {
                let words = explain(&refused, &POLICY, None, at);
                let all: String = words.iter().map(|word| format!("{}\n", word.text)).collect();
                assert!(words[6].text.starts_with(expected), "{all}");
                assert_eq!((words[6].refresh, words[4].refresh), (None, Some(at >= retry_at)));
                let wrong = ["renews this grant", "no longer renews", "did not fail", "last answered at"];
                assert!(!wrong.iter().any(|wrong| all.contains(wrong)), "{outcome}: {all}");
            }
        }
        refused.refused_since = None;
        refused.last.outcome = Outcome::Transient;
        assert_eq!(explain(&refused, &POLICY, None, retry_at)[6].text, "Webex has not refused this grant");
    }

    #[test]
    fn rules_that_forbid_a_refresh_mention_that_retries_are_exempt() {
        let mut failed = grant();
        failed.failures = 1;
        failed.next = Schedule::at(T0 + Duration::from_secs(60));
        let words = explain(&failed, &POLICY, None, T0 + Duration::from_secs(60));
        assert_eq!(words.each_ref().map(|word| word.refresh)[2..5], [Some(false), Some(false), Some(true)]);
        for word in &words[2..4] {
            assert!(word.text.contains("retries"), "{word:?}");
        }
    }

    fn busy(until: UnixTime) -> Pause {
        Pause { cause: Cause::Busy, since: T0, until, probing: false }
    }

    #[test]
    fn the_breaker_rule_reports_a_pause_with_its_cause() {
        let until = T0 + Duration::from_secs(30);
        let pause = Some(busy(until));
        assert_eq!(said(&grant(), pause, T0)[5], ("breaker", Some(false), Some(until)));
        assert!(summary(&grant(), pause, T0).contains("Webex asks to wait"));
    }

    #[test]
    fn the_summary_of_an_ended_grant_starts_with_the_needed_consent() {
        let mut dead = grant();
        dead.status = GrantStatus::ConsentNeeded;
        dead.failures = 1;
        dead.next = Schedule::at(T0 + days(1));
        assert_eq!(said(&dead, None, T0)[6], ("standing", Some(false), Some(T0 + days(1))));
        let sentence = summary(&dead, Some(busy(T0)), T0 + days(20));
        assert!(sentence.starts_with("The person must consent again") && sentence.contains("expired at"));
        dead.next = Schedule::NEVER;
        assert_eq!(said(&dead, None, T0)[6], ("standing", Some(false), None));
        assert!(summary(&dead, None, T0).contains("not tried again"));
    }
}
