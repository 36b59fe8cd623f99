//! When to refresh and when to retry: pure functions of a grant's dates, the policy and `now`.
//!
//! 1. *Survival*: refresh an access token before it can expire between two wakes.
//! 2. *Age*: refresh an access token that is older than `EVENT_LOOP_DAYS`.
//! 3. *No-op window*: the age rule does not refresh while Webex would return the same token.
//! 4. *Retry*: the delay grows with the number of failures and shrinks as the token's expiry approaches.
//! 5. The result is stored with the grant, so that due grants are found by an index.

use std::time::Duration;

use aws_lc_rs::digest;

use crate::domain::person::PersonId;
use crate::domain::time::DAY;
use crate::domain::time::HOUR;
use crate::domain::time::MINUTE;
use crate::domain::time::UnixTime;

/// Minimum interval between planned refreshes of one grant, whatever the settings and Webex's responses are.
pub const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Refreshes are planned at most this far ahead, so that a wrong clock cannot postpone a refresh by years.
pub const HORIZON: Duration = Duration::from_secs(400 * 86_400);

/// Upper limit of `Retry-After`. A longer value is probably a mistake.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(6 * 3600);

/// Delays after the first, second, … failure in a row. The last one repeats. The first ones are short, because most
/// failures end quickly.
const RETRY_STEPS: [Duration; 11] = [
    MINUTE,
    Duration::from_secs(2 * 60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(20 * 60),
    Duration::from_secs(30 * 60),
    HOUR,
    Duration::from_secs(2 * 3600),
    Duration::from_secs(3 * 3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(6 * 3600),
];

/// Maximum delay between tries once the access token has expired, because clients get no token meanwhile.
const DEAD_TOKEN_STEP: Duration = Duration::from_secs(30 * 60);

/// See [`Policy::rescue_window`].
const RESCUE_WINDOW: Duration = Duration::from_secs(600);

/// A call to Webex times out after this time.
const SLOWEST_CALL: Duration = MINUTE;

/// Interval of the tries for a grant that Webex has ended. The grant is tried again because the refusal may be a mistake.
pub const REPROBE_STEP: Duration = DAY;
/// Number of tries for a grant that Webex has ended, one every [`REPROBE_STEP`].
pub const REPROBES: u32 = 5;

/// Delay after a person has reached Webex's limit of access tokens. It is long, because usually only their expiry helps.
pub const TOKEN_LIMIT_STEP: Duration = Duration::from_secs(6 * 3600);

/// The operator's settings for the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `EVENT_LOOP_SLEEP_SECONDS`: the time between regular wakes.
    pub sleep: Duration,
    /// `EVENT_LOOP_DAYS`: a token older than this is refreshed.
    pub max_age: Duration,
    /// `EVENT_LOOP_NOOP_WINDOW_SECONDS`: the age rule does not refresh a token within this time after Webex returned it.
    pub noop_window: Duration,
    /// `EVENT_LOOP_FLOOR_SECONDS`: minimum interval between refreshes by the survival rule and by token requests.
    pub floor: Duration,
}

/// The dates of an access token that the rules use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenTimes {
    /// When the access token last changed.
    pub renewed_at: UnixTime,
    /// When Webex last returned a live token, changed or not. Never before `renewed_at`.
    pub answered_at: UnixTime,
    /// When the access token expires.
    pub expires_at: UnixTime,
}

/// When the event loop handles a grant next. Stored with the grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// From this time on the grant is refreshed at the next wake.
    pub due_at: UnixTime,
    /// The loop ends its sleep early at this time for the grant. Never before `due_at`.
    pub wake_at: UnixTime,
}

impl Schedule {
    /// Never, except on request.
    pub const NEVER: Self = Self { due_at: UnixTime::NEVER, wake_at: UnixTime::NEVER };

    /// Due at `at`; the loop wakes for it.
    #[must_use]
    pub fn at(at: UnixTime) -> Self {
        Self { due_at: at, wake_at: at }
    }

    /// The same schedule, with both times limited to `at`.
    #[must_use]
    pub fn no_later_than(self, at: UnixTime) -> Self {
        Self { due_at: self.due_at.min(at), wake_at: self.wake_at.min(at) }
    }
}

/// Why a grant is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The access token may come within its margin of expiry before the loop wakes again.
    Survival,
    /// The access token is older than `EVENT_LOOP_DAYS` and outside the no-op window.
    Age,
}

impl TokenTimes {
    /// The total lifetime of the access token.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.expires_at.since(self.renewed_at)
    }
}

impl Policy {
    /// The survival margin, the time before expiry that is reserved for retries: a tenth of the lifetime, at least 5 minutes,
    /// at most a day, and never more than half of the lifetime.
    #[must_use]
    pub fn margin(lifetime: Duration) -> Duration {
        (lifetime / 10).clamp(5 * MINUTE, DAY).min(lifetime / 2)
    }

    /// How long before expiry the survival rule refreshes a token: the sleep plus the margin, but never more than half of
    /// the lifetime. Without that limit, a sleep longer than the lifetime would cause constant refreshes.
    #[must_use]
    pub fn lead(&self, lifetime: Duration) -> Duration {
        self.sleep.saturating_add(Self::margin(lifetime)).min(lifetime / 2)
    }

    /// Minimum interval between refreshes by the survival rule or by token requests: `EVENT_LOOP_FLOOR_SECONDS`, but never
    /// more than a quarter of the lifetime. A person may have 750 live tokens (webex-api, "Token limit"), and too many
    /// refreshes would use them up. If a token had already expired when it arrived, its lifetime is no guide, and the
    /// interval is between one and 30 minutes.
    #[must_use]
    pub fn floor_for(&self, lifetime: Duration) -> Duration {
        if lifetime.is_zero() {
            return self.floor.clamp(MINUTE, DEAD_TOKEN_STEP);
        }
        self.floor.min(lifetime / 4).max(MIN_INTERVAL)
    }

    /// Minimum interval between forced refreshes of one grant: a sixtieth of `EVENT_LOOP_FLOOR_SECONDS`, five seconds by
    /// default. Each of them may use one of the tokens that Webex allows a person.
    #[must_use]
    pub fn forced_floor(&self) -> Duration {
        self.floor / 60
    }

    /// The time from which the survival rule requests a refresh.
    #[must_use]
    pub fn survival_at(&self, dates: &TokenTimes) -> UnixTime {
        let lifetime = dates.lifetime();
        (dates.expires_at - self.lead(lifetime)).max(dates.answered_at + self.floor_for(lifetime))
    }

    /// The time from which the age rule requests a refresh. It counts from the last time that Webex returned a token, so
    /// that an unchanged token is not requested again immediately. One millisecond is added because the token must be
    /// older than the age.
    #[must_use]
    pub fn age_at(&self, dates: &TokenTimes) -> UnixTime {
        let age = self.max_age.max(self.noop_window).max(MIN_INTERVAL);
        dates.answered_at.max(dates.renewed_at) + age + Duration::from_millis(1)
    }

    /// The rule by which a grant without failures is due at `now`, if any. Survival takes precedence.
    #[must_use]
    pub fn due_by(&self, dates: &TokenTimes, now: UnixTime) -> Option<Rule> {
        if now >= self.survival_at(dates) {
            Some(Rule::Survival)
        } else if now >= self.age_at(dates) {
            Some(Rule::Age)
        } else {
            None
        }
    }

    /// The schedule after Webex returned a live token, changed or not. It is never immediate, so that neither a slow response
    /// with a short-lived token nor a clock step causes a loop of refreshes.
    #[must_use]
    pub fn after_answer(&self, dates: &TokenTimes, now: UnixTime) -> Schedule {
        let Schedule { due_at, wake_at } = self.plan(dates, now);
        Schedule { due_at: due_at.max(now + MIN_INTERVAL), wake_at: wake_at.max(now + MIN_INTERVAL) }
    }

    /// When the rules request a refresh of a token with these dates. The result may be in the past.
    #[must_use]
    pub fn plan(&self, dates: &TokenTimes, now: UnixTime) -> Schedule {
        let lifetime = dates.lifetime();
        let floor = dates.answered_at + self.floor_for(lifetime);
        let due_at = self.survival_at(dates).min(self.age_at(dates)).min(now + HORIZON);
        let wake_at = (dates.expires_at - Self::margin(lifetime)).max(floor).max(due_at);
        Schedule { due_at, wake_at: wake_at.min(now + HORIZON) }
    }

    /// Whether the token is within its survival margin.
    #[must_use]
    pub fn is_at_risk(dates: &TokenTimes, now: UnixTime) -> bool {
        dates.expires_at.since(now) <= Self::margin(dates.lifetime())
    }

    /// If Webex works for at least this long within the survival margin, the token is renewed before it expires. Ten minutes,
    /// or half of the margin if that is less.
    #[must_use]
    pub fn rescue_window(lifetime: Duration) -> Duration {
        RESCUE_WINDOW.min(Self::margin(lifetime) / 2)
    }

    /// A second refusal confirms the first one only after this time: ten minutes, or a quarter of the margin if that is
    /// less.
    #[must_use]
    pub fn confirm_after(lifetime: Duration) -> Duration {
        RESCUE_WINDOW.min(Self::margin(lifetime) / 4)
    }

    /// The longest delay that the remaining lifetime allows before the next try. Before the survival margin, the next try is
    /// at the start of the margin at the latest. Within the margin, each [`Policy::rescue_window`] contains a try, even if
    /// the previous call takes a minute and the jitter adds a fifth.
    #[must_use]
    pub fn max_retry_delay(dates: &TokenTimes, now: UnixTime) -> Duration {
        let (left, lifetime) = (dates.expires_at.since(now), dates.lifetime());
        if left.is_zero() {
            return DEAD_TOKEN_STEP;
        }
        let before_margin = left.saturating_sub(Self::margin(lifetime)) / 6 * 5;
        let within_margin = Self::rescue_window(lifetime).saturating_sub(SLOWEST_CALL) / 3 * 2;
        before_margin.max(within_margin).min(left / 4).max(MINUTE)
    }

    /// The schedule after a transient failure, the `failures`-th in a row. `retry_after` is the wait that Webex asks for.
    #[must_use]
    pub fn after_failure(
        dates: &TokenTimes,
        failures: u32,
        retry_after: Option<Duration>,
        person: &PersonId,
        now: UnixTime,
    ) -> Schedule {
        let longest = Self::max_retry_delay(dates, now);
        // A wait must not let the token expire. An expired token allows the full wait.
        let most = if dates.expires_at <= now { RETRY_AFTER_CAP } else { longest };
        let wait = retry_after.unwrap_or_default().min(RETRY_AFTER_CAP).min(most);
        Schedule::at(now + jittered(retry_step(failures).min(longest).max(wait), person, failures, now))
    }

    /// The schedule after a refusal of the grant that is not confirmed yet.
    #[must_use]
    pub fn after_unconfirmed_refusal(
        dates: &TokenTimes,
        failures: u32,
        person: &PersonId,
        now: UnixTime,
    ) -> Schedule {
        let step = retry_step(failures).max(Self::confirm_after(dates.lifetime()));
        Schedule::at(now + jittered(step.min(Self::max_retry_delay(dates, now)), person, failures, now))
    }

    /// The schedule for a grant that Webex has ended, after `failures` refusals in a row.
    #[must_use]
    pub fn after_refusal(failures: u32, person: &PersonId, now: UnixTime) -> Schedule {
        if failures > REPROBES {
            return Schedule::NEVER;
        }
        Schedule::at(now + jittered(REPROBE_STEP, person, failures, now))
    }

    /// The schedule after the person has reached Webex's limit of access tokens.
    #[must_use]
    pub fn after_token_limit(failures: u32, person: &PersonId, now: UnixTime) -> Schedule {
        Schedule::at(now + jittered(TOKEN_LIMIT_STEP, person, failures, now))
    }
}

/// The delay after the `failures`-th failure in a row (1 is the first).
#[must_use]
pub fn retry_step(failures: u32) -> Duration {
    let rung = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    RETRY_STEPS.get(rung).or(RETRY_STEPS.last()).copied().unwrap_or(HOUR)
}

/// Adds jitter of up to a fifth to `step`. It never shortens the step, because `Retry-After` is a lower bound. The jitter is
/// derived from a hash of the inputs: equal inputs give equal results, and the tries of different persons are spread.
fn jittered(step: Duration, person: &PersonId, failures: u32, now: UnixTime) -> Duration {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(person.as_str().as_bytes());
    hash.update(&failures.to_be_bytes());
    hash.update(&now.0.to_be_bytes());
    let draw = hash.finish().as_ref().iter().take(2).fold(0_u32, |sum, byte| sum * 256 + u32::from(*byte));
    step + step / 5 * draw / 65_536
}

#[cfg(test)]
mod tests;
