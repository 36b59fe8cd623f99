//! The test hook: it stores a person at start, with tokens so old that they are refreshed at once.

use std::time::Duration;

use crate::consent::service::ConsentService;
use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::grant::LastAttempt;
use crate::domain::grant::Tokens;
use crate::domain::notice::OutboxEntries;
use crate::domain::person::CHECK_EVERY;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::refresh_token_end::NoticeState;
use crate::domain::schedule::Schedule;
use crate::domain::secret::Secret;
use crate::domain::verdict::Outcome;
use crate::store::StoreError;

/// The person and tokens of `TEST_PERSON_ID`, `TEST_ACCESS_TOKEN` and `TEST_REFRESH_TOKEN`.
#[derive(Clone, Debug)]
pub struct TestHook {
    /// The person's id.
    pub person: PersonId,
    /// An access token of the person, expired or not.
    pub access_token: Secret,
    /// A refresh token of the person.
    pub refresh_token: Secret,
}

/// What the hook did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestHookError {
    /// It stored the person with the tokens of the settings.
    Put,
    /// It aged the person's active grant. The stored tokens are kept, because those of the settings may be
    /// outdated.
    Aged,
}

/// Minimum age that the hook gives to tokens.
const OLD: Duration = Duration::from_secs(2 * 86_400);

impl ConsentService {
    /// Stores the hook's person, or ages the stored grant.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn hook(&self, hook: TestHook) -> Result<TestHookError, StoreError> {
        let stored = self.context.store.find(hook.person.clone()).await?;
        let alive = stored.filter(|grant| grant.status == GrantStatus::Active);
        let did = if alive.is_some() { TestHookError::Aged } else { TestHookError::Put };
        let grant = alive.unwrap_or_else(|| self.grant_from_tokens(hook));
        let person = grant.person.id.clone();
        self.context.store.save_consent(self.aged(grant)).await?;
        self.context.cache.invalidate(&person);
        self.context.wake.notify();
        Ok(did)
    }

    /// Builds the grant. The lifetime of the access token is unknown, so it counts as expired.
    fn grant_from_tokens(&self, hook: TestHook) -> Grant {
        let now = self.context.clock.now();
        Grant {
            person: Person::known_by(hook.person),
            tokens: Tokens {
                access_token: hook.access_token,
                refresh_token: hook.refresh_token,
                token_type: "Bearer".to_owned(),
                scope: None,
                expires_at: now,
                refresh_token_expires_at: None,
            },
            obtained_at: now,
            renewed_at: now,
            answered_at: now,
            status: GrantStatus::Active,
            refused_since: None,
            last: LastAttempt {
                at: now,
                outcome: Outcome::Renewed,
                detail: "stored by the test hook".to_owned(),
            },
            failures: 0,
            next: Schedule::NEVER,
            person_check_at: now + CHECK_EVERY,
            notice_state: NoticeState::default(),
            outbox_entries: OutboxEntries::default(),
        }
    }

    fn aged(&self, mut grant: Grant) -> Grant {
        let now = self.context.clock.now();
        let age = OLD.max(self.context.policy.max_age).max(self.context.policy.noop_window)
            + Duration::from_secs(60);
        grant.renewed_at = now - age;
        grant.answered_at = now - age;
        grant.last.at = now;
        grant.failures = 0;
        grant.next = Schedule::at(now);
        grant
    }
}
