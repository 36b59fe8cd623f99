//! `GET /doctor`: the daemon examines itself, for callers of the control socket.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::Response;
use hyper::StatusCode;

use crate::api_types::DoctorReport;
use crate::api_types::Finding;
use crate::api_types::attention;
use crate::http::api::Api;
use crate::http::api::ApiRequest;
use crate::http::api_error::ApiError;
use crate::http::response;
use crate::http::server::listener::ResponseBody;

/// Examines settings, files, store and Webex. It takes as long as Webex takes to respond.
pub type RunDoctor = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<Finding>> + Send>> + Send + Sync>;

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
