//! The dashboard's first page: everybody at a glance, and a part of the list of people.

use askama::Template;
use hyper::Response;
use hyper::StatusCode;
use url::form_urlencoded::byte_serialize;

use crate::domain::grant::Grant;
use crate::domain::grant::State;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::http::dashboard::Dashboard;
use crate::http::dashboard::assets::Dress;
use crate::http::dashboard::overview::Overview;
use crate::http::dashboard::query::From;
use crate::http::dashboard::query::Query;
use crate::http::dashboard::row::Row;
use crate::http::pages::Frame;
use crate::http::parameter;
use crate::http::refusal::Refusal;
use crate::http::respond;
use crate::http::serve::Body;
use crate::http::sessions::Session;
use crate::tokens::Bookmark;
use crate::tokens::Key;
use crate::tokens::Order;
use crate::tokens::Page;
use crate::tokens::Pick;

/// Rows of one part.
const ROWS: usize = 50;

#[derive(Template)]
#[template(path = "dashboard/home.html")]
struct Home<'a> {
    frame: &'a Frame,
    dress: &'a Dress,
    home: &'a str,
    name: &'a str,
    csrf: &'a str,
    said: Option<Said>,
    overview: Overview,
    list: List,
    /// How far the page's state goes, for the stream of changes.
    since: String,
    /// Where one signs in again after the end of the session.
    sign_in: String,
}

/// What came of the last action.
pub(super) struct Said {
    /// `good`, `warn` or `bad`.
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// A part of the list, and the ways from it.
pub(super) struct List {
    pub(super) rows: Vec<Row>,
    /// Only those in this state.
    pub(super) state: Option<State>,
    /// Only those who are found.
    pub(super) typed: String,
    pub(super) heads: Vec<Head>,
    /// Everybody.
    pub(super) all: String,
    pub(super) first: Option<String>,
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
    /// This very part, to come back to.
    pub(super) here: String,
    /// The same, fit for an address.
    pub(super) here_encoded: String,
}

/// A head of the table; a link where the list can be sorted by it.
pub(super) struct Head {
    pub(super) text: &'static str,
    pub(super) link: Option<String>,
    /// `ascending` or `descending`.
    pub(super) sorted: Option<&'static str>,
}

impl List {
    fn is_in(&self, state: &State) -> bool {
        self.state.as_ref() == Some(state)
    }
}

impl Dashboard {
    /// `GET /dashboard?q=&state=&sort=&after=&before=&done=&who=`
    pub(super) async fn home(&self, session: &Session, query: &str) -> Result<Response<Body>, Refusal> {
        let now = self.api.parts().clock.now();
        // Before what it shows is read: what changes meanwhile is told twice rather than never.
        let since = self.since();
        let asked = Query::parse(query);
        let home = session.home.expose();
        let list = self.list(home, &asked, now).await?;
        let page = Home {
            frame: &self.frame,
            dress: &self.dress,
            home,
            name: session.name(),
            csrf: session.csrf.expose(),
            said: self.said(query).await?,
            overview: self.overview(home, now).await?,
            list,
            since,
            sign_in: format!("{}/sign-in?ended", self.home),
        };
        Ok(respond::for_operators(respond::page(StatusCode::OK, &page)))
    }

    async fn list(&self, home: &str, asked: &Query, now: UnixTime) -> Result<List, Refusal> {
        let (found, before, after) = self.part(asked, now).await?;
        let (api, policy) = (&self.api, &self.api.parts().policy);
        let link = |from: From| format!("{home}{}", asked.starting(from).written());
        let ends = (found.first().map(|(mark, _)| mark.clone()), found.last().map(|(mark, _)| mark.clone()));
        let state = match &asked.pick {
            Pick::In(state) => Some(*state),
            _ => None,
        };
        Ok(List {
            rows: found.iter().map(|(_, grant)| Row::of(grant, api, policy, now)).collect(),
            state,
            typed: asked.typed.clone(),
            heads: heads(home, asked),
            all: home.to_owned(),
            first: before.then(|| link(From::Start)),
            previous: ends.0.filter(|_| before).map(|mark| link(From::Before(mark))),
            next: ends.1.filter(|_| after).map(|mark| link(From::After(mark))),
            here_encoded: byte_serialize(asked.written().as_bytes()).collect(),
            here: asked.written(),
        })
    }

    /// A part, and whether there is something before it and after it.
    async fn part(
        &self,
        asked: &Query,
        now: UnixTime,
    ) -> Result<(Vec<(Bookmark, Grant)>, bool, bool), Refusal> {
        if let Some(found) = self.by_id(asked).await? {
            return Ok((vec![found], false, false));
        }
        let (mark, back) = match &asked.from {
            From::Start => (None, false),
            From::After(mark) => (Some(mark.clone()), false),
            From::Before(mark) => (Some(mark.clone()), true),
        };
        let page = Page {
            backwards: asked.descending != back,
            after: mark.clone(),
            // One more tells whether the list goes on.
            ..Page::first(asked.pick.clone(), u32::try_from(ROWS).unwrap_or(u32::MAX) + 1, now)
        };
        let mut found = self.api.parts().view.list(page).await.map_err(|why| Refusal::store(&why))?;
        let more = found.len() > ROWS;
        found.truncate(ROWS);
        if back {
            found.reverse();
            return Ok((found, more, true));
        }
        Ok((found, mark.is_some(), more))
    }

    /// A search for a person's whole id finds that person.
    async fn by_id(&self, asked: &Query) -> Result<Option<(Bookmark, Grant)>, Refusal> {
        let Some(id) = PersonId::parse(&asked.typed).ok() else { return Ok(None) };
        let found = self.api.parts().view.show(&id).await.map_err(|why| Refusal::store(&why))?;
        let mark = Bookmark { key: Key::None, serial: 0 };
        Ok(found.map(|grant| (mark, (*grant).clone())))
    }

    /// What the action that led here came to: one of a few sentences, whatever the address says.
    async fn said(&self, query: &str) -> Result<Option<Said>, Refusal> {
        let who = parameter::first(query, "who").and_then(|id| PersonId::parse(&id).ok());
        let (Some(done), Some(id)) = (parameter::first(query, "done"), who) else { return Ok(None) };
        let found = self.api.parts().view.show(&id).await.map_err(|why| Refusal::store(&why))?;
        let who = found.map_or_else(|| id.to_string(), |grant| grant.person.to_string());
        let (class, what) = match done.as_str() {
            "renewed" => ("good", "refreshed; Webex gave a new access token."),
            "unchanged" => ("good", "refreshed; Webex answered with the same access token."),
            "skipped" => {
                ("warn", "not refreshed: the last refresh is too young. The person’s page says when.")
            }
            "failed" => {
                ("bad", "the refresh failed. The person’s page says why, and when it is tried again.")
            }
            "consent_needed" => ("bad", "Webex no longer renews this; the person must consent again."),
            "unavailable" => ("bad", "no refresh could be sent at present; the log says why."),
            "forgotten" => ("good", "forgotten; the tokens are removed."),
            "unknown" => ("warn", "is not here any more."),
            _ => return Ok(None),
        };
        Ok(Some(Said { class, text: format!("{who}: {what}") }))
    }

    /// Where the stream of changes stands.
    fn since(&self) -> String {
        let events = self.api.parts().view.events();
        events.id(events.now())
    }
}

/// The heads of the table of this question.
fn heads(home: &str, asked: &Query) -> Vec<Head> {
    let sortable = matches!(asked.pick, Pick::All(_));
    let heads = [
        ("Person", Some(Order::Email)),
        ("State", None),
        ("Access token", Some(Order::Expires)),
        ("Next refresh", Some(Order::Next)),
        ("Refresh token", None),
        ("Last outcome", None),
    ];
    let head = |(text, order): (&'static str, Option<Order>)| {
        let here = order.is_some_and(|order| asked.pick == Pick::All(order));
        let sorted = here.then_some(if asked.descending { "descending" } else { "ascending" });
        let turned = Query::sorted(order.unwrap_or(Order::Arrival), here && !asked.descending);
        let link = order.filter(|_| sortable).map(|_| format!("{home}{}", turned.written()));
        Head { text, link, sorted }
    };
    heads.into_iter().map(head).collect()
}
