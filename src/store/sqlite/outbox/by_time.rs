//! Notices about a grant that depend only on the time: its consent ends soon, or its token is at risk while no refresh is
//! tried.

use rusqlite::Connection;
use rusqlite::params;

use crate::domain::notice::OutboxEntries;
use crate::domain::notice::facts;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::outbox::record::record;
use crate::store::sqlite::queries;

/// Persons who may need a `consent.expiring`. The `CASE` computes the smallest step that has been reached.
/// [`crate::domain::refresh_token_end::NoticeState::step_due`] makes the decision.
const CANDIDATES: &str = "SELECT person_id FROM grants INDEXED BY grants_ending \
     WHERE integration = ?1 AND standing = 'alive' AND refresh_token_expires_at <= ?2 + 30 * 86400000 \
     AND claim_owner IS NULL AND (horizon = 'stays' OR answered_at <= ?2 - 7 * 86400000) \
     AND coalesce(expiring_told, 99) > CASE WHEN refresh_token_expires_at <= ?2 + 86400000 THEN 1 \
         WHEN refresh_token_expires_at <= ?2 + 3 * 86400000 THEN 3 \
         WHEN refresh_token_expires_at <= ?2 + 7 * 86400000 THEN 7 \
         WHEN refresh_token_expires_at <= ?2 + 14 * 86400000 THEN 14 ELSE 30 END LIMIT ?3";

pub(super) fn expiring_candidates(
    db: &Connection,
    context: &QueryContext,
    now: UnixTime,
    limit: u32,
) -> Result<Vec<PersonId>, StoreError> {
    candidates(db, context, CANDIDATES, (now, limit))
}

fn candidates(
    db: &Connection,
    context: &QueryContext,
    sql: &str,
    (now, limit): (UnixTime, u32),
) -> Result<Vec<PersonId>, StoreError> {
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map(params![context.integration, now.0, limit], |row| row.get::<_, String>(0))?;
    let mut persons = Vec::new();
    for id in rows {
        persons.extend(PersonId::parse(&id?).ok());
    }
    Ok(persons)
}

pub(super) fn add_expiring_notice(
    db: &Connection,
    context: &QueryContext,
    person: &PersonId,
    now: UnixTime,
) -> Result<bool, StoreError> {
    let Some(found) = queries::one(db, context, person)?.filter(|found| !found.claimed) else {
        return Ok(false);
    };
    // The notice about a record that cannot be decrypted is created when its refresh is due.
    let Some((state, outbox_entries)) = found.grant.ok().and_then(|grant| facts::expiring(&grant, now))
    else {
        return Ok(false);
    };
    let sql = "UPDATE OR FAIL grants SET expiring_told = ?2 WHERE serial = ?1";
    db.prepare_cached(sql)?.execute(params![found.fence.serial, state.last_expiring_step])?;
    record(db, context, &outbox_entries)?;
    Ok(true)
}

/// Persons whose token may be at risk. [`crate::domain::schedule::Policy::is_at_risk`] makes the decision.
const AT_RISK: &str = "SELECT person_id FROM grants INDEXED BY grants_expires \
     WHERE integration = ?1 AND expires_at <= ?2 + 86400000 AND standing = 'alive' AND at_risk = 0 \
     AND claim_owner IS NULL AND (expires_at <= ?2 OR expires_at - ?2 <= \
     min(max((expires_at - renewed_at) / 10, 300000), 86400000, (expires_at - renewed_at) / 2)) \
     ORDER BY expires_at LIMIT ?3";

pub(super) fn at_risk_candidates(
    db: &Connection,
    context: &QueryContext,
    now: UnixTime,
    limit: u32,
) -> Result<Vec<PersonId>, StoreError> {
    candidates(db, context, AT_RISK, (now, limit))
}

pub(super) fn add_at_risk_notices(
    db: &Connection,
    context: &QueryContext,
    (persons, reason): (&[PersonId], &str),
    now: UnixTime,
) -> Result<usize, StoreError> {
    let mut changed = 0;
    for person in persons {
        let found = queries::one(db, context, person)?.filter(|found| !found.claimed);
        let Some(found) = found else { continue };
        let outbox_entries = match found.grant {
            Ok(grant) => {
                let risk = facts::at_risk_without_refresh(&grant, reason, now);
                let Some((state, outbox_entries)) = risk else { continue };
                let sql = "UPDATE OR FAIL grants SET at_risk = ?2 WHERE serial = ?1";
                db.prepare_cached(sql)?.execute(params![found.fence.serial, state.at_risk])?;
                outbox_entries
            }
            // A record that cannot be decrypted is postponed. Otherwise it would remain a candidate for ever.
            Err(_) => queries::postpone_unreadable(db, context, person, found.fence, now)?
                .map(OutboxEntries::of)
                .unwrap_or_default(),
        };
        record(db, context, &outbox_entries)?;
        changed += 1;
    }
    Ok(changed)
}
