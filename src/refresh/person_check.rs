//! Compares the stored address, name and organization of a person with Webex, now and then after a refresh.
//!
//! No refresh waits for such a check, and its response is no evidence for the breaker. A check that fails is repeated after
//! a later refresh.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::domain::grant::Grant;
use crate::domain::person::CHECK_AFTER_REFUSAL;
use crate::domain::person::CHECK_EVERY;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::refresh::rate_limit::RateLimits;
use crate::service_context::ServiceContext;
use crate::store::StoreError;
use crate::webex::OwnerUnknown;

/// Checks that may wait at once. Further ones are left out and follow after a later refresh. So the checks of many persons
/// who consented at once are spread over several days.
const QUEUE_LEN: usize = 256;

/// Rate of checks as a share of the maximal rate of refreshes.
const SHARE_OF_PACE: f64 = 0.25;

/// Seconds between two checks if the rate of refreshes has no limit.
const UNPACED_SECONDS: f64 = 0.2;

/// Pause after a failure that may concern all persons, if Webex sends no `Retry-After`.
const BACKOFF: Duration = Duration::from_secs(3600);

/// Shortest and longest pause that a `Retry-After` may cause.
const BACKOFF_LIMITS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(86_400));

/// Runs the checks, one at a time.
pub(super) struct PersonChecks {
    shared: Arc<CheckContext>,
}

struct CheckContext {
    services: ServiceContext,
    spacing: Duration,
    places: Arc<Semaphore>,
    /// Permits one check at a time.
    turn: Semaphore,
    resumes: Mutex<Option<Instant>>,
}

impl PersonChecks {
    pub(super) fn new(services: ServiceContext, limits: RateLimits) -> Self {
        let per_second = limits.per_second * SHARE_OF_PACE;
        let shared = CheckContext {
            services,
            spacing: Duration::from_secs_f64(if per_second > 0.0 {
                1.0 / per_second
            } else {
                UNPACED_SECONDS
            }),
            places: Arc::new(Semaphore::new(QUEUE_LEN)),
            turn: Semaphore::new(1),
            resumes: Mutex::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Checks the person of a grant that has just been refreshed, if the check is due. It runs in a task of its own, which
    /// ends when the daemon stops.
    pub(super) fn after_refresh(&self, grant: &Grant) {
        if !grant.person_is_due(self.shared.services.clock.now()) || self.shared.is_paused() {
            return;
        }
        let Ok(place) = self.shared.places.clone().try_acquire_owned() else { return };
        let (shared, person) = (self.shared.clone(), grant.person.id.clone());
        let tasks = &self.shared.services.tasks;
        let stopping = tasks.stopping();
        tasks.spawn("person check", async move {
            let _place = place;
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                () = shared.check_in_turn(&person) => {}
            }
        });
    }
}

impl CheckContext {
    async fn check_in_turn(&self, person: &PersonId) {
        // The semaphore is never closed.
        let Ok(_turn) = self.turn.acquire().await else { return };
        sleep(self.spacing).await;
        if self.is_paused() {
            return;
        }
        if let Err(why) = self.check(person).await {
            log::debug!(person = person.as_str(); "a person's address, name and organization cannot be compared with Webex: {why}");
        }
    }

    async fn check(&self, person: &PersonId) -> Result<(), StoreError> {
        let now = self.services.clock.now();
        let found = self.services.store.find(person.clone()).await?;
        let asks = |grant: &Grant| grant.person_is_due(now) && !grant.life_left(now).is_zero();
        let Some(grant) = found.filter(asks) else { return Ok(()) };
        match self.services.webex.people_me(&grant.tokens.access_token).await {
            Ok(owner) => self.save(&grant, owner.person).await,
            Err(unknown) => self.record_failure(&grant, &unknown).await,
        }
    }

    async fn save(&self, grant: &Grant, told: Person) -> Result<(), StoreError> {
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
        let kept = self.reschedule(grant, person.clone(), CHECK_EVERY).await?;
        if kept && changed {
            self.services.cache.invalidate(id);
            log::info!(
                person = id.as_str();
                "{person}: Webex reports another address, name or organization: {}; before: {}",
                describe(&person),
                describe(before)
            );
            self.services.cache.warn_if_address_is_shared(&person).await;
        }
        Ok(())
    }

    async fn record_failure(&self, grant: &Grant, unknown: &OwnerUnknown) -> Result<(), StoreError> {
        log::debug!(person = grant.person.id.as_str(); "{}: people/me failed: {}", grant.person, unknown.why);
        if unknown.transient || unknown.retry_after.is_some() {
            let (least, most) = BACKOFF_LIMITS;
            let wait = unknown.retry_after.unwrap_or(BACKOFF).clamp(least, most);
            *self.resumes.lock() = Some(Instant::now() + wait);
        }
        if unknown.is_forbidden() {
            self.reschedule(grant, grant.person.clone(), CHECK_AFTER_REFUSAL).await?;
        }
        Ok(())
    }

    async fn reschedule(&self, grant: &Grant, person: Person, wait: Duration) -> Result<bool, StoreError> {
        let next: UnixTime = self.services.clock.now() + wait;
        self.services.store.update_person(person, grant.person_check_at, next).await
    }

    fn is_paused(&self) -> bool {
        let resumes = *self.resumes.lock();
        resumes.is_some_and(|at| Instant::now() < at)
    }
}

fn describe(person: &Person) -> String {
    let or_none = |text: Option<&str>| text.unwrap_or("none").to_owned();
    let (email, name) = (person.email.as_ref().map(|email| email.as_str()), person.display_name.as_deref());
    let organization = or_none(person.org_id.as_deref());
    format!("{} ({}, organization {organization})", or_none(email), or_none(name))
}
