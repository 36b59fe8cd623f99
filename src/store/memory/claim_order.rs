//! The order in which due grants are claimed, in memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::domain::grant::GrantStatus;
use crate::domain::person::PersonId;
use crate::store::ClaimOrder;
use crate::store::ClaimRequest;
use crate::store::memory::stored_grant::StoredGrant;

/// Sorts due persons, who come with the least life left first.
pub(super) fn sort(due: &mut [PersonId], rows: &BTreeMap<PersonId, StoredGrant>, ask: &ClaimRequest) {
    let now = ask.lease.now;
    let lives = |row: &StoredGrant| row.grant.tokens.expires_at > now;
    let fails = |row: &StoredGrant| row.grant.failures > 0 || row.grant.status == GrantStatus::ConsentNeeded;
    let row = |person: &PersonId| rows.get(person);
    match ask.order {
        ClaimOrder::LeastLife => {}
        ClaimOrder::NoFailures => {
            due.sort_by_key(|person| row(person).map(|row| (!lives(row), lives(row) && fails(row))));
        }
        ClaimOrder::LongestFailing => due.sort_by_key(|person| {
            let first = |row: &StoredGrant| (lives(row) && fails(row)).then_some(row.grant.next.due_at);
            row(person).map(|row| (!lives(row), first(row).is_none(), first(row)))
        }),
        ClaimOrder::Healthiest => due.sort_by_key(|person| {
            row(person).map(|row| {
                (
                    row.grant.status == GrantStatus::ConsentNeeded,
                    row.grant.last.outcome.is_personal(),
                    row.grant.failures,
                    !lives(row),
                    Reverse((row.grant.tokens.expires_at, row.fence.serial)),
                )
            })
        }),
    }
}
