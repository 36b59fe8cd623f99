//! Consents, from the first click to the stored grant: begin -> URL; finish(code, state) -> stored grant.
//! Also logins that a command waits for, the device grant, and the import of grants.
//!
//! Between the two steps the only state is a sealed ticket that the browser carries. So a restarted process,
//! or another one with the same key, can finish a consent.

mod begin;
mod code_exchange_queue;
mod device_login;
mod finish;
mod import;
mod login_table;
mod logins;
mod random;
mod rotated_tokens;
mod scopes;
mod service;
mod space;
mod space_members;
mod test_hook;
mod types;
mod used_states;

pub use crate::consent::begin::cookie_suffix;
pub use crate::consent::device_login::DeviceLogin;
pub use crate::consent::import::ImportError;
pub use crate::consent::import::ImportRequest;
pub use crate::consent::import::ImportedGrant;
pub use crate::consent::login_table::LoginState;
pub use crate::consent::logins::LoginRecord;
pub use crate::consent::service::ConsentService;
pub use crate::consent::space::SpaceCookie;
pub use crate::consent::test_hook::TestHook;
pub use crate::consent::test_hook::TestHookError;
pub use crate::consent::types::BegunConsent;
pub use crate::consent::types::ConsentError;
pub use crate::consent::types::Granted;
pub use crate::consent::types::not_listed;
pub use crate::webex::SpaceWidget;
pub use crate::webex::wire::show as shown;
