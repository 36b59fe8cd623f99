//! What all pages have in common.

use std::sync::Arc;

use crate::domain::operator::Operator;
use crate::http::pages::asset::ICON;
use crate::http::pages::asset::STYLE;

/// URLs as the browser sees them, and the operator.
#[derive(Clone, Debug)]
pub(in crate::http) struct PageFrame {
    /// URL of the style sheet.
    pub(in crate::http) style: String,
    /// URL of the icon.
    pub(in crate::http) icon: String,
    /// URL of the home page.
    pub(in crate::http) home: String,
    /// URL where a consent starts.
    pub(in crate::http) start: String,
    /// URL of the Space widget, if a space is configured.
    pub(in crate::http) space: Option<String>,
    /// URL of Webex's page where persons revoke what they granted.
    pub(in crate::http) accesses: Option<&'static str>,
    /// The operator of the service.
    pub(in crate::http) operator: Arc<Operator>,
}

impl PageFrame {
    /// For a daemon whose pages are below `prefix`, and whose consents start at `start`.
    pub(in crate::http) fn new(prefix: &str, start: &str, has_space: bool) -> Self {
        let at = |path: &str| format!("{prefix}{path}");
        Self {
            style: at(&STYLE.path),
            icon: at(&ICON.path),
            home: at("/"),
            start: start.to_owned(),
            space: has_space.then(|| at("/space")),
            accesses: None,
            operator: Arc::default(),
        }
    }

    /// Adds Webex's page where persons revoke what they granted.
    pub(in crate::http) fn with_accesses(self, address: &'static str) -> Self {
        Self { accesses: Some(address), ..self }
    }

    /// Adds the operator of the service.
    pub(in crate::http) fn run_by(self, operator: Operator) -> Self {
        Self { operator: Arc::new(operator), ..self }
    }
}
