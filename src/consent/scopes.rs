//! Finds grants that lack a scope of `MY_APP_SCOPES`, because the setting grew after they were given.

use std::collections::BTreeSet;

use crate::consent::service::ConsentService;
use crate::domain::list::ListRequest;
use crate::domain::list::ListSelection;
use crate::domain::list::SortBy;
use crate::store::StoreError;

/// Number of grants read from the store at once.
const PART: u32 = 500;

/// Maximum number of grants checked. They are read oldest first, and the oldest lack the most.
const LOOKED_AT: usize = 10_000;

impl ConsentService {
    /// Logs one line about the grants that lack a configured scope. Logs nothing if there are none.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn tell_missing_scopes(&self) -> Result<(), StoreError> {
        let (mut persons, mut looked_at, mut after) = (0, 0, None);
        let mut missing = BTreeSet::new();
        while looked_at < LOOKED_AT {
            let page = ListRequest {
                after,
                ..ListRequest::first_page(
                    ListSelection::All(SortBy::CreatedAt),
                    PART,
                    self.context.clock.now(),
                )
            };
            let part = self.context.store.list(page).await?;
            looked_at += part.len();
            for (_, grant) in &part {
                let lacks = grant.missing_scopes(self.scopes());
                persons += usize::from(!lacks.is_empty());
                missing.extend(lacks);
            }
            let Some((last, _)) = part.last() else { break };
            after = Some(last.clone());
        }
        if persons > 0 {
            let missing: Vec<String> = missing.into_iter().collect();
            let oldest = if looked_at < LOOKED_AT { "" } else { "the oldest " };
            log::warn!(
                "{persons} of {oldest}{looked_at} grants lack a scope of MY_APP_SCOPES ({}); `webex-tokend people --missing-scope` \
                 lists the persons, who grant it by a new consent",
                missing.join(" ")
            );
        }
        Ok(())
    }
}
