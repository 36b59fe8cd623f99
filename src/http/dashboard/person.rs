//! The page of one person: all details, and the possible actions.

use std::sync::Arc;

use askama::Template;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use url::form_urlencoded::Serializer;

use crate::domain::grant::Grant;
use crate::domain::person::PersonId;
use crate::http::dashboard::assets::AssetUrls;
use crate::http::dashboard::context::Dashboard;
use crate::http::dashboard::notices::HistoryRow;
use crate::http::dashboard::query::ListQuery;
use crate::http::dashboard::row;
use crate::http::dashboard::row::PersonRow;
use crate::http::dashboard::row::RelativeTime;
use crate::http::dashboard::sessions::DashboardSession;
use crate::http::pages::frame::PageFrame;
use crate::http::request::query_string;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;
use crate::refresh::TokenError;

#[derive(Template)]
#[template(path = "dashboard/person.html")]
struct PersonPage<'a> {
    frame: &'a PageFrame,
    dress: &'a AssetUrls,
    session: &'a DashboardSession,
    row: PersonRow,
    summary: String,
    access: RelativeTime,
    /// Whether the access has ended.
    is_dead: bool,
    /// The result of the last refresh, and when it was.
    last: (&'static str, RelativeTime),
    /// Details of the result.
    detail: Option<String>,
    obtained: RelativeTime,
    scope: Option<String>,
    org: Option<String>,
    /// Whether refreshes move the end of the consent, where that is known.
    end_moves: Option<bool>,
    history: Vec<HistoryRow>,
}

#[derive(Template)]
#[template(path = "dashboard/forget.html")]
struct ForgetPage<'a> {
    frame: &'a PageFrame,
    dress: &'a AssetUrls,
    session: &'a DashboardSession,
    row: PersonRow,
}

impl Dashboard {
    /// `GET /dashboard/person?id=`
    pub(super) async fn person_page(
        &self,
        session: &DashboardSession,
        query: &str,
    ) -> Result<Response<ResponseBody>, ApiError> {
        let services = self.api.services();
        let now = services.clock.now();
        let Some((grant, row)) = self.row(query).await? else { return Ok(self.unknown_person(session)) };
        let missing = grant.missing_scopes(services.consents.scopes());
        let page = PersonPage {
            frame: &self.frame_at(session.home.expose()),
            dress: &self.dress,
            session,
            row,
            summary: row::summary(&grant, &missing, services.refresher.pause(), now),
            access: RelativeTime::of(grant.tokens.expires_at, now),
            is_dead: grant.life_left(now).is_zero(),
            last: (row::outcome_text(grant.last.outcome), RelativeTime::of(grant.last.at, now)),
            detail: Some(grant.last.detail.clone()).filter(|detail| !detail.is_empty()),
            obtained: RelativeTime::of(grant.obtained_at, now),
            scope: grant.tokens.scope.clone(),
            org: grant.person.org_id.clone(),
            end_moves: grant.notice_state.refresh_token_end.moves(),
            history: self.history_of(&grant.person.id, now).await?,
        };
        Ok(response::for_operators(response::page(StatusCode::OK, &page)))
    }

    /// `GET /dashboard/forget?id=`: asks for confirmation.
    pub(super) async fn forget_page(
        &self,
        session: &DashboardSession,
        query: &str,
    ) -> Result<Response<ResponseBody>, ApiError> {
        let Some((_, row)) = self.row(query).await? else { return Ok(self.unknown_person(session)) };
        let page =
            ForgetPage { frame: &self.frame_at(session.home.expose()), dress: &self.dress, session, row };
        Ok(response::for_operators(response::page(StatusCode::OK, &page)))
    }

    async fn row(&self, query: &str) -> Result<Option<(Arc<Grant>, PersonRow)>, ApiError> {
        let services = self.api.services();
        let id = query_string::first(query, "id").and_then(|id| PersonId::parse(&id).ok());
        let Some(id) = id else { return Ok(None) };
        let found = services.cache.get_uncached(&id).await?;
        let now = services.clock.now();
        Ok(found.map(|grant| (grant.clone(), self.row_of(&grant, now))))
    }

    /// `POST /dashboard/refresh`: `id`, `back`. The refresh is sent even if nothing is due, because the
    /// operator has a reason.
    pub(super) async fn refresh(
        &self,
        session: &DashboardSession,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let form = match self.form_of(session, request).await {
            Ok(form) => form,
            Err(refused) => return refused,
        };
        let Ok(id) = PersonId::parse(form.text("id")) else { return self.unknown_person(session) };
        let came = match self.api.services().refresher.refresh_now(&id, true).await {
            Ok(report) => report.outcome.as_str(),
            Err(TokenError::UnknownPerson) => "unknown",
            Err(TokenError::ConsentNeeded(_)) => "consent_needed",
            Err(TokenError::Unavailable { .. } | TokenError::Store(_)) => "unavailable",
        };
        log::info!("dashboard: {} requested a refresh of {id}: {came}", session.name());
        redirect_with_result(session, came, &id, form.text("back"))
    }

    /// `POST /dashboard/forget`: `id`.
    pub(super) async fn forget(
        &self,
        session: &DashboardSession,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let form = match self.form_of(session, request).await {
            Ok(form) => form,
            Err(refused) => return refused,
        };
        let Ok(id) = PersonId::parse(form.text("id")) else { return self.unknown_person(session) };
        // The name is read first, because it is removed with the grant.
        let found = self.api.services().cache.get_uncached(&id).await;
        let named = found.ok().flatten().map(|grant| row::name_of(&grant.person));
        let (refresher, who) = (self.api.services().refresher.clone(), id.clone());
        let gone = self.api.finish("forget", async move { refresher.forget(&who).await }).await;
        let came = match gone {
            Ok(Ok(true)) => {
                if let Some(name) = named {
                    self.sessions().remember_forgotten(session, id.clone(), name);
                }
                "forgotten"
            }
            Ok(Ok(false)) => "unknown",
            Ok(Err(why)) => return self.trouble(session, &ApiError::from(why)),
            Err(why) => return self.trouble(session, &why),
        };
        log::info!("dashboard: {} requested to forget {id}: {came}", session.name());
        redirect_with_result(session, came, &id, "")
    }

    fn unknown_person(&self, session: &DashboardSession) -> Response<ResponseBody> {
        let said = ("No such person", "No person with this id is stored, or no longer.");
        self.refused(session.home.expose(), StatusCode::NOT_FOUND, said)
    }
}

/// A query for the list and nothing else, so that a URL from outside cannot redirect elsewhere.
fn list_link(text: &str) -> String {
    ListQuery::parse(text.trim_start_matches('?')).written()
}

/// Redirects to the list, which shows the result.
fn redirect_with_result(
    session: &DashboardSession,
    came: &str,
    id: &PersonId,
    to: &str,
) -> Response<ResponseBody> {
    let to = list_link(to);
    let mut query = Serializer::new(to.trim_start_matches('?').to_owned());
    query.append_pair("done", came).append_pair("who", id.as_str());
    response::see_other(&format!("{}?{}", session.home.expose(), query.finish()))
}
