//! Why the breaker is open, and when the next probe is sent.

use std::time::Duration;

use crate::domain::breaker::cause::Cause;
use crate::domain::person::PersonId;
use crate::domain::schedule::Policy;
use crate::domain::schedule::TokenTimes;
use crate::domain::time::UnixTime;

/// Pauses before the first, second, … probe; the last one repeats.
pub(super) const PAUSES: [Duration; 8] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(300),
    MAX_PAUSE,
];

/// The longest pause between two probes without a request of Webex to wait. It is shorter than ten minutes, so that ten
/// minutes in which Webex responds contain a probe and leave time for the other grants.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(540);

/// The longest pause before a due grant that has not failed becomes the probe.
pub(super) const HEALTHY_PAUSE: Duration = Duration::from_secs(30);

/// The shortest pause between two probes after the first, and the pause after a probe whose response concerns its person
/// only.
pub(super) const MIN_PAUSE: Duration = Duration::from_secs(2);

/// If a probe gets no response for this time, the next one may be sent. A late response still counts.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of an open breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outage {
    pub(super) cause: Cause,
    /// When the breaker opened.
    pub(super) since: UnixTime,
    /// Whether a probe has failed, or the evidence is as good as that. Before, the outage is not shown or logged.
    pub(super) confirmed: bool,
    /// When the breaker opened, or when the last probe ended.
    pub(super) last: UnixTime,
    /// Number of probes with a response that did not close the breaker.
    pub(super) probes: u32,
    /// Number of failed probes.
    pub(super) failed: u32,
    /// Whether the last response concerned its person only, so the next probe follows soon.
    pub(super) inconclusive: bool,
    /// The end of the wait that Webex requested.
    pub(super) wait_until: Option<UnixTime>,
    /// When the probe that is under way was sent.
    pub(super) probe: Option<UnixTime>,
}

/// The grants that wait for a refresh while the breaker is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueSummary {
    /// Whether a grant is due.
    pub due: bool,
    /// Whether a grant is due that has not failed.
    pub healthy: bool,
    /// The due living token with the least life left.
    pub next_to_die: Option<(PersonId, TokenTimes)>,
}

impl Outage {
    pub(super) fn new(cause: Cause, now: UnixTime) -> Self {
        Self {
            cause,
            since: now,
            confirmed: false,
            last: now,
            probes: 0,
            failed: 0,
            inconclusive: false,
            wait_until: None,
            probe: None,
        }
    }

    /// The end of the wait that Webex requested, if it has not passed and a probe has confirmed the wait.
    pub(super) fn wait(&self, now: UnixTime) -> Option<UnixTime> {
        self.wait_until.filter(|end| self.confirmed && *end > now)
    }

    /// When the next probe may be sent, independently of the due grants.
    pub(super) fn own_pause(&self) -> UnixTime {
        let nth = usize::try_from(self.failed).unwrap_or(usize::MAX);
        let pause = PAUSES.get(nth).copied().unwrap_or(MAX_PAUSE);
        self.last + if self.inconclusive { pause.min(MIN_PAUSE) } else { pause }
    }

    /// When the next probe may be sent, and whether it must be the token with the least life left.
    pub(super) fn next_probe(&self, waiting: &DueSummary, now: UnixTime) -> (UnixTime, bool) {
        if let Some(sent) = self.probe {
            return (sent + PROBE_TIMEOUT, false);
        }
        let next_to_die = waiting.next_to_die.as_ref().map(|(_, dates)| dates);
        let quarter =
            next_to_die.map(|dates| self.last + (dates.expires_at.since(self.last) / 4).max(MIN_PAUSE));
        let at_risk = next_to_die.is_some_and(|dates| Policy::is_at_risk(dates, now));
        // They take turns. Otherwise persons whose refreshes fail and whose tokens end first would always be the probe.
        let is_its_turn = at_risk && self.probes.is_multiple_of(2);
        if let Some(end) = self.wait(now) {
            return (quarter.map_or(end, |quarter| quarter.min(end)), is_its_turn);
        }
        let bounds = [
            quarter,
            waiting.healthy.then_some(self.last + HEALTHY_PAUSE),
            at_risk.then_some(self.last + MIN_PAUSE),
        ];
        let at = bounds.into_iter().flatten().fold(self.own_pause(), UnixTime::min);
        (at, is_its_turn)
    }
}
