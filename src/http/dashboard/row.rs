//! A person as the dashboard shows one: the state, its times, and the possible actions.

use url::form_urlencoded::byte_serialize;

use crate::domain::breaker::Pause;
use crate::domain::grant::Grant;
use crate::domain::grant::GrantState;
use crate::domain::grant::GrantStatus;
use crate::domain::person::Person;
use crate::domain::time::UnixTime;
use crate::domain::time::human_duration;
use crate::domain::verdict::Outcome;
use crate::domain::why::failed;
use crate::http::api::context::Api;
use crate::http::dashboard::invitation::InvitationText;

/// One person.
#[derive(Clone, Debug)]
pub(super) struct PersonRow {
    pub(super) id: String,
    /// The id, encoded for a URL.
    pub(super) encoded: String,
    /// See [`name_of`].
    pub(super) name: String,
    /// Whether it is a name, and not the e-mail address or the id.
    pub(super) is_named: bool,
    /// The e-mail address, in parts between which a line may break.
    pub(super) address: Vec<String>,
    pub(super) state: StateBadge,
    /// What is wrong, in a few words; empty if nothing is wrong.
    pub(super) says: String,
    /// The next refresh. `None` if there will be none.
    pub(super) next: Option<RelativeTime>,
    /// When the consent ends, as last reported. `None` also if it has ended.
    pub(super) ends: Option<RelativeTime>,
    /// Whether the person needs a link.
    pub(super) wants_link: bool,
    /// Whether the consent has ended.
    pub(super) is_over: bool,
    /// Whether the last refresh failed.
    pub(super) is_failing: bool,
    pub(super) invitation: InvitationText,
}

/// A state in words, and its CSS class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateBadge {
    pub(super) word: &'static str,
    pub(super) class: &'static str,
}

/// A point in time, as text for people and for machines.
#[derive(Clone, Debug)]
pub(super) struct RelativeTime {
    pub(super) said: String,
    pub(super) exact: String,
}

impl RelativeTime {
    /// `in 3h`, `3h ago`, `now`.
    pub(super) fn of(at: UnixTime, now: UnixTime) -> Self {
        let said = match (at.until(now), now.since(at)) {
            (ahead, _) if ahead.as_secs() > 0 => format!("in {}", human_duration(ahead)),
            (_, past) if past.as_secs() > 0 => format!("{} ago", human_duration(past)),
            _ => "now".to_owned(),
        };
        Self { said, exact: at.to_string() }
    }

    /// To the minute, for comparison with a log.
    pub(super) fn stamp(&self) -> String {
        let minute = self.exact.get(..16).unwrap_or(&self.exact);
        format!("{} UTC", minute.replace('T', " "))
    }

    fn at_if_planned(at: UnixTime, now: UnixTime) -> Option<Self> {
        (at != UnixTime::NEVER).then(|| Self::of(at, now))
    }
}

/// A person's name, otherwise the e-mail address, otherwise the id.
pub(super) fn name_of(person: &Person) -> String {
    display_name(person).unwrap_or_else(|| person.to_string())
}

fn display_name(person: &Person) -> Option<String> {
    person.display_name.clone().filter(|name| !name.trim().is_empty())
}

/// Splits an address where a line may break: before its `@`, and after each mark that separates words.
fn break_points(address: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for letter in address.chars() {
        if letter == '@' {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(letter);
        }
        if matches!(letter, '.' | '-' | '_' | '+') {
            pieces.push(String::new());
        }
    }
    pieces
}

/// The result of the last refresh, as text for operators.
pub(super) fn outcome_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Renewed => "Renewed",
        Outcome::Unchanged => "Webex returned the same token",
        Outcome::ConsentNeeded => "Refused by Webex",
        Outcome::Refused => "Refused by Webex once; a retry follows soon",
        Outcome::ClientRefused => "Webex refused the client id or secret",
        Outcome::TokenLimit => "Webex issues no more tokens for this person at present",
        Outcome::Busy => "Webex asked to wait",
        Outcome::Transient => "Failed",
    }
}

/// When the access ends, or when it ended.
fn access(grant: &Grant, now: UnixTime) -> String {
    let ends = RelativeTime::of(grant.tokens.expires_at, now).said;
    format!("Access {} {ends}", if is_dead(grant, now) { "ended" } else { "ends" })
}

fn is_dead(grant: &Grant, now: UnixTime) -> bool {
    grant.life_left(now).is_zero()
}

/// The state, and what is wrong.
fn state(grant: &Grant, now: UnixTime) -> (StateBadge, String) {
    let chip = |word, class| StateBadge { word, class };
    let class = if is_dead(grant, now) { "bad" } else { "warn" };
    match (grant.state(now), grant.consent_ends_soon(now)) {
        (GrantState::ConsentNeeded, _) => (chip("Must consent", "bad"), access(grant, now)),
        (GrantState::Retrying, _) => {
            let says = format!("{}; the refresh {}", access(grant, now), failed(grant.failures));
            (chip("Failing", class), says)
        }
        (GrantState::Fresh | GrantState::Due, Some(ends)) => {
            let ended = if ends <= now { "ended" } else { "ends" };
            (chip("Ends soon", "warn"), format!("Consent {ended} {}", RelativeTime::of(ends, now).said))
        }
        (GrantState::Fresh | GrantState::Due, None) if is_dead(grant, now) => {
            (chip("Waiting", class), format!("{}; a refresh follows soon", access(grant, now)))
        }
        (GrantState::Fresh | GrantState::Due, None) => (chip("Working", "good"), String::new()),
    }
}

/// The state in complete sentences, and what to do.
pub(super) fn summary(grant: &Grant, missing: &[String], pause: Option<Pause>, now: UnixTime) -> String {
    let (access, next) = (access(grant, now), grant.next.due_at);
    let next = match next.until(now) {
        left if left.is_zero() => "follows in a moment".to_owned(),
        left => format!("is in {}", human_duration(left)),
    };
    let mut says = match (grant.state(now), grant.consent_ends_soon(now)) {
        (GrantState::ConsentNeeded, _) => format!(
            "Webex no longer renews this person’s access. Send the link, so that the person consents again. {access}."
        ),
        (GrantState::Retrying, _) => {
            let failed = failed(grant.failures);
            format!("The refresh {failed}. {access}; the next try {next}.")
        }
        (GrantState::Fresh | GrantState::Due, Some(ends)) => {
            let (day, ends) = (ends.day(), RelativeTime::of(ends, now).said);
            format!("The consent ends on {day} ({ends}), unless the person renews it: send the link.")
        }
        (GrantState::Fresh | GrantState::Due, None) if is_dead(grant, now) => {
            format!("{access}. The next refresh {next}.")
        }
        (GrantState::Fresh | GrantState::Due, None) => format!("All is well. The next refresh {next}."),
    };
    if !missing.is_empty() {
        says = format!(
            "{says} The consent lacks {}: send the link, so that the person consents to it.",
            missing.join(", ")
        );
    }
    if let Some(pause) = pause.filter(|_| grant.status == GrantStatus::Active) {
        says = format!("{says} All refreshes are paused at present: {}.", pause.cause);
    }
    says
}

impl PersonRow {
    pub(super) fn of(grant: &Grant, api: &Api, invitation: InvitationText, now: UnixTime) -> Self {
        let person = &grant.person;
        let id = person.id.to_string();
        let missing = grant.missing_scopes(api.services().consents.scopes());
        let (state, mut says) = state(grant, now);
        if !missing.is_empty() && grant.status == GrantStatus::Active {
            let and = if says.is_empty() { "" } else { "; " };
            says = format!("{says}{and}Consent lacks {}", missing.join(", "));
        }
        let must_consent = grant.status == GrantStatus::ConsentNeeded;
        Self {
            encoded: byte_serialize(id.as_bytes()).collect(),
            id,
            name: name_of(person),
            is_named: display_name(person).is_some(),
            address: person.email.as_ref().map(|email| break_points(email.as_str())).unwrap_or_default(),
            state,
            says,
            next: RelativeTime::at_if_planned(grant.next.due_at, now).filter(|_| !must_consent),
            ends: grant.consent_ends_at().and_then(|at| RelativeTime::at_if_planned(at, now)),
            wants_link: must_consent || grant.consent_ends_soon(now).is_some() || !missing.is_empty(),
            is_over: must_consent,
            is_failing: grant.state(now) == GrantState::Retrying,
            invitation,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::why::sample::T0;
    use crate::domain::why::sample::days;
    use crate::domain::why::sample::grant;

    fn state_text(grant: &Grant, now: UnixTime) -> (&'static str, &'static str, String) {
        let (chip, says) = state(grant, now);
        (chip.word, chip.class, says)
    }

    #[test]
    fn each_state_says_what_is_wrong() {
        let mut one = grant();
        assert_eq!(state_text(&one, T0), ("Working", "good", String::new()));
        assert_eq!(
            state_text(&one, T0 + days(15)),
            ("Waiting", "bad", "Access ended 1d ago; a refresh follows soon".into())
        );
        one.tokens.expires_at = T0 + days(200);
        assert_eq!(state_text(&one, T0 + days(60)), ("Ends soon", "warn", "Consent ends in 30d".into()));
        assert_eq!(state_text(&one, T0 + days(60) - Duration::from_secs(1)).0, "Working");
        assert_eq!(state_text(&one, T0 + days(92)).2, "Consent ended 2d ago");
        one.failures = 3;
        assert_eq!(
            state_text(&one, T0 + days(199)),
            ("Failing", "warn", "Access ends in 1d; the refresh failed 3 times in a row".into())
        );
        assert_eq!(state_text(&one, T0 + days(201)).1, "bad");
        one.status = GrantStatus::ConsentNeeded;
        assert_eq!(state_text(&one, T0 + days(195)), ("Must consent", "bad", "Access ends in 5d".into()));
        assert_eq!(state_text(&one, T0 + days(201)).2, "Access ended 1d ago");
    }

    #[test]
    fn a_summary_consists_of_sentences() {
        let mut one = grant();
        assert_eq!(summary(&one, &[], None, T0), "All is well. The next refresh is in 1d.");
        one.failures = 1;
        let missing = ["spark:all".to_owned()];
        let says = summary(&one, &missing, None, T0 + days(3));
        let expected = "The refresh failed once. Access ends in 11d; the next try follows in a moment. The consent lacks \
                        spark:all: send the link, so that the person consents to it.";
        assert_eq!(says, expected);
    }

    #[test]
    fn an_address_may_break_between_its_words() {
        let parted = break_points("ada.k-lovelace@example.com");
        assert_eq!(parted, ["ada.", "k-", "lovelace", "@example.", "com"]);
    }
}
