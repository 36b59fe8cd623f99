//! The codes that start a device grant.

use std::time::Duration;

use crate::domain::secret::Secret;

/// A started device grant.
#[derive(Clone, Debug)]
pub struct DeviceCode {
    /// The secret code for polling.
    pub device_code: Secret,
    /// The code that the person enters.
    pub user_code: String,
    /// Where the person enters it: an https URL, or one on this machine.
    pub verification_uri: String,
    /// The same URL with the code in it.
    pub verification_uri_complete: Option<String>,
    /// How long the code is valid, counted from the request for it.
    pub expires_in: Duration,
    /// The minimum pause between polls.
    pub interval: Duration,
}
