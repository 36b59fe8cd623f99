//! The page after a successful consent: who consented, to what, for how long, and how to revoke it.

use askama::Template;

use crate::consent::Granted;
use crate::domain::avatar::AvatarUrl;
use crate::domain::person::Email;
use crate::http::pages::frame::PageFrame;
use crate::http::pages::scopes::ScopeText;
use crate::http::pages::scopes::scopes;

/// "Access Granted".
#[derive(Template)]
#[template(path = "granted.html")]
pub(in crate::http) struct GrantedPage<'a> {
    frame: &'a PageFrame,
    name: &'a str,
    /// The parts before and after the `@`, between which a line may break.
    email: Option<(&'a str, &'a str)>,
    initials: String,
    picture: Option<&'a AvatarUrl>,
    scopes: Vec<ScopeText<'a>>,
    /// Requested, but not granted.
    missing: Vec<ScopeText<'a>>,
    /// The end of the access, for programs and for people.
    until: (String, String),
    /// How the operator names the person in the command `forget`.
    forget_name: &'a str,
    /// Where the person can revoke the access.
    revoke_at: &'a str,
    /// The path of the Space widget for this browser.
    space: Option<&'a str>,
}

impl<'a> GrantedPage<'a> {
    /// The page for `granted`. `asked` are the requested scopes, and `space` is the path of the Space widget
    /// for this browser.
    pub(in crate::http) fn new(
        frame: &'a PageFrame,
        granted: &'a Granted,
        asked: &'a [String],
        revoke_at: &'a str,
        space: Option<&'a str>,
    ) -> Self {
        let email = granted.person.email.as_ref().map(Email::as_str);
        let name = granted.person.display_name.as_deref();
        let until = granted.lasts_until;
        Self {
            frame,
            name: name.or(email).unwrap_or("An account without a name"),
            email: email.filter(|_| name.is_some()).and_then(|email| email.split_once('@')),
            initials: name.or(email).map(initials).unwrap_or_default(),
            picture: granted.picture.as_ref(),
            scopes: scopes(&granted.scopes),
            missing: scopes(asked)
                .into_iter()
                .filter(|scope| !granted.scopes.iter().any(|it| it == scope.name))
                .collect(),
            until: (until.to_string(), until.day()),
            forget_name: email.unwrap_or(granted.person.id.as_str()),
            revoke_at,
            space,
        }
    }
}

/// Initials of the first and the last word. In scripts without capitals, only the first letter, because names
/// in these scripts are not abbreviated by initials.
fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|word| word.chars().find(|c| !is_invisible(*c)));
    let first = words.next();
    let has_case = |c: &char| c.is_uppercase() || c.is_lowercase();
    let last = words.next_back().filter(has_case).filter(|_| first.as_ref().is_some_and(has_case));
    first.into_iter().chain(last).flat_map(char::to_uppercase).collect()
}

/// Direction marks and joiners, which are invisible by themselves; quotation marks and brackets.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '"' | '\'' | '(' | '[' | '“' | '‘' | '«')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_are_those_of_the_first_and_the_last_word() {
        for (name, letters) in [
            ("Ada Lovelace", "AL"),
            ("ada", "A"),
            ("Katherine Coleman Goble Johnson", "KJ"),
            ("Grace “Amazing” Hopper", "GH"),
            ("ada@example.com", "A"),
            ("محمد علي", "م"),
            ("山田 太郎", "山"),
            ("Émile Zola", "ÉZ"),
            ("\u{202e}Ada\u{202c} \u{200b}", "A"),
            ("🦊 Fox", "🦊"),
            ("", ""),
            ("\u{200b}", ""),
        ] {
            assert_eq!(initials(name), letters, "{name:?}");
        }
    }
}
