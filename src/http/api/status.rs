//! `GET /status`: the state of the daemon, for monitoring.

use hyper::Response;
use hyper::StatusCode;

use crate::api_types;
use crate::domain::breaker::Pause;
use crate::domain::time::UnixTime;
use crate::http::api::context::Api;
use crate::http::api::request::ApiRequest;
use crate::http::api::views::time;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;
use crate::http::server::tls::ServedCertificate;
use crate::refresh::Backlog;
use crate::refresh::RateLimits;

/// `GET /status`. It also responds while the store fails, because that is when it is needed.
pub(super) async fn status(api: &Api, ask: &ApiRequest) -> Result<Response<ResponseBody>, ApiError> {
    ask.query([])?;
    ask.caller.require_unrestricted()?;
    let well = api.0.health.ready().await;
    let people = api.tally().await;
    let ready = well.is_ok() && people.is_some();
    let status = api_types::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        people,
        breaker: breaker(api.0.refresher.pause()),
        backlog: api.0.refresher.backlog().map(|backlog| backlog_view(&backlog)),
        refresh_limits: Some(refresh_limits(api.0.refresher.configured_limits())),
        store: if ready { "ok" } else { "failing" }.to_owned(),
        ready,
        started_at: api.1.started_at.to_string(),
        notices: api.notice_counts().await,
        certificate: api.1.certificate.get().map(|served| certificate(served, api.0.clock.now())),
    };
    Ok(response::json(StatusCode::OK, &status))
}

impl Api {
    /// How many persons there are in each state. `None` while the store cannot say.
    pub(in crate::http) async fn tally(&self) -> Option<api_types::StateTally> {
        let counted = self.0.cache.counts(self.0.clock.now()).await;
        let counts =
            counted.inspect_err(|why| log::error!("the store cannot count the stored people: {why}")).ok()?;
        Some(api_types::StateTally {
            fresh: counts.fresh.people,
            due: counts.due.people,
            retrying: counts.retrying.people,
            consent_needed: counts.consent_needed.people,
            consent_ending: counts.consent_ending.people,
            or_more: counts.fresh.or_more || counts.due.or_more,
        })
    }
}

fn backlog_view(backlog: &Backlog) -> api_types::BacklogView {
    api_types::BacklogView {
        due: backlog.due,
        or_more: backlog.or_more,
        expired: backlog.expired,
        per_second: backlog.per_second,
        until: backlog.until.and_then(time),
        says: backlog.sentence(),
    }
}

fn refresh_limits(limits: RateLimits) -> api_types::RefreshLimitsView {
    api_types::RefreshLimitsView {
        concurrency: u64::try_from(limits.concurrency).unwrap_or(u64::MAX),
        per_second: Some(limits.per_second).filter(|rate| *rate > 0.0),
    }
}

fn certificate(served: &ServedCertificate, now: UnixTime) -> api_types::CertificateView {
    let pair = served.shown.borrow();
    let facts = pair.facts();
    let moment = |seconds: i64| UnixTime::from_seconds(seconds).to_string();
    api_types::CertificateView {
        begins_at: facts.as_ref().map(|facts| moment(facts.begins)),
        ends_at: facts.as_ref().map(|facts| moment(facts.ends)),
        names: facts.map(|facts| facts.names).unwrap_or_default(),
        fingerprint: pair.fingerprint().to_string(),
        self_signed: served.self_signed,
        trouble: pair.problem(&served.host, now.seconds()).map(|trouble| trouble.text),
    }
}

/// The state of the circuit breaker, as the API shows it.
#[must_use]
pub fn breaker(pause: Option<Pause>) -> api_types::BreakerView {
    let state = match pause {
        None => "closed",
        Some(Pause { probing: false, .. }) => "open",
        Some(Pause { probing: true, .. }) => "probing",
    };
    api_types::BreakerView {
        state: state.to_owned(),
        cause: pause.map(|pause| pause.cause.as_str().to_owned()),
        says: pause.map(|pause| pause.cause.to_string()),
        since: pause.and_then(|pause| time(pause.since)),
        until: pause.and_then(|pause| time(pause.until)),
    }
}
