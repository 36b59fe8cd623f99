//! After a consent: the bot adds the person to the space, and the browser may see it there, as that person.
//!
//! Nothing of it can spoil the consent: it was kept before.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;

use crate::consent::Consents;
use crate::consent::Granted;
use crate::domain::person::PersonId;
use crate::domain::visit::VISIT;
use crate::domain::visit::Visit;
use crate::store::StoreError;
use crate::webex::NotAdded;
use crate::webex::Space;

/// Binds a sealed visit to its use.
const PLACE: &str = "visit";

/// The bot adds so many at once.
const AT_ONCE: usize = 16;

/// Remembered as added, so that the bot need not ask again; when it is full it begins anew.
const MOST: usize = 10_000;

/// What a browser keeps to be let into the space.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Sealed: safe to be carried by the browser.
    pub sealed: String,
    /// How long the browser should carry it.
    pub keep: Duration,
}

/// The space, and who is known to be in it.
pub(super) struct Guests {
    space: Space,
    adding: Semaphore,
    added: Mutex<BTreeSet<PersonId>>,
}

impl Guests {
    pub(super) fn of(space: Space) -> Self {
        Self { space, adding: Semaphore::new(AT_ONCE), added: Mutex::default() }
    }

    /// It is only a shortcut for who looks at the space again and again.
    fn is_added(&self, person: &PersonId) -> bool {
        self.added.lock().unwrap_or_else(PoisonError::into_inner).contains(person)
    }

    fn remember(&self, person: &PersonId) {
        let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        if added.len() >= MOST {
            added.clear();
        }
        added.insert(person.clone());
    }
}

impl Consents {
    /// The same with a space that people are added to.
    #[must_use]
    pub fn with_space(self, space: Option<Space>) -> Self {
        Self { guests: space.map(Guests::of), ..self }
    }

    /// Webex's id of the space, if there is one.
    #[must_use]
    pub fn space_id(&self) -> Option<&str> {
        Some(&self.guests.as_ref()?.space.id)
    }

    /// What the browser keeps that `granted` was given in. `None` without a space.
    #[must_use]
    pub fn invite(&self, granted: &Granted) -> Option<Invitation> {
        self.guests.as_ref()?;
        let visit = Visit::new(granted.person.id.clone(), granted.obtained_at, self.clock.now());
        let sealed = self.sealer.seal(&visit.to_text(), PLACE).ok()?;
        Some(Invitation { sealed: URL_SAFE_NO_PAD.encode(sealed), keep: VISIT })
    }

    /// Whom a browser that shows `sealed` stands for. Nobody, if it was not made here, took too long, or if the person
    /// was forgotten or has consented anew since.
    ///
    /// # Errors
    /// The store's.
    pub async fn visitor(&self, sealed: &str) -> Result<Option<PersonId>, StoreError> {
        let opened = URL_SAFE_NO_PAD.decode(sealed).ok().and_then(|it| self.sealer.open(&it, PLACE).ok());
        let Some(visit) = opened.as_ref().and_then(Visit::from_text) else { return Ok(None) };
        let grant = self.view.look(visit.person()).await?;
        let now = self.clock.now();
        Ok(grant.filter(|grant| visit.holds(grant.obtained_at, now)).map(|_| visit.person().clone()))
    }

    /// After a consent the bot adds `person` to the space, also if it did so before: somebody may have removed them
    /// since. Waits for its turn, unless the end, `stopping`, comes first.
    ///
    /// # Errors
    /// [`NotAdded`] says why, and so does the log.
    pub async fn welcome(
        &self,
        person: &PersonId,
        stopping: impl Future<Output = ()>,
    ) -> Result<(), NotAdded> {
        let Some(guests) = &self.guests else { return Ok(()) };
        let place = tokio::select! {
            biased;
            place = guests.adding.acquire() => place.ok(),
            () = stopping => None,
        };
        match place {
            Some(place) => self.add(guests, person, place).await,
            None => Err(not_added(person, NotAdded("the daemon ends".to_owned()))),
        }
    }

    /// The bot adds `person`, who looks at the space, unless it did so before.
    ///
    /// # Errors
    /// [`NotAdded`] says why, and so does the log; it may be tried again.
    pub async fn add_to_space(&self, person: &PersonId) -> Result<(), NotAdded> {
        let Some(guests) = self.guests.as_ref().filter(|guests| !guests.is_added(person)) else {
            return Ok(());
        };
        let too_many = |_| NotAdded("very many people are being added at this moment".to_owned());
        let place = guests.adding.try_acquire().map_err(|full| not_added(person, too_many(full)))?;
        self.add(guests, person, place).await
    }

    async fn add(
        &self,
        guests: &Guests,
        person: &PersonId,
        _place: SemaphorePermit<'_>,
    ) -> Result<(), NotAdded> {
        self.webex.add_to(&guests.space, person).await.map_err(|why| not_added(person, why))?;
        guests.remember(person);
        log::info!("{person}: in the space");
        Ok(())
    }
}

/// Tells it to the log.
fn not_added(person: &PersonId, why: NotAdded) -> NotAdded {
    log::warn!("{person}: the bot could not add them to the space: {why}");
    why
}
