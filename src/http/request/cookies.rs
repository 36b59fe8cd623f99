//! The only builder of `Set-Cookie` headers: tickets, one for each tab's consent and named after its state, sessions of the
//! Space widget, and sessions of the dashboard.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::Response;
use hyper::header;
use hyper::header::HeaderValue;

use crate::consent::SpaceCookie;

/// Maximum number of tickets: more than a person has tabs. Older ones are removed, so that the `Cookie`
/// header stays short.
const MAX_TICKETS: usize = 8;

/// Maximum number of cookies removed at once: more than browsers store for one host. A forged header must not
/// cause a response several times as long.
const MAX_DROPPED: usize = 64;

/// The names of tickets begin with this.
const TICKET: &str = "ticket-";

/// The name of the cookies for the space.
const SPACE_SESSION: &str = "visit";

/// Sets and reads cookies, depending on whether browsers use TLS.
#[derive(Clone, Copy, Debug)]
pub struct Cookies {
    /// Whether the server speaks TLS, or is behind a proxy that does.
    pub secure: bool,
}

/// The requests with which browsers send a cookie.
#[derive(Clone, Copy)]
pub(in crate::http) enum CookieScope<'a> {
    /// All requests to this host, also when the browser comes back from Webex's site.
    Host,
    /// Requests below this path, so that other ports of the host do not receive the cookie. No link and no form of another
    /// site carries it.
    Path(&'a str),
}

impl Cookies {
    /// The prefix of the names of cookies. Browsers accept a cookie with either prefix over TLS only.
    /// `__Host-` also ties it to this host and requires the path `/` (RFC 6265bis, 4.1.3).
    fn prefix(self, scope: CookieScope<'_>) -> &'static str {
        match scope {
            _ if !self.secure => "",
            CookieScope::Host => "__Host-",
            CookieScope::Path(_) => "__Secure-",
        }
    }

    /// A `Set-Cookie` header. Scripts cannot read the cookie. It ends when the browser is closed, or after `keep`; zero removes
    /// it. `None` if a character of the name or value is not allowed in a header.
    pub(in crate::http) fn set(
        self,
        scope: CookieScope<'_>,
        name: &str,
        value: &str,
        keep: Option<Duration>,
    ) -> Option<HeaderValue> {
        let (prefix, secure) = (self.prefix(scope), if self.secure { "; Secure" } else { "" });
        let age = keep.map(|keep| format!("; Max-Age={}", keep.as_secs())).unwrap_or_default();
        let (path, same_site) = match scope {
            CookieScope::Host => ("/", "Lax"),
            CookieScope::Path(path) => (path, "Strict"),
        };
        let text =
            format!("{prefix}{name}={value}{age}; Path={path}; HttpOnly; SameSite={same_site}{secure}");
        let mut header = HeaderValue::from_str(&text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// The values of all cookies with this name that were set for a path. Other ports of the host may have set some, too.
    pub(in crate::http) fn values<'a>(
        self,
        headers: &'a HeaderMap,
        name: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        let prefix = self.prefix(CookieScope::Path(""));
        let is_ours = move |full: &str| full.strip_prefix(prefix) == Some(name);
        pairs(headers).filter(move |(full, _)| is_ours(full)).map(|(_, value)| value)
    }

    /// The sealed ticket with this name.
    #[must_use]
    pub fn find<'a>(self, headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        self.tickets(headers).find(|(other, _)| *other == name).map(|(_, sealed)| sealed)
    }

    /// The `Set-Cookie` headers that store a new ticket, and remove the oldest ones beyond the limit.
    #[must_use]
    pub fn set_ticket(
        self,
        headers: &HeaderMap,
        name: &str,
        sealed: &str,
        keep: Duration,
    ) -> Vec<HeaderValue> {
        let begun = self.ticket(name, sealed, keep);
        // Browsers send the older ones first (RFC 6265, 5.4).
        let others = || self.tickets(headers).map(|(old, _)| old).filter(|old| *old != name);
        let surplus = (others().count() + 1).saturating_sub(MAX_TICKETS);
        let dropped = others().take(surplus.min(MAX_DROPPED));
        begun.into_iter().chain(dropped.filter_map(|old| self.ticket(old, "", Duration::ZERO))).collect()
    }

    /// The `Set-Cookie` headers that remove all tickets, including those of completed consents, which a
    /// reload would show again.
    pub(in crate::http) fn clear_tickets(self, headers: &HeaderMap) -> impl Iterator<Item = HeaderValue> {
        let names = self.tickets(headers).take(MAX_DROPPED).map(|(name, _)| name);
        names.filter_map(move |name| self.ticket(name, "", Duration::ZERO))
    }

    fn ticket(self, name: &str, sealed: &str, keep: Duration) -> Option<HeaderValue> {
        self.set(CookieScope::Host, &format!("{TICKET}{name}"), sealed, Some(keep))
    }

    fn tickets(self, headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
        let own = move |name| str::strip_prefix(name, self.prefix(CookieScope::Host))?.strip_prefix(TICKET);
        pairs(headers).filter_map(move |(name, sealed)| Some((own(name)?, sealed)))
    }

    /// The `Set-Cookie` header that lets the browser open the space at `path`.
    pub(in crate::http) fn set_space_session(
        self,
        invitation: &SpaceCookie,
        path: &str,
    ) -> Option<HeaderValue> {
        self.set(CookieScope::Path(path), SPACE_SESSION, &invitation.sealed, Some(invitation.keep))
    }

    /// The `Set-Cookie` header that removes the cookie for the space at `path`.
    pub(in crate::http) fn clear_space_session(self, path: &str) -> Option<HeaderValue> {
        self.set(CookieScope::Path(path), SPACE_SESSION, "", Some(Duration::ZERO))
    }

    /// The sealed cookies for the space.
    pub(in crate::http) fn space_sessions(self, headers: &HeaderMap) -> impl Iterator<Item = &str> {
        self.values(headers, SPACE_SESSION)
    }
}

/// Adds `Set-Cookie` headers to a response.
pub(in crate::http) fn add_cookies<B>(
    response: &mut Response<B>,
    cookies: impl IntoIterator<Item = HeaderValue>,
) {
    response.headers_mut().extend(cookies.into_iter().map(|cookie| (header::SET_COOKIE, cookie)));
}

/// Names and values of all cookies, as received. Other programs on the host set cookies as well, with any
/// bytes. A pair that is not text is skipped, and the others are returned.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let values = headers.get_all(header::COOKIE).into_iter().map(HeaderValue::as_bytes);
    let pairs = values.flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookie: &str) -> HeaderMap {
        [(header::COOKIE, HeaderValue::from_str(cookie).unwrap())].into_iter().collect()
    }

    #[test]
    fn tickets_of_several_tabs_are_distinguished() {
        let cookies = Cookies { secure: true };
        let headers = headers("other=1; __Host-ticket-aa=first; __Host-ticket-bb=second");
        assert_eq!(cookies.find(&headers, "bb"), Some("second"));
        assert_eq!(cookies.find(&headers, "cc"), None);
        assert_eq!(Cookies { secure: false }.find(&headers, "bb"), None);
    }

    #[test]
    fn a_ticket_is_bound_to_the_host_and_hidden_from_scripts() {
        let set =
            Cookies { secure: true }.set_ticket(&HeaderMap::new(), "aa", "sealed", Duration::from_secs(900));
        assert_eq!(set, ["__Host-ticket-aa=sealed; Max-Age=900; Path=/; HttpOnly; SameSite=Lax; Secure"]);
        let plain =
            Cookies { secure: false }.set_ticket(&HeaderMap::new(), "aa", "sealed", Duration::from_secs(900));
        assert_eq!(plain, ["ticket-aa=sealed; Max-Age=900; Path=/; HttpOnly; SameSite=Lax"]);
    }

    #[test]
    fn cookies_of_other_programs_hide_none_of_ours() {
        let cookies = Cookies { secure: true };
        for foreign in
            [&b"city=Z\xc3\xbcrich"[..], b"city=Z\xfcrich", b"\xff", b"a=\x80\x81", b"=", b"", b"x"]
        {
            for (before, after) in [(foreign, &b""[..]), (b"", foreign), (foreign, foreign)] {
                let header = [before, b"; __Host-ticket-aa=first; ", after].concat();
                let value = HeaderValue::from_bytes(&header).unwrap();
                let headers = [(header::COOKIE, value)].into_iter().collect();
                assert_eq!(cookies.find(&headers, "aa"), Some("first"), "{foreign:?}");
            }
        }
    }

    #[test]
    fn the_oldest_tickets_beyond_the_limit_are_removed() {
        let many: Vec<String> = (0..12).map(|n| format!("__Host-ticket-{n}=x")).collect();
        let set = Cookies { secure: true }.set_ticket(
            &headers(&many.join("; ")),
            "new",
            "s",
            Duration::from_secs(1),
        );
        let gone: Vec<_> =
            set[1..].iter().map(|line| line.to_str().unwrap().split('=').next().unwrap()).collect();
        assert_eq!(gone, (0..5).map(|n| format!("__Host-ticket-{n}")).collect::<Vec<_>>());
    }
}
