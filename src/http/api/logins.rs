//! Logins that a caller waits for, and imports of grants.

use std::time::Duration;

use hyper::Response;
use hyper::StatusCode;

use crate::api_types;
use crate::consent::ImportError;
use crate::consent::ImportRequest;
use crate::consent::LoginState;
use crate::domain::person::Email;
use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::http::api::context::Api;
use crate::http::api::request::ApiRequest;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;

type LoginResult = Result<Response<ResponseBody>, ApiError>;

/// Maximum wait of one request, in seconds: shorter than the timeouts of proxies.
const MAX_WAIT: u32 = 30;

/// `POST /logins`
pub(super) async fn begin(api: &Api, ask: &ApiRequest) -> LoginResult {
    ask.query([])?;
    let asked: api_types::LoginRequest = ask.body()?;
    let hint = asked.email.as_deref().map(Email::parse).transpose();
    let hint = hint.map_err(|why| ApiError::BadRequest(format!("email: {why}.")))?;
    let begun = if asked.device { api.begin_device().await? } else { api.begin_login(hint)? };
    Ok(response::json(StatusCode::CREATED, &begun))
}

/// `GET /logins/{id}?wait=`
pub(super) async fn status(api: &Api, ask: &ApiRequest) -> LoginResult {
    let wait = ask.query(["wait"])?.number("wait", 0, 0..=MAX_WAIT)?;
    let found = api.0.consents.login_status(&ask.named, Duration::from_secs(wait.into())).await;
    let unknown = || {
        ApiError::NotFound("There is no login with this id, or it was forgotten after its end.".to_owned())
    };
    let (state, detail, person) = match found.ok_or_else(unknown)? {
        LoginState::Pending => ("pending", None, None),
        LoginState::Granted(person) => ("granted", None, api.find_view(&person).await?),
        LoginState::Failed(why) => ("failed", Some(why), None),
    };
    Ok(response::json(StatusCode::OK, &api_types::LoginStatus { state: state.to_owned(), detail, person }))
}

/// `POST /import`
pub(super) async fn import(api: &Api, ask: &ApiRequest) -> LoginResult {
    ask.query([])?;
    let asked: api_types::ImportBody = ask.body()?;
    let offered = ImportRequest {
        refresh_token: asked.refresh_token.map(Secret::new),
        access_token: asked.access_token.map(Secret::new),
        replace: asked.replace,
    };
    let consents = api.0.consents.clone();
    if let Some(known) = consents.imported_before(&offered).await {
        let imported = api_types::Imported {
            outcome: known.as_str().to_owned(),
            detail: Some("this grant was imported before, and Webex was not asked again".to_owned()),
            person: api.find_view(&known.person.id).await?,
            retry_after: None,
        };
        return Ok(response::json(StatusCode::OK, &imported));
    }
    let charge = api.1.budget.charge_import(&ask.caller)?;
    let refresher = api.0.refresher.clone();
    let turn = refresher.bulk_turn().await;
    let stops = api.0.tasks.stopping().is_cancelled();
    let import = async move {
        let _charge = charge;
        let _turn = turn.map_err(|wait| ImportError::Busy {
            why: "refreshes pause, because Webex asks to wait; import the grant again then".to_owned(),
            wait,
            rate_limited: false,
        })?;
        if stops {
            return Err(ImportError::Failed(
                "the daemon is stopping; import the grant again later".to_owned(),
            ));
        }
        let imported = consents.import(offered).await;
        if let Err(ImportError::Busy { wait, rate_limited: true, .. }) = &imported {
            refresher.slow_down_after_bulk_call(*wait);
        }
        imported
    };
    let mut retry_after = None;
    let (outcome, detail, person) = match api.finish("import", import).await? {
        Ok(taken) => (
            taken.as_str(),
            taken.replaced_outcome().map(str::to_owned),
            api.find_view(&taken.person.id).await?,
        ),
        Err(ImportError::Refused(why)) => ("refused", Some(why), None),
        Err(ImportError::Failed(why)) => ("failed", Some(why), None),
        Err(ImportError::Busy { why, wait, .. }) => {
            retry_after = Some(wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX));
            ("failed", Some(why), None)
        }
    };
    let outcome = outcome.to_owned();
    Ok(response::json(StatusCode::OK, &api_types::Imported { outcome, detail, person, retry_after }))
}

impl Api {
    fn begin_login(&self, hint: Option<Email>) -> Result<api_types::StartedLogin, ApiError> {
        let login = self.0.consents.begin_login(hint).map_err(ApiError::from_consent_error)?;
        Ok(api_types::StartedLogin {
            id: login.id,
            url: login.url,
            user_code: None,
            complete_url: None,
            expires_in: login.expires_in.as_secs(),
        })
    }

    async fn begin_device(&self) -> Result<api_types::StartedLogin, ApiError> {
        let login =
            self.0.consents.begin_device(&self.0.tasks).await.map_err(ApiError::from_consent_error)?;
        Ok(api_types::StartedLogin {
            id: login.id,
            url: login.verification_uri,
            user_code: Some(login.user_code),
            complete_url: login.verification_uri_complete,
            expires_in: login.expires_in.as_secs(),
        })
    }

    /// `None` if the person was forgotten meanwhile.
    async fn find_view(&self, person: &PersonId) -> Result<Option<api_types::PersonView>, ApiError> {
        let found = self.0.cache.get_uncached(person).await?;
        Ok(found.map(|grant| self.person_view(&grant)))
    }
}
