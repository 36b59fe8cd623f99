//! What a consent gave, its dates, and what a verdict makes of them.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::person::CHECK_AFTER_REFUSAL;
use crate::domain::person::CHECK_EVERY;
use crate::domain::person::Person;
use crate::domain::schedule::Dates;
use crate::domain::schedule::Next;
use crate::domain::schedule::Policy;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Issued;
use crate::domain::verdict::Outcome;
use crate::domain::verdict::Verdict;

/// A consent that ends within this time is to be given again. Each refresh moves the end by as much as it is away from the
/// last one, months ahead: one that has come so near is moved no more.
pub const CONSENT_SOON: Duration = Duration::from_secs(30 * 86_400);

/// The two tokens and what Webex said with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// What consumers get.
    pub access_token: Secret,
    /// What only Webex gets.
    pub refresh_token: Secret,
    /// As Webex wrote it; `Bearer`.
    pub token_type: String,
    /// Scopes granted, separated by spaces, if Webex said so.
    pub scope: Option<String>,
    /// When the access token dies.
    pub expires_at: UnixTime,
    /// When the refresh token dies, as last reported. Warned about, never obeyed.
    pub refresh_token_expires_at: Option<UnixTime>,
}

/// Whether a grant can still be renewed without its person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Webex renews it.
    Alive,
    /// Webex said that it will not: the person must consent again.
    ConsentNeeded,
}

/// How a grant is doing, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing to do before its next time.
    Fresh,
    /// A wake will refresh it, or does.
    Due,
    /// The last refresh failed; it is tried again.
    Retrying,
    /// See [`Standing::ConsentNeeded`].
    ConsentNeeded,
}

impl State {
    /// All of them with their words.
    pub const WORDS: [(Self, &'static str); 4] = [
        (Self::Fresh, "fresh"),
        (Self::Due, "due"),
        (Self::Retrying, "retrying"),
        (Self::ConsentNeeded, "consent_needed"),
    ];

    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(state, _)| *state == self).map_or("due", |(_, word)| word)
    }

    /// The state that `word` stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, w)| *w == word).map(|(state, _)| *state)
    }
}

/// What the last refresh, or consent, came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When its answer was judged.
    pub at: UnixTime,
    /// The verdict's word.
    pub outcome: Outcome,
    /// What the verdict said beside it; holds no secret.
    pub detail: String,
}

/// A person's consent as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose.
    pub person: Person,
    /// What it gave.
    pub tokens: Tokens,
    /// When the person consented.
    pub obtained_at: UnixTime,
    /// When the access token last changed.
    pub renewed_at: UnixTime,
    /// When Webex last answered with a live token, changed or not.
    pub answered_at: UnixTime,
    /// Whether it can be renewed.
    pub standing: Standing,
    /// When Webex first refused the grant, or our client for it, since it was last renewed.
    pub refused_since: Option<UnixTime>,
    /// The last attempt.
    pub last: Attempt,
    /// Failures in a row.
    pub failures: u32,
    /// When the loop has to do with it again.
    pub next: Next,
    /// When Webex is asked again for the person's address and name. As with the person, no refresh changes it.
    pub person_check_at: UnixTime,
}

impl Tokens {
    /// What a first answer gave. `None` without a refresh token: nothing could be kept alive with it.
    #[must_use]
    pub fn first(issued: Issued, sent_at: UnixTime) -> Option<Self> {
        let refresh_token = issued.refresh_token.clone()?;
        Some(Self::from_issued(issued, refresh_token, sent_at))
    }

    /// What a refresh gave, on top of what was held: what the answer leaves out stays as it was.
    fn renewed(&self, issued: Issued, sent_at: UnixTime) -> Self {
        let refresh_token = issued.refresh_token.clone().unwrap_or_else(|| self.refresh_token.clone());
        let token_type = issued.token_type.clone().unwrap_or_else(|| self.token_type.clone());
        let mut tokens = Self { token_type, ..Self::from_issued(issued, refresh_token, sent_at) };
        tokens.scope = tokens.scope.or_else(|| self.scope.clone());
        tokens.refresh_token_expires_at = tokens.refresh_token_expires_at.or(self.refresh_token_expires_at);
        tokens
    }

    fn from_issued(issued: Issued, refresh_token: Secret, sent_at: UnixTime) -> Self {
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
    /// A grant as a consent makes it: obtained and renewed when its exchange was sent, `now` planned.
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
            standing: Standing::Alive,
            refused_since: None,
            last: Attempt { at: now, outcome: Outcome::Renewed, detail: String::new() },
            failures: 0,
            next: Next::NEVER,
            person_check_at: sent_at + CHECK_EVERY,
        };
        grant.next = policy.after_answer(&grant.dates(), now);
        grant
    }

    /// The dates that the schedule looks at.
    #[must_use]
    pub fn dates(&self) -> Dates {
        Dates {
            renewed_at: self.renewed_at,
            answered_at: self.answered_at,
            expires_at: self.tokens.expires_at,
        }
    }

    /// How it is doing at `now`.
    #[must_use]
    pub fn state(&self, now: UnixTime) -> State {
        match self.standing {
            Standing::ConsentNeeded => State::ConsentNeeded,
            Standing::Alive if self.failures > 0 => State::Retrying,
            Standing::Alive if self.next.due_at <= now => State::Due,
            Standing::Alive => State::Fresh,
        }
    }

    /// The same after a failure. Only refusals of the client in a row count: another trouble between them may have been
    /// all persons'.
    fn refused_since_after(&self, outcome: Outcome, now: UnixTime) -> Option<UnixTime> {
        match (self.last.outcome, outcome) {
            (Outcome::ClientRefused, Outcome::ClientRefused) => self.first_refusal(now),
            (_, Outcome::ClientRefused) => Some(now),
            _ => self.refused_since,
        }
    }

    /// When it was first refused, if it is refused now. One from the future is of a clock that was set back since.
    fn first_refusal(&self, now: UnixTime) -> Option<UnixTime> {
        self.refused_since.filter(|first| *first <= now).or(Some(now))
    }

    /// When the consent ends, as last reported; `None` also where it has ended, whatever was reported.
    #[must_use]
    pub fn consent_ends_at(&self) -> Option<UnixTime> {
        self.tokens.refresh_token_expires_at.filter(|_| self.standing == Standing::Alive)
    }

    /// The same, if that is soon.
    #[must_use]
    pub fn consent_ends_soon(&self, now: UnixTime) -> Option<UnixTime> {
        self.consent_ends_at().filter(|ends| *ends <= now + CONSENT_SOON)
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

    /// Whether Webex is to be asked again for the person's address and name. A time further ahead than any that is ever
    /// planned is a wrong clock's.
    #[must_use]
    pub fn person_is_due(&self, now: UnixTime) -> bool {
        self.person_check_at <= now || self.person_check_at > now + CHECK_AFTER_REFUSAL
    }

    /// Whether this grant does all that `other` could do in its place: its token lives, Webex renews it, and it has every
    /// scope of the other. Scopes that Webex has not told are none.
    #[must_use]
    pub fn covers(&self, other: &Self, now: UnixTime) -> bool {
        let scopes = |grant: &Self| -> BTreeSet<String> {
            let scopes = grant.tokens.scope.as_deref().unwrap_or_default();
            scopes.split_whitespace().map(str::to_owned).collect()
        };
        let lives = self.standing == Standing::Alive && !self.life_left(now).is_zero();
        lives && scopes(self).is_superset(&scopes(other))
    }

    /// Which of the scopes that are `asked` for it lacks. None where Webex has not said what it has.
    #[must_use]
    pub fn missing_scopes(&self, asked: &[String]) -> Vec<String> {
        let Some(granted) = self.tokens.scope.as_deref() else { return Vec::new() };
        let has = |scope: &str| granted.split_whitespace().any(|one| one == scope);
        asked.iter().filter(|scope| !has(scope)).cloned().collect()
    }

    /// What this grant becomes by `verdict` on a refresh sent at `sent_at` and judged at `now`. A failure changes no
    /// token; only [`Verdict::ConsentNeeded`] changes its standing for the worse.
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
        next.last = Attempt { at: now, outcome: verdict.outcome(), detail: verdict.detail().to_owned() };
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
                    // The clock went ahead since it was renewed. A life as long as that would want more in reserve than
                    // this token ever has, and it would be asked for again and again.
                    next.renewed_at = (next.tokens.expires_at - lifetime).min(sent_at);
                }
                if next.tokens.expires_at <= sent_at && self.tokens.expires_at > now {
                    // It was dead when it came, and ours lives: a good token survives. The refresh token may be new.
                    next.tokens.access_token = self.tokens.access_token.clone();
                    next.tokens.expires_at = self.tokens.expires_at;
                    next.renewed_at = self.renewed_at;
                }
                next.answered_at = sent_at;
                next.standing = Standing::Alive;
                next.refused_since = None;
                next.failures = 0;
                next.next = policy.after_answer(&next.dates(), now);
            }
            // The few slow probes of a grant that has ended are planned: what was asked for between them uses up none.
            _ if self.standing == Standing::ConsentNeeded && now < self.next.due_at => {
                next.failures = self.failures;
            }
            Verdict::ConsentNeeded(_) => {
                if self.standing == Standing::Alive {
                    next.failures = 1;
                }
                next.standing = Standing::ConsentNeeded;
                next.refused_since = next.first_refusal(now);
                next.next = Policy::after_refusal(next.failures, who, now);
            }
            // They stay few and slow, whatever they meet.
            _ if self.standing == Standing::ConsentNeeded => {
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
