//! A client of a stream of events.

use reqwest::RequestBuilder;
use reqwest::Response;
use serde_json::Value;
use tokio::time::timeout;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::person::PersonId;

use crate::support::time::HANG_TIMEOUT;

/// One block of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Event {
    pub(super) id: String,
    /// Empty for a heartbeat.
    pub(super) name: String,
    pub(super) data: Value,
}

pub(super) fn event(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => event.id = id.to_owned(),
            Some(("event", name)) => event.name = name.to_owned(),
            Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
            Some(("retry", _)) => {}
            _ => assert_eq!(line, ":", "{block}"),
        }
    }
    assert!(!event.id.is_empty(), "no id: {block}");
    event
}

/// A client of a stream.
pub(super) struct EventStream {
    pub(super) response: Response,
    pub(super) text: String,
    read: usize,
}

impl EventStream {
    /// Opens a stream and reads its hello event.
    pub(super) async fn open(request: RequestBuilder) -> (Self, Event) {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let mut stream = Self { response, text: String::new(), read: 0 };
        let hello = stream.next_block().await.unwrap();
        assert!(stream.text.starts_with("retry: "), "{}", stream.text);
        (stream, hello)
    }

    /// The next block; `None` at the end.
    pub(super) async fn next_block(&mut self) -> Option<Event> {
        loop {
            if let Some((block, _)) = self.text[self.read..].split_once("\n\n") {
                self.read += block.len() + 2;
                return Some(event(block));
            }
            let chunk =
                timeout(HANG_TIMEOUT, self.response.chunk()).await.expect("no event arrives").unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event that is neither a heartbeat nor a notice.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            let event = self.next_block().await.expect("the stream has ended");
            if !event.name.is_empty() && NoticeType::parse(&event.name).is_none() {
                return event;
            }
        }
    }

    /// The next notice.
    pub(super) async fn next_notice(&mut self) -> Event {
        loop {
            let event = self.next_block().await.expect("the stream has ended");
            if NoticeType::parse(&event.name).is_some() {
                return event;
            }
        }
    }

    pub(super) async fn person(&mut self, id: &PersonId) -> Value {
        let event = self.next().await;
        assert_eq!((event.name.as_str(), event.data["person_id"].as_str()), ("person", Some(id.as_str())));
        event.data
    }

    /// Asserts that the stream ends without another event.
    pub(super) async fn ends(mut self) {
        while let Some(event) = self.next_block().await {
            assert_eq!(event.name, "", "{event:?}");
        }
    }
}
