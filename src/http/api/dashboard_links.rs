//! One-time login links to the dashboard, for users of the control socket.

use hyper::Response;
use hyper::StatusCode;

use crate::api_types;
use crate::http::api::Api;
use crate::http::api::Ask;
use crate::http::links::NoLink;
use crate::http::refusal::Refusal;
use crate::http::respond;
use crate::http::serve::Body;

/// `POST /dashboard-links`
pub(super) async fn make(api: &Api, ask: &Ask) -> Result<Response<Body>, Refusal> {
    ask.query([])?;
    ask.no_body()?;
    let sessions = api.sessions();
    let link = sessions.links().make(sessions.now()).map_err(|why| match why {
        NoLink::Crowded => Refusal::Crowded("Too many links are pending; each expires after a minute."),
        NoLink::NoRandom => {
            log::error!("cannot create a link to the dashboard: the system gives no random bytes");
            Refusal::Broken
        }
    })?;
    let base = &api.0.redirect_uri;
    let base = base.strip_suffix("oauth").unwrap_or(base);
    let made = api_types::DashboardLink {
        url: format!("{base}dashboard/open?link={}", link.id.expose()),
        code: link.code.expose().to_owned(),
        expires_at: link.ends.to_string(),
    };
    Ok(respond::json(StatusCode::CREATED, &made))
}
