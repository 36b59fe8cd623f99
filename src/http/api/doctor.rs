//! `GET /doctor`: the daemon examines itself, for callers of the control socket.

use hyper::Response;
use hyper::StatusCode;

use crate::api_types::DoctorReport;
use crate::api_types::Finding;
use crate::api_types::attention;
use crate::http::api::context::Api;
use crate::http::api::request::ApiRequest;
use crate::http::api_error::ApiError;
use crate::http::response;
use crate::http::response_body::ResponseBody;

/// `GET /doctor`
pub(super) async fn doctor(api: &Api, ask: &ApiRequest) -> Result<Response<ResponseBody>, ApiError> {
    ask.query([])?;
    ask.no_body()?;
    let mut findings = (api.0.examine)().await;
    let (people, notices) = (api.tally().await, api.notice_tally().await);
    let attention = attention(people.as_ref(), notices.as_ref());
    findings
        .extend(attention.into_iter().map(|one| Finding::new(one.topic.mark(), one.topic.word(), one.says)));
    Ok(response::json(StatusCode::OK, &DoctorReport { findings }))
}
