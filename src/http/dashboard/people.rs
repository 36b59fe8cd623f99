//! The dashboard's first page: which people need attention, and one page of the list of people.

use askama::Template;
use hyper::Response;
use hyper::StatusCode;

use crate::domain::grant::Grant;
use crate::domain::list::ListPosition;
use crate::domain::list::ListRequest;
use crate::domain::list::ListSelection;
use crate::domain::list::SortBy;
use crate::domain::list::SortKey;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::http::dashboard::assets::AssetUrls;
use crate::http::dashboard::context::Dashboard;
use crate::http::dashboard::invitation::InvitationText;
use crate::http::dashboard::overview::Overview;
use crate::http::dashboard::query::ListQuery;
use crate::http::dashboard::query::ListStart;
use crate::http::dashboard::query::StateFilter;
use crate::http::dashboard::row::PersonRow;
use crate::http::dashboard::row::name_of;
use crate::http::dashboard::sessions::DashboardSession;
use crate::http::pages::frame::PageFrame;
use crate::http::request::query_string;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;

/// Rows on one page of the list.
const ROWS: usize = 50;

/// Maximum number of people of one kind above the list. A link leads to all of them.
const NEEDS: usize = 10;

#[derive(Template)]
#[template(path = "dashboard/home.html")]
struct DashboardHome<'a> {
    frame: &'a PageFrame,
    dress: &'a AssetUrls,
    session: &'a DashboardSession,
    said: Option<FlashMessage>,
    overview: Overview,
    /// People who need a link, the most urgent first. Only on the first page without a query, like the
    /// invitation.
    needs: Vec<PersonInNeed>,
    invitation: Option<InvitationText>,
    list: PeopleList,
    /// The event up to which the page is current, for the event stream.
    since: String,
    /// The URL of the sign-in page after the session has ended.
    sign_in: String,
}

/// The result of the last action.
pub(super) struct FlashMessage {
    /// `good`, `warn` or `bad`.
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// People with the same need.
pub(super) struct PersonInNeed {
    filter: StateFilter,
    rows: Vec<PersonRow>,
    /// Text and link for all of them, if these are not all.
    more: Option<(String, String)>,
}

/// One page of the list, with its links.
pub(super) struct PeopleList {
    pub(super) rows: Vec<PersonRow>,
    /// The filter, if one is set.
    pub(super) filter: Option<StateFilter>,
    /// The search text, if there is one.
    pub(super) typed: String,
    pub(super) heads: Vec<ColumnHead>,
    /// The link to all people.
    pub(super) all: String,
    pub(super) first: Option<String>,
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
    /// The query of this page, to return to it.
    pub(super) here: String,
}

/// A column head of the table; a link if the list can be sorted by it.
pub(super) struct ColumnHead {
    pub(super) text: &'static str,
    pub(super) link: Option<String>,
    /// `ascending` or `descending`.
    pub(super) sorted: Option<&'static str>,
}

impl PeopleList {
    fn is_in(&self, filter: StateFilter) -> bool {
        self.filter == Some(filter)
    }

    /// Whether all people in it need a link.
    fn is_of_needs(&self) -> bool {
        matches!(self.filter, Some(StateFilter::ConsentNeeded | StateFilter::ConsentEnding))
    }

    /// The heading of the list.
    fn heading(&self) -> &'static str {
        match self.filter {
            Some(StateFilter::ConsentNeeded) => "People who must consent",
            Some(StateFilter::ConsentEnding) => "People whose consent ends within 30 days",
            Some(StateFilter::Retrying) => "People whose last refresh failed",
            Some(StateFilter::Working) => "People whose access works",
            None if !self.typed.is_empty() => "People who were found",
            None => "All people",
        }
    }
}

impl Dashboard {
    /// `GET /dashboard?q=&state=&sort=&after=&before=&done=&who=`
    pub(super) async fn home(
        &self,
        session: &DashboardSession,
        query: &str,
    ) -> Result<Response<ResponseBody>, ApiError> {
        let now = self.api.services().clock.now();
        // Read before the data that the page shows, so that a change meanwhile is sent twice rather than
        // never.
        let since = self.since();
        let asked = ListQuery::parse(query);
        let home = session.home.expose();
        let overview = self.overview(home, now).await?;
        let needs = if asked.is_plain() { self.needs(&overview, now).await? } else { Vec::new() };
        let link = self.api.services().redirect_uri.strip_suffix("oauth").unwrap_or_default().to_owned();
        let page = DashboardHome {
            frame: &self.frame_at(home),
            dress: &self.dress,
            session,
            said: self.flash_message(session, query).await?,
            overview,
            needs,
            invitation: asked.is_plain().then(|| InvitationText::first(&self.frame.operator, link)),
            list: self.list(home, &asked, now).await?,
            since,
            sign_in: format!("{}/sign-in?ended", self.home),
        };
        Ok(response::for_operators(response::page(StatusCode::OK, &page)))
    }

    /// The people who need a link, the most urgent of each kind first.
    async fn needs(&self, overview: &Overview, now: UnixTime) -> Result<Vec<PersonInNeed>, ApiError> {
        let mut needs = Vec::new();
        for (filter, who) in [
            (StateFilter::ConsentNeeded, "who must consent"),
            (StateFilter::ConsentEnding, "whose consent ends soon"),
        ] {
            let page =
                ListRequest::first_page(filter.pick(), u32::try_from(NEEDS).unwrap_or(u32::MAX) + 1, now);
            let mut found = self.api.services().cache.list(page).await?;
            let tile = overview.tiles.iter().find(|tile| tile.filter == filter);
            let more = tile.filter(|_| found.len() > NEEDS);
            let more = more.map(|tile| (format!("All {} {who}", tile.count), tile.link.clone()));
            found.truncate(NEEDS);
            if !found.is_empty() {
                let rows = found.iter().map(|(_, grant)| self.row_of(grant, now)).collect();
                needs.push(PersonInNeed { filter, rows, more });
            }
        }
        Ok(needs)
    }

    /// A person, with the invitation to send.
    pub(super) fn row_of(&self, grant: &Grant, now: UnixTime) -> PersonRow {
        let link = self.api.consent_url(grant);
        PersonRow::of(grant, &self.api, InvitationText::again(&self.frame.operator, grant, link, now), now)
    }

    async fn list(&self, home: &str, asked: &ListQuery, now: UnixTime) -> Result<PeopleList, ApiError> {
        let (found, before, after) = self.list_part(asked, now).await?;
        let link = |from: ListStart| format!("{home}{}", asked.starting(from).written());
        let ends = (found.first().map(|(mark, _)| mark.clone()), found.last().map(|(mark, _)| mark.clone()));
        Ok(PeopleList {
            rows: found.iter().map(|(_, grant)| self.row_of(grant, now)).collect(),
            filter: asked.filter(),
            typed: asked.typed.clone(),
            heads: heads(home, asked),
            all: home.to_owned(),
            first: before.then(|| link(ListStart::Start)),
            previous: ends.0.filter(|_| before).map(|mark| link(ListStart::Before(mark))),
            next: ends.1.filter(|_| after).map(|mark| link(ListStart::After(mark))),
            here: asked.written(),
        })
    }

    /// One page of the list, and whether there are rows before it and after it.
    async fn list_part(
        &self,
        asked: &ListQuery,
        now: UnixTime,
    ) -> Result<(Vec<(ListPosition, Grant)>, bool, bool), ApiError> {
        if let Some(found) = self.by_id(asked).await? {
            return Ok((vec![found], false, false));
        }
        let (mark, back) = match &asked.from {
            ListStart::Start => (None, false),
            ListStart::After(mark) => (Some(mark.clone()), false),
            ListStart::Before(mark) => (Some(mark.clone()), true),
        };
        let page = ListRequest {
            descending: asked.descending != back,
            after: mark.clone(),
            // One more row shows whether the list continues.
            ..ListRequest::first_page(asked.pick.clone(), u32::try_from(ROWS).unwrap_or(u32::MAX) + 1, now)
        };
        let mut found = self.api.services().cache.list(page).await?;
        let more = found.len() > ROWS;
        found.truncate(ROWS);
        if back {
            found.reverse();
            return Ok((found, more, true));
        }
        Ok((found, mark.is_some(), more))
    }

    /// A search for a person's whole id finds that person.
    async fn by_id(&self, asked: &ListQuery) -> Result<Option<(ListPosition, Grant)>, ApiError> {
        let Some(id) = PersonId::parse(&asked.typed).ok() else { return Ok(None) };
        let found = self.api.services().cache.get_uncached(&id).await?;
        let mark = ListPosition { key: SortKey::None, serial: 0 };
        Ok(found.map(|grant| (mark, (*grant).clone())))
    }

    /// The result of the action that redirected here: one of a few fixed sentences, whatever the URL says.
    async fn flash_message(
        &self,
        session: &DashboardSession,
        query: &str,
    ) -> Result<Option<FlashMessage>, ApiError> {
        let who = query_string::first(query, "who").and_then(|id| PersonId::parse(&id).ok());
        let (Some(done), Some(id)) = (query_string::first(query, "done"), who) else { return Ok(None) };
        let found = self.api.services().cache.get_uncached(&id).await?;
        let who = found
            .map(|grant| name_of(&grant.person))
            .or_else(|| self.sessions().forgotten_name(session, &id));
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
        Ok(Some(FlashMessage { class, text: format!("{who}: {what}") }))
    }

    /// The current position in the event stream.
    fn since(&self) -> String {
        let events = self.api.services().cache.events();
        events.encode_id(events.position())
    }
}

/// The column heads for this query.
fn heads(home: &str, asked: &ListQuery) -> Vec<ColumnHead> {
    let sortable = matches!(asked.pick, ListSelection::All(_));
    let heads = [
        ("Person", Some(SortBy::Email)),
        ("State", None),
        ("Next refresh", Some(SortBy::NextRefresh)),
        ("Consent ends", None),
    ];
    let head = |(text, order): (&'static str, Option<SortBy>)| {
        let here = order.is_some_and(|order| asked.pick == ListSelection::All(order));
        let sorted = here.then_some(if asked.descending { "descending" } else { "ascending" });
        let turned = ListQuery::sorted(order.unwrap_or(SortBy::CreatedAt), here && !asked.descending);
        let link = order.filter(|_| sortable).map(|_| format!("{home}{}", turned.written()));
        ColumnHead { text, link, sorted }
    };
    heads.into_iter().map(head).collect()
}
