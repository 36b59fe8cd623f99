//! The pages that require a session. `room` is the path after the session's part; empty for the first page.

use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;

use crate::http::dashboard::Dashboard;
use crate::http::refusal::Refusal;
use crate::http::respond;
use crate::http::serve::Body;
use crate::http::sessions::Session;

/// `GET`: changes nothing.
pub(super) async fn look(
    dashboard: &Dashboard,
    session: &Session,
    room: &str,
    request: &Request<Incoming>,
) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let page = match room {
        "" | "/" => dashboard.home(session, query).await,
        "/person" => dashboard.person_page(session, query).await,
        "/forget" => dashboard.forget_page(session, query).await,
        "/refresh" => Ok(respond::wrong_method("POST")),
        _ => Ok(dashboard.nothing_here(session)),
    };
    page.unwrap_or_else(|why| dashboard.trouble(session, &why))
}

/// `POST`: a form of a page of this session.
pub(super) async fn send(
    dashboard: &Dashboard,
    session: &Session,
    room: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    match room {
        "/refresh" => dashboard.refresh(session, request).await,
        "/forget" => dashboard.forget(session, request).await,
        _ => match dashboard.form_of(session, request).await {
            Ok(_) => dashboard.nothing_here(session),
            Err(refused) => refused,
        },
    }
}

impl Dashboard {
    /// The error page for a request that failed. The log has the details already.
    pub(super) fn trouble(&self, session: &Session, why: &Refusal) -> Response<Body> {
        let said = match why {
            Refusal::Broken => (
                "This could not be completed",
                "This is an error in webex-tokend. The log of the daemon says more.",
            ),
            _ => (
                "The page cannot be shown at present",
                "The store could not be read or written. The log of the daemon says why.",
            ),
        };
        respond::refused_by(why, |status| self.refused(session.home.expose(), status, said))
    }
}
