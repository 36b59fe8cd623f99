//! The sink that sends webhooks, as Standard Webhooks specifies them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::domain::secret::Secret;
use crate::notices::signature::SigningKeys;
use crate::notices::sink::DeliveryFuture;
use crate::notices::sink::DeliveryResult;
use crate::notices::sink::OutgoingNotice;
use crate::notices::sink::Sink;
use crate::webex::transport::Payload;
use crate::webex::transport::Transport;
use crate::webex::transport::WebexRequest;
use crate::webex::wire;

/// Maximum time that the receiver may take. Standard Webhooks recommends 15 to 30 seconds.
const LIMIT: Duration = Duration::from_secs(20);

/// The address of the receiver, and the keys that sign messages to it.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// May contain a key of the receiver, so it is neither logged nor shown.
    pub url: Secret,
    /// The keys that sign every message.
    pub keys: SigningKeys,
}

/// A Standard Webhooks receiver.
pub struct Webhook {
    settings: WebhookSettings,
    transport: Arc<dyn Transport>,
}

impl Webhook {
    /// A sink that sends through `transport`, which must not follow redirects.
    #[must_use]
    pub fn new(settings: WebhookSettings, transport: Arc<dyn Transport>) -> Self {
        Self { settings, transport }
    }

    async fn post(&self, outgoing: &OutgoingNotice) -> DeliveryResult {
        let (body, seconds) = (outgoing.body(), outgoing.now.seconds());
        let id = outgoing.notice.id.clone();
        let signature = self.settings.keys.sign(&id, seconds, &body);
        let headers = vec![
            ("webhook-id", id),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signature),
            ("content-type", "application/json".to_owned()),
        ];
        let url = self.settings.url.clone();
        let call = WebexRequest { url, payload: Payload::Signed { headers, body } };
        let raw = match timeout(LIMIT, self.transport.send(call)).await {
            Ok(Ok(raw)) => raw,
            Ok(Err(why)) => return DeliveryResult::sink_failed(why.to_string()),
            Err(_) => return DeliveryResult::sink_failed(format!("no answer in time ({LIMIT:?})")),
        };
        let retry_after = raw.retry_after.as_deref().and_then(|text| wire::retry_after(text, outgoing.now));
        let why = format!("HTTP {}", raw.status);
        match raw.status {
            200..=299 => DeliveryResult::Taken,
            410 => {
                DeliveryResult::TurnedOff { why: "HTTP 410: the receiver wants no more notices".to_owned() }
            }
            300..=399 => DeliveryResult::sink_failed(format!("{why}: redirects are not followed")),
            // These statuses concern the address, the signature or the receiver's state, so every message would fail.
            401 | 403 | 404 | 405 | 408 | 429 | 500..=599 => {
                DeliveryResult::Failed { why, retry_after, sink_failed: true }
            }
            _ => DeliveryResult::Failed { why, retry_after, sink_failed: false },
        }
    }
}

impl Sink for Webhook {
    fn name(&self) -> &str {
        "webhook"
    }

    fn deliver<'a>(&'a self, outgoing: &'a OutgoingNotice) -> DeliveryFuture<'a> {
        Box::pin(self.post(outgoing))
    }

    fn at_once(&self) -> usize {
        8
    }

    fn target(&self) -> String {
        self.settings.url.fingerprint()
    }
}
