//! Cookies of tickets, one for each tab's consent and named after its state, and of sessions of the Space
//! widget.

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

/// Sets and reads cookies, depending on whether browsers use TLS.
#[derive(Clone, Copy, Debug)]
pub struct Cookies {
    /// Whether the server speaks TLS, or is behind a proxy that does.
    pub secure: bool,
}

impl Cookies {
    /// The prefix `__Host-` ties a cookie to this host and to TLS (RFC 6265bis, 4.1.3); browsers refuse it
    /// over plain HTTP.
    fn prefix(self) -> &'static str {
        if self.secure { "__Host-ticket-" } else { "ticket-" }
    }

    /// The sealed ticket with this name.
    #[must_use]
    pub fn find<'a>(self, headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        self.all(headers).find(|(other, _)| *other == name).map(|(_, sealed)| sealed)
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
        let begun =
            format!("{}{name}={sealed}; Max-Age={}{}", self.prefix(), keep.as_secs(), self.attributes());
        // Browsers send the older ones first (RFC 6265, 5.4).
        let others = || self.all(headers).map(|(old, _)| old).filter(|old| *old != name);
        let surplus = (others().count() + 1).saturating_sub(MAX_TICKETS);
        let dropped = others().take(surplus.min(MAX_DROPPED)).filter_map(|old| self.clear(old));
        HeaderValue::from_str(&begun).ok().into_iter().chain(dropped).collect()
    }

    /// The `Set-Cookie` headers that remove all tickets, including those of completed consents, which a
    /// reload would show again.
    pub(super) fn clear_tickets(self, headers: &HeaderMap) -> Vec<HeaderValue> {
        self.all(headers).take(MAX_DROPPED).filter_map(|(name, _)| self.clear(name)).collect()
    }

    /// The `Set-Cookie` header that removes a ticket.
    fn clear(self, name: &str) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("{}{name}=; Max-Age=0{}", self.prefix(), self.attributes())).ok()
    }

    /// The name of the cookie for the space. `__Host-` would require the path `/`.
    fn space_session_name(self) -> &'static str {
        if self.secure { "__Secure-visit" } else { "visit" }
    }

    /// Lets the browser open the space at `path`.
    pub(super) fn set_space_session<B>(
        self,
        response: &mut Response<B>,
        invitation: &SpaceCookie,
        path: &str,
    ) {
        let cookie = self.space_session_cookie(&invitation.sealed, invitation.keep, path);
        response.headers_mut().extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    }

    /// The `Set-Cookie` header that removes the cookie for the space at `path`.
    pub(super) fn clear_space_session(self, path: &str) -> Option<HeaderValue> {
        self.space_session_cookie("", Duration::ZERO, path)
    }

    /// Browsers send it to this path only, so other ports of the host do not receive it. Strict: no link on
    /// another site carries it.
    fn space_session_cookie(self, sealed: &str, keep: Duration, path: &str) -> Option<HeaderValue> {
        let (name, keep, secure) =
            (self.space_session_name(), keep.as_secs(), if self.secure { "; Secure" } else { "" });
        let text = format!("{name}={sealed}; Max-Age={keep}; Path={path}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::from_str(&text).ok()
    }

    /// The sealed cookies for the space. Other ports of the host may have set some, too.
    pub(super) fn space_sessions(self, headers: &HeaderMap) -> impl Iterator<Item = &str> {
        pairs(headers).filter(move |(name, _)| *name == self.space_session_name()).map(|(_, sealed)| sealed)
    }

    fn attributes(self) -> &'static str {
        // Lax, not Strict, because the browser comes back from Webex's site.
        if self.secure {
            "; Path=/; HttpOnly; SameSite=Lax; Secure"
        } else {
            "; Path=/; HttpOnly; SameSite=Lax"
        }
    }

    fn all(self, headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
        pairs(headers).filter_map(move |(name, sealed)| Some((name.strip_prefix(self.prefix())?, sealed)))
    }
}

/// Names and values of all cookies, as received. Other programs on the host set cookies as well, with any
/// bytes. A pair that is not text is skipped, and the others are returned.
pub(super) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
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

    #[test]
    fn abandoned_tickets_do_not_accumulate() {
        let many: Vec<String> = (0..12).map(|n| format!("__Host-ticket-{n}=x")).collect();
        let set = Cookies { secure: true }.set_ticket(
            &headers(&many.join("; ")),
            "new",
            "s",
            Duration::from_secs(1),
        );
        assert_eq!(set.len(), 1 + 5, "the new one and five removals");
    }
}
