//! Applies a change to all stored grants, in steps.

use tokio_util::sync::CancellationToken;

use crate::refresh::progress::ChangeProgress;
use crate::service_context::ServiceContext;
use crate::store::BatchPosition;
use crate::store::GrantUpdate;
use crate::store::StoreError;

/// Grants per step: some milliseconds of the writer's time.
const STEP: u32 = 500;

/// Applies `revision` to all grants behind `after`. `what` names the change in the log, if it takes long. If the store fails or the
/// daemon stops, `after` is where to continue. Answers whether it reached the end.
pub(super) async fn update_all(
    context: &ServiceContext,
    (what, revision): (&'static str, GrantUpdate),
    after: &mut Option<BatchPosition>,
    stopping: &CancellationToken,
) -> Result<bool, StoreError> {
    let (begun, mut progress) = (*after, ChangeProgress::of(what));
    let done = loop {
        let Some(cursor) = *after else {
            progress.end();
            break Ok(true);
        };
        if stopping.is_cancelled() {
            break Ok(false);
        }
        match context.store.update_batch(cursor, STEP, revision.clone()).await {
            Ok(next) => *after = next,
            Err(why) => break Err(why),
        }
        if after.is_some() {
            progress.step(context, STEP).await;
        }
    };
    // Only once, and only if there was a change, because afterwards it is no longer known which grants have changed. Until
    // then readers get the cached dates.
    if *after != begun {
        context.cache.invalidate_all();
    }
    done
}
