//! Notices: events that the daemon reports to operators, and to persons if the operator wants that. This module defines the
//! event types and the content of one event.

pub mod delivery;
pub mod digest;
pub mod facts;

use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strum::EnumString;
use strum::IntoStaticStr;
use strum::VariantArray;

use crate::domain::history::HistoryEntry;
use crate::domain::person::Person;
use crate::domain::time::UnixTime;

/// The name of the only app: the one that the `MY_APP_*` variables configure.
pub const DEFAULT_APP: &str = "default";

/// The event types.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumString, IntoStaticStr, VariantArray,
)]
pub enum NoticeType {
    /// A consent was stored.
    #[strum(serialize = "consent.granted")]
    ConsentGranted,
    /// Webex will not renew the grant.
    #[strum(serialize = "consent.needed")]
    ConsentNeeded,
    /// The refresh token expires soon, and refreshes do not extend its life.
    #[strum(serialize = "consent.expiring")]
    ConsentExpiring,
    /// A refresh extended the life of the refresh token after a `consent.expiring`.
    #[strum(serialize = "consent.extended")]
    ConsentExtended,
    /// Refreshes fail, and the life left is below the survival margin.
    #[strum(serialize = "token.at_risk")]
    TokenAtRisk,
    /// A refresh or a new consent renewed the token after a `token.at_risk`.
    #[strum(serialize = "token.recovered")]
    TokenRecovered,
    /// The app's breaker opened.
    #[strum(serialize = "app.paused")]
    AppPaused,
    /// The app's breaker closed.
    #[strum(serialize = "app.resumed")]
    AppResumed,
    /// The store cannot be written.
    #[strum(serialize = "store.failing")]
    StoreFailing,
    /// The store can be written again.
    #[strum(serialize = "store.recovered")]
    StoreRecovered,
    /// The served certificate ends soon, or has ended.
    #[strum(serialize = "certificate.expiring")]
    CertificateExpiring,
    /// A certificate that does not end soon is served.
    #[strum(serialize = "certificate.renewed")]
    CertificateRenewed,
    /// A person's grant was removed.
    #[strum(serialize = "person.forgotten")]
    PersonForgotten,
    /// An API key was created.
    #[strum(serialize = "key.created")]
    KeyCreated,
    /// An API key was revoked.
    #[strum(serialize = "key.revoked")]
    KeyRevoked,
    /// One notice in place of the notices of one type about more than twenty persons.
    #[strum(serialize = "digest")]
    Digest,
    /// A test, requested by `notices test`.
    #[strum(serialize = "test")]
    Test,
}

impl NoticeType {
    /// The value of `type` in the event's JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The type with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        word.parse().ok()
    }

    /// Whether the person gets notices of this type, if the operator has turned that on. True for the types that ask the
    /// person for a new consent.
    #[must_use]
    pub fn is_for_persons(self) -> bool {
        matches!(self, Self::ConsentNeeded | Self::ConsentExpiring)
    }
}

/// One event, as every sink receives it. Contains no token, code, key or secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// A hash of what identifies the event. The same event always has the same id, so that receivers can drop duplicates.
    pub id: String,
    /// The type of the event.
    pub kind: NoticeType,
    /// When the event happened.
    pub at: UnixTime,
    /// The person that the event is about; `None` if it is not about a single person.
    pub person: Option<Person>,
    /// Further texts, numbers and dates about the event.
    pub data: Map<String, Value>,
}

impl Notice {
    /// A notice of an event. `version` distinguishes the event from others of the same type about the same person.
    #[must_use]
    pub fn new(kind: NoticeType, person: Option<&Person>, version: &str, at: UnixTime) -> Self {
        let who = person.map_or("", |person| person.id.as_str());
        let id = id_of(kind, who, version);
        Self { id, kind, at, person: person.cloned(), data: Map::new() }
    }

    /// Adds an entry to `data`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }

    /// The ordering key: notices with the same key are delivered in order. It is the person's id, or, for a notice that is
    /// not about a person, the first part of the type (such as `store` of `store.failing`).
    #[must_use]
    pub fn queue(&self) -> String {
        let family = self.kind.as_str().split('.').next().unwrap_or_default();
        self.person.as_ref().map_or_else(|| format!("-{family}"), |person| person.id.to_string())
    }

    /// The entries of `data` in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let parts: Vec<String> =
            self.data.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect();
        parts.join("; ")
    }

    /// The event's JSON, as sinks receive it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let person = self.person.as_ref().map(|person| {
            json!({
                "id": person.id.as_str(),
                "email": person.email.as_ref().map(|email| email.as_str()),
                "display_name": person.display_name,
            })
        });
        json!({
            "id": self.id,
            "type": self.kind.as_str(),
            "at": self.at.to_string(),
            "app": DEFAULT_APP,
            "person": person,
            "data": self.data,
        })
    }
}

/// The notices and the history entries of one change to the store. The store writes them to the outbox and the history in
/// the transaction of the change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutboxEntries {
    /// The notices to deliver.
    pub notices: Vec<Notice>,
    /// The entries to add to the history.
    pub history: Vec<HistoryEntry>,
    /// The word of the refresh's outcome, if the change is a refresh. The store counts it per day if `history` is empty.
    pub outcome: Option<&'static str>,
    /// Deliveries that succeeded before the notice could be stored: the notice's id and the sink's name.
    pub delivered: Vec<(String, String)>,
}

impl OutboxEntries {
    /// One notice and its history entry.
    #[must_use]
    pub fn of(notice: Notice) -> Self {
        let mut outbox_entries = Self { notices: vec![notice], ..Self::default() };
        outbox_entries.add_history_of_notices();
        outbox_entries
    }

    /// Whether `sink` accepted the notice before the notice could be stored.
    #[must_use]
    pub fn is_delivered(&self, notice: &Notice, sink: &str) -> bool {
        self.delivered.iter().any(|(id, taker)| *id == notice.id && taker == sink)
    }

    /// Adds a history entry for each notice.
    pub fn add_history_of_notices(&mut self) {
        for notice in &self.notices {
            let person = notice.person.as_ref().map(|person| &person.id);
            self.history.push(HistoryEntry::new(notice.at, person, notice.kind.as_str(), &notice.summary()));
        }
    }
}

/// 144 bits of a hash over everything that identifies the event. The id contains no dots, because dots separate the parts of
/// the text that a webhook's signature covers.
fn id_of(kind: NoticeType, person: &str, version: &str) -> String {
    let text = format!("{}\n{DEFAULT_APP}\n{person}\n{version}", kind.as_str());
    let hash = digest(&SHA256, text.as_bytes());
    format!("evt_{}", URL_SAFE_NO_PAD.encode(hash.as_ref().get(..18).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::person::PersonId;

    const NOW: UnixTime = UnixTime(1_795_000_000_000);

    fn person(id: &str) -> Person {
        Person::known_by(PersonId::parse(id).unwrap())
    }

    #[test]
    fn an_id_depends_on_the_fact_and_on_nothing_else() {
        let ada = person("ada");
        let notice = |kind, person, version, at| Notice::new(kind, person, version, at).id;
        let id = notice(NoticeType::ConsentNeeded, Some(&ada), "7", NOW);
        assert_eq!(id, notice(NoticeType::ConsentNeeded, Some(&ada), "7", UnixTime(5)));
        let others = [
            notice(NoticeType::ConsentGranted, Some(&ada), "7", NOW),
            notice(NoticeType::ConsentNeeded, Some(&person("bob")), "7", NOW),
            notice(NoticeType::ConsentNeeded, None, "7", NOW),
            notice(NoticeType::ConsentNeeded, Some(&ada), "8", NOW),
            id.clone(),
        ];
        assert_eq!(BTreeSet::from(others).len(), 5);
        assert!(id.starts_with("evt_") && !id.contains('.'), "{id}");
        assert_eq!(id, "evt_5Kmcvt9-1_KC_jbte0691Jh-", "receivers have seen it");
    }

    #[test]
    fn every_type_has_a_word_of_its_own() {
        let kinds = NoticeType::VARIANTS;
        let words: BTreeSet<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(words.len(), kinds.len());
        for kind in kinds {
            assert_eq!(NoticeType::parse(kind.as_str()), Some(*kind));
        }
    }

    #[test]
    fn the_json_has_the_fields_of_the_contract() {
        let notice = Notice::new(NoticeType::TokenAtRisk, Some(&person("ada")), "1", NOW).with("n", 3);
        let json = notice.to_json();
        let fields: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["app", "at", "data", "id", "person", "type"]);
        assert_eq!(json["person"]["id"], "ada");
        assert_eq!(json["data"]["n"], 3);
        assert_eq!(Notice::new(NoticeType::Test, None, "", NOW).to_json()["person"], Value::Null);
    }
}
