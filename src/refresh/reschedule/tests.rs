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

#[test]
fn changed_settings_replan_grants_without_failures() {
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
fn a_refresh_at_the_start_makes_all_grants_due_that_were_not_refreshed_since() {
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
