//! Who runs the service, as the consent pages tell it.

use url::Url;

use crate::domain::person::Email;

/// The longest name of an operator.
pub const NAME_MAX: usize = 100;

/// The longest purpose.
pub const PURPOSE_MAX: usize = 500;

/// The longest address of a web page.
const URL_MAX: usize = 500;

/// What is told about the operator. Each part may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operator {
    /// A name, such as a company's or a team's.
    pub name: Option<String>,
    /// Where questions go.
    pub contact: Option<Contact>,
    /// What the access is for.
    pub purpose: Option<String>,
}

/// Where questions go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// An e-mail address, as it was written.
    Email(String),
    /// A page on the web: `http` or `https`.
    Page(String),
}

impl Contact {
    /// Reads an e-mail address, or the URL of a page.
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

    /// As people read it.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Email(text) | Self::Page(text) => text,
        }
    }

    /// Where a link to it leads.
    #[must_use]
    pub fn link(&self) -> String {
        match self {
            Self::Email(address) => format!("mailto:{address}"),
            Self::Page(url) => url.clone(),
        }
    }
}

/// A text for one line of a page: printable, and of at most `longest` characters.
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
    fn a_contact_is_an_address_or_a_page_and_leads_nowhere_else() {
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
