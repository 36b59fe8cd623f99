//! The page of notices: what waits, what was sent and what was given up, and why.

use askama::Template;
use hyper::Response;
use hyper::StatusCode;

use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::http::dashboard::assets::AssetUrls;
use crate::http::dashboard::context::Dashboard;
use crate::http::dashboard::row::RelativeTime;
use crate::http::dashboard::sessions::DashboardSession;
use crate::http::pages::frame::PageFrame;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;
use crate::notices::Delivery;
use crate::notices::HistoryPage;
use crate::notices::NoticePage;
use crate::notices::NoticeRecord;
use crate::notices::SinkStatus;
use crate::notices::text;

/// Notices on the page; the API and the command list all of them.
const SHOWN: u32 = 100;

/// Entries of a person's history on the page.
const HISTORY: u32 = 20;

#[derive(Template)]
#[template(path = "dashboard/notices.html")]
struct NoticesPage<'a> {
    frame: &'a PageFrame,
    dress: &'a AssetUrls,
    session: &'a DashboardSession,
    sinks: Vec<SinkStatus>,
    notices: Vec<NoticeRow>,
}

/// One notice.
struct NoticeRow {
    at: RelativeTime,
    subject: String,
    /// How each sink stands with it, in words.
    told: Vec<String>,
}

/// One thing that happened to a person.
pub(super) struct HistoryRow {
    pub(super) at: RelativeTime,
    pub(super) what: String,
    pub(super) detail: String,
}

impl Dashboard {
    /// `GET /dashboard/notices`
    pub(super) async fn notices_page(
        &self,
        session: &DashboardSession,
    ) -> Result<Response<ResponseBody>, ApiError> {
        let services = self.api.services();
        let now = services.clock.now();
        let page = NoticePage { before: None, limit: SHOWN, failed_only: false };
        let records = services.notices.list(page).await?;
        let sinks = services.notices.sinks().await?;
        let page = NoticesPage {
            frame: &self.frame_at(session.home.expose()),
            dress: &self.dress,
            session,
            sinks,
            notices: records.iter().map(|record| row(record, now)).collect(),
        };
        Ok(response::for_operators(response::page(StatusCode::OK, &page)))
    }

    /// What happened to a person, newest first.
    pub(super) async fn history_of(
        &self,
        person: &PersonId,
        now: UnixTime,
    ) -> Result<Vec<HistoryRow>, ApiError> {
        let page = HistoryPage { person: Some(person.clone()), before: None, limit: HISTORY };
        let found = self.api.services().notices.history().history(page).await?;
        let rows = found.into_iter().map(|(_, entry)| HistoryRow {
            at: RelativeTime::of(entry.at, now),
            what: entry.what,
            detail: entry.detail,
        });
        Ok(rows.collect())
    }
}

fn row(record: &NoticeRecord, now: UnixTime) -> NoticeRow {
    let told = |delivery: &Delivery| {
        let state = delivery.state.as_str().replace('_', " ");
        let why = delivery.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        format!("{}: {state}{why}", delivery.sink)
    };
    NoticeRow {
        at: RelativeTime::of(record.notice.at, now),
        subject: text::subject(&record.notice),
        told: record.deliveries.iter().map(told).collect(),
    }
}
