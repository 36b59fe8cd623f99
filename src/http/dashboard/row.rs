//! A person as a row of the table, and all that is said of them elsewhere.

use url::form_urlencoded::byte_serialize;

use crate::domain::grant::Grant;
use crate::domain::grant::State;
use crate::domain::schedule::Policy;
use crate::domain::time::UnixTime;
use crate::domain::time::spoken;
use crate::domain::verdict::Outcome;
use crate::http::api::Api;
use crate::http::dashboard::bar::Bar;

/// One person.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: String,
    /// The id, fit for an address.
    pub(super) encoded: String,
    /// The name, or else the address, or else the id.
    pub(super) name: String,
    /// The address, if it is not the name already.
    pub(super) email: Option<String>,
    pub(super) state: Chip,
    pub(super) age: Moment,
    pub(super) bar: Bar,
    pub(super) expires: Moment,
    /// `None`: not again by itself.
    pub(super) next: Option<Moment>,
    /// The refresh token's end as last reported.
    pub(super) ends: Option<Moment>,
    pub(super) outcome: &'static str,
    pub(super) last: Moment,
    pub(super) failures: u32,
    pub(super) consent_url: String,
}

/// A state in words, and the class that colours it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chip {
    pub(super) word: &'static str,
    pub(super) class: &'static str,
}

/// A point in time, as people say it and as machines write it.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) said: String,
    pub(super) exact: String,
}

impl Moment {
    /// `in 3h`, `3h ago`, `now`.
    pub(super) fn of(at: UnixTime, now: UnixTime) -> Self {
        let said = match (at.until(now), now.since(at)) {
            (ahead, _) if ahead.as_secs() > 0 => format!("in {}", spoken(ahead)),
            (_, past) if past.as_secs() > 0 => format!("{} ago", spoken(past)),
            _ => "now".to_owned(),
        };
        Self { said, exact: at.to_string() }
    }

    fn unless_never(at: UnixTime, now: UnixTime) -> Option<Self> {
        (at != UnixTime::NEVER).then(|| Self::of(at, now))
    }
}

impl Chip {
    pub(super) fn of(state: State) -> Self {
        let (word, class) = match state {
            State::Fresh => ("Fresh", "good"),
            State::Due => ("Due", "calm"),
            State::Retrying => ("Retrying", "warn"),
            State::ConsentNeeded => ("Consent needed", "bad"),
        };
        Self { word, class }
    }
}

/// An outcome as operators read it.
pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Renewed => "Renewed",
        Outcome::Unchanged => "Unchanged",
        Outcome::ConsentNeeded => "Consent needed",
        Outcome::Refused => "Refused once, not confirmed yet",
        Outcome::ClientRefused => "Client refused",
        Outcome::TokenLimit => "Token limit",
        Outcome::Busy => "Webex is busy",
        Outcome::Transient => "Failed",
    }
}

impl Row {
    pub(super) fn of(grant: &Grant, api: &Api, policy: &Policy, now: UnixTime) -> Self {
        let person = &grant.person;
        let (id, email) = (person.id.to_string(), person.email.as_ref().map(ToString::to_string));
        let called = person.display_name.clone().filter(|name| !name.trim().is_empty());
        let name = called.clone().or_else(|| email.clone()).unwrap_or_else(|| id.clone());
        Self {
            encoded: byte_serialize(id.as_bytes()).collect(),
            id,
            name,
            email: email.filter(|_| called.is_some()),
            state: Chip::of(grant.state(now)),
            age: Moment { said: spoken(grant.age(now)), exact: grant.renewed_at.to_string() },
            bar: Bar::of(grant, policy, now),
            expires: Moment::of(grant.tokens.expires_at, now),
            next: Moment::unless_never(grant.next.due_at, now),
            ends: grant.tokens.refresh_token_expires_at.and_then(|at| Moment::unless_never(at, now)),
            outcome: outcome(grant.last.outcome),
            last: Moment::of(grant.last.at, now),
            failures: grant.failures,
            consent_url: api.consent_url(grant),
        }
    }
}
