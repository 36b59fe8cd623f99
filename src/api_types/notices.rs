//! Notices and the history.

use serde::Deserialize;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;

/// The person that a notice is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticePerson {
    /// The Webex person id.
    pub id: String,
    /// The e-mail address in lower case.
    pub email: Option<String>,
    /// The display name at Webex.
    pub display_name: Option<String>,
}

/// The delivery of a notice to one sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeDelivery {
    /// The name of the sink.
    pub sink: String,
    /// `waiting`, `sent`, `given_up` or `outdated`.
    pub state: String,
    /// The number of tries so far.
    pub tries: u32,
    /// When the next try is due; null if the notice is held for a digest, or the state is final.
    pub next_at: Option<String>,
    /// When the state became final.
    pub done_at: Option<String>,
    /// Why the sink has not accepted the notice.
    pub why: Option<String>,
}

/// A notice and its delivery to every sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoticeItem {
    /// The same event always has the same id.
    pub id: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// When the event happened.
    pub at: String,
    /// The app that the event is about.
    pub app: String,
    /// The person that the event is about; null if it is not about a single person.
    pub person: Option<NoticePerson>,
    /// Further texts, numbers and dates about the event.
    pub data: Map<String, Value>,
    /// One delivery for each sink.
    pub deliveries: Vec<NoticeDelivery>,
}

/// The status of one sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeSink {
    /// The name of the sink.
    pub sink: String,
    /// Whether the settings name the sink now.
    pub is_set: bool,
    /// Whether its receiver has turned it off (410).
    pub is_off: bool,
    /// Notices that wait for their first or next try.
    pub waiting: u64,
    /// Waiting notices that failed at least once.
    pub failing: u64,
    /// Notices that were given up and are still stored.
    pub given_up: u64,
    /// The time of the event of the oldest waiting notice.
    pub oldest_waiting_at: Option<String>,
}

/// A page of the notices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoticeList {
    /// Every sink.
    pub sinks: Vec<NoticeSink>,
    /// The notices, newest first.
    pub notices: Vec<NoticeItem>,
    /// The value of `before` for the next page; null on the last page.
    pub next: Option<String>,
}

/// Which sinks to test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticeTestRequest {
    /// The name of a sink, or its part before the colon. Without it, all sinks for operators are tested.
    #[serde(default)]
    pub sink: Option<String>,
}

/// The result of a test at one sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeTest {
    /// The name of the sink.
    pub sink: String,
    /// Why the test failed; null if the sink accepted it.
    pub why: Option<String>,
}

/// The results of a test at every tested sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeTests {
    /// One result for each sink.
    pub tests: Vec<NoticeTest>,
}

/// A notice that is sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeResent {
    /// The id of the notice.
    pub id: String,
    /// The number of sinks that get the notice.
    pub sinks: u64,
}

/// One entry of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryItem {
    /// When it happened.
    pub at: String,
    /// The person that the entry is about; null if it is not about a single person.
    pub person_id: Option<String>,
    /// An event's type, or `refresh.` and an outcome, or `notice.given_up`.
    pub what: String,
    /// Further information.
    pub detail: String,
}

/// A page of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryList {
    /// The entries, newest first.
    pub entries: Vec<HistoryItem>,
    /// The numbers of refreshes without an entry, of the last days; empty for one person.
    pub days: Vec<DailyRefreshes>,
    /// The value of `before` for the next page; null on the last page.
    pub next: Option<String>,
}

/// The number of refreshes of one day and outcome that have no entry in the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DailyRefreshes {
    /// The day in UTC, as a date.
    pub day: String,
    /// The outcome.
    pub outcome: String,
    /// The number of refreshes.
    pub refreshes: u64,
}

/// The numbers of deliveries of all sinks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeCounts {
    /// Deliveries that wait for their first or next try.
    pub waiting: u64,
    /// Waiting deliveries that failed at least once.
    pub failing: u64,
    /// Deliveries that were given up and whose notice is still stored.
    pub given_up: u64,
    /// Sinks whose receivers have turned them off.
    pub turned_off: Vec<String>,
    /// Why notices cannot be stored at present; they wait in memory. `None` while they can.
    pub trouble: Option<String>,
}
