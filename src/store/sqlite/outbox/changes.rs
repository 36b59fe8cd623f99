//! Records the notices of changes to grants, keys and the breaker.

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::domain::grant::Grant;
use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::notice::OutboxEntries;
use crate::domain::notice::facts;
use crate::domain::notice::facts::Origin;
use crate::domain::notice::facts::ReplacedGrant;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::MetaKey;
use crate::store::Saved;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::meta;
use crate::store::sqlite::outbox::with_change::record_with_change;
use crate::store::sqlite::search_index;

/// Runs `work`, which stores a consent, and records the notices of the consent.
pub(in crate::store::sqlite) fn after_consent(
    db: &Connection,
    context: &QueryContext,
    (grant, origin): (&Grant, Origin),
    work: impl FnOnce() -> Result<Saved, StoreError>,
) -> Result<Saved, StoreError> {
    let sql = "SELECT at_risk, expires_at FROM grants WHERE integration = ?1 AND person_id = ?2";
    let replaced = db
        .prepare_cached(sql)?
        .query_row(params![context.integration, grant.person.id.as_str()], |row| {
            Ok(ReplacedGrant { at_risk: row.get(0)?, expires_at: UnixTime(row.get(1)?) })
        })
        .optional()?;
    let saved = work()?;
    if matches!(saved, Saved::New | Saved::Replaced) {
        record_with_change(db, context, &facts::after_consent(grant, replaced, origin))?;
    }
    Ok(saved)
}

/// Runs `work`, which removes a person's grant, and records the notice of the removal.
pub(in crate::store::sqlite) fn after_removal(
    db: &Connection,
    context: &QueryContext,
    person: &PersonId,
    work: impl FnOnce() -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    let (known, now) = (search_index::find_person(db, context, person)?, context.outbox.now());
    let gone = work()?;
    if let (true, Some(known), Some(now)) = (gone, known, now) {
        record_with_change(db, context, &facts::forgotten(&known.person, known.serial, now))?;
    }
    Ok(gone)
}

/// Records the notice that a key was created or revoked, if `done`.
pub(in crate::store::sqlite) fn after_key(
    db: &Connection,
    context: &QueryContext,
    (kind, id, name): (NoticeType, &str, &str),
    done: bool,
) -> Result<bool, StoreError> {
    if let Some(now) = context.outbox.now().filter(|_| done) {
        let notice = Notice::new(kind, None, id, now).with("name", name);
        record_with_change(db, context, &OutboxEntries::of(notice))?;
    }
    Ok(done)
}

/// Records the notice that the breaker opened or closed. Must run before the breaker's new text is stored.
pub(in crate::store::sqlite) fn after_breaker(
    db: &Connection,
    context: &QueryContext,
    note: MetaKey,
    text: &str,
) -> Result<(), StoreError> {
    let Some(now) = context.outbox.now().filter(|_| note == MetaKey::Breaker) else { return Ok(()) };
    let before = meta::get_meta(db, context, note)?;
    if let Some(notice) = facts::breaker_turned(before.as_deref(), text, now) {
        record_with_change(db, context, &OutboxEntries::of(notice))?;
    }
    Ok(())
}
