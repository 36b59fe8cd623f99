//! Claims: a refresh may be sent only for a claimed grant.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use crate::domain::breaker::DueSummary;
use crate::domain::breaker::Role;
use crate::domain::grant::GrantStatus;
use crate::domain::list::ListRequest;
use crate::domain::list::ListSelection;
use crate::domain::list::SortBy;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::grant_cache::EventPosition;
use crate::refresh::in_flight::InFlightGuard;
use crate::refresh::report::log_about;
use crate::refresh::service::RefreshService;
use crate::store::Claim;
use crate::store::ClaimOrder;
use crate::store::ClaimRequest;
use crate::store::Lease;
use crate::store::StoreError;

/// Lease of a claim: enough for the wait for the start, the whole call and the commit.
pub(super) const LEASE: Duration = Duration::from_secs(180);

/// A refresh waits at most this long for the number of living grants.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// Grants to look through for one that is not claimed.
const PROBE_CANDIDATES: u32 = 50;

/// A claim with its mark, which excludes other tasks of this process until it is dropped.
pub(super) struct ClaimedGrant {
    pub(super) claim: Claim,
    /// When another process may claim the grant.
    pub(super) lease_end: UnixTime,
    pub(super) busy: InFlightGuard,
    pub(super) role: Role,
    /// Whether a reader or an operator waits for it.
    pub(super) on_demand: bool,
    /// True if there is known to be no other living grant. False for an ordinary refresh, where the count is
    /// read after its response if needed.
    pub(super) only_person: bool,
    /// By how much its dates had been corrected when it was claimed, at least.
    pub(super) corrected: Duration,
    /// The latest change that had been published when it was claimed, at most.
    pub(super) published: EventPosition,
}

impl RefreshService {
    /// Claims up to `limit` grants that were due at `due_by`. A refresh may be sent only for a claimed grant.
    pub(super) async fn claim(
        &self,
        due_by: UnixTime,
        limit: usize,
        probe: bool,
    ) -> Result<(Vec<ClaimedGrant>, Vec<PersonId>), StoreError> {
        let role = if probe { Role::Probe } else { Role::Ordinary };
        let only_person = self.is_the_only_person_of_a_probe(role).await;
        let now = self.context.clock.now();
        let order = if probe { ClaimOrder::Healthiest } else { self.next_claim_order() };
        let lease = self.lease(now);
        let lease_end = lease.end;
        let ask = ClaimRequest { lease, due_by: due_by.min(now), limit, except: self.busy.persons(), order };
        let (corrected, published) = (self.set_back().corrected, self.context.cache.events().position());
        // The semaphore is never closed.
        let _claiming = self.claiming.acquire().await;
        let claims = self.context.store.claim_due(ask).await?;
        let take = |claim: Claim| {
            let busy = self.busy.begin(&claim.grant.person.id);
            ClaimedGrant { claim, lease_end, busy, role, on_demand: false, only_person, corrected, published }
        };
        Ok((claims.claims.into_iter().map(take).collect(), claims.unreadable))
    }

    /// Whether there is at most one living grant; false if the store cannot be read, or not soon.
    pub(super) async fn is_the_only_person(&self) -> bool {
        let totals = timeout(COUNT_TIMEOUT, self.context.store.totals()).await;
        let totals = totals.ok().and_then(Result::ok);
        totals.is_some_and(|totals| totals.people.saturating_sub(totals.consent_needed) <= 1)
    }

    /// For a probe, [`RefreshService::is_the_only_person`]; otherwise false. The count comes before the
    /// claim, so that a slow store does not shorten the lease. A probe's response decides at once, so the
    /// count cannot come after it.
    async fn is_the_only_person_of_a_probe(&self, role: Role) -> bool {
        role == Role::Probe && self.is_the_only_person().await
    }

    /// Three orders in turn: by the least life left alone, a few grants whose calls hang would starve all others.
    fn next_claim_order(&self) -> ClaimOrder {
        match self.claims.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => ClaimOrder::LeastLife,
            1 => ClaimOrder::NoFailures,
            _ => ClaimOrder::LongestFailing,
        }
    }

    /// Claims the living grant that is due next for a probe, however far ahead that is. Closes the breaker instead if that
    /// grant's tokens show that no probe is needed.
    pub(super) async fn claim_next(&self) -> Result<Option<ClaimedGrant>, StoreError> {
        let page = ListRequest::first_page(
            ListSelection::All(SortBy::NextRefresh),
            PROBE_CANDIDATES,
            self.context.clock.now(),
        );
        for (_, grant) in self.context.store.list(page).await? {
            if grant.status != GrantStatus::Active {
                continue;
            }
            if self.close_if_accepted(grant.renewed_at).await {
                return Ok(None);
            }
            let taken = self.claim_probe(&grant.person.id).await?;
            if taken.is_some() {
                return Ok(taken);
            }
        }
        Ok(None)
    }

    /// Claims one person's grant for a probe, unless it is being refreshed.
    pub(super) async fn claim_probe(&self, person: &PersonId) -> Result<Option<ClaimedGrant>, StoreError> {
        let (_, busy) = self.busy.join(person, false);
        let Some(busy) = busy else { return Ok(None) };
        let taken = self.claim_one(busy, Role::Probe).await?;
        Ok(taken.map(|taken| ClaimedGrant { on_demand: false, ..taken }))
    }

    /// What waits for a refresh. While the breaker is closed, that does not matter and is not read.
    pub(super) async fn due_summary(&self) -> Result<DueSummary, StoreError> {
        if self.breaker().is_open() {
            self.context.store.due_summary(self.context.clock.now()).await
        } else {
            Ok(DueSummary::default())
        }
    }

    /// Claims one person's grant, due or not, for a reader or an operator.
    pub(super) async fn claim_one(
        &self,
        busy: InFlightGuard,
        role: Role,
    ) -> Result<Option<ClaimedGrant>, StoreError> {
        let only_person = self.is_the_only_person_of_a_probe(role).await;
        let (lease, corrected) = (self.lease(self.context.clock.now()), self.set_back().corrected);
        let (lease_end, published) = (lease.end, self.context.cache.events().position());
        if let Some(claim) = self.context.store.claim_one(busy.person().clone(), lease).await? {
            return Ok(Some(ClaimedGrant {
                claim,
                lease_end,
                busy,
                role,
                on_demand: true,
                only_person,
                corrected,
                published,
            }));
        }
        // The event loop may have claimed the grant a moment ago. Then callers that wait for `busy` wait for the loop's
        // refresh, which must be marked before this mark is removed.
        drop(self.claiming.acquire().await);
        Ok(None)
    }

    pub(super) fn lease(&self, now: UnixTime) -> Lease {
        Lease { now, owner: self.owner.clone(), end: now + LEASE }
    }

    /// Releases a claim without a refresh. If that fails, its lease ends by itself.
    pub(super) async fn release(&self, taken: ClaimedGrant) {
        let ClaimedGrant { claim: Claim { mut grant, fence }, busy: _busy, role, mut corrected, .. } = taken;
        if role == Role::Probe {
            self.breaker().cancel_probe();
        }
        self.correct_dates(&mut grant, &mut corrected);
        match self.context.store.release(grant.person.id.clone(), fence, grant.next).await {
            Ok(_) => self.context.cache.invalidate(&grant.person.id),
            Err(why) => {
                log_about(&grant.person, why.log_level(), &format!("cannot release the claim: {why}"))
            }
        }
    }
}
