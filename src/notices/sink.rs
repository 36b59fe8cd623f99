//! The interface of sinks: the input and the result of a delivery.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::domain::notice::Notice;
use crate::domain::time::UnixTime;

/// A notice that is ready to send.
#[derive(Clone, Debug)]
pub struct OutgoingNotice {
    /// The notice. Its data contains the current links.
    pub notice: Notice,
    /// The present time.
    pub now: UnixTime,
}

impl OutgoingNotice {
    /// The event's JSON.
    #[must_use]
    pub fn body(&self) -> String {
        self.notice.to_json().to_string()
    }
}

/// The result of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    /// The sink accepted the notice.
    Taken,
    /// The sink did not accept the notice. A later try may succeed.
    Failed {
        /// The reason, as text for people. Contains no secret.
        why: String,
        /// How long the sink asks the daemon to wait.
        retry_after: Option<Duration>,
        /// Whether the sink itself fails, so that other notices would fail too.
        sink_failed: bool,
    },
    /// The receiver wants no more notices at all.
    TurnedOff {
        /// The reason, as text for people. Contains no secret.
        why: String,
    },
    /// The notice must not be sent yet.
    Postponed {
        /// When it may be sent.
        until: UnixTime,
        /// The reason, as text for people.
        why: String,
    },
    /// The notice no longer applies, so it was not sent and will not be.
    Outdated,
}

impl DeliveryResult {
    /// A failure of the sink itself, which other notices would meet too.
    pub(super) fn sink_failed(why: String) -> Self {
        Self::Failed { why, retry_after: None, sink_failed: true }
    }
}

/// The future of a sink's result.
pub type DeliveryFuture<'a> = Pin<Box<dyn Future<Output = DeliveryResult> + Send + 'a>>;

/// A destination of notices.
pub trait Sink: Send + Sync {
    /// The sink's name, in the store and in texts.
    fn name(&self) -> &str;

    /// Tries once to deliver this notice. The caller cancels it after [`DELIVERY_LIMIT`].
    fn deliver<'a>(&'a self, outgoing: &'a OutgoingNotice) -> DeliveryFuture<'a>;

    /// Maximum number of concurrent deliveries.
    fn at_once(&self) -> usize {
        4
    }

    /// Identifies the sink's destination. If the operator sets another destination, a sink that was turned off is on again.
    fn target(&self) -> String;

    /// Whether the sink reaches operators. Only such sinks get tests and notices about a failing store.
    fn is_for_operators(&self) -> bool {
        true
    }
}

/// Maximum time of one try.
pub const DELIVERY_LIMIT: Duration = Duration::from_secs(35);
