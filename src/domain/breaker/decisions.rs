//! The state of the breaker, and how responses change it.

use std::time::Duration;

use crate::domain::breaker::cause::Cause;
use crate::domain::breaker::outage::DueSummary;
use crate::domain::breaker::outage::Outage;
use crate::domain::breaker::outage::PROBE_TIMEOUT;
use crate::domain::breaker::sent_refresh::Role;
use crate::domain::breaker::sent_refresh::SentRefresh;
use crate::domain::breaker::suspects::Suspects;
use crate::domain::person::PersonId;
use crate::domain::schedule::RETRY_AFTER_CAP;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Verdict;

/// The wait after a 429 without a readable `Retry-After`. Webex's own SDK uses the same value.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// While the breaker is open, readers and operators together cause at most one refresh in this time.
pub(super) const ON_DEMAND_PAUSE: Duration = Duration::from_secs(30);

/// If so many grants are refused that the cause may be common to them, no grant ends for this long.
pub(super) const MASS_REFUSAL: Duration = Duration::from_secs(86_400);

/// A pause of all refreshes, as the API and the dashboard show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The cause of the pause.
    pub cause: Cause,
    /// When refreshes began to fail.
    pub since: UnixTime,
    /// When the next probe may be sent at the latest; in the past if nothing is due.
    pub until: UnixTime,
    /// Whether a probe is under way.
    pub probing: bool,
}

/// Whether refreshes may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Any number of refreshes may be sent.
    Go,
    /// Exactly one refresh may be sent, as a probe.
    Probe {
        /// Whether the probe must be the due living token with the least life left. Otherwise it is the healthiest due grant.
        next_to_die: bool,
    },
    /// No refresh may be sent before this time.
    Hold(UnixTime),
}

/// A change of the breaker that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Refreshes pause.
    Opened {
        /// When the next probe is sent at the latest.
        until: UnixTime,
        /// The cause of the pause.
        cause: Cause,
        /// Whether a probe confirmed a cause that was logged before.
        again: bool,
    },
    /// Refreshes continue.
    Closed,
    /// For a day grants were refused and none was renewed. From now on each is judged by itself.
    MassRefusalEnded,
}

/// The end of a wait that Webex requested.
fn wait_end(retry_after: Option<Duration>, now: UnixTime) -> UnixTime {
    now + retry_after.unwrap_or(DEFAULT_WAIT).clamp(Duration::from_secs(1), RETRY_AFTER_CAP)
}

/// The circuit breaker; see the module.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    pub(super) outage: Option<Outage>,
    pub(super) suspects: Suspects,
    /// Since when so many grants are refused that the cause may be common to them. `None` after a refresh succeeds.
    pub(super) mass_refusal_since: Option<UnixTime>,
    /// When Webex last accepted the client, and for which person.
    pub(super) accepted: Option<(UnixTime, PersonId)>,
    /// When a reader or an operator last caused a refresh while the breaker was open.
    pub(super) on_demand_at: Option<UnixTime>,
    /// When a reader or an operator last caused a refresh of a grant that had failed before, while the breaker was open.
    pub(super) doubtful_at: Option<UnixTime>,
    /// Whether the last run ended with a refused client, and this run has sent no refresh yet.
    pub(super) untried: bool,
}

impl Breaker {
    /// Decides whether refreshes may be sent. After [`Admission::Probe`] the probe counts as under way. `waiting` matters
    /// only while the breaker is open.
    pub fn admit(&mut self, waiting: &DueSummary, now: UnixTime) -> Admission {
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
    pub fn next_probe(&mut self, waiting: &DueSummary, now: UnixTime) -> Option<UnixTime> {
        self.look_at_the_clock(now);
        self.outage.map(|outage| outage.next_probe(waiting, now).0)
    }

    /// Decides whether a reader or an operator may cause a refresh, and in which role. A grant that has failed cannot be
    /// the probe. Otherwise a client that requests a bad grant again and again would keep the breaker open. Such a grant is
    /// refreshed beside the probes if `may_fail` is true, which means that its own schedule allows it.
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

    /// Whether refreshes are held back, even if the failure is not confirmed yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.outage.is_some()
    }

    /// Whether the last run ended with a refused client, and this run has not tried the present one. Then the probe should
    /// not wait until a grant is due.
    #[must_use]
    pub fn is_untried(&self) -> bool {
        self.untried
    }

    /// Closes a breaker that the last run left open because Webex refused the client, if Webex issued tokens after that, at
    /// `issued_at`: for a new consent. Then the client is accepted, and no probe is needed.
    pub fn accept_client(&mut self, issued_at: UnixTime) -> Option<Transition> {
        self.outage.take_if(|outage| self.untried && outage.since < issued_at)?;
        self.untried = false;
        Some(Transition::Closed)
    }

    /// Records that the admitted probe was not sent, so another one may be sent.
    pub fn cancel_probe(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.probe = None;
        }
    }

    /// Why refreshes are held back, even if the failure is not confirmed yet.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.outage.map(|outage| outage.cause)
    }

    /// Why refreshes pause at present, if they do and the failure is confirmed.
    #[must_use]
    pub fn trouble(&self) -> Option<Cause> {
        self.pause().map(|pause| pause.cause)
    }

    /// The pause of all refreshes at present, if there is one and the failure is confirmed.
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

    /// Records the response to a refresh and decides what it means for the grant. `retry_after` is the wait that Webex
    /// requested.
    ///
    /// A refused grant is [`Verdict::Refused`] at first. It ends (as [`Verdict::ConsentNeeded`]) if it is refused again
    /// after [`SentRefresh::confirm_after`], or sooner if its access token is dead and a caller waits. While many grants
    /// are refused at once, none ends before another person's refresh succeeds or a day has passed. If the client is
    /// refused for one person again and again while it is accepted for others, that counts as a refused grant.
    pub fn record(
        &mut self,
        verdict: Verdict,
        sent: &SentRefresh,
        retry_after: Option<Duration>,
        now: UnixTime,
    ) -> (Verdict, Option<Transition>) {
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
            // Webex responds and accepts the client. That does not show that it accepts refresh tokens.
            Verdict::TokenLimit => {
                self.suspects.clear_all_but_refused();
                self.answered(sent.role, now)
            }
            _ if blamed => self.inconclusive(sent.role, now),
            Verdict::ConsentNeeded(_) | Verdict::Refused(_) => self.refused(sent, now),
            Verdict::Locked(_) => self.inconclusive(sent.role, now),
            Verdict::ClientRefused(_) => self.failed(Cause::ClientRefused, sent, None, now),
            Verdict::Busy(_) => self.failed(Cause::Busy, sent, Some(wait_end(retry_after, now)), now),
            Verdict::Transient(_) => self.failed(Cause::ManyFailing, sent, None, now),
        };
        if was_open && sent.role == Role::Probe {
            self.untried = false;
        }
        (verdict, turn)
    }

    /// Whether the breaker must open if there is no other living grant than the one of this refresh, whose response was just
    /// recorded.
    #[must_use]
    pub fn needs_person_count(&self, verdict: &Verdict, sent: &SentRefresh) -> bool {
        let may_be_common = matches!(verdict, Verdict::ClientRefused(_) | Verdict::Busy(_));
        may_be_common && !sent.only_person && !self.is_open() && !self.is_the_grants_fault(verdict, sent)
    }

    /// Records that there is no other living grant than the one of this refresh, whose response [`Breaker::record`] has recorded
    /// without knowing that. One person is then evidence enough.
    pub fn record_as_only_person(
        &mut self,
        verdict: &Verdict,
        sent: &SentRefresh,
        retry_after: Option<Duration>,
        now: UnixTime,
    ) -> Option<Transition> {
        if !self.needs_person_count(verdict, sent) {
            // Another response was recorded meanwhile.
            return None;
        }
        let only = SentRefresh { only_person: true, ..sent.clone() };
        match verdict {
            Verdict::ClientRefused(_) => self.failed(Cause::ClientRefused, &only, None, now),
            _ => self.failed(Cause::Busy, &only, Some(wait_end(retry_after, now)), now),
        }
    }

    /// Records that Webex refused a grant.
    fn refused(&mut self, sent: &SentRefresh, now: UnixTime) -> Option<Transition> {
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

    /// Records a failure whose cause may be the app or Webex.
    fn failed(
        &mut self,
        cause: Cause,
        sent: &SentRefresh,
        wait_until: Option<UnixTime>,
        now: UnixTime,
    ) -> Option<Transition> {
        let news = !sent.ended && !cause.explains(sent.previous);
        let Some(outage) = self.outage else {
            if !news && !sent.only_person {
                return None;
            }
            let wait_until = self.suspects.add(cause, sent, wait_until, now)?;
            return self.open(cause, wait_until, sent.only_person, now);
        };
        if sent.role != Role::Probe {
            // Only a probe decides while the breaker is open.
            return None;
        }
        if cause == outage.cause {
            // Persons whose refreshes failed before count as well if several of them fail as probes.
            let confirms = news || sent.only_person || outage.failed >= 2;
            let confirmed_wait = wait_until.and_then(|_| self.suspects.add(cause, sent, wait_until, now));
            return self.probe_failed(confirmed_wait.flatten(), confirms, now);
        }
        if !news {
            // A known failure of this person, other than the cause of the breaker.
            return self.inconclusive(sent.role, now);
        }
        // Another cause, which needs evidence of its own.
        match self.suspects.add(cause, sent, wait_until, now) {
            Some(wait_until) => self.open(cause, wait_until, true, now),
            None => self.probe_failed(None, false, now),
        }
    }

    /// Records a failed probe. `wait_until` is a wait that Webex requested for two persons.
    fn probe_failed(
        &mut self,
        wait_until: Option<UnixTime>,
        confirms: bool,
        now: UnixTime,
    ) -> Option<Transition> {
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

    /// Opens the breaker, or changes the cause of an open one.
    fn open(
        &mut self,
        cause: Cause,
        wait_until: Option<UnixTime>,
        confirmed: bool,
        now: UnixTime,
    ) -> Option<Transition> {
        let since = self.outage.map_or(now, |outage| outage.since);
        self.outage = Some(Outage { since, confirmed, wait_until, ..Outage::new(cause, now) });
        self.opened(false).filter(|_| confirmed)
    }

    fn opened(&self, again: bool) -> Option<Transition> {
        self.pause().map(|Pause { until, cause, .. }| Transition::Opened { until, cause, again })
    }

    /// Records a response that concerns its person only. Another grant must be the probe.
    fn inconclusive(&mut self, role: Role, now: UnixTime) -> Option<Transition> {
        if let Some(outage) = self.outage.as_mut().filter(|_| role == Role::Probe) {
            outage.probes = outage.probes.wrapping_add(1);
            (outage.last, outage.probe, outage.inconclusive) = (now, None, true);
        }
        None
    }

    /// Records a regular response of Webex, with or without tokens.
    fn answered(&mut self, role: Role, now: UnixTime) -> Option<Transition> {
        let outage = self.outage?;
        if outage.cause == Cause::ManyRefused && self.mass_refusal_since.is_some() {
            return self.inconclusive(role, now);
        }
        // A refresh that was under way when Webex requested the wait does not end the wait.
        if role == Role::Ordinary && outage.wait(now).is_some() {
            return None;
        }
        self.outage = None;
        self.untried = false;
        outage.confirmed.then_some(Transition::Closed)
    }
}
