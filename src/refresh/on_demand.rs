//! Refreshes on demand: for a reader who needs a longer-lived token, or an operator who asks for the refresh itself.
//!
//! Any number of callers share one refresh, and every wait is bounded. While Webex is down, readers get the stored token as
//! long as it lives.

use std::sync::Arc;
use std::time::Duration;

use strum::IntoStaticStr;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::domain::grant::Grant;
use crate::domain::grant::GrantState;
use crate::domain::grant::GrantStatus;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;
use crate::grant_cache::EventPosition;
use crate::refresh::requested::READER_RETRY_PAUSE;
use crate::refresh::requested::RefreshOptions;
use crate::refresh::service::RefreshService;
use crate::store::Removal;
use crate::store::StoreError;

/// Longest wait of a reader. The refresh continues without them.
const MAX_READER_WAIT: Duration = Duration::from_secs(20);

/// Longest wait of a caller who asked for the refresh itself: enough for the turn, the whole call and the commit.
const MAX_REFRESH_WAIT: Duration = Duration::from_secs(60);

/// Pause before the second attempt for a refused grant whose token is dead, while the caller waits. A second refusal
/// confirms the first.
const CONFIRMATION_PAUSE: Duration = Duration::from_secs(1);

/// A live token for a reader.
#[derive(Clone, Debug)]
pub struct LiveToken {
    /// Contains the token.
    pub grant: Arc<Grant>,
    /// It lives less long than requested, but no longer-lived one is available.
    pub short: bool,
}

/// Why there is no live token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// The store has no grant of this person.
    #[error("no such person")]
    UnknownPerson,
    /// The access token is dead and Webex no longer renews the grant, or the stored record does not open.
    #[error("the person must consent again")]
    ConsentNeeded(Arc<Grant>),
    /// The access token is dead and cannot be refreshed at present.
    #[error("no live token at present: {why}")]
    Unavailable {
        /// The cause, to be shown to users.
        why: String,
        /// When another request is worthwhile.
        retry_after: Duration,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The result of a refresh on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RefreshOutcome {
    /// A new access token.
    Renewed,
    /// Webex responded with the same access token.
    Unchanged,
    /// It was not sent, for instance because the last refresh was too recent.
    Skipped,
    /// It failed, or could not be sent.
    Failed,
}

impl RefreshOutcome {
    /// The result as the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The result of a refresh on demand, with its explanation.
#[derive(Clone, Debug)]
pub struct RefreshReport {
    /// In one word.
    pub outcome: RefreshOutcome,
    /// The reason in a sentence; empty if there is nothing to explain.
    pub detail: String,
    /// The grant after the refresh.
    pub grant: Arc<Grant>,
}

/// Why no refresh starts.
const STOPPING: &str = "the daemon is stopping";

impl RefreshService {
    /// A token of `person` that lives at least `min_ttl`. The grant is refreshed first if that is necessary. If Webex issues
    /// no token that lives so long, the one with the longest life.
    ///
    /// # Errors
    /// [`TokenError`] if there is no live token at all.
    pub async fn token(
        self: &Arc<Self>,
        person: &PersonId,
        min_ttl: Duration,
    ) -> Result<LiveToken, TokenError> {
        self.token_if(person, min_ttl, || true).await
    }

    /// As [`RefreshService::token`], but asks `may` before it starts a refresh for this caller. If that answers `false`, the
    /// caller gets the stored token.
    ///
    /// # Errors
    /// [`TokenError`], as [`RefreshService::token`].
    pub async fn token_if(
        self: &Arc<Self>,
        person: &PersonId,
        min_ttl: Duration,
        may: impl FnOnce() -> bool,
    ) -> Result<LiveToken, TokenError> {
        let seen = self.context.cache.events().position();
        let grant = self.find_grant(person).await?;
        let now = self.context.clock.now();
        let enough = min_ttl.min(self.longest_useful_ttl(&grant));
        let is_enough = grant.life_left(now) >= enough.max(Duration::from_millis(1));
        if is_enough || !self.reader_may_refresh(&grant, now) || !self.may_refresh(person, may) {
            return self.token_or_error(grant, min_ttl);
        }
        let begun = Instant::now();
        self.join_or_refresh(person, seen, MAX_READER_WAIT, RefreshOptions::default()).await;
        self.confirm_refusal(person, MAX_READER_WAIT.saturating_sub(begun.elapsed())).await?;
        self.token_or_error(self.find_grant(person).await?, min_ttl)
    }

    /// Refreshes once more if the grant was just refused and its token is dead. So the caller learns whether the refusal is
    /// final, and need not ask again.
    async fn confirm_refusal(
        self: &Arc<Self>,
        person: &PersonId,
        patience: Duration,
    ) -> Result<(), TokenError> {
        let seen = self.context.cache.events().position();
        let grant = self.find_grant(person).await?;
        let refused = grant.last.outcome == Outcome::Refused && grant.status == GrantStatus::Active;
        let dead = grant.life_left(self.context.clock.now()).is_zero();
        if refused && dead && patience > CONFIRMATION_PAUSE {
            sleep(CONFIRMATION_PAUSE).await;
            self.join_or_refresh(
                person,
                seen,
                patience.saturating_sub(CONFIRMATION_PAUSE),
                RefreshOptions::default(),
            )
            .await;
        }
        Ok(())
    }

    /// Refreshes the grant of `person` now. Without `force` no refresh is sent inside the no-op window.
    ///
    /// # Errors
    /// [`TokenError::UnknownPerson`], [`TokenError::ConsentNeeded`] if the stored record does not open, or [`TokenError::Store`].
    pub async fn refresh_now(
        self: &Arc<Self>,
        person: &PersonId,
        force: bool,
    ) -> Result<RefreshReport, TokenError> {
        self.refresh_now_if(person, RefreshOptions { force, bulk: false }, || true).await
    }

    /// As [`RefreshService::refresh_now`], but asks `may` before it starts a refresh for this caller. If that answers `false`, the
    /// refresh is skipped.
    ///
    /// # Errors
    /// As [`RefreshService::refresh_now`].
    pub async fn refresh_now_if(
        self: &Arc<Self>,
        person: &PersonId,
        ask: RefreshOptions,
        may: impl FnOnce() -> bool,
    ) -> Result<RefreshReport, TokenError> {
        let force = ask.force;
        let seen = self.context.cache.events().position();
        let before = self.find_grant(person).await?;
        let now = self.context.clock.now();
        let window = before.answered_at + self.context.policy.noop_window;
        if !force && before.status == GrantStatus::Active && now < window {
            let detail = format!(
                "Webex renews no token before {window} (the no-op window); force (--force) sends the refresh anyway"
            );
            return Ok(RefreshReport { outcome: RefreshOutcome::Skipped, detail, grant: before });
        }
        if force && let Some(wait) = self.forced_refresh_wait(&before, now) {
            let seconds = wait.as_millis().div_ceil(1000);
            let detail = format!(
                "the last refresh was sent a moment ago; the next forced refresh is possible in {seconds} s"
            );
            return Ok(RefreshReport { outcome: RefreshOutcome::Skipped, detail, grant: before });
        }
        if !force && self.is_backing_off(&before, now) {
            let detail = format!(
                "the last refresh failed a moment ago ({}); force (--force) sends it anyway",
                before.last.detail
            );
            return Ok(RefreshReport { outcome: RefreshOutcome::Skipped, detail, grant: before });
        }
        if !self.may_refresh(person, may) {
            return Ok(RefreshReport {
                outcome: RefreshOutcome::Skipped,
                detail: "the caller has used up its refresh budget".to_owned(),
                grant: before,
            });
        }
        let joined = self.join_or_refresh(person, seen, MAX_REFRESH_WAIT, ask).await;
        self.confirm_refusal(person, MAX_READER_WAIT).await?;
        // The result of the joined refresh was discarded, because a consent was stored meanwhile; or no refresh was sent, because
        // the grant changed while it was read.
        let is_void = joined || self.context.cache.events().changed_since(seen, person);
        let seen = self.context.cache.events().position();
        let mut grant = self.find_grant(person).await?;
        if is_void && grant.last == before.last {
            self.join_or_refresh(person, seen, MAX_READER_WAIT, ask).await;
            grant = self.find_grant(person).await?;
        }
        if grant.last == before.last {
            let cause = self.breaker().trouble().map(|cause| format!("refreshes pause: {cause}"));
            let stops = self.context.tasks.stopping().is_cancelled().then(|| STOPPING.to_owned());
            let detail = cause.or(stops).unwrap_or_else(|| {
                "the refresh could not be sent or is still under way; see the log".to_owned()
            });
            return Ok(RefreshReport { outcome: RefreshOutcome::Failed, detail, grant });
        }
        let came = match grant.last.outcome {
            Outcome::Renewed => RefreshOutcome::Renewed,
            Outcome::Unchanged => RefreshOutcome::Unchanged,
            _ => RefreshOutcome::Failed,
        };
        let detail = if came == RefreshOutcome::Failed {
            format!("{}: {}", grant.last.outcome, grant.last.detail)
        } else {
            String::new()
        };
        Ok(RefreshReport { outcome: came, detail, grant })
    }

    /// Removes a person's grant with its tokens. Answers whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot remove it; the grant is then unchanged.
    pub async fn forget(&self, person: &PersonId) -> Result<bool, StoreError> {
        let gone = self.context.store.forget(person.clone()).await?;
        self.context.cache.invalidate(person);
        if gone {
            log::info!(person = person.as_str(); "a grant was removed with its tokens");
        }
        Ok(gone)
    }

    /// Removes the grants of these persons with their tokens; with `only_in`, only those in this state. Answers whose grants
    /// were removed. It is one transaction, so callers ask for a few hundred at most.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot remove them; all grants are then unchanged.
    pub async fn forget_all(
        &self,
        persons: Vec<PersonId>,
        only_in: Option<GrantState>,
    ) -> Result<Vec<PersonId>, StoreError> {
        let removal = Removal { persons, only_in, now: self.context.clock.now() };
        let gone = self.context.store.forget_all(removal).await?;
        gone.iter().for_each(|person| self.context.cache.invalidate(person));
        if !gone.is_empty() {
            // The history has an entry for each person.
            log::info!("grants removed with their tokens: {}", gone.len());
        }
        Ok(gone)
    }

    pub(super) async fn find_grant(&self, person: &PersonId) -> Result<Arc<Grant>, TokenError> {
        let cache = &self.context.cache;
        let grant = match cache.get(person).await {
            // Its tokens are lost, so waiting does not help.
            Err(StoreError::Unreadable(_)) => {
                let shown = cache.get_uncached(person).await?.ok_or(TokenError::UnknownPerson)?;
                return Err(TokenError::ConsentNeeded(shown));
            }
            looked => looked?,
        };
        grant.ok_or(TokenError::UnknownPerson)
    }

    /// The longest remaining life that a reader can demand. More would need refreshes inside the no-op window, or so many
    /// that the person could reach Webex's limit of tokens.
    fn longest_useful_ttl(&self, grant: &Grant) -> Duration {
        let lifetime = grant.dates().lifetime();
        lifetime.saturating_sub(self.context.policy.noop_window).max(lifetime / 2)
    }

    fn reader_may_refresh(&self, grant: &Grant, now: UnixTime) -> bool {
        let floor = self.context.policy.floor_for(grant.dates().lifetime());
        grant.status == GrantStatus::Active
            && now >= grant.answered_at + floor
            && !self.is_backing_off(grant, now)
    }

    /// How long a forced refresh must still wait, if the last refresh was too recent. A consent does not count as a refresh.
    fn forced_refresh_wait(&self, grant: &Grant, now: UnixTime) -> Option<Duration> {
        let refreshed = grant.failures > 0 || grant.answered_at > grant.obtained_at;
        let wait = (grant.last.at + self.context.policy.forced_floor()).until(now);
        (refreshed && grant.last.at <= now && !wait.is_zero()).then_some(wait)
    }

    /// Whether another attempt would only do harm, because the last one failed a moment ago or hit a limit of Webex.
    fn is_backing_off(&self, grant: &Grant, now: UnixTime) -> bool {
        let refused = grant.last.outcome == Outcome::Refused && grant.life_left(now).is_zero();
        // A caller whose token is dead waits for the refusal to be confirmed.
        let step = if refused { CONFIRMATION_PAUSE } else { READER_RETRY_PAUSE };
        let failing = grant.failures > 0 && now < grant.last.at + step;
        let limited =
            matches!(grant.last.outcome, Outcome::TokenLimit | Outcome::Busy) && now < grant.next.due_at;
        let limited = limited && grant.failures > 0;
        failing || limited
    }

    fn token_or_error(&self, grant: Arc<Grant>, min_ttl: Duration) -> Result<LiveToken, TokenError> {
        let now = self.context.clock.now();
        let left = grant.life_left(now);
        if !left.is_zero() {
            return Ok(LiveToken { grant, short: left < min_ttl });
        }
        if grant.status == GrantStatus::ConsentNeeded {
            return Err(TokenError::ConsentNeeded(grant));
        }
        let why = match self.breaker().trouble() {
            Some(cause) => format!("refreshes pause: {cause}"),
            None if self.context.tasks.stopping().is_cancelled() => STOPPING.to_owned(),
            None if grant.failures > 0 => format!("the last refresh failed: {}", grant.last.detail),
            None => "the refresh is still under way".to_owned(),
        };
        let retry_after = grant.next.due_at.until(now).clamp(Duration::from_secs(1), READER_RETRY_PAUSE);
        // The refresh of this person is one of those that wait.
        Err(TokenError::Unavailable { why, retry_after: retry_after.max(self.starts().requested_wait()) })
    }

    /// Whether a caller may wait for a refresh of `person`. A refresh that is under way already is not charged to the caller, also
    /// if it goes before others from now on: it is sent soon anyway.
    fn may_refresh(&self, person: &PersonId, may: impl FnOnce() -> bool) -> bool {
        self.in_flight().contains(person) || may()
    }

    /// Joins the refresh of the person that is under way, or starts one in a task of its own, which continues
    /// if the caller leaves. If the caller is no bulk command and the joined refresh has not started, that
    /// refresh also waits in the queue of requested refreshes. Returns whether the caller joined a refresh, and it
    /// has ended.
    ///
    /// `seen` is the event position before the caller read the grant: if a consent came since, no refresh is sent.
    async fn join_or_refresh(
        self: &Arc<Self>,
        person: &PersonId,
        seen: EventPosition,
        patience: Duration,
        ask: RefreshOptions,
    ) -> bool {
        let (flight, busy) = self.in_flight().join(person, !ask.bulk);
        let joined = busy.is_none();
        if let Some(busy) = busy {
            let refresher = self.clone();
            self.context
                .tasks
                .spawn("refresh on demand", async move { refresher.refresh_once(busy, ask, seen).await });
        }
        // After a timeout the caller continues with the stored grant.
        timeout(patience, flight.ended()).await.is_ok() && joined
    }
}
