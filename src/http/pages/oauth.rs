//! `GET /oauth`: begins a consent, and completes it when Webex sends the browser back.

use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header;

use crate::consent;
use crate::consent::ConsentError;
use crate::domain::code_exchange_limits::ClientNetwork;
use crate::domain::person::Email;
use crate::domain::secret::Secret;
use crate::http::auth::client_network::network;
use crate::http::pages::callback::Callback;
use crate::http::pages::consent_errors;
use crate::http::pages::consent_log::CallbackError;
use crate::http::pages::context::ConsentPages;
use crate::http::pages::granted::GrantedPage;
use crate::http::pages::space_widget;
use crate::http::request::cookies::add_cookies;
use crate::http::response;
use crate::http::response::csp;
use crate::http::response::response_body::ResponseBody;
use crate::http::server::handler::Peer;

impl ConsentPages {
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
            Callback::Granted { state, .. } if is_preview(request) => self.preview(&state, headers),
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
        let cookies = self.cookies.set_ticket(headers, &begun.name, &begun.sealed, begun.keep);
        add_cookies(&mut response, cookies);
        response
    }

    /// A code is for the person's own visit, not for programs that prefetch the URL.
    fn preview(&self, state: &Secret, headers: &HeaderMap) -> Response<ResponseBody> {
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
                Ok(granted) => space_widget::add_to_space_later(&tasks, consents, granted.person.id.clone()),
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
                    add_cookies(&mut response, self.cookies.set_space_session(&invitation, &space));
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
