//! The error pages: what happened, and what to do next.

use askama::Template;

use crate::http::pages::frame::PageFrame;

/// The template of the error pages.
#[derive(Template)]
#[template(path = "problem.html")]
pub(in crate::http) struct ErrorPageTemplate<'a> {
    pub(in crate::http) frame: &'a PageFrame,
    pub(in crate::http) problem: &'a ErrorPage,
}

/// The content of an error page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct ErrorPage {
    pub(in crate::http) severity: Severity,
    pub(in crate::http) heading: &'static str,
    /// What happened.
    pub(in crate::http) text: &'static str,
    /// What to do next, if the buttons do not say it.
    pub(in crate::http) next: Option<&'static str>,
    /// Webex's tracking id, to quote to Webex.
    pub(in crate::http) tracking_id: Option<String>,
    /// Webex's page where the person can revoke the access.
    pub(in crate::http) accesses: Option<&'static str>,
    pub(in crate::http) action: Action,
}

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Severity {
    /// Nothing is wrong: the person chose this, or opened a wrong URL.
    Calm,
    /// The problem is temporary.
    Warn,
    /// The problem lasts until it is fixed.
    Bad,
}

impl Severity {
    fn class(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    /// An SVG path in a box of 24 by 24, so that colour is not the only difference.
    fn drawing(self) -> &'static str {
        match self {
            Self::Calm => "M12 11v6M12 7v.01",
            Self::Warn => "M12 6v7M12 17v.01",
            Self::Bad => "M7 7l10 10M17 7L7 17",
        }
    }
}

/// The buttons of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Action {
    /// The same URL again, because its ticket is still valid.
    Reload,
    /// A new consent.
    Start,
    /// The home page.
    Home,
    /// The operators' dashboard.
    Dashboard,
}

const fn problem(severity: Severity, heading: &'static str, text: &'static str, action: Action) -> ErrorPage {
    ErrorPage { severity, heading, text, next: None, tracking_id: None, accesses: None, action }
}

impl ErrorPage {
    const fn with_hint(mut self, next: &'static str) -> Self {
        self.next = Some(next);
        self
    }

    /// Adds Webex's tracking id of its response.
    pub(in crate::http) fn with_tracking_id(mut self, tracking_id: Option<String>) -> Self {
        self.tracking_id = tracking_id;
        self
    }

    /// Adds Webex's page where the person can revoke the access.
    pub(in crate::http) fn ended_at(mut self, accesses: Option<&'static str>) -> Self {
        self.accesses = accesses;
        self
    }
}

pub(in crate::http) const NOT_FOUND: ErrorPage = problem(
    Severity::Calm,
    "Page not found",
    "There is no page at this address. A consent starts on the home page.",
    Action::Home,
);

pub(in crate::http) const STALE: ErrorPage = problem(
    Severity::Warn,
    "This link is no longer valid",
    "It was used before, is older than 15 minutes, or was started in another browser or under another address. Nothing was \
     changed.",
    Action::Start,
)
.with_hint(
    "If you saw “Access Granted” a moment ago, all is well, and you may close this window. Otherwise start again, and allow \
     your browser to keep cookies for this site.",
);

pub(in crate::http) const REFUSED: ErrorPage = problem(
    Severity::Bad,
    "Webex did not confirm your consent",
    "You came back from Webex with a one-time code. This service sent the code to Webex, but Webex did not accept it, so \
     there is no access. Nothing was changed.",
    Action::Start,
)
.with_hint(
    "Please start again. If it happens again, tell the people who run this service: their log has Webex’s reason.",
);

pub(in crate::http) const CLIENT_REFUSED: ErrorPage = problem(
    Severity::Bad,
    "Webex does not accept this service",
    "Webex does not accept the registration of this service, so your consent could not be completed. You did nothing wrong, \
     and nothing was changed.",
    Action::Start,
)
.with_hint("The people who run it must fix its registration at Webex: tell them, and start again after that.");

pub(in crate::http) const NOT_ALLOWED: ErrorPage = problem(
    Severity::Bad,
    "This service is not for your account",
    "You signed in at Webex, but this service accepts consents from selected accounts only, and your account \
     is not among them. Nothing was stored, and this service has no access to your account.",
    Action::Start,
)
.with_hint("If you have another account, sign in with that one. If you think that this account should be allowed, ask the people who run this service.");

pub(in crate::http) const UNREACHABLE: ErrorPage = problem(
    Severity::Warn,
    "Webex cannot be reached",
    "You consented, but Webex does not respond to this service at the moment. Nothing was changed.",
    Action::Reload,
)
.with_hint(
    "Wait a minute, then try again: your consent is still valid. If that does not help, start again later.",
);

pub(in crate::http) const BUSY: ErrorPage = problem(
    Severity::Warn,
    "Webex asks to wait",
    "You consented, but Webex limits requests at the moment, so this service must wait before it can finish. Nothing is \
     lost.",
    Action::Reload,
)
.with_hint("Wait a minute, then try again. If that does not help, start again later.");

pub(in crate::http) const GIVEN_UP: ErrorPage = problem(
    Severity::Warn,
    "Webex cannot be reached",
    "You consented, but Webex did not respond to this service in several attempts. Nothing was changed.",
    Action::Start,
)
.with_hint("Please start again later.");

pub(in crate::http) const CROWDED: ErrorPage = problem(
    Severity::Warn,
    "Too many people at once",
    "More people are coming back from Webex at this moment than this service can handle at once. Nothing is lost.",
    Action::Reload,
)
.with_hint("Please try again in a few seconds.");

pub(in crate::http) const NOT_KEPT: ErrorPage = problem(
    Severity::Bad,
    "Your consent could not be stored",
    "You consented, but this service has an internal problem. The people who run it find the reason in its log.",
    Action::Reload,
)
.with_hint(
    "Wait a minute, then try again: your consent is still valid. If that does not help, tell them, and start again later.",
);

pub(in crate::http) const DECLINED: ErrorPage = problem(
    Severity::Calm,
    "You did not consent",
    "Webex reports that you declined. Nothing was changed, and no new access was granted.",
    Action::Start,
)
.with_hint("You may close this window, or start again at any time.");

pub(in crate::http) const WRONG_SCOPES: ErrorPage = problem(
    Severity::Bad,
    "Webex does not accept the requested scopes",
    "The scopes that this service requests are not the ones that are registered for its integration. You did nothing wrong, \
     and nothing was changed.",
    Action::Start,
)
.with_hint("The people who run it must fix its registration at Webex: tell them, and start again after that.");

pub(in crate::http) const WEBEX_BROKEN: ErrorPage = problem(
    Severity::Warn,
    "Webex has a problem",
    "Webex could not complete the consent. Nothing was changed.",
    Action::Start,
)
.with_hint("Please start again in a few minutes.");

pub(in crate::http) const ENDED: ErrorPage = problem(
    Severity::Bad,
    "Webex ended the consent",
    "Webex sent you back without a consent. Nothing was changed.",
    Action::Start,
)
.with_hint("Please start again; if it happens again, tell the people who run this service.");

pub(in crate::http) const NO_VISIT: ErrorPage = problem(
    Severity::Calm,
    "Consent first",
    "The space opens only in the browser in which you consented, for one hour after the consent. A newer consent in another \
     browser ends this.",
    Action::Start,
)
.with_hint("Start again here; the page after your consent has a button that opens the space.");

pub(in crate::http) const LEFT: ErrorPage = problem(
    Severity::Calm,
    "This browser can no longer open the space",
    "It needs a new consent to open the space again. You are still a member of the space, and the access that you granted is kept.",
    Action::Home,
);

pub(in crate::http) const OVERHEARD: ErrorPage = problem(
    Severity::Bad,
    "This connection is not secure",
    "The page of the space contains one of your tokens, and this service is reached without encryption: other people on the \
     network could read the token. So the space is not shown.",
    Action::Home,
)
.with_hint("The people who run this service must give it an address that starts with https.");

pub(in crate::http) const DASHBOARD_OVERHEARD: ErrorPage = problem(
    Severity::Bad,
    "This connection is not secure",
    "The dashboard is reached without encryption: other people on the network could read the key that you sign in with, and \
     act as you. So sign-in is disabled here.",
    Action::Home,
)
.with_hint("The people who run this service must give it an address that starts with https (MY_APP_REDIRECT_URI).");

pub(in crate::http) const NO_TOKEN: ErrorPage = problem(
    Severity::Warn,
    "No token is available at present",
    "The access that you granted is kept, but Webex does not renew it at the moment.",
    Action::Reload,
)
.with_hint("Wait a minute, then try again.");

pub(in crate::http) const ENDED_AT_WEBEX: ErrorPage = problem(
    Severity::Warn,
    "Your consent has ended",
    "Webex no longer renews the access that you granted.",
    Action::Start,
)
.with_hint("Start again to consent once more.");

pub(in crate::http) const NO_STORE: ErrorPage = problem(
    Severity::Bad,
    "The space cannot be shown",
    "This service has an internal problem. The people who run it find the reason in its log.",
    Action::Reload,
)
.with_hint("Please try again later, and tell them if it continues.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_page_says_what_happened_and_has_one_main_button() {
        let all = [
            NOT_FOUND,
            STALE,
            REFUSED,
            CLIENT_REFUSED,
            NOT_ALLOWED,
            UNREACHABLE,
            BUSY,
            GIVEN_UP,
            CROWDED,
            NOT_KEPT,
            DECLINED,
            WRONG_SCOPES,
            WEBEX_BROKEN,
            ENDED,
            NO_VISIT,
            OVERHEARD,
            DASHBOARD_OVERHEARD,
            LEFT,
            NO_TOKEN,
            ENDED_AT_WEBEX,
            NO_STORE,
        ];
        let frame = PageFrame::new("/webex", "/webex/oauth", false);
        for problem in all {
            let html = ErrorPageTemplate { frame: &frame, problem: &problem }.render().unwrap();
            let heading = format!("<h1 id=\"problem\">{}</h1>", problem.heading);
            assert!(html.contains(&heading), "{html}");
            assert!(html.contains(&format!("<title>{} · webex-tokend</title>", problem.heading)), "{html}");
            assert_eq!(html.matches("class=\"button\"").count(), 1, "{html}");
            let names_settings = html.contains("MY_APP_") || html.contains("TOKEND_");
            assert!(!names_settings || problem == DASHBOARD_OVERHEARD, "settings are the operator's: {html}");
            assert!(problem.text.ends_with('.') && problem.next.is_none_or(|next| next.ends_with('.')));
        }
    }
}
