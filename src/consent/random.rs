//! Random bytes for tickets, logins and cookies.

use aws_lc_rs::rand;

use crate::consent::types::ConsentError;

/// Random bytes of the system.
pub(super) fn random_token<const N: usize>() -> Result<[u8; N], ConsentError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| ConsentError::NoTicket)?;
    Ok(bytes)
}
