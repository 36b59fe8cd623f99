//! Pages of the list. Each query names the index that it reads a range of, so SQLite rejects a query that would need more.

use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::ToSql;
use rusqlite::params;

use crate::domain::grant::CONSENT_SOON;
use crate::domain::grant::Grant;
use crate::domain::grant::GrantState;
use crate::domain::list::ListPosition;
use crate::domain::list::ListRequest;
use crate::domain::list::ListSelection;
use crate::domain::list::SortBy;
use crate::domain::list::SortKey;
use crate::domain::person::PersonId;
use crate::domain::refresh_token_end::STALE;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::rows;
use crate::store::sqlite::rows::COLUMNS;

/// The source of a list: a range of an index, and the column that the index is ordered by before the serial.
struct IndexRange {
    from: &'static str,
    /// `?1` is the integration, `?2` the current time.
    within: String,
    by: Option<&'static str>,
    serial: &'static str,
}

impl IndexRange {
    fn of(pick: &ListSelection) -> Self {
        let ours = "integration = ?1 AND ?2 IS NOT NULL";
        let plain =
            |index: &'static str, by| Self { from: index, within: ours.to_owned(), by, serial: "serial" };
        match pick {
            ListSelection::All(SortBy::CreatedAt) => plain("grants NOT INDEXED", None),
            ListSelection::All(SortBy::Email) => plain("grants INDEXED BY grants_address", Some("address")),
            ListSelection::All(SortBy::NextRefresh) => plain("grants INDEXED BY grants_due", Some("due_at")),
            ListSelection::InState(state) => Self {
                within: format!("integration = ?1 AND {}", in_state(*state)),
                ..plain("grants INDEXED BY grants_kind", Some("due_at"))
            },
            ListSelection::Working => Self {
                within: format!("{ours} AND kind = 0"),
                ..plain("grants INDEXED BY grants_kind", Some("due_at"))
            },
            ListSelection::ConsentNeeded => Self {
                within: format!("{ours} AND standing = 'consent_needed'"),
                ..plain("grants INDEXED BY grants_needed", Some("expires_at"))
            },
            ListSelection::ConsentEnding => Self {
                within: format!("integration = ?1 AND {}", consent_ends_before()),
                ..plain("grants INDEXED BY grants_ending", Some("refresh_token_expires_at"))
            },
            ListSelection::Matching(_) => Self {
                from: "texts CROSS JOIN grants ON serial = person",
                within: format!("{ours} AND text >= ?3 AND text < ?4"),
                by: Some("text"),
                serial: "person",
            },
        }
    }
}

/// The condition of a state as [`Grant::state`] defines it, in SQL. `?2` is the current time.
fn in_state(state: GrantState) -> &'static str {
    match state {
        GrantState::ConsentNeeded => "kind = 2 AND ?2 IS NOT NULL",
        GrantState::Retrying => "kind = 1 AND ?2 IS NOT NULL",
        GrantState::Due => "kind = 0 AND due_at <= ?2",
        GrantState::Fresh => "kind = 0 AND due_at > ?2",
    }
}

/// The condition of [`Grant::consent_ends_soon`] in SQL. `?2` is the current time.
pub(super) fn consent_ends_before() -> String {
    format!(
        "standing = 'alive' AND refresh_token_expires_at <= ?2 + {} AND (horizon <> 'moves' OR answered_at <= ?2 - {})",
        CONSENT_SOON.as_millis(),
        STALE.as_millis()
    )
}

/// The queries of a page, to be run one after the other. Behind a bookmark, rows with an equal key come first.
///
/// `?1` is the integration, `?2` the current time. `?3` and `?4` are the range of a search, `?5` and `?6` the key and the
/// serial of the bookmark. A comparison of key and serial at once would make SQLite read all rows with an equal key for
/// each page.
fn queries(page: &ListRequest) -> Vec<String> {
    let IndexRange { from, within, by, serial } = IndexRange::of(&page.selection);
    let (than, way) = if page.descending { ("<", "DESC") } else { (">", "ASC") };
    let key = by.unwrap_or("NULL");
    let order = by.map(|by| format!("{by} {way}, ")).unwrap_or_default();
    let query = |behind: &str| {
        format!(
            "SELECT {COLUMNS}, {key} AS key FROM {from} WHERE {within}{behind} ORDER BY {order}{serial} {way}"
        )
    };
    match (&page.after, by) {
        (None, Some(_)) => vec![query("")],
        (None, None) => vec![query(&format!(" AND {serial} > 0"))],
        (Some(_), None) => vec![query(&format!(" AND {serial} {than} ?6"))],
        (Some(_), Some(by)) => vec![
            query(&format!(" AND {by} = ?5 AND {serial} {than} ?6")),
            query(&format!(" AND {by} {than} ?5")),
        ],
    }
}

pub(super) fn list(
    db: &Connection,
    context: &QueryContext,
    page: &ListRequest,
) -> Result<Vec<(ListPosition, Grant)>, StoreError> {
    if let Some(among) = &page.only_persons {
        return Ok(page.select_from(by_persons(db, context, among)?.into_iter()));
    }
    let (mut from, mut to) = (None, None);
    if let ListSelection::Matching(search) = &page.selection {
        from = Some(search.as_str().to_owned());
        to = Some(format!("{}{}", search.as_str(), char::MAX));
    }
    let (key, serial): (Box<dyn ToSql>, _) = match &page.after {
        Some(ListPosition { key: SortKey::Text(text), serial }) => (Box::new(text.clone()), *serial),
        Some(ListPosition { key: SortKey::Number(number), serial }) => (Box::new(*number), *serial),
        Some(ListPosition { key: SortKey::None, serial }) => (Box::new(None::<i64>), *serial),
        None => (Box::new(None::<i64>), 0),
    };
    let bound: [&dyn ToSql; 6] = [&context.integration, &page.now.0, &from, &to, &*key, &serial];
    let mut list = Vec::new();
    for sql in queries(page) {
        let mut query = db.prepare_cached(&sql)?;
        for (at, value) in (1..=query.parameter_count()).zip(bound) {
            query.raw_bind_parameter(at, value)?;
        }
        let mut rows = query.raw_query();
        // Only rows that open count: a page that is not full must be the last one.
        while list.len() < page.limit_as_usize()
            && let Some(row) = rows.next()?
        {
            list.extend(listed(row, context, page)?);
        }
    }
    Ok(list)
}

/// A grant of the list. A row that does not open is shown as [`rows::unopened`] says, and must not hide the others.
fn listed(
    row: &Row<'_>,
    context: &QueryContext,
    page: &ListRequest,
) -> Result<Option<(ListPosition, Grant)>, StoreError> {
    let read = rows::read(row, context)?;
    let Some(grant) = read.grant.ok().or_else(|| rows::unopened(row, context)) else { return Ok(None) };
    let Some(key) = page.selection.key(&grant, page.now) else { return Ok(None) };
    // A person that a search finds by several texts is listed at the first.
    let elsewhere = matches!(&key, SortKey::Text(text) if row.get_ref("key")?.as_str() != Ok(text));
    Ok((!elsewhere).then_some((ListPosition { key, serial: read.fence.serial }, grant)))
}

/// The grants of a few persons, by id.
fn by_persons(
    db: &Connection,
    context: &QueryContext,
    among: &[PersonId],
) -> Result<Vec<(i64, Grant)>, StoreError> {
    let ids = serde_json::Value::from(among.iter().map(PersonId::as_str).collect::<Vec<_>>()).to_string();
    let sql = format!(
        "SELECT {COLUMNS} FROM (SELECT DISTINCT value AS id FROM json_each(?2)) CROSS JOIN grants \
         ON integration = ?1 AND person_id = id"
    );
    let mut query = db.prepare_cached(&sql)?;
    let mut rows = query.query(params![context.integration, ids])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let read = rows::read(row, context)?;
        let shown = read.grant.ok().or_else(|| rows::unopened(row, context));
        found.extend(shown.map(|grant| (read.fence.serial, grant)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::search::Search;
    use crate::domain::time::UnixTime;
    use crate::store::sqlite::overview;
    use crate::store::sqlite::persons;

    fn plan(db: &Connection, sql: &str) -> String {
        let mut query = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = query.raw_query();
        let mut plan = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            plan.push(row.get::<_, String>("detail").unwrap());
        }
        plan.join("; ")
    }

    fn tables() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        for sql in crate::store::sqlite::migrations::MIGRATIONS {
            db.execute_batch(sql).unwrap();
        }
        db
    }

    /// Checks that the queries of a list in one direction read the expected ranges: of the first page, of the rows equal to a
    /// bookmark, and of the rows behind it.
    fn hold(db: &Connection, (pick, index, equal, by): (&ListSelection, &str, &str, &str), backwards: bool) {
        let first =
            ListRequest { descending: backwards, ..ListRequest::first_page(pick.clone(), 50, UnixTime(0)) };
        let next =
            ListRequest { after: Some(ListPosition { key: SortKey::None, serial: 1 }), ..first.clone() };
        for sql in [&first, &next].into_iter().flat_map(queries) {
            let told = by == "text" || sql.contains(" INDEXED");
            assert!(told, "without a named index, SQLite may choose another one: {sql}");
        }
        let plans: Vec<String> = [first, next].iter().flat_map(queries).map(|sql| plan(db, &sql)).collect();
        let (table, serial, rest) = match by {
            "text" => ("texts", "person", "; SEARCH grants USING INTEGER PRIMARY KEY (rowid=?)"),
            _ => ("grants", "rowid", ""),
        };
        let than = if backwards { '<' } else { '>' };
        let behind = match by {
            "" => vec!["rowid>?".to_owned(), format!("rowid{than}?")],
            _ => vec![String::new(), format!("{by}=? AND {serial}{than}?"), by.to_owned()],
        };
        assert_eq!(plans.len(), behind.len());
        for (plan, behind) in plans.iter().zip(behind) {
            let expected = format!("SEARCH {table} USING {index} ({equal}{behind}");
            let expected = expected.strip_suffix(" AND ").unwrap_or(&expected);
            assert!(plan.starts_with(expected), "{pick:?}: {plan}, not {expected}");
            assert!(plan.ends_with(&format!("){rest}")), "no further step follows: {plan}");
        }
    }

    #[test]
    fn every_list_is_a_range_of_an_index_and_is_sorted_by_it() {
        let db = tables();
        let ada = Search::parse("ada").unwrap().unwrap();
        let (ours, kind) = ("integration=? AND ", "integration=? AND kind=? AND ");
        for (pick, index, equal, by) in [
            (&ListSelection::All(SortBy::CreatedAt), "INTEGER PRIMARY KEY", "", ""),
            (&ListSelection::All(SortBy::Email), "INDEX grants_address", ours, "address"),
            (&ListSelection::All(SortBy::NextRefresh), "INDEX grants_due", ours, "due_at"),
            (&ListSelection::InState(GrantState::Fresh), "INDEX grants_kind", kind, "due_at"),
            (&ListSelection::InState(GrantState::Due), "INDEX grants_kind", kind, "due_at"),
            (&ListSelection::InState(GrantState::Retrying), "INDEX grants_kind", kind, "due_at"),
            (&ListSelection::InState(GrantState::ConsentNeeded), "INDEX grants_kind", kind, "due_at"),
            (&ListSelection::Working, "INDEX grants_kind", kind, "due_at"),
            (&ListSelection::ConsentNeeded, "INDEX grants_needed", ours, "expires_at"),
            (&ListSelection::ConsentEnding, "INDEX grants_ending", ours, "refresh_token_expires_at"),
            (&ListSelection::Matching(ada), "PRIMARY KEY", "", "text"),
        ] {
            for backwards in [false, true] {
                hold(&db, (pick, index, equal, by), backwards);
            }
        }
    }

    #[test]
    fn an_address_is_looked_up_in_an_index() {
        let plan = plan(&tables(), persons::RESOLVE);
        assert!(
            plan.starts_with("SEARCH grants USING INDEX grants_address (integration=? AND address=?)"),
            "{plan}"
        );
    }

    #[test]
    fn numbers_are_ranges_of_an_index() {
        let db = tables();
        let ending = overview::ending();
        for (sql, expected) in [
            (&*ending, "INDEX grants_ending (integration=? AND refresh_token_expires_at<?)"),
            (overview::DUE, "INDEX grants_kind (integration=? AND kind=? AND due_at<?)"),
            (overview::FRESH, "INDEX grants_kind (integration=? AND kind=? AND due_at>?)"),
        ] {
            let plan = plan(&db, sql);
            assert!(plan.contains(&format!("SEARCH grants USING {expected}")), "{plan}");
            assert!(sql.contains(" INDEXED BY "), "{sql}");
        }
    }
}
