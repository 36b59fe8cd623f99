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
use crate::consent::random;
use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
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
    /// The last part of the path that must be shown with it, which no other port of the host learns.
    pub part: Secret,
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
        let (person, now) = (granted.person.id.clone(), self.clock.now());
        let visit = Visit::new(person, granted.obtained_at, random().ok()?, now);
        let sealed = self.sealer.seal(&visit.to_text(), PLACE).ok()?;
        Some(Invitation { sealed: URL_SAFE_NO_PAD.encode(sealed), part: visit.part().clone(), keep: VISIT })
    }

    /// The visit of a browser that shows one of `sealed` and the random part of its path; `None` if it was not made
    /// here. It may have ended since.
    pub fn visit<'a>(&self, sealed: impl IntoIterator<Item = &'a str>, part: &str) -> Option<Visit> {
        let part = Secret::new(part.to_owned());
        let open = |sealed: &str| self.sealer.open(&URL_SAFE_NO_PAD.decode(sealed).ok()?, PLACE).ok();
        let visits = sealed.into_iter().filter_map(|sealed| Visit::from_text(&open(sealed)?));
        // Compared in constant time, as secrets are.
        visits.into_iter().find(|visit| *visit.part() == part)
    }

    /// The person whom a browser with this visit stands for. `None` if it took too long, or if the person was forgotten
    /// or has consented anew since.
    ///
    /// # Errors
    /// The store's.
    pub async fn visitor(&self, visit: &Visit) -> Result<Option<PersonId>, StoreError> {
        let grant = self.view.show(visit.person()).await?;
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
