//! Claims of grants in SQL. Each function runs inside a transaction of the writer.

use std::sync::LazyLock;

use rusqlite::Connection;
use rusqlite::params;

use crate::domain::person::PersonId;
use crate::store::Claim;
use crate::store::ClaimRequest;
use crate::store::Claims;
use crate::store::Fence;
use crate::store::Lease;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::meta::bump_last_write;
use crate::store::sqlite::queries;
use crate::store::sqlite::queries::postpone_unreadable;
use crate::store::sqlite::rows;
use crate::store::sqlite::rows::COLUMNS;
use crate::store::sqlite::rows::DecodedRow;

static DUE_ROW: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {COLUMNS} FROM grants WHERE serial = ?1 AND integration = ?2 AND due_at <= ?3")
});

pub(super) fn claim_due(
    db: &Connection,
    context: &QueryContext,
    ask: &ClaimRequest,
) -> Result<Claims, StoreError> {
    let mut claims = Claims::default();
    for found in due(db, context, ask)? {
        let (person, fence) = (found.person, found.fence);
        match found.grant {
            Ok(grant) => {
                claim(db, context, fence, &ask.lease)?;
                let fence = Fence { attempt: fence.attempt + 1, ..fence };
                claims.claims.push(Claim { grant, fence });
            }
            Err(_) => {
                claims.outbox_entries.notices.extend(postpone_unreadable(
                    db,
                    context,
                    &person,
                    fence,
                    ask.lease.now,
                )?);
                claims.unreadable.push(person);
            }
        }
    }
    claims.outbox_entries.add_history_of_notices();
    if !claims.claims.is_empty() {
        bump_last_write(db, context, ask.lease.now)?;
    }
    Ok(claims)
}

/// The rows to claim, in the order of the request.
fn due(db: &Connection, context: &QueryContext, ask: &ClaimRequest) -> Result<Vec<DecodedRow>, StoreError> {
    let mut claim_queues = context.claim_queues();
    let Some(claim_queue) = claim_queues.queue_for(ask.order) else { return healthiest(db, context, ask) };
    let mut query = db.prepare_cached(&DUE_ROW)?;
    let mut found = Vec::new();
    claim_queue.begin(db, &context.integration, ask)?;
    while found.len() < ask.limit {
        let Some(serial) = claim_queue.next(db, &context.integration, ask)? else { break };
        let mut rows = query.query(params![serial, context.integration, ask.due_by.0])?;
        if let Some(row) = rows.next()? {
            let read = rows::read(row, context)?;
            // Rows that were just found stay due until they are claimed, and may be found again when the queue is refilled.
            let passed = |read: &DecodedRow| {
                ask.except.contains(&read.person)
                    || found.iter().any(|one: &DecodedRow| one.fence == read.fence)
            };
            found.extend(Some(read).filter(|read| !passed(read)));
        }
    }
    Ok(found)
}

/// The grant for a probe. Probes are rare, so all due rows are read. Rows of excluded persons are skipped here, so the query
/// asks for that many more.
fn healthiest(
    db: &Connection,
    context: &QueryContext,
    ask: &ClaimRequest,
) -> Result<Vec<DecodedRow>, StoreError> {
    let reach = i64::try_from(ask.limit.saturating_add(ask.except.len())).unwrap_or(i64::MAX);
    let mut query = db.prepare_cached(&healthiest_sql())?;
    let mut rows = query.query(params![context.integration, ask.due_by.0, ask.lease.now.0, reach])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let read = rows::read(row, context)?;
        if found.len() < ask.limit && !ask.except.contains(&read.person) {
            found.push(read);
        }
    }
    Ok(found)
}

fn healthiest_sql() -> String {
    let order = "standing = 'consent_needed', last_outcome IN ('client_refused', 'busy', 'refused', 'token_limit'), failures, \
         expires_at <= ?3, expires_at DESC, serial DESC";
    format!(
        "SELECT {COLUMNS} FROM grants WHERE serial IN (SELECT serial FROM grants INDEXED BY grants_due \
         WHERE integration = ?1 AND due_at <= ?2 ORDER BY {order} LIMIT ?4) ORDER BY {order}"
    )
}

fn claim(db: &Connection, context: &QueryContext, fence: Fence, lease: &Lease) -> Result<(), StoreError> {
    context.claim_queues().invalidate_if_due(lease.end);
    let sql = "UPDATE grants SET attempt = attempt + 1, claim_owner = ?2, due_at = ?3, wake_at = ?3 WHERE serial = ?1";
    db.prepare_cached(sql)?.execute(params![fence.serial, lease.owner, lease.end.0])?;
    Ok(())
}

pub(super) fn claim_one(
    db: &Connection,
    context: &QueryContext,
    person: &PersonId,
    lease: &Lease,
) -> Result<Option<Claim>, StoreError> {
    let Some(found) = queries::one(db, context, person)? else { return Ok(None) };
    let grant = found.grant?;
    if found.claimed && grant.next.due_at > lease.now {
        return Ok(None);
    }
    claim(db, context, found.fence, lease)?;
    bump_last_write(db, context, lease.now)?;
    Ok(Some(Claim { grant, fence: Fence { attempt: found.fence.attempt + 1, ..found.fence } }))
}
