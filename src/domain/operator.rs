//! The operator of the service, as shown on the consent pages.

use url::Url;

use crate::domain::person::Email;

/// Maximum length of an operator's name, in characters.
pub const NAME_MAX: usize = 100;

/// Maximum length of a purpose, in characters.
pub const PURPOSE_MAX: usize = 500;

/// Maximum length of a web page's URL, in bytes.
const URL_MAX: usize = 500;

/// The details of the operator. Each may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operator {
    /// The name of a company or a team.
    pub name: Option<String>,
    /// Where persons can ask questions.
    pub contact: Option<Contact>,
    /// What the access is for.
    pub purpose: Option<String>,
}

/// How persons can reach the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// An e-mail address, unchanged.
    Email(String),
    /// The `http` or `https` URL of a web page.
    Page(String),
}

impl Contact {
    /// Parses an e-mail address or the URL of a web page. Returns `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if Email::parse(text).is_ok() && !text.contains([':', '/', '?', '&', '%']) {
            return Some(Self::Email(text.to_owned()));
        }
        let url = Url::parse(text).ok()?;
        let plain = url.username().is_empty() && url.password().is_none() && url.has_host();
        let fits = plain && matches!(url.scheme(), "http" | "https") && url.as_str().len() <= URL_MAX;
        fits.then(|| Self::Page(url.into()))
    }

    /// The text that a page shows.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Email(text) | Self::Page(text) => text,
        }
    }

    /// The URL for a link: `mailto:` for an e-mail address.
    #[must_use]
    pub fn link(&self) -> String {
        match self {
            Self::Email(address) => format!("mailto:{address}"),
            Self::Page(url) => url.clone(),
        }
    }
}

/// Whether a page can show `text` on one line: it is printable and has at most `longest` characters.
#[must_use]
pub fn is_line(text: &str, longest: usize) -> bool {
    let unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().count() <= longest && !text.chars().any(unseen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_an_e_mail_address_or_a_web_page_and_nothing_else() {
        for (text, link) in [
            ("it@example.com", "mailto:it@example.com"),
            ("https://example.com/help", "https://example.com/help"),
            ("http://intranet/", "http://intranet/"),
        ] {
            assert_eq!(Contact::parse(text).unwrap().link(), link);
        }
        let long = format!("https://example.com/{}", "x".repeat(URL_MAX));
        for bad in [
            "",
            "it",
            "javascript:alert(1)",
            "javascript:x@example.com",
            "data:text/html,x",
            "ftp://example.com",
            "https://user:pw@example.com",
            "a@b?subject=x",
            "mailto:it@example.com",
            &long,
        ] {
            assert_eq!(Contact::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_line_is_printable_and_bounded() {
        assert!(is_line("Example Ltd · Zürich", 100) && is_line("", 0));
        for bad in ["a\nb", "a\u{0}", "a\u{202e}b", "a\u{2028}b"] {
            assert!(!is_line(bad, 100), "{bad:?}");
        }
        assert!(is_line("éé", 2) && !is_line("ééé", 2));
    }
}
