//! Creates, lists and revokes API keys. For the operator only.

use std::time::Duration;

use hyper::Response;
use hyper::StatusCode;

use crate::api_keys::ApiKeyError;
use crate::api_keys::NewApiKey;
use crate::api_types;
use crate::domain::api_key::Rights;
use crate::domain::api_key::id_of;
use crate::domain::list::ListPosition;
use crate::domain::list::SortKey;
use crate::domain::person::PersonId;
use crate::domain::person::PersonQuery;
use crate::domain::person::ResolvedPerson;
use crate::domain::time::DAY;
use crate::domain::time::UnixTime;
use crate::http::api::context::Api;
use crate::http::api::request::ApiRequest;
use crate::http::api::request::printable;
use crate::http::api::views;
use crate::http::request::cursor;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;

type KeyResult = Result<Response<ResponseBody>, ApiError>;

/// Ten years. A key for longer should have no expiry.
const MAX_DAYS: u32 = 3650;

/// A key for more persons should not be limited.
const MAX_PERSONS: usize = 1000;

/// `GET /keys?limit=&after=`
pub(super) async fn list(api: &Api, ask: &ApiRequest) -> KeyResult {
    let query = ask.query(["limit", "after"])?;
    let (limit, after) = (query.number("limit", 100, 1..=1000)?, query.after()?);
    let after = after.as_ref().and_then(|position| match &position.key {
        SortKey::Text(name) => Some((UnixTime(position.serial), name.as_str())),
        SortKey::None | SortKey::Number(_) => None,
    });
    let found = api.0.keys.list(after, usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1));
    let (keys, next) = views::part(found, limit, |key| {
        let name = SortKey::Text(key.name.clone());
        cursor::encode(&ListPosition { key: name, serial: key.created_at.0 })
    });
    let keys = keys.iter().map(|key| views::key_view(key)).collect();
    Ok(response::json(StatusCode::OK, &api_types::KeyList { keys, next }))
}

/// `POST /keys`
pub(super) async fn create(api: &Api, ask: &ApiRequest) -> KeyResult {
    ask.query([])?;
    let asked: api_types::CreateKeyRequest = ask.body()?;
    let new = NewApiKey {
        rights: rights(asked.can.as_deref())?,
        persons: api.ids(asked.persons.as_deref()).await?,
        life: days(asked.days)?,
        name: named(asked.name)?,
    };
    let keys = api.0.keys.clone();
    let secret = api.finish("key", async move { keys.create(new).await }).await?.map_err(refused)?;
    let made = id_of(&secret).and_then(|id| api.0.keys.find(id));
    let key = views::key_view(&*made.ok_or(ApiError::Broken)?);
    log::info!("key {:?} was created with the rights {}", key.name, key.can.join(", "));
    Ok(response::json(
        StatusCode::CREATED,
        &api_types::CreatedKey { secret: secret.expose().to_owned(), key },
    ))
}

/// `DELETE /keys/{name}`
pub(super) async fn revoke(api: &Api, ask: &ApiRequest) -> KeyResult {
    ask.query([])?;
    ask.no_body()?;
    let (name, keys) = (ask.named.clone(), api.0.keys.clone());
    if !api.finish("revoke", async move { keys.revoke(&name).await }).await?? {
        return Err(ApiError::NotFound("There is no key with this name.".to_owned()));
    }
    log::info!("key {:?} was revoked", ask.named);
    Ok(response::no_content())
}

impl Api {
    /// An empty list would limit a key to no person, which cannot be intended. It is refused, and never means
    /// all persons.
    async fn ids(&self, persons: Option<&[String]>) -> Result<Option<Vec<PersonId>>, ApiError> {
        let Some(persons) = persons else { return Ok(None) };
        if persons.is_empty() {
            let why = "persons: found an empty list or null; name at least one person, or leave the field out for all persons.";
            return Err(ApiError::BadRequest(why.to_owned()));
        }
        if persons.len() > MAX_PERSONS {
            return Err(ApiError::BadRequest(format!("persons: expected at most {MAX_PERSONS} persons.")));
        }
        let mut ids = Vec::new();
        for text in persons {
            let who = PersonQuery::parse(text)
                .map_err(|why| ApiError::BadRequest(format!("persons: {}: {why}.", printable(text))))?;
            match self.0.cache.resolve(&who).await? {
                ResolvedPerson::One(id) => ids.push(id),
                ResolvedPerson::Unknown => return Err(ApiError::UnknownPerson(printable(text))),
                ResolvedPerson::Ambiguous(persons) => return Err(ApiError::AmbiguousPerson(persons)),
            }
        }
        Ok(Some(ids))
    }
}

/// Whether the name is suitable for a path, a shell command and a table. Other names are refused.
fn named(name: String) -> Result<String, ApiError> {
    let fits = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && !name.ends_with(' ');
    let expected = "name: expected 1 to 64 printable ASCII characters, with a letter or digit first and no space at the end.";
    if fits { Ok(name) } else { Err(ApiError::BadRequest(expected.to_owned())) }
}

fn rights(can: Option<&[String]>) -> Result<Rights, ApiError> {
    let Some(can) = can else { return Ok(Rights { read: true, ..Rights::default() }) };
    if can.is_empty() {
        let why = "can: found an empty list or null; name some of read, refresh, admin, or leave the field out for read.";
        return Err(ApiError::BadRequest(why.to_owned()));
    }
    let known = can.iter().all(|word| matches!(word.as_str(), "read" | "refresh" | "admin"));
    let rights = Rights::parse(&can.join(",")).ok().filter(|_| known);
    rights.ok_or_else(|| ApiError::BadRequest("can: expected some of read, refresh, admin.".to_owned()))
}

fn days(days: Option<u32>) -> Result<Option<Duration>, ApiError> {
    match days {
        Some(days) if !(1..=MAX_DAYS).contains(&days) => Err(ApiError::BadRequest(format!(
            "days: expected 1 to {MAX_DAYS}, or no value for a key without expiry."
        ))),
        days => Ok(days.map(|days| DAY * days)),
    }
}

fn refused(why: ApiKeyError) -> ApiError {
    match why {
        ApiKeyError::Taken | ApiKeyError::TooMany => ApiError::Taken(format!("{why}.")),
        ApiKeyError::Name | ApiKeyError::NoPerson => ApiError::BadRequest(format!("{why}.")),
        ApiKeyError::Store(why) => ApiError::from(why),
        ApiKeyError::NoRandom => {
            log::error!("{why}");
            ApiError::Broken
        }
    }
}
