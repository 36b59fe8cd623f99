//! When to refresh, when to retry: pure functions of (dates of a grant, policy, now).
//!
//! 1. *Survival*: before the access token would die between two wakes.
//! 2. *Age*: when it is older than the operator's age.
//! 3. *No-op window*: the age rule keeps out of the time in which Webex answers with the same token.
//! 4. *Retry*: a ladder after failures, shortened as the token's life runs out.
//! 5. The result is stored with the grant, so that what is due is an index look-up.

use std::time::Duration;

use aws_lc_rs::digest;

use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// No two refreshes of one grant are planned closer than this, whatever the settings and whatever Webex says.
pub const SPACING: Duration = Duration::from_secs(1);

/// Nothing is planned further away than this from the moment it is planned, so that a clock that was wrong
/// once cannot put a grant to sleep for years.
pub const HORIZON: Duration = Duration::from_secs(400 * 86_400);

/// `Retry-After` is obeyed up to this: a longer wish is more likely a mistake than a plan.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(6 * 3600);

/// Steps after the first, second, … failure in a row; the last one repeats. Front-loaded: what a moment does not
/// mend, minutes seldom do.
const LADDER: [Duration; 11] = [
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

/// A token that is already dead is asked for at least this often: nobody is served meanwhile.
const DEAD_TOKEN_STEP: Duration = Duration::from_secs(30 * 60);

/// See [`Policy::rescue_window`].
const RESCUE_WINDOW: Duration = Duration::from_secs(600);

/// A call to Webex is given up after this time.
const SLOWEST_CALL: Duration = MINUTE;

/// How often, and how many times, a grant that Webex called dead is tried again: Webex's own SDKs have been wrong.
pub const REPROBE_STEP: Duration = DAY;
/// See [`REPROBE_STEP`].
pub const REPROBES: u32 = 5;

/// At the person's limit of access tokens only their expiry helps, so the back-off is long.
pub const TOKEN_LIMIT_STEP: Duration = Duration::from_secs(6 * 3600);

/// The operator's four numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `EVENT_LOOP_SLEEP_SECONDS`: from wake to wake.
    pub sleep: Duration,
    /// `EVENT_LOOP_DAYS`: a token older than this is refreshed.
    pub max_age: Duration,
    /// `EVENT_LOOP_NOOP_WINDOW_SECONDS`: the age rule never refreshes sooner than this.
    pub noop_window: Duration,
    /// `EVENT_LOOP_FLOOR_SECONDS`: the survival rule and readers keep this distance.
    pub floor: Duration,
}

/// The dates that the rules look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dates {
    /// When the access token last changed.
    pub renewed_at: UnixTime,
    /// When Webex last answered with a live token, changed or not; never before `renewed_at`.
    pub answered_at: UnixTime,
    /// When the access token dies.
    pub expires_at: UnixTime,
}

/// When the loop has to do with a grant again. Stored with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// From here on a wake refreshes it.
    pub due_at: UnixTime,
    /// The loop cuts its nap short for it here; never before `due_at`.
    pub wake_at: UnixTime,
}

impl Next {
    /// Not again, unless somebody asks.
    pub const NEVER: Self = Self { due_at: UnixTime::NEVER, wake_at: UnixTime::NEVER };

    /// Due at `at`, and worth waking for.
    #[must_use]
    pub fn at(at: UnixTime) -> Self {
        Self { due_at: at, wake_at: at }
    }

    /// The same, but due and waking at `at` at the latest.
    #[must_use]
    pub fn no_later_than(self, at: UnixTime) -> Self {
        Self { due_at: self.due_at.min(at), wake_at: self.wake_at.min(at) }
    }
}

/// Why a grant is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Its access token would not outlive the sleep by the margin.
    Survival,
    /// It is older than `EVENT_LOOP_DAYS` and outside the no-op window.
    Age,
}

impl Dates {
    /// How long the access token lives in all.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.expires_at.since(self.renewed_at)
    }
}

impl Policy {
    /// How much life a token keeps in reserve: a tenth of its lifetime, at least 5 minutes, at most a day, and never
    /// more than half of it.
    #[must_use]
    pub fn margin(lifetime: Duration) -> Duration {
        (lifetime / 10).clamp(5 * MINUTE, DAY).min(lifetime / 2)
    }

    /// How long before its end a token is refreshed by the survival rule: the sleep and the margin, but never more than
    /// half of its life (or a sleep longer than the life would refresh without pause).
    #[must_use]
    pub fn lead(&self, lifetime: Duration) -> Duration {
        self.sleep.saturating_add(Self::margin(lifetime)).min(lifetime / 2)
    }

    /// The least distance of two refreshes that the survival rule or readers ask for: `EVENT_LOOP_FLOOR_SECONDS`, never
    /// more than a quarter of the lifetime. A person may have 750 live tokens (webex-api, "Token limit"); an
    /// eager refresher would use them up. A token that was dead when it came says nothing about the next one: minutes.
    #[must_use]
    pub fn floor_for(&self, lifetime: Duration) -> Duration {
        if lifetime.is_zero() {
            return self.floor.clamp(MINUTE, DEAD_TOKEN_STEP);
        }
        self.floor.min(lifetime / 4).max(SPACING)
    }

    /// The least distance of two forced refreshes of one grant: a sixtieth of `EVENT_LOOP_FLOOR_SECONDS`, five seconds by
    /// default. Each may cost one of the tokens that Webex allows a person.
    #[must_use]
    pub fn forced_floor(&self) -> Duration {
        self.floor / 60
    }

    /// From when on the survival rule asks for a refresh.
    #[must_use]
    pub fn survival_at(&self, dates: &Dates) -> UnixTime {
        let lifetime = dates.lifetime();
        (dates.expires_at - self.lead(lifetime)).max(dates.answered_at + self.floor_for(lifetime))
    }

    /// From when on the age rule asks for a refresh. Counted from Webex's last answer, so that an answer that changed
    /// nothing is not followed by another question at once. A millisecond later than the age: older, not as old.
    #[must_use]
    pub fn age_at(&self, dates: &Dates) -> UnixTime {
        let age = self.max_age.max(self.noop_window).max(SPACING);
        dates.answered_at.max(dates.renewed_at) + age + Duration::from_millis(1)
    }

    /// The rule by which a grant without failures is due at `now`, if any: survival first.
    #[must_use]
    pub fn due_by(&self, dates: &Dates, now: UnixTime) -> Option<Rule> {
        if now >= self.survival_at(dates) {
            Some(Rule::Survival)
        } else if now >= self.age_at(dates) {
            Some(Rule::Age)
        } else {
            None
        }
    }

    /// What to plan after Webex gave a live token, changed or not. Never at once: a slow answer with a short-lived token,
    /// or a clock that jumped meanwhile, must not be asked for again in the same moment.
    #[must_use]
    pub fn after_answer(&self, dates: &Dates, now: UnixTime) -> Next {
        let Next { due_at, wake_at } = self.plan(dates, now);
        Next { due_at: due_at.max(now + SPACING), wake_at: wake_at.max(now + SPACING) }
    }

    /// When the rules ask for a grant with these dates; in the past if they do already.
    #[must_use]
    pub fn plan(&self, dates: &Dates, now: UnixTime) -> Next {
        let lifetime = dates.lifetime();
        let floor = dates.answered_at + self.floor_for(lifetime);
        let due_at = self.survival_at(dates).min(self.age_at(dates)).min(now + HORIZON);
        let wake_at = (dates.expires_at - Self::margin(lifetime)).max(floor).max(due_at);
        Next { due_at, wake_at: wake_at.min(now + HORIZON) }
    }

    /// Whether the token's life left is within its survival margin.
    #[must_use]
    pub fn is_at_risk(dates: &Dates, now: UnixTime) -> bool {
        dates.expires_at.since(now) <= Self::margin(dates.lifetime())
    }

    /// For how long Webex must answer properly within the survival margin for the token not to die: ten minutes, or half
    /// of the margin, where that is less.
    #[must_use]
    pub fn rescue_window(lifetime: Duration) -> Duration {
        RESCUE_WINDOW.min(Self::margin(lifetime) / 2)
    }

    /// A refusal of a grant is confirmed by a second one after this time: ten minutes, or a quarter of the margin, where
    /// that is less.
    #[must_use]
    pub fn confirm_after(lifetime: Duration) -> Duration {
        RESCUE_WINDOW.min(Self::margin(lifetime) / 4)
    }

    /// The longest step to the next try that the life left allows. Before the survival margin the try comes at its
    /// beginning at the latest; within it, so soon that each [`Policy::rescue_window`] contains a try, even where the call
    /// before takes a minute and the step is drawn a fifth longer.
    #[must_use]
    pub fn max_retry_delay(dates: &Dates, now: UnixTime) -> Duration {
        let (left, lifetime) = (dates.expires_at.since(now), dates.lifetime());
        if left.is_zero() {
            return DEAD_TOKEN_STEP;
        }
        let before_margin = left.saturating_sub(Self::margin(lifetime)) / 6 * 5;
        let within_margin = Self::rescue_window(lifetime).saturating_sub(SLOWEST_CALL) / 3 * 2;
        before_margin.max(within_margin).min(left / 4).max(MINUTE)
    }

    /// What to plan after the `failures`-th failure in a row that may pass by itself. `retry_after` is Webex's wish.
    #[must_use]
    pub fn after_failure(
        dates: &Dates,
        failures: u32,
        retry_after: Option<Duration>,
        who: &PersonId,
        now: UnixTime,
    ) -> Next {
        let longest = Self::max_retry_delay(dates, now);
        // One person's wait must not cost the token; a dead one has nothing to lose.
        let most = if dates.expires_at <= now { RETRY_AFTER_CAP } else { longest };
        let wait = retry_after.unwrap_or_default().min(RETRY_AFTER_CAP).min(most);
        Next::at(now + jittered(ladder(failures).min(longest).max(wait), who, failures, now))
    }

    /// What to plan after a refusal of the grant that is not confirmed yet.
    #[must_use]
    pub fn after_unconfirmed_refusal(dates: &Dates, failures: u32, who: &PersonId, now: UnixTime) -> Next {
        let step = ladder(failures).max(Self::confirm_after(dates.lifetime()));
        Next::at(now + jittered(step.min(Self::max_retry_delay(dates, now)), who, failures, now))
    }

    /// What to plan for a grant that Webex has called dead `failures` times in a row.
    #[must_use]
    pub fn after_refusal(failures: u32, who: &PersonId, now: UnixTime) -> Next {
        if failures > REPROBES {
            return Next::NEVER;
        }
        Next::at(now + jittered(REPROBE_STEP, who, failures, now))
    }

    /// What to plan at the person's limit of access tokens.
    #[must_use]
    pub fn after_token_limit(failures: u32, who: &PersonId, now: UnixTime) -> Next {
        Next::at(now + jittered(TOKEN_LIMIT_STEP, who, failures, now))
    }
}

/// The ladder's step for the `failures`-th failure in a row (1 is the first).
#[must_use]
pub fn ladder(failures: u32) -> Duration {
    let rung = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    LADDER.get(rung).or(LADDER.last()).copied().unwrap_or(HOUR)
}

/// Up to a fifth longer, never shorter (a `Retry-After` is a lower bound), drawn from a hash of who and when: the same
/// inputs give the same step, different persons spread.
fn jittered(step: Duration, who: &PersonId, failures: u32, now: UnixTime) -> Duration {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(who.as_str().as_bytes());
    hash.update(&failures.to_be_bytes());
    hash.update(&now.0.to_be_bytes());
    let draw = hash.finish().as_ref().iter().take(2).fold(0_u32, |sum, byte| sum * 256 + u32::from(*byte));
    step + step / 5 * draw / 65_536
}

#[cfg(test)]
mod tests;
