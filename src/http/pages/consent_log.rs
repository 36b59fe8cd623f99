//! The log lines about consents that failed or ended at Webex.

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::consent::ConsentError;
use crate::consent::not_listed;
use crate::consent::shown;
use crate::domain::person::PersonId;
use crate::http::auth::rate_limit::RateLimit;
use crate::log_throttle::DEFAULT_INTERVAL;
use crate::log_throttle::LogThrottle;
use crate::log_throttle::more;

/// Limits the log lines about consents that failed. Any client can cause them.
#[derive(Debug, Default)]
pub(super) struct ConsentLog {
    not_kept: LogThrottle,
    client_refused: LogThrottle,
    declined: LogThrottle,
    ended_at_webex: LogThrottle,
    made_up: LogThrottle,
    not_listed: UnlistedLog,
}

/// Limits the log lines about persons who may not consent. The operator needs each address, but one person
/// may try again and again.
#[derive(Debug)]
struct UnlistedLog(Mutex<UnlistedLogState>);

#[derive(Debug)]
struct UnlistedLogState {
    persons: RateLimit<PersonId>,
    all: RateLimit<()>,
    left_out: u64,
}

/// How many persons are named at once, and within a minute.
const MAX_NAMED: u32 = 10;

/// The error in the callback. Webex sent it, or a client made the link.
pub(super) struct CallbackError<'a> {
    pub(super) error: &'a str,
    pub(super) description: Option<String>,
    pub(super) tracking_id: Option<String>,
}

impl Default for UnlistedLog {
    fn default() -> Self {
        let persons = RateLimit::new(1, DEFAULT_INTERVAL);
        let all = RateLimit::new(MAX_NAMED, DEFAULT_INTERVAL / MAX_NAMED);
        Self(Mutex::new(UnlistedLogState { persons, all, left_out: 0 }))
    }
}

impl UnlistedLog {
    /// The text to append to a line about `person` that may be written now, like [`LogThrottle::next_line`].
    fn next_line(&self, person: &PersonId) -> Option<String> {
        let mut lines = self.0.lock();
        let now = Instant::now();
        if lines.persons.take(person.clone(), now).and_then(|()| lines.all.take((), now)).is_err() {
            lines.left_out = lines.left_out.saturating_add(1);
            return None;
        }
        Some(more(std::mem::take(&mut lines.left_out)))
    }
}

impl ConsentLog {
    pub(super) fn log_failure(&self, error: &ConsentError) {
        let (ConsentError::Refused { tracking_id, .. }
        | ConsentError::ClientRefused { tracking_id, .. }
        | ConsentError::Unreachable { tracking_id, .. }
        | ConsentError::Busy { tracking_id, .. }
        | ConsentError::GivenUp { tracking_id, .. }) = error
        else {
            return self.log_not_sent(error);
        };
        // Errors about codes, which any client can cause, do not hide those that the operator must fix.
        let is_of_client = matches!(error, ConsentError::ClientRefused { .. });
        let limit = if is_of_client { &self.client_refused } else { &self.not_kept };
        if let Some(more) = limit.next_line() {
            let tracking_id = tracking_id.as_deref().unwrap_or("none");
            log::warn!("a consent failed: {error}, tracking id {tracking_id}{more}");
        }
    }

    fn log_not_sent(&self, error: &ConsentError) {
        match error {
            // Any client can make such a link, again and again.
            ConsentError::Stale => log::debug!("a consent failed: {error}"),
            ConsentError::NotAllowed(person) => {
                if let Some(more) = self.not_listed.next_line(&person.id) {
                    log::warn!("{}{more}", not_listed(person));
                }
            }
            _ => {
                if let Some(more) = self.not_kept.next_line() {
                    log::warn!("a consent failed: {error}{more}");
                }
            }
        }
    }

    pub(super) fn log_declined(&self, said: &CallbackError<'_>, began_here: bool) {
        let error = shown(said.error);
        let description = said.description.as_deref().map_or_else(|| "none".to_owned(), shown);
        let tracking_id = said.tracking_id.as_deref().map_or_else(|| "none".to_owned(), shown);
        let all = format!("error {error:?}, description {description:?}, tracking id {tracking_id}");
        if !began_here {
            if let Some(more) = self.made_up.next_line() {
                log::warn!(
                    "received an error of Webex from a browser without a consent in progress: {all}{more}"
                );
            }
        } else if said.error == "access_denied" {
            if let Some(more) = self.declined.next_line() {
                log::info!("a person declined at Webex: {all}{more}");
            }
        } else if let Some(more) = self.ended_at_webex.next_line() {
            let compare = match said.error {
                "invalid_scope" => {
                    "; compare MY_APP_SCOPES with the integration at developer.webex.com/my-apps"
                }
                "invalid_client" | "unauthorized_client" => {
                    "; compare MY_APP_CLIENT_ID with the integration at developer.webex.com/my-apps"
                }
                _ => "",
            };
            log::warn!("Webex ended a consent: {all}{compare}{more}");
        }
    }
}
