//! Whether refreshes move the reported end of a grant's refresh token, and when that end must be reported.
//!
//! Webex reports the end with each token answer. Sources disagree whether a refresh renews it (webex-api, open question 3):
//! one log shows no change within 27 hours, the admin API's page says that it is extended with every use. So it is learned
//! for each grant.

use std::time::Duration;

use strum::EnumString;
use strum::IntoStaticStr;

use crate::domain::time::DAY;
use crate::domain::time::UnixTime;

/// The steps at which the end of a consent is reported, in days before it.
pub const EXPIRING_STEPS: [u32; 5] = [30, 14, 7, 3, 1];

/// Two answers must be at least so far apart to show that the end stays where it is.
const SHORTEST_COMPARED: Duration = Duration::from_secs(3600);

/// A grant that Webex has not renewed for so long is not being moved, whatever was learned before.
pub const STALE: Duration = DAY.saturating_mul(7);

/// What refreshes do to the reported end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RefreshTokenEnd {
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

impl RefreshTokenEnd {
    /// The word, as it is stored and answered.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The one that `word` stands for; [`RefreshTokenEnd::Unknown`] for anything else.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        word.parse().unwrap_or_default()
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
    pub refresh_token_end: RefreshTokenEnd,
    /// The last of [`EXPIRING_STEPS`] that was reported, in days.
    pub last_expiring_step: Option<u32>,
    /// `token.at_risk` was reported, and no recovery since.
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
        self.refresh_token_end == RefreshTokenEnd::Stays || now.since(dates.answered_at) >= STALE
    }

    /// The step that is to be reported now: the smallest one that has been reached, if it is not reported yet and refreshes do not
    /// move the end. Steps that passed while nothing ran are not reported one after the other.
    #[must_use]
    pub fn step_due(&self, dates: &ConsentDates, now: UnixTime) -> Option<u32> {
        let left = dates.ends_at.until(now);
        let reached = EXPIRING_STEPS.into_iter().rev().find(|step| left <= DAY * *step)?;
        let is_new = self.last_expiring_step.is_none_or(|reported| reached < reported);
        (is_new && self.is_counting_down(dates, now)).then_some(reached)
    }

    /// Whether an end that was reported as near is farther away again than the step that was reported. By more than an hour: two
    /// answers' ends differ by seconds.
    #[must_use]
    pub fn is_extended(&self, ends_at: UnixTime, now: UnixTime) -> bool {
        self.last_expiring_step
            .is_some_and(|reported| ends_at.until(now) > DAY * reported + SHORTEST_COMPARED)
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
    fn the_words_in_stored_grants_stay_as_they_are() {
        for (end, word) in [
            (RefreshTokenEnd::Unknown, "unknown"),
            (RefreshTokenEnd::Moves, "moves"),
            (RefreshTokenEnd::Stays, "stays"),
        ] {
            assert_eq!((end.as_str(), RefreshTokenEnd::parse(word)), (word, end));
        }
    }

    #[test]
    fn a_refresh_shows_whether_the_end_moves() {
        for (apart, moved, is_renewal, learned) in [
            (DAY, DAY, true, RefreshTokenEnd::Moves),
            (DAY, Duration::ZERO, true, RefreshTokenEnd::Stays),
            (DAY, Duration::from_secs(2), true, RefreshTokenEnd::Stays),
            (DAY, 60 * DAY, true, RefreshTokenEnd::Moves),
            (HOUR, HOUR, false, RefreshTokenEnd::Moves),
            (27 * HOUR, Duration::ZERO, false, RefreshTokenEnd::Unknown),
            (Duration::from_secs(90), Duration::ZERO, true, RefreshTokenEnd::Unknown),
            (Duration::from_secs(1), Duration::from_secs(1), true, RefreshTokenEnd::Unknown),
        ] {
            let answers = compared(apart, moved, is_renewal);
            assert_eq!(RefreshTokenEnd::Unknown.learn(&answers), learned, "{answers:?}");
        }
        let silent = ComparedAnswers { later_end: None, ..compared(DAY, DAY, true) };
        assert_eq!(RefreshTokenEnd::Stays.learn(&silent), RefreshTokenEnd::Stays);
    }

    #[test]
    fn the_last_answer_counts_where_webex_changes_its_ways() {
        let (moves, stays) = (compared(DAY, DAY, true), compared(DAY, Duration::ZERO, true));
        assert_eq!(RefreshTokenEnd::Unknown.learn(&stays).learn(&moves), RefreshTokenEnd::Moves);
        assert_eq!(RefreshTokenEnd::Unknown.learn(&moves).learn(&stays), RefreshTokenEnd::Stays);
    }

    #[test]
    fn each_step_is_told_once_and_skipped_ones_are_left_out() {
        let dates = |left: Duration| ConsentDates { ends_at: NOW + left, answered_at: NOW };
        let mut state = NoticeState { refresh_token_end: RefreshTokenEnd::Stays, ..NoticeState::default() };
        let mut reported = Vec::new();
        for hours in (0..40 * 24).rev() {
            if let Some(step) = state.step_due(&dates(HOUR * hours), NOW) {
                reported.push((step, hours));
                state.last_expiring_step = Some(step);
            }
        }
        assert_eq!(reported, [(30, 720), (14, 336), (7, 168), (3, 72), (1, 24)]);
        let fresh = NoticeState { refresh_token_end: RefreshTokenEnd::Stays, ..NoticeState::default() };
        assert_eq!(fresh.step_due(&dates(5 * DAY), NOW), Some(7), "after a long pause");
    }

    #[test]
    fn an_end_that_refreshes_move_is_told_only_when_refreshes_fail_for_a_week() {
        let state = NoticeState { refresh_token_end: RefreshTokenEnd::Moves, ..NoticeState::default() };
        let dates = |quiet: Duration| ConsentDates { ends_at: NOW + 5 * DAY, answered_at: NOW - quiet };
        assert_eq!(state.step_due(&dates(DAY), NOW), None);
        assert_eq!(state.step_due(&dates(7 * DAY), NOW), Some(7));
    }

    #[test]
    fn an_end_is_extended_when_the_told_step_lies_ahead_again() {
        let state = NoticeState { last_expiring_step: Some(14), ..NoticeState::default() };
        assert!(!state.is_extended(NOW + 13 * DAY, NOW));
        assert!(state.is_extended(NOW + 90 * DAY, NOW));
        assert!(!NoticeState::default().is_extended(NOW + 90 * DAY, NOW));
    }
}
