//! Logins: consents that a command or another client waits for.
//!
//! They are in memory only. A restart drops them, but a consent that was started for a login is still stored.

use std::time::Duration;

use url::Url;

use crate::consent::login_table::LoginState;
use crate::consent::service::ConsentService;
use crate::consent::types::BegunConsent;
use crate::consent::types::ConsentError;
use crate::consent::types::Granted;
use crate::domain::person::Email;
use crate::domain::secret::Secret;
use crate::domain::ticket::LoginId;
use crate::domain::ticket::TICKET_TTL;

/// A started login.
#[derive(Clone, Debug)]
pub struct LoginRecord {
    /// The login's id, with which its state is read.
    pub id: String,
    /// The URL that the person opens in any browser.
    pub url: String,
    /// When the login expires.
    pub expires_in: Duration,
}

impl ConsentService {
    /// Starts a login. The person who opens its URL in a browser consents for it. `hint` preselects the
    /// account.
    ///
    /// # Errors
    /// [`ConsentError::Crowded`] when the limit of pending logins is reached, [`ConsentError::NoTicket`]
    /// without random bytes.
    pub fn begin_login(&self, hint: Option<Email>) -> Result<LoginRecord, ConsentError> {
        let id = self.logins.begin(TICKET_TTL)?;
        let mut url =
            Url::parse(&self.context.webex.integration().redirect_uri).map_err(|_| ConsentError::NoTicket)?;
        url.query_pairs_mut().append_pair("login", id.as_str());
        if let Some(email) = hint {
            url.query_pairs_mut().append_pair("person", email.as_str());
        }
        Ok(LoginRecord { id: id.as_str().to_owned(), url: url.into(), expires_in: TICKET_TTL })
    }

    /// Starts the consent of `login` in the browser that opened its URL.
    ///
    /// # Errors
    /// [`ConsentError::Stale`] if the login is unknown, finished or expired; otherwise as
    /// [`ConsentService::begin`].
    pub fn begin_for(&self, login: &str, hint: Option<&Email>) -> Result<BegunConsent, ConsentError> {
        let login = LoginId::parse(login).filter(|id| self.logins.is_pending(id));
        self.begin_with(hint, Some(login.ok_or(ConsentError::Stale)?))
    }

    /// Handles a browser that Webex sent back with `error` instead of a code. A login that waits for this
    /// ticket fails, unless the error is temporary. The ticket stays valid, so the person may still consent.
    /// Returns whether the browser has the ticket.
    pub fn declined(&self, error: &str, state: &Secret, sealed: Option<&str>) -> bool {
        let Some(ticket) = self.ticket_of(state, sealed) else { return false };
        let Some(login) = ticket.login() else { return true };
        let why = match error {
            "server_error" | "temporarily_unavailable" => return true,
            "access_denied" => "the person declined at Webex",
            "invalid_scope" => {
                "Webex does not know the scopes asked for: MY_APP_SCOPES and the integration must agree"
            }
            _ => "Webex ended the consent; the page in the browser has the details",
        };
        self.logins.tell(login, LoginState::Failed(why.to_owned()));
        true
    }

    /// The state of a login. Waits up to `wait`, but at most 30 s, for its result. `None` if the login is
    /// unknown or was dropped.
    pub async fn login_status(&self, id: &str, wait: Duration) -> Option<LoginState> {
        self.logins.status(&LoginId::parse(id)?, wait).await
    }

    /// Reports the result of a consent to its login. A temporary failure leaves the login pending.
    pub(super) fn tell(&self, login: &LoginId, finished: &Result<Granted, ConsentError>) {
        let state = match finished {
            Ok(granted) => LoginState::Granted(granted.person.id.clone()),
            Err(
                ConsentError::Unreachable { .. } | ConsentError::Busy { .. } | ConsentError::TooMany { .. },
            ) => return,
            Err(ConsentError::Store(_)) => {
                LoginState::Failed("the grant could not be stored; the daemon's log says why".to_owned())
            }
            Err(error) => LoginState::Failed(error.to_string()),
        };
        self.logins.tell(login, state);
    }
}
