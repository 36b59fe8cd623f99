//! Logins: consents that somebody waits for, at a terminal or elsewhere.
//!
//! In memory only. After a restart nobody waits any more; a consent that was begun for a login is kept all the same.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout_at;
use url::Url;

use crate::consent::Begun;
use crate::consent::ConsentError;
use crate::consent::Consents;
use crate::consent::Granted;
use crate::consent::random;
use crate::domain::person::Email;
use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::domain::ticket::LoginId;
use crate::domain::ticket::PATIENCE;

/// Logins remembered at once: more than an operator's terminals will ever begin within one patience.
const MOST: usize = 1_000;

/// How long one is remembered after its end, so that whoever asks late still hears how it ended.
const REMEMBERED: Duration = Duration::from_secs(300);

/// The longest wait of one question: below the patience of proxies.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A login that has begun.
#[derive(Clone, Debug)]
pub struct Login {
    /// To ask for its state with.
    pub id: String,
    /// Where the person goes, in any browser.
    pub url: String,
    /// When it ends by itself.
    pub expires_in: Duration,
}

/// How a login is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginState {
    /// Nobody has consented yet.
    Pending,
    /// Who consented.
    Granted(PersonId),
    /// Why nobody will. Fit for people.
    Failed(String),
}

impl Consents {
    /// Begins a login: whoever opens its address in a browser consents into it. `hint` preselects the account.
    ///
    /// # Errors
    /// [`ConsentError::Crowded`] when too many wait, [`ConsentError::NoTicket`] without random bytes.
    pub fn begin_login(&self, hint: Option<Email>) -> Result<Login, ConsentError> {
        let id = self.logins.begin(PATIENCE)?;
        let mut url =
            Url::parse(&self.webex.integration().redirect_uri).map_err(|_| ConsentError::NoTicket)?;
        url.query_pairs_mut().append_pair("login", id.as_str());
        if let Some(email) = hint {
            url.query_pairs_mut().append_pair("person", email.as_str());
        }
        Ok(Login { id: id.as_str().to_owned(), url: url.into(), expires_in: PATIENCE })
    }

    /// Begins the consent of the login called `login` in the browser that opened its address.
    ///
    /// # Errors
    /// [`ConsentError::Stale`] if it is unknown, finished, or took too long; else as [`Consents::begin`].
    pub fn begin_for(&self, login: &str, hint: Option<&Email>) -> Result<Begun, ConsentError> {
        let login = LoginId::parse(login).filter(|id| self.logins.is_pending(id));
        self.begin_with(hint, Some(login.ok_or(ConsentError::Stale)?))
    }

    /// Webex sent the browser back with `error` instead of a code. The login that waits for this ticket learns it,
    /// unless it may go better at once. Nothing else changes: the person may think better of it.
    /// Whether the browser has the ticket.
    pub fn declined(&self, error: &str, state: &Secret, sealed: Option<&str>) -> bool {
        let Some(ticket) = self.ticket_of(state, sealed) else { return false };
        let Some(login) = ticket.login() else { return true };
        let why = match error {
            "server_error" | "temporarily_unavailable" => return true,
            "access_denied" => "the person declined at Webex",
            "invalid_scope" => {
                "Webex does not know the scopes asked for: MY_APP_SCOPES and the integration must agree"
            }
            _ => "Webex ended the consent; the page in the browser says more",
        };
        self.logins.tell(login, LoginState::Failed(why.to_owned()));
        true
    }

    /// How a login is doing; waits up to `wait`, and never longer than 30 s, for its end. `None`: there is none of
    /// this name, or not any more.
    pub async fn login_status(&self, id: &str, wait: Duration) -> Option<LoginState> {
        self.logins.status(&LoginId::parse(id)?, wait).await
    }

    /// What a consent came to, told to the login that waits for it; trouble that may pass is no end.
    pub(super) fn tell(&self, login: &LoginId, finished: &Result<Granted, ConsentError>) {
        let state = match finished {
            Ok(granted) => LoginState::Granted(granted.person.id.clone()),
            Err(
                ConsentError::Unreachable { .. } | ConsentError::Busy { .. } | ConsentError::TooMany { .. },
            ) => return,
            Err(ConsentError::Store(_)) => {
                LoginState::Failed("the grant could not be kept; the daemon's log says why".to_owned())
            }
            Err(error) => LoginState::Failed(error.to_string()),
        };
        self.logins.tell(login, state);
    }
}

#[derive(Debug)]
struct Entry {
    begun: Instant,
    ends: Instant,
    state: watch::Sender<LoginState>,
}

impl Entry {
    fn is_pending(&self, now: Instant) -> bool {
        now < self.ends && *self.state.borrow() == LoginState::Pending
    }
}

/// The logins of this process.
#[derive(Debug, Default)]
pub(super) struct Logins(Mutex<BTreeMap<LoginId, Entry>>);

impl Logins {
    /// A new login that ends after `patience`. If there is no room the oldest finished one goes.
    pub(super) fn begin(&self, patience: Duration) -> Result<LoginId, ConsentError> {
        let id = LoginId::new(random()?);
        let now = Instant::now();
        let mut all = self.all();
        all.retain(|_, entry| now < entry.ends + REMEMBERED);
        if all.len() >= MOST {
            let finished = all.iter().filter(|(_, entry)| !entry.is_pending(now));
            let oldest = finished.min_by_key(|(_, entry)| entry.begun).map(|(id, _)| id.clone());
            all.remove(&oldest.ok_or(ConsentError::Crowded)?);
        }
        let state = watch::Sender::new(LoginState::Pending);
        all.insert(id.clone(), Entry { begun: now, ends: now + patience, state });
        Ok(id)
    }

    fn is_pending(&self, id: &LoginId) -> bool {
        self.all().get(id).is_some_and(|entry| entry.is_pending(Instant::now()))
    }

    /// The first end counts: whoever waited has left with it.
    pub(super) fn tell(&self, id: &LoginId, end: LoginState) {
        let all = self.all();
        let Some(entry) = all.get(id) else { return };
        if *entry.state.borrow() == LoginState::Pending {
            entry.state.send_replace(end);
        }
    }

    async fn status(&self, id: &LoginId, wait: Duration) -> Option<LoginState> {
        let (mut state, ends) = self.watch(id)?;
        let until = ends.min(Instant::now() + wait.min(LONGEST_WAIT));
        // An error is the end of the wait, or of the entry: what was seen last counts.
        let _ = timeout_at(until, state.wait_for(|state| *state != LoginState::Pending)).await;
        let seen = state.borrow().clone();
        let late = seen == LoginState::Pending && ends <= Instant::now();
        Some(if late { LoginState::Failed("nobody consented in time; begin again".to_owned()) } else { seen })
    }

    fn watch(&self, id: &LoginId) -> Option<(watch::Receiver<LoginState>, Instant)> {
        let all = self.all();
        let entry = all.get(id).filter(|entry| Instant::now() < entry.ends + REMEMBERED)?;
        Some((entry.state.subscribe(), entry.ends))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<LoginId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn finished_logins_make_room_and_waiting_ones_do_not() {
        let logins = Logins::default();
        let first = logins.begin(PATIENCE).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = logins.begin(PATIENCE).unwrap();
        for _ in 2..MOST {
            logins.begin(PATIENCE).unwrap();
        }
        assert!(matches!(logins.begin(PATIENCE), Err(ConsentError::Crowded)));
        for id in [&first, &second] {
            logins.tell(id, LoginState::Failed(String::new()));
        }
        logins.begin(PATIENCE).unwrap();
        assert_eq!(logins.status(&first, Duration::ZERO).await, None, "the oldest went");
        assert!(logins.status(&second, Duration::ZERO).await.is_some());
        tokio::time::advance(PATIENCE + REMEMBERED).await;
        logins.begin(PATIENCE).unwrap();
        assert_eq!(logins.all().len(), 1, "all others have ended");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_end_counts() {
        let logins = Logins::default();
        let id = logins.begin(PATIENCE).unwrap();
        logins.tell(&id, LoginState::Failed("one".to_owned()));
        logins.tell(&id, LoginState::Failed("two".to_owned()));
        assert_eq!(logins.status(&id, LONGEST_WAIT).await, Some(LoginState::Failed("one".to_owned())));
    }
}
