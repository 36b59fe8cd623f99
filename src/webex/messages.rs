//! Messages of a bot (webex-api, "Alerting by bot; widget": `POST /messages`).

use std::time::Duration;

use serde_json::json;

use crate::domain::person::Email;
use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::webex::client::Webex;
use crate::webex::transport::Payload;
use crate::webex::wire;

/// The longest text that Webex takes, in bytes (webex-api, "Alerting by bot; widget").
const LONGEST_MESSAGE: usize = 7439;

/// Who gets a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageRecipient {
    /// Everyone in a space that the bot is in.
    Space(String),
    /// One person, in the space of the two.
    Address(Email),
    /// The same, by Webex's id.
    Person(PersonId),
}

/// Why a message was not taken.
#[derive(Clone, Debug)]
pub struct MessageRefused {
    /// In Webex's words; holds no secret.
    pub why: String,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// How long Webex asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl Webex {
    /// The bot sends `text`, which Webex shows as it is. What is too long is cut.
    ///
    /// # Errors
    /// [`MessageRefused`] says why; whether it was sent all the same is not known where no answer came.
    pub async fn send_message(
        &self,
        bot_token: &Secret,
        to: &MessageRecipient,
        text: &str,
    ) -> Result<(), MessageRefused> {
        let (field, value) = match to {
            MessageRecipient::Space(id) => ("roomId", id.as_str()),
            MessageRecipient::Address(email) => ("toPersonEmail", email.as_str()),
            MessageRecipient::Person(id) => ("toPersonId", id.as_str()),
        };
        let body = json!({ field: value, "text": cut(text) });
        let payload = Payload::Json { token: bot_token.clone(), body: body.to_string() };
        let raw = self.call("/messages", payload).await;
        let raw =
            raw.map_err(|why| MessageRefused { why: why.to_string(), status: None, retry_after: None })?;
        let retry_after = raw.retry_after.as_deref();
        let retry_after = retry_after.and_then(|text| wire::retry_after(text, self.clock.now()));
        wire::message_taken(&raw).map_err(|why| MessageRefused { why, status: Some(raw.status), retry_after })
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_MESSAGE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
