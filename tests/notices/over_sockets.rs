//! The real sinks: webhooks to the simulator's receiver, programs, Webex messages and e-mail.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use webex_sim::Sim;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::secret::Secret;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::notices::command::ProgramSink;
use webex_tokend::notices::mail::Mail;
use webex_tokend::notices::mail::MailSettings;
use webex_tokend::notices::signature::SigningKeys;
use webex_tokend::notices::sink::DeliveryResult;
use webex_tokend::notices::sink::OutgoingNotice;
use webex_tokend::notices::sink::Sink;
use webex_tokend::notices::webhook::Webhook;
use webex_tokend::notices::webhook::WebhookSettings;
use webex_tokend::webex::transport::HttpTransport;

use crate::notices::world::WEBHOOK_KEY;
use crate::support::start_sim;

const NOW: UnixTime = UnixTime(1_795_000_000_000);

/// A fault of the next webhook.
fn fault(sim: &Sim, kind: FaultKind) {
    sim.with(|webex| webex.fault(Fault { on: Endpoint::Hook, person: None, times: Some(1), kind }));
}

fn outgoing() -> OutgoingNotice {
    let person = Person {
        email: Email::parse("ada@example.com").ok(),
        ..Person::known_by(PersonId::parse("ada").unwrap())
    };
    let notice = Notice::new(NoticeType::ConsentNeeded, Some(&person), "1", NOW);
    OutgoingNotice { notice: notice.with("consent_url", "https://tokens.example.com/oauth"), now: NOW }
}

fn webhook(sim: &Sim) -> Webhook {
    let url = Secret::new(format!("http://{}/hooks/notices", sim.address()));
    let keys = SigningKeys::parse(&Secret::new(WEBHOOK_KEY.to_owned())).unwrap();
    let transport = HttpTransport::new("test", None, true, None).unwrap();
    Webhook::new(WebhookSettings { url, keys }, Arc::new(transport))
}

#[tokio::test]
async fn a_webhook_is_signed_and_whole() {
    let sim = start_sim().await;
    assert_eq!(webhook(&sim).deliver(&outgoing()).await, DeliveryResult::Taken);
    let taken = sim.with(|webex| webex.webhooks().to_vec());
    let [hook] = taken.as_slice() else { panic!("{taken:?}") };
    assert_eq!(hook.body, outgoing().body());
    let header = |name: &str| hook.headers.iter().find(|(n, _)| n == name).unwrap().1.clone();
    let keys = SigningKeys::parse(&Secret::new(WEBHOOK_KEY.to_owned())).unwrap();
    assert_eq!(header("webhook-id"), outgoing().notice.id);
    assert_eq!(header("webhook-timestamp"), NOW.seconds().to_string());
    assert_eq!(header("webhook-signature"), keys.sign(&outgoing().notice.id, NOW.seconds(), &hook.body));
}

#[tokio::test]
async fn only_2xx_counts_and_each_bad_receiver_is_told_apart() {
    let sim = start_sim().await;
    let hook = webhook(&sim);
    let status = |status| FaultKind::Unavailable { status, html: true };
    let redirect = FaultKind::Redirect("http://127.0.0.1:1/elsewhere".to_owned());
    for (kind, sink_failed) in
        [(status(500), true), (redirect, true), (status(400), false), (FaultKind::ResetBefore, true)]
    {
        fault(&sim, kind.clone());
        let answer = hook.deliver(&outgoing()).await;
        let DeliveryResult::Failed { sink_failed: found, .. } = &answer else {
            panic!("{kind:?}: {answer:?}")
        };
        assert_eq!(*found, sink_failed, "{kind:?}");
    }
    fault(&sim, status(410));
    assert!(matches!(hook.deliver(&outgoing()).await, DeliveryResult::TurnedOff { .. }));
    let kind = FaultKind::TooMany429 { retry_after: Some("7".to_owned()) };
    fault(&sim, kind);
    let answer = hook.deliver(&outgoing()).await;
    let DeliveryResult::Failed { retry_after, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

/// A sink that runs a shell script with this text. The script's first argument is the path of an output file.
fn program(dir: &std::path::Path, text: &str) -> ProgramSink {
    let path = dir.join("program");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let out = dir.join("out").to_str().unwrap().to_owned();
    ProgramSink::new(path.to_str().unwrap().to_owned(), vec![out, "$HOME; x".to_owned()])
}

#[tokio::test]
async fn a_program_gets_the_json_and_nothing_of_our_environment() {
    let dir = tempfile::tempdir().unwrap();
    let sink = program(
        dir.path(),
        "{ echo \"$TOKEND_EVENT|$2\"; cat; env | cut -d= -f1 | sort | tr '\\n' ' '; } >\"$1\"",
    );
    assert_eq!(sink.deliver(&outgoing()).await, DeliveryResult::Taken);
    let out = fs::read_to_string(dir.path().join("out")).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "consent.needed|$HOME; x", "no shell has read it");
    assert_eq!(lines[1], outgoing().body());
    assert!(
        lines[2]
            .split(' ')
            .all(|name| ["PATH", "PWD", "TOKEND_EVENT", "_", "SHLVL", "OLDPWD", ""].contains(&name))
    );
    let failing = program(dir.path(), "exit 3");
    let answer = failing.deliver(&outgoing()).await;
    assert!(
        matches!(&answer, DeliveryResult::Failed { why, sink_failed: false, .. } if why.contains('3')),
        "{answer:?}"
    );
    let missing = ProgramSink::new("/no/such/program".to_owned(), Vec::new());
    assert!(matches!(missing.deliver(&outgoing()).await, DeliveryResult::Failed { sink_failed: true, .. }));
}

/// A mail server that accepts one mail, or refuses it with this answer. Returns what it received.
async fn mail_server(end: &'static str) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    #[expect(clippy::disallowed_methods, reason = "a test's own task")]
    let heard = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        writer.write_all(b"220 ready\r\n").await.unwrap();
        let (mut heard, mut in_data) = (String::new(), false);
        while let Ok(Some(line)) = lines.next_line().await {
            heard += &line;
            heard.push('\n');
            let answer = match line.as_str() {
                "." => end,
                _ if in_data => continue,
                "DATA" => "354 go on",
                "QUIT" => "221 bye",
                _ => "250 ok",
            };
            in_data = line == "DATA";
            if writer.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() || line == "QUIT" {
                break;
            }
        }
        heard
    });
    (port, heard)
}

fn mail(port: u16) -> Mail {
    let url = Secret::new(format!("smtp://127.0.0.1:{port}"));
    let to = vec!["ops@example.com".parse().unwrap()];
    Mail::new(MailSettings { url, from: "tokend@example.com".parse().unwrap(), to }).unwrap()
}

#[tokio::test]
async fn a_mail_says_what_happened_and_keeps_its_id() {
    let (port, heard) = mail_server("250 taken").await;
    let sink = mail(port);
    assert_eq!(sink.deliver(&outgoing()).await, DeliveryResult::Taken);
    drop(sink);
    let heard = heard.await.unwrap();
    let id = format!("<{}@example.com>", outgoing().notice.id);
    for part in ["RCPT TO:<ops@example.com>", "Subject: webex-tokend: ada@example.com: a new consent", &id] {
        assert!(heard.contains(part), "{part}: {heard}");
    }
}

#[tokio::test]
async fn a_mail_server_that_refuses_is_told_by_its_code() {
    for (end, sink_failed) in [("451 later", true), ("554 never", true)] {
        let (port, _heard) = mail_server(end).await;
        let answer = mail(port).deliver(&outgoing()).await;
        let code = end.split(' ').next().unwrap();
        assert!(
            matches!(&answer, DeliveryResult::Failed { why, sink_failed: found, .. } if why.contains(code) && *found == sink_failed),
            "{answer:?}"
        );
    }
    let refused = mail(1).deliver(&outgoing()).await;
    assert!(matches!(refused, DeliveryResult::Failed { sink_failed: true, .. }));
}
