//! The service that all consents of one integration share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::consent::code_exchange_queue::CodeExchangeQueue;
use crate::consent::login_table::Logins;
use crate::consent::rotated_tokens::RotatedTokens;
use crate::consent::space_members::SpaceMembers;
use crate::consent::used_states::UsedStates;
use crate::domain::allowed_persons::AllowList;
use crate::domain::person::Person;
use crate::service_context::ServiceContext;
use crate::store::seal::Sealer;
use crate::webex::REVOKE_URL;
use crate::webex::SpaceWidget;
use crate::webex::WIDGET;

/// Maximum number of device logins at once; each polls Webex every few seconds.
const MAX_DEVICE_LOGINS: usize = 32;

/// The consents of one integration.
pub struct ConsentService {
    pub(super) context: ServiceContext,
    pub(super) sealer: Arc<Sealer>,
    pub(super) used_states: UsedStates,
    pub(super) exchanges: CodeExchangeQueue,
    pub(super) allow: Option<AllowList>,
    pub(super) logins: Logins,
    pub(super) devices: Arc<Semaphore>,
    pub(super) held: RotatedTokens,
    pub(super) members: Option<SpaceMembers>,
}

impl ConsentService {
    /// Builds the service without limits, an allow list or a space. `sealer` seals tickets.
    #[must_use]
    pub fn new(context: ServiceContext, sealer: Arc<Sealer>) -> Self {
        Self {
            context,
            sealer,
            used_states: UsedStates::default(),
            exchanges: CodeExchangeQueue::new(None),
            allow: None,
            logins: Logins::default(),
            devices: Arc::new(Semaphore::new(MAX_DEVICE_LOGINS)),
            held: RotatedTokens::default(),
            members: None,
        }
    }

    /// Accepts only the persons of `allow`; `None` accepts every person.
    #[must_use]
    pub fn for_persons(self, allow: Option<AllowList>) -> Self {
        Self { allow, ..self }
    }

    /// Keeps failing code exchanges well below `per_second`, the rate limit of refreshes. `None`: no limit.
    #[must_use]
    pub fn with_refresh_pause(self, per_second: Option<f64>) -> Self {
        Self { exchanges: CodeExchangeQueue::new(per_second), ..self }
    }

    /// The scopes that consents request.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.context.webex.integration().scopes
    }

    /// The daemon's URL where this person consents again.
    #[must_use]
    pub fn consent_url(&self, person: &Person) -> String {
        self.context.webex.consent_url(person)
    }

    /// The Webex page where a person revokes a consent.
    #[must_use]
    pub fn revoke_at(&self) -> &'static str {
        REVOKE_URL
    }

    /// Webex's Space widget.
    #[must_use]
    pub fn widget(&self) -> &'static SpaceWidget {
        &WIDGET
    }
}
