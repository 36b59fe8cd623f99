//! Creates, lists and revokes API keys. For the operator only.

use std::time::Duration;

use hyper::Response;
use hyper::StatusCode;

use crate::api_types;
use crate::domain::key::Rights;
use crate::domain::key::id_of;
use crate::domain::person::PersonId;
use crate::domain::person::Resolved;
use crate::domain::person::Who;
use crate::http::api::Api;
use crate::http::api::Ask;
use crate::http::api::ask::shown;
use crate::http::api::show;
use crate::http::refusal::Refusal;
use crate::http::respond;
use crate::http::serve::Body;
use crate::keys::KeyError;
use crate::keys::NewKey;

type Answered = Result<Response<Body>, Refusal>;

const DAY: Duration = Duration::from_secs(86_400);

/// Ten years. A key for longer should have no expiry.
const MOST_DAYS: u32 = 3650;

/// A key for more persons should not be limited.
const MOST_PERSONS: usize = 1000;

/// `GET /keys`
pub(super) async fn list(api: &Api, ask: &Ask) -> Answered {
    ask.query([])?;
    let keys = api.0.keys.list().iter().map(show::key).collect();
    Ok(respond::json(StatusCode::OK, &api_types::KeyList { keys }))
}

/// `POST /keys`
pub(super) async fn make(api: &Api, ask: &Ask) -> Answered {
    ask.query([])?;
    let asked: api_types::KeyAsked = ask.body()?;
    let new = NewKey {
        rights: rights(asked.can.as_deref())?,
        persons: api.ids(asked.persons.as_deref()).await?,
        life: days(asked.days)?,
        name: named(asked.name)?,
    };
    let keys = api.0.keys.clone();
    let secret =
        api.finish("key", async move { keys.make(new).await }).await?.map_err(|why| refused(&why))?;
    let made = api.0.keys.list().into_iter().find(|key| id_of(&secret) == Some(&key.id));
    let key = show::key(&made.ok_or(Refusal::Broken)?);
    log::info!("key {:?} was created with the rights {}", key.name, key.can.join(", "));
    Ok(respond::json(StatusCode::CREATED, &api_types::KeyMade { secret: secret.expose().to_owned(), key }))
}

/// `DELETE /keys/{name}`
pub(super) async fn revoke(api: &Api, ask: &Ask) -> Answered {
    ask.query([])?;
    ask.no_body()?;
    let (name, keys) = (ask.named.clone(), api.0.keys.clone());
    let gone = api.finish("revoke", async move { keys.revoke(&name).await }).await?;
    if !gone.map_err(|why| Refusal::store(&why))? {
        return Err(Refusal::NotFound("There is no key with this name.".to_owned()));
    }
    log::info!("key {:?} was revoked", ask.named);
    Ok(respond::nothing())
}

impl Api {
    /// An empty list would limit a key to no person, which cannot be intended. It is refused, and never means
    /// all persons.
    async fn ids(&self, persons: Option<&[String]>) -> Result<Option<Vec<PersonId>>, Refusal> {
        let Some(persons) = persons else { return Ok(None) };
        if persons.is_empty() {
            let why = "persons: found an empty list or null; name at least one person, or leave the field out for all persons.";
            return Err(Refusal::BadRequest(why.to_owned()));
        }
        if persons.len() > MOST_PERSONS {
            return Err(Refusal::BadRequest(format!("persons: expected at most {MOST_PERSONS} persons.")));
        }
        let mut ids = Vec::new();
        for text in persons {
            let who = Who::parse(text)
                .map_err(|why| Refusal::BadRequest(format!("persons: {}: {why}.", shown(text))))?;
            match self.0.view.resolve(&who).await.map_err(|why| Refusal::store(&why))? {
                Resolved::One(id) => ids.push(id),
                Resolved::Unknown => return Err(Refusal::UnknownPerson),
                Resolved::Ambiguous(persons) => return Err(Refusal::AmbiguousPerson(persons)),
            }
        }
        Ok(Some(ids))
    }
}

/// Whether the name is suitable for a path, a shell command and a table. Other names are refused.
fn named(name: String) -> Result<String, Refusal> {
    let fits = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && !name.ends_with(' ');
    let expected = "name: expected 1 to 64 printable ASCII characters, with a letter or digit first and no space at the end.";
    if fits { Ok(name) } else { Err(Refusal::BadRequest(expected.to_owned())) }
}

fn rights(can: Option<&[String]>) -> Result<Rights, Refusal> {
    let Some(can) = can else { return Ok(Rights { read: true, ..Rights::default() }) };
    if can.is_empty() {
        let why = "can: found an empty list or null; name some of read, refresh, admin, or leave the field out for read.";
        return Err(Refusal::BadRequest(why.to_owned()));
    }
    let known = can.iter().all(|word| matches!(word.as_str(), "read" | "refresh" | "admin"));
    let rights = Rights::parse(&can.join(",")).ok().filter(|_| known);
    rights.ok_or_else(|| Refusal::BadRequest("can: expected some of read, refresh, admin.".to_owned()))
}

fn days(days: Option<u32>) -> Result<Option<Duration>, Refusal> {
    match days {
        Some(days) if !(1..=MOST_DAYS).contains(&days) => Err(Refusal::BadRequest(format!(
            "days: expected 1 to {MOST_DAYS}, or no value for a key without expiry."
        ))),
        days => Ok(days.map(|days| DAY * days)),
    }
}

fn refused(why: &KeyError) -> Refusal {
    match why {
        KeyError::Taken | KeyError::TooMany => Refusal::Taken(format!("{why}.")),
        KeyError::Name | KeyError::NoPerson => Refusal::BadRequest(format!("{why}.")),
        KeyError::Store(why) => Refusal::store(why),
        KeyError::NoRandom => {
            log::error!("{why}");
            Refusal::Broken
        }
    }
}
