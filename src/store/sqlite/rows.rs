//! A grant as a row, and back.

use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::ToSql;
use rusqlite::named_params;
use rusqlite::types::ValueRef;

use crate::domain::grant::Attempt;
use crate::domain::grant::Grant;
use crate::domain::grant::Standing;
use crate::domain::grant::Tokens;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::schedule::Next;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;
use crate::store::Fence;
use crate::store::StoreError;
use crate::store::sqlite::Shelf;

/// Every column that [`read`] looks at.
pub(super) const COLUMNS: &str = "serial, version, attempt, person_id, email, display_name, org_id, access_token, \
     refresh_token, token_type, scope, obtained_at, renewed_at, answered_at, expires_at, refresh_token_expires_at, \
     standing, last_at, last_outcome, last_detail, failures, due_at, wake_at, claim_owner";

const ALIVE: &str = "alive";
const CONSENT_NEEDED: &str = "consent_needed";

/// A row that may not open: [`StoreError::Unreadable`] is its only error.
pub(super) struct Read {
    pub(super) fence: Fence,
    pub(super) person: PersonId,
    pub(super) claimed: bool,
    pub(super) grant: Result<Grant, StoreError>,
}

impl Shelf {
    /// What a sealed token is bound to: a row's token opens in no other row and no other column.
    fn place(&self, person: &PersonId, column: &str) -> String {
        format!("grants\n{}\n{person}\n{column}", self.integration)
    }

    fn open(&self, row: &Row<'_>, person: &PersonId, column: &str) -> Result<Secret, StoreError> {
        let sealed: Vec<u8> = row.get(column)?;
        let opened = self.sealer.open(&sealed, &self.place(person, column));
        opened.map_err(|_| StoreError::Unreadable(person.clone()))
    }

    fn seal(&self, secret: &Secret, person: &PersonId, column: &str) -> Result<Vec<u8>, StoreError> {
        self.sealer.seal(secret, &self.place(person, column)).map_err(|e| StoreError::Failed(e.to_string()))
    }
}

pub(super) fn read(row: &Row<'_>, shelf: &Shelf) -> Result<Read, StoreError> {
    let fence =
        Fence { serial: row.get("serial")?, version: row.get("version")?, attempt: row.get("attempt")? };
    let claimed = row.get_ref("claim_owner")? != ValueRef::Null;
    let known = row.get::<_, String>("person_id").ok().and_then(|id| PersonId::parse(&id).ok());
    let Some(person) = known else {
        let person = PersonId::parse(&format!("row-{}", fence.serial));
        let person = person.map_err(|e| StoreError::Corrupt(e.to_string()))?;
        return Ok(Read { fence, grant: Err(StoreError::Unreadable(person.clone())), person, claimed });
    };
    // Whatever a column holds that is not ours concerns this row only: it must not stop the others.
    let grant = grant(row, shelf, person.clone()).map_err(|_| StoreError::Unreadable(person.clone()));
    Ok(Read { fence, person, claimed, grant })
}

fn grant(row: &Row<'_>, shelf: &Shelf, id: PersonId) -> Result<Grant, StoreError> {
    let time = |column: &str| row.get(column).map(UnixTime);
    let standing: String = row.get("standing")?;
    let outcome: String = row.get("last_outcome")?;
    let email: Option<String> = row.get("email")?;
    let reported: Option<i64> = row.get("refresh_token_expires_at")?;
    let tokens = Tokens {
        access_token: shelf.open(row, &id, "access_token")?,
        refresh_token: shelf.open(row, &id, "refresh_token")?,
        token_type: row.get("token_type")?,
        scope: row.get("scope")?,
        expires_at: time("expires_at")?,
        refresh_token_expires_at: reported.map(UnixTime),
    };
    Ok(Grant {
        person: Person {
            id,
            email: email.and_then(|text| Email::parse(&text).ok()),
            display_name: row.get("display_name")?,
            org_id: row.get("org_id")?,
        },
        tokens,
        obtained_at: time("obtained_at")?,
        renewed_at: time("renewed_at")?,
        answered_at: time("answered_at")?,
        standing: if standing == CONSENT_NEEDED { Standing::ConsentNeeded } else { Standing::Alive },
        last: Attempt {
            at: time("last_at")?,
            outcome: Outcome::from_word(&outcome).unwrap_or(Outcome::Transient),
            detail: row.get("last_detail")?,
        },
        failures: row.get("failures")?,
        next: Next { due_at: time("due_at")?, wake_at: time("wake_at")? },
    })
}

/// Runs `sql` with the columns of `grant` that it names, and the `extra` ones. Answers how many rows it changed.
pub(super) fn write(
    db: &Connection,
    sql: &str,
    shelf: &Shelf,
    grant: &Grant,
    extra: &[(&str, &dyn ToSql)],
) -> Result<usize, StoreError> {
    let id = &grant.person.id;
    let standing = match grant.standing {
        Standing::Alive => ALIVE,
        Standing::ConsentNeeded => CONSENT_NEEDED,
    };
    let tokens = &grant.tokens;
    let access_token = shelf.seal(&tokens.access_token, id, "access_token")?;
    let refresh_token = shelf.seal(&tokens.refresh_token, id, "refresh_token")?;
    let columns: &[(&str, &dyn ToSql)] = named_params! {
        ":integration": shelf.integration,
        ":person_id": id.as_str(),
        ":email": grant.person.email.as_ref().map(Email::as_str),
        ":display_name": grant.person.display_name,
        ":org_id": grant.person.org_id,
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
        ":last_at": grant.last.at.0,
        ":last_outcome": grant.last.outcome.word(),
        ":last_detail": grant.last.detail,
        ":failures": grant.failures,
        ":due_at": grant.next.due_at.0,
        ":wake_at": grant.next.wake_at.0,
    };
    let mut change = db.prepare_cached(sql)?;
    for (name, value) in columns.iter().chain(extra) {
        if let Some(at) = change.parameter_index(name)? {
            change.raw_bind_parameter(at, value)?;
        }
    }
    Ok(change.raw_execute()?)
}
