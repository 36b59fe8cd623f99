//! The pages that people and browser tests use. Ids are stable: `person`, `accept`, `decline`, `device-code`.

use std::fmt::Write as _;

use crate::people::Person;

/// Maximal length of the list of people. The hinted person is always in it.
const MOST_PEOPLE: usize = 500;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:4rem auto;padding:0 1rem;\
color:#1c1c1c;background:#f4f4f2}main{background:#fff;border:1px solid #d8d8d4;border-radius:10px;padding:1.5rem}\
h1{font-size:1.25rem;margin:0 0 .5rem}p{margin:.5rem 0}label{display:block;margin:1rem 0 .25rem;font-weight:600}\
select,input{font:inherit;width:100%;padding:.5rem;box-sizing:border-box}code{font-size:.9em;word-break:break-all}\
button{font:inherit;padding:.5rem 1.25rem;margin:1.25rem .5rem 0 0;border:1px solid #0b6b4f;border-radius:6px;\
background:#0b6b4f;color:#fff;cursor:pointer}#decline{background:#fff;color:#0b6b4f}\
footer{margin-top:1rem;font-size:.85rem;color:#666}";

/// The page that asks for a consent.
pub(crate) struct Consent<'a> {
    /// The people who can consent.
    pub(crate) people: &'a [Person],
    /// The preselected person.
    pub(crate) hinted: Option<usize>,
    /// The requested scopes.
    pub(crate) scope: &'a str,
    /// The query of the authorization request; the form sends it again.
    pub(crate) query: &'a str,
}

impl Consent<'_> {
    pub(crate) fn html(&self) -> String {
        let body = format!(
            "<h1>Webex simulator — not Cisco</h1><p>An application asks to act for you. It would get:</p>\
             <p><code id=\"scope\">{}</code></p><form method=\"post\" action=\"/v1/authorize?{}\">{}{}</form>",
            escaped(self.scope),
            escaped(self.query),
            person_select(self.people, self.hinted),
            BUTTONS,
        );
        page(&body)
    }
}

/// The page of the device grant.
pub(crate) fn device(people: &[Person], user_code: &str) -> String {
    let body = format!(
        "<h1>Webex simulator — not Cisco</h1><p>Type the code that your device shows.</p>\
         <form method=\"post\" action=\"/v1/device/verify\"><label for=\"device-code\">Code</label>\
         <input id=\"device-code\" name=\"userCode\" value=\"{}\" inputmode=\"numeric\" autocomplete=\"off\" required>\
         {}{}</form>",
        escaped(user_code),
        person_select(people, None),
        BUTTONS,
    );
    page(&body)
}

/// A page with good news.
pub(crate) fn done(text: &str) -> String {
    page(&format!("<h1>Webex simulator — not Cisco</h1><p id=\"done\">{}</p>", escaped(text)))
}

/// A page with bad news.
pub(crate) fn error(text: &str) -> String {
    page(&format!("<h1>Webex simulator — not Cisco</h1><p id=\"error\">{}</p>", escaped(text)))
}

const BUTTONS: &str = "<button id=\"accept\" name=\"decision\" value=\"accept\">Accept</button>\
                       <button id=\"decline\" name=\"decision\" value=\"decline\" formnovalidate>Decline</button>";

fn person_select(people: &[Person], hinted: Option<usize>) -> String {
    let mut list =
        String::from("<label for=\"person\">You are</label><select id=\"person\" name=\"person\">");
    for (index, person) in people.iter().enumerate() {
        if index >= MOST_PEOPLE && hinted != Some(index) {
            continue;
        }
        let selected = if hinted == Some(index) { " selected" } else { "" };
        let (name, email) = (escaped(&person.display_name), escaped(&person.email));
        // Writing to a String cannot fail.
        let _ = write!(list, "<option value=\"{index}\"{selected}>{name} ({email})</option>");
    }
    list.push_str("</select>");
    list
}

fn page(body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Webex simulator — not Cisco</title><style>{STYLE}</style>\
         <main>{body}</main><footer>Nothing here reaches Cisco, and no account is needed.</footer></html>"
    )
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_says_is_escaped() {
        let people = [Person::new("<b>", "b@example.com")];
        let html = Consent { people: &people, hinted: Some(0), scope: "<script>", query: "a=\"'" }.html();
        assert!(!html.contains("<script>") && !html.contains("<b>") && html.contains("a=&quot;&#39;"));
        assert!(html.contains("<option value=\"0\" selected>"));
    }
}
