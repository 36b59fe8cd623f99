//! The setting of the proxy for requests to Webex.

use url::Url;

use crate::config::parse::SettingsReader;
use crate::webex::Proxy;

/// In order of precedence.
const NAMES: [&str; 2] = ["HTTPS_PROXY", "ALL_PROXY"];

/// The hosts that are reached without the proxy.
const EXCEPT: &str = "NO_PROXY";

/// The proxy; `None` if there is none or the setting is invalid.
pub(super) fn proxy(reader: &mut SettingsReader<'_>) -> Option<Proxy> {
    let name = NAMES.into_iter().find(|name| reader.text(name).is_some())?;
    let text = reader.text(name)?;
    // Other programs accept an address without a scheme, too.
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
