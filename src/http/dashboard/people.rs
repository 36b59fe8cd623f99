//! The dashboard's first page: which people need attention, and one page of the list of people.

use askama::Template;
use hyper::Response;
use hyper::StatusCode;

use crate::domain::grant::Grant;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::http::dashboard::Dashboard;
use crate::http::dashboard::assets::Dress;
use crate::http::dashboard::invitation::Invitation;
use crate::http::dashboard::overview::Overview;
use crate::http::dashboard::query::Filter;
use crate::http::dashboard::query::From;
use crate::http::dashboard::query::Query;
use crate::http::dashboard::row::Row;
use crate::http::dashboard::row::name_of;
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

/// Rows on one page of the list.
const ROWS: usize = 50;

/// Maximum number of people of one kind above the list. A link leads to all of them.
const NEEDS: usize = 10;

#[derive(Template)]
#[template(path = "dashboard/home.html")]
struct Home<'a> {
    frame: &'a Frame,
    dress: &'a Dress,
    home: &'a str,
    session: &'a Session,
    csrf: &'a str,
    said: Option<Said>,
    overview: Overview,
    /// People who need a link, the most urgent first. Only on the first page without a query, like the
    /// invitation.
    needs: Vec<Needs>,
    invitation: Option<Invitation>,
    list: List,
    /// The event up to which the page is current, for the event stream.
    since: String,
    /// The URL of the sign-in page after the session has ended.
    sign_in: String,
}

/// The result of the last action.
pub(super) struct Said {
    /// `good`, `warn` or `bad`.
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// People with the same need.
pub(super) struct Needs {
    filter: Filter,
    rows: Vec<Row>,
    /// Text and link for all of them, if these are not all.
    more: Option<(String, String)>,
}

/// One page of the list, with its links.
pub(super) struct List {
    pub(super) rows: Vec<Row>,
    /// The filter, if one is set.
    pub(super) filter: Option<Filter>,
    /// The search text, if there is one.
    pub(super) typed: String,
    pub(super) heads: Vec<Head>,
    /// The link to all people.
    pub(super) all: String,
    pub(super) first: Option<String>,
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
    /// The query of this page, to return to it.
    pub(super) here: String,
}

/// A column head of the table; a link if the list can be sorted by it.
pub(super) struct Head {
    pub(super) text: &'static str,
    pub(super) link: Option<String>,
    /// `ascending` or `descending`.
    pub(super) sorted: Option<&'static str>,
}

impl List {
    fn is_in(&self, filter: Filter) -> bool {
        self.filter == Some(filter)
    }

    /// Whether all people in it need a link.
    fn is_of_needs(&self) -> bool {
        matches!(self.filter, Some(Filter::ConsentNeeded | Filter::ConsentEnding))
    }

    /// The heading of the list.
    fn heading(&self) -> &'static str {
        match self.filter {
            Some(Filter::ConsentNeeded) => "People who must consent",
            Some(Filter::ConsentEnding) => "People whose consent ends within 30 days",
            Some(Filter::Retrying) => "People whose last refresh failed",
            Some(Filter::Working) => "People whose access works",
            None if !self.typed.is_empty() => "People who were found",
            None => "All people",
        }
    }
}

impl Dashboard {
    /// `GET /dashboard?q=&state=&sort=&after=&before=&done=&who=`
    pub(super) async fn home(&self, session: &Session, query: &str) -> Result<Response<Body>, Refusal> {
        let now = self.api.parts().clock.now();
        // Read before the data that the page shows, so that a change meanwhile is sent twice rather than
        // never.
        let since = self.since();
        let asked = Query::parse(query);
        let home = session.home.expose();
        let overview = self.overview(home, now).await?;
        let needs = if asked.is_plain() { self.needs(&overview, now).await? } else { Vec::new() };
        let link = self.api.parts().redirect_uri.strip_suffix("oauth").unwrap_or_default().to_owned();
        let page = Home {
            frame: &self.frame_at(home),
            dress: &self.dress,
            home,
            session,
            csrf: session.csrf.expose(),
            said: self.said(session, query).await?,
            overview,
            needs,
            invitation: asked.is_plain().then(|| Invitation::first(&self.frame.operator, link)),
            list: self.list(home, &asked, now).await?,
            since,
            sign_in: format!("{}/sign-in?ended", self.home),
        };
        Ok(respond::for_operators(respond::page(StatusCode::OK, &page)))
    }

    /// The people who need a link, the most urgent of each kind first.
    async fn needs(&self, overview: &Overview, now: UnixTime) -> Result<Vec<Needs>, Refusal> {
        let mut needs = Vec::new();
        for (filter, who) in
            [(Filter::ConsentNeeded, "who must consent"), (Filter::ConsentEnding, "whose consent ends soon")]
        {
            let page = Page::first(filter.pick(), u32::try_from(NEEDS).unwrap_or(u32::MAX) + 1, now);
            let mut found = self.api.parts().view.list(page).await.map_err(|why| Refusal::store(&why))?;
            let tile = overview.tiles.iter().find(|tile| tile.filter == filter);
            let more = tile.filter(|_| found.len() > NEEDS);
            let more = more.map(|tile| (format!("All {} {who}", tile.count), tile.link.clone()));
            found.truncate(NEEDS);
            if !found.is_empty() {
                let rows = found.iter().map(|(_, grant)| self.row_of(grant, now)).collect();
                needs.push(Needs { filter, rows, more });
            }
        }
        Ok(needs)
    }

    /// A person, with the invitation to send.
    pub(super) fn row_of(&self, grant: &Grant, now: UnixTime) -> Row {
        let link = self.api.consent_url(grant);
        Row::of(grant, &self.api, Invitation::again(&self.frame.operator, grant, link, now), now)
    }

    async fn list(&self, home: &str, asked: &Query, now: UnixTime) -> Result<List, Refusal> {
        let (found, before, after) = self.part(asked, now).await?;
        let link = |from: From| format!("{home}{}", asked.starting(from).written());
        let ends = (found.first().map(|(mark, _)| mark.clone()), found.last().map(|(mark, _)| mark.clone()));
        Ok(List {
            rows: found.iter().map(|(_, grant)| self.row_of(grant, now)).collect(),
            filter: asked.filter(),
            typed: asked.typed.clone(),
            heads: heads(home, asked),
            all: home.to_owned(),
            first: before.then(|| link(From::Start)),
            previous: ends.0.filter(|_| before).map(|mark| link(From::Before(mark))),
            next: ends.1.filter(|_| after).map(|mark| link(From::After(mark))),
            here: asked.written(),
        })
    }

    /// One page of the list, and whether there are rows before it and after it.
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
            // One more row shows whether the list continues.
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

    /// The result of the action that redirected here: one of a few fixed sentences, whatever the URL says.
    async fn said(&self, session: &Session, query: &str) -> Result<Option<Said>, Refusal> {
        let who = parameter::first(query, "who").and_then(|id| PersonId::parse(&id).ok());
        let (Some(done), Some(id)) = (parameter::first(query, "done"), who) else { return Ok(None) };
        let found = self.api.parts().view.show(&id).await.map_err(|why| Refusal::store(&why))?;
        let who =
            found.map(|grant| name_of(&grant.person)).or_else(|| self.sessions().forgotten(session, &id));
        let who = who.unwrap_or_else(|| id.to_string());
        let (class, what) = match done.as_str() {
            "renewed" => ("good", "refreshed. Webex issued a new token."),
            "unchanged" => ("good", "refreshed. Webex returned the same token."),
            "skipped" => ("warn", "not refreshed, because a refresh was tried a moment ago."),
            "failed" => ("bad", "the refresh failed. The person’s page says why, and when the next try is."),
            "consent_needed" => ("bad", "Webex no longer renews this access: the person must consent again."),
            "unavailable" => ("bad", "no refresh could be sent at present; the log says why."),
            "forgotten" => ("good", "forgotten. The tokens are removed."),
            "unknown" => ("warn", "no longer stored."),
            _ => return Ok(None),
        };
        Ok(Some(Said { class, text: format!("{who}: {what}") }))
    }

    /// The current position in the event stream.
    fn since(&self) -> String {
        let events = self.api.parts().view.events();
        events.id(events.now())
    }
}

/// The column heads for this query.
fn heads(home: &str, asked: &Query) -> Vec<Head> {
    let sortable = matches!(asked.pick, Pick::All(_));
    let heads = [
        ("Person", Some(Order::Email)),
        ("State", None),
        ("Next refresh", Some(Order::Next)),
        ("Consent ends", None),
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
