//! What whoever is signed in gets. `room` is what stands after `/dashboard`: empty for the first page.

use askama::Template;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;

use crate::http::dashboard::Dashboard;
use crate::http::pages::Frame;
use crate::http::respond;
use crate::http::serve::Body;
use crate::http::sessions::Session;

#[derive(Template)]
#[template(path = "dashboard/home.html")]
struct Home<'a> {
    frame: &'a Frame,
    home: &'a str,
    name: &'a str,
    csrf: &'a str,
}

/// `GET`: changes nothing.
#[expect(clippy::unused_async, reason = "pages read the store")]
pub(super) async fn look(
    dashboard: &Dashboard,
    session: &Session,
    room: &str,
    _request: &Request<Incoming>,
) -> Response<Body> {
    match room {
        "" | "/" => respond::for_operators(respond::page(
            StatusCode::OK,
            &Home {
                frame: &dashboard.frame,
                home: &dashboard.home,
                name: session.name(),
                csrf: session.csrf.expose(),
            },
        )),
        _ => dashboard.nothing_here(),
    }
}

/// `POST`: a form of a page of this session.
pub(super) async fn send(
    dashboard: &Dashboard,
    session: &Session,
    _room: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    match dashboard.form_of(session, request).await {
        Ok(_) => dashboard.nothing_here(),
        Err(refused) => refused,
    }
}
