//! Persons and their tokens.

use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::StatusCode;
use strum::VariantNames;

use crate::api_types;
use crate::domain::grant::Grant;
use crate::domain::grant::GrantState;
use crate::domain::grant::GrantStatus;
use crate::domain::list::ListPosition;
use crate::domain::list::ListRequest;
use crate::domain::list::ListSelection;
use crate::domain::list::SortBy;
use crate::domain::person::Email;
use crate::domain::person::PersonId;
use crate::http::api::budget::RefreshCharge;
use crate::http::api::context::Api;
use crate::http::api::list_limit::ListPermit;
use crate::http::api::request::ApiRequest;
use crate::http::api::request::QueryParameters;
use crate::http::api::views::part;
use crate::http::auth::caller::Caller;
use crate::http::request::cursor;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;
use crate::refresh::LiveToken;
use crate::refresh::RefreshOptions;
use crate::refresh::TokenError;

type PeopleResult = Result<Response<ResponseBody>, ApiError>;

/// The default of `min_ttl`. A token that lives less long is rarely useful.
const MIN_TTL: u32 = 60;

/// The maximum of `min_ttl`: a year. No token of Webex lives longer.
const MAX_TTL: u32 = 31_536_000;

/// The serial number of the first person that a store has stored. Numbers are not reused, so it is never
/// another person's.
const FIRST: i64 = 1;

/// `GET /people?state=&limit=&after=`
pub(super) async fn list(api: &Api, ask: &ApiRequest) -> PeopleResult {
    let query = ask.query(["state", "limit", "after"])?;
    let state = query.text("state").map(parse_state).transpose()?;
    let pick = state.map_or(ListSelection::All(SortBy::CreatedAt), ListSelection::InState);
    let whole = state.is_none() && query.text("after").is_none() && ask.caller.require_unrestricted().is_ok();
    let _turn = api.list_permit(&ask.caller).await?;
    let (grants, next) = api.list_part(ask, &query, pick).await?;
    let only = matches!(grants.as_slice(), [(ListPosition { serial: FIRST, .. }, _)]);
    let sole = whole && only && next.is_none();
    let people = grants.iter().map(|(_, grant)| api.person_view(grant)).collect();
    Ok(response::json(StatusCode::OK, &api_types::People { people, next, sole: Some(sole) }))
}

pub(super) fn parse_state(word: &str) -> Result<GrantState, ApiError> {
    let unknown =
        || ApiError::BadRequest(format!("state: expected one of {}.", GrantState::VARIANTS.join(", ")));
    GrantState::parse(word).ok_or_else(unknown)
}

/// `GET /people/{person}`
pub(super) async fn show(api: &Api, ask: &ApiRequest) -> PeopleResult {
    ask.query([])?;
    let grant = api.grant(&ask.person(api).await?).await?;
    Ok(response::json(StatusCode::OK, &api.person_view(&grant)))
}

/// `DELETE /people/{person}`
pub(super) async fn forget(api: &Api, ask: &ApiRequest) -> PeopleResult {
    ask.query([])?;
    ask.no_body()?;
    let (person, refresher) = (ask.only_person(api).await?, api.0.refresher.clone());
    let named = person.to_string();
    if api.finish("forget", async move { refresher.forget(&person).await }).await?? {
        Ok(response::no_content())
    } else {
        Err(ApiError::UnknownPerson(named))
    }
}

/// `GET /people/{person}/token?min_ttl=`
pub(super) async fn token(api: &Api, ask: &ApiRequest) -> PeopleResult {
    let min_ttl = ask.query(["min_ttl"])?.number("min_ttl", MIN_TTL, 0..=MAX_TTL)?;
    let person = ask.person(api).await?;
    let mut charge = api.charge(&ask.caller, &person);
    let given =
        api.0.refresher.token_if(&person, Duration::from_secs(min_ttl.into()), || charge.allows()).await;
    let given = given.map_err(|why| charge.refusal().unwrap_or_else(|| api.no_token(&person, why)))?;
    let (grant, now) = (&given.grant, api.0.clock.now());
    let note = || match charge.refusal() {
        Some(_) => format!(
            "This key has used up its refresh budget; the token lives less than the requested {min_ttl} s."
        ),
        None => short_life_note(grant, min_ttl),
    };
    // Every response has `no-store`.
    let token = api_types::Token {
        access_token: grant.tokens.access_token.expose().to_owned(),
        token_type: grant.tokens.token_type.clone(),
        expires_in: grant.life_left(now).as_secs(),
        expires_at: grant.tokens.expires_at.to_string(),
        person_id: grant.person.id.to_string(),
        email: grant.person.email.as_ref().map(Email::to_string),
        scope: grant.tokens.scope.clone(),
        note: given.short.then(note),
    };
    Ok(response::json(StatusCode::OK, &token))
}

/// Why the token of this grant lives less than `min_ttl` seconds, for the caller.
fn short_life_note(grant: &Grant, min_ttl: u32) -> String {
    let name = grant.person.email.as_ref().map_or(grant.person.id.as_str(), Email::as_str);
    if grant.status == GrantStatus::ConsentNeeded {
        return format!(
            "The token lives less than the requested {min_ttl} s, because Webex no longer renews it: the person must consent \
             again; `webex-tokend why {name}` says more."
        );
    }
    if grant.failures > 0 {
        return format!(
            "The token lives less than the requested {min_ttl} s, because the last refresh failed; `webex-tokend why {name}` \
             says why."
        );
    }
    format!("This is the longest-lived token that Webex issues at present; {min_ttl} s were requested.")
}

/// `POST /people/{person}/refresh`
pub(super) async fn refresh(api: &Api, ask: &ApiRequest) -> PeopleResult {
    ask.query([])?;
    let asked: api_types::RefreshRequest = ask.body()?;
    let person = ask.person(api).await?;
    // The refresh runs as a task of its own, and continues if the caller disconnects.
    let mut charge = api.charge(&ask.caller, &person);
    let options = RefreshOptions { force: asked.force, bulk: asked.bulk };
    let report = api.0.refresher.refresh_now_if(&person, options, || charge.allows()).await;
    if let Some(refusal) = charge.refusal() {
        return Err(refusal);
    }
    let report = report.map_err(|why| api.no_token(&person, why))?;
    let refreshed = api_types::Refreshed {
        outcome: report.outcome.as_str().to_owned(),
        detail: Some(report.detail).filter(|detail| !detail.is_empty()),
        person: api.person_view(&report.grant),
    };
    Ok(response::json(StatusCode::OK, &refreshed))
}

impl Api {
    /// A live token, refreshed first if necessary.
    pub(in crate::http) async fn live_token(
        &self,
        person: &PersonId,
        min_ttl: Duration,
    ) -> Result<LiveToken, ApiError> {
        self.0.refresher.token(person, min_ttl).await.map_err(|why| self.no_token(person, why))
    }

    fn charge<'a>(&'a self, caller: &'a Caller, person: &'a PersonId) -> RefreshCharge<'a> {
        self.1.budget.charge(caller, &self.0.refresher, person)
    }

    /// Waits for a permit, which is held until the list is complete.
    pub(super) async fn list_permit(&self, caller: &Caller) -> Result<ListPermit, ApiError> {
        self.1.lists.acquire(caller).await
    }

    fn no_token(&self, person: &PersonId, why: TokenError) -> ApiError {
        ApiError::from_token_error(why, person, |grant| self.consent_url(grant))
    }

    pub(super) async fn grant(&self, person: &PersonId) -> Result<Arc<Grant>, ApiError> {
        let found = self.0.cache.get_uncached(person).await?;
        found.ok_or_else(|| ApiError::UnknownPerson(person.to_string()))
    }

    /// One page of the list that the caller may see, by `limit` and `after`, and the cursor of the next page.
    pub(super) async fn list_part(
        &self,
        ask: &ApiRequest,
        query: &QueryParameters,
        pick: ListSelection,
    ) -> Result<(Vec<(ListPosition, Grant)>, Option<String>), ApiError> {
        let limit = query.number("limit", 100, 1..=1000)?;
        let page = ListRequest {
            after: query.after()?,
            only_persons: ask.caller.allowed_persons().cloned(),
            ..ListRequest::first_page(pick, limit + 1, self.0.clock.now())
        };
        let found = self.0.cache.list(page).await?;
        Ok(part(found, limit, |(mark, _)| cursor::encode(mark)))
    }
}
