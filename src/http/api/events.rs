//! `GET /events`: changes as they happen (server-sent events, as the HTML standard defines them).
//!
//! Each stream has a task that waits for changes, reads the current state and sends one chunk at a time to
//! the connection. No token is ever sent. Persons are sent in the same form as in the list of persons.

use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::body::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout;

use crate::api_types;
use crate::domain::api_key::ApiKeyRecord;
use crate::domain::person::PersonId;
use crate::events::Change;
use crate::events::EventPosition;
use crate::events::Events;
use crate::events::NextEvent;
use crate::events::NoticeEvent;
use crate::http::api::context::Api;
use crate::http::api::request::ApiRequest;
use crate::http::api::status;
use crate::http::api::subscribers::SubscriberPermit;
use crate::http::auth::caller::Caller;
use crate::http::dashboard::sessions::DashboardSession;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;

/// Short enough that neither a proxy (usually a minute) nor our watchdog takes a quiet stream for a dead one.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A client that reads nothing for this long is disconnected.
const PATIENCE: Duration = Duration::from_secs(60);

/// When a client reconnects by itself, in milliseconds.
const RETRY: u32 = 5000;

/// Tells the client to load everything anew. Like the result of [`event`], it is not terminated.
const RESET: &str = "event: reset\ndata: {}\n";

/// The subscriber of a stream.
pub(in crate::http) enum Subscriber {
    /// A caller of the control socket.
    Control,
    /// The holder of a key.
    Key(Arc<ApiKeyRecord>),
    /// A session at the dashboard.
    Session(DashboardSession),
}

struct EventStream {
    api: Api,
    holder: Subscriber,
    mark: EventPosition,
    news: watch::Receiver<()>,
    revoked: watch::Receiver<()>,
    pieces: mpsc::Sender<Bytes>,
    /// When a chunk was last sent.
    told_at: Instant,
    _place: SubscriberPermit,
}

/// The stream ends.
struct StreamEnded;

/// `GET /events?since=`
pub(super) async fn stream(api: &Api, ask: &ApiRequest) -> Result<Response<ResponseBody>, ApiError> {
    let query = ask.query(["since"])?;
    let since = ask.last_event.as_deref().or_else(|| query.text("since"));
    let holder = match &ask.caller {
        Caller::Control => Subscriber::Control,
        Caller::Key(key) => Subscriber::Key(key.clone()),
    };
    api.events(holder, since)
}

impl Api {
    /// A stream of the changes after the event `since`, or of new changes if it is `None`.
    pub(in crate::http) fn events(
        &self,
        holder: Subscriber,
        since: Option<&str>,
    ) -> Result<Response<ResponseBody>, ApiError> {
        let crowded = ApiError::Crowded("Too many event streams are open; close some.");
        let place = self.subscribers().acquire(holder.name()).ok_or(crowded)?;
        // The subscription begins before the position is read, so a client that loads the list after opening
        // the stream misses nothing.
        let events = self.0.cache.events();
        let (news, revoked) = (events.subscribe(), self.0.keys.revocations());
        let known = since.map_or_else(|| Some(events.position()), |id| events.decode_id(id));
        let (pieces, flow) = mpsc::channel(1);
        let mark = known.unwrap_or_else(|| events.position());
        let api = self.clone();
        let reader =
            EventStream { api, holder, mark, news, revoked, pieces, told_at: Instant::now(), _place: place };
        self.0.tasks.spawn("events", reader.run(known.is_some()));
        Ok(response::stream("text/event-stream", ResponseBody::stream(flow)))
    }
}

impl Subscriber {
    fn name(&self) -> String {
        match self {
            Self::Control => String::new(),
            Self::Key(key) => format!("key {}", key.id),
            Self::Session(session) => format!("session {}", session.id()),
        }
    }

    /// Whether the subscriber's key or session is still valid.
    fn is_allowed(&self, api: &Api) -> bool {
        match self {
            Self::Control => true,
            Self::Key(key) => api.0.keys.live(key).is_some(),
            Self::Session(session) => api.sessions().is_active(session),
        }
    }

    /// The persons to which the subscriber is limited.
    fn allowed_persons(&self) -> Option<&Vec<PersonId>> {
        match self {
            Self::Key(key) => key.persons.as_ref(),
            Self::Control | Self::Session(_) => None,
        }
    }

    /// Keys that are limited to some persons get no events about the whole daemon, as with `GET /status`.
    fn sees_all(&self) -> bool {
        self.allowed_persons().is_none()
    }

    fn sees(&self, person: &PersonId) -> bool {
        self.allowed_persons().is_none_or(|among| among.contains(person))
    }
}

impl EventStream {
    async fn run(mut self, known: bool) {
        let (stopping, gone) = (self.api.0.tasks.stopping(), self.pieces.clone());
        tokio::select! {
            biased;
            () = stopping.cancelled() => {}
            () = gone.closed() => {}
            _ = self.read(known) => {}
        }
    }

    async fn read(&mut self, known: bool) -> Result<(), StreamEnded> {
        let first = if known { "" } else { RESET };
        self.send(format!("retry: {RETRY}\n{first}{}", self.id())).await?;
        loop {
            let text = match self.events().next_after(self.mark) {
                NextEvent::Nothing if self.wait_for_change().await? => format!(":\n{}", self.id()),
                NextEvent::Nothing => continue,
                NextEvent::Lost(mark) => {
                    self.mark = mark;
                    format!("{RESET}{}", self.id())
                }
                NextEvent::Next(mark, change) => {
                    self.mark = mark;
                    match self.render(change).await? {
                        Some(event) => format!("{event}{}", self.id()),
                        None => continue,
                    }
                }
            };
            self.send(text).await?;
        }
    }

    /// Waits for a change. `true` if nothing was sent for so long that a heartbeat is due. Changes that the
    /// subscriber may not see do not count.
    async fn wait_for_change(&mut self) -> Result<bool, StreamEnded> {
        let heartbeat = tokio::select! {
            biased;
            _ = self.revoked.changed() => false,
            () = sleep_until(self.told_at + HEARTBEAT) => true,
            _ = self.news.changed() => false,
        };
        if self.holder.is_allowed(&self.api) { Ok(heartbeat) } else { Err(StreamEnded) }
    }

    /// The event for a change, if the subscriber may see it. If the store fails, the stream ends. The client
    /// then reconnects with the last id that it has seen.
    async fn render(&self, change: Change) -> Result<Option<String>, StreamEnded> {
        let person = match change {
            Change::Breaker if !self.holder.sees_all() => return Ok(None),
            Change::Breaker => {
                return Ok(Some(event("breaker", &status::breaker(self.api.0.refresher.pause()))));
            }
            Change::Notice(event) => return Ok(self.render_notice(&event)),
            Change::Person(person) if self.holder.sees(&person) => person,
            Change::Person(_) => return Ok(None),
        };
        match self.api.0.cache.get_uncached(&person).await {
            Ok(Some(grant)) => Ok(Some(event("person", &self.api.person_view(&grant)))),
            Ok(None) => Ok(Some(event("forgotten", &api_types::Forgotten { person_id: person.to_string() }))),
            Err(why) => {
                log::error!("closing an event stream: {why}");
                Err(StreamEnded)
            }
        }
    }

    /// A notice, if the subscriber may see it. A subscriber that is limited to some persons gets each notice about them, and
    /// all others get a digest in place of many.
    fn render_notice(&self, event: &NoticeEvent) -> Option<String> {
        let NoticeEvent { notice, is_in_digest } = event;
        let is_visible = match &notice.person {
            Some(person) => self.holder.sees(&person.id) && !(*is_in_digest && self.holder.sees_all()),
            None => self.holder.sees_all(),
        };
        is_visible.then(|| self::event(notice.kind.as_str(), &notice.to_json()))
    }

    /// Sends a chunk. Fails if the client does not read it in time, or if the subscriber is no longer
    /// authorized.
    async fn send(&mut self, text: String) -> Result<(), StreamEnded> {
        let place = timeout(PATIENCE, self.pieces.reserve()).await;
        let place = place.map_err(|_| StreamEnded)?.map_err(|_| StreamEnded)?;
        // Checked last: after a revocation, nothing may be sent.
        if !self.holder.is_allowed(&self.api) {
            return Err(StreamEnded);
        }
        place.send(Bytes::from(text));
        self.told_at = Instant::now();
        Ok(())
    }

    fn events(&self) -> &Events {
        self.api.0.cache.events()
    }

    /// The line that a client remembers, and the end of the event.
    fn id(&self) -> String {
        format!("id: {}\n\n", self.events().encode_id(self.mark))
    }
}

/// An event without its end, because the id follows.
fn event(name: &str, what: &impl Serialize) -> String {
    // Numbers and text only, so this cannot fail. JSON contains no line break, because it escapes those of texts.
    let data = serde_json::to_string(what).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n")
}
