//! What Webex answered goes into the store, however long that takes.

use std::sync::Arc;
use std::time::Duration;

use log::Level;
use tokio::time::sleep;

use crate::domain::grant::Grant;
use crate::domain::person::Person;
use crate::health::UnkeptResult;
use crate::health::UnkeptResults;
use crate::refresh::refresher::Refresher;
use crate::refresh::revise::mend;
use crate::store::Committed;
use crate::store::Fence;
use crate::store::StoreError;

/// Waits between tries to keep an outcome; the last one repeats.
const KEEP_AGAIN: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
];

/// While the store refuses a result, it is logged again after so many tries, some ten minutes.
const TELL_AGAIN: usize = 20;

impl Refresher {
    /// What the store has not taken yet.
    #[must_use]
    pub fn unkept(&self) -> &Arc<UnkeptResults> {
        &self.unkept
    }

    /// Whether the result of a refresh could not be kept at present.
    pub(super) fn keeps_nothing(&self) -> bool {
        self.unkept().hold_all()
    }

    /// While a grant is claimed nobody else mends its dates when the clock is set back.
    pub(super) fn mend(&self, grant: &mut Grant, mended: &mut Duration) {
        let back = self.set_back().seen.saturating_sub(*mended);
        if !back.is_zero() {
            mend(grant, back, &self.parts().policy, self.parts().clock.now());
            *mended += back;
        }
    }

    /// Keeps an outcome, however long the store takes: the answer of Webex may not come a second time. Gives up when
    /// the daemon stops; the claim is then retried with the stored refresh token.
    pub(super) async fn keep(&self, fence: Fence, grant: &Grant, mut mended: Duration) -> Option<Committed> {
        let (stopping, mut tries) = (self.parts().tasks.stopping(), 0);
        let mut grant = grant.clone();
        let (mut _counted, mut others_are_kept) = (None, false);
        loop {
            self.mend(&mut grant, &mut mended);
            match self.parts().store.commit(fence, grant.clone()).await {
                Ok(committed) => {
                    self.parts().view.publish(&grant.person.id);
                    return Some(committed);
                }
                Err(why) => _counted = Some(self.not_kept(&grant.person, &why, others_are_kept, tries)),
            }
            let pause = KEEP_AGAIN.get(tries).or(KEEP_AGAIN.last()).copied().unwrap_or_default();
            tries += 1;
            tokio::select! {
                biased;
                () = sleep(pause) => {}
                () = stopping.cancelled(), if tries > 3 => {
                    log::error!("{}: the refresh is done, but was not kept before the end", grant.person);
                    return None;
                }
            }
            // Asked before the next try: what that comes to may be this row's trouble alone.
            others_are_kept = tries >= KEEP_AGAIN.len() && self.parts().store.prove().await.is_ok();
        }
    }

    /// Logs that a result could not be kept, and counts it.
    fn not_kept(
        &self,
        person: &Person,
        why: &StoreError,
        others_are_kept: bool,
        tries: usize,
    ) -> UnkeptResult {
        if others_are_kept && matches!(why, StoreError::Corrupt(_) | StoreError::Failed(_)) {
            let level = if tries % TELL_AGAIN == KEEP_AGAIN.len() { Level::Error } else { Level::Debug };
            log::log!(
                level,
                "{person}: the refresh is done, but the store refuses to keep it, while it keeps other changes: {why}"
            );
            return self.unkept().is_refused();
        }
        log::log!(why.level(), "{person}: the refresh is done but cannot be kept yet: {why}");
        self.unkept().waits()
    }
}
