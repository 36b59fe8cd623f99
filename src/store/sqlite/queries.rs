//! The operations of the store in SQL. Each runs inside a transaction of the writer, or on a reader.

use std::sync::LazyLock;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::named_params;
use rusqlite::params;

use crate::domain::breaker::DueSummary;
use crate::domain::grant::Grant;
use crate::domain::notice::Notice;
use crate::domain::notice::facts;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::schedule::Schedule;
use crate::domain::time::UnixTime;
use crate::store::BatchPosition;
use crate::store::Committed;
use crate::store::Fence;
use crate::store::GrantUpdate;
use crate::store::Saved;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::meta;
use crate::store::sqlite::meta::bump_last_write;
use crate::store::sqlite::rows;
use crate::store::sqlite::rows::COLUMNS;
use crate::store::sqlite::rows::DecodedRow;
use crate::store::sqlite::search_index;

/// Pause before a record that does not open is tried again. It may be restored by then, and must not block claims meanwhile.
/// Until then lists and numbers count it as one that needs a new consent, because only that helps.
const UNREADABLE_STEP: Duration = Duration::from_secs(86_400);

/// The columns of the person, and the MAC over them. They are written separately, because they change rarely and every write
/// would have to update their indexes.
pub(super) const SET_PERSON: &str = "email = :email, display_name = :display_name, org_id = :org_id, \
     person_mac = :person_mac, person_check_at = :person_check_at";

const SET: &str = "access_token = :access_token, \
     refresh_token = :refresh_token, token_type = :token_type, scope = :scope, obtained_at = :obtained_at, \
     renewed_at = :renewed_at, answered_at = :answered_at, expires_at = :expires_at, \
     refresh_token_expires_at = :refresh_token_expires_at, standing = :standing, \
     refused_since = :refused_since, last_at = :last_at, last_outcome = :last_outcome, last_detail = :last_detail, failures = :failures, due_at = :due_at, \
     wake_at = :wake_at, horizon = :horizon, expiring_told = :expiring_told, at_risk = :at_risk";

/// Statements that change rows with triggers say `OR FAIL`. With the default `OR ABORT`, SQLite copies every page that such a
/// statement changes, to be able to undo it. Here whole pieces of work are undone instead (see `worker`).
static REPLACE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE OR FAIL grants SET {SET_PERSON}, {SET}, claim_owner = NULL, version = version + 1 \
         WHERE serial = :serial AND NOT (obtained_at > :obtained_at AND obtained_at <= :last_at)"
    )
});

static COMMIT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE OR FAIL grants SET {SET}, claim_owner = NULL, version = version + 1 \
         WHERE serial = :serial AND integration = :integration AND person_id = :person_id \
         AND version = :version AND attempt = :attempt AND claim_owner IS NOT NULL"
    )
});

static UPDATE_BATCH: LazyLock<String> =
    LazyLock::new(|| format!("UPDATE OR FAIL grants SET {SET} WHERE serial = :serial"));

pub(super) static ONE: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {COLUMNS} FROM grants WHERE integration = ?1 AND person_id = ?2"));

pub(super) fn save_consent(
    db: &Connection,
    context: &QueryContext,
    grant: &Grant,
) -> Result<Saved, StoreError> {
    bump_last_write(db, context, grant.last.at)?;
    context.claim_queues().invalidate_if_due(grant.next.due_at);
    if let Some(known) = search_index::find_person(db, context, &grant.person.id)? {
        if rows::write(db, &REPLACE, context, grant, named_params! { ":serial": known.serial })? == 0 {
            return Ok(Saved::Older);
        }
        db.prepare_cached("DELETE FROM imports WHERE serial = ?1")?.execute([known.serial])?;
        context.unreadable().remove(&known.serial);
        search_index::update(db, known.serial, Some(&known.person), Some(&grant.person))?;
        return Ok(Saved::Replaced);
    }
    let insert = "INSERT OR FAIL INTO grants (integration, person_id, email, display_name, org_id, person_mac, access_token, \
         refresh_token, token_type, scope, obtained_at, renewed_at, answered_at, expires_at, refresh_token_expires_at, \
         standing, refused_since, last_at, last_outcome, last_detail, failures, due_at, wake_at, person_check_at, horizon, \
         expiring_told, at_risk, version, attempt) \
         VALUES (:integration, :person_id, :email, :display_name, :org_id, :person_mac, :access_token, :refresh_token, \
         :token_type, :scope, :obtained_at, :renewed_at, :answered_at, :expires_at, :refresh_token_expires_at, \
         :standing, :refused_since, :last_at, :last_outcome, :last_detail, :failures, :due_at, :wake_at, :person_check_at, :horizon, \
         :expiring_told, :at_risk, 1, 0)";
    rows::write(db, insert, context, grant, &[])?;
    search_index::update(db, db.last_insert_rowid(), None, Some(&grant.person))?;
    Ok(Saved::New)
}

/// A record that does not open needs a new consent. Answers the notice of it, unless that was known before.
pub(super) fn postpone_unreadable(
    db: &Connection,
    context: &QueryContext,
    person: &PersonId,
    fence: Fence,
    now: UnixTime,
) -> Result<Option<Notice>, StoreError> {
    context.claim_queues().invalidate_if_due(now + UNREADABLE_STEP);
    let sql = "UPDATE OR FAIL grants SET claim_owner = NULL, due_at = ?2, wake_at = ?2 WHERE serial = ?1";
    db.prepare_cached(sql)?.execute(params![fence.serial, (now + UNREADABLE_STEP).0])?;
    let sql = "UPDATE OR FAIL grants SET standing = 'consent_needed' WHERE serial = ?1 AND standing <> 'consent_needed'";
    if db.prepare_cached(sql)?.execute([fence.serial])? == 0 {
        return Ok(None);
    }
    let mut query = db.prepare_cached(&ONE)?;
    let mut rows = query.query(params![context.integration, person.as_str()])?;
    let shown = rows.next()?.and_then(|row| rows::unopened(row, context));
    let person = shown.map_or_else(|| Person::known_by(person.clone()), |grant| grant.person);
    Ok(Some(facts::unreadable(&person, (fence.serial, fence.version), now)))
}

pub(super) fn commit(
    db: &Connection,
    context: &QueryContext,
    fence: Fence,
    grant: &Grant,
) -> Result<Committed, StoreError> {
    let fenced =
        named_params! { ":serial": fence.serial, ":version": fence.version, ":attempt": fence.attempt };
    if rows::write(db, &COMMIT, context, grant, fenced)? == 0 {
        return Ok(Committed::Superseded);
    }
    context.claim_queues().invalidate_if_due(grant.next.due_at);
    bump_last_write(db, context, grant.last.at)?;
    Ok(Committed::Kept)
}

pub(super) fn release(
    db: &Connection,
    context: &QueryContext,
    person: &PersonId,
    fence: Fence,
    next: Schedule,
) -> Result<Committed, StoreError> {
    let sql = "UPDATE grants SET due_at = ?1, wake_at = ?2, claim_owner = NULL WHERE serial = ?3 AND integration = ?4 \
         AND person_id = ?5 AND version = ?6 AND attempt = ?7 AND claim_owner IS NOT NULL";
    let Fence { serial, version, attempt } = fence;
    let (id, integration) = (person.as_str(), &context.integration);
    let changed = db.prepare_cached(sql)?.execute(params![
        next.due_at.0,
        next.wake_at.0,
        serial,
        integration,
        id,
        version,
        attempt
    ])?;
    if changed == 0 {
        return Ok(Committed::Superseded);
    }
    context.claim_queues().invalidate_if_due(next.due_at);
    Ok(Committed::Kept)
}

pub(super) fn find(
    db: &Connection,
    context: &QueryContext,
    person: &PersonId,
) -> Result<Option<Grant>, StoreError> {
    one(db, context, person)?.map(|read| read.grant).transpose()
}

pub(super) fn one(
    db: &Connection,
    context: &QueryContext,
    person: &PersonId,
) -> Result<Option<DecodedRow>, StoreError> {
    let mut query = db.prepare_cached(&ONE)?;
    let mut rows = query.query(params![context.integration, person.as_str()])?;
    rows.next()?.map(|row| rows::read(row, context)).transpose()
}

const NEXT_WAKE: &str = "SELECT min(wake_at) FROM grants WHERE integration = ?1 AND wake_at > ?2";

pub(super) fn next_wake(
    db: &Connection,
    context: &QueryContext,
    after: UnixTime,
) -> Result<Option<UnixTime>, StoreError> {
    let mut query = db.prepare_cached(NEXT_WAKE)?;
    let wake: Option<i64> = query.query_row(params![context.integration, after.0], |row| row.get(0))?;
    Ok(wake.map(UnixTime))
}

/// Whether a grant of this kind is due.
const ANY_DUE: &str = "SELECT EXISTS (SELECT 1 FROM grants INDEXED BY grants_kind \
     WHERE integration = ?1 AND kind = ?2 AND due_at <= ?3)";

/// The due living tokens with the least life left. Only the first 50,000 living tokens are searched: if many are due, they
/// are among those.
static NEXT_TO_DIE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {COLUMNS} FROM (SELECT * FROM grants INDEXED BY grants_expires WHERE integration = ?1 AND expires_at > ?2 \
         ORDER BY expires_at, serial LIMIT 50000) WHERE kind < 2 AND due_at <= ?2 LIMIT 16"
    )
});

pub(super) fn due_summary(
    db: &Connection,
    context: &QueryContext,
    now: UnixTime,
) -> Result<DueSummary, StoreError> {
    let mut any_due = db.prepare_cached(ANY_DUE)?;
    let mut is_due =
        |kind: i64| any_due.query_row(params![context.integration, kind, now.0], |row| row.get(0));
    let (healthy, retrying): (bool, bool) = (is_due(0)?, is_due(1)?);
    let mut waiting = DueSummary { due: healthy || retrying, healthy, next_to_die: None };
    let mut query = db.prepare_cached(&NEXT_TO_DIE)?;
    let mut found = query.query(params![context.integration, now.0])?;
    while let Some(row) = found.next()?.filter(|_| waiting.due && waiting.next_to_die.is_none()) {
        // A row that does not open cannot be the probe.
        let grant = rows::read(row, context)?.grant.ok();
        waiting.next_to_die = grant.map(|grant| (grant.person.id.clone(), grant.dates()));
    }
    Ok(waiting)
}

pub(super) fn update_batch(
    db: &Connection,
    context: &QueryContext,
    after: BatchPosition,
    limit: u32,
    revision: &GrantUpdate,
) -> Result<Option<BatchPosition>, StoreError> {
    // Without `NOT INDEXED`, SQLite uses an index over the integration and sorts all its rows for each step.
    let sql = format!(
        "SELECT {COLUMNS} FROM grants NOT INDEXED WHERE integration = ?1 AND serial > ?2 ORDER BY serial LIMIT ?3"
    );
    let mut found = Vec::new();
    {
        let mut query = db.prepare_cached(&sql)?;
        let mut rows = query.query(params![context.integration, after.0, limit])?;
        while let Some(row) = rows.next()? {
            found.push(rows::read(row, context)?);
        }
    }
    let last = found.last().map(|read| BatchPosition(read.fence.serial));
    for read in found {
        // A row that does not open is reported when the event loop claims it.
        let Ok(mut grant) = read.grant else { continue };
        let before = read.claimed.then(|| grant.clone());
        let mut changed = revision(&mut grant);
        if let Some(before) = before {
            // The claim determines when the grant is due. If only the plan was changed, nothing is written.
            grant.next = before.next;
            changed &= grant != before;
        }
        if changed {
            context.claim_queues().invalidate_if_due(grant.next.due_at);
            rows::write(db, &UPDATE_BATCH, context, &grant, named_params! { ":serial": read.fence.serial })?;
        }
    }
    Ok(last)
}

pub(super) fn clamp_times(
    db: &Connection,
    context: &QueryContext,
    now: UnixTime,
    lease_end: UnixTime,
) -> Result<(), StoreError> {
    let latest = "UPDATE meta SET value = min(value, ?2) WHERE name = ?1";
    db.prepare_cached(latest)?.execute(params![meta::name_of("latest", context), now.0])?;
    let claims = "UPDATE grants INDEXED BY grants_claimed SET due_at = ?2, wake_at = ?2 \
         WHERE claim_owner IS NOT NULL AND integration = ?1 AND due_at > ?2";
    db.prepare_cached(claims)?.execute(params![context.integration, lease_end.0])?;
    Ok(())
}
