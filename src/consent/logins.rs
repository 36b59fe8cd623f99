//! Logins: consents that a command or another client waits for.
//!
//! They are in memory only. A restart drops them, but a consent that was started for a login is still stored.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout_at;
use url::Url;

use crate::consent::BegunConsent;
use crate::consent::ConsentError;
use crate::consent::ConsentService;
use crate::consent::Granted;
use crate::consent::random_token;
use crate::domain::person::Email;
use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::domain::ticket::LoginId;
use crate::domain::ticket::TICKET_TTL;

/// Maximum number of logins: more than operators start within the lifetime of a login.
const MAX_PENDING: usize = 1_000;

/// How long a finished login is remembered, so that a late client still learns its result.
const MAX_FINISHED: Duration = Duration::from_secs(300);

/// Maximum wait of one status request; it stays below the timeouts of proxies.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A started login.
#[derive(Clone, Debug)]
pub struct LoginRecord {
    /// The login's id, with which its state is read.
    pub id: String,
    /// The URL that the person opens in any browser.
    pub url: String,
    /// When the login expires.
    pub expires_in: Duration,
}

/// The state of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginState {
    /// The person has not consented yet.
    Pending,
    /// The person who consented.
    Granted(PersonId),
    /// Why the login failed, as an explanation for people.
    Failed(String),
}

impl ConsentService {
    /// Starts a login. The person who opens its URL in a browser consents for it. `hint` preselects the
    /// account.
    ///
    /// # Errors
    /// [`ConsentError::Crowded`] when the limit of pending logins is reached, [`ConsentError::NoTicket`]
    /// without random bytes.
    pub fn begin_login(&self, hint: Option<Email>) -> Result<LoginRecord, ConsentError> {
        let id = self.logins.begin(TICKET_TTL)?;
        let mut url =
            Url::parse(&self.webex.integration().redirect_uri).map_err(|_| ConsentError::NoTicket)?;
        url.query_pairs_mut().append_pair("login", id.as_str());
        if let Some(email) = hint {
            url.query_pairs_mut().append_pair("person", email.as_str());
        }
        Ok(LoginRecord { id: id.as_str().to_owned(), url: url.into(), expires_in: TICKET_TTL })
    }

    /// Starts the consent of `login` in the browser that opened its URL.
    ///
    /// # Errors
    /// [`ConsentError::Stale`] if the login is unknown, finished or expired; otherwise as
    /// [`ConsentService::begin`].
    pub fn begin_for(&self, login: &str, hint: Option<&Email>) -> Result<BegunConsent, ConsentError> {
        let login = LoginId::parse(login).filter(|id| self.logins.is_pending(id));
        self.begin_with(hint, Some(login.ok_or(ConsentError::Stale)?))
    }

    /// Handles a browser that Webex sent back with `error` instead of a code. A login that waits for this
    /// ticket fails, unless the error is temporary. The ticket stays valid, so the person may still consent.
    /// Returns whether the browser has the ticket.
    pub fn declined(&self, error: &str, state: &Secret, sealed: Option<&str>) -> bool {
        let Some(ticket) = self.ticket_of(state, sealed) else { return false };
        let Some(login) = ticket.login() else { return true };
        let why = match error {
            "server_error" | "temporarily_unavailable" => return true,
            "access_denied" => "the person declined at Webex",
            "invalid_scope" => {
                "Webex does not know the scopes asked for: MY_APP_SCOPES and the integration must agree"
            }
            _ => "Webex ended the consent; the page in the browser has the details",
        };
        self.logins.tell(login, LoginState::Failed(why.to_owned()));
        true
    }

    /// The state of a login. Waits up to `wait`, but at most 30 s, for its result. `None` if the login is
    /// unknown or was dropped.
    pub async fn login_status(&self, id: &str, wait: Duration) -> Option<LoginState> {
        self.logins.status(&LoginId::parse(id)?, wait).await
    }

    /// Reports the result of a consent to its login. A temporary failure leaves the login pending.
    pub(super) fn tell(&self, login: &LoginId, finished: &Result<Granted, ConsentError>) {
        let state = match finished {
            Ok(granted) => LoginState::Granted(granted.person.id.clone()),
            Err(
                ConsentError::Unreachable { .. } | ConsentError::Busy { .. } | ConsentError::TooMany { .. },
            ) => return,
            Err(ConsentError::Store(_)) => {
                LoginState::Failed("the grant could not be stored; the daemon's log says why".to_owned())
            }
            Err(error) => LoginState::Failed(error.to_string()),
        };
        self.logins.tell(login, state);
    }
}

#[derive(Debug)]
struct LoginEntry {
    begun: Instant,
    ends: Instant,
    state: watch::Sender<LoginState>,
}

impl LoginEntry {
    fn is_pending(&self, now: Instant) -> bool {
        now < self.ends && *self.state.borrow() == LoginState::Pending
    }
}

/// The logins of this process.
#[derive(Debug, Default)]
pub(super) struct Logins(Mutex<BTreeMap<LoginId, LoginEntry>>);

impl Logins {
    /// Adds a login that expires after `patience`. If the limit is reached, the oldest finished login is
    /// dropped.
    pub(super) fn begin(&self, patience: Duration) -> Result<LoginId, ConsentError> {
        let id = LoginId::new(random_token()?);
        let now = Instant::now();
        let mut all = self.all();
        all.retain(|_, entry| now < entry.ends + MAX_FINISHED);
        if all.len() >= MAX_PENDING {
            let finished = all.iter().filter(|(_, entry)| !entry.is_pending(now));
            let oldest = finished.min_by_key(|(_, entry)| entry.begun).map(|(id, _)| id.clone());
            all.remove(&oldest.ok_or(ConsentError::Crowded)?);
        }
        let state = watch::Sender::new(LoginState::Pending);
        all.insert(id.clone(), LoginEntry { begun: now, ends: now + patience, state });
        Ok(id)
    }

    fn is_pending(&self, id: &LoginId) -> bool {
        self.all().get(id).is_some_and(|entry| entry.is_pending(Instant::now()))
    }

    /// Sets the result. Only the first one counts, because the client stops waiting then.
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
        // An error means that the wait is over or the entry was dropped; the last state counts.
        let _ = timeout_at(until, state.wait_for(|state| *state != LoginState::Pending)).await;
        let seen = state.borrow().clone();
        let late = seen == LoginState::Pending && ends <= Instant::now();
        Some(if late {
            LoginState::Failed("the consent was not given in time; start again".to_owned())
        } else {
            seen
        })
    }

    fn watch(&self, id: &LoginId) -> Option<(watch::Receiver<LoginState>, Instant)> {
        let all = self.all();
        let entry = all.get(id).filter(|entry| Instant::now() < entry.ends + MAX_FINISHED)?;
        Some((entry.state.subscribe(), entry.ends))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<LoginId, LoginEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn finished_logins_are_dropped_for_new_ones_and_pending_ones_are_not() {
        let logins = Logins::default();
        let first = logins.begin(TICKET_TTL).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = logins.begin(TICKET_TTL).unwrap();
        for _ in 2..MAX_PENDING {
            logins.begin(TICKET_TTL).unwrap();
        }
        assert!(matches!(logins.begin(TICKET_TTL), Err(ConsentError::Crowded)));
        for id in [&first, &second] {
            logins.tell(id, LoginState::Failed(String::new()));
        }
        logins.begin(TICKET_TTL).unwrap();
        assert_eq!(logins.status(&first, Duration::ZERO).await, None, "the oldest was dropped");
        assert!(logins.status(&second, Duration::ZERO).await.is_some());
        tokio::time::advance(TICKET_TTL + MAX_FINISHED).await;
        logins.begin(TICKET_TTL).unwrap();
        assert_eq!(logins.all().len(), 1, "all others have expired");
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_first_result_counts() {
        let logins = Logins::default();
        let id = logins.begin(TICKET_TTL).unwrap();
        logins.tell(&id, LoginState::Failed("one".to_owned()));
        logins.tell(&id, LoginState::Failed("two".to_owned()));
        assert_eq!(logins.status(&id, LONGEST_WAIT).await, Some(LoginState::Failed("one".to_owned())));
    }
}
