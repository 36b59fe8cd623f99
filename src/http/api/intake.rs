//! Logins that a caller waits for, and imports of grants.

use std::time::Duration;

use hyper::Response;
use hyper::StatusCode;

use crate::api_types;
use crate::consent::LoginState;
use crate::consent::Offered;
use crate::consent::TakeOverError;
use crate::domain::person::Email;
use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::http::api::Api;
use crate::http::api::Ask;
use crate::http::refusal::Refusal;
use crate::http::respond;
use crate::http::serve::Body;

type Answered = Result<Response<Body>, Refusal>;

/// Maximum wait of one request, in seconds: shorter than the timeouts of proxies.
const MOST_WAIT: u32 = 30;

/// `POST /logins`
pub(super) async fn begin(api: &Api, ask: &Ask) -> Answered {
    ask.query([])?;
    let asked: api_types::LoginAsked = ask.body()?;
    let hint = asked.email.as_deref().map(Email::parse).transpose();
    let hint = hint.map_err(|why| Refusal::BadRequest(format!("email: {why}.")))?;
    let begun = if asked.device { api.begin_device().await? } else { api.begin_login(hint)? };
    Ok(respond::json(StatusCode::CREATED, &begun))
}

/// `GET /logins/{id}?wait=`
pub(super) async fn status(api: &Api, ask: &Ask) -> Answered {
    let wait = ask.query(["wait"])?.number("wait", 0, 0..=MOST_WAIT)?;
    let found = api.0.consents.login_status(&ask.named, Duration::from_secs(wait.into())).await;
    let unknown =
        || Refusal::NotFound("There is no login with this id, or it was forgotten after its end.".to_owned());
    let (state, detail, person) = match found.ok_or_else(unknown)? {
        LoginState::Pending => ("pending", None, None),
        LoginState::Granted(person) => ("granted", None, api.shown_if_kept(&person).await?),
        LoginState::Failed(why) => ("failed", Some(why), None),
    };
    Ok(respond::json(StatusCode::OK, &api_types::LoginStatus { state: state.to_owned(), detail, person }))
}

/// `POST /import`
pub(super) async fn import(api: &Api, ask: &Ask) -> Answered {
    ask.query([])?;
    let asked: api_types::ImportAsked = ask.body()?;
    let offered = Offered {
        refresh_token: asked.refresh_token.map(Secret::new),
        access_token: asked.access_token.map(Secret::new),
        replace: asked.replace,
    };
    let consents = api.0.consents.clone();
    let mut retry_after = None;
    let (outcome, detail, person) = match api
        .finish("import", async move { consents.take_over(offered).await })
        .await?
    {
        Ok(taken) => {
            (taken.word(), taken.gave_way().map(str::to_owned), api.shown_if_kept(&taken.person.id).await?)
        }
        Err(TakeOverError::Refused(why)) => ("refused", Some(why), None),
        Err(TakeOverError::Failed(why)) => ("failed", Some(why), None),
        Err(TakeOverError::Busy { why, wait }) => {
            retry_after = Some(wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX));
            ("failed", Some(why), None)
        }
    };
    let outcome = outcome.to_owned();
    Ok(respond::json(StatusCode::OK, &api_types::Imported { outcome, detail, person, retry_after }))
}

impl Api {
    fn begin_login(&self, hint: Option<Email>) -> Result<api_types::LoginBegun, Refusal> {
        let login = self.0.consents.begin_login(hint).map_err(Refusal::no_consent)?;
        Ok(api_types::LoginBegun {
            id: login.id,
            url: login.url,
            user_code: None,
            complete_url: None,
            expires_in: login.expires_in.as_secs(),
        })
    }

    async fn begin_device(&self) -> Result<api_types::LoginBegun, Refusal> {
        let login = self.0.consents.begin_device(&self.0.tasks).await.map_err(Refusal::no_consent)?;
        Ok(api_types::LoginBegun {
            id: login.id,
            url: login.verification_uri,
            user_code: Some(login.user_code),
            complete_url: login.verification_uri_complete,
            expires_in: login.expires_in.as_secs(),
        })
    }

    /// `None` if the person was forgotten meanwhile.
    async fn shown_if_kept(&self, person: &PersonId) -> Result<Option<api_types::Person>, Refusal> {
        let found = self.0.view.show(person).await.map_err(|why| Refusal::store(&why))?;
        Ok(found.map(|grant| self.shown(&grant)))
    }
}
