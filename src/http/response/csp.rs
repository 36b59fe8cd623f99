//! `Content-Security-Policy` headers.

use hyper::header::HeaderValue;

use crate::consent::SpaceWidget;
use crate::domain::avatar::AvatarUrl;

/// Only our own style sheet and icon. No embedding in frames, no forms, no scripts.
pub(in crate::http) const STRICT: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                                 form-action 'none'; frame-ancestors 'none'";

/// The strict policy, plus images from the origin of this avatar.
pub(in crate::http) fn with_picture(picture: Option<&AvatarUrl>) -> HeaderValue {
    let wider = picture.map(|it| STRICT.replace("img-src 'self'", &format!("img-src 'self' {}", it.origin)));
    wider.and_then(|text| HeaderValue::from_str(&text).ok()).unwrap_or(HeaderValue::from_static(STRICT))
}

/// The strict policy, plus what Webex's widget needs (its script and style from their host, and Webex's
/// services), and the form that ends the session. Nothing inline, and no other scripts.
pub(in crate::http) fn for_widget(widget: &SpaceWidget) -> HeaderValue {
    let SpaceWidget { host, talks_with, files, .. } = widget;
    let text = format!(
        "default-src 'none'; script-src {host}; style-src 'self' {host}; font-src {host} data:; \
         connect-src {host} {talks_with}; img-src 'self' {host} {files} data: blob:; media-src {host} {files} blob:; \
         worker-src blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(STRICT))
}
