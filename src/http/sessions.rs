//! The sessions of operators at the dashboard. In memory only: a restart ends all of them.
//!
//! Browsers show a cookie to every port of a host name, so that a cookie alone must open nothing. A session takes two
//! secrets: a random id in a cookie, and a random part of the path, which only the pages of this session and the
//! browser's address bar hold. Never a key; of both secrets, only hashes are kept here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use url::Url;

use crate::clock::Clock;
use crate::domain::person::PersonId;
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
    /// The dashboard's path as browsers see it, above all sessions.
    home: String,
    table: Mutex<HashMap<Hash, Kept>>,
    links: Links,
}

#[derive(Clone)]
struct Kept {
    caller: Caller,
    csrf: Secret,
    path: Hash,
    begun: UnixTime,
    seen: UnixTime,
    /// The person it forgot last, whose name is nowhere else any more.
    forgotten: Option<(PersonId, String)>,
}

/// An operator at the dashboard.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Asks the API: a key that may do everything, or the control socket's holder.
    pub(super) caller: Caller,
    /// Stands in every form of this session as `csrf`, and nowhere else.
    pub(super) csrf: Secret,
    /// The path of its first page, as its browser sees it; every other page of it is below.
    pub(super) home: Secret,
    id: Hash,
}

/// A session that has just begun.
pub(super) struct Begun {
    /// See [`Session::home`].
    pub(super) home: Secret,
    /// `Set-Cookie`.
    pub(super) cookie: HeaderValue,
}

impl Session {
    /// Who it is, for people.
    pub(super) fn name(&self) -> &str {
        match &self.caller {
            Caller::Key(key) => &key.name,
            Caller::Control => "the terminal",
        }
    }

    /// Whether it began by a link from the terminal, without a key.
    pub(super) fn is_of_terminal(&self) -> bool {
        matches!(self.caller, Caller::Control)
    }

    /// Tells it from others; opens nothing.
    pub(super) fn id(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.id)
    }
}

impl Sessions {
    /// No session yet, at a dashboard beside `redirect_uri`.
    pub(super) fn new(keys: Arc<Keys>, clock: Arc<dyn Clock>, redirect_uri: &str) -> Self {
        let path = Url::parse(redirect_uri).map(|url| url.path().to_owned()).unwrap_or_default();
        Self {
            keys,
            clock,
            secure: redirect_uri.starts_with("https:"),
            home: format!("{}/dashboard", path.strip_suffix("/oauth").unwrap_or_default()),
            table: Mutex::default(),
            links: Links::default(),
        }
    }

    /// The dashboard's path as browsers see it (behind a proxy, with the prefix), above all sessions.
    pub(super) fn home(&self) -> &str {
        &self.home
    }

    /// One-time links to sessions.
    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    pub(super) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// The session that a cookie in `headers` and `part`, the random part of the path, show together. It counts as used
    /// now.
    pub(super) fn of(&self, headers: &HeaderMap, part: &str) -> Option<Session> {
        self.shown(headers, part, |kept, now| kept.seen = now)
    }

    /// The same without counting as its use: for what browsers ask by themselves.
    pub(super) fn unused(&self, headers: &HeaderMap, part: &str) -> Option<Session> {
        self.shown(headers, part, |_, _| ())
    }

    /// Whether `session` goes on, without counting as its use: for what stays open by itself.
    pub(super) fn lasts(&self, session: &Session) -> bool {
        self.live(&mut self.table(), session.id, self.clock.now()).is_some()
    }

    /// Begins a session, with two secrets that no session had before. `None` without random bytes.
    pub(super) fn begin(&self, caller: Caller) -> Option<Begun> {
        let (id, part, csrf, now) = (random()?, random()?, random()?, self.clock.now());
        let home = Secret::new(format!("{}/{}", self.home, part.expose()));
        let cookie = self.cookie(id.expose(), &home, "")?;
        let mut table = self.table();
        if table.len() >= MOST {
            table.retain(|_, kept| kept.is_live(now));
        }
        if table.len() >= MOST {
            let stalest = table.iter().min_by_key(|(_, kept)| kept.seen).map(|(id, _)| *id);
            stalest.and_then(|id| table.remove(&id));
        }
        let path = hash(part.expose());
        table.insert(hash(id.expose()), Kept { caller, csrf, path, begun: now, seen: now, forgotten: None });
        Some(Begun { home, cookie })
    }

    /// Notes for the next pages of `session` that it forgot `person`, and what the person was called.
    pub(super) fn note_forgotten(&self, session: &Session, person: PersonId, name: String) {
        if let Some(kept) = self.table().get_mut(&session.id) {
            kept.forgotten = Some((person, name));
        }
    }

    /// What `person` was called, if `session` forgot this one last.
    pub(super) fn forgotten(&self, session: &Session, person: &PersonId) -> Option<String> {
        let table = self.table();
        let (id, name) = table.get(&session.id)?.forgotten.as_ref()?;
        (id == person).then(|| name.clone())
    }

    /// Ends a session. The answer takes its cookie back.
    pub(super) fn end(&self, session: &Session) -> Option<HeaderValue> {
        self.table().remove(&session.id);
        self.cookie("", &session.home, "; Max-Age=0")
    }

    /// Ends every session of the same key, or every one that began by a link from the control socket; answers how many.
    pub(super) fn end_all(&self, session: &Session) -> (usize, Option<HeaderValue>) {
        let mut table = self.table();
        let before = table.len();
        table.retain(|_, kept| !is_same(&kept.caller, &session.caller));
        (before - table.len(), self.cookie("", &session.home, "; Max-Age=0"))
    }

    fn shown(&self, headers: &HeaderMap, part: &str, note: fn(&mut Kept, UnixTime)) -> Option<Session> {
        let (now, path, name) = (self.clock.now(), hash(part), self.cookie_name());
        // Other ports of this host may set a cookie of the same name: the one that is ours counts.
        let ids = cookies::pairs(headers).filter(|(other, _)| *other == name).map(|(_, id)| hash(id));
        let mut table = self.table();
        for id in ids {
            let Some(kept) = self.live(&mut table, id, now) else { continue };
            if verify_slices_are_equal(&kept.path, &path).is_ok() {
                note(kept, now);
                let home = Secret::new(format!("{}/{part}", self.home));
                return Some(Session { caller: kept.caller.clone(), csrf: kept.csrf.clone(), home, id });
            }
        }
        None
    }

    /// The session of this id, with its key as it is now; one that has ended is removed.
    fn live<'t>(&self, table: &'t mut HashMap<Hash, Kept>, id: Hash, now: UnixTime) -> Option<&'t mut Kept> {
        let kept = table.get_mut(&id)?;
        // The key's word counts now, not the one it had when the session began.
        let caller = match &kept.caller {
            Caller::Control => Some(Caller::Control),
            Caller::Key(key) => self.keys.live(key).map(Caller::Key),
        };
        let is_live = kept.is_live(now);
        let Some(caller) = caller.filter(|_| is_live) else {
            table.remove(&id);
            return None;
        };
        let kept = table.get_mut(&id)?;
        kept.caller = caller;
        Some(kept)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Hash, Kept>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `__Secure-` ties a cookie to TLS; browsers refuse it on plain HTTP. `__Host-` would ask for the path `/`.
    fn cookie_name(&self) -> &'static str {
        if self.secure { "__Secure-dashboard" } else { "dashboard" }
    }

    /// `Set-Cookie` for the pages of one session: browsers show it to no other path, so that other ports do not even see
    /// it. Without `Max-Age`, the browser's end is the cookie's. Strict: no other site's link or form carries it; a link
    /// from a terminal has no site, and needs no cookie.
    fn cookie(&self, id: &str, home: &Secret, age: &str) -> Option<HeaderValue> {
        let (name, path) = (self.cookie_name(), home.expose());
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{name}={id}{age}; Path={path}; HttpOnly; SameSite=Strict{secure}");
        let mut cookie = HeaderValue::from_str(&text).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    }
}

/// Whether both are of one key, or both of the control socket.
fn is_same(one: &Caller, other: &Caller) -> bool {
    let of_key = |caller: &Caller| match caller {
        Caller::Control => None,
        Caller::Key(key) => Some(key.hash),
    };
    of_key(one) == of_key(other)
}

impl Kept {
    /// A clock that was set back far counts as idleness.
    fn is_live(&self, now: UnixTime) -> bool {
        now < self.begun + LIFE && now < self.seen + IDLE && self.seen < now + IDLE
    }
}
