//! Changes to many stored grants at once: other settings than they were planned by, a refresh at start, a clock that
//! was set back. In steps, so that claims and consents get their turn between.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::grant::Grant;
use crate::domain::grant::Standing;
use crate::domain::schedule::Next;
use crate::domain::schedule::Policy;
use crate::domain::time::UnixTime;
use crate::refresh::pass::STORE_STEP;
use crate::refresh::refresher::LEASE;
use crate::refresh::refresher::Parts;
use crate::refresh::refresher::Refresher;
use crate::store::Cursor;
use crate::store::Note;
use crate::store::Revision;
use crate::store::StoreError;
use crate::tokens::Mark;

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
                log::log!(
                    why.level(),
                    "event loop: the stored schedule is not in line with the settings yet: {why}"
                );
            }
        }
    }

    async fn bring_in_line(&self, start: Start) -> Result<(), StoreError> {
        let parts = self.parts();
        let stopping = parts.tasks.stopping();
        self.recall().await?;
        let now = parts.clock.now();
        if parts.store.latest().await?.is_some_and(|latest| latest > now + SLACK) {
            log::warn!("the store holds dates from the future: the clock was, or is, wrong; they are mended");
            Mending::new(parts, Duration::ZERO).go_on(parts, Duration::ZERO, &stopping).await?;
        }
        let (policy, known) = (parts.policy, format!("{:?}", parts.policy));
        if parts.store.recall(Note::Policy).await?.as_deref() != Some(&known) {
            let replan: Revision = Arc::new(move |grant| replan(grant, &policy, now));
            if !all(parts, replan, &mut Some(Cursor::default()), &stopping).await? {
                return Ok(());
            }
            parts.store.remember(Note::Policy, known).await?;
        }
        if start.all_now {
            let due: Revision = Arc::new(move |grant| due(grant, start, now));
            all(parts, due, &mut Some(Cursor::default()), &stopping).await?;
        }
        Ok(())
    }
}

/// How far the clock was seen to be set back since the start, all in all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SetBack {
    pub(super) seen: Duration,
    /// What the stored grants have been mended by; what is in flight is mended by whoever commits it.
    pub(super) mended: Duration,
}

/// Clocks that were seen to be set back, and what they wrote before, on the way to being mended. In the order in which
/// they were set: each must find the dates as they were written before it.
#[derive(Default)]
pub(super) struct Mendings {
    open: VecDeque<Mending>,
    /// When the store is tried again, if it failed.
    retry_at: Option<Instant>,
}

impl Mendings {
    /// The clock was seen to be set back by so much.
    pub(super) fn add(&mut self, refresher: &Refresher, back: Duration) {
        refresher.set_back().seen += back;
        self.open.push_back(Mending::new(refresher.parts(), back));
        self.retry_at = None;
    }

    /// Mends as much as the store lets it. To be called again and again: a grant whose date stays in the future is not
    /// looked at before it.
    pub(super) async fn go_on(&mut self, refresher: &Refresher) {
        let (parts, stopping) = (refresher.parts(), refresher.parts().tasks.stopping());
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.retry_at = None;
        while !stopping.is_cancelled() {
            let later = self.open.iter().skip(1).map(|mending| mending.back).sum();
            let Some(first) = self.open.front_mut() else { return };
            match first.go_on(parts, later, &stopping).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(why) => {
                    log::log!(why.level(), "dates from the future cannot be mended yet: {why}");
                    self.retry_at = Some(Instant::now() + STORE_STEP);
                    return;
                }
            }
            refresher.set_back().mended += first.back;
            self.open.pop_front();
        }
    }
}

/// Dates that one setting of the clock made wrong.
struct Mending {
    /// Zero: nobody saw by how much, only that the store holds dates from the future.
    back: Duration,
    /// When it was seen, by the clock as it is now, and what had been published by then.
    noticed: (UnixTime, Mark),
    /// Where it goes on; `None` at the end.
    after: Option<Cursor>,
}

impl Mending {
    fn new(parts: &Parts, back: Duration) -> Self {
        let noticed = (parts.clock.now(), parts.view.events().now());
        Self { back, noticed, after: Some(Cursor::default()) }
    }

    /// Mends what is left; answers whether that was all. The clock was set back by `later` once more since then; that is mended after this.
    async fn go_on(
        &mut self,
        parts: &Parts,
        later: Duration,
        stopping: &CancellationToken,
    ) -> Result<bool, StoreError> {
        let (now, back, policy) = (parts.clock.now() + later, self.back, parts.policy);
        let ((noticed, published), clock, view) = (self.noticed, parts.clock.clone(), parts.view.clone());
        // Consents go on meanwhile, and are dated by the clock as it is now. One that is kept but not published yet is
        // dated too early all the same, as is one of the minute before the setting was noticed, and one whose publishing
        // is forgotten (a mending that went on after the store failed): that costs a refresh.
        let right = move |grant: &Grant| {
            (noticed..=clock.now() + later).contains(&grant.renewed_at)
                && view.events().changed_since(published, &grant.person.id)
        };
        let mended: Revision = Arc::new(move |grant| !right(grant) && mend(grant, back, &policy, now));
        let done = all(parts, mended, &mut self.after, stopping).await?;
        if done {
            parts.store.settle(now, now + LEASE).await?;
        }
        Ok(done)
    }
}

/// Goes through all grants from `after` on, which is where to go on when the store fails, or the daemon stops; answers
/// whether that was all.
async fn all(
    parts: &Parts,
    revision: Revision,
    after: &mut Option<Cursor>,
    stopping: &CancellationToken,
) -> Result<bool, StoreError> {
    let begun = *after;
    let done = loop {
        let Some(cursor) = *after else { break Ok(true) };
        if stopping.is_cancelled() {
            break Ok(false);
        }
        match parts.store.revise(cursor, STEP, revision.clone()).await {
            Ok(next) => *after = next,
            Err(why) => break Err(why),
        }
    };
    // Once, and not for nothing: it makes forgotten whose grant changed meanwhile. Until then readers are given the dates
    // that they know.
    if *after != begun {
        parts.view.publish_all();
    }
    done
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

/// Takes back what a fast clock wrote. A clock seen to be set back by `back` takes the dates of tokens and plans along,
/// which were written by what it read before: a token must not seem to live longer for it. What is in the future all the
/// same nobody can date: nothing was renewed in the future, and such a grant is due at once.
pub(super) fn mend(grant: &mut Grant, back: Duration, policy: &Policy, now: UnixTime) -> bool {
    let ahead = |grant: &Grant| grant.answered_at.max(grant.renewed_at).max(grant.last.at).since(now) > SLACK;
    if back.is_zero() && !ahead(grant) {
        return false;
    }
    let lifetime = grant.dates().lifetime();
    grant.renewed_at = grant.renewed_at - back;
    grant.answered_at = grant.answered_at - back;
    grant.tokens.expires_at = grant.tokens.expires_at - back;
    // Else they may have been written since: a refusal that seems older than it is blames the grant. And one that stays
    // later than it is makes a consent that is under way the older one.
    for date in [&mut grant.last.at, &mut grant.obtained_at] {
        if *date > now {
            *date = *date - back;
        }
    }
    grant.refused_since = grant.refused_since.map(|at| if at > now { at - back } else { at }.min(now));
    if grant.next != Next::NEVER {
        grant.next = Next { due_at: grant.next.due_at - back, wake_at: grant.next.wake_at - back };
    }
    let undated = ahead(grant);
    grant.renewed_at = grant.renewed_at.min(now);
    grant.answered_at = grant.answered_at.min(now);
    grant.tokens.expires_at = grant.tokens.expires_at.min(grant.renewed_at + lifetime);
    grant.obtained_at = grant.obtained_at.min(now);
    grant.last.at = grant.last.at.min(now);
    grant.next = match grant.standing {
        Standing::Alive if undated => Next::at(now),
        Standing::ConsentNeeded if undated && grant.next != Next::NEVER => {
            Policy::after_refusal(grant.failures, &grant.person.id, now)
        }
        Standing::Alive if grant.failures == 0 => {
            // Who is due already, for whatever reason, stays so.
            let (plan, old) = (policy.plan(&grant.dates(), now), grant.next);
            Next { due_at: plan.due_at.min(old.due_at), wake_at: plan.wake_at.min(old.wake_at) }
        }
        Standing::Alive | Standing::ConsentNeeded => grant.next,
    };
    true
}

#[cfg(test)]
mod tests;
