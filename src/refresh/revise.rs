//! Changes to many stored grants at once: other settings than they were planned by, a refresh at start, a clock that
//! was set back. In steps, so that claims and consents get their turn between.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::grant::Grant;
use crate::domain::grant::Standing;
use crate::domain::schedule::Next;
use crate::domain::schedule::Policy;
use crate::domain::time::UnixTime;
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
        if parts.store.latest().await?.is_some_and(|latest| latest > now + SLACK) {
            log::warn!("the store holds dates from the future: the clock was, or is, wrong; they are mended");
            mend_clock(parts).await;
        }
        let (policy, known) = (parts.policy, format!("{:?}", parts.policy));
        if parts.store.recall(Note::Policy).await?.as_deref() != Some(&known) {
            all(parts, Arc::new(move |grant| replan(grant, &policy, now))).await?;
            parts.store.remember(Note::Policy, known).await?;
        }
        if start.all_now {
            all(parts, Arc::new(move |grant| due(grant, start, now))).await?;
        }
        Ok(())
    }
}

/// See [`mend`]. Trouble with the store is logged: the loop goes on with what it has.
pub(super) async fn mend_clock(parts: &Parts) {
    let now = parts.clock.now();
    let mended = async {
        all(parts, Arc::new(move |grant| mend(grant, now))).await?;
        parts.store.settle(now).await
    };
    if let Err(why) = mended.await {
        log::error!("dates could not be mended: {why}");
    }
}

async fn all(parts: &Parts, revision: Revision) -> Result<(), StoreError> {
    let mut after = Some(Cursor::default());
    while let Some(cursor) = after {
        after = parts.store.revise(cursor, STEP, revision.clone()).await?;
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

/// Takes back what a fast clock wrote: nothing was renewed in the future, and no life is longer than it was. Such a
/// grant is due at once, since its true age is not known.
fn mend(grant: &mut Grant, now: UnixTime) -> bool {
    let ahead = grant.answered_at.max(grant.renewed_at).max(grant.last.at).since(now);
    if ahead <= SLACK {
        return false;
    }
    let lifetime = grant.dates().lifetime();
    grant.tokens.expires_at = grant.tokens.expires_at.min(grant.renewed_at.min(now) + lifetime);
    grant.obtained_at = grant.obtained_at.min(now);
    grant.renewed_at = grant.renewed_at.min(now);
    grant.answered_at = grant.answered_at.min(now);
    grant.last.at = grant.last.at.min(now);
    if grant.standing == Standing::Alive {
        grant.next = Next::at(now);
    }
    true
}
