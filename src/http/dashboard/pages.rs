//! The pages that require a session. `room` is the path after the session's part; empty for the first page.

use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;

use crate::http::dashboard::context::Dashboard;
use crate::http::dashboard::sessions::DashboardSession;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::error_response;
use crate::http::response::response_body::ResponseBody;

/// `GET`: changes nothing.
pub(super) async fn get(
    dashboard: &Dashboard,
    session: &DashboardSession,
    room: &str,
    request: &Request<Incoming>,
) -> Response<ResponseBody> {
    let query = request.uri().query().unwrap_or_default();
    let page = match room {
        "" | "/" => dashboard.home(session, query).await,
        "/person" => dashboard.person_page(session, query).await,
        "/forget" => dashboard.forget_page(session, query).await,
        "/notices" => dashboard.notices_page(session).await,
        "/refresh" => Ok(response::method_not_allowed_with("POST")),
        _ => Ok(dashboard.not_found(session)),
    };
    page.unwrap_or_else(|why| dashboard.trouble(session, &why))
}

/// `POST`: a form of a page of this session.
pub(super) async fn post(
    dashboard: &Dashboard,
    session: &DashboardSession,
    room: &str,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    match room {
        "/refresh" => dashboard.refresh(session, request).await,
        "/forget" => dashboard.forget(session, request).await,
        _ => match dashboard.form_of(session, request).await {
            Ok(_) => dashboard.not_found(session),
            Err(refused) => refused,
        },
    }
}

impl Dashboard {
    /// The error page for a request that failed. The log has the details already.
    pub(super) fn trouble(&self, session: &DashboardSession, why: &ApiError) -> Response<ResponseBody> {
        let said = match why {
            ApiError::Broken => (
                "This could not be completed",
                "This is an error in webex-tokend. The log of the daemon says more.",
            ),
            _ => (
                "The page cannot be shown at present",
                "The store could not be read or written. The log of the daemon says why.",
            ),
        };
        error_response::error_page(why, |status| self.refused(session.home.expose(), status, said))
    }
}
