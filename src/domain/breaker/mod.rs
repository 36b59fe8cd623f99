//! The brain above the grants: when the trouble is Webex's or the integration's, everybody waits behind one breaker,
//! one probe finds out whether it is over, and nobody's grant is blamed.
//!
//! A wish of Webex's (`Retry-After`) is obeyed to its end, up to [`RETRY_AFTER_CAP`], even if a token dies meanwhile: it
//! is a wish to the whole integration, a request against it may be counted and prolong it, and the answer would be the
//! same. What is longer than the cap is a mistake, and a probe finds out. Every other pause is our own choice, and so
//! short (an hour at most) that several probes fit into any token's margin.

use std::fmt;
use std::time::Duration;

use crate::domain::person::PersonId;
use crate::domain::schedule::RETRY_AFTER_CAP;
use crate::domain::schedule::ladder;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;
use crate::domain::verdict::Verdict;

mod set_back;
mod text;

pub use crate::domain::breaker::text::CLOSED;

/// So many different persons failing in a row are no coincidence.
const STREAK: usize = 5;

/// Without a readable `Retry-After`; Webex's own SDK takes the same (webex-api, "Retry-After").
const BUSY_PAUSE: Duration = Duration::from_secs(60);

/// A pause is never longer than this by our own choice.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// A probe that says nothing for this long is given up, so that a lost one cannot hold the door shut.
const PROBE_PATIENCE: Duration = Duration::from_secs(180);

/// Grants that have failed themselves may be asked about so often while everybody waits, all of them together.
const DOUBT_STEP: Duration = Duration::from_secs(30);

/// Why the breaker opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// 401, `invalid_client`: the client id or secret is not accepted.
    ClientRefused,
    /// 429 or 423.
    Busy,
    /// Many different persons failed in a row.
    ManyFailing,
}

impl Cause {
    const WORDS: [(Self, &'static str); 3] =
        [(Self::ClientRefused, "client_refused"), (Self::Busy, "busy"), (Self::ManyFailing, "many_failing")];

    /// Its word, as it is stored and answered.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(cause, _)| *cause == self).map_or("many_failing", |(_, word)| word)
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, w)| *w == word).map(|(cause, _)| *cause)
    }

    /// Whether a person's `outcome` only repeats what has been told of everybody.
    #[must_use]
    pub fn explains(self, outcome: Outcome) -> bool {
        match self {
            Self::ClientRefused => outcome == Outcome::ClientRefused,
            Self::Busy => outcome == Outcome::Busy,
            Self::ManyFailing => outcome == Outcome::Transient,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientRefused => {
                "Webex refuses the client id or secret; check MY_APP_CLIENT_ID and MY_APP_SECRET_ID and restart"
            }
            Self::Busy => "Webex asks to wait",
            Self::ManyFailing => "many persons failed in a row; Webex or the way to it is in trouble",
        })
    }
}

/// What makes everybody wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trouble {
    cause: Cause,
    /// When it began; longer and longer pauses of one trouble leave it as it is.
    since: UnixTime,
    /// The end of the present pause.
    until: UnixTime,
    /// How long the present pause is: a clock set back unseen makes it no longer.
    pause: Duration,
    /// No later than this, whatever `until` says: what a look has found. `until` stays as it was, for a clock that is
    /// seen to be set back corrects that.
    latest: UnixTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open(Trouble),
    Probing { patience: UnixTime, trouble: Trouble },
}

/// That everybody waits, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Why.
    pub cause: Cause,
    /// Since when refreshes have not gone through.
    pub since: UnixTime,
    /// When the next probe may be sent; in the past if it only waits for somebody to be due.
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
    Probe,
    /// None before this time.
    Hold(UnixTime),
}

/// A change worth one line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Refreshes pause until then.
    Opened {
        /// When a probe is sent.
        until: UnixTime,
        /// Why.
        cause: Cause,
        /// A probe found the trouble that was told already.
        again: bool,
    },
    /// Refreshes go on.
    Closed,
}

/// What the answer about one person says about everybody, while everybody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It was sent while nobody had to wait: what it meets is known, or the probe will meet it.
    Ordinary,
    /// It was sent to find out.
    Probe,
    /// It was sent because somebody asked, although the grant has failed before: if it fails again, that says little, but
    /// if it does not, all is well.
    Doubtful,
}

/// Who was asked for.
#[derive(Clone, Debug)]
pub struct Whom {
    /// The person.
    pub person: PersonId,
    /// When our client was refused for this person before, if that was the last answer; for a grant that is not alive
    /// any more, when it was last asked about.
    pub refused_at: Option<UnixTime>,
    /// Why it was sent.
    pub role: Role,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Breaker {
    state: State,
    /// Openings since the last sign of life; the step of the ladder.
    trips: u32,
    /// Different persons that failed since the last sign of life; at most [`STREAK`].
    streak: Vec<PersonId>,
    /// When Webex last accepted our client, and for whom.
    accepted: Option<(UnixTime, PersonId)>,
    /// When a doubtful grant was last asked about.
    doubted_at: Option<UnixTime>,
    /// A refused client, left by the last run: nothing was asked with the present one yet.
    untried: bool,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed,
            trips: 0,
            streak: Vec::new(),
            accepted: None,
            doubted_at: None,
            untried: false,
        }
    }
}

impl Breaker {
    /// Says whether refreshes may be sent, and takes note when the answer is [`Admission::Probe`].
    pub fn admit(&mut self, now: UnixTime) -> Admission {
        self.forget_future(now);
        let Some((until, trouble)) = self.held(now) else { return Admission::Go };
        if now < until {
            return Admission::Hold(until);
        }
        self.state = State::Probing { patience: now + PROBE_PATIENCE, trouble };
        Admission::Probe
    }

    /// Says whether somebody who asks may have a refresh of a grant that has failed itself sent while everybody waits:
    /// never before its time, and seldom. It is in nobody's way: the probe may be sent beside it.
    pub fn admit_doubtful(&mut self, now: UnixTime) -> bool {
        let early = self.doubted_at.is_some_and(|at| at <= now && now < at + DOUBT_STEP);
        let held = self.held(now).is_none_or(|(until, _)| now < until);
        if early || held {
            return false;
        }
        self.doubted_at = Some(now);
        true
    }

    /// Whether the last run left a refused client, and nothing is known of the present one: it should not wait until
    /// somebody is due.
    #[must_use]
    pub fn is_untried(&self) -> bool {
        self.untried
    }

    /// The admitted probe found nobody to try: the next one may ask at once.
    pub fn no_probe(&mut self) {
        if let State::Probing { trouble, .. } = self.state {
            self.state = State::Open(trouble);
        }
    }

    /// Why refreshes pause at present, if they do.
    #[must_use]
    pub fn trouble(&self) -> Option<Cause> {
        self.pause().map(|pause| pause.cause)
    }

    /// That refreshes pause at present, if they do.
    #[must_use]
    pub fn pause(&self) -> Option<Pause> {
        let (trouble, until, probing) = match self.state {
            State::Closed => return None,
            State::Open(trouble) => (trouble, trouble.end(), false),
            State::Probing { patience, trouble } => (trouble, patience, true),
        };
        Some(Pause { cause: trouble.cause, since: trouble.since, until, probing })
    }

    /// Says whose fault it is and learns from it. `retry_after` is Webex's wish.
    pub fn judge(
        &mut self,
        verdict: Verdict,
        whom: &Whom,
        retry_after: Option<Duration>,
        now: UnixTime,
    ) -> (Verdict, Option<Turn>) {
        let refused = verdict.outcome() == Outcome::ClientRefused;
        let verdict = self.blame(verdict, &whom.person, whom.refused_at);
        if refused && verdict.outcome() != Outcome::ClientRefused {
            // It says nothing about everybody, neither good nor bad: another one must be the probe.
            if whom.role == Role::Probe {
                self.no_probe();
            }
            return (verdict, None);
        }
        match (whom.role, verdict.outcome()) {
            // The probe that is out will tell, or another one.
            (Role::Ordinary, Outcome::Transient) if matches!(self.state, State::Probing { .. }) => {
                return (verdict, None);
            }
            (Role::Doubtful, Outcome::Transient | Outcome::ClientRefused) => return (verdict, None),
            // It is as good as a probe now, unless Webex has asked to wait since.
            (Role::Doubtful, _) => drop(self.admit(now)),
            (Role::Ordinary | Role::Probe, _) => {}
        }
        self.untried = false;
        let turn = self.note(&whom.person, &verdict, retry_after, now);
        (verdict, turn)
    }

    /// Whose fault a refusal of our client is: when it was refused for `person` at `refused_at` already and has been
    /// accepted for somebody else since, it is this grant's.
    fn blame(&self, verdict: Verdict, person: &PersonId, refused_at: Option<UnixTime>) -> Verdict {
        let Verdict::ClientRefused(why) = verdict else { return verdict };
        match (&self.accepted, refused_at) {
            (Some((at, other)), Some(before)) if *at > before && other != person => {
                Verdict::ConsentNeeded(why)
            }
            _ => Verdict::ClientRefused(why),
        }
    }

    /// Learns from a verdict.
    fn note(
        &mut self,
        person: &PersonId,
        verdict: &Verdict,
        retry_after: Option<Duration>,
        now: UnixTime,
    ) -> Option<Turn> {
        match verdict {
            Verdict::Renewed(_) | Verdict::Unchanged(_) => {
                self.accepted = Some((now, person.clone()));
                self.close()
            }
            // Webex spoke of one person: it is there, and it knows us.
            Verdict::ConsentNeeded(_) | Verdict::TokenLimit => self.close(),
            Verdict::ClientRefused(_) => self.open(Cause::ClientRefused, self.own_pause(), now),
            Verdict::Busy(_) => {
                let pause = retry_after.unwrap_or(BUSY_PAUSE).clamp(Duration::from_secs(1), RETRY_AFTER_CAP);
                self.open(Cause::Busy, pause, now)
            }
            Verdict::Transient(_) => self.count(person, now),
        }
    }

    /// An acceptance from the future is of a clock that was set back since: compared with a refusal of now it would
    /// blame every grant for what is the client's fault.
    fn forget_future(&mut self, now: UnixTime) {
        self.accepted.take_if(|(at, _)| *at > now);
    }

    fn count(&mut self, person: &PersonId, now: UnixTime) -> Option<Turn> {
        if !self.streak.contains(person) && self.streak.len() < STREAK {
            self.streak.push(person.clone());
        }
        let probing = matches!(self.state, State::Probing { .. });
        if probing || self.streak.len() >= STREAK {
            self.open(Cause::ManyFailing, self.own_pause(), now)
        } else {
            None
        }
    }

    fn own_pause(&self) -> Duration {
        ladder(self.trips.saturating_add(1)).min(LONGEST_PAUSE)
    }

    /// Stragglers of the same trouble change nothing; a probe that failed opens again, for longer.
    fn open(&mut self, cause: Cause, pause: Duration, now: UnixTime) -> Option<Turn> {
        // What is known must not seem longer than it is.
        self.held(now);
        let (until, latest) = (now + pause, UnixTime::NEVER);
        let known = match &mut self.state {
            State::Closed => None,
            State::Open(present) if present.cause != Cause::ManyFailing || cause == present.cause => {
                // A longer wish of Webex counts even when it comes late, and is told where it takes another cause's place.
                if cause != Cause::Busy || until <= present.end() {
                    return None;
                }
                let news = present.cause != cause;
                *present = Trouble { cause, until, pause, latest, ..*present };
                return news.then_some(Turn::Opened { until, cause, again: false });
            }
            State::Open(trouble) | State::Probing { trouble, .. } => Some(*trouble),
        };
        self.trips = self.trips.saturating_add(1);
        let since = known.map_or(now, |known| known.since);
        self.state = State::Open(Trouble { cause, since, until, pause, latest });
        Some(Turn::Opened { until, cause, again: known.is_some_and(|known| known.cause == cause) })
    }

    fn close(&mut self) -> Option<Turn> {
        self.streak.clear();
        match self.state {
            State::Closed => None,
            // An answer that was under way when Webex asked to wait does not take the wish back.
            State::Open(Trouble { cause: Cause::Busy, .. }) => None,
            State::Open(_) | State::Probing { .. } => {
                self.state = State::Closed;
                self.trips = 0;
                Some(Turn::Closed)
            }
        }
    }
}

#[cfg(test)]
mod tests;
