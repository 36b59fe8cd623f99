//! Why a person is refreshed or not, and the plan for all persons.

use hyper::Response;
use hyper::StatusCode;

use crate::api_types;
use crate::domain::grant::Grant;
use crate::domain::list::ListPosition;
use crate::domain::list::ListSelection;
use crate::domain::list::SortBy;
use crate::domain::person::Email;
use crate::domain::plan;
use crate::domain::time::DAY;
use crate::domain::why;
use crate::domain::why::RuleResult;
use crate::http::api::context::Api;
use crate::http::api::request::ApiRequest;
use crate::http::api::views::time;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;

/// `GET /people/{person}/why`
pub(super) async fn why(api: &Api, ask: &ApiRequest) -> Result<Response<ResponseBody>, ApiError> {
    ask.query([])?;
    let grant = api.grant(&ask.person(api).await?).await?;
    let (pause, now) = (api.0.refresher.pause(), api.0.clock.now());
    // An estimate is not worth an error.
    let place = api.0.refresher.queue_place(&grant).await.ok().flatten();
    let said = |word: RuleResult| api_types::RuleReport {
        rule: word.rule.to_owned(),
        refresh: word.refresh,
        at: word.at.and_then(time),
        says: word.text,
    };
    let why = api_types::Why {
        person: api.person_view(&grant),
        rules: why::explain(&grant, &api.0.policy, pause, now).into_iter().map(said).collect(),
        last_detail: Some(grant.last.detail.clone()).filter(|detail| !detail.is_empty()),
        next_refresh_at: time(grant.next.due_at),
        place: place.map(|place| place.ahead),
        turn_at: place.and_then(|place| time(place.at?)),
        summary: place.map_or_else(|| why::summary(&grant, pause, now), |place| place.summary(&grant, now)),
    };
    Ok(response::json(StatusCode::OK, &why))
}

/// `GET /plan?days=90&limit=&after=`
pub(super) async fn plan(api: &Api, ask: &ApiRequest) -> Result<Response<ResponseBody>, ApiError> {
    let query = ask.query(["days", "limit", "after"])?;
    let days = query.number("days", 90, 1..=3650)?;
    let _turn = api.list_permit(&ask.caller).await?;
    let (grants, next) = api.list_part(ask, &query, ListSelection::All(SortBy::CreatedAt)).await?;
    let now = api.0.clock.now();
    let end = now + DAY * days;
    let planned = |(_, grant): &(ListPosition, Grant)| {
        let ahead = plan::forecast(grant, &api.0.policy, now, end);
        api_types::Planned {
            person_id: grant.person.id.to_string(),
            email: grant.person.email.as_ref().map(Email::to_string),
            state: grant.state(now).as_str().to_owned(),
            next_refresh_at: ahead.next_refresh_at.and_then(time),
            refreshes: ahead.refreshes,
            interval_seconds: ahead.interval.map(|interval| interval.as_secs()),
            consent_by: ahead.consent_by.and_then(time),
        }
    };
    let people = grants.iter().map(planned).collect();
    Ok(response::json(StatusCode::OK, &api_types::Plan { days, people, next }))
}
