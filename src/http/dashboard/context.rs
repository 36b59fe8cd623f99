//! What the pages of the dashboard share.

use hyper::Response;
use hyper::StatusCode;
use url::Url;

use crate::domain::operator::Operator;
use crate::http::api::context::Api;
use crate::http::dashboard::allowed_origin::AllowedOrigin;
use crate::http::dashboard::assets::AssetUrls;
use crate::http::dashboard::sessions::DashboardSession;
use crate::http::dashboard::sessions::DashboardSessions;
use crate::http::pages::error;
use crate::http::pages::error::Action;
use crate::http::pages::error::ErrorPage;
use crate::http::pages::error::Severity;
use crate::http::pages::frame::PageFrame;
use crate::http::response;
use crate::http::response::response_body::ResponseBody;

/// The dashboard.
pub(in crate::http) struct Dashboard {
    pub(super) api: Api,
    pub(super) frame: PageFrame,
    /// Its path as browsers see it (behind a proxy, with the prefix), above the paths of all sessions.
    pub(super) home: String,
    pub(super) origin: AllowedOrigin,
    /// Whether it is reached over plain HTTP beyond this machine. Others could read the traffic then, so
    /// sign-in is disabled.
    pub(super) is_plaintext_remote: bool,
    pub(super) dress: AssetUrls,
}

impl Dashboard {
    /// Creates a dashboard beside `redirect_uri`, below `prefix`. `is_plaintext_remote` disables sign-in.
    pub(in crate::http) fn new(
        api: Api,
        frame: PageFrame,
        prefix: &str,
        redirect_uri: &Url,
        is_plaintext_remote: bool,
    ) -> Self {
        let home = api.sessions().home().to_owned();
        Self {
            api,
            frame,
            home,
            origin: AllowedOrigin::new(redirect_uri),
            is_plaintext_remote,
            dress: AssetUrls::below(prefix),
        }
    }

    /// Adds the operator's name to the invitations.
    pub(in crate::http) fn run_by(mut self, operator: Operator) -> Self {
        self.frame = self.frame.run_by(operator);
        self
    }

    pub(super) fn sessions(&self) -> &DashboardSessions {
        self.api.sessions()
    }

    /// The frame of a page whose logo links to `home`: a session's first page, or the sign-in page.
    pub(super) fn frame_at(&self, home: &str) -> PageFrame {
        PageFrame { home: home.to_owned(), ..self.frame.clone() }
    }

    /// An error page that links to `home`.
    pub(super) fn refused(
        &self,
        home: &str,
        status: StatusCode,
        (heading, text): (&'static str, &'static str),
    ) -> Response<ResponseBody> {
        let (severity, action) = (Severity::Warn, Action::Dashboard);
        let problem =
            ErrorPage { severity, heading, text, next: None, tracking_id: None, accesses: None, action };
        response::for_operators(response::problem(&self.frame_at(home), status, &problem))
    }

    pub(super) fn refuse_plaintext(&self) -> Response<ResponseBody> {
        let page = response::problem(&self.frame, StatusCode::FORBIDDEN, &error::DASHBOARD_OVERHEARD);
        response::for_operators(page)
    }

    pub(super) fn not_found(&self, session: &DashboardSession) -> Response<ResponseBody> {
        let said = ("Page not found", "The dashboard has no page at this address.");
        self.refused(session.home.expose(), StatusCode::NOT_FOUND, said)
    }
}
