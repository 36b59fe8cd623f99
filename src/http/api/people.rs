//! Persons and their tokens.

use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::StatusCode;

use crate::api_types;
use crate::domain::grant::Grant;
use crate::domain::grant::State;
use crate::domain::person::Email;
use crate::domain::person::PersonId;
use crate::http::api::Api;
use crate::http::api::Ask;
use crate::http::api::Caller;
use crate::http::api::ask::Query;
use crate::http::api::budget::Charge;
use crate::http::api::list_turns::ListTurn;
use crate::http::bookmark;
use crate::http::refusal::Refusal;
use crate::http::respond;
use crate::http::serve::Body;
use crate::refresh::Given;
use crate::refresh::NoToken;
use crate::tokens::Bookmark;
use crate::tokens::Order;
use crate::tokens::Page;
use crate::tokens::Pick;

type Answered = Result<Response<Body>, Refusal>;

/// The default of `min_ttl`. A token that lives less long is rarely useful.
const MIN_TTL: u32 = 60;

/// The maximum of `min_ttl`: a year. No token of Webex lives longer.
const MAX_TTL: u32 = 31_536_000;

/// The serial number of the first person that a store has stored. Numbers are not reused, so it is never
/// another person's.
const FIRST: i64 = 1;

/// `GET /people?state=&limit=&after=`
pub(super) async fn list(api: &Api, ask: &Ask) -> Answered {
    let query = ask.query(["state", "limit", "after"])?;
    let state =
        query.text("state").map(|word| State::from_word(word).ok_or_else(unknown_state)).transpose()?;
    let pick = state.map_or(Pick::All(Order::Arrival), Pick::In);
    let whole = state.is_none() && query.text("after").is_none() && ask.caller.may_all().is_ok();
    let _turn = api.list_turn(&ask.caller).await?;
    let (grants, next) = api.part(ask, &query, pick).await?;
    let only = matches!(grants.as_slice(), [(Bookmark { serial: FIRST, .. }, _)]);
    let sole = whole && only && next.is_none();
    let people = grants.iter().map(|(_, grant)| api.shown(grant)).collect();
    Ok(respond::json(StatusCode::OK, &api_types::People { people, next, sole: Some(sole) }))
}

fn unknown_state() -> Refusal {
    let words: Vec<&str> = State::WORDS.iter().map(|(_, word)| *word).collect();
    Refusal::BadRequest(format!("state: expected one of {}.", words.join(", ")))
}

/// `GET /people/{person}`
pub(super) async fn one(api: &Api, ask: &Ask) -> Answered {
    ask.query([])?;
    let grant = api.grant(&ask.person(api).await?).await?;
    Ok(respond::json(StatusCode::OK, &api.shown(&grant)))
}

/// `DELETE /people/{person}`
pub(super) async fn forget(api: &Api, ask: &Ask) -> Answered {
    ask.query([])?;
    ask.no_body()?;
    let (person, refresher) = (ask.only_person(api).await?, api.0.refresher.clone());
    let gone = api.finish("forget", async move { refresher.forget(&person).await }).await?;
    if gone.map_err(|why| Refusal::store(&why))? {
        Ok(respond::nothing())
    } else {
        Err(Refusal::UnknownPerson)
    }
}

/// `GET /people/{person}/token?min_ttl=`
pub(super) async fn token(api: &Api, ask: &Ask) -> Answered {
    let min_ttl = ask.query(["min_ttl"])?.number("min_ttl", MIN_TTL, 0..=MAX_TTL)?;
    let person = ask.person(api).await?;
    let mut charge = api.charge(&ask.caller, &person);
    let given =
        api.0.refresher.token_if(&person, Duration::from_secs(min_ttl.into()), || charge.allows()).await;
    let given = given.map_err(|why| charge.refusal().unwrap_or_else(|| api.no_token(why)))?;
    let (grant, now) = (&given.grant, api.0.clock.now());
    let note = || match charge.refusal() {
        Some(_) => format!(
            "This key has used up its refresh budget; the token lives less than the requested {min_ttl} s."
        ),
        None => format!(
            "This is the longest-lived token that Webex issues at present; {min_ttl} s were requested."
        ),
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
    Ok(respond::json(StatusCode::OK, &token))
}

/// `POST /people/{person}/refresh`
pub(super) async fn refresh(api: &Api, ask: &Ask) -> Answered {
    ask.query([])?;
    let asked: api_types::RefreshAsked = ask.body()?;
    let person = ask.person(api).await?;
    // The refresh runs as a task of its own, and continues if the caller disconnects.
    let mut charge = api.charge(&ask.caller, &person);
    let report = api.0.refresher.renew_if(&person, asked.force, || charge.allows()).await;
    if let Some(refusal) = charge.refusal() {
        return Err(refusal);
    }
    let report = report.map_err(|why| api.no_token(why))?;
    let refreshed = api_types::Refreshed {
        outcome: report.came.word().to_owned(),
        detail: Some(report.detail).filter(|detail| !detail.is_empty()),
        person: api.shown(&report.grant),
    };
    Ok(respond::json(StatusCode::OK, &refreshed))
}

impl Api {
    /// A live token, refreshed first if necessary.
    pub(in crate::http) async fn live(&self, person: &PersonId, min_ttl: Duration) -> Result<Given, Refusal> {
        self.0.refresher.token(person, min_ttl).await.map_err(|why| self.no_token(why))
    }

    fn charge<'a>(&'a self, caller: &'a Caller, person: &'a PersonId) -> Charge<'a> {
        self.1.budget.charge(caller, &self.0.refresher, person)
    }

    /// Waits for a permit, which is held until the list is complete.
    pub(super) async fn list_turn(&self, caller: &Caller) -> Result<ListTurn, Refusal> {
        self.1.lists.take(caller).await
    }

    fn no_token(&self, why: NoToken) -> Refusal {
        Refusal::no_token(why, |grant| self.consent_url(grant))
    }

    pub(super) async fn grant(&self, person: &PersonId) -> Result<Arc<Grant>, Refusal> {
        let found = self.0.view.show(person).await.map_err(|why| Refusal::store(&why))?;
        found.ok_or(Refusal::UnknownPerson)
    }

    /// One page of the list that the caller may see, by `limit` and `after`, and the cursor of the next page.
    pub(super) async fn part(
        &self,
        ask: &Ask,
        query: &Query,
        pick: Pick,
    ) -> Result<(Vec<(Bookmark, Grant)>, Option<String>), Refusal> {
        let limit = query.number("limit", 100, 1..=1000)?;
        let page = Page {
            after: query.after()?,
            among: ask.caller.among().cloned(),
            // One more row shows whether the list continues.
            ..Page::first(pick, limit + 1, self.0.clock.now())
        };
        let mut found = self.0.view.list(page).await.map_err(|why| Refusal::store(&why))?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(mark, _)| bookmark::written(mark));
        Ok((found, next))
    }
}
