//! Which notices follow from a change to a grant, to the breaker or to another part. Each notice is derived from the
//! difference between two stored states, so that it is created once.

use std::time::Duration;

use crate::domain::breaker::Breaker;
use crate::domain::breaker::Pause;
use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::history::HistoryEntry;
use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::notice::OutboxEntries;
use crate::domain::person::Person;
use crate::domain::refresh_token_end::ComparedAnswers;
use crate::domain::refresh_token_end::ConsentDates;
use crate::domain::refresh_token_end::NoticeState;
use crate::domain::schedule::Policy;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;

/// The part of a replaced grant that notices depend on.
#[derive(Clone, Copy, Debug)]
pub struct ReplacedGrant {
    /// See [`NoticeState::at_risk`].
    pub at_risk: bool,
    /// When its access token expires.
    pub expires_at: UnixTime,
}

/// Where a stored grant came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The person consented.
    Consent,
    /// The operator imported the grant from another program.
    Import,
}

impl Origin {
    fn word(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Import => "import",
        }
    }
}

/// Adds the notices and history entries of a refresh to `after`. `before` is the grant as it was claimed, and `after` is the
/// grant with the result of the refresh.
#[must_use]
pub fn after_refresh(before: &Grant, mut after: Grant) -> Grant {
    let (at, was) = (after.last.at, before.notice_state);
    let mut outbox_entries =
        OutboxEntries { outcome: Some(after.last.outcome.as_str()), ..OutboxEntries::default() };
    let mut state = was;
    let renewed = is_success(after.last.outcome);
    if renewed {
        state.refresh_token_end = was.refresh_token_end.learn(&ComparedAnswers {
            earlier_at: before.answered_at,
            earlier_end: before.tokens.refresh_token_expires_at,
            later_at: after.answered_at,
            later_end: after.tokens.refresh_token_expires_at,
            is_renewal: after.last.outcome == Outcome::Renewed,
        });
        // Webex may answer with the token that is at risk.
        if was.at_risk && !Policy::is_at_risk(&after.dates(), at) {
            state.at_risk = false;
            outbox_entries.notices.push(recovered(&after.person, before.tokens.expires_at, at));
        }
        if let Some(notice) = extended(&after, &was, at) {
            state.last_expiring_step = None;
            outbox_entries.notices.push(notice);
        }
    }
    match (before.status, after.status) {
        (GrantStatus::Active, GrantStatus::ConsentNeeded) => outbox_entries.notices.push(needed(&after)),
        (GrantStatus::ConsentNeeded, GrantStatus::Active) => {
            outbox_entries.notices.push(granted(&after, "renewed by Webex after all"))
        }
        _ => {}
    }
    let failing = after.status == GrantStatus::Active && !renewed;
    if failing && !was.at_risk && Policy::is_at_risk(&after.dates(), at) {
        state.at_risk = true;
        outbox_entries.notices.push(at_risk(&after, &after.last.detail, at));
    }
    if is_change(before, &after) {
        let what = format!("refresh.{}", after.last.outcome.as_str());
        outbox_entries.history.push(HistoryEntry::new(
            at,
            Some(&after.person.id),
            &what,
            &describe_change(before, &after),
        ));
    }
    outbox_entries.add_history_of_notices();
    (after.notice_state, after.outbox_entries) = (state, outbox_entries);
    after
}

fn is_success(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Renewed | Outcome::Unchanged)
}

/// Whether a refresh gets a history entry of its own: it succeeded after a failure, it failed after a success, or it failed
/// with another outcome than the one before.
fn is_change(before: &Grant, after: &Grant) -> bool {
    match (is_success(before.last.outcome), is_success(after.last.outcome)) {
        (true, true) => false,
        (false, false) => before.last.outcome != after.last.outcome,
        _ => true,
    }
}

/// What a refresh changed, and why.
fn describe_change(before: &Grant, after: &Grant) -> String {
    let state = |grant: &Grant| match grant.status {
        GrantStatus::ConsentNeeded => "a new consent is needed",
        GrantStatus::Active if is_success(grant.last.outcome) => "refreshes succeed",
        GrantStatus::Active => "refreshes fail and are repeated",
    };
    let (was, is, cause) = (state(before), state(after), after.last.detail.as_str());
    let change = if was == is { format!("still: {is}") } else { format!("now: {is}; before: {was}") };
    if cause.is_empty() { change } else { format!("{change}; cause: {cause}") }
}

/// The notices of a stored consent. `replaced` is the person's previous grant.
#[must_use]
pub fn after_consent(grant: &Grant, replaced: Option<ReplacedGrant>, origin: Origin) -> OutboxEntries {
    let mut outbox_entries =
        OutboxEntries { notices: vec![granted(grant, origin.word())], ..OutboxEntries::default() };
    if let Some(old) = replaced.filter(|old| old.at_risk) {
        outbox_entries.notices.push(recovered(&grant.person, old.expires_at, grant.last.at));
    }
    outbox_entries.add_history_of_notices();
    outbox_entries
}

/// The notice that a person's grant was removed.
#[must_use]
pub fn forgotten(person: &Person, serial: i64, at: UnixTime) -> OutboxEntries {
    OutboxEntries::of(Notice::new(NoticeType::PersonForgotten, Some(person), &serial.to_string(), at))
}

/// The notice that the stored record of a person cannot be decrypted. The pair is the record's serial and version. No token
/// can be read from the record any more, so the notice says that the access token ends `now`, whatever its stored date is.
#[must_use]
pub fn unreadable(person: &Person, (serial, version): (i64, i64), now: UnixTime) -> Notice {
    Notice::new(NoticeType::ConsentNeeded, Some(person), &format!("unreadable {serial} {version}"), now)
        .with("access_token_expires_at", now.to_string())
        .with("reason", "the stored record does not open: it was changed, or sealed by another key")
}

/// The notice that a consent ends soon, and the new state. `None` if no step is due, or if the notice of the step was created
/// before.
#[must_use]
pub fn expiring(grant: &Grant, now: UnixTime) -> Option<(NoticeState, OutboxEntries)> {
    let ends_at = grant.consent_ends_at()?;
    let dates = ConsentDates { ends_at, answered_at: grant.answered_at };
    let step = grant.notice_state.step_due(&dates, now)?;
    // The version contains the hour of the end. Webex reports the end as whole seconds from each answer, so the computed end
    // differs by seconds from answer to answer.
    let version =
        format!("{} {step} {}", grant.obtained_at.0, (ends_at + Duration::from_secs(1800)).seconds() / 3600);
    let notice = Notice::new(NoticeType::ConsentExpiring, Some(&grant.person), &version, now)
        .with("days", step)
        .with("consent_ends_at", ends_at.to_string());
    let state = NoticeState { last_expiring_step: Some(step), ..grant.notice_state };
    Some((state, OutboxEntries::of(notice)))
}

/// The pause in the stored text of a breaker, which [`Breaker::to_text`] wrote. `None` if refreshes do not pause.
#[must_use]
pub fn stored_pause(breaker: &str) -> Option<Pause> {
    // This time is later than every date in the text, so no date is treated as one of a fast clock.
    Breaker::from_text(breaker, UnixTime::NEVER).and_then(|breaker| breaker.pause())
}

/// The notice that a token is at risk while no refresh is tried, and the new state. A token is at risk if its remaining life
/// is below the survival margin. `None` if the token is not at risk, or if the notice was created before.
#[must_use]
pub fn at_risk_without_refresh(
    grant: &Grant,
    reason: &str,
    now: UnixTime,
) -> Option<(NoticeState, OutboxEntries)> {
    let is_living = grant.status == GrantStatus::Active;
    if !is_living || grant.notice_state.at_risk || !Policy::is_at_risk(&grant.dates(), now) {
        return None;
    }
    let state = NoticeState { at_risk: true, ..grant.notice_state };
    Some((state, OutboxEntries::of(at_risk(grant, reason, now))))
}

/// The notice of a change to the stored breaker, if the breaker opened or closed. [`Breaker::to_text`] wrote both texts.
#[must_use]
pub fn breaker_turned(before: Option<&str>, after: &str, now: UnixTime) -> Option<Notice> {
    match (before.and_then(stored_pause), stored_pause(after)) {
        (None, Some(pause)) => {
            let version = format!("{} {}", pause.since.0, pause.cause.as_str());
            let notice = Notice::new(NoticeType::AppPaused, None, &version, pause.since);
            Some(
                notice
                    .with("cause", pause.cause.as_str())
                    .with("explanation", pause.cause.to_string())
                    .with("until", pause.until.to_string()),
            )
        }
        (Some(pause), None) => {
            let version = format!("{} {}", pause.since.0, pause.cause.as_str());
            let notice = Notice::new(NoticeType::AppResumed, None, &version, now);
            Some(notice.with("cause", pause.cause.as_str()).with("paused_since", pause.since.to_string()))
        }
        _ => None,
    }
}

fn granted(grant: &Grant, how: &str) -> Notice {
    // If Webex renews a refused grant after all, the date of the consent does not change. The date of the answer distinguishes
    // this event from the consent.
    let version = format!("{} {}", grant.obtained_at.0, grant.answered_at.0);
    Notice::new(NoticeType::ConsentGranted, Some(&grant.person), &version, grant.last.at).with("how", how)
}

fn needed(grant: &Grant) -> Notice {
    let since = grant.refused_since.unwrap_or(grant.last.at);
    let version = format!("{} {}", grant.obtained_at.0, since.0);
    Notice::new(NoticeType::ConsentNeeded, Some(&grant.person), &version, grant.last.at)
        .with("access_token_expires_at", grant.tokens.expires_at.to_string())
        .with("reason", grant.last.detail.clone())
}

fn at_risk(grant: &Grant, reason: &str, at: UnixTime) -> Notice {
    let version = risk_of(grant.tokens.expires_at);
    Notice::new(NoticeType::TokenAtRisk, Some(&grant.person), &version, at)
        .with("access_token_expires_at", grant.tokens.expires_at.to_string())
        .with("failures", grant.failures)
        .with("reason", reason)
}

fn recovered(person: &Person, expired_at: UnixTime, at: UnixTime) -> Notice {
    Notice::new(NoticeType::TokenRecovered, Some(person), &risk_of(expired_at), at)
}

/// Identifies the risk by the end of the token that is at risk.
fn risk_of(expires_at: UnixTime) -> String {
    expires_at.0.to_string()
}

fn extended(grant: &Grant, was: &NoticeState, at: UnixTime) -> Option<Notice> {
    let ends_at = grant.consent_ends_at().filter(|ends_at| was.is_extended(*ends_at, at))?;
    let version = format!("{} {}", grant.obtained_at.0, ends_at.0);
    let notice = Notice::new(NoticeType::ConsentExtended, Some(&grant.person), &version, at);
    Some(notice.with("consent_ends_at", ends_at.to_string()))
}

#[cfg(test)]
mod tests;
