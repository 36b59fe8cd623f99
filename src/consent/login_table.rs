//! The pending and finished logins of this process.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::consent::random::random_token;
use crate::consent::types::ConsentError;
use crate::domain::person::PersonId;
use crate::domain::ticket::LoginId;

/// Maximum number of logins: more than operators start within the lifetime of a login.
const MAX_PENDING: usize = 1_000;

/// How long a finished login is remembered, so that a late client still learns its result.
const MAX_FINISHED: Duration = Duration::from_secs(300);

/// Maximum wait of one status request; it stays below the timeouts of proxies.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

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

    pub(super) fn is_pending(&self, id: &LoginId) -> bool {
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

    pub(super) async fn status(&self, id: &LoginId, wait: Duration) -> Option<LoginState> {
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
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ticket::TICKET_TTL;

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
