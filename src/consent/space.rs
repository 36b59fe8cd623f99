//! After a consent, the bot adds the person to the space, and the browser may open the space as that person.
//!
//! A failure here does not affect the consent, which is stored before.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::SemaphorePermit;

use crate::consent::random::random_token;
use crate::consent::service::ConsentService;
use crate::consent::space_members::SpaceMembers;
use crate::consent::types::Granted;
use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::domain::space_session::SPACE_SESSION_TTL;
use crate::domain::space_session::SpaceSession;
use crate::store::StoreError;
use crate::webex::NotAdded;
use crate::webex::Space;

/// Binds a sealed cookie to its purpose.
const PLACE: &str = "visit";

/// The cookie that lets a browser open the space.
#[derive(Clone, Debug)]
pub struct SpaceCookie {
    /// The sealed cookie value, which the browser may carry.
    pub sealed: String,
    /// The random last part of the cookie's path. The browser must present it too, and the other ports of the
    /// host do not learn it.
    pub part: Secret,
    /// How long the browser should keep it.
    pub keep: Duration,
}

impl ConsentService {
    /// Adds people to this space after their consents; `None`: to none.
    #[must_use]
    pub fn with_space(self, space: Option<Space>) -> Self {
        Self { members: space.map(SpaceMembers::of), ..self }
    }

    /// Webex's id of the space; `None` without a space.
    #[must_use]
    pub fn space_id(&self) -> Option<&str> {
        Some(&self.members.as_ref()?.space.id)
    }

    /// The cookie for the browser in which `granted` was given; `None` without a space.
    #[must_use]
    pub fn issue_cookie(&self, granted: &Granted) -> Option<SpaceCookie> {
        self.members.as_ref()?;
        let (person, now) = (granted.person.id.clone(), self.context.clock.now());
        let visit = SpaceSession::new(person, granted.obtained_at, random_token().ok()?, now);
        let sealed = self.sealer.seal(&visit.to_text(), PLACE).ok()?;
        Some(SpaceCookie {
            sealed: URL_SAFE_NO_PAD.encode(sealed),
            part: visit.part().clone(),
            keep: SPACE_SESSION_TTL,
        })
    }

    /// The session of a browser that presents one of `sealed` and the random part of its path. `None` if none
    /// of them was issued here. The session may have ended since.
    pub fn find_session<'a>(
        &self,
        sealed: impl IntoIterator<Item = &'a str>,
        part: &str,
    ) -> Option<SpaceSession> {
        let part = Secret::new(part.to_owned());
        let open = |sealed: &str| self.sealer.open(&URL_SAFE_NO_PAD.decode(sealed).ok()?, PLACE).ok();
        let visits = sealed.into_iter().filter_map(|sealed| SpaceSession::from_text(&open(sealed)?));
        // Compared in constant time, because it is a secret.
        visits.into_iter().find(|visit| *visit.part() == part)
    }

    /// The person of this session. `None` if the session has expired, or if the person was removed or has
    /// consented again since.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn session_person(&self, visit: &SpaceSession) -> Result<Option<PersonId>, StoreError> {
        let grant = self.context.cache.get_uncached(visit.person()).await?;
        let now = self.context.clock.now();
        Ok(grant.filter(|grant| visit.holds(grant.obtained_at, now)).map(|_| visit.person().clone()))
    }

    /// Adds `person` to the space after a consent, even if the bot did so before, because a moderator may
    /// have removed the person since. Waits for a free slot, unless `stopping` completes first.
    ///
    /// # Errors
    /// [`NotAdded`] says why; it is also logged.
    pub async fn add_member(
        &self,
        person: &PersonId,
        stopping: impl Future<Output = ()>,
    ) -> Result<(), NotAdded> {
        let Some(members) = &self.members else { return Ok(()) };
        let place = tokio::select! {
            biased;
            place = members.adding.acquire() => place.ok(),
            () = stopping => None,
        };
        match place {
            Some(place) => self.add(members, person, place).await,
            None => Err(not_added(person, NotAdded::new("the daemon stops"))),
        }
    }

    /// Adds `person`, who opens the space, unless the bot did so before.
    ///
    /// # Errors
    /// [`NotAdded`] says why; it is also logged, and the caller may try again.
    pub async fn add_to_space(&self, person: &PersonId) -> Result<(), NotAdded> {
        let Some(members) = self.members.as_ref().filter(|members| !members.is_added(person)) else {
            return Ok(());
        };
        let too_many = |_| NotAdded::new("too many persons are being added at the moment");
        let place = members.adding.try_acquire().map_err(|full| not_added(person, too_many(full)))?;
        self.add(members, person, place).await
    }

    async fn add(
        &self,
        members: &SpaceMembers,
        person: &PersonId,
        _place: SemaphorePermit<'_>,
    ) -> Result<(), NotAdded> {
        self.context.webex.add_to(&members.space, person).await.map_err(|why| not_added(person, why))?;
        members.remember(person);
        log::info!(person = person.as_str(); "the bot added a person to the space");
        Ok(())
    }
}

/// Logs the failure.
fn not_added(person: &PersonId, why: NotAdded) -> NotAdded {
    let advice = if why.is_token_refused { "; is BOT_TOKEN (or BOT_TOKEN_FILE) right?" } else { "" };
    log::warn!(person = person.as_str(); "the bot could not add a person to the space: {why}{advice}");
    why
}
