//! Converts grants to rows and back.

use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::ToSql;
use rusqlite::named_params;
use rusqlite::types::ValueRef;

use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::grant::LastAttempt;
use crate::domain::grant::Tokens;
use crate::domain::notice::OutboxEntries;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::refresh_token_end::NoticeState;
use crate::domain::refresh_token_end::RefreshTokenEnd;
use crate::domain::schedule::Schedule;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;
use crate::store::Fence;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::macs;

/// The columns that [`read`] needs. A query for it begins with them.
pub(super) const COLUMNS: &str = "serial, version, attempt, person_id, email, display_name, org_id, access_token, \
     refresh_token, token_type, scope, obtained_at, renewed_at, answered_at, expires_at, refresh_token_expires_at, \
     standing, refused_since, last_at, last_outcome, last_detail, failures, due_at, wake_at, claim_owner, person_mac, \
     person_check_at, horizon, expiring_told, at_risk";

/// The index of a column in [`COLUMNS`], for use at compile time. A look-up by name at run time would cost more than the
/// read.
const fn at(column: &str) -> usize {
    let (mut number, mut rest) = (0, COLUMNS.as_bytes());
    while !starts(rest, column.as_bytes()) {
        // Moves to the next column. Past the last one, the assertion fails at compile time.
        while let Some((&letter, behind)) = rest.split_first() {
            rest = behind;
            if letter == b' ' {
                break;
            }
        }
        assert!(!rest.is_empty(), "no such column");
        number += 1;
    }
    number
}

/// Whether a list of names starts with this one.
const fn starts(mut list: &[u8], mut name: &[u8]) -> bool {
    while let Some((letter, behind)) = name.split_first() {
        match list.split_first() {
            Some((same, rest)) if *same == *letter => (list, name) = (rest, behind),
            _ => return false,
        }
    }
    matches!(list, [] | [b',', ..])
}

const ALIVE: &str = "alive";
const CONSENT_NEEDED: &str = "consent_needed";

/// A row of `grants`. If it does not open, `grant` is [`StoreError::Unreadable`].
pub(super) struct DecodedRow {
    pub(super) fence: Fence,
    pub(super) person: PersonId,
    pub(super) claimed: bool,
    pub(super) grant: Result<Grant, StoreError>,
}

impl QueryContext {
    /// The place that a sealed token is bound to, so that it opens in no other row and no other column.
    fn place(&self, person: &PersonId, column: &str) -> String {
        format!("grants\n{}\n{person}\n{column}", self.integration)
    }

    fn open(
        &self,
        person: &PersonId,
        column: &str,
        sealed: rusqlite::Result<Vec<u8>>,
    ) -> Result<Secret, StoreError> {
        let opened = self.sealer.open(&sealed?, &self.place(person, column));
        opened.map_err(|_| StoreError::Unreadable(person.clone()))
    }

    fn seal(&self, secret: &Secret, person: &PersonId, column: &str) -> Result<Vec<u8>, StoreError> {
        self.sealer.seal(secret, &self.place(person, column)).map_err(|e| StoreError::Failed(e.to_string()))
    }
}

pub(super) fn read(row: &Row<'_>, context: &QueryContext) -> Result<DecodedRow, StoreError> {
    let fence = Fence {
        serial: row.get(const { at("serial") })?,
        version: row.get(const { at("version") })?,
        attempt: row.get(const { at("attempt") })?,
    };
    let claimed = row.get_ref(const { at("claim_owner") })? != ValueRef::Null;
    let person = person_of(row.get(const { at("person_id") }), fence.serial)?;
    // An invalid column affects this row only, and must not stop the others.
    let grant = grant(row, context, person.clone()).map_err(|_| StoreError::Unreadable(person.clone()));
    if grant.is_err() {
        context.report_unreadable(fence.serial, &person);
    }
    Ok(DecodedRow { fence, person, claimed, grant })
}

/// The person of a row, if its MAC is right. The query must read `serial`, `person_id`, `email`, `display_name`, `org_id` and
/// `person_mac`.
pub(super) fn owner(
    row: &Row<'_>,
    context: &QueryContext,
) -> Result<Result<PersonId, StoreError>, StoreError> {
    let serial: i64 = row.get(0)?;
    let person = person_of(row.get::<_, String>(1), serial)?;
    let verified = macs::verify_person(&context.sealer, &context.integration, row, [1, 2, 3, 4, 5]);
    if verified.is_err() {
        context.report_unreadable(serial, &person);
    }
    Ok(verified.map(|()| person.clone()).map_err(|_| StoreError::Unreadable(person)))
}

/// The columns that a row's MAC covers, and the column of the MAC.
const NAMED: [usize; 5] = [at("person_id"), at("email"), at("display_name"), at("org_id"), at("person_mac")];

/// The id of a row's person. If it is unreadable, `row-` with the row's number.
fn person_of(id: rusqlite::Result<String>, serial: i64) -> Result<PersonId, StoreError> {
    let known = id.ok().and_then(|id| PersonId::parse(&id).ok());
    let numbered = || PersonId::parse(&format!("row-{serial}"));
    known.map_or_else(numbered, Ok).map_err(|e| StoreError::Corrupt(e.to_string()))
}

fn grant(row: &Row<'_>, context: &QueryContext, id: PersonId) -> Result<Grant, StoreError> {
    let verified = macs::verify_person(&context.sealer, &context.integration, row, NAMED);
    verified.map_err(|_| StoreError::Unreadable(id.clone()))?;
    let time = |column: usize| row.get(column).map(UnixTime);
    let standing: String = row.get(const { at("standing") })?;
    let outcome: String = row.get(const { at("last_outcome") })?;
    let email: Option<String> = row.get(const { at("email") })?;
    let reported: Option<i64> = row.get(const { at("refresh_token_expires_at") })?;
    let tokens = Tokens {
        access_token: context.open(&id, "access_token", row.get(const { at("access_token") }))?,
        refresh_token: context.open(&id, "refresh_token", row.get(const { at("refresh_token") }))?,
        token_type: row.get(const { at("token_type") })?,
        scope: row.get(const { at("scope") })?,
        expires_at: time(const { at("expires_at") })?,
        refresh_token_expires_at: reported.map(UnixTime),
    };
    Ok(Grant {
        person: Person {
            id,
            email: email.and_then(|text| Email::parse(&text).ok()),
            display_name: row.get(const { at("display_name") })?,
            org_id: row.get(const { at("org_id") })?,
        },
        tokens,
        obtained_at: time(const { at("obtained_at") })?,
        renewed_at: time(const { at("renewed_at") })?,
        answered_at: time(const { at("answered_at") })?,
        status: if standing == CONSENT_NEEDED { GrantStatus::ConsentNeeded } else { GrantStatus::Active },
        refused_since: row.get::<_, Option<i64>>(const { at("refused_since") })?.map(UnixTime),
        last: LastAttempt {
            at: time(const { at("last_at") })?,
            outcome: Outcome::parse(&outcome).unwrap_or(Outcome::Transient),
            detail: row.get(const { at("last_detail") })?,
        },
        failures: row.get(const { at("failures") })?,
        next: Schedule { due_at: time(const { at("due_at") })?, wake_at: time(const { at("wake_at") })? },
        person_check_at: time(const { at("person_check_at") })?,
        notice_state: NoticeState {
            refresh_token_end: RefreshTokenEnd::parse(&row.get::<_, String>(const { at("horizon") })?),
            last_expiring_step: row.get(const { at("expiring_told") })?,
            at_risk: row.get(const { at("at_risk") })?,
        },
        outbox_entries: OutboxEntries::default(),
    })
}

/// The grant as which a row that does not open is shown: it needs a new consent and has no tokens. Columns that cannot be
/// read are left out, and so are names that another program may have changed. `None` if even the person's id cannot be
/// read.
pub(super) fn unopened(row: &Row<'_>, context: &QueryContext) -> Option<Grant> {
    let text = |column: usize| row.get::<_, Option<String>>(column).ok().flatten();
    let time = |column: usize| UnixTime(row.get(column).unwrap_or(0));
    let id = text(const { at("person_id") }).and_then(|id| PersonId::parse(&id).ok())?;
    let verified = macs::verify_person(&context.sealer, &context.integration, row, NAMED).is_ok();
    let named = Person {
        id: id.clone(),
        email: text(const { at("email") }).and_then(|text| Email::parse(&text).ok()),
        display_name: text(const { at("display_name") }),
        org_id: text(const { at("org_id") }),
    };
    let none = || Secret::new(String::new());
    Some(Grant {
        person: if verified { named } else { Person::known_by(id) },
        tokens: Tokens {
            access_token: none(),
            refresh_token: none(),
            token_type: text(const { at("token_type") }).unwrap_or_default(),
            scope: text(const { at("scope") }),
            expires_at: time(const { at("expires_at") }),
            refresh_token_expires_at: None,
        },
        obtained_at: time(const { at("obtained_at") }),
        renewed_at: time(const { at("renewed_at") }),
        answered_at: time(const { at("answered_at") }),
        status: GrantStatus::ConsentNeeded,
        refused_since: None,
        last: LastAttempt {
            at: time(const { at("last_at") }),
            outcome: Outcome::ConsentNeeded,
            detail: "the stored record does not open: it was changed, or sealed by another key".to_owned(),
        },
        failures: row.get(const { at("failures") }).unwrap_or(0),
        next: Schedule { due_at: time(const { at("due_at") }), wake_at: time(const { at("wake_at") }) },
        person_check_at: time(const { at("person_check_at") }),
        notice_state: NoticeState::default(),
        outbox_entries: OutboxEntries::default(),
    })
}

/// Runs `sql` with those columns of `grant` that it names, and with `extra`. Answers the number of changed rows.
pub(super) fn write(
    db: &Connection,
    sql: &str,
    context: &QueryContext,
    grant: &Grant,
    extra: &[(&str, &dyn ToSql)],
) -> Result<usize, StoreError> {
    let id = &grant.person.id;
    let standing = match grant.status {
        GrantStatus::Active => ALIVE,
        GrantStatus::ConsentNeeded => CONSENT_NEEDED,
    };
    let tokens = &grant.tokens;
    let person_mac = macs::of_person(&context.sealer, &context.integration, &grant.person);
    let access_token = context.seal(&tokens.access_token, id, "access_token")?;
    let refresh_token = context.seal(&tokens.refresh_token, id, "refresh_token")?;
    let columns: &[(&str, &dyn ToSql)] = named_params! {
        ":integration": context.integration,
        ":person_id": id.as_str(),
        ":email": grant.person.email.as_ref().map(Email::as_str),
        ":display_name": grant.person.display_name,
        ":org_id": grant.person.org_id,
        ":person_mac": person_mac,
        ":access_token": access_token,
        ":refresh_token": refresh_token,
        ":token_type": tokens.token_type,
        ":scope": tokens.scope,
        ":obtained_at": grant.obtained_at.0,
        ":renewed_at": grant.renewed_at.0,
        ":answered_at": grant.answered_at.0,
        ":expires_at": tokens.expires_at.0,
        ":refresh_token_expires_at": tokens.refresh_token_expires_at.map(|at| at.0),
        ":standing": standing,
        ":refused_since": grant.refused_since.map(|at| at.0),
        ":last_at": grant.last.at.0,
        ":last_outcome": grant.last.outcome.as_str(),
        ":last_detail": grant.last.detail,
        ":failures": grant.failures,
        ":due_at": grant.next.due_at.0,
        ":wake_at": grant.next.wake_at.0,
        ":person_check_at": grant.person_check_at.0,
        ":horizon": grant.notice_state.refresh_token_end.as_str(),
        ":expiring_told": grant.notice_state.last_expiring_step,
        ":at_risk": grant.notice_state.at_risk,
    };
    let mut change = db.prepare_cached(sql)?;
    for (name, value) in columns.iter().chain(extra) {
        if let Some(at) = change.parameter_index(name)? {
            change.raw_bind_parameter(at, value)?;
        }
    }
    Ok(change.raw_execute()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_columns_number_is_its_place_in_the_list() {
        for (number, column) in COLUMNS.split(", ").enumerate() {
            assert_eq!(at(column), number, "{column}");
        }
    }
}
