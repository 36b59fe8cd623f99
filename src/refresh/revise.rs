//! Changes to many stored grants at once: other settings than they were planned by, a refresh at start, a clock that
//! was set back. In steps, so that claims and consents get their turn between.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::grant::Grant;
use crate::domain::grant::Standing;
use crate::domain::schedule::Next;
use crate::domain::schedule::Policy;
use crate::domain::time::UnixTime;
use crate::refresh::refresher::LEASE;
use crate::refresh::refresher::Parts;
use crate::refresh::refresher::Refresher;
use crate::store::Cursor;
use crate::store::Note;
use crate::store::Revision;
use crate::store::StoreError;

/// Grants shown in one step: some milliseconds of the writer's time.
const STEP: u32 = 500;

/// Differences below this are a clock being tended, not set.
const SLACK: Duration = Duration::from_secs(60);

/// What a start asks of the stored schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    at: UnixTime,
    /// Every grant is due, whatever its age.
    all_now: bool,
}

impl Refresher {
    /// Brings the stored schedule in line with this start: the breaker, the clock, the settings, and `all_now`, which
    /// makes every grant due whatever its age. What fails is tried again by the loop, at each wake.
    ///
    /// # Errors
    /// The store's; what was revised so far stays revised.
    pub async fn prepare(&self, all_now: bool) -> Result<(), StoreError> {
        let start = Start { at: self.parts().clock.now(), all_now };
        let prepared = self.bring_in_line(start).await;
        *self.unprepared() = prepared.is_err().then_some(start);
        prepared
    }

    /// Does what [`Refresher::prepare`] could not.
    pub(super) async fn prepare_again(&self) {
        let Some(start) = *self.unprepared() else { return };
        match self.bring_in_line(start).await {
            Ok(()) => {
                *self.unprepared() = None;
                log::info!("event loop: the stored schedule is in line with the settings now");
            }
            Err(why) => {
                log::error!("event loop: the stored schedule is not in line with the settings yet: {why}");
            }
        }
    }

    async fn bring_in_line(&self, start: Start) -> Result<(), StoreError> {
        let parts = self.parts();
        self.recall().await?;
        let now = parts.clock.now();
        Mending::new(Duration::ZERO).go_on(parts).await;
        let (policy, known) = (parts.policy, format!("{:?}", parts.policy));
        if parts.store.recall(Note::Policy).await?.as_deref() != Some(&known) {
            all(parts, Arc::new(move |grant| replan(grant, &policy, now)), &mut Some(Cursor::default()))
                .await?;
            parts.store.remember(Note::Policy, known).await?;
        }
        if start.all_now {
            all(parts, Arc::new(move |grant| due(grant, start, now)), &mut Some(Cursor::default())).await?;
        }
        Ok(())
    }
}

/// Dates of a clock that was set back, on the way to being mended.
pub(super) struct Mending {
    back: Duration,
    /// Where it goes on.
    after: Option<Cursor>,
}

impl Mending {
    /// After a clock was seen to be set back by so much. Zero: only if the store holds dates from the future.
    pub(super) fn new(back: Duration) -> Self {
        Self { back, after: Some(Cursor::default()) }
    }

    /// Mends as much as the store lets it; answers whether that is all. To be called again if not: a grant whose date
    /// stays in the future is not looked at before it.
    pub(super) async fn go_on(&mut self, parts: &Parts) -> bool {
        let done = self.mend_all(parts).await;
        if let Err(why) = &done {
            log::error!("dates from the future cannot be mended yet: {why}");
        }
        done.is_ok()
    }

    async fn mend_all(&mut self, parts: &Parts) -> Result<(), StoreError> {
        let (now, back) = (parts.clock.now(), self.back);
        let ahead = parts.store.latest().await?.is_some_and(|latest| latest > now + SLACK);
        if !ahead && back.is_zero() {
            return Ok(());
        }
        if back.is_zero() {
            log::warn!("the store holds dates from the future: the clock was, or is, wrong; they are mended");
        }
        let policy = parts.policy;
        all(parts, Arc::new(move |grant| mend(grant, back, &policy, now)), &mut self.after).await?;
        parts.store.settle(now, now + LEASE).await
    }
}

/// Goes through all grants from `after` on, which is where to go on when the store fails.
async fn all(parts: &Parts, revision: Revision, after: &mut Option<Cursor>) -> Result<(), StoreError> {
    while let Some(cursor) = *after {
        *after = parts.store.revise(cursor, STEP, revision.clone()).await?;
        parts.view.publish_all();
    }
    Ok(())
}

/// Plans anew what was planned by other settings; retries and re-probes stay as they are.
fn replan(grant: &mut Grant, policy: &Policy, now: UnixTime) -> bool {
    if grant.standing != Standing::Alive || grant.failures > 0 {
        return false;
    }
    let next = policy.plan(&grant.dates(), now);
    let changed = next != grant.next;
    grant.next = next;
    changed
}

fn due(grant: &mut Grant, start: Start, now: UnixTime) -> bool {
    // A late try leaves alone who was asked for, or consented, since the start.
    if now > start.at && grant.last.at > start.at {
        return false;
    }
    grant.next = Next::at(now);
    true
}

/// Takes back what a fast clock wrote. A clock seen to be set back takes the dates of tokens along, which were written
/// by what it read before: a token must not seem to live longer for it. And nothing was renewed in the future; who knows
/// how long ago it truly was: such a grant is due at once.
fn mend(grant: &mut Grant, back: Duration, policy: &Policy, now: UnixTime) -> bool {
    let ahead = grant.answered_at.max(grant.renewed_at).max(grant.last.at).since(now) > SLACK;
    if !ahead && back.is_zero() {
        return false;
    }
    let lifetime = grant.dates().lifetime();
    grant.renewed_at = (grant.renewed_at - back).min(now);
    grant.answered_at = (grant.answered_at - back).min(now);
    grant.tokens.expires_at = (grant.tokens.expires_at - back).min(grant.renewed_at + lifetime);
    grant.obtained_at = grant.obtained_at.min(now);
    grant.last.at = grant.last.at.min(now);
    if grant.standing == Standing::Alive && ahead {
        grant.next = Next::at(now);
    } else if grant.standing == Standing::Alive && grant.failures == 0 {
        grant.next = policy.plan(&grant.dates(), now);
    }
    true
}
