//! The first half of a consent: it makes a ticket and the URL that the browser opens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::consent::random::random_token;
use crate::consent::service::ConsentService;
use crate::consent::types::BegunConsent;
use crate::consent::types::ConsentError;
use crate::domain::person::Email;
use crate::domain::secret::Secret;
use crate::domain::ticket::LoginId;
use crate::domain::ticket::TICKET_TTL;
use crate::domain::ticket::Ticket;

/// Binds a sealed ticket to its purpose.
const PLACE: &str = "ticket";

/// Number of characters of the state that name a ticket: enough to tell a browser's tabs apart.
const NAME_LEN: usize = 12;

impl ConsentService {
    /// Starts a consent; `hint` preselects the account at Webex.
    ///
    /// # Errors
    /// [`ConsentError::NoTicket`] if the system has no random bytes.
    pub fn begin(&self, hint: Option<&Email>) -> Result<BegunConsent, ConsentError> {
        self.begin_with(hint, None)
    }

    pub(super) fn begin_with(
        &self,
        hint: Option<&Email>,
        login: Option<LoginId>,
    ) -> Result<BegunConsent, ConsentError> {
        let ticket = Ticket::new(random_token()?, random_token()?, self.context.clock.now());
        let ticket = match login {
            Some(login) => ticket.for_login(login),
            None => ticket,
        };
        let sealed = self.sealer.seal(&ticket.to_text(), PLACE).map_err(|_| ConsentError::NoTicket)?;
        Ok(BegunConsent {
            url: self.context.webex.authorize_url(&ticket, hint),
            name: cookie_suffix(ticket.state()),
            sealed: URL_SAFE_NO_PAD.encode(sealed),
            keep: TICKET_TTL,
        })
    }

    pub(super) fn open(&self, sealed: &str) -> Option<Ticket> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        Ticket::from_text(&self.sealer.open(&bytes, PLACE).ok()?)
    }
}

/// The short name of the ticket with this state.
#[must_use]
pub fn cookie_suffix(state: &Secret) -> String {
    state
        .expose()
        .chars()
        .take(NAME_LEN)
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect()
}
