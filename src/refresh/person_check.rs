//! Compares the stored address and name of a person with Webex, now and then after a refresh.
//!
//! No refresh waits for such a check, and its response is no evidence for the breaker. A check that fails is repeated after
//! a later refresh.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::domain::grant::Grant;
use crate::domain::person::CHECK_AFTER_REFUSAL;
use crate::domain::person::CHECK_EVERY;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::refresh::refresher::Parts;
use crate::store::Store;
use crate::store::StoreError;
use crate::tasks::Tasks;
use crate::tokens::LiveView;
use crate::webex::Unknown;
use crate::webex::Webex;

/// Checks that may wait at once. Further ones are left out and follow after a later refresh. So the checks of many persons
/// who consented at once are spread over several days.
const MOST_WAITING: usize = 256;

/// Rate of checks as a share of the maximal rate of refreshes.
const SHARE_OF_PACE: f64 = 0.25;

/// Seconds between two checks if the rate of refreshes has no limit.
const UNPACED: f64 = 0.2;

/// Pause after a failure that may concern all persons, if Webex sends no `Retry-After`.
const BACK_OFF: Duration = Duration::from_secs(3600);

/// Shortest and longest pause that a `Retry-After` may cause.
const BACK_OFFS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(86_400));

/// Runs the checks, one at a time.
pub(super) struct PersonChecks {
    shared: Arc<Shared>,
    tasks: Tasks,
}

struct Shared {
    webex: Arc<Webex>,
    store: Arc<dyn Store>,
    view: Arc<LiveView>,
    clock: Arc<dyn Clock>,
    spacing: Duration,
    places: Arc<Semaphore>,
    /// Permits one check at a time.
    turn: Semaphore,
    resumes: Mutex<Option<Instant>>,
}

impl PersonChecks {
    pub(super) fn new(parts: &Parts) -> Self {
        let per_second = parts.pace.per_second * SHARE_OF_PACE;
        let shared = Shared {
            webex: parts.webex.clone(),
            store: parts.store.clone(),
            view: parts.view.clone(),
            clock: parts.clock.clone(),
            spacing: Duration::from_secs_f64(if per_second > 0.0 { 1.0 / per_second } else { UNPACED }),
            places: Arc::new(Semaphore::new(MOST_WAITING)),
            turn: Semaphore::new(1),
            resumes: Mutex::new(None),
        };
        Self { shared: Arc::new(shared), tasks: parts.tasks.clone() }
    }

    /// Checks the person of a grant that has just been refreshed, if the check is due. It runs in a task of its own, which
    /// ends when the daemon stops.
    pub(super) fn after_refresh(&self, grant: &Grant) {
        if !grant.person_is_due(self.shared.clock.now()) || self.shared.pauses() {
            return;
        }
        let Ok(place) = self.shared.places.clone().try_acquire_owned() else { return };
        let (shared, person) = (self.shared.clone(), grant.person.id.clone());
        let stopping = self.tasks.stopping();
        self.tasks.spawn("person check", async move {
            let _place = place;
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                () = shared.in_turn(&person) => {}
            }
        });
    }
}

impl Shared {
    async fn in_turn(&self, person: &PersonId) {
        // The semaphore is never closed.
        let Ok(_turn) = self.turn.acquire().await else { return };
        sleep(self.spacing).await;
        if self.pauses() {
            return;
        }
        if let Err(why) = self.check(person).await {
            log::debug!(person = person.as_str(); "a person's address and name cannot be compared with Webex: {why}");
        }
    }

    async fn check(&self, person: &PersonId) -> Result<(), StoreError> {
        let now = self.clock.now();
        let found = self.store.find(person.clone()).await?;
        let asks = |grant: &Grant| grant.person_is_due(now) && !grant.life_left(now).is_zero();
        let Some(grant) = found.filter(asks) else { return Ok(()) };
        match self.webex.me(&grant.tokens.access_token).await {
            Ok(owner) => self.keep(&grant, owner.person).await,
            Err(unknown) => self.failed(&grant, &unknown).await,
        }
    }

    async fn keep(&self, grant: &Grant, told: Person) -> Result<(), StoreError> {
        let (before, id) = (&grant.person, &grant.person.id);
        let person = if told.id == *id {
            // A value that the response omits stays as it is.
            Person {
                email: told.email.or_else(|| before.email.clone()),
                display_name: told.display_name.or_else(|| before.display_name.clone()),
                org_id: told.org_id.or_else(|| before.org_id.clone()),
                ..before.clone()
            }
        } else {
            log::warn!(
                person = id.as_str();
                "{before}: Webex names another person as the owner of the access token; nothing is changed"
            );
            before.clone()
        };
        let changed = person != *before;
        let kept = self.plan(grant, person.clone(), CHECK_EVERY).await?;
        if kept && changed {
            self.view.publish(id);
            log::info!(
                person = id.as_str();
                "{person}: Webex has another address or name: {}, before {}",
                named(&person),
                named(before)
            );
            self.view.warn_if_shared(&person).await;
        }
        Ok(())
    }

    async fn failed(&self, grant: &Grant, unknown: &Unknown) -> Result<(), StoreError> {
        log::debug!(person = grant.person.id.as_str(); "{}: people/me failed: {}", grant.person, unknown.why);
        if unknown.transient || unknown.retry_after.is_some() {
            let (least, most) = BACK_OFFS;
            let wait = unknown.retry_after.unwrap_or(BACK_OFF).clamp(least, most);
            *self.resumes.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + wait);
        }
        if unknown.is_forbidden() {
            self.plan(grant, grant.person.clone(), CHECK_AFTER_REFUSAL).await?;
        }
        Ok(())
    }

    async fn plan(&self, grant: &Grant, person: Person, wait: Duration) -> Result<bool, StoreError> {
        let next: UnixTime = self.clock.now() + wait;
        self.store.update_person(person, grant.person_check_at, next).await
    }

    fn pauses(&self) -> bool {
        let resumes = *self.resumes.lock().unwrap_or_else(PoisonError::into_inner);
        resumes.is_some_and(|at| Instant::now() < at)
    }
}

fn named(person: &Person) -> String {
    let or_none = |text: Option<&str>| text.unwrap_or("none").to_owned();
    let (email, name) = (person.email.as_ref().map(|email| email.as_str()), person.display_name.as_deref());
    format!("{} ({})", or_none(email), or_none(name))
}
