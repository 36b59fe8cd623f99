//! `GET /doctor`: the daemon examines itself, for callers of the control socket.

use hyper::Response;
use hyper::StatusCode;

use crate::api_types::Attention;
use crate::api_types::DoctorReport;
use crate::api_types::Finding;
use crate::api_types::FindingStatus;
use crate::api_types::attention;
use crate::http::api::context::Api;
use crate::http::api::request::ApiRequest;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;

/// `GET /doctor`
pub(super) async fn doctor(api: &Api, ask: &ApiRequest) -> Result<Response<ResponseBody>, ApiError> {
    ask.query([])?;
    ask.no_body()?;
    let mut findings = (api.0.run_doctor)().await;
    let (people, notices) = (api.tally().await, api.notice_counts().await);
    let attention = attention(people.as_ref(), notices.as_ref());
    let warning = |one: Attention| Finding::new(FindingStatus::Warn, one.topic.word(), one.says);
    findings.extend(attention.into_iter().map(warning));
    Ok(response::json(StatusCode::OK, &DoctorReport { findings }))
}
