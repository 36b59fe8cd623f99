//! One-time login links to the dashboard, for users of the control socket.

use hyper::Response;
use hyper::StatusCode;

use crate::api_types;
use crate::http::api::context::Api;
use crate::http::api::request::ApiRequest;
use crate::http::dashboard::login_links::LinkError;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;

/// `POST /dashboard-links`
pub(super) async fn make(api: &Api, ask: &ApiRequest) -> Result<Response<ResponseBody>, ApiError> {
    ask.query([])?;
    ask.no_body()?;
    let sessions = api.sessions();
    let link = sessions.links().create(sessions.now()).map_err(|why| match why {
        LinkError::Crowded => ApiError::Crowded("Too many links are pending; each expires after a minute."),
        LinkError::NoRandom => {
            log::error!("cannot create a link to the dashboard: the system gives no random bytes");
            ApiError::Broken
        }
    })?;
    let base = &api.0.redirect_uri;
    let base = base.strip_suffix("oauth").unwrap_or(base);
    let made = api_types::DashboardLink {
        url: format!("{base}dashboard/open?link={}", link.id.expose()),
        code: link.code.expose().to_owned(),
        expires_at: link.ends.to_string(),
    };
    Ok(response::json(StatusCode::CREATED, &made))
}
