//! Notices: what a person or operator must be told. The catalogue of event types, and what one event holds.

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

use crate::domain::history::HistoryEntry;
use crate::domain::person::Person;
use crate::domain::time::UnixTime;

/// The only app there is at present: the one of the `MY_APP_*` variables.
pub const DEFAULT_APP: &str = "default";

macro_rules! notice_types {
    ($($(#[$doc:meta])+ $name:ident = $word:literal,)+) => {
        /// The types of events, as operators' programs meet them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum NoticeType {
            $($(#[$doc])+ $name,)+
        }

        impl NoticeType {
            /// All of them.
            pub const ALL: [Self; [$(Self::$name),+].len()] = [$(Self::$name),+];

            /// The word in the event's JSON.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

notice_types! {
    /// A consent was stored.
    ConsentGranted = "consent.granted",
    /// Webex will not renew the grant.
    ConsentNeeded = "consent.needed",
    /// The refresh token ends soon, and refreshes do not move its end.
    ConsentExpiring = "consent.expiring",
    /// A refresh moved the end after all.
    ConsentExtended = "consent.extended",
    /// Refreshes fail, and the life left is below the survival margin.
    TokenAtRisk = "token.at_risk",
    /// The token is renewed again.
    TokenRecovered = "token.recovered",
    /// The app's breaker opened.
    AppPaused = "app.paused",
    /// The app's breaker closed.
    AppResumed = "app.resumed",
    /// The store cannot be written.
    StoreFailing = "store.failing",
    /// The store can be written again.
    StoreRecovered = "store.recovered",
    /// The served certificate ends soon, or has ended.
    CertificateExpiring = "certificate.expiring",
    /// A certificate that does not end soon is served.
    CertificateRenewed = "certificate.renewed",
    /// A person's grant was removed.
    PersonForgotten = "person.forgotten",
    /// An API key was created.
    KeyCreated = "key.created",
    /// An API key was revoked.
    KeyRevoked = "key.revoked",
    /// More than twenty persons at once.
    Digest = "digest",
    /// `notices test`.
    Test = "test",
}

impl NoticeType {
    /// The type that `word` stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Whether the person, too, is told, if the operator wants persons to be told: those that end with a consent.
    #[must_use]
    pub fn is_for_persons(self) -> bool {
        matches!(self, Self::ConsentNeeded | Self::ConsentExpiring)
    }
}

/// One thing that became true, as every sink is told it. Holds no token, code, key or secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// A function of the fact: the same whenever and wherever the same fact is found, so that receivers can drop duplicates.
    pub id: String,
    /// What happened.
    pub kind: NoticeType,
    /// When.
    pub at: UnixTime,
    /// The person that it is about, if it is about one.
    pub person: Option<Person>,
    /// What else there is to say: texts, numbers and dates.
    pub data: Map<String, Value>,
}

impl Notice {
    /// A notice of the fact that `version` tells from all other facts of this type about this person.
    #[must_use]
    pub fn new(kind: NoticeType, person: Option<&Person>, version: &str, at: UnixTime) -> Self {
        let who = person.map_or("", |person| person.id.as_str());
        let id = id_of(kind, who, version);
        Self { id, kind, at, person: person.cloned(), data: Map::new() }
    }

    /// The same with one more thing to say.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }

    /// What must be delivered in order: everything about one person, or about one thing of the daemon's.
    #[must_use]
    pub fn chain(&self) -> String {
        let family = self.kind.word().split('.').next().unwrap_or_default();
        self.person.as_ref().map_or_else(|| format!("-{family}"), |person| person.id.to_string())
    }

    /// What else there is to say, in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let parts: Vec<String> =
            self.data.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect();
        parts.join("; ")
    }

    /// The event as it is sent and shown: the whole of the outside's JSON.
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
            "type": self.kind.word(),
            "at": self.at.to_string(),
            "app": DEFAULT_APP,
            "person": person,
            "data": self.data,
        })
    }
}

/// What one change of the store makes true, on its way to the outbox and the history: both are written in the transaction
/// of the change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct News {
    /// To be told.
    pub notices: Vec<Notice>,
    /// To be kept for reading.
    pub history: Vec<HistoryEntry>,
    /// A refresh came to this outcome, by its word: counted where it is no entry of its own.
    pub outcome: Option<&'static str>,
    /// What sinks have taken before it could be stored: the notice's id, and the sink.
    pub delivered: Vec<(String, String)>,
}

impl News {
    /// This notice, which is history, too.
    #[must_use]
    pub fn of(notice: Notice) -> Self {
        let mut news = Self { notices: vec![notice], ..Self::default() };
        news.remember_notices();
        news
    }

    /// Whether `sink` has taken the notice before it could be stored.
    #[must_use]
    pub fn is_delivered(&self, notice: &Notice, sink: &str) -> bool {
        self.delivered.iter().any(|(id, taker)| *id == notice.id && taker == sink)
    }

    /// Makes an entry of the history of each notice.
    pub fn remember_notices(&mut self) {
        for notice in &self.notices {
            let person = notice.person.as_ref().map(|person| &person.id);
            self.history.push(HistoryEntry::new(notice.at, person, notice.kind.word(), &notice.summary()));
        }
    }
}

/// 144 bits of a hash over everything that makes the fact. Without dots: a webhook's signature joins it by dots.
fn id_of(kind: NoticeType, person: &str, version: &str) -> String {
    let text = format!("{}\n{DEFAULT_APP}\n{person}\n{version}", kind.word());
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
        let words: BTreeSet<&str> = NoticeType::ALL.into_iter().map(NoticeType::word).collect();
        assert_eq!(words.len(), NoticeType::ALL.len());
        for kind in NoticeType::ALL {
            assert_eq!(NoticeType::from_word(kind.word()), Some(kind));
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
