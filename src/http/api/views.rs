//! Grants and keys, as the API shows them.

use crate::api_types;
use crate::domain::api_key::ApiKeyRecord;
use crate::domain::grant::Grant;
use crate::domain::person::Email;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::http::api::context::Api;

impl Api {
    pub(super) fn person_view(&self, grant: &Grant) -> api_types::PersonView {
        let (person, now) = (&grant.person, self.0.clock.now());
        api_types::PersonView {
            person_id: person.id.to_string(),
            email: person.email.as_ref().map(Email::to_string),
            display_name: person.display_name.clone(),
            org_id: person.org_id.clone(),
            state: grant.state(now).as_str().to_owned(),
            scope: grant.tokens.scope.clone(),
            missing_scopes: grant.missing_scopes(self.0.consents.scopes()),
            obtained_at: grant.obtained_at.to_string(),
            renewed_at: grant.renewed_at.to_string(),
            expires_at: grant.tokens.expires_at.to_string(),
            refresh_token_expires_at: grant.consent_ends_at().and_then(time),
            refresh_token_end_moves: grant.notice_state.refresh_token_end.moves(),
            next_refresh_at: time(grant.next.due_at),
            last_attempt_at: grant.last.at.to_string(),
            last_outcome: grant.last.outcome.as_str().to_owned(),
            failures: grant.failures,
            consent_url: self.consent_url(grant),
        }
    }
}

/// `None` for never.
pub(super) fn time(at: UnixTime) -> Option<String> {
    (at != UnixTime::NEVER).then(|| at.to_string())
}

/// One part of a list, of at most `limit` items, and the position after which the list continues. `found` must have been read
/// with a limit of one more: the additional item shows whether the list continues.
pub(super) fn part<T>(
    mut found: Vec<T>,
    limit: u32,
    position: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_continued = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_continued).map(position);
    (found, next)
}

pub(super) fn key_view(record: &ApiKeyRecord) -> api_types::KeyView {
    let ids = |persons: &Vec<PersonId>| persons.iter().map(PersonId::to_string).collect();
    api_types::KeyView {
        name: record.name.clone(),
        id: record.id.clone(),
        persons: record.persons.as_ref().map(ids),
        can: record.rights.words().into_iter().map(str::to_owned).collect(),
        created_at: record.created_at.to_string(),
        expires_at: record.expires_at.and_then(time),
        last_used_at: record.last_used_at.and_then(time),
    }
}
