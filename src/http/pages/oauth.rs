//! `GET /oauth`: begins a consent, and completes it when Webex sends the browser back.

use std::sync::Mutex;
use std::sync::PoisonError;

use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header;
use tokio::time::Instant;

use crate::consent;
use crate::consent::ConsentError;
use crate::consent::not_listed;
use crate::consent::shown;
use crate::domain::exchanges::ClientNetwork;
use crate::domain::person::Email;
use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::http::client_network::network;
use crate::http::csp;
use crate::http::log_limit::EVERY;
use crate::http::log_limit::LogThrottle;
use crate::http::log_limit::more;
use crate::http::pages::GrantedPage;
use crate::http::pages::callback::Callback;
use crate::http::pages::consent_errors;
use crate::http::pages::space;
use crate::http::rate_limit::RateLimit;
use crate::http::response;
use crate::http::response_body::ResponseBody;
use crate::http::router::Routes;
use crate::http::server::handler::Peer;

/// Limits the log lines about consents that failed. Any client can cause them.
#[derive(Debug, Default)]
pub(in crate::http) struct ConsentLog {
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

impl Routes {
    pub(in crate::http) async fn oauth(
        &self,
        request: &Request<Incoming>,
        peer: Peer,
    ) -> Response<ResponseBody> {
        let headers = request.headers();
        match Callback::read(request.uri().query().unwrap_or_default()) {
            Callback::Begin { hint, login } => self.begin(hint.as_ref(), login.as_deref(), headers),
            Callback::Declined { error, description, tracking_id, state } => {
                let began_here = state.is_some_and(|state| {
                    let sealed = self.cookies.find(headers, &consent::cookie_suffix(&state));
                    self.consents.declined(&error, &state, sealed)
                });
                let said = CallbackError { error: &error, description, tracking_id };
                self.consent_log.log_declined(&said, began_here);
                // Webex's description of the error is not shown, because any client can make such a link.
                consent_errors::webex_refused(&self.frame, &error)
            }
            Callback::Granted { code, state } if is_preview(request) => self.preview(&code, &state, headers),
            Callback::Granted { code, state } => {
                self.finish(code, state, headers, Some(network(peer.addr.ip()))).await
            }
            Callback::Stale => consent_errors::consent_problem(&self.frame, ConsentError::Stale),
        }
    }

    fn begin(
        &self,
        hint: Option<&Email>,
        login: Option<&str>,
        headers: &HeaderMap,
    ) -> Response<ResponseBody> {
        let begun = match login {
            Some(login) => self.consents.begin_for(login, hint),
            None => self.consents.begin(hint),
        };
        let begun = match begun {
            Ok(begun) => begun,
            Err(error) => return consent_errors::consent_problem(&self.frame, error),
        };
        let mut response = response::redirect(&begun.url);
        for cookie in self.cookies.set_ticket(headers, &begun.name, &begun.sealed, begun.keep) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }

    /// A code is for the person's own visit, not for programs that prefetch the URL.
    fn preview(&self, _code: &Secret, state: &Secret, headers: &HeaderMap) -> Response<ResponseBody> {
        let sealed = self.cookies.find(headers, &consent::cookie_suffix(state));
        if self.consents.admits(state, sealed) {
            response::refuse_prefetch()
        } else {
            consent_errors::consent_problem(&self.frame, ConsentError::Stale)
        }
    }

    /// Runs as a task of its own, because this handler ends when the browser disconnects. A code works once,
    /// and must not be lost. The browser keeps the ticket: if it sends the callback again, it gets the first
    /// result.
    async fn finish(
        &self,
        code: Secret,
        state: Secret,
        headers: &HeaderMap,
        network: ClientNetwork,
    ) -> Response<ResponseBody> {
        let sealed = self.cookies.find(headers, &consent::cookie_suffix(&state)).map(str::to_owned);
        let (consents, tasks, log) = (self.consents.clone(), self.tasks.clone(), self.consent_log.clone());
        let finish = self.tasks.spawn("consent", async move {
            let finished = consents.finish(code, state, sealed.as_deref(), network).await;
            match &finished {
                Ok(granted) if granted.is_repeated => {}
                Ok(granted) => space::add_to_space_later(&tasks, consents, granted.person.id.clone()),
                Err(error) => log.log_failure(error),
            }
            finished
        });
        let finished = finish.await.unwrap_or_else(|broken| {
            log::error!("the task of a consent failed: {broken}");
            Err(ConsentError::NoTicket)
        });
        match finished {
            Ok(granted) => {
                let invitation = self.consents.issue_cookie(&granted);
                let space = invitation.as_ref().and_then(|it| self.space_at(it.part.expose()));
                let mut response = self.granted(&granted, space.as_deref());
                if let (Some(invitation), Some(space)) = (invitation, space) {
                    self.cookies.set_space_session(&mut response, &invitation, &space);
                }
                response
            }
            Err(error) => consent_errors::consent_problem(&self.frame, error),
        }
    }

    fn granted(&self, granted: &consent::Granted, space: Option<&str>) -> Response<ResponseBody> {
        let (asked, revoke_at) = (self.consents.scopes(), self.consents.revoke_at());
        let page = GrantedPage::new(&self.frame, granted, asked, revoke_at, space);
        let mut response = response::page(StatusCode::OK, &page);
        let policy = csp::with_picture(granted.picture.as_ref());
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        response
    }
}

/// Whether no person sees the response: programs check URLs by HEAD, and browsers prefetch them.
fn is_preview<B>(request: &Request<B>) -> bool {
    let purposes = ["sec-purpose", "purpose", "x-moz", "x-purpose"].into_iter();
    let mut values = purposes.flat_map(|name| request.headers().get_all(name));
    let ahead = |word: &str| {
        word.trim().eq_ignore_ascii_case("prefetch") || word.trim().eq_ignore_ascii_case("preview")
    };
    request.method() == Method::HEAD
        || values.any(|value| value.to_str().is_ok_and(|text| text.split([';', ',']).any(ahead)))
}

/// The error in the callback. Webex sent it, or a client made the link.
struct CallbackError<'a> {
    error: &'a str,
    description: Option<String>,
    tracking_id: Option<String>,
}

impl Default for UnlistedLog {
    fn default() -> Self {
        let (persons, all) = (RateLimit::new(1, EVERY), RateLimit::new(MAX_NAMED, EVERY / MAX_NAMED));
        Self(Mutex::new(UnlistedLogState { persons, all, left_out: 0 }))
    }
}

impl UnlistedLog {
    /// The text to append to a line about `person` that may be written now, like [`LogThrottle::next_line`].
    fn next_line(&self, person: &PersonId) -> Option<String> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if lines.persons.take(person.clone(), now).and_then(|()| lines.all.take((), now)).is_err() {
            lines.left_out = lines.left_out.saturating_add(1);
            return None;
        }
        Some(more(std::mem::take(&mut lines.left_out)))
    }
}

impl ConsentLog {
    fn log_failure(&self, error: &ConsentError) {
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

    fn log_declined(&self, said: &CallbackError<'_>, began_here: bool) {
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
