//! Grants: the tokens of a consent with their dates, and how the result of a refresh changes them.

use std::collections::BTreeSet;
use std::time::Duration;

use strum::EnumString;
use strum::IntoStaticStr;
use strum::VariantNames;

use crate::domain::notice::OutboxEntries;
use crate::domain::person::CHECK_AFTER_REFUSAL;
use crate::domain::person::CHECK_EVERY;
use crate::domain::person::Person;
use crate::domain::refresh_token_end::ConsentDates;
use crate::domain::refresh_token_end::NoticeState;
use crate::domain::refresh_token_end::RefreshTokenEnd;
use crate::domain::schedule::Policy;
use crate::domain::schedule::Schedule;
use crate::domain::schedule::TokenTimes;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;
use crate::domain::verdict::TokenSet;
use crate::domain::verdict::Verdict;

/// A consent that ends within this time must be renewed by the person. Usually each refresh moves the end months ahead. If
/// the end has come this near, refreshes do not move it.
pub const CONSENT_SOON: Duration = Duration::from_secs(30 * 86_400);

/// The two tokens and what Webex said about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// The access token, which clients get.
    pub access_token: Secret,
    /// The refresh token, which only Webex gets.
    pub refresh_token: Secret,
    /// The type as Webex wrote it, such as `Bearer`.
    pub token_type: String,
    /// The granted scopes, separated by spaces, if Webex named them.
    pub scope: Option<String>,
    /// When the access token expires.
    pub expires_at: UnixTime,
    /// When the refresh token expires, as Webex last reported. It causes warnings, but refreshes continue after it.
    pub refresh_token_expires_at: Option<UnixTime>,
}

/// Whether a grant can be renewed without a new consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantStatus {
    /// Webex renews the grant.
    Active,
    /// Webex no longer renews the grant. The person must consent again.
    ConsentNeeded,
}

/// The state of a grant in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum GrantState {
    /// No refresh is due.
    Fresh,
    /// A refresh is due or under way.
    Due,
    /// The last refresh failed and will be repeated.
    Retrying,
    /// See [`GrantStatus::ConsentNeeded`].
    ConsentNeeded,
}

impl GrantState {
    /// The word of the state.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The state of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        word.parse().ok()
    }
}

/// The result of the last refresh or consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastAttempt {
    /// When the response was judged.
    pub at: UnixTime,
    /// The outcome in one word.
    pub outcome: Outcome,
    /// The explanation of the outcome. It contains no secret.
    pub detail: String,
}

/// The stored grant of a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// The person.
    pub person: Person,
    /// The tokens.
    pub tokens: Tokens,
    /// When the person consented.
    pub obtained_at: UnixTime,
    /// When the access token last changed.
    pub renewed_at: UnixTime,
    /// When Webex last responded with a live token, changed or not.
    pub answered_at: UnixTime,
    /// Whether the grant can be renewed.
    pub status: GrantStatus,
    /// When Webex first refused the grant, or the client for this grant, since it was last renewed.
    pub refused_since: Option<UnixTime>,
    /// The last attempt.
    pub last: LastAttempt,
    /// The number of failures in a row.
    pub failures: u32,
    /// When the event loop refreshes the grant next.
    pub next: Schedule,
    /// When Webex is asked again for the person's address, name and organization. Like the person, refreshes
    /// do not change it.
    pub person_check_at: UnixTime,
    /// What was told of it.
    pub notice_state: NoticeState,
    /// What its last change makes true: written with it to the outbox and the history, and never read back with it.
    pub outbox_entries: OutboxEntries,
}

impl Tokens {
    /// The tokens of a first response. `None` if it has no refresh token, because such tokens cannot be kept alive.
    #[must_use]
    pub fn first(issued: TokenSet, sent_at: UnixTime) -> Option<Self> {
        let refresh_token = issued.refresh_token.clone()?;
        Some(Self::from_issued(issued, refresh_token, sent_at))
    }

    /// These tokens, updated with the response to a refresh. Values that the response omits stay as they were.
    fn renewed(&self, issued: TokenSet, sent_at: UnixTime) -> Self {
        let refresh_token = issued.refresh_token.clone().unwrap_or_else(|| self.refresh_token.clone());
        let token_type = issued.token_type.clone().unwrap_or_else(|| self.token_type.clone());
        let mut tokens = Self { token_type, ..Self::from_issued(issued, refresh_token, sent_at) };
        tokens.scope = tokens.scope.or_else(|| self.scope.clone());
        tokens.refresh_token_expires_at = tokens.refresh_token_expires_at.or(self.refresh_token_expires_at);
        tokens
    }

    fn from_issued(issued: TokenSet, refresh_token: Secret, sent_at: UnixTime) -> Self {
        Self {
            access_token: issued.access_token,
            refresh_token,
            token_type: issued.token_type.unwrap_or_else(|| "Bearer".to_owned()),
            scope: issued.scope,
            expires_at: sent_at + issued.expires_in,
            refresh_token_expires_at: issued.refresh_token_expires_in.map(|span| sent_at + span),
        }
    }
}

impl Grant {
    /// The grant of a new consent. It was obtained and renewed when the exchange was sent, and is planned at `now`.
    #[must_use]
    pub fn consented(
        person: Person,
        tokens: Tokens,
        sent_at: UnixTime,
        policy: &Policy,
        now: UnixTime,
    ) -> Self {
        let mut grant = Self {
            person,
            tokens,
            obtained_at: sent_at,
            renewed_at: sent_at,
            answered_at: sent_at,
            status: GrantStatus::Active,
            refused_since: None,
            last: LastAttempt { at: now, outcome: Outcome::Renewed, detail: String::new() },
            failures: 0,
            next: Schedule::NEVER,
            person_check_at: sent_at + CHECK_EVERY,
            notice_state: NoticeState::default(),
            outbox_entries: OutboxEntries::default(),
        };
        grant.next = policy.after_answer(&grant.dates(), now);
        grant
    }

    /// The dates that the schedule needs.
    #[must_use]
    pub fn dates(&self) -> TokenTimes {
        TokenTimes {
            renewed_at: self.renewed_at,
            answered_at: self.answered_at,
            expires_at: self.tokens.expires_at,
        }
    }

    /// The state at `now`.
    #[must_use]
    pub fn state(&self, now: UnixTime) -> GrantState {
        match self.status {
            GrantStatus::ConsentNeeded => GrantState::ConsentNeeded,
            GrantStatus::Active if self.failures > 0 => GrantState::Retrying,
            GrantStatus::Active if self.next.due_at <= now => GrantState::Due,
            GrantStatus::Active => GrantState::Fresh,
        }
    }

    /// `refused_since` after a failure. Only consecutive refusals of the client count, because another failure between them
    /// may have concerned all persons.
    fn refused_since_after(&self, outcome: Outcome, now: UnixTime) -> Option<UnixTime> {
        match (self.last.outcome, outcome) {
            (Outcome::ClientRefused, Outcome::ClientRefused) => self.first_refusal(now),
            (_, Outcome::ClientRefused) => Some(now),
            _ => self.refused_since,
        }
    }

    /// `refused_since` after a refusal. A date in the future is ignored, because the clock was set back since.
    fn first_refusal(&self, now: UnixTime) -> Option<UnixTime> {
        self.refused_since.filter(|first| *first <= now).or(Some(now))
    }

    /// When the consent ends, as Webex last reported. `None` if it has ended already.
    #[must_use]
    pub fn consent_ends_at(&self) -> Option<UnixTime> {
        self.tokens.refresh_token_expires_at.filter(|_| self.status == GrantStatus::Active)
    }

    /// When the consent ends, unless refreshes move the end, and do so still: such a consent does not end by itself.
    #[must_use]
    pub fn expected_consent_end(&self, now: UnixTime) -> Option<UnixTime> {
        let moves = |ends_at: &UnixTime| {
            let dates = ConsentDates { ends_at: *ends_at, answered_at: self.answered_at };
            self.notice_state.refresh_token_end == RefreshTokenEnd::Moves
                && !self.notice_state.is_counting_down(&dates, now)
        };
        self.consent_ends_at().filter(|ends_at| !moves(ends_at))
    }

    /// The same, if that is within [`CONSENT_SOON`].
    #[must_use]
    pub fn consent_ends_soon(&self, now: UnixTime) -> Option<UnixTime> {
        self.expected_consent_end(now).filter(|ends| *ends <= now + CONSENT_SOON)
    }

    /// How long ago the access token last changed.
    #[must_use]
    pub fn age(&self, now: UnixTime) -> Duration {
        now.since(self.renewed_at)
    }

    /// How long the access token still lives.
    #[must_use]
    pub fn life_left(&self, now: UnixTime) -> Duration {
        self.tokens.expires_at.until(now)
    }

    /// Whether to ask Webex again for the person's address, name and organization. A time further ahead than
    /// any plan counts as due, because it was written by a wrong clock.
    #[must_use]
    pub fn person_is_due(&self, now: UnixTime) -> bool {
        self.person_check_at <= now || self.person_check_at > now + CHECK_AFTER_REFUSAL
    }

    /// Whether this grant can replace `other`: its token is alive, Webex renews it, and it has every scope of `other`. If
    /// Webex has not named the scopes of a grant, it counts as one without scopes.
    #[must_use]
    pub fn covers(&self, other: &Self, now: UnixTime) -> bool {
        let scopes = |grant: &Self| -> BTreeSet<String> {
            let scopes = grant.tokens.scope.as_deref().unwrap_or_default();
            scopes.split_whitespace().map(str::to_owned).collect()
        };
        let lives = self.status == GrantStatus::Active && !self.life_left(now).is_zero();
        lives && scopes(self).is_superset(&scopes(other))
    }

    /// The requested scopes that the grant lacks. Empty if Webex has not named its scopes.
    #[must_use]
    pub fn missing_scopes(&self, asked: &[String]) -> Vec<String> {
        let Some(granted) = self.tokens.scope.as_deref() else { return Vec::new() };
        let has = |scope: &str| granted.split_whitespace().any(|one| one == scope);
        asked.iter().filter(|scope| !has(scope)).cloned().collect()
    }

    /// The grant after a refresh that was sent at `sent_at` and judged as `verdict` at `now`. A failure changes no token.
    /// Only [`Verdict::ConsentNeeded`] ends the grant.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "the facts of one judgement")]
    pub fn after(
        &self,
        verdict: Verdict,
        retry_after: Option<Duration>,
        sent_at: UnixTime,
        policy: &Policy,
        now: UnixTime,
    ) -> Self {
        let mut next = self.clone();
        let sent_at = sent_at.min(now);
        next.last = LastAttempt { at: now, outcome: verdict.outcome(), detail: verdict.detail().to_owned() };
        next.failures = self.failures.saturating_add(1);
        let who = &self.person.id;
        match verdict {
            Verdict::Renewed(issued) | Verdict::Unchanged(issued) => {
                if next.last.outcome == Outcome::Renewed {
                    next.renewed_at = sent_at;
                }
                next.tokens = self.tokens.renewed(issued, sent_at);
                let lifetime = self.dates().lifetime();
                if next.dates().lifetime() > lifetime * 2 {
                    // The clock went ahead since the token was renewed. With such a long lifetime, the schedule would require
                    // more life left than this token ever has, and would refresh it again and again.
                    next.renewed_at = (next.tokens.expires_at - lifetime).min(sent_at);
                }
                if next.tokens.expires_at <= sent_at && self.tokens.expires_at > now {
                    // The new access token is dead already and the stored one is alive, so the stored one stays. The refresh
                    // token may be new.
                    next.tokens.access_token = self.tokens.access_token.clone();
                    next.tokens.expires_at = self.tokens.expires_at;
                    next.renewed_at = self.renewed_at;
                }
                next.answered_at = sent_at;
                next.status = GrantStatus::Active;
                next.refused_since = None;
                next.failures = 0;
                next.next = policy.after_answer(&next.dates(), now);
            }
            // The few probes of an ended grant are planned. Refreshes on demand between them do not count.
            _ if self.status == GrantStatus::ConsentNeeded && now < self.next.due_at => {
                next.failures = self.failures;
            }
            Verdict::ConsentNeeded(_) => {
                if self.status == GrantStatus::Active {
                    next.failures = 1;
                }
                next.status = GrantStatus::ConsentNeeded;
                next.refused_since = next.first_refusal(now);
                next.next = Policy::after_refusal(next.failures, who, now);
            }
            // Probes of an ended grant stay rare, whatever their result.
            _ if self.status == GrantStatus::ConsentNeeded => {
                next.next = Policy::after_refusal(next.failures, who, now);
            }
            Verdict::Refused(_) => {
                next.refused_since = next.first_refusal(now);
                next.next = Policy::after_unconfirmed_refusal(&self.dates(), next.failures, who, now);
            }
            Verdict::TokenLimit => {
                let long = Policy::after_token_limit(next.failures, who, now);
                next.next = long.no_later_than(now + Policy::max_retry_delay(&self.dates(), now));
            }
            Verdict::ClientRefused(_) | Verdict::Busy(_) | Verdict::Locked(_) | Verdict::Transient(_) => {
                next.refused_since = self.refused_since_after(next.last.outcome, now);
                next.next = Policy::after_failure(&self.dates(), next.failures, retry_after, who, now);
            }
        }
        next
    }
}

#[cfg(test)]
mod tests;
