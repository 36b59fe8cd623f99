//! Removes the grants of many persons.

use hyper::Response;
use hyper::StatusCode;

use crate::api_types;
use crate::domain::grant::GrantState;
use crate::domain::person::PersonId;
use crate::domain::person::PersonQuery;
use crate::domain::person::ResolvedPerson;
use crate::http::api::context::Api;
use crate::http::api::people::parse_state;
use crate::http::api::request::ApiRequest;
use crate::http::api::request::printable;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;

/// Maximum number of persons of one request. Their removal is one transaction, which must not hold up refreshes.
const MAX_PERSONS: usize = 200;

/// `POST /people/forget`
pub(super) async fn forget_all(api: &Api, ask: &ApiRequest) -> Result<Response<ResponseBody>, ApiError> {
    ask.query([])?;
    let asked: api_types::RemovalRequest = ask.body()?;
    let state = asked.state.as_deref().map(parse_state).transpose()?;
    if !(1..=MAX_PERSONS).contains(&asked.persons.len()) {
        return Err(ApiError::BadRequest(format!("persons: expected 1 to {MAX_PERSONS} persons.")));
    }
    let queries = asked.persons.iter().map(|text| parse_person(text)).collect::<Result<Vec<_>, _>>()?;
    let work = api.clone();
    let outcomes = api.finish("forget", async move { work.forget_each(&queries, state).await }).await??;
    let results = asked.persons.into_iter().zip(outcomes);
    let results = results
        .map(|(person, outcome)| api_types::RemovalResult { person, outcome: outcome.to_owned() })
        .collect();
    Ok(response::json(StatusCode::OK, &api_types::RemovalResults { results }))
}

fn parse_person(text: &str) -> Result<PersonQuery, ApiError> {
    PersonQuery::parse(text)
        .map_err(|why| ApiError::BadRequest(format!("persons: {}: {why}.", printable(text))))
}

impl Api {
    /// What came of each of them.
    async fn forget_each(
        &self,
        queries: &[PersonQuery],
        state: Option<GrantState>,
    ) -> Result<Vec<&'static str>, ApiError> {
        let mut resolved = Vec::new();
        for who in queries {
            resolved.push(self.0.cache.resolve_strictly(who).await?);
        }
        let id_of = |found: &ResolvedPerson| match found {
            ResolvedPerson::One(id) => Some(id.clone()),
            ResolvedPerson::Unknown | ResolvedPerson::Ambiguous(_) => None,
        };
        let ids: Vec<PersonId> = resolved.iter().filter_map(id_of).collect();
        let gone = self.0.refresher.forget_all(ids, state).await?;
        let mut outcomes = Vec::new();
        for found in &resolved {
            outcomes.push(match found {
                ResolvedPerson::One(id) if gone.contains(id) => "forgotten",
                ResolvedPerson::One(id) if self.0.cache.get_uncached(id).await?.is_some() => "kept",
                ResolvedPerson::One(_) | ResolvedPerson::Unknown => "unknown",
                ResolvedPerson::Ambiguous(_) => "ambiguous",
            });
        }
        Ok(outcomes)
    }
}
