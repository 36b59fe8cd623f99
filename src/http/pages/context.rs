//! What the pages for persons share: the consents, the cookies and the frame of all pages.

use std::sync::Arc;

use hyper::Response;
use hyper::StatusCode;
use url::Url;

use crate::consent::ConsentService;
use crate::domain::operator::Operator;
use crate::http::api::context::ApiServices;
use crate::http::pages::consent_log::ConsentLog;
use crate::http::pages::error;
use crate::http::pages::frame::PageFrame;
use crate::http::pages::home::HomePage;
use crate::http::pages::scopes::scopes;
use crate::http::request::cookies::Cookies;
use crate::http::response;
use crate::http::response::response_body::ResponseBody;
use crate::refresh::RefreshService;
use crate::tasks::Tasks;

/// The pages on which persons consent.
pub(in crate::http) struct ConsentPages {
    pub(super) consents: Arc<ConsentService>,
    pub(super) refresher: Arc<RefreshService>,
    pub(super) tasks: Tasks,
    pub(super) cookies: Cookies,
    pub(in crate::http) frame: PageFrame,
    /// Whether the service is reached over plain HTTP beyond this machine, where others can read the traffic.
    pub(in crate::http) is_plaintext_remote: bool,
    pub(super) consent_log: Arc<ConsentLog>,
}

impl ConsentPages {
    /// Creates the pages below `prefix`, for consents that return to `redirect_uri`. `is_local`: only this
    /// machine can connect.
    pub(in crate::http) fn new(
        services: &ApiServices,
        redirect_uri: &Url,
        prefix: &str,
        is_local: bool,
    ) -> Self {
        let ApiServices { consents, refresher, tasks, .. } = services;
        let frame = PageFrame::new(prefix, redirect_uri.path(), consents.space_id().is_some())
            .with_accesses(consents.revoke_at());
        let cookies = Cookies { secure: redirect_uri.scheme() == "https" };
        let is_plaintext_remote = !cookies.secure && !is_local;
        Self {
            consents: consents.clone(),
            refresher: refresher.clone(),
            tasks: tasks.clone(),
            cookies,
            frame,
            is_plaintext_remote,
            consent_log: Arc::default(),
        }
    }

    /// Adds the operator's name and contact.
    pub(in crate::http) fn run_by(self, operator: Operator) -> Self {
        Self { frame: self.frame.run_by(operator), ..self }
    }

    /// `GET /`
    pub(in crate::http) fn home(&self) -> Response<ResponseBody> {
        response::page(
            StatusCode::OK,
            &HomePage {
                frame: &self.frame,
                scopes: scopes(self.consents.scopes()),
                is_plaintext_remote: self.is_plaintext_remote,
            },
        )
    }

    /// The page for an unknown path.
    pub(in crate::http) fn not_found(&self) -> Response<ResponseBody> {
        response::problem(&self.frame, StatusCode::NOT_FOUND, &error::NOT_FOUND)
    }
}
