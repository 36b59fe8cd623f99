//! The text that operators send to a person: a link with an explanation.

use url::form_urlencoded::byte_serialize;

use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::operator::NAME_MAX;
use crate::domain::operator::Operator;
use crate::domain::operator::is_line;
use crate::domain::time::UnixTime;

/// A link to a consent, and the text to send it with.
#[derive(Clone, Debug)]
pub(super) struct InvitationText {
    pub(super) link: String,
    pub(super) text: String,
    /// A `mailto:` link with the person's address and this text.
    pub(super) mail: Option<String>,
}

impl InvitationText {
    /// For people who have not consented yet. `link` leads to the page that explains what is requested.
    pub(super) fn first(operator: &Operator, link: String) -> Self {
        let asks = operator.name.as_ref().map_or_else(|| "We ask".to_owned(), |name| format!("{name} asks"));
        let why = format!("{asks} you for access to your Webex account.");
        let text = written("Hello,", &why, "Please open this address and agree:", operator, &link);
        Self { link, text, mail: None }
    }

    /// For a person who should consent again by `link`.
    pub(super) fn again(operator: &Operator, grant: &Grant, link: String, now: UnixTime) -> Self {
        let person = &grant.person;
        let name = person.display_name.as_deref().map(str::trim);
        // The person chooses the name, so a name that contains a line break is not used.
        let name = name.filter(|name| !name.is_empty() && is_line(name, NAME_MAX));
        let greeting = name.map_or_else(|| "Hello,".to_owned(), |name| format!("Hello {name},"));
        let whose = operator.name.as_deref().unwrap_or("us");
        let given = format!("the access to your Webex account that you gave to {whose}");
        let ends = grant.tokens.expires_at;
        let why = match (grant.status, grant.consent_ends_soon(now)) {
            (GrantStatus::ConsentNeeded, _) if ends <= now => format!("Webex has ended {given}."),
            (GrantStatus::ConsentNeeded, _) => {
                format!("Webex no longer renews {given}. It ends on {}.", ends.day())
            }
            (GrantStatus::Active, Some(ends)) if ends > now => {
                format!("{} ends on {}, unless you renew it.", given.replacen('t', "T", 1), ends.day())
            }
            (GrantStatus::Active, _) => format!("Please confirm once more {given}."),
        };
        let who = person.email.as_ref().map(|email| format!(", sign in as {email},")).unwrap_or_default();
        let ask = format!("Please open this address{who} and agree again:");
        let text = written(&greeting, &why, &ask, operator, &link);
        let subject = match &operator.name {
            Some(name) => format!("Please renew the access of {name} to your Webex account"),
            None => "Please renew our access to your Webex account".to_owned(),
        };
        let mail = person.email.as_ref().map(|email| {
            let (to, subject) = (escaped(email.as_str()), escaped(&subject));
            format!("mailto:{to}?subject={subject}&body={}", escaped(&text.replace('\n', "\r\n")))
        });
        Self { link, text, mail }
    }
}

fn written(greeting: &str, why: &str, ask: &str, operator: &Operator, link: &str) -> String {
    let purpose = operator.purpose.as_ref().map(|it| format!("What it is for: {it}\n\n")).unwrap_or_default();
    let contact = operator.contact.as_ref().map(|it| format!("\nQuestions: {}\n", it.text()));
    format!(
        "{greeting}\n\n{why}\n\n{purpose}{ask}\n\n{link}\n\nYou type your password on Webex’s own page only. You can end the \
         access at any time in your Webex account.\n{}",
        contact.unwrap_or_default()
    )
}

/// Encodes text for a part of a `mailto:` URL, in which a plus sign has no special meaning (RFC 6068).
fn escaped(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::person::Email;
    use crate::domain::why::sample::T0;
    use crate::domain::why::sample::days;
    use crate::domain::why::sample::grant;

    const LINK: &str = "https://tokens.example.com/oauth";

    fn again(grant: &Grant, now: UnixTime) -> String {
        InvitationText::again(&Operator::default(), grant, LINK.to_owned(), now).text
    }

    #[test]
    fn the_text_says_what_happens_to_the_access_and_when() {
        let mut grant = grant();
        assert!(again(&grant, T0).contains("Please confirm once more the access"), "{}", again(&grant, T0));
        let soon = again(&grant, T0 + days(70));
        assert!(soon.contains(&format!("ends on {}, unless you renew it.", (T0 + days(90)).day())), "{soon}");
        assert!(again(&grant, T0 + days(91)).contains("Please confirm"), "a date in the past is not shown");
        grant.status = GrantStatus::ConsentNeeded;
        assert!(again(&grant, T0).contains(&format!("It ends on {}.", grant.tokens.expires_at.day())));
        assert!(again(&grant, T0 + days(20)).contains("Webex has ended the access"));
    }

    #[test]
    fn a_mail_is_addressed_to_the_person_only() {
        let mut grant = grant();
        assert_eq!(InvitationText::again(&Operator::default(), &grant, LINK.to_owned(), T0).mail, None);
        grant.person.email = Email::parse("a?cc=b@example.com&bcc=x+y").ok();
        let mail = InvitationText::again(&Operator::default(), &grant, LINK.to_owned(), T0).mail.unwrap();
        let (to, rest) = mail.strip_prefix("mailto:").unwrap().split_once('?').unwrap();
        assert_eq!(to, "a%3Fcc%3Db%40example.com%26bcc%3Dx%2By");
        assert_eq!(rest.matches(['&', '?', '+']).count(), 1, "{rest}");
    }
}
