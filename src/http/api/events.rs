//! `GET /events`: what changes, as it changes (server-sent events, as the HTML standard has them).
//!
//! A reader has a task of its own that waits for news, looks the state up and hands one piece at a time to the
//! connection. No token is ever in it: it tells persons as the list of persons does.

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
use crate::domain::key::KeyRecord;
use crate::domain::person::PersonId;
use crate::events::After;
use crate::events::Change;
use crate::events::Events;
use crate::events::Mark;
use crate::http::api::Api;
use crate::http::api::Ask;
use crate::http::api::Caller;
use crate::http::api::status;
use crate::http::listeners::Place;
use crate::http::refusal::Refusal;
use crate::http::respond;
use crate::http::serve::Body;
use crate::http::sessions::Session;

/// Often enough that no proxy (usually a minute) and no watchdog of ours takes a quiet stream for a dead one.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A peer that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// When a client comes again by itself, in milliseconds.
const RETRY: u32 = 5000;

/// Everything must be loaded anew. Without its end, as [`event`].
const RESET: &str = "event: reset\ndata: {}\n";

/// Who watches.
pub(in crate::http) enum Holder {
    /// Over the control socket.
    Control,
    /// With a key.
    Key(Arc<KeyRecord>),
    /// At the dashboard.
    Session(Session),
}

struct Reader {
    api: Api,
    holder: Holder,
    mark: Mark,
    news: watch::Receiver<()>,
    revoked: watch::Receiver<()>,
    pieces: mpsc::Sender<Bytes>,
    /// When a piece was handed over last.
    told_at: Instant,
    _place: Place,
}

/// The stream is at its end.
struct Over;

/// `GET /events?since=`
pub(super) async fn stream(api: &Api, ask: &Ask) -> Result<Response<Body>, Refusal> {
    let query = ask.query(["since"])?;
    let since = ask.last_event.as_deref().or_else(|| query.text("since"));
    let holder = match &ask.caller {
        Caller::Control => Holder::Control,
        Caller::Key(key) => Holder::Key(key.clone()),
    };
    api.events(holder, since)
}

impl Api {
    /// A stream of what changes after the event `since`; from now on if there is none.
    pub(in crate::http) fn events(
        &self,
        holder: Holder,
        since: Option<&str>,
    ) -> Result<Response<Body>, Refusal> {
        let crowded = Refusal::Crowded("Too many streams of events are open; close some.");
        let place = self.listeners().take(holder.name()).ok_or(crowded)?;
        // News from here on is news: whoever loads the list after the stream has begun misses nothing.
        let events = self.0.view.events();
        let (news, revoked) = (events.news(), self.0.keys.revocations());
        let known = since.map_or_else(|| Some(events.now()), |id| events.find(id));
        let (pieces, flow) = mpsc::channel(1);
        let mark = known.unwrap_or_else(|| events.now());
        let api = self.clone();
        let reader =
            Reader { api, holder, mark, news, revoked, pieces, told_at: Instant::now(), _place: place };
        self.0.tasks.spawn("events", reader.run(known.is_some()));
        Ok(respond::flow("text/event-stream", Body::flow(flow)))
    }
}

impl Holder {
    fn name(&self) -> String {
        match self {
            Self::Control => String::new(),
            Self::Key(key) => format!("key {}", key.id),
            Self::Session(session) => format!("session {}", session.id()),
        }
    }

    /// Whether what let it in still does.
    fn lasts(&self, api: &Api) -> bool {
        match self {
            Self::Control => true,
            Self::Key(key) => api.0.keys.live(key).is_some(),
            Self::Session(session) => api.sessions().lasts(session),
        }
    }

    /// The persons that it is limited to.
    fn among(&self) -> Option<&Vec<PersonId>> {
        match self {
            Self::Key(key) => key.persons.as_ref(),
            Self::Control | Self::Session(_) => None,
        }
    }

    /// What concerns the whole daemon is kept from keys that are limited to some persons, as with `GET /status`.
    fn sees_all(&self) -> bool {
        self.among().is_none()
    }

    fn sees(&self, person: &PersonId) -> bool {
        self.among().is_none_or(|among| among.contains(person))
    }
}

impl Reader {
    async fn run(mut self, known: bool) {
        let (stopping, gone) = (self.api.0.tasks.stopping(), self.pieces.clone());
        tokio::select! {
            biased;
            () = stopping.cancelled() => {}
            () = gone.closed() => {}
            _ = self.read(known) => {}
        }
    }

    async fn read(&mut self, known: bool) -> Result<(), Over> {
        let first = if known { "" } else { RESET };
        self.send(format!("retry: {RETRY}\n{first}{}", self.id())).await?;
        loop {
            let text = match self.events().after(self.mark) {
                After::Nothing if self.waited().await? => format!(":\n{}", self.id()),
                After::Nothing => continue,
                After::Lost(mark) => {
                    self.mark = mark;
                    format!("{RESET}{}", self.id())
                }
                After::Next(mark, change) => {
                    self.mark = mark;
                    match self.told(change).await? {
                        Some(event) => format!("{event}{}", self.id()),
                        None => continue,
                    }
                }
            };
            self.send(text).await?;
        }
    }

    /// Waits for news; `true` if nothing was told for so long that the peer must be shown a sign of life: news that are
    /// not for its eyes are none to it.
    async fn waited(&mut self) -> Result<bool, Over> {
        let heartbeat = tokio::select! {
            biased;
            _ = self.revoked.changed() => false,
            () = sleep_until(self.told_at + HEARTBEAT) => true,
            _ = self.news.changed() => false,
        };
        if self.holder.lasts(&self.api) { Ok(heartbeat) } else { Err(Over) }
    }

    /// A change, if it is for this reader's eyes. Without the store, the stream ends: the client comes again, with the
    /// last id that it saw.
    async fn told(&self, change: Change) -> Result<Option<String>, Over> {
        let person = match change {
            Change::Breaker if !self.holder.sees_all() => return Ok(None),
            Change::Breaker => {
                return Ok(Some(event("breaker", &status::breaker(self.api.0.refresher.pause()))));
            }
            Change::Person(person) if self.holder.sees(&person) => person,
            Change::Person(_) => return Ok(None),
        };
        match self.api.0.view.show(&person).await {
            Ok(Some(grant)) => Ok(Some(event("person", &self.api.shown(&grant)))),
            Ok(None) => Ok(Some(event("forgotten", &api_types::Forgotten { person_id: person.to_string() }))),
            Err(why) => {
                log::error!("a stream of events ends: {why}");
                Err(Over)
            }
        }
    }

    /// Hands a piece over, unless nobody takes it, or nobody may have it any more.
    async fn send(&mut self, text: String) -> Result<(), Over> {
        let place = timeout(PATIENCE, self.pieces.reserve()).await;
        let place = place.map_err(|_| Over)?.map_err(|_| Over)?;
        // Asked last: what was revoked while it waited must not go out.
        if !self.holder.lasts(&self.api) {
            return Err(Over);
        }
        place.send(Bytes::from(text));
        self.told_at = Instant::now();
        Ok(())
    }

    fn events(&self) -> &Events {
        self.api.0.view.events()
    }

    /// The line that a client remembers, and the end of what it belongs to.
    fn id(&self) -> String {
        format!("id: {}\n\n", self.events().id(self.mark))
    }
}

/// Without its end: the id comes after it.
fn event(name: &str, what: &impl Serialize) -> String {
    // Numbers and text only: it cannot fail, and it has no line break.
    let data = serde_json::to_string(what).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n")
}
