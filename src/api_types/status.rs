//! The status of the daemon.

use serde::Deserialize;
use serde::Serialize;

use crate::api_types::notices::NoticeCounts;

/// The daemon's status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The number of persons by state; null while the store cannot be read.
    pub people: Option<StateTally>,
    /// The circuit breaker: whether all refreshes pause.
    pub breaker: BreakerView,
    /// Refreshes that are due and take longer than a minute to send; null without such a backlog, and while refreshes pause.
    #[serde(default)]
    pub backlog: Option<BacklogView>,
    /// How many refreshes may run at once and start in a second.
    #[serde(default)]
    pub refresh_limits: Option<RefreshLimitsView>,
    /// `ok` or `failing`.
    pub store: String,
    /// Whether the daemon is ready, as `/readyz` reports it.
    pub ready: bool,
    /// When this process started.
    pub started_at: String,
    /// The certificate for new connections; null where the port speaks plain HTTP.
    #[serde(default)]
    pub certificate: Option<CertificateView>,
    /// The numbers of deliveries of notices, of all sinks; null while the store cannot be read.
    #[serde(default)]
    pub notices: Option<NoticeCounts>,
}

/// Refreshes that are due and take longer than a minute to send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BacklogView {
    /// Refreshes that are due.
    pub due: u64,
    /// Whether `due` is a lower bound.
    pub or_more: bool,
    /// Persons among them whose access token has expired.
    pub expired: u64,
    /// Refreshes per second: the current pace, or the measured rate if that is lower; null while unknown.
    pub per_second: Option<f64>,
    /// An estimate of when the last of them is sent; null while unknown.
    pub until: Option<String>,
    /// The backlog as a sentence.
    pub says: String,
}

/// How many refreshes may run at once and start in a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefreshLimitsView {
    /// `EVENT_LOOP_CONCURRENCY`. A command that refreshes or imports many grants should send this many requests at once.
    pub concurrency: u64,
    /// `EVENT_LOOP_MAX_PER_SECOND`; null without a limit.
    pub per_second: Option<f64>,
}

/// The certificate that the daemon serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// The DNS names and addresses that it is valid for.
    pub names: Vec<String>,
    /// Start of its validity; null if the certificate cannot be parsed.
    pub begins_at: Option<String>,
    /// End of its validity; null if the certificate cannot be parsed.
    pub ends_at: Option<String>,
    /// The fingerprint of its key.
    pub fingerprint: String,
    /// Whether the daemon created it.
    pub self_signed: bool,
    /// A present or coming problem with it, and the remedy.
    pub trouble: Option<String>,
}

/// The number of persons in each state of a person (`PersonView`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names of the states")]
pub struct StateTally {
    pub fresh: u64,
    pub due: u64,
    pub retrying: u64,
    pub consent_needed: u64,
    /// Consents that end within 30 days, where refreshes are not known to extend them.
    #[serde(default)]
    pub consent_ending: u64,
    /// Whether `fresh` and `due` are lower bounds.
    pub or_more: bool,
}

/// The state of the circuit breaker: whether all refreshes pause, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerView {
    /// `closed`, `open` or `probing`.
    pub state: String,
    /// `client_refused`, `busy`, `many_failing` or `many_refused`.
    pub cause: Option<String>,
    /// The cause as a sentence, with the remedy.
    pub says: Option<String>,
    /// When the outage began.
    pub since: Option<String>,
    /// When the next refresh may be sent. It lies in the past if the breaker only waits for a grant that is
    /// due.
    pub until: Option<String>,
}
