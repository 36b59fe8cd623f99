//! The caller of an API request, and what it may do.

use std::sync::Arc;

use crate::domain::api_key::ApiKeyRecord;
use crate::domain::api_key::Right;
use crate::domain::person::PersonId;
use crate::http::response::api_error::ApiError;

/// The caller of a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A process that may open the control socket or the store: the operator.
    Control,
    /// The holder of a key.
    Key(Arc<ApiKeyRecord>),
}

impl Caller {
    pub(in crate::http) fn may(&self, right: Right) -> Result<(), ApiError> {
        match self {
            Self::Key(key) if !key.rights.allow(right) => Err(ApiError::Forbidden(format!(
                "This needs the right {}; the key has: {}.",
                right.as_str(),
                key.rights
            ))),
            _ => Ok(()),
        }
    }

    /// Fails for keys that are limited to some persons, because the request concerns all persons.
    pub(in crate::http) fn require_unrestricted(&self) -> Result<(), ApiError> {
        match self.allowed_persons() {
            Some(_) => Err(ApiError::Forbidden(
                "The key is limited to some persons; this concerns all of them.".to_owned(),
            )),
            None => Ok(()),
        }
    }

    /// Fails for keys, because only the operator of the machine may do this.
    pub(in crate::http) fn is_control(&self) -> Result<(), ApiError> {
        match self {
            Self::Key(_) => Err(ApiError::Forbidden("This is for the control socket only.".to_owned())),
            Self::Control => Ok(()),
        }
    }

    /// The persons to which the caller is limited.
    pub(in crate::http) fn allowed_persons(&self) -> Option<&Vec<PersonId>> {
        match self {
            Self::Key(key) => key.persons.as_ref(),
            Self::Control => None,
        }
    }
}
