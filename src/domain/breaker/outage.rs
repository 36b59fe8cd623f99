//! The trouble for which the breaker is open, and when the next probe is sent.

use std::time::Duration;

use crate::domain::breaker::Cause;
use crate::domain::person::PersonId;
use crate::domain::schedule::Dates;
use crate::domain::schedule::Policy;
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

/// The longest pause between two probes that Webex did not ask for. Less than ten minutes, so that ten minutes in which
/// Webex answers contain a probe and leave time for the other grants.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(540);

/// The longest pause before a due grant that has not failed is the probe.
pub(super) const HEALTHY_PAUSE: Duration = Duration::from_secs(30);

/// The shortest pause between two probes after the first. Also the pause after a probe whose answer is about its person
/// only.
pub(super) const MIN_PAUSE: Duration = Duration::from_secs(2);

/// After this time without an answer a probe is not waited for any more. Its answer still counts.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The trouble for which the breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outage {
    pub(super) cause: Cause,
    /// When the breaker opened.
    pub(super) since: UnixTime,
    /// A probe has failed, too, or the evidence is as good as that. Before, nothing is shown or logged.
    pub(super) confirmed: bool,
    /// When it opened, or when the last probe ended.
    pub(super) last: UnixTime,
    /// Probes that were answered, and did not end the trouble.
    pub(super) probes: u32,
    /// Probes that failed.
    pub(super) failed: u32,
    /// The last probe was answered about its person only: the next one follows soon.
    pub(super) inconclusive: bool,
    /// The end of the wait that Webex asked for.
    pub(super) wait_until: Option<UnixTime>,
    /// When the probe that is out was sent.
    pub(super) probe: Option<UnixTime>,
}

/// What waits for a refresh while the breaker is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Whether anything is due.
    pub due: bool,
    /// Whether a grant is due that has not failed.
    pub healthy: bool,
    /// Of the due living tokens, the one with the least life left.
    pub next_to_die: Option<(PersonId, Dates)>,
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

    /// The wait that Webex asked for, while it lasts and a probe has confirmed it.
    pub(super) fn wait(&self, now: UnixTime) -> Option<UnixTime> {
        self.wait_until.filter(|end| self.confirmed && *end > now)
    }

    /// When the next probe may be sent, whatever is due.
    pub(super) fn own_pause(&self) -> UnixTime {
        let nth = usize::try_from(self.failed).unwrap_or(usize::MAX);
        let pause = PAUSES.get(nth).copied().unwrap_or(MAX_PAUSE);
        self.last + if self.inconclusive { pause.min(MIN_PAUSE) } else { pause }
    }

    /// When the next probe may be sent, and whether it must be the token with the least life left.
    pub(super) fn next_probe(&self, waiting: &Waiting, now: UnixTime) -> (UnixTime, bool) {
        if let Some(sent) = self.probe {
            return (sent + PROBE_TIMEOUT, false);
        }
        let next_to_die = waiting.next_to_die.as_ref().map(|(_, dates)| dates);
        let quarter =
            next_to_die.map(|dates| self.last + (dates.expires_at.since(self.last) / 4).max(MIN_PAUSE));
        if let Some(end) = self.wait(now) {
            return (quarter.map_or(end, |quarter| quarter.min(end)), false);
        }
        let at_risk = next_to_die.is_some_and(|dates| Policy::is_at_risk(dates, now));
        let bounds = [
            quarter,
            waiting.healthy.then_some(self.last + HEALTHY_PAUSE),
            at_risk.then_some(self.last + MIN_PAUSE),
        ];
        let at = bounds.into_iter().flatten().fold(self.own_pause(), UnixTime::min);
        // In turn: persons whose refreshes fail and whose tokens end first must not keep the others from being the probe.
        (at, at_risk && self.probes.is_multiple_of(2))
    }
}
