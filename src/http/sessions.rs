//! Who is signed in to the dashboard. In memory only: a restart signs everybody out.
//! The browser keeps a random id, never a key; of the id, only its hash is kept here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::HeaderValue;

use crate::clock::Clock;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::http::api::Caller;
use crate::http::cookies;
use crate::http::links::Hash;
use crate::http::links::Links;
use crate::http::links::hash;
use crate::http::links::random;
use crate::keys::Keys;

/// At once; then the one that was not used for the longest time ends.
const MOST: usize = 256;

/// A working day.
const LIFE: Duration = Duration::from_secs(12 * 3600);

/// Without a request.
const IDLE: Duration = Duration::from_secs(3600);

/// The dashboard's sessions. An id is made here or it is none: one that a browser brings along is never taken up.
pub(super) struct Sessions {
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
    /// Whether browsers come by https.
    secure: bool,
    table: Mutex<HashMap<Hash, Kept>>,
    links: Links,
}

#[derive(Clone)]
struct Kept {
    caller: Caller,
    csrf: Secret,
    begun: UnixTime,
    seen: UnixTime,
}

/// An operator at the dashboard.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Asks the API: a key that may do everything, or the control socket's holder.
    pub(super) caller: Caller,
    /// Stands in every form of this session as `csrf`, and nowhere else.
    pub(super) csrf: Secret,
    id: Hash,
}

impl Session {
    /// Who it is, for people.
    pub(super) fn name(&self) -> &str {
        match &self.caller {
            Caller::Key(key) => &key.name,
            Caller::Control => "the control socket",
        }
    }

    /// Tells it from others; opens nothing.
    pub(super) fn id(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.id)
    }
}

impl Sessions {
    /// Nobody is signed in yet.
    pub(super) fn new(keys: Arc<Keys>, clock: Arc<dyn Clock>, secure: bool) -> Self {
        Self { keys, clock, secure, table: Mutex::default(), links: Links::default() }
    }

    /// One-time links to sessions.
    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    pub(super) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// The session that `headers` show, which counts as used now.
    pub(super) fn of(&self, headers: &HeaderMap) -> Option<Session> {
        self.shown(headers, |kept, now| kept.seen = now)
    }

    /// The same without counting as its use: for what browsers ask by themselves.
    pub(super) fn unused(&self, headers: &HeaderMap) -> Option<Session> {
        self.shown(headers, |_, _| ())
    }

    /// Whether `session` goes on, without counting as its use: for what stays open by itself.
    pub(super) fn lasts(&self, session: &Session) -> bool {
        self.live(session.id, self.clock.now(), |_, _| ()).is_some()
    }

    /// Begins a session, with an id that nobody had before. The answer is its cookie.
    pub(super) fn begin(&self, caller: Caller) -> Option<HeaderValue> {
        let (id, csrf, now) = (random()?, random()?, self.clock.now());
        let mut table = self.table();
        if table.len() >= MOST {
            table.retain(|_, kept| kept.is_live(now));
        }
        if table.len() >= MOST {
            let stalest = table.iter().min_by_key(|(_, kept)| kept.seen).map(|(id, _)| *id);
            stalest.and_then(|id| table.remove(&id));
        }
        table.insert(hash(id.expose()), Kept { caller, csrf, begun: now, seen: now });
        self.set_cookie(id.expose())
    }

    /// Ends a session. The answer takes its cookie back.
    pub(super) fn end(&self, session: &Session) -> Option<HeaderValue> {
        self.table().remove(&session.id);
        let mut cookie = format!("{}=; Max-Age=0", self.cookie());
        cookie.push_str(self.attributes());
        HeaderValue::from_str(&cookie).ok()
    }

    fn shown(&self, headers: &HeaderMap, note: fn(&mut Kept, UnixTime)) -> Option<Session> {
        let now = self.clock.now();
        // Other ports of this host may set a cookie of the same name on plain HTTP: the one that is ours counts.
        let ids = cookies::pairs(headers).filter(|(name, _)| *name == self.cookie()).map(|(_, id)| hash(id));
        ids.filter_map(|id| self.live(id, now, note)).next()
    }

    fn live(&self, id: Hash, now: UnixTime, note: fn(&mut Kept, UnixTime)) -> Option<Session> {
        let mut table = self.table();
        let kept = table.get_mut(&id)?;
        // The key's word counts now, not the one it had when the session began.
        let caller = match &kept.caller {
            Caller::Control => Some(Caller::Control),
            Caller::Key(key) => self.keys.live(key).map(Caller::Key),
        };
        let Some(caller) = caller.filter(|_| kept.is_live(now)) else {
            table.remove(&id);
            return None;
        };
        note(kept, now);
        Some(Session { caller, csrf: kept.csrf.clone(), id })
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Hash, Kept>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `__Host-` ties a cookie to this host and to TLS; browsers refuse it on plain HTTP.
    fn cookie(&self) -> &'static str {
        if self.secure { "__Host-dashboard" } else { "dashboard" }
    }

    /// Without `Max-Age`: the browser's end is the cookie's.
    fn set_cookie(&self, id: &str) -> Option<HeaderValue> {
        let mut cookie =
            HeaderValue::from_str(&format!("{}={id}{}", self.cookie(), self.attributes())).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    }

    /// Strict: no other site's link or form carries it. A link from a terminal has no site, and needs no cookie.
    fn attributes(&self) -> &'static str {
        if self.secure {
            "; Path=/; HttpOnly; SameSite=Strict; Secure"
        } else {
            "; Path=/; HttpOnly; SameSite=Strict"
        }
    }
}

impl Kept {
    /// A clock that was set back far counts as idleness.
    fn is_live(&self, now: UnixTime) -> bool {
        now < self.begun + LIFE && now < self.seen + IDLE && self.seen < now + IDLE
    }
}
