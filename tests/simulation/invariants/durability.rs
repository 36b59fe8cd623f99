//! What the store has on disk after each call.

use std::time::Duration;

use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::grant::LastAttempt;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::store::Claim;
use webex_tokend::store::Committed;
use webex_tokend::store::Fence;
use webex_tokend::store::Lease;
use webex_tokend::store::Saved;

use crate::simulation::invariants::DurableGrant;
use crate::simulation::invariants::InvariantChecker;
use crate::simulation::invariants::UncommittedRefresh;
use crate::simulation::invariants::calls::ReplyClass;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;

/// How many replaced tokens of one person readers may still have.
const MAX_GONE_TOKENS: usize = 12;

/// Who claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimedBy {
    Loop,
    Caller,
}

impl InvariantChecker {
    /// Any store call: rule 8, and that the loop does not spin.
    pub(crate) fn store_call(&mut self, name: &str) {
        if self.still.0 == self.now {
            self.still.1 += 1;
        } else {
            self.still = (self.now, 0);
        }
        if self.still.1 > 20_000 {
            self.violate("9 (bounds)", &format!("20,000 verbs of the store at one moment, {name} the last"));
            panic!("the loop spins");
        }
        let (hour, done, granted) = &mut self.calls;
        if *hour + HOUR <= self.now {
            let wakes = 3600 / self.policy.sleep.as_secs().max(1);
            (*hour, *done, *granted) = (self.now, 0, 720 + 12 * wakes);
        }
        *done += 1;
        if *done > *granted {
            let what =
                format!("{done} verbs of the store within an hour, {name} the last; {granted} have a reason");
            self.violate("8 (cost of a wake)", &what);
        }
        self.nothing_is_lost();
    }

    /// So many more store calls have a reason.
    pub(crate) fn allow_calls(&mut self, count: u64) {
        self.calls.2 += count;
    }

    pub(crate) fn store_failed(&mut self, call: &str) {
        self.stats.store_errors += 1;
        self.allow_calls(12);
        self.record(&format!("the store fails: {call}"));
        self.store_trouble(self.now);
    }

    /// A claim, before its reply.
    pub(crate) fn claimed(&mut self, by: ClaimedBy, claim: &Claim, lease: &Lease) {
        let person = self.person(&claim.grant.person.id);
        self.record(&format!("{by:?} claims person {person}: {:?}", claim.fence));
        self.allow_calls(12);
        if self.in_flight.values().any(|(other, _)| *other == person) {
            self.violate(
                "1 (no two refreshes of one grant)",
                &format!("person {person} is claimed while a refresh runs"),
            );
        }
        if let Some((_, end)) = self.people[person].fence {
            // A released claim.
            self.people[person].excused = true;
            if end > self.wall && self.clock_changed + 10 * MINUTE < self.now {
                self.violate(
                    "1 (no two refreshes of one grant)",
                    &format!("person {person} is claimed until {end}"),
                );
            }
        }
        if let Err(why) = self.reason(by, person, &claim.grant) {
            self.violate(
                "5 (no-op window, floor, back-off)",
                &format!("person {person}, {by:?}: {why}; {:?}", claim.grant),
            );
        }
        if by == ClaimedBy::Loop
            && let Some(delay) = self.delayed(person, &claim.grant)
        {
            let what = format!("person {person} waited {delay:?}; {:?}", claim.grant);
            self.violate("3 (one person delays another)", &what);
        }
        self.people[person].fence = Some((claim.fence, lease.end));
        self.people[person].overtaken = false;
    }

    /// What the loop claimed in one call, made at that time.
    pub(crate) fn claimed_together(&mut self, claims: &[Claim], asked_at: UnixTime) {
        let together: Vec<usize> = claims.iter().map(|claim| self.person(&claim.grant.person.id)).collect();
        let overlooked = claims.iter().find_map(|claim| self.overlooked(&claim.grant, &together, asked_at));
        if let Some(person) = overlooked {
            let what = format!(
                "a dead token is refreshed before person {person}'s: {:?}, together: {together:?}, claimed: {claims:?}",
                self.people[person].kept
            );
            self.violate("3 (the living first)", &what);
        }
    }

    /// Rules 5 and 9: why this grant may be refreshed now, written independently of the schedule.
    fn reason(&self, by: ClaimedBy, person: usize, grant: &Grant) -> Result<(), String> {
        let (seen, now, policy) = (&self.people[person], self.wall, &self.policy);
        let lately = |at: Option<UnixTime>| at.is_some_and(|at| at + 5 * MINUTE > self.now);
        if seen.excused || by == ClaimedBy::Caller && lately(seen.forced_at) {
            return Ok(());
        }
        let lifetime = Duration::from_millis(
            (grant.tokens.expires_at.0 - grant.renewed_at.0).max(0).try_into().unwrap(),
        );
        let left = grant.tokens.expires_at.until(now);
        let age = now.since(grant.answered_at);
        let old = now.since(grant.renewed_at);
        let floor = policy.floor.min(lifetime / 4).max(SECOND);
        let failed = now.since(grant.last.at);
        if by == ClaimedBy::Caller {
            let renew = lately(seen.renewed_at);
            return match grant.status {
                GrantStatus::ConsentNeeded if !renew => Err("no caller may request a dead grant".to_owned()),
                // While a reader of an expired token waits, a second refusal confirms the first one.
                GrantStatus::Active if grant.last.outcome == Outcome::Refused && left.is_zero() => Ok(()),
                _ if grant.failures > 0 && failed < 30 * SECOND => Err(format!("it failed {failed:?} ago")),
                GrantStatus::Active if renew && age >= policy.noop_window => Ok(()),
                GrantStatus::Active if age < floor => Err(format!("within the floor: answered {age:?} ago")),
                GrantStatus::Active if old < policy.noop_window && left > lifetime / 2 => {
                    Err(format!("within the window: renewed {old:?} ago"))
                }
                _ => Ok(()),
            };
        }
        if grant.status == GrantStatus::ConsentNeeded {
            // A refresh that a caller requested is no probe.
            let early = seen.probed_at.map(|at| now.since(at)).filter(|since| *since < DAY);
            return early.map_or(Ok(()), |since| Err(format!("probed again after {since:?}")));
        }
        if grant.failures > 0 {
            // A failure that is dated before the step of the clock was noticed is shifted with all other dates: one try more.
            let clock_set_lately = self.clock_changed + 2 * MINUTE > self.now;
            return if failed >= MINUTE || clock_set_lately {
                Ok(())
            } else {
                Err(format!("it failed {failed:?} ago"))
            };
        }
        let margin = (lifetime / 10).max(5 * MINUTE).min(DAY).min(lifetime / 2);
        let survival = left <= (policy.sleep + margin).min(lifetime / 2) && age >= floor;
        if survival || age > policy.max_age.max(policy.noop_window) {
            return Ok(());
        }
        Err(format!("answered {age:?} ago, lives {left:?}, {margin:?} of it in reserve, floor {floor:?}"))
    }

    /// A commit, at the moment at which it is durable or was refused.
    pub(crate) fn committed(&mut self, fence: Fence, grant: &Grant, result: Committed) {
        let person = self.person(&grant.person.id);
        let LastAttempt { outcome, detail, .. } = &grant.last;
        let access = grant.tokens.access_token.expose().get(..8).unwrap_or_default();
        self.record(&format!(
            "commit for person {person}, {fence:?}, {outcome} ({detail}), token {access}: {result:?}"
        ));
        let in_force = self.people[person].fence.is_some_and(|(force, _)| force == fence);
        if result == Committed::Superseded {
            if in_force {
                self.violate("nothing is lost", &format!("person {person}: a commit in force was put aside"));
            }
            self.people[person].pending.clear();
            return;
        }
        if !in_force {
            self.violate(
                "6 (a consent wins)",
                &format!("person {person}: an outcome was kept that was overtaken"),
            );
            return;
        }
        self.stats.commits += 1;
        self.check_commit(person, grant);
        let tokens = &grant.tokens;
        self.people[person].pending.retain(|pending| {
            let same = pending.access == tokens.access_token.expose();
            let other = |refresh: &String| refresh != tokens.refresh_token.expose();
            !pending.is_dead && (!same || pending.refresh.as_ref().is_some_and(other))
        });
        self.people[person].fence = None;
        self.people[person].excused = false;
        self.set_durable(person, Some(grant.clone()));
    }

    /// A released claim.
    pub(crate) fn given_back(&mut self, id: &PersonId, fence: Fence, result: Committed) {
        let person = self.person(id);
        self.record(&format!("the claim of person {person} is given back, {fence:?}: {result:?}"));
        if self.in_flight.values().any(|(other, _)| *other == person) {
            self.violate(
                "1 (no two refreshes of one grant)",
                &format!("person {person} is given back in flight"),
            );
        }
        let in_force = self.people[person].fence.is_some_and(|(force, _)| force == fence);
        if in_force != (result == Committed::Kept) {
            self.violate(
                "6 (a consent wins)",
                &format!("person {person}: given back, in force {in_force}, {result:?}"),
            );
        }
        if in_force {
            self.people[person].fence = None;
            self.people[person].free_since = UnixTime::NEVER;
        }
    }

    fn check_commit(&mut self, person: usize, grant: &Grant) {
        let Some(before) = self.people[person].kept.clone() else {
            return self.violate("4", &format!("person {person} was forgotten, and an outcome was kept"));
        };
        let access = grant.tokens.access_token.expose();
        // Webex may merge an old consent with a new one of which the daemon does not know; then the refresh of the old
        // one returns the tokens of the new one.
        let refresh = Some(grant.tokens.refresh_token.expose());
        let is_brought = |pending: &&UncommittedRefresh| {
            pending.access == access || pending.is_dead && pending.refresh.as_deref() == refresh
        };
        let brought = self.people[person].pending.iter().find(is_brought);
        let chain = match brought {
            Some(pending) if self.keeps_chain => Some(pending.chain),
            _ => self.refresh.get(grant.tokens.refresh_token.expose()).map(|(_, chain)| *chain),
        };
        if chain != Some(before.chain) {
            let what =
                format!("person {person}: consent {} gave way to the tokens of {chain:?}", before.chain);
            self.violate("6 (a consent wins)", &what);
        }
        let seen = &self.people[person];
        let ends = before.grant.status == GrantStatus::Active && grant.status == GrantStatus::ConsentNeeded;
        let truly = seen.last_reply == Some(ReplyClass::Dead)
            || seen.last_reply == Some(ReplyClass::Client) && seen.blamed;
        if ends {
            self.stats.ended += 1;
        }
        if ends && !truly {
            let what = format!("person {person} ended by {:?}: {}", seen.last_reply, grant.last.detail);
            self.violate("4 (a grant ends only by Webex's word)", &what);
        }
        let life = before.grant.dates().lifetime();
        let dead = before.grant.life_left(self.wall).is_zero();
        if ends && let Some(why) = self.ends_too_early(person, life, dead) {
            self.violate("4 (a grant ends only by Webex's word)", &format!("person {person} ended {why}"));
        }
        let changed = before.grant.tokens.access_token != grant.tokens.access_token;
        if changed && self.people[person].last_reply != Some(ReplyClass::Good) {
            self.violate("nothing is lost", &format!("person {person}'s token changed by a failure"));
        }
        let planned = before.grant.status == GrantStatus::Active || grant.last.at >= before.grant.next.due_at;
        if planned && grant.status == GrantStatus::ConsentNeeded {
            self.people[person].probed_at = Some(grant.last.at);
        }
        let excused = self.people[person].excused;
        if let Some(why) = self.bad_next_try(&before.grant, grant, excused) {
            self.violate("9 (bounds)", &format!("person {person}: {why}"));
        }
        self.check_expiry(person, grant);
    }

    /// A consent, at the moment at which it is durable, or gave way to a later one.
    pub(crate) fn consented(&mut self, grant: &Grant, saved: Saved) {
        let person = self.person(&grant.person.id);
        let Some((owner, chain)) = self.refresh.get(grant.tokens.refresh_token.expose()).copied() else {
            return self.violate("4", &format!("person {person}: a refresh token that Webex never gave"));
        };
        self.record(&format!("consent {chain} of person {person} is kept"));
        if owner != person {
            self.violate("4", &format!("person {person} got the tokens of person {owner}"));
        }
        self.stats.consents += 1;
        self.allow_calls(12);
        if saved == Saved::Older {
            let kept = self.people[person].kept.as_ref();
            if kept.is_none_or(|kept| kept.grant.obtained_at <= grant.obtained_at) {
                self.violate("6", &format!("person {person}: consent {chain} gave way to none newer"));
            }
            self.people[person].gave_way.insert(chain);
            return;
        }
        self.check_expiry(person, grant);
        let seen = &mut self.people[person];
        seen.saves.insert(chain);
        seen.epoch += 1;
        seen.overtaken |= seen.fence.is_some();
        (seen.fence, seen.excused) = (None, false);
        seen.pending.clear();
        (seen.refused, seen.blamed, seen.last_reply, seen.refused_since) = (false, false, None, None);
        self.set_durable(person, Some(grant.clone()));
    }

    pub(crate) fn forgotten(&mut self, person: usize, there: bool) {
        self.record(&format!("person {person} is forgotten: {there}"));
        let seen = &mut self.people[person];
        let (asked, was) = (seen.forgetting, seen.kept.is_some());
        seen.epoch += 1;
        seen.fence = None;
        seen.pending.clear();
        self.set_durable(person, None);
        if !asked || was != there {
            self.violate(
                "4",
                &format!("person {person}: forgotten, asked {asked}, was there {was}, answered {there}"),
            );
        }
    }

    /// A row changed by a batch update: its schedule may change and its expiry come earlier, nothing else.
    pub(crate) fn revised(&mut self, person: usize, grant: &Grant) {
        let Some(DurableGrant { grant: before, .. }) = self.people[person].kept.clone() else {
            return self.violate("4", &format!("person {person} came into being by a revision"));
        };
        let same = before.tokens.access_token == grant.tokens.access_token
            && before.tokens.refresh_token == grant.tokens.refresh_token
            && before.status == grant.status
            && grant.tokens.expires_at <= before.tokens.expires_at;
        if !same {
            self.violate("4", &format!("person {person}: a revision made {grant:?} of {before:?}"));
        }
        if before != *grant {
            self.people[person].excused = true;
            self.set_durable(person, Some(grant.clone()));
        }
    }

    /// Leases are shortened.
    pub(crate) fn settled(&mut self, lease_end: UnixTime) {
        self.uncorrected = false;
        for (_, end) in self.people.iter_mut().filter_map(|seen| seen.fence.as_mut()) {
            *end = lease_end.min(*end);
        }
    }

    /// After a crash the store holds what it held before.
    pub(crate) fn check_restored(&mut self, person: usize, grant: Option<&Grant>) {
        let kept = self.people[person].kept.as_ref().map(|kept| &kept.grant);
        let essence =
            |grant: Option<&Grant>| grant.map(|g| (g.tokens.clone(), g.status, g.failures, g.renewed_at));
        if essence(kept) != essence(grant) {
            let what = format!("person {person}: {kept:?} was durable, {grant:?} is there");
            self.violate("2 (durable before shown)", &what);
        }
    }

    /// The checks at the end, when all faults have been over for long.
    pub(crate) fn at_the_end(
        &mut self,
        person: usize,
        grant: Option<&Grant>,
        is_live: impl Fn(&str) -> bool,
    ) {
        if !self.people[person].excused {
            self.check_restored(person, grant);
        }
        let Some(grant) = grant.filter(|grant| grant.status == GrantStatus::Active) else { return };
        // Refused without an injected fault: the person must consent once that is confirmed. While many are refused, it
        // takes a day.
        if grant.last.outcome == Outcome::Refused {
            return;
        }
        let token = grant.tokens.access_token.expose();
        // While many are refused, refreshes pause for a day, except for probes. A token that was dead before may not have had its turn.
        let all_refused = self.all_refused_since.filter(|since| self.now < *since + DAY);
        let minted = self.access.get(token);
        if all_refused.zip(minted).is_some_and(|(since, minted)| minted.expires <= since) {
            return;
        }
        let blind = self.access.get(token).is_some_and(|minted| minted.era != self.era);
        // A lost consent may have ended the stored token; the daemon cannot know.
        let lost = self.people[person].lost_consent && !self.survives;
        if !is_live(token) && !blind && !lost {
            self.violate("at the end", &format!("person {person}'s token is dead: {grant:?}"));
        }
        if grant.failures > 0 {
            self.violate("at the end", &format!("person {person} was not refreshed: {grant:?}"));
        }
    }

    fn set_durable(&mut self, person: usize, grant: Option<Grant>) {
        let expires = |checker: &Self, grant: &Grant| {
            Some(checker.access.get(grant.tokens.access_token.expose())?.expires)
        };
        let before = self.people[person].kept.take();
        if let Some(kept) = before {
            self.expiries.retain(|(_, other)| *other != person);
            let token = kept.grant.tokens.access_token.expose().to_owned();
            let stays = grant.as_ref().is_some_and(|grant| grant.tokens.access_token.expose() == token);
            let gone = &mut self.people[person].gone;
            if !stays {
                gone.push_back((token, None));
            }
            if gone.len() > MAX_GONE_TOKENS {
                gone.pop_front();
            }
        }
        self.people[person].lost_consent = false;
        let Some(grant) = grant else { return };
        if let Some(at) = expires(self, &grant) {
            self.expiries.insert((at, person));
        }
        let chain = self.refresh.get(grant.tokens.refresh_token.expose()).map_or(0, |(_, chain)| *chain);
        self.people[person].kept = Some(DurableGrant { grant, chain });
    }

    /// A changing call has replied: from now on readers must see its change.
    pub(crate) fn change_answered(&mut self, person: usize, kept: bool) {
        self.people[person].free_since = self.wall;
        // An error that stores something breaks the contract: the caller does not know of the change.
        if !kept {
            return;
        }
        let now = self.now;
        self.people[person].gone.iter_mut().for_each(|(_, told)| *told = told.or(Some(now)));
    }

    pub(crate) fn number(&self, id: &PersonId) -> usize {
        self.person(id)
    }
}

/// The margin that the checker computes itself must equal the schedule's.
#[test]
fn the_checkers_margin_equals_the_schedules() {
    for hours in [12, 24, 36, 72, 336] {
        let lifetime = hours * HOUR;
        let margin = (lifetime / 10).max(5 * MINUTE).min(DAY).min(lifetime / 2);
        assert_eq!(margin, Policy::margin(lifetime));
    }
}
