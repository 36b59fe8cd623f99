//! Messages of the bot, and a receiver of webhooks that can misbehave by any [`Fault`](super::Fault).

use serde_json::json;

use super::Model;
use super::http::{Answer, Request};
use super::params::{Params, bearer};
use super::problem;

/// Kept of each; older ones are forgotten.
const MOST: usize = 20_000;

/// The longest text of a message, in bytes, as Cisco's own clients document it.
const LONGEST: usize = 7439;

/// One message that the bot sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The space, the address or the person's id that it went to.
    pub to: String,
    /// Its text.
    pub text: String,
}

/// One webhook that the receiver took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The headers whose names begin with `webhook-`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Model {
    /// `POST /messages`: the bot writes to a space or a person.
    pub(super) fn send_message(&mut self, request: &Request) -> Answer {
        if bearer(request.authorization.as_deref()) != Some(self.settings.bot_token.as_str()) {
            return problem::dead_access_token(&self.tracking_id);
        }
        let params = Params::of_body(request);
        let refuse = |status, text| problem::webexapis(status, text, text, &self.tracking_id);
        let recipients = ["roomId", "toPersonEmail", "toPersonId"].map(|name| params.get(name));
        let mut given = recipients.into_iter().flatten();
        let (Some(to), None) = (given.next(), given.next()) else {
            return refuse(400, "One recipient is needed.");
        };
        let text = params.get("text").unwrap_or_default();
        if text.is_empty() || text.len() > LONGEST {
            return refuse(400, "The text is missing or too long.");
        }
        let is_known = to == self.settings.space_id
            || self.settings.people.iter().any(|one| one.id == to || one.email.eq_ignore_ascii_case(to));
        if !is_known {
            return refuse(404, "The requested resource could not be found.");
        }
        let message = Message { to: to.to_owned(), text: text.to_owned() };
        keep(&mut self.messages, message);
        Answer::json(200, &json!({ "id": format!("message-{}", self.messages.len()) }))
    }

    /// `POST /hooks/notices`: takes whatever comes.
    pub(super) fn take_webhook(&mut self, request: &Request) -> Answer {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        keep(&mut self.webhooks, Webhook { headers: request.webhook_headers.clone(), body });
        Answer::empty(204)
    }

    /// What the bot has sent, oldest first.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// What the receiver has taken, oldest first.
    #[must_use]
    pub fn webhooks(&self) -> &[Webhook] {
        &self.webhooks
    }
}

fn keep<T>(all: &mut Vec<T>, one: T) {
    if all.len() >= MOST {
        all.remove(0);
    }
    all.push(one);
}
