//! The refresh token of an import.

use crate::store::answer::Saved;

/// The refresh token that was imported, and what its import may do.
#[derive(Clone, Copy, Debug)]
pub struct ImportedToken {
    /// The SHA-256 of the token.
    pub sha256: [u8; 32],
    /// Whether Webex issued another refresh token in its place.
    pub is_rotated: bool,
    /// Whether the grant replaces a stored one even if that covers it.
    pub replaces_even_if_covered: bool,
}

impl ImportedToken {
    /// Whether the token must be marked as imported. A rotated token whose successor was not stored must stay
    /// importable.
    pub(super) fn must_be_marked(&self, saved: Saved) -> bool {
        match saved {
            Saved::New | Saved::Replaced => true,
            Saved::Kept => !self.is_rotated,
            Saved::Older => false,
        }
    }
}
