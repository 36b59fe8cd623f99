//! What a sink is given, and what it answers.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::domain::notice::Notice;
use crate::domain::time::UnixTime;

/// A notice as it is sent.
#[derive(Clone, Debug)]
pub struct Letter {
    /// What is told. Its data has the links of now.
    pub notice: Notice,
    /// The present time.
    pub now: UnixTime,
}

impl Letter {
    /// The event's JSON.
    #[must_use]
    pub fn body(&self) -> String {
        self.notice.to_json().to_string()
    }
}

/// What became of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkAnswer {
    /// The sink has it.
    Taken,
    /// It has it not; it may take it later.
    Failed {
        /// Fit for people; holds no secret.
        why: String,
        /// How long the sink asks to be left alone.
        retry_after: Option<Duration>,
        /// The trouble is the sink's: other notices would meet it, too.
        is_sinks: bool,
    },
    /// The sink wants no more notices at all.
    TurnedOff {
        /// Fit for people; holds no secret.
        why: String,
    },
    /// Not before this time.
    Postponed {
        /// When.
        until: UnixTime,
        /// Fit for people.
        why: String,
    },
    /// It is no longer true, and is told no more.
    Outdated,
}

impl SinkAnswer {
    /// A failure that other notices would meet, too.
    pub(super) fn sink_failed(why: String) -> Self {
        Self::Failed { why, retry_after: None, is_sinks: true }
    }
}

/// What a sink answers, later.
pub type Delivering<'a> = Pin<Box<dyn Future<Output = SinkAnswer> + Send + 'a>>;

/// Where notices are sent.
pub trait Sink: Send + Sync {
    /// Its name, in the store and for people.
    fn name(&self) -> &str;

    /// Sends one letter, once. Ends within [`DELIVERY_LIMIT`] or is broken off.
    fn deliver<'a>(&'a self, letter: &'a Letter) -> Delivering<'a>;

    /// So many at once.
    fn at_once(&self) -> usize {
        4
    }

    /// What changes when the operator points the sink elsewhere: a sink that was turned off is on again then.
    fn target(&self) -> String;

    /// Whether `notices test` may use it: a test is sent to operators only.
    fn is_for_operators(&self) -> bool {
        true
    }
}

/// One try ends within this.
pub const DELIVERY_LIMIT: Duration = Duration::from_secs(35);
