//! The query of the redirect URI.

use url::form_urlencoded;
use webex_tokend::consent;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::secret::Secret;
use webex_tokend::http::pages::callback::Callback;

/// A query has exactly one of four meanings, and survives being written and read again.
pub(super) fn holds(data: &[u8]) -> String {
    let query = String::from_utf8_lossy(data);
    let read = Callback::read(&query);
    let count = |name: &str| form_urlencoded::parse(query.as_bytes()).filter(|(n, _)| n == name).count();
    match &read {
        Callback::Begin { hint, .. } => {
            assert_eq!(count("code") + count("state") + count("error"), 0);
            assert!(hint.as_ref().is_none_or(|hint| Email::parse(hint.as_str()).as_ref() == Ok(hint)));
        }
        Callback::Declined { .. } => assert_eq!(count("error"), 1),
        Callback::Granted { code, state } => {
            assert_eq!((count("code"), count("state"), count("error")), (1, 1, 0));
            assert!(!code.expose().is_empty());
            assert_eq!(format!("{read:?}"), "Granted { code: [redacted], state: [redacted] }");
            named(state);
        }
        Callback::Stale => return "stale".to_owned(),
    }
    assert_eq!(Callback::read(&written(&read)), read);
    let shown = format!("{read:?}");
    shown.split(' ').next().unwrap_or_default().to_lowercase()
}

/// A ticket's name is part of a cookie's name: short, and only with characters allowed there.
fn named(state: &Secret) {
    let name = consent::cookie_suffix(state);
    assert!(name.len() <= 12 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
}

fn written(callback: &Callback) -> String {
    let text = |secret: &Secret| secret.expose().to_owned();
    let pairs = match callback {
        Callback::Begin { hint, login } => {
            vec![("person", hint.as_ref().map(ToString::to_string)), ("login", login.clone())]
        }
        Callback::Declined { error, description, tracking_id, state } => vec![
            ("error", Some(error.clone())),
            ("error_description", description.clone()),
            ("trackingId", tracking_id.clone()),
            ("state", state.as_ref().map(text)),
        ],
        Callback::Granted { code, state } => vec![("code", Some(text(code))), ("state", Some(text(state)))],
        Callback::Stale => Vec::new(),
    };
    let told = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(told).finish()
}
