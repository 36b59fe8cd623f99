//! `GET /oauth`: begins a consent, and finishes it when Webex sends the browser back.

use hyper::HeaderMap;
use hyper::Response;
use hyper::StatusCode;
use hyper::header;
use hyper::header::HeaderValue;

use crate::consent;
use crate::consent::ConsentError;
use crate::domain::person::Email;
use crate::domain::secret::Secret;
use crate::http::callback::Callback;
use crate::http::pages::GrantedPage;
use crate::http::policy;
use crate::http::respond;
use crate::http::router::Door;
use crate::http::serve::Body;
use crate::http::space;

impl Door {
    pub(super) async fn oauth(&self, query: &str, headers: &HeaderMap) -> Response<Body> {
        match Callback::read(query) {
            Callback::Begin { hint, login } => self.begin(hint.as_ref(), login.as_deref(), headers),
            Callback::Declined { error, state } => {
                if let Some(state) = state {
                    let sealed = self.cookies.find(headers, &consent::name_of(&state));
                    self.consents.declined(&error, &state, sealed);
                }
                // What Webex wrote beside the error is not shown: anybody can make such a link.
                respond::webex_refused(&self.frame, &error)
            }
            Callback::Granted { code, state } => self.finish(code, state, headers).await,
            Callback::Stale => respond::consent_problem(&self.frame, ConsentError::Stale),
        }
    }

    fn begin(&self, hint: Option<&Email>, login: Option<&str>, headers: &HeaderMap) -> Response<Body> {
        let begun = match login {
            Some(login) => self.consents.begin_for(login, hint),
            None => self.consents.begin(hint),
        };
        let begun = match begun {
            Ok(begun) => begun,
            Err(error) => return respond::consent_problem(&self.frame, error),
        };
        let mut response = respond::redirect(&begun.url);
        for cookie in self.cookies.keep(headers, &begun.name, &begun.sealed, begun.keep) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }

    /// Runs beside this handler, which ends when the browser leaves: a code works once, and must not be lost with it.
    async fn finish(&self, code: Secret, state: Secret, headers: &HeaderMap) -> Response<Body> {
        let name = consent::name_of(&state);
        let sealed = self.cookies.find(headers, &name).map(str::to_owned);
        let (consents, tasks) = (self.consents.clone(), self.tasks.clone());
        let finish = self.tasks.spawn("consent", async move {
            let finished = consents.finish(code, state, sealed.as_deref()).await;
            match &finished {
                Ok(granted) => space::follow_up(&tasks, consents, granted.person.id.clone()),
                Err(error) => tell(error),
            }
            finished
        });
        let finished = finish.await.unwrap_or_else(|broken| {
            log::error!("a consent broke off: {broken}");
            Err(ConsentError::NoTicket)
        });
        let again = matches!(finished, Err(ConsentError::Unreachable { .. } | ConsentError::Crowded));
        let mut response = match finished {
            Ok(granted) => {
                let invitation = self.consents.invite(&granted);
                let space = invitation.as_ref().and_then(|it| self.space_at(it.part.expose()));
                let mut response = self.granted(&granted, space.as_deref());
                if let (Some(invitation), Some(space)) = (invitation, space) {
                    self.cookies.invite(&mut response, &invitation, &space);
                }
                response
            }
            Err(error) => respond::consent_problem(&self.frame, error),
        };
        // A page that may be reloaded needs its ticket.
        if let Some(cookie) = self.cookies.drop(&name).filter(|_| !again) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        if again {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
        }
        response
    }

    fn granted(&self, granted: &consent::Granted, space: Option<&str>) -> Response<Body> {
        let (asked, revoke_at) = (self.consents.scopes(), self.consents.revoke_at());
        let page = GrantedPage::new(&self.frame, granted, asked, revoke_at, space);
        let mut response = respond::page(StatusCode::OK, &page);
        let policy = policy::with_picture(granted.picture.as_ref());
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        response
    }
}

fn tell(error: &ConsentError) {
    match error {
        ConsentError::Refused { tracking_id, .. } | ConsentError::Unreachable { tracking_id, .. } => {
            log::warn!(
                "a consent was not kept: {error}, tracking id {}",
                tracking_id.as_deref().unwrap_or("none")
            );
        }
        // Anybody can make such a link, again and again.
        ConsentError::Stale => log::debug!("a consent was not kept: {error}"),
        _ => log::warn!("a consent was not kept: {error}"),
    }
}
