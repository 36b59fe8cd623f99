//! The sinks of notices.

use super::*;
use crate::webex::MessageRecipient;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BOT: &str = "b07-t0ken_PF84";
const URL: &str = "https://hooks.example.com/k3y";
const MAIL: &str = "smtps://user:s3cr3t@mail.example.com:465";

#[test]
fn every_sink_is_off_until_it_is_set() {
    let off = read([]).notices;
    assert!(off.webhook.is_none() && off.command.is_none() && off.bot_token.is_none() && off.mail.is_none());
    let both = format!("{KEY} {KEY}");
    let on = read([
        ("NOTIFY_WEBHOOK_URL", URL),
        ("NOTIFY_WEBHOOK_SECRET", &both),
        ("NOTIFY_COMMAND", "on-notice 'a b'"),
        ("NOTIFY_WEBEX_TO", "Ops@example.com, Y2lz1"),
        ("BOT_TOKEN", BOT),
        ("NOTIFY_SMTP_URL", MAIL),
        ("NOTIFY_MAIL_FROM", "tokend@example.com"),
        ("NOTIFY_MAIL_TO", "a@example.com,b@example.com"),
    ]);
    assert!(on.space.is_none(), "the bot only sends notices");
    let told = format!("{on:?}");
    assert!(!["k3y", "whsec", BOT, "s3cr3t"].iter().any(|secret| told.contains(secret)), "{told}");
    let on = on.notices;
    assert_eq!(on.command.unwrap().1, ["a b"]);
    let space = MessageRecipient::Space("Y2lz1".to_owned());
    assert!(on.webex_to.len() == 2 && on.webex_to[1] == space && !on.people);
    assert_eq!(on.mail.unwrap().to.len(), 2);
    assert!(on.webhook.is_some() && on.bot_token.is_some());
}

#[test]
fn what_is_missing_or_wrong_is_told_at_once_and_never_the_secret() {
    assert_eq!(wrong([("NOTIFY_WEBHOOK_URL", URL)]), ["NOTIFY_WEBHOOK_SECRET"]);
    assert_eq!(wrong([("NOTIFY_WEBHOOK_SECRET", KEY)]), ["NOTIFY_WEBHOOK_URL"]);
    assert_eq!(wrong([("NOTIFY_PEOPLE", "yes")]), ["BOT_TOKEN"]);
    assert_eq!(wrong([("NOTIFY_WEBEX_TO", "ops@example.com")]), ["BOT_TOKEN"]);
    let all = errors(&with([
        ("NOTIFY_WEBHOOK_URL", "http://hooks.example.com/k3y"),
        ("NOTIFY_WEBHOOK_SECRET", "k3y"),
        ("NOTIFY_COMMAND", "on-notice 'a"),
        ("NOTIFY_PEOPLE", "maybe"),
        ("NOTIFY_SMTP_URL", "smtp://user:k3y@mail.example.com"),
        ("NOTIFY_MAIL_FROM", "nonsense"),
    ]));
    let names: Vec<&str> = all.iter().map(|mistake| mistake.variable).collect();
    assert_eq!(
        names,
        [
            "NOTIFY_WEBHOOK_URL",
            "NOTIFY_WEBHOOK_SECRET",
            "NOTIFY_COMMAND",
            "NOTIFY_PEOPLE",
            "NOTIFY_SMTP_URL",
            "NOTIFY_MAIL_FROM",
            "NOTIFY_MAIL_TO"
        ]
    );
    assert!(all.iter().all(|mistake| !mistake.to_string().contains("k3y")), "{all:?}");
}
