//! Consents with the real daemon, a simulated Webex, and an HTTP client in place of the browser.

mod addresses;
mod allowed_persons;
mod begin;
mod disconnects;
mod finish;
mod granted_page;
mod log_lines;
mod owner_lookup;
mod pages;
mod repeated_callbacks;
mod secrets;
mod space;
mod tickets;
mod webex_errors;

use crate::support::PageResponse;

/// Asserts the headers that every response of the daemon has.
pub(super) fn guarded(answered: &PageResponse, what: &str) {
    let csp = answered.header("content-security-policy").unwrap_or_else(|| panic!("{what}: no policy"));
    assert!(csp.starts_with("default-src 'none'"), "{what}: {csp}");
    for needed in ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
        assert!(csp.contains(needed), "{what}: {csp}");
    }
    assert!(!csp.contains("unsafe"), "{what}: {csp}");
    assert_eq!(answered.header("x-content-type-options"), Some("nosniff"), "{what}");
    assert_eq!(answered.header("referrer-policy"), Some("no-referrer"), "{what}");
}

/// Asserts that the response is this page, and not cacheable.
pub(super) fn page(answered: &PageResponse, status: u16, heading: &str) {
    assert_eq!(answered.status, status, "{heading}: {}", answered.body);
    guarded(answered, heading);
    assert_eq!(answered.header("cache-control"), Some("no-store"), "{heading}");
    assert_eq!(answered.header("content-type"), Some("text/html; charset=utf-8"), "{heading}");
    assert!(answered.says(&format!(">{heading}</h1>")), "{heading}: {}", answered.body);
    assert!(!answered.says("<script"), "{heading}: {}", answered.body);
}

pub(super) const GRANTED: &str = "Access Granted";
pub(super) const STALE: &str = "This link is no longer valid";
pub(super) const REFUSED: &str = "Webex did not confirm your consent";
pub(super) const CLIENT_REFUSED: &str = "Webex does not accept this service";
pub(super) const BUSY: &str = "Webex asks to wait";
pub(super) const UNREACHABLE: &str = "Webex cannot be reached";
