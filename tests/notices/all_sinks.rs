//! The real daemon with every sink set: each sink gets the notices, and none of them gets a secret.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use webex_sim::Settings;
use webex_sim::Sim;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::secret::Secret;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::notices::mail::Mail;
use webex_tokend::notices::mail::MailSettings;
use webex_tokend::notices::sink::DeliveryResult;
use webex_tokend::notices::sink::OutgoingNotice;
use webex_tokend::notices::sink::Sink as _;

use crate::notices::daemon::run;
use crate::notices::world::WEBHOOK_KEY;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::REFRESH_EVERY_SECOND;
use crate::support::start_sim_with;
use crate::support::time::HANG_TIMEOUT;

const MAIL_PASSWORD: &str = "mail-pass-7c1e";

/// A mail server with TLS that accepts every mail.
struct TlsMailServer {
    port: u16,
    /// Its certificate, as PEM.
    certificate: String,
    mails: Arc<Mutex<Vec<String>>>,
}

impl TlsMailServer {
    async fn start() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let made =
            rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let certificate = made.pem();
        let certificates = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(certificates, key).unwrap()));
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mails: Arc<Mutex<Vec<String>>> = Arc::default();
        let taken = mails.clone();
        #[expect(clippy::disallowed_methods, reason = "a test's own task")]
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, taken) = (acceptor.clone(), taken.clone());
                tokio::spawn(serve(acceptor, stream, taken));
            }
        });
        Self { port, certificate, mails }
    }

    fn url(&self) -> String {
        format!("smtps://tokend:{MAIL_PASSWORD}@localhost:{}", self.port)
    }

    /// Every mail with its headers, without the authentication.
    fn text(&self) -> String {
        self.mails.lock().unwrap().join("\n")
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, mails: Arc<Mutex<Vec<String>>>) {
    if let Ok(stream) = acceptor.accept(stream).await {
        take_mails(stream, &mails).await;
    }
}

async fn take_mails(stream: impl AsyncRead + AsyncWrite, mails: &Mutex<Vec<String>>) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = BufReader::new(Box::pin(reader)).lines();
    let mut mail: Option<String> = None;
    let mut answer = "220 ready".to_owned();
    while writer.write_all(format!("{answer}\r\n").as_bytes()).await.is_ok() {
        answer = loop {
            let Ok(Some(line)) = lines.next_line().await else { return };
            if let Some(text) = mail.as_mut().filter(|_| line != ".") {
                text.push_str(&line);
                text.push('\n');
                continue;
            }
            break match line.split(' ').next().unwrap_or_default() {
                "." => {
                    mails.lock().unwrap().extend(mail.take());
                    "250 taken".to_owned()
                }
                "EHLO" => "250-localhost\r\n250 AUTH PLAIN".to_owned(),
                "AUTH" => "235 known".to_owned(),
                "DATA" => {
                    mail = Some(String::new());
                    "354 go on".to_owned()
                }
                _ => "250 ok".to_owned(),
            };
        };
    }
}

#[tokio::test]
async fn a_mail_server_whose_certificate_is_not_trusted_gets_neither_password_nor_mail() {
    let server = TlsMailServer::start().await;
    let to = vec!["ops@example.com".parse().unwrap()];
    let url = Secret::new(server.url());
    let mail = Mail::new(MailSettings { url, from: "tokend@example.com".parse().unwrap(), to }).unwrap();
    let now = UnixTime(1_795_000_000_000);
    let outgoing = OutgoingNotice { notice: Notice::new(NoticeType::Test, None, "1", now), now };
    let answer = mail.deliver(&outgoing).await;
    let DeliveryResult::Failed { why, sink_failed: true, .. } = &answer else { panic!("{answer:?}") };
    assert!(!why.contains(MAIL_PASSWORD), "{why}");
    assert_eq!(server.text(), "");
}

/// A program that appends its standard input, its arguments and its environment to a file.
fn recorder(dir: &Path) -> String {
    let (path, out) = (dir.join("recorder"), dir.join("recorded"));
    let text = format!("#!/bin/sh\n{{ cat; echo \"$@\"; env; }} >>'{}'\n", out.display());
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A daemon with every sink.
struct AllSinks {
    sim: Sim,
    server: TlsMailServer,
    dir: TempDir,
    daemon: Daemon,
}

impl AllSinks {
    async fn start() -> Self {
        let settings = Settings {
            noop_window: Duration::ZERO,
            access_lifetime: Duration::from_secs(20),
            ..Settings::default()
        };
        let sim = start_sim_with(settings).await;
        let (server, dir) = (TlsMailServer::start().await, tempfile::tempdir().unwrap());
        let trusted = dir.path().join("mail-ca.pem");
        fs::write(&trusted, &server.certificate).unwrap();
        let bot_token = sim.with(|webex| webex.settings().bot_token.clone());
        let operator = sim.with(|webex| webex.settings().people[5].email.clone());
        let (hook, program) = (format!("http://{}/hooks/notices", sim.address()), recorder(dir.path()));
        let mail_url = server.url();
        let mut all = REFRESH_EVERY_SECOND.to_vec();
        all.extend([
            ("NOTIFY_WEBHOOK_URL", hook.as_str()),
            ("NOTIFY_WEBHOOK_SECRET", WEBHOOK_KEY),
            ("NOTIFY_COMMAND", &program),
            ("NOTIFY_WEBEX_TO", &operator),
            ("NOTIFY_PEOPLE", "yes"),
            ("BOT_TOKEN", &bot_token),
            ("NOTIFY_SMTP_URL", &mail_url),
            ("NOTIFY_MAIL_FROM", "tokend@example.com"),
            ("NOTIFY_MAIL_TO", "ops@example.com"),
            ("SSL_CERT_FILE", trusted.to_str().unwrap()),
        ]);
        let daemon = Daemon::start(&sim, &all).await;
        Self { sim, server, dir, daemon }
    }

    /// Everything that each sink got so far.
    fn outputs(&self) -> [(&'static str, String); 4] {
        let recorded = fs::read_to_string(self.dir.path().join("recorded")).unwrap_or_default();
        [
            ("the webhook", format!("{:?}", self.sim.with(|webex| webex.webhooks().to_vec()))),
            ("the program", recorded),
            ("messages", format!("{:?}", self.sim.with(|webex| webex.messages().to_vec()))),
            ("mails", self.server.text()),
        ]
    }

    /// Withdraws the first person's consent, and lets Webex quote the second person's token in an error. Returns when every sink
    /// got a notice about each of the two.
    async fn lose_a_consent_and_risk_a_token(&self) {
        self.sim.with(|webex| {
            webex.revoke_person(0);
            let token = webex.secrets_issued().pop().unwrap();
            let body =
                format!("{{\"error\":\"invalid_request\",\"error_description\":\"refused: {token}\"}}");
            let kind = FaultKind::Raw { status: 418, headers: Vec::new(), body: body.into_bytes() };
            webex.fault(Fault { on: Endpoint::AccessToken, person: Some(1), times: None, kind });
        });
        let is_told = |text: &str| text.contains("consent.needed") && text.contains("token.at_risk");
        let state = self.daemon.state_dir();
        let noticed = async {
            while !is_told(&run(&state, "history").await.expect_success()) {
                // The daemon itself would wait for a minute before the next try.
                run(&state, "refresh ada@example.com").await;
                run(&state, "refresh grace@example.com").await;
                sleep(Duration::from_secs(1)).await;
            }
        };
        timeout(HANG_TIMEOUT * 3, noticed)
            .await
            .expect("the history lacks the lost consent or the token at risk");
        let person = self.sim.with(|webex| webex.settings().people[0].id.clone());
        let is_to_person =
            |webex: &mut webex_sim::Model| webex.messages().iter().any(|message| message.to == person);
        let told = async {
            while !self.outputs().iter().all(|(_, text)| is_told(text)) || !self.sim.with(is_to_person) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        // The daemon holds notices about persons for half a minute.
        timeout(Duration::from_secs(30) + HANG_TIMEOUT * 2, told).await.expect("a sink lacks a notice");
    }
}

#[tokio::test]
async fn every_sink_is_told_and_no_secret_is_in_what_any_of_them_gets() {
    let told = AllSinks::start().await;
    let visitor = BrowserClient::new();
    for person in 0..2 {
        assert_eq!(visitor.consent(&told.daemon, person).await.status, 200);
    }
    let api_key = run(&told.daemon.state_dir(), "key create ci").await.expect_success();
    let api_key = api_key.split_whitespace().find(|word| word.starts_with("wtk_")).unwrap().to_owned();
    told.lose_a_consent_and_risk_a_token().await;
    let issued = told.sim.with(|webex| webex.secrets_issued());
    // Each person has an access token, a refresh token, a code and its verifier.
    assert!(issued.len() >= 8, "{}", issued.len());
    let of_settings = told.sim.with(|webex| {
        let settings = webex.settings();
        [settings.bot_token.clone(), settings.client_secret.clone()]
    });
    let others = [api_key, WEBHOOK_KEY.to_owned(), MAIL_PASSWORD.to_owned()];
    let texts = issued.into_iter().chain(of_settings).chain(others).map(String::into_bytes);
    let key = fs::read(told.daemon.state_dir().join("key")).unwrap();
    let secrets: Vec<Vec<u8>> = texts.chain([key]).collect();
    for (sink, text) in told.outputs() {
        for secret in &secrets {
            let found = text.as_bytes().windows(secret.len()).any(|part| part == secret);
            assert!(!found, "{} is in what {sink} got", String::from_utf8_lossy(secret));
        }
    }
}
