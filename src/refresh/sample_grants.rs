//! Grants for tests of what happens to one grant.

use std::time::Duration;

use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::grant::Tokens;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::schedule::Policy;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const POLICY: Policy =
    Policy { sleep: HOUR, max_age: DAY, noop_window: DAY, floor: Duration::from_secs(300) };

/// The current time.
pub(super) const NOW: UnixTime = UnixTime(1_795_000_000_000);

/// A grant of a consent at `at`, planned at that time.
pub(super) fn consented(at: UnixTime) -> Grant {
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
pub(super) fn dead(at: UnixTime, failures: u32) -> Grant {
    let mut grant = consented(at);
    (grant.status, grant.failures) = (GrantStatus::ConsentNeeded, failures);
    grant.next = Policy::after_refusal(failures, &grant.person.id, at);
    grant
}
