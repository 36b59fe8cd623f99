//! Tells the trouble of the app or of Webex from the trouble of one person, and says when the next refresh may be sent.
//!
//! While the breaker is closed, a failed refresh is its person's own trouble. Evidence against the app or Webex needs
//! different persons with no success between them, and each person counts only once, when the failure is new for that
//! person: two for a refused client (401) or a request to wait (429), five for transient failures, six for refused
//! grants within ten minutes. The only person there is counts for all. A locked account (423) is always its person's.
//!
//! While the breaker is open, single refreshes, the probes, find out whether the trouble is over:
//!
//! - The first probe follows after a second, later ones after longer pauses, nine minutes at most. Only a failed probe
//!   confirms the trouble and makes it an alert.
//! - After at most a quarter of the least life left among what is due there is a probe.
//! - A due grant that has not failed is a probe after half a minute at the latest. So persons whose refreshes fail
//!   hold up the others for less than a minute.
//! - A due token inside its survival margin is a probe after two seconds, in turn with the healthiest grant, limited by its own retry schedule.
//! - A request to wait is obeyed to its end, up to [`RETRY_AFTER_CAP`], once a probe has confirmed it. Then only the
//!   quarter of the least life left is sooner.
//!
//! A grant ends only when its refusal is confirmed: see [`Breaker::record`].

mod cause;
mod confirm;
mod outage;
mod sent_refresh;
mod set_back;
mod suspects;
mod text;

use std::time::Duration;

use crate::domain::breaker::outage::Outage;
use crate::domain::breaker::outage::PROBE_TIMEOUT;
use crate::domain::breaker::suspects::Suspects;
use crate::domain::person::PersonId;
use crate::domain::schedule::RETRY_AFTER_CAP;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Verdict;

pub use crate::domain::breaker::cause::Cause;
pub use crate::domain::breaker::outage::Waiting;
pub use crate::domain::breaker::sent_refresh::Role;
pub use crate::domain::breaker::sent_refresh::SentRefresh;
pub use crate::domain::breaker::text::CLOSED;

/// After a request to wait without a readable `Retry-After`; Webex's own SDK takes the same (webex-api, "Retry-After").
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// While the breaker is open, readers and operators together cause at most one refresh in this time.
const ON_DEMAND_PAUSE: Duration = Duration::from_secs(30);

/// While so many grants are refused that none of them may be to blame, no grant ends for this long.
const MASS_REFUSAL: Duration = Duration::from_secs(86_400);

/// That refreshes pause, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Why.
    pub cause: Cause,
    /// Since when refreshes have not gone through.
    pub since: UnixTime,
    /// When the next probe may be sent at the latest; in the past if nothing is due.
    pub until: UnixTime,
    /// A probe is out.
    pub probing: bool,
}

/// May a refresh be sent now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Any number.
    Go,
    /// Exactly one, to find out.
    Probe {
        /// It must be the due living token with the least life left; else the healthiest due grant.
        next_to_die: bool,
    },
    /// None before this time.
    Hold(UnixTime),
}

/// A change worth one line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Refreshes pause; the next probe is sent then at the latest.
    Opened {
        /// When a probe is sent.
        until: UnixTime,
        /// Why.
        cause: Cause,
        /// A probe found the trouble that was logged already.
        again: bool,
    },
    /// Refreshes go on.
    Closed,
    /// Grants have been refused for a day, with none renewed: each is judged by itself again.
    MassRefusalEnded,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    outage: Option<Outage>,
    suspects: Suspects,
    /// Since when so many grants are refused that none of them may be to blame; over when a refresh succeeds.
    mass_refusal_since: Option<UnixTime>,
    /// When Webex last accepted the client, and for which person.
    accepted: Option<(UnixTime, PersonId)>,
    /// When a reader or an operator last caused a refresh while the breaker was open.
    on_demand_at: Option<UnixTime>,
    /// The same for a grant that had failed before.
    doubtful_at: Option<UnixTime>,
    /// A refused client, left by the last run: nothing was asked with the present one yet.
    untried: bool,
}

impl Breaker {
    /// Says whether refreshes may be sent, and notes that a probe is out when the answer is [`Admission::Probe`].
    /// `waiting` matters only while the breaker is open.
    pub fn admit(&mut self, waiting: &Waiting, now: UnixTime) -> Admission {
        self.look_at_the_clock(now);
        let Some(outage) = &mut self.outage else { return Admission::Go };
        let (at, next_to_die) = outage.next_probe(waiting, now);
        if now < at {
            return Admission::Hold(at);
        }
        outage.probe = Some(now);
        Admission::Probe { next_to_die }
    }

    /// When the next probe may be sent; `None` while the breaker is closed.
    pub fn next_probe(&mut self, waiting: &Waiting, now: UnixTime) -> Option<UnixTime> {
        self.look_at_the_clock(now);
        self.outage.map(|outage| outage.next_probe(waiting, now).0)
    }

    /// Says whether a reader or an operator may have a refresh sent, and in which role. A grant that has failed is no
    /// probe: a client that asks again and again for a bad grant would keep the breaker open. It is tried beside the
    /// probes, if `may_fail` says that its own schedule allows it.
    pub fn admit_on_demand(&mut self, healthy: bool, may_fail: bool, now: UnixTime) -> Option<Role> {
        self.look_at_the_clock(now);
        let Some(outage) = &mut self.outage else { return Some(Role::Ordinary) };
        let early = |at: Option<UnixTime>| at.is_some_and(|at| at <= now && now < at + ON_DEMAND_PAUSE);
        if healthy {
            if early(self.on_demand_at) || outage.probe.is_some_and(|sent| now < sent + PROBE_TIMEOUT) {
                return None;
            }
            self.on_demand_at = Some(now);
            outage.probe = Some(now);
            return Some(Role::Probe);
        }
        if !may_fail || early(self.doubtful_at) || outage.wait(now).is_some() {
            return None;
        }
        self.doubtful_at = Some(now);
        Some(Role::Doubtful)
    }

    /// Whether a claimed refresh of this role may still be sent.
    #[must_use]
    pub fn may_send(&self, role: Role) -> bool {
        match (&self.outage, role) {
            (None, _) | (Some(_), Role::Doubtful) => true,
            (Some(_), Role::Ordinary) => false,
            (Some(outage), Role::Probe) => outage.probe.is_some(),
        }
    }

    /// Whether refreshes are held back, also while the trouble is not confirmed yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.outage.is_some()
    }

    /// Whether the last run left a refused client, and nothing is known of the present one: its probe should not wait
    /// until a grant is due.
    #[must_use]
    pub fn is_untried(&self) -> bool {
        self.untried
    }

    /// The admitted probe was not sent: the next one may be.
    pub fn cancel_probe(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.probe = None;
        }
    }

    /// Why refreshes are held back, also while the trouble is not confirmed yet.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.outage.map(|outage| outage.cause)
    }

    /// Why refreshes pause at present, if they do and the trouble is confirmed.
    #[must_use]
    pub fn trouble(&self) -> Option<Cause> {
        self.pause().map(|pause| pause.cause)
    }

    /// That refreshes pause at present, if they do and the trouble is confirmed.
    #[must_use]
    pub fn pause(&self) -> Option<Pause> {
        let outage = self.outage.filter(|outage| outage.confirmed)?;
        let until = match (outage.probe, outage.wait_until) {
            (Some(sent), _) => sent + PROBE_TIMEOUT,
            (None, Some(end)) if end > outage.last => end,
            (None, _) => outage.own_pause(),
        };
        let Outage { cause, since, .. } = outage;
        Some(Pause { cause, since, until, probing: outage.probe.is_some() })
    }

    /// Learns from the answer to a refresh, and says what it means for its grant. `retry_after` is what Webex asked for.
    ///
    /// A refused grant is [`Verdict::Refused`] at first and ends (as [`Verdict::ConsentNeeded`]) when it is refused again
    /// after [`SentRefresh::confirm_after`], or sooner where its access token is dead and a caller waits. While many
    /// grants are refused at once, none ends before another person's refresh succeeds or a day has passed. A client
    /// that is refused for one person only, again and again while it is accepted for others, is a refused grant.
    pub fn record(
        &mut self,
        verdict: Verdict,
        sent: &SentRefresh,
        retry_after: Option<Duration>,
        now: UnixTime,
    ) -> (Verdict, Option<Turn>) {
        self.look_at_the_clock(now);
        let blamed = self.is_the_grants_fault(&verdict, sent);
        let verdict = self.confirm(verdict, sent, blamed, now);
        let was_open = self.outage.is_some();
        let turn = match &verdict {
            Verdict::Renewed(_) | Verdict::Unchanged(_) => {
                self.accepted = Some((now, sent.person.clone()));
                self.suspects.clear();
                self.mass_refusal_since = None;
                self.answered(sent.role, now)
            }
            // Webex answers, and knows the client. That does not show that it accepts refresh tokens.
            Verdict::TokenLimit => {
                self.suspects.clear_all_but_refused();
                self.answered(sent.role, now)
            }
            _ if blamed => self.inconclusive(sent.role, now),
            Verdict::ConsentNeeded(_) | Verdict::Refused(_) => self.refused(sent, now),
            Verdict::Locked(_) => self.inconclusive(sent.role, now),
            Verdict::ClientRefused(_) => self.failed(Cause::ClientRefused, sent, None, now),
            Verdict::Busy(_) => {
                let wait = retry_after.unwrap_or(DEFAULT_WAIT).clamp(Duration::from_secs(1), RETRY_AFTER_CAP);
                self.failed(Cause::Busy, sent, Some(now + wait), now)
            }
            Verdict::Transient(_) => self.failed(Cause::ManyFailing, sent, None, now),
        };
        if was_open && sent.role == Role::Probe {
            self.untried = false;
        }
        (verdict, turn)
    }

    /// Webex refused a grant.
    fn refused(&mut self, sent: &SentRefresh, now: UnixTime) -> Option<Turn> {
        let news = !sent.ended && sent.refused_since.is_none();
        if news && self.suspects.refused(&sent.person, now) && !self.all_are_refused(now) {
            self.mass_refusal_since = Some(now);
            return self.open(Cause::ManyRefused, None, true, now);
        }
        match self.outage {
            Some(outage) if outage.cause == Cause::ManyRefused && sent.role == Role::Probe => {
                self.probe_failed(None, true, now)
            }
            _ => self.inconclusive(sent.role, now),
        }
    }

    /// A refresh failed in a way that may be the app's or Webex's.
    fn failed(
        &mut self,
        cause: Cause,
        sent: &SentRefresh,
        wait_until: Option<UnixTime>,
        now: UnixTime,
    ) -> Option<Turn> {
        let news = !sent.ended && !cause.explains(sent.previous);
        let Some(outage) = self.outage else {
            if !news && !sent.only_person {
                return None;
            }
            let wait_until = self.suspects.add(cause, sent, wait_until, now)?;
            return self.open(cause, wait_until, sent.only_person, now);
        };
        if sent.role != Role::Probe {
            // The probe that is out will tell, or the next one.
            return None;
        }
        if cause == outage.cause {
            // Persons whose refreshes failed before count, too, when several of them fail as probes.
            let confirms = news || sent.only_person || outage.failed >= 2;
            let confirmed_wait = wait_until.and_then(|_| self.suspects.add(cause, sent, wait_until, now));
            return self.probe_failed(confirmed_wait.flatten(), confirms, now);
        }
        if !news {
            // A known trouble of this person, other than what the breaker is open for.
            return self.inconclusive(sent.role, now);
        }
        // Another trouble, which needs evidence of its own.
        match self.suspects.add(cause, sent, wait_until, now) {
            Some(wait_until) => self.open(cause, wait_until, true, now),
            None => self.probe_failed(None, false, now),
        }
    }

    /// A probe failed. `wait_until` is a wait that two persons were asked for.
    fn probe_failed(&mut self, wait_until: Option<UnixTime>, confirms: bool, now: UnixTime) -> Option<Turn> {
        let outage = self.outage.as_mut()?;
        let known = outage.confirmed;
        outage.confirmed |= confirms;
        outage.probes = outage.probes.wrapping_add(1);
        outage.failed = outage.failed.saturating_add(1);
        (outage.last, outage.probe, outage.inconclusive) = (now, None, false);
        outage.wait_until = outage.wait_until.max(wait_until);
        let shown = outage.confirmed;
        self.opened(known).filter(|_| shown)
    }

    /// Opens the breaker, or goes on with another cause.
    fn open(
        &mut self,
        cause: Cause,
        wait_until: Option<UnixTime>,
        confirmed: bool,
        now: UnixTime,
    ) -> Option<Turn> {
        let since = self.outage.map_or(now, |outage| outage.since);
        self.outage = Some(Outage { since, confirmed, wait_until, ..Outage::new(cause, now) });
        self.opened(false).filter(|_| confirmed)
    }

    fn opened(&self, again: bool) -> Option<Turn> {
        self.pause().map(|Pause { until, cause, .. }| Turn::Opened { until, cause, again })
    }

    /// The answer says nothing about all; another grant must be the probe.
    fn inconclusive(&mut self, role: Role, now: UnixTime) -> Option<Turn> {
        if let Some(outage) = self.outage.as_mut().filter(|_| role == Role::Probe) {
            outage.probes = outage.probes.wrapping_add(1);
            (outage.last, outage.probe, outage.inconclusive) = (now, None, true);
        }
        None
    }

    /// Webex answered properly, with tokens or without.
    fn answered(&mut self, role: Role, now: UnixTime) -> Option<Turn> {
        let outage = self.outage?;
        if outage.cause == Cause::ManyRefused && self.mass_refusal_since.is_some() {
            return self.inconclusive(role, now);
        }
        // An answer that was under way when Webex asked to wait does not take that back.
        if role == Role::Ordinary && outage.wait(now).is_some() {
            return None;
        }
        self.outage = None;
        self.untried = false;
        outage.confirmed.then_some(Turn::Closed)
    }
}

#[cfg(test)]
mod tests;
