//! Sessions of operators at the dashboard. They are in memory only, so a restart ends all of them.
//!
//! Browsers send a cookie to every port of a host name, so a cookie alone must not give access. A session
//! needs two secrets: a random id in a cookie, and a random part of the path, which only the pages of this
//! session and the browser's address bar contain. Neither of them is an API key, and only hashes of both are
//! stored.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use parking_lot::Mutex;
use parking_lot::MutexGuard;
use url::Url;

use crate::api_keys::ApiKeys;
use crate::clock::Clock;
use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::http::auth::caller::Caller;
use crate::http::dashboard::login_links::Hash;
use crate::http::dashboard::login_links::LoginLinks;
use crate::http::dashboard::login_links::random_token;
use crate::http::dashboard::login_links::sha256;
use crate::http::request::cookies::CookieScope;
use crate::http::request::cookies::Cookies;

/// The name of the session cookie, without prefix.
const COOKIE: &str = "dashboard";

/// Maximum number of sessions. One more ends the least recently used.
const MAX_SESSIONS: usize = 256;

/// Maximum life of a session: a working day.
const SESSION_TTL: Duration = Duration::from_secs(12 * 3600);

/// A session ends after this time without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// The dashboard's sessions. The daemon makes every session id; an id that a browser brings is never adopted
/// (session fixation).
pub(in crate::http) struct DashboardSessions {
    keys: Arc<ApiKeys>,
    clock: Arc<dyn Clock>,
    /// Whether browsers use https.
    cookies: Cookies,
    /// The dashboard's path as browsers see it, above the paths of all sessions.
    home: String,
    table: Mutex<HashMap<Hash, SessionRecord>>,
    links: LoginLinks,
}

#[derive(Clone)]
struct SessionRecord {
    caller: Caller,
    csrf: Secret,
    path: Hash,
    begun: UnixTime,
    seen: UnixTime,
    /// Id and name of the person that this session forgot last. The name is stored nowhere else any more.
    forgotten: Option<(PersonId, String)>,
}

/// The session of an operator at the dashboard.
#[derive(Clone, Debug)]
pub(in crate::http) struct DashboardSession {
    /// The caller for requests to the API: a key with all rights, or the control socket.
    pub(in crate::http) caller: Caller,
    /// The token that every form of this session contains as `csrf`, and nothing else does.
    pub(in crate::http) csrf: Secret,
    /// The path of the session's first page, as the browser sees it. All its other pages are below this path.
    pub(in crate::http) home: Secret,
    id: Hash,
}

/// A session that has just begun.
pub(in crate::http) struct NewSession {
    /// See [`DashboardSession::home`].
    pub(in crate::http) home: Secret,
    /// The `Set-Cookie` header.
    pub(in crate::http) cookie: HeaderValue,
}

impl DashboardSession {
    /// The name of the key, or the terminal, for people.
    pub(in crate::http) fn name(&self) -> &str {
        match &self.caller {
            Caller::Key(key) => &key.name,
            Caller::Control => "the terminal",
        }
    }

    /// Whether it began by a link from the terminal, without a key.
    pub(in crate::http) fn is_of_terminal(&self) -> bool {
        matches!(self.caller, Caller::Control)
    }

    /// Identifies the session, and gives no access to it.
    pub(in crate::http) fn id(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.id)
    }
}

impl DashboardSessions {
    /// Starts without sessions, for the dashboard beside `redirect_uri`.
    pub(in crate::http) fn new(keys: Arc<ApiKeys>, clock: Arc<dyn Clock>, redirect_uri: &str) -> Self {
        let path = Url::parse(redirect_uri).map(|url| url.path().to_owned()).unwrap_or_default();
        Self {
            keys,
            clock,
            cookies: Cookies { secure: redirect_uri.starts_with("https:") },
            home: format!("{}/dashboard", path.strip_suffix("/oauth").unwrap_or_default()),
            table: Mutex::default(),
            links: LoginLinks::default(),
        }
    }

    /// The dashboard's path as browsers see it (behind a proxy, with the prefix), above the paths of all
    /// sessions.
    pub(in crate::http) fn home(&self) -> &str {
        &self.home
    }

    /// One-time links that begin sessions.
    pub(in crate::http) fn links(&self) -> &LoginLinks {
        &self.links
    }

    pub(in crate::http) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Authenticates the session by the cookie in `headers` and by `part`, the random part of the path. The
    /// session counts as used now.
    pub(in crate::http) fn authenticate(&self, headers: &HeaderMap, part: &str) -> Option<DashboardSession> {
        self.lookup(headers, part, |kept, now| kept.seen = now)
    }

    /// The same, but the session does not count as used. For requests that browsers send by themselves.
    pub(in crate::http) fn peek(&self, headers: &HeaderMap, part: &str) -> Option<DashboardSession> {
        self.lookup(headers, part, |_, _| ())
    }

    /// Whether `session` is still active. It does not count as used. For responses that stay open.
    pub(in crate::http) fn is_active(&self, session: &DashboardSession) -> bool {
        self.live_record(&mut self.table(), session.id, self.clock.now()).is_some()
    }

    /// Begins a session with new random secrets. `None` if the system gives no random bytes.
    pub(in crate::http) fn begin(&self, caller: Caller) -> Option<NewSession> {
        let (id, part, csrf, now) = (random_token()?, random_token()?, random_token()?, self.clock.now());
        let home = Secret::new(format!("{}/{}", self.home, part.expose()));
        let cookie = self.cookie(id.expose(), &home, None)?;
        let mut table = self.table();
        if table.len() >= MAX_SESSIONS {
            table.retain(|_, kept| kept.is_live(now));
        }
        if table.len() >= MAX_SESSIONS {
            let stalest = table.iter().min_by_key(|(_, kept)| kept.seen).map(|(id, _)| *id);
            stalest.and_then(|id| table.remove(&id));
        }
        let path = sha256(part.expose());
        table.insert(
            sha256(id.expose()),
            SessionRecord { caller, csrf, path, begun: now, seen: now, forgotten: None },
        );
        Some(NewSession { home, cookie })
    }

    /// Records for the next pages of `session` that it forgot `person`, and the person's name.
    pub(in crate::http) fn remember_forgotten(
        &self,
        session: &DashboardSession,
        person: PersonId,
        name: String,
    ) {
        if let Some(kept) = self.table().get_mut(&session.id) {
            kept.forgotten = Some((person, name));
        }
    }

    /// The name of `person`, if `session` forgot this person last.
    pub(in crate::http) fn forgotten_name(
        &self,
        session: &DashboardSession,
        person: &PersonId,
    ) -> Option<String> {
        let table = self.table();
        let (id, name) = table.get(&session.id)?.forgotten.as_ref()?;
        (id == person).then(|| name.clone())
    }

    /// Ends a session. Returns the `Set-Cookie` header that removes its cookie.
    pub(in crate::http) fn end(&self, session: &DashboardSession) -> Option<HeaderValue> {
        self.table().remove(&session.id);
        self.cookie("", &session.home, Some(Duration::ZERO))
    }

    /// Ends every session of the same key, or every session that began by a link from the control socket.
    /// Returns their number, and the `Set-Cookie` header that removes the cookie of `session`.
    pub(in crate::http) fn end_all(&self, session: &DashboardSession) -> (usize, Option<HeaderValue>) {
        let mut table = self.table();
        let before = table.len();
        table.retain(|_, kept| !is_same(&kept.caller, &session.caller));
        (before - table.len(), self.cookie("", &session.home, Some(Duration::ZERO)))
    }

    fn lookup(
        &self,
        headers: &HeaderMap,
        part: &str,
        note: fn(&mut SessionRecord, UnixTime),
    ) -> Option<DashboardSession> {
        let (now, path) = (self.clock.now(), sha256(part));
        // Other ports of this host may set a cookie of the same name, so all of them are tried.
        let ids = self.cookies.values(headers, COOKIE).map(sha256);
        let mut table = self.table();
        for id in ids {
            let Some(kept) = self.live_record(&mut table, id, now) else { continue };
            if verify_slices_are_equal(&kept.path, &path).is_ok() {
                note(kept, now);
                let home = Secret::new(format!("{}/{part}", self.home));
                return Some(DashboardSession {
                    caller: kept.caller.clone(),
                    csrf: kept.csrf.clone(),
                    home,
                    id,
                });
            }
        }
        None
    }

    /// The session with this id and the current record of its key. A session that has ended is removed.
    fn live_record<'t>(
        &self,
        table: &'t mut HashMap<Hash, SessionRecord>,
        id: Hash,
        now: UnixTime,
    ) -> Option<&'t mut SessionRecord> {
        let kept = table.get_mut(&id)?;
        // The key's current rights count, not those that it had when the session began.
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

    fn table(&self) -> MutexGuard<'_, HashMap<Hash, SessionRecord>> {
        self.table.lock()
    }

    /// The `Set-Cookie` header for the pages of one session. The cookie is `SameSite=Strict`; the sign-in
    /// link from a terminal works nevertheless, because it needs no cookie.
    fn cookie(&self, id: &str, home: &Secret, keep: Option<Duration>) -> Option<HeaderValue> {
        self.cookies.set(CookieScope::Path(home.expose()), COOKIE, id, keep)
    }
}

/// Whether both are the same key, or both the control socket.
fn is_same(one: &Caller, other: &Caller) -> bool {
    let of_key = |caller: &Caller| match caller {
        Caller::Control => None,
        Caller::Key(key) => Some(key.hash),
    };
    of_key(one) == of_key(other)
}

impl SessionRecord {
    /// A clock that was set back far counts as idle time.
    fn is_live(&self, now: UnixTime) -> bool {
        now < self.begun + SESSION_TTL && now < self.seen + IDLE_TIMEOUT && self.seen < now + IDLE_TIMEOUT
    }
}
