//! The settings of sinks, and the sinks that follow from them.

use std::sync::Arc;

use crate::domain::operator::Operator;
use crate::domain::secret::Secret;
use crate::notices::command::ProgramSink;
use crate::notices::mail::Mail;
use crate::notices::mail::MailSettings;
use crate::notices::sink::Sink;
use crate::notices::webex_sinks::OperatorMessages;
use crate::notices::webex_sinks::PeopleMessages;
use crate::notices::webhook::Webhook;
use crate::notices::webhook::WebhookSettings;
use crate::service_context::ServiceContext;
use crate::store::outbox::OutboxStore;
use crate::webex::MessageRecipient;
use crate::webex::transport::Transport;

/// The `NOTIFY_*` settings.
#[derive(Clone, Debug, Default)]
pub struct NoticeSettings {
    /// `NOTIFY_WEBHOOK_URL` and `NOTIFY_WEBHOOK_SECRET`.
    pub webhook: Option<WebhookSettings>,
    /// `NOTIFY_COMMAND`: a program and its arguments.
    pub command: Option<(String, Vec<String>)>,
    /// `NOTIFY_WEBEX_TO`.
    pub webex_to: Vec<MessageRecipient>,
    /// `NOTIFY_PEOPLE`.
    pub people: bool,
    /// `BOT_TOKEN`, if the bot must send messages.
    pub bot_token: Option<Secret>,
    /// `NOTIFY_SMTP_URL`, `NOTIFY_MAIL_FROM` and `NOTIFY_MAIL_TO`.
    pub mail: Option<MailSettings>,
}

impl NoticeSettings {
    /// Builds the sinks. `transport` sends webhooks.
    #[must_use]
    pub fn sinks(
        &self,
        context: &ServiceContext,
        outbox: &Arc<dyn OutboxStore>,
        transport: &Arc<dyn Transport>,
        operator: &Operator,
    ) -> Vec<Arc<dyn Sink>> {
        let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
        if let Some(webhook) = &self.webhook {
            sinks.push(Arc::new(Webhook::new(webhook.clone(), transport.clone())));
        }
        if let Some((program, arguments)) = &self.command {
            sinks.push(Arc::new(ProgramSink::new(program.clone(), arguments.clone())));
        }
        if let Some(bot_token) = &self.bot_token {
            for to in &self.webex_to {
                let sink = OperatorMessages::new(context.webex.clone(), bot_token.clone(), to.clone());
                sinks.push(Arc::new(sink));
            }
            if self.people {
                sinks.push(Arc::new(PeopleMessages {
                    webex: context.webex.clone(),
                    bot_token: bot_token.clone(),
                    grants: context.store.clone(),
                    outbox: outbox.clone(),
                    operator: operator.clone(),
                }));
            }
        }
        match self.mail.clone().map(Mail::new) {
            Some(Ok(mail)) => sinks.push(Arc::new(mail)),
            Some(Err(why)) => log::error!("NOTIFY_SMTP_URL: {why}, so no e-mail is sent"),
            None => {}
        }
        sinks
    }
}
