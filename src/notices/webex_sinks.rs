//! The sinks that send Webex messages through the operator's bot: to operators, and to persons about their own consent.

use std::sync::Arc;

use crate::domain::grant::GrantStatus;
use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::operator::Operator;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::notices::sink::DeliveryFuture;
use crate::notices::sink::DeliveryResult;
use crate::notices::sink::OutgoingNotice;
use crate::notices::sink::Sink;
use crate::notices::text;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::outbox::OutboxStore;
use crate::store::outbox::PEOPLE_SINK;
use crate::store::outbox::PERSON_MESSAGE_INTERVAL;
use crate::webex::MessageRecipient;
use crate::webex::MessageRefused;
use crate::webex::Webex;

/// What a message came to. `only_recipient`: the sink has no other recipient, so each failure is the sink's.
fn answer_to(sent: Result<(), MessageRefused>, only_recipient: bool) -> DeliveryResult {
    match sent {
        Ok(()) => DeliveryResult::Taken,
        Err(MessageRefused { why, status, retry_after }) => {
            // These statuses concern this recipient or message. Other messages may succeed.
            let sink_failed = only_recipient || !matches!(status, Some(400 | 403 | 404 | 409));
            DeliveryResult::Failed { why, retry_after, sink_failed }
        }
    }
}

/// Messages to one operator, or to a space of operators.
pub struct OperatorMessages {
    name: String,
    webex: Arc<Webex>,
    bot_token: Secret,
    to: MessageRecipient,
}

impl OperatorMessages {
    /// A sink that sends all notices to `to`.
    #[must_use]
    pub fn new(webex: Arc<Webex>, bot_token: Secret, to: MessageRecipient) -> Self {
        let name = match &to {
            MessageRecipient::Address(email) => format!("webex:{email}"),
            MessageRecipient::Person(id) => format!("webex:{id}"),
            // A fingerprint, because ids of spaces are long.
            MessageRecipient::Space(id) => format!("webex:space-{}", Secret::new(id.clone()).fingerprint()),
        };
        Self { name, webex, bot_token, to }
    }

    async fn send(&self, outgoing: &OutgoingNotice) -> DeliveryResult {
        let text = text::for_operators(&outgoing.notice);
        answer_to(self.webex.send_message(&self.bot_token, &self.to, &text).await, true)
    }
}

impl Sink for OperatorMessages {
    fn name(&self) -> &str {
        &self.name
    }

    fn deliver<'a>(&'a self, outgoing: &'a OutgoingNotice) -> DeliveryFuture<'a> {
        Box::pin(self.send(outgoing))
    }

    fn at_once(&self) -> usize {
        2
    }

    fn target(&self) -> String {
        self.name.clone()
    }
}

/// Messages to each person about their own consent.
pub struct PeopleMessages {
    /// Sends the messages.
    pub webex: Arc<Webex>,
    /// The access token of the bot.
    pub bot_token: Secret,
    /// The grants, to check whether the person must still consent.
    pub grants: Arc<dyn Store>,
    /// The outbox, to check when the person last got a message.
    pub outbox: Arc<dyn OutboxStore>,
    /// The operator, whose name is in the messages.
    pub operator: Operator,
}

impl PeopleMessages {
    async fn send(&self, outgoing: &OutgoingNotice) -> DeliveryResult {
        let Some(person) = &outgoing.notice.person else { return DeliveryResult::Outdated };
        let last = self.outbox.last_sent(PEOPLE_SINK.to_owned(), person.id.clone()).await;
        match last {
            Ok(Some(last)) if last <= outgoing.now && outgoing.now < last + PERSON_MESSAGE_INTERVAL => {
                let why = "this person got a message less than a day ago".to_owned();
                return DeliveryResult::Postponed { until: last + PERSON_MESSAGE_INTERVAL, why };
            }
            Ok(_) => {}
            Err(why) => return DeliveryResult::sink_failed(why.to_string()),
        }
        match self.still_applies(&outgoing.notice, outgoing.now).await {
            Ok(true) => {}
            Ok(false) => return DeliveryResult::Outdated,
            Err(why) => return DeliveryResult::sink_failed(why),
        }
        let text = text::for_person(&outgoing.notice, &self.operator);
        let to = MessageRecipient::Person(person.id.clone());
        answer_to(self.webex.send_message(&self.bot_token, &to, &text).await, false)
    }

    /// Whether the notice still applies, so that a new consent of the person would help.
    async fn still_applies(&self, notice: &Notice, now: UnixTime) -> Result<bool, String> {
        let Some(person) = &notice.person else { return Ok(false) };
        let grant = match self.grants.find(person.id.clone()).await {
            Ok(Some(grant)) => grant,
            Ok(None) => return Ok(false),
            // Only a new consent can replace a record that cannot be decrypted.
            Err(StoreError::Unreadable(_)) => return Ok(notice.kind == NoticeType::ConsentNeeded),
            Err(why) => return Err(why.to_string()),
        };
        Ok(match notice.kind {
            NoticeType::ConsentNeeded => grant.status == GrantStatus::ConsentNeeded,
            NoticeType::ConsentExpiring => grant.consent_ends_soon(now).is_some(),
            _ => false,
        })
    }
}

impl Sink for PeopleMessages {
    fn name(&self) -> &str {
        PEOPLE_SINK
    }

    fn deliver<'a>(&'a self, outgoing: &'a OutgoingNotice) -> DeliveryFuture<'a> {
        Box::pin(self.send(outgoing))
    }

    fn at_once(&self) -> usize {
        2
    }

    fn target(&self) -> String {
        PEOPLE_SINK.to_owned()
    }

    fn is_for_operators(&self) -> bool {
        false
    }
}
