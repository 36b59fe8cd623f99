//! A grant as the store in memory holds it.

use crate::domain::grant::Grant;
use crate::domain::schedule::Schedule;
use crate::domain::time::UnixTime;
use crate::store::Claim;
use crate::store::Fence;

/// A grant with its claim.
#[derive(Debug)]
pub(super) struct StoredGrant {
    pub(super) grant: Grant,
    pub(super) fence: Fence,
    pub(super) claimed: bool,
}

impl StoredGrant {
    /// `grant` with the person of this row, which only a consent or [`update_person`](crate::store::GrantCommands::update_person) changes.
    pub(super) fn of_same_person(&self, grant: Grant) -> Grant {
        Grant { person: self.grant.person.clone(), person_check_at: self.grant.person_check_at, ..grant }
    }

    pub(super) fn claim(&mut self, lease_end: UnixTime) -> Claim {
        self.fence.attempt += 1;
        self.claimed = true;
        let claim = Claim { grant: self.grant.clone(), fence: self.fence };
        self.grant.next = Schedule::at(lease_end);
        claim
    }
}
