//! What browsers let a page do (`Content-Security-Policy`).

use hyper::header::HeaderValue;

use crate::domain::picture::Picture;

/// Nothing but our own style sheet and icon; no frames around us, no forms, no scripts.
pub(super) const STRICT: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                                 form-action 'none'; frame-ancestors 'none'";

/// The strict one, and images from where this picture lies.
pub(super) fn with_picture(picture: Option<&Picture>) -> HeaderValue {
    let wider = picture.map(|it| STRICT.replace("img-src 'self'", &format!("img-src 'self' {}", it.origin)));
    wider.and_then(|text| HeaderValue::from_str(&text).ok()).unwrap_or(HeaderValue::from_static(STRICT))
}
