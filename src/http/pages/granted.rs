//! The page after a good end: who consented, to what, for how long, and how to take it back.

use askama::Template;

use crate::consent::Granted;
use crate::domain::person::Email;
use crate::domain::picture::Picture;
use crate::http::pages::Frame;
use crate::http::pages::Scope;
use crate::http::pages::scopes;

/// "Access Granted".
#[derive(Template)]
#[template(path = "granted.html")]
pub(in crate::http) struct GrantedPage<'a> {
    frame: &'a Frame,
    name: &'a str,
    /// What stands before the `@`, and after it: a line may end there.
    email: Option<(&'a str, &'a str)>,
    initials: String,
    picture: Option<&'a Picture>,
    scopes: Vec<Scope<'a>>,
    /// Asked for, but not granted.
    missing: Vec<Scope<'a>>,
    /// As programs read it, and as people do.
    until: (String, String),
    /// What the operator forgets the person by.
    whom: &'a str,
    /// Where the person takes it back.
    revoke_at: &'a str,
    /// Where this browser sees the Space widget.
    space: Option<&'a str>,
}

impl<'a> GrantedPage<'a> {
    /// What to say about `granted`; `asked` are the scopes that were asked for, `space` is where this browser sees it.
    pub(in crate::http) fn new(
        frame: &'a Frame,
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
            whom: email.unwrap_or(granted.person.id.as_str()),
            revoke_at,
            space,
        }
    }
}

/// Of the first and the last word; of scripts without capitals only the first letter, since theirs are not shortened so.
fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|word| word.chars().find(|c| !is_invisible(*c)));
    let first = words.next();
    let has_case = |c: &char| c.is_uppercase() || c.is_lowercase();
    let last = words.next_back().filter(has_case).filter(|_| first.as_ref().is_some_and(has_case));
    first.into_iter().chain(last).flat_map(char::to_uppercase).collect()
}

/// Marks of direction and joiners, which stand for nothing by themselves; quotation marks and brackets.
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
