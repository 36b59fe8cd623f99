//! The breaker at work: in memory, where every refresh asks it, and in the store, where it survives a restart.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::Semaphore;

use crate::domain::breaker::Breaker;
use crate::domain::breaker::CLOSED;
use crate::domain::time::UnixTime;
use crate::store::Note;
use crate::store::Store;
use crate::store::StoreError;

/// A store in trouble never keeps the breaker from its work: what could not be kept is kept later.
#[derive(Debug)]
pub(super) struct Gate {
    breaker: Mutex<Breaker>,
    /// What the store has of it; `None` until that is known.
    kept: Mutex<Option<String>>,
    /// One writer at a time, so that the last turn is the one that stays.
    writing: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self { breaker: Mutex::new(Breaker::default()), kept: Mutex::new(None), writing: Semaphore::new(1) }
    }
}

impl Gate {
    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Option<String>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with the breaker that the last run left, unless this run has one of its own already.
    pub(super) async fn recall(&self, store: &dyn Store, now: UnixTime) -> Result<(), StoreError> {
        if self.kept().is_some() {
            return Ok(());
        }
        let text = store.recall(Note::Breaker).await?;
        let left = text.as_deref().map(|text| Breaker::from_text(text, now));
        if let Some(None) = left {
            log::warn!("why refreshes paused before this start cannot be read; going on as if they had not");
        }
        let mut breaker = self.breaker();
        if breaker.trouble().is_none() {
            *breaker = left.flatten().unwrap_or_default();
            *self.kept() = Some(breaker.to_text());
        }
        if let Some(pause) = breaker.pause() {
            log::info!("refreshes paused before this start: {}", pause.cause);
        }
        Ok(())
    }

    /// Keeps the breaker if it has turned since it was last kept.
    pub(super) async fn keep(&self, store: &dyn Store) {
        if self.news().is_none() {
            return;
        }
        let Ok(_turn) = self.writing.acquire().await else { return };
        let Some(text) = self.news() else { return };
        match store.remember(Note::Breaker, text.clone()).await {
            Ok(()) => *self.kept() = Some(text),
            Err(why) => log::warn!("whether refreshes pause could not be kept: {why}"),
        }
    }

    /// What the store does not have yet. Nothing is news while it is not known what it has, and all is well.
    fn news(&self) -> Option<String> {
        let text = self.breaker().to_text();
        let known = self.kept().as_deref().unwrap_or(CLOSED) == text;
        (!known).then_some(text)
    }
}
