//! The sinks of notices.

use lettre::message::Mailbox;
use url::Url;

use crate::config::parse::SettingsReader;
use crate::domain::host::is_protected;
use crate::domain::person::Email;
use crate::domain::secret::Secret;
use crate::notices::command::split_words;
use crate::notices::mail::MailSettings;
use crate::notices::settings::NoticeSettings;
use crate::notices::signature::SigningKeys;
use crate::notices::webhook::WebhookSettings;
use crate::webex::MessageRecipient;

/// More recipients than this are better served by a space.
const MOST_RECIPIENTS: usize = 20;

/// What is set. Mistakes are noted; a sink with a mistake is left out.
pub(super) fn notices(reader: &mut SettingsReader<'_>) -> NoticeSettings {
    let webhook = webhook(reader);
    let command = command(reader);
    let webex_to = webex_to(reader);
    let people = people(reader);
    let bot_token = if webex_to.is_empty() && !people {
        None
    } else {
        reader.secret(
            "BOT_TOKEN",
            "BOT_TOKEN_FILE",
            "the token of the bot that sends notices as Webex messages",
        )
    };
    NoticeSettings { webhook, command, webex_to, people, bot_token, mail: mail(reader) }
}

/// Whether the bot is needed for notices, as far as can be seen without reading everything.
pub(super) fn uses_bot(reader: &SettingsReader<'_>) -> bool {
    reader.text("NOTIFY_WEBEX_TO").is_some() || reader.text("NOTIFY_PEOPLE") == Some("yes")
}

fn webhook(reader: &mut SettingsReader<'_>) -> Option<WebhookSettings> {
    let names = ["NOTIFY_WEBHOOK_URL", "NOTIFY_WEBHOOK_SECRET", "NOTIFY_WEBHOOK_SECRET_FILE"];
    if names.iter().all(|name| reader.text(name).is_none()) {
        return None;
    }
    let expected = "the https URL of a Standard Webhooks receiver (http on loopback only)";
    let url = match reader.text("NOTIFY_WEBHOOK_URL") {
        None => {
            reader.missing("NOTIFY_WEBHOOK_URL", &format!("{expected}, since its secret is set"));
            None
        }
        Some(text) => {
            let fits = Url::parse(text)
                .is_ok_and(|url| is_protected(&url) && url.has_host() && url.fragment().is_none());
            if !fits {
                // It may hold a key.
                reader.add_error("NOTIFY_WEBHOOK_URL", "another value".to_owned(), expected);
            }
            fits.then(|| Secret::new(text.to_owned()))
        }
    };
    let what = "whsec_ and 24 to 64 bytes in base64, or two of them separated by a space while it is changed";
    let secret = reader.secret_text("NOTIFY_WEBHOOK_SECRET", "NOTIFY_WEBHOOK_SECRET_FILE", what);
    let keys = secret.and_then(|(variable, text)| {
        let keys = SigningKeys::parse(&text);
        if keys.is_none() {
            reader.add_error(variable, "another value".to_owned(), what);
        }
        keys
    });
    Some(WebhookSettings { url: url?, keys: keys? })
}

fn command(reader: &mut SettingsReader<'_>) -> Option<(String, Vec<String>)> {
    let words = split_words(reader.text("NOTIFY_COMMAND")?);
    let Some(words) = words else {
        reader.wrong("NOTIFY_COMMAND", "a program and its arguments, with every quote closed");
        return None;
    };
    words.split_first().map(|(program, arguments)| (program.clone(), arguments.to_vec()))
}

fn webex_to(reader: &mut SettingsReader<'_>) -> Vec<MessageRecipient> {
    let Some(text) = reader.text("NOTIFY_WEBEX_TO") else { return Vec::new() };
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    let recipient = |word: &str| match Email::parse(word) {
        Ok(email) => Some(MessageRecipient::Address(email)),
        Err(_) if word.contains('@') => None,
        Err(_) => {
            let is_id = word.len() <= 256 && word.bytes().all(|b| b.is_ascii_graphic());
            is_id.then(|| MessageRecipient::Space(word.to_owned()))
        }
    };
    let recipients: Option<Vec<MessageRecipient>> = words.map(recipient).collect();
    let fits = recipients.filter(|all| (1..=MOST_RECIPIENTS).contains(&all.len()));
    fits.unwrap_or_else(|| {
        let expected = format!(
            "up to {MOST_RECIPIENTS} e-mail addresses or ids of spaces that the bot is in, separated by commas"
        );
        reader.wrong("NOTIFY_WEBEX_TO", &expected);
        Vec::new()
    })
}

fn people(reader: &mut SettingsReader<'_>) -> bool {
    match reader.text("NOTIFY_PEOPLE") {
        None | Some("no") => false,
        Some("yes") => true,
        Some(_) => {
            reader.wrong("NOTIFY_PEOPLE", "yes or no");
            false
        }
    }
}

fn mail(reader: &mut SettingsReader<'_>) -> Option<MailSettings> {
    let names = ["NOTIFY_SMTP_URL", "NOTIFY_SMTP_URL_FILE", "NOTIFY_MAIL_FROM", "NOTIFY_MAIL_TO"];
    if names.iter().all(|name| reader.text(name).is_none()) {
        return None;
    }
    let what = "the URL of a mail server, smtps://user:password@host:465 (smtp:// with ?tls=required, or on loopback)";
    let url = reader.secret("NOTIFY_SMTP_URL", "NOTIFY_SMTP_URL_FILE", what).filter(|url| {
        let fits = is_mail_server(url.expose());
        if !fits {
            reader.add_error("NOTIFY_SMTP_URL", "another value".to_owned(), what);
        }
        fits
    });
    let from = address(reader, "NOTIFY_MAIL_FROM").and_then(|mut from| from.pop());
    let to = address(reader, "NOTIFY_MAIL_TO");
    Some(MailSettings { url: url?, from: from?, to: to? })
}

/// The password must not be readable on the way.
fn is_mail_server(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        let is_required = url.query_pairs().any(|(name, value)| name == "tls" && value == "required");
        let is_safe = match url.scheme() {
            "smtps" => true,
            // Only in URLs of the web are numbers read as addresses, so the host is compared as text.
            "smtp" => is_required || matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")),
            _ => false,
        };
        is_safe && url.has_host()
    })
}

fn address(reader: &mut SettingsReader<'_>, variable: &'static str) -> Option<Vec<Mailbox>> {
    let expected = match variable {
        "NOTIFY_MAIL_FROM" => "the sender's e-mail address, since e-mail notices are set",
        _ => "the operators' e-mail addresses, separated by commas, since e-mail notices are set",
    };
    let text = reader.required(variable, expected)?;
    let all: Option<Vec<Mailbox>> = text.split(',').map(|one| one.trim().parse().ok()).collect();
    let most = if variable == "NOTIFY_MAIL_FROM" { 1 } else { MOST_RECIPIENTS };
    let fits = all.filter(|all| (1..=most).contains(&all.len()));
    if fits.is_none() {
        reader.wrong(variable, expected);
    }
    fits
}
