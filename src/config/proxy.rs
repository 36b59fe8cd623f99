//! The proxy between here and Webex.

use url::Url;

use crate::config::parse::Reader;
use crate::webex::Proxy;

/// Of two that are set the first counts.
const NAMES: [&str; 2] = ["HTTPS_PROXY", "ALL_PROXY"];

/// Where no proxy is wanted.
const EXCEPT: &str = "NO_PROXY";

/// Names that the environment may have in lower case, too, as other programs read them.
pub(super) const IN_LOWER_CASE: [&str; 3] = ["HTTPS_PROXY", "ALL_PROXY", EXCEPT];

/// `None` where there is none, or a mistake was noted.
pub(super) fn proxy(reader: &mut Reader<'_>) -> Option<Proxy> {
    let name = NAMES.into_iter().find(|name| reader.text(name).is_some())?;
    let text = reader.text(name)?;
    // Other programs take an address without a scheme, too.
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).ok().filter(|url| {
        let bare = url.query().is_none() && url.fragment().is_none() && url.path() == "/";
        matches!(url.scheme(), "http" | "https") && url.has_host() && bare
    });
    let Some(url) = url else {
        reader.wrong(
            name,
            "the address of an HTTP proxy, such as http://proxy.example.com:3128, with user:password@ before the host if \
             it wants them (SOCKS is not supported)",
        );
        return None;
    };
    Some(Proxy { url, except: reader.text(EXCEPT).map(str::to_owned) })
}
