//! Reads forms completely, within limits, and only from the dashboard's own pages.
//!
//! Two checks prevent cross-site request forgery (CSRF), in addition to the cookie's `SameSite=Strict`: the
//! origin that the browser reports, and a token that only this session's pages contain.

use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header;
use url::form_urlencoded;

use crate::domain::secret::Secret;
use crate::http::dashboard::allowed_origin::one;
use crate::http::dashboard::context::Dashboard;
use crate::http::dashboard::sessions::DashboardSession;
use crate::http::request::request_body;
use crate::http::request::request_body::BodyError;
use crate::http::response::response_body::ResponseBody;
use crate::http::server::activity::Activity;

/// Maximum size of a form in bytes.
const BYTES: usize = 32 * 1024;

/// Maximum time for a form to arrive.
const TIME: Duration = Duration::from_secs(10);

/// The fields of a form, in order.
pub(super) struct FormFields(Vec<(String, Secret)>);

impl FormFields {
    /// The first field with this name.
    pub(super) fn get(&self, name: &str) -> Option<&Secret> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The first field with this name, trimmed; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.get(name).map_or("", |value| value.expose().trim())
    }
}

impl Dashboard {
    /// Reads a form of a page without a session. While it arrives, its connection counts as idle; otherwise
    /// unauthenticated clients could hold every connection.
    pub(super) async fn form(
        &self,
        request: Request<Incoming>,
    ) -> Result<FormFields, Response<ResponseBody>> {
        let _waiting = request.extensions().get::<Arc<Activity>>().map(Activity::wait);
        self.taken(&self.home, request).await
    }

    /// Reads a form. Error pages link to `home`.
    async fn taken(
        &self,
        home: &str,
        request: Request<Incoming>,
    ) -> Result<FormFields, Response<ResponseBody>> {
        if !self.origin.allows(&request) {
            request_body::discard(request).await;
            return Err(self.foreign(home));
        }
        let kind = one(request.headers(), header::CONTENT_TYPE.as_str()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            request_body::discard(request).await;
            let text = "The dashboard accepts only forms that its own pages send.";
            return Err(self.refused(home, StatusCode::UNSUPPORTED_MEDIA_TYPE, ("This is not a form", text)));
        }
        let bytes = request_body::read(request.into_body(), BYTES, TIME)
            .await
            .map_err(|why| self.broken(home, &why))?;
        let fields = form_urlencoded::parse(&bytes);
        Ok(FormFields(
            fields.map(|(name, value)| (name.into_owned(), Secret::new(value.into_owned()))).collect(),
        ))
    }

    /// Reads a form of a page of this session.
    pub(super) async fn form_of(
        &self,
        session: &DashboardSession,
        request: Request<Incoming>,
    ) -> Result<FormFields, Response<ResponseBody>> {
        let home = session.home.expose();
        let form = self.taken(home, request).await?;
        // Secrets are compared in constant time.
        if form.get("csrf") == Some(&session.csrf) { Ok(form) } else { Err(self.foreign(home)) }
    }

    fn foreign(&self, home: &str) -> Response<ResponseBody> {
        let text = "The form was not sent by a page of this dashboard, or that page is no longer valid. Nothing was \
                    changed. Open the dashboard again and try once more.";
        self.refused(home, StatusCode::FORBIDDEN, ("The form was refused", text))
    }

    fn broken(&self, home: &str, why: &BodyError) -> Response<ResponseBody> {
        let (status, text) = match why {
            BodyError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "The form is too long."),
            BodyError::TooSlow(_) => (StatusCode::REQUEST_TIMEOUT, "The form did not arrive in time."),
            BodyError::Broken(_) => (StatusCode::BAD_REQUEST, "The form is incomplete."),
        };
        self.refused(home, status, ("The form could not be read", text))
    }
}
