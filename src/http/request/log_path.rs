//! Paths for the log. A random part of a path is half of a session's credentials, so it is never logged.

use std::borrow::Cow;

/// The shortest random part: 256 bits in base64url. No other segment of a page's path is as long.
const RANDOM_LEN: usize = 43;

/// `path` with `…` in place of every segment that is long enough to be a random part.
pub(in crate::http) fn without_random_parts(path: &str) -> Cow<'_, str> {
    let is_random = |segment: &str| segment.len() >= RANDOM_LEN;
    if !path.split('/').any(is_random) {
        return Cow::Borrowed(path);
    }
    let shown = |segment| if is_random(segment) { "…" } else { segment };
    Cow::Owned(path.split('/').map(shown).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_parts_are_replaced_at_every_position() {
        let part = "A".repeat(RANDOM_LEN);
        for (path, shown) in [
            ("/", "/"),
            ("/dashboard/sign-in", "/dashboard/sign-in"),
            ("/assets/dashboard.0123456789ab.css", "/assets/dashboard.0123456789ab.css"),
            (&*format!("/dashboard/{part}"), "/dashboard/…"),
            (&*format!("/webex/space/{part}/x/{part}y"), "/webex/space/…/x/…"),
            (&*format!("//{part}"), "//…"),
        ] {
            assert_eq!(without_random_parts(path), shown);
        }
    }
}
