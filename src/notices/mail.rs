//! The sink for e-mail to operators, by SMTP.

use std::time::Duration;

use lettre::AsyncSmtpTransport;
use lettre::AsyncTransport;
use lettre::Message;
use lettre::Tokio1Executor;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;

use crate::domain::secret::Secret;
use crate::notices::sink::DeliveryFuture;
use crate::notices::sink::DeliveryResult;
use crate::notices::sink::OutgoingNotice;
use crate::notices::sink::Sink;
use crate::notices::text;

/// Maximum time that the mail server may take for each response.
const LIMIT: Duration = Duration::from_secs(20);

/// The settings of e-mail: the mail server, the sender and the recipients.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// Such as `smtps://user:password@host:465`. Contains a password.
    pub url: Secret,
    /// The sender.
    pub from: Mailbox,
    /// The recipients; at least one.
    pub to: Vec<Mailbox>,
}

/// E-mail to operators.
pub struct Mail {
    settings: MailSettings,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl Mail {
    /// A sink that sends through the server of the settings.
    ///
    /// # Errors
    /// What is wrong with the URL. The text contains no part of the URL.
    pub fn new(settings: MailSettings) -> Result<Self, String> {
        // An error only means that a provider is installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(settings.url.expose());
        let transport = transport.map_err(|_| "the value is not the URL of a mail server".to_owned())?;
        Ok(Self { settings, transport: transport.timeout(Some(LIMIT)).build() })
    }

    async fn send(&self, outgoing: &OutgoingNotice) -> DeliveryResult {
        let subject = format!("webex-tokend: {}", text::subject(&outgoing.notice));
        let host = self.settings.from.email.domain();
        // Every try has the same id, so that mail programs show a repeated mail once.
        let id = format!("<{}@{host}>", outgoing.notice.id);
        let mail = Message::builder().from(self.settings.from.clone()).subject(subject).message_id(Some(id));
        let mail = self.settings.to.iter().fold(mail, |mail, to| mail.to(to.clone()));
        let mail = mail.header(ContentType::TEXT_PLAIN).body(text::for_operators(&outgoing.notice));
        let mail = match mail {
            Ok(mail) => mail,
            Err(why) => {
                return DeliveryResult::Failed {
                    why: why.to_string(),
                    retry_after: None,
                    sink_failed: false,
                };
            }
        };
        match self.transport.send(mail).await {
            Ok(_) => DeliveryResult::Taken,
            // Sender, recipients and account are the same for every notice.
            Err(why) => DeliveryResult::sink_failed(describe_error(&why)),
        }
    }
}

/// Describes an error with the server's status code only, because the server's text may quote the mail.
fn describe_error(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the mail server answered {code}"),
        None if error.is_timeout() => "the mail server did not answer in time".to_owned(),
        None if error.is_tls() => "no encrypted connection to the mail server".to_owned(),
        None => "the mail server cannot be reached".to_owned(),
    }
}

impl Sink for Mail {
    fn name(&self) -> &str {
        "mail"
    }

    fn deliver<'a>(&'a self, outgoing: &'a OutgoingNotice) -> DeliveryFuture<'a> {
        Box::pin(self.send(outgoing))
    }

    fn at_once(&self) -> usize {
        2
    }

    fn target(&self) -> String {
        self.settings.url.fingerprint()
    }
}
