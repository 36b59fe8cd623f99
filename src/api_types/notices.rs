//! Notices, and what happened, as they are shown.

use serde::Deserialize;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;

/// The person that a notice is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticePerson {
    /// Webex's id.
    pub id: String,
    /// In lower case.
    pub email: Option<String>,
    /// As Webex has it.
    pub display_name: Option<String>,
}

/// How one sink stands with a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeDelivery {
    /// Its name.
    pub sink: String,
    /// `waiting`, `sent`, `given_up` or `outdated`.
    pub state: String,
    /// Tries made so far.
    pub tries: u32,
    /// When it is sent, or sent again; null: it waits for others of its type, or is done with.
    pub next_at: Option<String>,
    /// When it was done with.
    pub done_at: Option<String>,
    /// Why it has not been taken.
    pub why: Option<String>,
}

/// A notice, and how every sink stands with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoticeItem {
    /// Stable for one fact.
    pub id: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it became true.
    pub at: String,
    /// Whose.
    pub app: String,
    /// Null: it is about no single person.
    pub person: Option<NoticePerson>,
    /// What else there is to say.
    pub data: Map<String, Value>,
    /// One for each sink.
    pub deliveries: Vec<NoticeDelivery>,
}

/// How one sink stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeSink {
    /// Its name.
    pub sink: String,
    /// Whether the settings name it now.
    pub is_set: bool,
    /// Whether its receiver has turned it off (410).
    pub is_off: bool,
    /// Notices to be sent, or sent again.
    pub waiting: u64,
    /// Of them, those that failed at least once.
    pub failing: u64,
    /// Given up, of those that are still kept.
    pub given_up: u64,
    /// When the oldest one that waits became true.
    pub oldest_waiting_at: Option<String>,
}

/// A part of the notices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoticeList {
    /// Every sink.
    pub sinks: Vec<NoticeSink>,
    /// Newest first.
    pub notices: Vec<NoticeItem>,
    /// Give it as `before` for the next part; null at the end.
    pub next: Option<String>,
}

/// Which sinks to test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticeTestAsked {
    /// The name of one, or of its kind; left out: all that tell operators.
    #[serde(default)]
    pub sink: Option<String>,
}

/// What one sink said of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeTest {
    /// Its name.
    pub sink: String,
    /// Null: it has the test; else why it has not.
    pub why: Option<String>,
}

/// What every sink said of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeTests {
    /// One for each sink.
    pub tests: Vec<NoticeTest>,
}

/// A notice that is sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeResent {
    /// Its id.
    pub id: String,
    /// How many sinks are told.
    pub sinks: u64,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryItem {
    /// When.
    pub at: String,
    /// To which person; null: to no single one.
    pub person_id: Option<String>,
    /// An event's type, or `refresh.` and an outcome, or `notice.given_up`.
    pub what: String,
    /// More about it.
    pub detail: String,
}

/// A part of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryList {
    /// Newest first.
    pub entries: Vec<HistoryItem>,
    /// Refreshes that are no entry of their own, of the last days; empty for one person.
    pub days: Vec<DailyRefreshes>,
    /// Give it as `before` for the next part; null at the end.
    pub next: Option<String>,
}

/// Refreshes of one day and outcome that changed nothing worth an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DailyRefreshes {
    /// The day in UTC, as a date.
    pub day: String,
    /// The outcome.
    pub outcome: String,
    /// How many.
    pub refreshes: u64,
}

/// Notices over all sinks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeTally {
    /// To be sent, or sent again.
    pub waiting: u64,
    /// Of them, those that failed at least once.
    pub failing: u64,
    /// Given up, of those that are still kept.
    pub given_up: u64,
    /// Sinks whose receivers have turned them off.
    pub turned_off: Vec<String>,
    /// Why notices cannot be stored at present; they wait in memory. `None` while they can.
    pub trouble: Option<String>,
}
