//! The texts of notices for operators and for persons.

use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::operator::Operator;
use crate::domain::person::Email;

/// One line with the event and the person.
#[must_use]
pub fn subject(notice: &Notice) -> String {
    let who = notice.person.as_ref().map(ToString::to_string).unwrap_or_default();
    let data = |name: &str| text_of(notice, name);
    match notice.kind {
        NoticeType::ConsentGranted => format!("{who}: consent stored"),
        NoticeType::ConsentNeeded => format!("{who}: a new consent is needed"),
        NoticeType::ConsentExpiring => format!("{who}: the consent ends in {} days or less", data("days")),
        NoticeType::ConsentExtended => format!("{who}: the consent no longer ends soon"),
        NoticeType::TokenAtRisk => format!("{who}: refreshes fail, and the access token ends soon"),
        NoticeType::TokenRecovered => format!("{who}: the access token is renewed again"),
        NoticeType::AppPaused => format!("refreshes pause: {}", data("cause")),
        NoticeType::AppResumed => "refreshes go on again".to_owned(),
        NoticeType::StoreFailing => "the store cannot be written".to_owned(),
        NoticeType::StoreRecovered => "the store can be written again".to_owned(),
        NoticeType::CertificateExpiring => format!("the served certificate ends: {}", data("ends_at")),
        NoticeType::CertificateRenewed => "a renewed certificate is served".to_owned(),
        NoticeType::PersonForgotten => format!("{who}: removed"),
        NoticeType::KeyCreated => format!("API key {:?} created", data("name")),
        NoticeType::KeyRevoked => format!("API key {:?} revoked", data("name")),
        NoticeType::Digest => format!("{} notices {}", data("persons"), data("type")),
        NoticeType::Test => "a test notice".to_owned(),
    }
}

/// The full text for operators.
#[must_use]
pub fn for_operators(notice: &Notice) -> String {
    let mut lines = vec![format!("webex-tokend: {}", subject(notice))];
    lines.push(format!("{} at {}", notice.kind.as_str(), notice.at));
    for name in notice.data.keys() {
        lines.push(format!("{}: {}", name.replace('_', " "), text_of(notice, name)));
    }
    lines.push(format!("id: {}", notice.id));
    lines.join("\n")
}

/// The message to a person about their own consent. docs/notices.md quotes it, so that operators can read it before they turn
/// these messages on.
#[must_use]
pub fn for_person(notice: &Notice, operator: &Operator) -> String {
    let program = match &operator.name {
        Some(name) => format!("the program webex-tokend of {name}"),
        None => "the program webex-tokend".to_owned(),
    };
    let purpose =
        operator.purpose.as_ref().map(|purpose| format!("\nWhat it is for: {purpose}")).unwrap_or_default();
    let until = match notice.kind {
        NoticeType::ConsentExpiring => format!(
            "Your consent ends on {}. After that it cannot work for you any more.",
            day(&text_of(notice, "consent_ends_at"))
        ),
        _ => "Webex no longer renews your consent, so it cannot go on working for you.".to_owned(),
    };
    let account = notice.person.as_ref().and_then(|person| person.email.as_ref()).map(Email::as_str);
    let account = account.map(|email| format!(" as {email}")).unwrap_or_default();
    let questions = match &operator.contact {
        Some(contact) => format!("Questions: {}", contact.text()),
        None => "Questions: ask the people who run it at your organization.".to_owned(),
    };
    format!(
        "Hello. Some time ago you allowed {program} to use Webex for you.{purpose}\n\n{until}\n\n\
         To allow it again, open this link, sign in at Webex{account}, and accept:\n{}\n\n\
         The link leads to our own page and from there to Webex. Enter your password on Webex's sign-in page only; we never \
         ask for it. If you no longer want this, do nothing.\n{questions}",
        text_of(notice, "consent_url")
    )
}

/// The date in an RFC 3339 timestamp.
fn day(moment: &str) -> String {
    moment.split('T').next().unwrap_or_default().to_owned()
}

fn text_of(notice: &Notice, name: &str) -> String {
    match notice.data.get(name) {
        Some(serde_json::Value::String(text)) => printable(text),
        Some(value) => printable(&value.to_string()),
        None => String::new(),
    }
}

/// The text in one line, without characters that hide or reorder others. Texts of Webex and names of keys may contain such
/// characters, and could imitate further lines of a message.
#[must_use]
pub fn printable(text: &str) -> String {
    let is_deceptive = |c: char| {
        let reorders =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}');
        c.is_control() || reorders || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{ad}')
    };
    text.chars().map(|c| if is_deceptive(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;
    use crate::domain::operator::Contact;
    use crate::domain::person::Person;
    use crate::domain::person::PersonId;
    use crate::domain::time::UnixTime;

    const NOW: UnixTime = UnixTime(1_795_000_000_000);

    fn expiring() -> Notice {
        let person = Person {
            email: Email::parse("ada@example.com").ok(),
            ..Person::known_by(PersonId::parse("ada").unwrap())
        };
        Notice::new(NoticeType::ConsentExpiring, Some(&person), "1", NOW)
            .with("days", 7)
            .with("consent_ends_at", NOW.to_string())
            .with("consent_url", "https://tokens.example.com/oauth?person=ada%40example.com")
    }

    #[test]
    fn the_person_is_told_who_asks_for_what_and_until_when() {
        let operator = Operator {
            name: Some("Example IT".to_owned()),
            contact: Contact::parse("help@example.com"),
            purpose: Some("Meeting reports.".to_owned()),
        };
        let text = for_person(&expiring(), &operator);
        for part in [
            "of Example IT",
            "What it is for: Meeting reports.",
            "ends on 2026-11-18",
            "as ada@example.com",
            "https://tokens.example.com/oauth?person=ada%40example.com",
            "Questions: help@example.com",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(for_person(&expiring(), &Operator::default()).contains("ask the people who run it"));
    }

    #[test]
    fn the_documented_text_is_the_one_that_is_sent() {
        let documented =
            std::fs::read_to_string(format!("{}/docs/notices.{}", env!("CARGO_MANIFEST_DIR"), "md")).unwrap();
        let operator = Operator {
            name: Some("Example IT".to_owned()),
            contact: Contact::parse("help@example.com"),
            purpose: Some("Meeting reports.".to_owned()),
        };
        let needed = Notice { kind: NoticeType::ConsentNeeded, ..expiring() };
        for notice in [expiring(), needed] {
            let text = for_person(&notice, &operator);
            assert!(documented.contains(&text), "docs/notices.md does not show:\n{text}");
        }
    }

    #[test]
    fn a_text_of_others_imitates_no_line_of_a_message() {
        let hostile = "x\r\nid: evt_forged\u{2028}\u{202e}at: now\0";
        let text = for_operators(&Notice::new(NoticeType::KeyCreated, None, "1", NOW).with("name", hostile));
        assert_eq!(text.lines().count(), 4, "{text}");
        assert_eq!(text.matches("\nid: ").count(), 1, "{text}");
        assert!(text.chars().all(|c| c == '\n' || printable(&c.to_string()) == c.to_string()), "{text}");
    }

    #[test]
    fn every_type_has_a_subject_and_operators_see_all_data() {
        for kind in NoticeType::VARIANTS.iter().copied() {
            assert!(!subject(&Notice::new(kind, None, "1", NOW)).is_empty());
        }
        let text = for_operators(&expiring());
        assert!(
            text.contains("consent ends at: 2026-11-18T11:06:40Z") && text.contains("id: evt_"),
            "{text}"
        );
    }
}
