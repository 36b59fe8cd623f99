//! Rule 3: no living grant's token expires if Webex answers properly for ten minutes within its survival margin.

use std::time::Duration;

use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::domain::time::UnixTime;

use crate::simulation::invariants::DurableGrant;
use crate::simulation::invariants::InvariantChecker;
use crate::simulation::invariants::IssuedToken;
use crate::simulation::invariants::calls::ReplyClass;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;

/// How long Webex must answer properly.
const WINDOW: Duration = Duration::from_secs(600);

impl InvariantChecker {
    /// The survival margin of this person's token, if it is live: its start and its end.
    pub(crate) fn margin_of(&self, person: usize) -> Option<(UnixTime, UnixTime)> {
        let minted = self.living(person)?;
        Some((minted.expires - Policy::margin(minted.life), minted.expires))
    }

    fn living(&self, person: usize) -> Option<&IssuedToken> {
        let kept = self.people[person].kept.as_ref()?;
        let alive = kept.grant.status == GrantStatus::Active;
        let minted = self.access.get(kept.grant.tokens.access_token.expose())?;
        // After a clock step ahead, tokens seem to expire earlier than they do.
        let believed = kept.grant.tokens.expires_at.0 - (self.wall.0 - self.now.0);
        let right = believed + 60_000 >= minted.expires.0;
        (alive && right && minted.era == self.era).then_some(minted)
    }

    /// The last moment at which this person may still have the present token, if there is no fault until then.
    fn to_be_renewed_by(&self, person: usize) -> Option<(UnixTime, UnixTime)> {
        let (minted, up) = (self.living(person)?, self.up_since?);
        // If the first response with a token was lost, the daemon knows it as one with less life.
        let known = self.people[person].kept.as_ref()?.grant.dates().lifetime();
        let margin = Policy::margin(minted.life.min(known));
        let trouble = self.trouble.max(self.people[person].trouble).max(self.store_trouble);
        let well = up.max(trouble).max(self.clock_changed).max(minted.expires - margin);
        let waits = self.all_wait_until > well;
        let window = if waits { self.wait_for_probes(margin) } else { WINDOW.min(margin / 2) };
        let by = well + window + self.room()?;
        (by <= minted.expires).then_some((well, by))
    }

    /// How much of the margin a wait confirmed by two persons may cost. It is obeyed, except for one probe in each quarter of
    /// the life left, and a probe of a person who is asked to wait as well tells nothing. One more may meet a single fault.
    fn wait_for_probes(&self, margin: Duration) -> Duration {
        let sick = self.people.iter().filter(|seen| seen.sick >= self.now).count();
        let probes = i32::try_from(sick).unwrap() + 2;
        margin - margin.mul_f64(0.75_f64.powi(probes))
    }

    /// The time that the configured rate and concurrency need when all persons are due. `None` if the requests of so
    /// many persons hang that their retries, some six minutes apart, occupy every slot.
    fn room(&self) -> Option<Duration> {
        let persons = u32::try_from(self.people.len()).unwrap();
        let rate = if self.pace.per_second > 0.0 {
            Duration::from_secs_f64(f64::from(persons) / self.pace.per_second)
        } else {
            Duration::ZERO
        };
        // A request takes up to three seconds without faults, and a minute if it hangs.
        let hanging = self.people.iter().filter(|seen| seen.sick >= self.now).count() + 1;
        let at_once = self.pace.concurrency.max(1);
        if hanging > 5 * at_once {
            return None;
        }
        let calls = 3 * SECOND * u32::try_from(self.people.len().div_ceil(at_once)).unwrap();
        let hangs = MINUTE * u32::try_from(hanging / at_once).unwrap();
        Some(rate + calls + hangs)
    }

    /// A fault begins, or the process ends: what should have been renewed by now must have been.
    pub(super) fn check_survival(&mut self) {
        (0..self.people.len()).for_each(|person| self.check_survival_of(person));
    }

    pub(super) fn check_survival_of(&mut self, person: usize) {
        let Some((well, by)) = self.to_be_renewed_by(person) else { return };
        if self.now >= by {
            let grant = self.people[person].kept.as_ref().map(|kept| kept.grant.clone());
            let what = format!(
                "person {person}'s token was to be renewed by {by}: all is well since {well}; {grant:?}"
            );
            self.violate("3 (no living grant's token expires while Webex answers)", &what);
        }
    }

    /// A token expires.
    pub(super) fn expired(&mut self, at: UnixTime, person: usize) {
        let Some(minted) = self.living(person) else { return };
        if minted.expires > at {
            return;
        }
        if minted.expires == at {
            self.check_survival_of(person);
            self.stats.expired += 1;
        }
    }

    /// A `Retry-After` in the response about this person.
    pub(super) fn asked_to_wait(&mut self, person: usize, wish: Duration) {
        let ends = self.now + wish;
        self.retry_afters.retain(|(other, _)| *other != person);
        if let Some(confirmed) = self.retry_afters.iter().map(|(_, end)| (*end).min(ends)).max() {
            self.all_wait_until = self.all_wait_until.max(confirmed);
        }
        self.retry_afters.push((person, ends));
    }

    /// Rule 4: records refusals, before a verdict may become final.
    pub(super) fn note_refusal(&mut self, person: usize, verdict: ReplyClass) {
        let now = self.now;
        match verdict {
            ReplyClass::Good => {
                self.refusals.clear();
                self.all_refused_since = None;
                self.people[person].refused_since = None;
            }
            ReplyClass::Dead | ReplyClass::Client => {
                let kept = self.people[person].kept.as_ref();
                let first = kept.is_some_and(|kept| kept.grant.refused_since.is_none());
                self.people[person].refused_since.get_or_insert(now);
                if first && verdict == ReplyClass::Dead {
                    self.note_new_refusal(person);
                }
            }
            ReplyClass::Other => {}
        }
        self.people[person].all_refused_since = self.all_refused_since;
    }

    fn note_new_refusal(&mut self, person: usize) {
        let now = self.now;
        self.refusals.retain(|(other, at)| *other != person && *at + WINDOW > now);
        self.refusals.push((person, now));
        if self.refusals.len() > 5 && self.all_refused_since.is_none() {
            self.all_refused_since = Some(now);
            self.record("more than five persons are refused within ten minutes");
        }
    }

    /// Rule 4: why a grant may not be called dead yet.
    pub(super) fn ends_too_early(&self, person: usize, life: Duration, dead: bool) -> Option<String> {
        if self.clock_changed + HOUR > self.now {
            return None;
        }
        let Some(since) = self.people[person].refused_since else { return Some("never refused".to_owned()) };
        let waited = self.now.since(since);
        let least = WINDOW.min(Policy::margin(life) / 4);
        if waited < least && !(dead && waited > Duration::ZERO) {
            return Some(format!("{waited:?} after the first refusal"));
        }
        let all = self.people[person].all_refused_since.filter(|at| self.now < *at + DAY);
        all.is_some().then(|| "while all are refused".to_owned())
    }

    /// Rule 3: responses about one person delay another person's refresh by a minute at most.
    pub(super) fn delayed(&self, person: usize, grant: &Grant) -> Option<Duration> {
        let seen = &self.people[person];
        if seen.excused || grant.failures > 0 || grant.status != GrantStatus::Active {
            return None;
        }
        let overdue = self.wall.since(grant.next.wake_at);
        let trouble = self.trouble.max(seen.trouble).max(self.store_trouble).max(self.all_wait_until);
        let well = self.up_since?.max(trouble).max(self.clock_changed);
        let delay = overdue.min(self.now.since(well));
        (delay > MINUTE + self.room()?).then_some(delay)
    }

    /// Rule 3: a dead token is not refreshed before a live one that has been due for a while.
    pub(super) fn overlooked(
        &self,
        claimed: &Grant,
        together: &[usize],
        asked_at: UnixTime,
    ) -> Option<usize> {
        let long_due = asked_at - MINUTE;
        if claimed.tokens.expires_at > asked_at || self.clock_changed + HOUR > self.now {
            return None;
        }
        let waits = |person: &usize| {
            let seen = &self.people[*person];
            let free = seen.fence.is_none() && seen.free_since < asked_at && !together.contains(person);
            seen.kept.as_ref().is_some_and(|DurableGrant { grant, .. }| {
                let due = grant.next.due_at <= long_due && grant.failures == 0;
                free && due && grant.status == GrantStatus::Active && grant.tokens.expires_at > asked_at
            })
        };
        (0..self.people.len()).find(waits)
    }
}
