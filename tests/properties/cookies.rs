//! The `Cookie` header, and the sealed tickets in it.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header;
use hyper::header::HeaderValue;
use url::Url;
use webex_tokend::consent::BegunConsent;
use webex_tokend::consent::ConsentError;
use webex_tokend::domain::secret::Secret;
use webex_tokend::domain::ticket::Ticket;
use webex_tokend::http::request::cookies::Cookies;

use super::harness::InMemoryConsents;

/// More cookies than browsers store for one host.
const MAX_BROWSER_COOKIES: usize = 64;

/// Input: the first line is a `Cookie` header; pairs of bytes in the rest modify a sealed ticket.
pub(super) fn holds(data: &[u8]) -> String {
    let (header, changes) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let [ours, plain] = [true, false].map(|secure| carried(Cookies { secure }, header));
    let changed = if sealed(data, changes.get(1..).unwrap_or_default()) { "changed" } else { "as sealed" };
    let text = Secret::new(String::from_utf8_lossy(data).into_owned());
    let ticket = Ticket::from_text(&text);
    if let Some(ticket) = &ticket {
        let again = Ticket::from_text(&ticket.to_text()).unwrap();
        assert_eq!(again.to_text(), ticket.to_text());
    }
    format!("{ours}+{plain} of ours, {changed}{}", if ticket.is_some() { ", a ticket's text" } else { "" })
}

/// Only cookies in the header are found, only the daemon's own cookies are changed, and few of them stay in the
/// browser. Returns the number of the daemon's own cookies.
fn carried(cookies: Cookies, header: &[u8]) -> usize {
    let Ok(value) = HeaderValue::from_bytes(header) else { return 0 };
    let (prefix, tail) = if cookies.secure {
        ("__Host-ticket-", "; Path=/; HttpOnly; SameSite=Lax; Secure")
    } else {
        ("ticket-", "; Path=/; HttpOnly; SameSite=Lax")
    };
    let shown = value.to_str().unwrap_or_default().to_owned();
    let pairs = || shown.split(';').filter_map(|pair| pair.trim().split_once('='));
    let ours = || pairs().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
    let headers: HeaderMap = [(header::COOKIE, value)].into_iter().collect();
    for (name, _) in ours() {
        let found = cookies.find(&headers, name);
        assert!(ours().any(|pair| found == Some(pair.1) && pair.0 == name));
    }
    assert_eq!(cookies.find(&headers, "an unknown name"), None);

    let set = cookies.set_ticket(&headers, "new", "sealed", Duration::from_secs(900));
    assert!(set.len() <= 1 + MAX_BROWSER_COOKIES, "{} Set-Cookie lines", set.len());
    let lines: Vec<&str> = set.iter().map(|line| line.to_str().unwrap()).collect();
    assert_eq!(lines[0], format!("{prefix}new=sealed; Max-Age=900{tail}"));
    let mut jar: BTreeSet<&str> = ours().map(|(name, _)| name).chain(["new"]).collect();
    // No browser sends this many, or one twice; made-up extra cookies are removed by the next response.
    let many = ours().count() > MAX_BROWSER_COOKIES;
    for line in &lines[1..] {
        let dropped =
            line.strip_prefix(prefix).unwrap().strip_suffix(&format!("=; Max-Age=0{tail}")).unwrap();
        assert!(!dropped.contains(';') && dropped != "new");
        jar.remove(dropped);
    }
    assert!(jar.len() <= 8 || many, "{} tickets stay", jar.len());
    ours().count()
}

/// A ticket that the daemon did not seal never opens; a sealed one opens only unmodified and only for its own state.
/// Webex gets no other request. Returns whether the ticket was modified.
fn sealed(data: &[u8], changes: &[u8]) -> bool {
    let consents = InMemoryConsents::new();
    let begun = consents.consents.begin(None).unwrap();
    let state = state_of(&begun);
    let text = String::from_utf8_lossy(data);
    consents.refuses(state.clone(), Some(&text));
    consents.refuses(state.clone(), None);
    consents.refuses(state.clone(), Some(&URL_SAFE_NO_PAD.encode(data)));

    let mut bytes = URL_SAFE_NO_PAD.decode(&begun.sealed).unwrap();
    let whole = bytes.clone();
    for pair in changes.chunks_exact(2) {
        let at = usize::from(pair[0]) % bytes.len();
        bytes[at] ^= pair[1];
    }
    if bytes != whole {
        consents.refuses(state.clone(), Some(&URL_SAFE_NO_PAD.encode(&bytes)));
    }
    if *text != *state {
        consents.refuses(text.into_owned(), Some(&begun.sealed));
    }
    assert_eq!(consents.calls(), 0, "Webex got a request for a forged ticket");
    let finished = consents.finish(state, Some(&begun.sealed));
    assert!(
        matches!(finished, Err(ConsentError::Unreachable { .. })),
        "the daemon's own ticket must open: {finished:?}"
    );
    assert_eq!(consents.calls(), 1);
    bytes != whole
}

fn state_of(begun: &BegunConsent) -> String {
    let url = Url::parse(&begun.url).unwrap();
    url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned()
}

impl InMemoryConsents {
    fn refuses(&self, state: String, sealed: Option<&str>) {
        let finished = self.finish(state, sealed);
        assert!(matches!(finished, Err(ConsentError::Stale)), "{sealed:?}: {finished:?}");
    }
}
