//! The picture that `people/me` names (`avatar`). It is used only if Webex hosts it.

use url::Url;

use crate::domain::avatar::AvatarUrl;

/// Webex's domains. A picture elsewhere is not shown, because its host would learn who consents, and when.
const WEBEX_DOMAINS: [&str; 3] = ["webex.com", "webexcontent.com", "wbx2.com"];

/// Maximum length of a picture's URL; those of Webex have about 150 characters.
const MAX_URL_LEN: usize = 2048;

/// The picture at `address`, if that is https on a host of Webex, or on the origin of `base` (a simulator).
pub(super) fn avatar_url(address: &str, base: &str) -> Option<AvatarUrl> {
    let url = Url::parse(address).ok().filter(|_| address.len() <= MAX_URL_LEN)?;
    let host = url.host_str().filter(|host| is_plain(host))?;
    let is_ours =
        |suffix: &&str| host.strip_suffix(*suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let known = url.scheme() == "https" && url.port().is_none() && WEBEX_DOMAINS.iter().any(is_ours);
    let at_base = || Url::parse(base).is_ok_and(|base| base.origin() == url.origin());
    let bare = url.username().is_empty() && url.password().is_none();
    let origin = url.origin().ascii_serialization();
    (bare && (known || at_base())).then(|| AvatarUrl { address: url.into(), origin })
}

/// A URL's host may contain `;` and `,`, which end a directive of a `Content-Security-Policy`.
fn is_plain(host: &str) -> bool {
    host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "http://127.0.0.1:18080/v1";

    #[test]
    fn pictures_at_webex_and_at_the_simulator_are_accepted() {
        for (address, origin) in [
            (
                "https://avatar-prod-us-east-2.webexcontent.com/Avtr~V1~a/b~1600",
                "https://avatar-prod-us-east-2.webexcontent.com",
            ),
            ("https://webex.com/a", "https://webex.com"),
            ("https://a.b.WBX2.com:443/a?b", "https://a.b.wbx2.com"),
            ("http://127.0.0.1:18080/pictures/ada.svg", "http://127.0.0.1:18080"),
        ] {
            assert_eq!(
                avatar_url(address, BASE).map(|found| found.origin).as_deref(),
                Some(origin),
                "{address}"
            );
        }
    }

    #[test]
    fn pictures_at_other_hosts_are_rejected() {
        let long = format!("https://webex.com/{}", "a".repeat(MAX_URL_LEN));
        for address in [
            "",
            "avatar.png",
            "/avatar.png",
            "//webex.com/a",
            "http://webex.com/a",
            "ftp://webex.com/a",
            "data:image/png;base64,AAAA",
            "javascript:alert(1)",
            "https://evilwebex.com/a",
            "https://webex.com.evil.example/a",
            "https://webex.com@evil.example/a",
            "https://me@webex.com/a",
            "https://webex.com:8443/a",
            "https://a;script-src *.webex.com/a",
            "https://a;b.webex.com/a",
            "https://a,b.webex.com/a",
            "https://a'b.webex.com/a",
            "https://127.0.0.1:18080/a",
            "http://127.0.0.1:18081/a",
            "http://localhost:18080/a",
            &long,
        ] {
            assert_eq!(avatar_url(address, BASE), None, "{address}");
        }
    }
}
