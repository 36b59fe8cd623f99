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
use crate::http::dashboard::Dashboard;
use crate::http::dashboard::assets::Dress;
use crate::http::dashboard::query::Query;
use crate::http::dashboard::row;
use crate::http::dashboard::row::Moment;
use crate::http::dashboard::row::Row;
use crate::http::pages::Frame;
use crate::http::parameter;
use crate::http::refusal::Refusal;
use crate::http::respond;
use crate::http::serve::Body;
use crate::http::sessions::Session;
use crate::refresh::NoToken;

#[derive(Template)]
#[template(path = "dashboard/person.html")]
struct PersonPage<'a> {
    frame: &'a Frame,
    dress: &'a Dress,
    home: &'a str,
    session: &'a Session,
    csrf: &'a str,
    row: Row,
    summary: String,
    access: Moment,
    /// Whether the access has ended.
    is_dead: bool,
    /// The result of the last refresh, and when it was.
    last: (&'static str, Moment),
    /// Details of the result.
    detail: Option<String>,
    obtained: Moment,
    scope: Option<String>,
    org: Option<String>,
}

#[derive(Template)]
#[template(path = "dashboard/forget.html")]
struct ForgetPage<'a> {
    frame: &'a Frame,
    dress: &'a Dress,
    home: &'a str,
    session: &'a Session,
    csrf: &'a str,
    row: Row,
}

impl Dashboard {
    /// `GET /dashboard/person?id=`
    pub(super) async fn person_page(
        &self,
        session: &Session,
        query: &str,
    ) -> Result<Response<Body>, Refusal> {
        let parts = self.api.parts();
        let now = parts.clock.now();
        let Some((grant, row)) = self.row(query).await? else { return Ok(self.unknown_person(session)) };
        let missing = grant.missing_scopes(parts.consents.scopes());
        let page = PersonPage {
            frame: &self.frame_at(session.home.expose()),
            dress: &self.dress,
            home: session.home.expose(),
            session,
            csrf: session.csrf.expose(),
            row,
            summary: row::summary(&grant, &missing, parts.refresher.pause(), now),
            access: Moment::of(grant.tokens.expires_at, now),
            is_dead: grant.life_left(now).is_zero(),
            last: (row::came(grant.last.outcome), Moment::of(grant.last.at, now)),
            detail: Some(grant.last.detail.clone()).filter(|detail| !detail.is_empty()),
            obtained: Moment::of(grant.obtained_at, now),
            scope: grant.tokens.scope.clone(),
            org: grant.person.org_id.clone(),
        };
        Ok(respond::for_operators(respond::page(StatusCode::OK, &page)))
    }

    /// `GET /dashboard/forget?id=`: asks for confirmation.
    pub(super) async fn forget_page(
        &self,
        session: &Session,
        query: &str,
    ) -> Result<Response<Body>, Refusal> {
        let Some((_, row)) = self.row(query).await? else { return Ok(self.unknown_person(session)) };
        let page = ForgetPage {
            frame: &self.frame_at(session.home.expose()),
            dress: &self.dress,
            home: session.home.expose(),
            session,
            csrf: session.csrf.expose(),
            row,
        };
        Ok(respond::for_operators(respond::page(StatusCode::OK, &page)))
    }

    async fn row(&self, query: &str) -> Result<Option<(Arc<Grant>, Row)>, Refusal> {
        let parts = self.api.parts();
        let id = parameter::first(query, "id").and_then(|id| PersonId::parse(&id).ok());
        let Some(id) = id else { return Ok(None) };
        let found = parts.view.show(&id).await.map_err(|why| Refusal::store(&why))?;
        let now = parts.clock.now();
        Ok(found.map(|grant| (grant.clone(), self.row_of(&grant, now))))
    }

    /// `POST /dashboard/refresh`: `id`, `back`. The refresh is sent even if nothing is due, because the
    /// operator has a reason.
    pub(super) async fn refresh(&self, session: &Session, request: Request<Incoming>) -> Response<Body> {
        let form = match self.form_of(session, request).await {
            Ok(form) => form,
            Err(refused) => return refused,
        };
        let Ok(id) = PersonId::parse(form.text("id")) else { return self.unknown_person(session) };
        let came = match self.api.parts().refresher.renew(&id, true).await {
            Ok(report) => report.came.word(),
            Err(NoToken::UnknownPerson) => "unknown",
            Err(NoToken::ConsentNeeded(_)) => "consent_needed",
            Err(NoToken::Unavailable { .. } | NoToken::Store(_)) => "unavailable",
        };
        log::info!("dashboard: {} requested a refresh of {id}: {came}", session.name());
        done(session, came, &id, form.text("back"))
    }

    /// `POST /dashboard/forget`: `id`.
    pub(super) async fn forget(&self, session: &Session, request: Request<Incoming>) -> Response<Body> {
        let form = match self.form_of(session, request).await {
            Ok(form) => form,
            Err(refused) => return refused,
        };
        let Ok(id) = PersonId::parse(form.text("id")) else { return self.unknown_person(session) };
        // The name is read first, because it is removed with the grant.
        let found = self.api.parts().view.show(&id).await;
        let named = found.ok().flatten().map(|grant| row::name_of(&grant.person));
        let (refresher, who) = (self.api.parts().refresher.clone(), id.clone());
        let gone = self.api.finish("forget", async move { refresher.forget(&who).await }).await;
        let came = match gone {
            Ok(Ok(true)) => {
                if let Some(name) = named {
                    self.sessions().note_forgotten(session, id.clone(), name);
                }
                "forgotten"
            }
            Ok(Ok(false)) => "unknown",
            Ok(Err(why)) => return self.trouble(session, &Refusal::store(&why)),
            Err(why) => return self.trouble(session, &why),
        };
        log::info!("dashboard: {} requested to forget {id}: {came}", session.name());
        done(session, came, &id, "")
    }

    fn unknown_person(&self, session: &Session) -> Response<Body> {
        let said = ("No such person", "No person with this id is stored, or no longer.");
        self.refused(session.home.expose(), StatusCode::NOT_FOUND, said)
    }
}

/// A query for the list and nothing else, so that a URL from outside cannot redirect elsewhere.
fn back(text: &str) -> String {
    Query::parse(text.trim_start_matches('?')).written()
}

/// Redirects to the list, which shows the result.
fn done(session: &Session, came: &str, id: &PersonId, to: &str) -> Response<Body> {
    let to = back(to);
    let mut query = Serializer::new(to.trim_start_matches('?').to_owned());
    query.append_pair("done", came).append_pair("who", id.as_str());
    respond::see_other(&format!("{}?{}", session.home.expose(), query.finish()))
}
