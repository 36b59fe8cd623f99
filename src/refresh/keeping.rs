//! What Webex answered goes into the store, however long that takes.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use crate::domain::grant::Grant;
use crate::refresh::refresher::Refresher;
use crate::refresh::revise::mend;
use crate::store::Committed;
use crate::store::Fence;

/// Waits between tries to keep an outcome; the last one repeats.
const KEEP_AGAIN: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
];

/// One outcome that the store did not take at once. While there is one, nothing more is sent: it could not be kept either.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Refresher {
    /// Whether an outcome waits for the store: another could not be kept either.
    pub(super) fn keeps_nothing(&self) -> bool {
        self.unkept.load(Ordering::Relaxed) > 0
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
        let mut waiting = None;
        loop {
            self.mend(&mut grant, &mut mended);
            match self.parts().store.commit(fence, grant.clone()).await {
                Ok(committed) => {
                    self.parts().view.publish(&grant.person.id);
                    return Some(committed);
                }
                Err(why) => log::log!(
                    why.level(),
                    "{}: the refresh is done but cannot be kept yet: {why}",
                    grant.person
                ),
            }
            waiting.get_or_insert_with(|| Waiting::new(&self.unkept));
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
        }
    }
}
