//! Notices and the history.

use hyper::Response;
use hyper::StatusCode;

use crate::api_types;
use crate::domain::notice::DEFAULT_APP;
use crate::domain::person::Email;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::http::api::context::Api;
use crate::http::api::request::ApiRequest;
use crate::http::api::views::part;
use crate::http::api::views::time;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;
use crate::notices::Delivery;
use crate::notices::HistoryPage;
use crate::notices::NoticePage;
use crate::notices::NoticeRecord;
use crate::notices::SinkStatus;

type Answered = Result<Response<ResponseBody>, ApiError>;

/// What `limit` is without a word, and at most.
const LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;

/// Days of counted refreshes that are shown.
const DAYS: u32 = 14;

/// `GET /notices?failed=&limit=&before=`
pub(super) async fn list(api: &Api, ask: &ApiRequest) -> Answered {
    let query = ask.query(["failed", "limit", "before"])?;
    ask.caller.require_unrestricted()?;
    let failed_only = match query.text("failed") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(ApiError::BadRequest("failed: expected true or false.".to_owned())),
    };
    let limit = query.number("limit", LIMIT, 1..=MAX_LIMIT)?;
    let page = NoticePage { before: query.before()?, limit: limit + 1, failed_only };
    let _permit = api.list_permit(&ask.caller).await?;
    let notices = &api.0.notices;
    let records = notices.list(page).await?;
    let sinks = notices.sinks().await?;
    let (records, next) = part(records, limit, |record| record.number.to_string());
    let list = api_types::NoticeList {
        sinks: sinks.into_iter().map(sink).collect(),
        notices: records.into_iter().map(item).collect(),
        next,
    };
    Ok(response::json(StatusCode::OK, &list))
}

/// `POST /notices/test`
pub(super) async fn test(api: &Api, ask: &ApiRequest) -> Answered {
    ask.query([])?;
    let asked: api_types::NoticeTestRequest = ask.body()?;
    let notices = api.0.notices.clone();
    let name = asked.sink.clone();
    let tests = api.finish("test of notices", async move { notices.test(name.as_deref()).await }).await?;
    if tests.is_empty() {
        let why = match asked.sink {
            Some(_) => "There is no such sink.",
            None => "No sink is set; docs/notices.md says how.",
        };
        return Err(ApiError::NotFound(why.to_owned()));
    }
    let tests =
        tests.into_iter().map(|test| api_types::NoticeTest { sink: test.sink, why: test.why }).collect();
    Ok(response::json(StatusCode::OK, &api_types::NoticeTests { tests }))
}

/// `POST /notices/{id}/resend`
pub(super) async fn resend(api: &Api, ask: &ApiRequest) -> Answered {
    ask.query([])?;
    ask.no_body()?;
    let (notices, id) = (api.0.notices.clone(), ask.named.clone());
    let resent = api.finish("resend", async move { notices.resend(&id).await }).await??;
    let sinks = resent.ok_or_else(|| ApiError::NotFound("There is no notice with this id.".to_owned()))?;
    let sinks = u64::try_from(sinks).unwrap_or(u64::MAX);
    Ok(response::json(StatusCode::OK, &api_types::NoticeResent { id: ask.named.clone(), sinks }))
}

/// `GET /people/{person}/history?limit=&before=`
pub(super) async fn history_of_person(api: &Api, ask: &ApiRequest) -> Answered {
    let person = ask.person(api).await?;
    history(api, ask, Some(person)).await
}

/// `GET /history?limit=&before=`
pub(super) async fn history_of_all(api: &Api, ask: &ApiRequest) -> Answered {
    ask.caller.require_unrestricted()?;
    history(api, ask, None).await
}

async fn history(api: &Api, ask: &ApiRequest, person: Option<PersonId>) -> Answered {
    let query = ask.query(["limit", "before"])?;
    let limit = query.number("limit", LIMIT, 1..=MAX_LIMIT)?;
    let _permit = api.list_permit(&ask.caller).await?;
    let is_of_all = person.is_none();
    let store = api.0.notices.history();
    let page = HistoryPage { person, before: query.before()?, limit: limit + 1 };
    let found = store.history(page).await?;
    let days = if is_of_all { store.daily_counts(DAYS).await? } else { Vec::new() };
    let (found, next) = part(found, limit, |(number, _)| number.to_string());
    let entries = found.into_iter().map(|(_, entry)| api_types::HistoryItem {
        at: entry.at.to_string(),
        person_id: entry.person.as_ref().map(PersonId::to_string),
        what: entry.what,
        detail: entry.detail,
    });
    let date = |day: i64| UnixTime::from_seconds(day.saturating_mul(86_400)).to_string();
    let days = days.into_iter().map(|count| api_types::DailyRefreshes {
        day: date(count.day).split('T').next().unwrap_or_default().to_owned(),
        outcome: count.outcome,
        refreshes: count.refreshes,
    });
    let list = api_types::HistoryList { entries: entries.collect(), days: days.collect(), next };
    Ok(response::json(StatusCode::OK, &list))
}

fn sink(status: SinkStatus) -> api_types::NoticeSink {
    let SinkStatus { counts, is_set, is_off } = status;
    api_types::NoticeSink {
        sink: counts.sink,
        is_set,
        is_off,
        waiting: counts.waiting,
        failing: counts.failing,
        given_up: counts.given_up,
        oldest_waiting_at: counts.oldest_waiting.and_then(time),
    }
}

fn item(record: NoticeRecord) -> api_types::NoticeItem {
    let notice = record.notice;
    let person = notice.person.map(|person| api_types::NoticePerson {
        id: person.id.to_string(),
        email: person.email.as_ref().map(Email::to_string),
        display_name: person.display_name,
    });
    api_types::NoticeItem {
        id: notice.id,
        kind: notice.kind.as_str().to_owned(),
        at: notice.at.to_string(),
        app: DEFAULT_APP.to_owned(),
        person,
        data: notice.data,
        deliveries: record.deliveries.into_iter().map(delivery).collect(),
    }
}

fn delivery(one: Delivery) -> api_types::NoticeDelivery {
    api_types::NoticeDelivery {
        sink: one.sink,
        state: one.state.as_str().to_owned(),
        tries: one.tries,
        next_at: one.next_at.and_then(time),
        done_at: one.done_at.and_then(time),
        why: one.why,
    }
}

impl Api {
    /// How many notices wait, fail and were given up, over all sinks. `None` while the store cannot say.
    pub(in crate::http) async fn notice_counts(&self) -> Option<api_types::NoticeCounts> {
        let sinks = self.0.notices.sinks().await;
        let trouble = self.0.notices.trouble();
        // A damaged outbox may not count, but says that it is damaged.
        let sinks = if trouble.is_some() { sinks.unwrap_or_default() } else { sinks.ok()? };
        let sum = |of: fn(&SinkStatus) -> u64| sinks.iter().map(of).sum();
        let off = sinks.iter().filter(|sink| sink.is_off).map(|sink| sink.counts.sink.clone());
        Some(api_types::NoticeCounts {
            waiting: sum(|sink| sink.counts.waiting),
            failing: sum(|sink| sink.counts.failing),
            given_up: sum(|sink| sink.counts.given_up),
            turned_off: off.collect(),
            trouble,
        })
    }
}
