//! One person: everything that is known, and what can be done.

use std::sync::Arc;

use askama::Template;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use url::form_urlencoded::Serializer;

use crate::domain::explain;
use crate::domain::grant::Grant;
use crate::domain::person::PersonId;
use crate::http::dashboard::Dashboard;
use crate::http::dashboard::assets::Dress;
use crate::http::dashboard::query::Query;
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
    name: &'a str,
    csrf: &'a str,
    row: Row,
    /// The exact times: consented, renewed.
    obtained: String,
    scope: Option<String>,
    org: Option<String>,
    summary: String,
    detail: Option<String>,
    rules: Vec<Rule>,
}

/// One rule's word.
struct Rule {
    name: &'static str,
    word: &'static str,
    says: String,
}

#[derive(Template)]
#[template(path = "dashboard/forget.html")]
struct ForgetPage<'a> {
    frame: &'a Frame,
    dress: &'a Dress,
    home: &'a str,
    name: &'a str,
    csrf: &'a str,
    row: Row,
    back: String,
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
        let Some((grant, row)) = self.row(query).await? else { return Ok(self.nobody()) };
        let pause = parts.refresher.pause();
        let rule = |word: explain::Word| Rule {
            name: word.rule,
            word: match word.refresh {
                Some(true) => "asks for a refresh",
                Some(false) => "forbids a refresh",
                None => "says nothing",
            },
            says: word.says,
        };
        let page = PersonPage {
            frame: &self.frame,
            dress: &self.dress,
            home: session.home.expose(),
            name: session.name(),
            csrf: session.csrf.expose(),
            row,
            obtained: grant.obtained_at.to_string(),
            scope: grant.tokens.scope.clone(),
            org: grant.person.org_id.clone(),
            summary: explain::summary(&grant, pause, now),
            detail: Some(grant.last.detail.clone()).filter(|detail| !detail.is_empty()),
            rules: explain::words(&grant, &parts.policy, pause, now).into_iter().map(rule).collect(),
        };
        Ok(respond::for_operators(respond::page(StatusCode::OK, &page)))
    }

    /// `GET /dashboard/forget?id=&back=`: asks first.
    pub(super) async fn forget_page(
        &self,
        session: &Session,
        query: &str,
    ) -> Result<Response<Body>, Refusal> {
        let Some((_, row)) = self.row(query).await? else { return Ok(self.nobody()) };
        let page = ForgetPage {
            frame: &self.frame,
            dress: &self.dress,
            home: session.home.expose(),
            name: session.name(),
            csrf: session.csrf.expose(),
            row,
            back: back(&parameter::first(query, "back").unwrap_or_default()),
        };
        Ok(respond::for_operators(respond::page(StatusCode::OK, &page)))
    }

    async fn row(&self, query: &str) -> Result<Option<(Arc<Grant>, Row)>, Refusal> {
        let parts = self.api.parts();
        let id = parameter::first(query, "id").and_then(|id| PersonId::parse(&id).ok());
        let Some(id) = id else { return Ok(None) };
        let found = parts.view.show(&id).await.map_err(|why| Refusal::store(&why))?;
        let row = |grant: &Arc<Grant>| Row::of(grant, &self.api, &parts.policy, parts.clock.now());
        Ok(found.map(|grant| (grant.clone(), row(&grant))))
    }

    /// `POST /dashboard/refresh`: `id`, `back`, `force` if it is to be sent inside the no-op window, too.
    pub(super) async fn refresh(&self, session: &Session, request: Request<Incoming>) -> Response<Body> {
        let form = match self.form_of(session, request).await {
            Ok(form) => form,
            Err(refused) => return refused,
        };
        let Ok(id) = PersonId::parse(form.text("id")) else { return self.nobody() };
        let came = match self.api.parts().refresher.renew(&id, form.text("force") == "yes").await {
            Ok(report) => report.came.word(),
            Err(NoToken::UnknownPerson) => "unknown",
            Err(NoToken::ConsentNeeded(_)) => "consent_needed",
            Err(NoToken::Unavailable { .. } | NoToken::Store(_)) => "unavailable",
        };
        log::info!("dashboard: {} asked to refresh {id}: {came}", session.name());
        done(session, came, &id, form.text("back"))
    }

    /// `POST /dashboard/forget`: `id`, `back`.
    pub(super) async fn forget(&self, session: &Session, request: Request<Incoming>) -> Response<Body> {
        let form = match self.form_of(session, request).await {
            Ok(form) => form,
            Err(refused) => return refused,
        };
        let Ok(id) = PersonId::parse(form.text("id")) else { return self.nobody() };
        let (refresher, who) = (self.api.parts().refresher.clone(), id.clone());
        let gone = self.api.finish("forget", async move { refresher.forget(&who).await }).await;
        let came = match gone {
            Ok(Ok(true)) => "forgotten",
            Ok(Ok(false)) => "unknown",
            Ok(Err(why)) => return self.trouble(&Refusal::store(&why)),
            Err(why) => return self.trouble(&why),
        };
        log::info!("dashboard: {} asked to forget {id}: {came}", session.name());
        done(session, came, &id, form.text("back"))
    }

    fn nobody(&self) -> Response<Body> {
        self.refused(
            StatusCode::NOT_FOUND,
            "No such person",
            "Nobody of this id is kept here, or not any more.",
        )
    }
}

/// A question to the list, and nothing else: an address from outside leads nowhere else.
fn back(text: &str) -> String {
    Query::parse(text.trim_start_matches('?')).written()
}

/// Back to the list, which says what came of it.
fn done(session: &Session, came: &str, id: &PersonId, to: &str) -> Response<Body> {
    let to = back(to);
    let mut query = Serializer::new(to.trim_start_matches('?').to_owned());
    query.append_pair("done", came).append_pair("who", id.as_str());
    respond::see_other(&format!("{}?{}", session.home.expose(), query.finish()))
}
