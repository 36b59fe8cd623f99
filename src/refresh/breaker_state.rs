//! The state of the circuit breaker: in memory, where every refresh reads it, and in the store, where it survives a restart.

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::sync::Semaphore;

use crate::domain::breaker::Breaker;
use crate::domain::breaker::CLOSED;
use crate::domain::breaker::Role;
use crate::domain::breaker::SentRefresh;
use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::schedule::Policy;
use crate::domain::time::UnixTime;
use crate::store::MetaKey;
use crate::store::StoreError;
use crate::store::StoreMetadata;

/// The breaker and its stored state. If the store fails, the breaker works on, and its state is stored later.
#[derive(Debug)]
pub(super) struct BreakerState {
    breaker: Mutex<Breaker>,
    /// The stored state; `None` until it is known.
    saved: Mutex<Option<String>>,
    /// Permits one writer at a time, so that the last change is the one that stays.
    writing: Semaphore,
}

impl Default for BreakerState {
    fn default() -> Self {
        Self { breaker: Mutex::new(Breaker::default()), saved: Mutex::new(None), writing: Semaphore::new(1) }
    }
}

impl BreakerState {
    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock()
    }

    fn kept(&self) -> MutexGuard<'_, Option<String>> {
        self.saved.lock()
    }

    /// Loads the state that the last run stored, unless the breaker has opened in this run already.
    pub(super) async fn load(&self, store: &dyn StoreMetadata, now: UnixTime) -> Result<(), StoreError> {
        if self.kept().is_some() {
            return Ok(());
        }
        let text = store.get_meta(MetaKey::Breaker).await?;
        let left = text.as_deref().map(|text| Breaker::from_text(text, now));
        if let Some(None) = left {
            log::warn!(
                "cannot read the stored state of the circuit breaker; continuing as if refreshes had not paused"
            );
        }
        let mut breaker = self.breaker();
        if breaker.trouble().is_none() {
            let left = left.flatten().unwrap_or_default();
            *self.kept() = Some(left.to_text());
            breaker.restore(&left);
        }
        if let Some(pause) = breaker.pause() {
            log::info!("refreshes paused before this start: {}", pause.cause);
        }
        Ok(())
    }

    /// Stores the state if it has changed since it was last stored.
    pub(super) async fn save(&self, store: &dyn StoreMetadata) {
        if self.unsaved().is_none() {
            return;
        }
        let Ok(_turn) = self.writing.acquire().await else { return };
        let Some(text) = self.unsaved() else { return };
        match store.set_meta(MetaKey::Breaker, text.clone()).await {
            Ok(()) => *self.kept() = Some(text),
            Err(why) => log::warn!("could not save the circuit-breaker state: {why}"),
        }
    }

    /// The state, if it is not stored yet. While the stored state is unknown, a closed breaker counts as stored.
    fn unsaved(&self) -> Option<String> {
        let text = self.breaker().to_text();
        let known = self.kept().as_deref().unwrap_or(CLOSED) == text;
        (!known).then_some(text)
    }
}

/// What the breaker must know about a refresh beside the response.
pub(super) fn sent_refresh(
    grant: &Grant,
    (role, on_demand, only_person): (Role, bool, bool),
    now: UnixTime,
) -> SentRefresh {
    SentRefresh {
        person: grant.person.id.clone(),
        role,
        on_demand,
        previous: grant.last.outcome,
        previous_at: grant.last.at,
        refused_since: grant.refused_since,
        ended: grant.status == GrantStatus::ConsentNeeded,
        token_dead: grant.life_left(now).is_zero(),
        confirm_after: Policy::confirm_after(grant.dates().lifetime()),
        only_person,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::breaker::Cause;
    use crate::store::memory::MemoryStore;

    const NOW: UnixTime = UnixTime(1_795_000_000_000);

    fn open(cause: &str) -> String {
        format!("open {cause} {now} {now} {} 1", NOW.0 + 60_000, now = NOW.0)
    }

    #[tokio::test]
    async fn nothing_is_saved_while_the_breaker_is_closed_and_the_stored_state_is_unknown() {
        let (state, store) = (BreakerState::default(), MemoryStore::new());
        state.save(&store).await;
        assert_eq!(store.get_meta(MetaKey::Breaker).await, Ok(None));
    }

    #[tokio::test]
    async fn this_runs_state_is_kept_and_the_last_runs_is_read_once() {
        let (state, store) = (BreakerState::default(), MemoryStore::new());
        store.set_meta(MetaKey::Breaker, open("busy")).await.unwrap();
        *state.breaker() = Breaker::from_text(&open("many_failing"), NOW).unwrap();
        state.load(&store, NOW).await.unwrap();
        assert_eq!(state.breaker().trouble(), Some(Cause::ManyFailing));
        *state.breaker() = Breaker::default();
        state.load(&store, NOW).await.unwrap();
        assert_eq!(
            state.breaker().trouble(),
            Some(Cause::Busy),
            "the stored state is loaded if this run has none"
        );
        *state.breaker() = Breaker::default();
        state.load(&store, NOW).await.unwrap();
        assert_eq!(state.breaker().trouble(), None, "the stored state is loaded only once");
    }
}
