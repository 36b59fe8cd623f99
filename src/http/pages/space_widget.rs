//! `/space/…`: Webex's Space widget for the browser that has just consented, with that person's own token.
//! The browser authenticates by two secrets, a sealed cookie and the random part of the path, because
//! browsers send cookies to every port of a host name.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use hyper::HeaderMap;
use hyper::Response;
use hyper::StatusCode;
use hyper::header;
use tokio::time::timeout;

use crate::consent::ConsentService;
use crate::consent::SpaceWidget;
use crate::domain::person::PersonId;
use crate::http::pages::consent_errors;
use crate::http::pages::context::ConsentPages;
use crate::http::pages::error;
use crate::http::pages::frame::PageFrame;
use crate::http::request::cookies::add_cookies;
use crate::http::response;
use crate::http::response::csp;
use crate::http::response::response_body::ResponseBody;
use crate::refresh::TokenError;
use crate::tasks::Tasks;

/// How long the page waits for the bot to add the person. After that it is shown in any case.
const BOT_WAIT: Duration = Duration::from_secs(10);

/// The widget cannot be given another token later, so this one should live for a while.
const MIN_TTL: Duration = Duration::from_secs(600);

/// The page with the Space widget. It is the only page that contains a token.
#[derive(Template)]
#[template(path = "space.html")]
struct SpacePage<'a> {
    frame: &'a PageFrame,
    widget: &'a SpaceWidget,
    space_id: &'a str,
    token: &'a str,
    /// The URL of this page, which is the target of its form.
    here: &'a str,
    /// Why the bot could not add the person.
    trouble: Option<String>,
}

/// Adds the person to the space after a consent, if a space is configured: in the background, and also if the
/// browser has disconnected.
pub(super) fn add_to_space_later(tasks: &Tasks, consents: Arc<ConsentService>, person: PersonId) {
    if consents.space_id().is_some() {
        let stopping = tasks.stopping();
        // Errors are logged there, and shown when the person opens the space.
        tasks.spawn("space", async move { _ = consents.add_member(&person, stopping.cancelled()).await });
    }
}

/// The random part of a path of the space; empty if there is none. `None` for other paths.
pub(in crate::http) fn part_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/space")?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

impl ConsentPages {
    /// The path of the space for the browser with this random part. `None` if no space is configured.
    pub(super) fn space_at(&self, part: &str) -> Option<String> {
        self.frame.space.as_ref().map(|space| format!("{space}/{part}"))
    }

    /// `POST /space/…`: ends the browser's session. A form of another site carries no session cookie, and
    /// ends none.
    pub(in crate::http) fn leave(&self, part: &str, headers: &HeaderMap) -> Response<ResponseBody> {
        let Some(here) = self.space_at(part) else { return self.not_found() };
        if self.consents.find_session(self.cookies.space_sessions(headers), part).is_none() {
            return response::problem(&self.frame, StatusCode::FORBIDDEN, &error::NO_VISIT);
        }
        let mut response = response::problem(&self.frame, StatusCode::OK, &error::LEFT);
        add_cookies(&mut response, self.cookies.clear_space_session(&here));
        add_cookies(&mut response, self.cookies.clear_tickets(headers));
        response
    }

    pub(in crate::http) async fn space(&self, part: &str, headers: &HeaderMap) -> Response<ResponseBody> {
        let Some(space_id) = self.consents.space_id() else { return self.not_found() };
        if self.is_plaintext_remote {
            return response::problem(&self.frame, StatusCode::FORBIDDEN, &error::OVERHEARD);
        }
        let person = match self.consents.find_session(self.cookies.space_sessions(headers), part) {
            Some(visit) => self.consents.session_person(&visit).await,
            None => Ok(None),
        };
        let person = match person {
            Ok(Some(person)) => person,
            Ok(None) => return response::problem(&self.frame, StatusCode::FORBIDDEN, &error::NO_VISIT),
            Err(why) => return consent_errors::no_space(&self.frame, &TokenError::Store(why)),
        };
        // The person must be a member first, because the widget opens the space at once.
        let added = timeout(BOT_WAIT, self.consents.add_to_space(&person)).await;
        let trouble = match added {
            Ok(Ok(())) => None,
            // The page goes on after it with a full stop.
            Ok(Err(failure)) => Some(failure.why.trim_end_matches('.').to_owned()),
            Err(_) => Some("Webex does not answer".to_owned()),
        };
        let given = match self.refresher.token(&person, MIN_TTL).await {
            Ok(given) => given,
            Err(why) => return consent_errors::no_space(&self.frame, &why),
        };
        let widget = self.consents.widget();
        let token = given.grant.tokens.access_token.expose();
        let here = &*self.space_at(part).unwrap_or_default();
        let page = SpacePage { frame: &self.frame, widget, space_id, token, here, trouble };
        let mut response = response::page(StatusCode::OK, &page);
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, csp::for_widget(widget));
        response
    }
}
