//! Whether refreshes move the reported end of a grant's refresh token, and when a person is to be told of that end.
//!
//! Webex reports the end with each token answer. Sources disagree whether a refresh renews it (webex-api, open question 3):
//! one log shows no change within 27 hours, the admin API's page says that it is extended with every use. So it is learned
//! for each grant.

use std::time::Duration;

use crate::domain::time::DAY;
use crate::domain::time::UnixTime;

/// The steps at which the end of a consent is told, in days before it.
pub const EXPIRING_STEPS: [u32; 5] = [30, 14, 7, 3, 1];

/// Two answers must be at least so far apart to show that the end stays where it is.
const SHORTEST_COMPARED: Duration = Duration::from_secs(3600);

/// A grant that Webex has not renewed for so long is not being moved, whatever was learned before.
pub const STALE: Duration = DAY.saturating_mul(7);

/// What refreshes do to the reported end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Horizon {
    /// No refresh has shown it yet.
    #[default]
    Unknown,
    /// The last refresh that shows it moved the end.
    Moves,
    /// The last refresh that shows it left the end where it was.
    Stays,
}

/// Two successive answers of Webex for one grant.
#[derive(Clone, Copy, Debug)]
pub struct ComparedAnswers {
    /// When the earlier answer's request was sent.
    pub earlier_at: UnixTime,
    /// The end that it reported.
    pub earlier_end: Option<UnixTime>,
    /// When the later answer's request was sent.
    pub later_at: UnixTime,
    /// The end that it reported.
    pub later_end: Option<UnixTime>,
    /// The later answer brought a new access token. One that did not says nothing about an end that stays: Webex answers
    /// with the same token within a day.
    pub is_renewal: bool,
}

impl Horizon {
    /// All of them with their words.
    const WORDS: [(Self, &'static str); 3] =
        [(Self::Unknown, "unknown"), (Self::Moves, "moves"), (Self::Stays, "stays")];

    /// The word, as it is stored and answered.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(horizon, _)| *horizon == self).map_or("unknown", |(_, word)| word)
    }

    /// The one that `word` stands for; [`Horizon::Unknown`] for anything else.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        Self::WORDS.iter().find(|(_, w)| *w == word).map_or(Self::Unknown, |(horizon, _)| *horizon)
    }

    /// Whether refreshes move the end; `None`: not known.
    #[must_use]
    pub fn moves(self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Moves => Some(true),
            Self::Stays => Some(false),
        }
    }

    /// What two answers teach beside what was known.
    #[must_use]
    pub fn learn(self, answers: &ComparedAnswers) -> Self {
        let (Some(earlier), Some(later)) = (answers.earlier_end, answers.later_end) else { return self };
        let (apart, moved) = (answers.later_at.since(answers.earlier_at), later.since(earlier));
        match () {
            // A minute: two answers at nearly one moment, rounded to seconds, show nothing.
            () if moved > Duration::from_secs(60) && moved >= apart / 2 => Self::Moves,
            () if answers.is_renewal && apart >= SHORTEST_COMPARED => Self::Stays,
            () => self,
        }
    }
}

/// What is kept of a grant so that each notice about it is created once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoticeState {
    /// Whether refreshes move the end.
    pub horizon: Horizon,
    /// The last of [`EXPIRING_STEPS`] that was told, in days.
    pub expiring_told: Option<u32>,
    /// `token.at_risk` was told, and no recovery since.
    pub at_risk: bool,
}

/// The dates on which the step depends.
#[derive(Clone, Copy, Debug)]
pub struct ConsentDates {
    /// The reported end of the refresh token.
    pub ends_at: UnixTime,
    /// When Webex last answered with a live token.
    pub answered_at: UnixTime,
}

impl NoticeState {
    /// Whether the end comes nearer with every day, as far as is known at `now`.
    #[must_use]
    pub fn is_counting_down(&self, dates: &ConsentDates, now: UnixTime) -> bool {
        self.horizon == Horizon::Stays || now.since(dates.answered_at) >= STALE
    }

    /// The step that is to be told now: the smallest one that has been reached, if it is not told yet and refreshes do not
    /// move the end. Steps that passed while nothing ran are not told one after the other.
    #[must_use]
    pub fn step_due(&self, dates: &ConsentDates, now: UnixTime) -> Option<u32> {
        let left = dates.ends_at.until(now);
        let reached = EXPIRING_STEPS.into_iter().rev().find(|step| left <= DAY * *step)?;
        let is_news = self.expiring_told.is_none_or(|told| reached < told);
        (is_news && self.is_counting_down(dates, now)).then_some(reached)
    }

    /// Whether an end that was told as near is farther away again than the step that was told. By more than an hour: two
    /// answers' ends differ by seconds.
    #[must_use]
    pub fn is_extended(&self, ends_at: UnixTime, now: UnixTime) -> bool {
        self.expiring_told.is_some_and(|told| ends_at.until(now) > DAY * told + SHORTEST_COMPARED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn compared(apart: Duration, moved: Duration, is_renewal: bool) -> ComparedAnswers {
        ComparedAnswers {
            earlier_at: NOW,
            earlier_end: Some(NOW + 90 * DAY),
            later_at: NOW + apart,
            later_end: Some(NOW + 90 * DAY + moved),
            is_renewal,
        }
    }

    #[test]
    fn a_refresh_shows_whether_the_end_moves() {
        for (apart, moved, is_renewal, learned) in [
            (DAY, DAY, true, Horizon::Moves),
            (DAY, Duration::ZERO, true, Horizon::Stays),
            (DAY, Duration::from_secs(2), true, Horizon::Stays),
            (DAY, 60 * DAY, true, Horizon::Moves),
            (HOUR, HOUR, false, Horizon::Moves),
            (27 * HOUR, Duration::ZERO, false, Horizon::Unknown),
            (Duration::from_secs(90), Duration::ZERO, true, Horizon::Unknown),
            (Duration::from_secs(1), Duration::from_secs(1), true, Horizon::Unknown),
        ] {
            let answers = compared(apart, moved, is_renewal);
            assert_eq!(Horizon::Unknown.learn(&answers), learned, "{answers:?}");
        }
        let silent = ComparedAnswers { later_end: None, ..compared(DAY, DAY, true) };
        assert_eq!(Horizon::Stays.learn(&silent), Horizon::Stays);
    }

    #[test]
    fn the_last_answer_counts_where_webex_changes_its_ways() {
        let (moves, stays) = (compared(DAY, DAY, true), compared(DAY, Duration::ZERO, true));
        assert_eq!(Horizon::Unknown.learn(&stays).learn(&moves), Horizon::Moves);
        assert_eq!(Horizon::Unknown.learn(&moves).learn(&stays), Horizon::Stays);
    }

    #[test]
    fn each_step_is_told_once_and_skipped_ones_are_left_out() {
        let dates = |left: Duration| ConsentDates { ends_at: NOW + left, answered_at: NOW };
        let mut state = NoticeState { horizon: Horizon::Stays, ..NoticeState::default() };
        let mut told = Vec::new();
        for hours in (0..40 * 24).rev() {
            if let Some(step) = state.step_due(&dates(HOUR * hours), NOW) {
                told.push((step, hours));
                state.expiring_told = Some(step);
            }
        }
        assert_eq!(told, [(30, 720), (14, 336), (7, 168), (3, 72), (1, 24)]);
        let fresh = NoticeState { horizon: Horizon::Stays, ..NoticeState::default() };
        assert_eq!(fresh.step_due(&dates(5 * DAY), NOW), Some(7), "after a long pause");
    }

    #[test]
    fn an_end_that_refreshes_move_is_told_only_when_refreshes_fail_for_a_week() {
        let state = NoticeState { horizon: Horizon::Moves, ..NoticeState::default() };
        let dates = |quiet: Duration| ConsentDates { ends_at: NOW + 5 * DAY, answered_at: NOW - quiet };
        assert_eq!(state.step_due(&dates(DAY), NOW), None);
        assert_eq!(state.step_due(&dates(7 * DAY), NOW), Some(7));
    }

    #[test]
    fn an_end_is_extended_when_the_told_step_lies_ahead_again() {
        let state = NoticeState { expiring_told: Some(14), ..NoticeState::default() };
        assert!(!state.is_extended(NOW + 13 * DAY, NOW));
        assert!(state.is_extended(NOW + 90 * DAY, NOW));
        assert!(!NoticeState::default().is_extended(NOW + 90 * DAY, NOW));
    }
}
