//! The client for Webex: the only module that knows its URLs, parameters and JSON.
//!
//! [`Webex`] uses domain types. Below it, [`transport`] sends single requests and knows nothing about OAuth,
//! and [`wire`] parses the responses. A simulator can replace the transport.

mod avatar;
mod client;
mod device_code;
mod device_grant;
mod messages;
mod owner;
mod proxy;
mod roots;
mod space;
pub mod transport;
pub mod wire;

pub use crate::webex::client::Integration;
pub use crate::webex::client::REVOKE_URL;
pub use crate::webex::client::Webex;
pub use crate::webex::client::ping;
pub use crate::webex::device_code::DeviceCode;
pub use crate::webex::device_grant::DevicePoll;
pub use crate::webex::device_grant::DevicePollResult;
pub use crate::webex::messages::MessageRecipient;
pub use crate::webex::messages::MessageRefused;
pub use crate::webex::owner::OwnerKind;
pub use crate::webex::owner::OwnerUnknown;
pub use crate::webex::owner::TokenOwner;
pub use crate::webex::proxy::Proxy;
pub use crate::webex::roots::check_roots;
pub use crate::webex::space::NotAdded;
pub use crate::webex::space::Space;
pub use crate::webex::space::SpaceWidget;
pub use crate::webex::space::WIDGET;
