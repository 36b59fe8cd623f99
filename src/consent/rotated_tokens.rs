//! The refresh tokens that imports have rotated, until they are stored.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::domain::secret::Secret;

/// Maximum number of rotated refresh tokens that wait to be stored. No import begins beyond it.
const MAX_ROTATED: usize = 256;

/// Rotated refresh tokens by the imported ones, until they are stored. They are in memory only, because their
/// owner is not known yet.
#[derive(Debug, Default)]
pub(super) struct RotatedTokens(Mutex<HeldTokens>);

#[derive(Debug, Default)]
struct HeldTokens {
    rotated: Vec<RotatedToken>,
    /// Hashes of the tokens that are being imported.
    under_way: BTreeSet<[u8; 32]>,
}

#[derive(Debug)]
struct RotatedToken {
    offered: Secret,
    successor: Secret,
    /// Whether the person has another grant that is alive, so that losing this one costs no consent.
    is_spare: bool,
}

/// Why an import may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ImportBlocked {
    /// The same token is being imported.
    UnderWay,
    /// Too many rotated tokens wait to be stored.
    Full,
}

/// Excludes other imports of the same token until it is dropped.
#[derive(Debug)]
pub(super) struct ImportGuard<'a> {
    tokens: &'a RotatedTokens,
    offered: [u8; 32],
}

impl RotatedTokens {
    /// Begins the import of this token. Two at once would each use up the refresh token of the other.
    pub(super) fn begin(&self, offered: &Secret) -> Result<ImportGuard<'_>, ImportBlocked> {
        let mut state = self.0.lock();
        let waiting = state.rotated.iter().filter(|token| !token.is_spare).count();
        let is_known = state.rotated.iter().any(|token| token.offered == *offered);
        if waiting >= MAX_ROTATED && !is_known {
            return Err(ImportBlocked::Full);
        }
        let hash = offered.sha256();
        if !state.under_way.insert(hash) {
            return Err(ImportBlocked::UnderWay);
        }
        Ok(ImportGuard { tokens: self, offered: hash })
    }

    pub(super) fn successor(&self, offered: &Secret) -> Option<Secret> {
        let state = self.0.lock();
        let found = state.rotated.iter().find(|token| token.offered == *offered);
        found.map(|token| token.successor.clone())
    }

    /// Holds the successor of an imported token. If there are too many, a spare one is dropped.
    pub(super) fn hold(&self, offered: &Secret, successor: Secret) {
        self.release(offered);
        let rotated = &mut self.0.lock().rotated;
        if rotated.len() >= MAX_ROTATED
            && let Some(spare) = rotated.iter().position(|token| token.is_spare)
        {
            rotated.remove(spare);
        }
        rotated.push(RotatedToken { offered: offered.clone(), successor, is_spare: false });
    }

    /// Records that the person of this token has another grant that is alive.
    pub(super) fn mark_spare(&self, offered: &Secret) {
        let mut state = self.0.lock();
        for token in state.rotated.iter_mut().filter(|token| token.offered == *offered) {
            token.is_spare = true;
        }
    }

    pub(super) fn release(&self, offered: &Secret) {
        self.0.lock().rotated.retain(|token| token.offered != *offered);
    }
}

impl Drop for ImportGuard<'_> {
    fn drop(&mut self) {
        self.tokens.0.lock().under_way.remove(&self.offered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(number: usize) -> Secret {
        Secret::new(number.to_string())
    }

    #[test]
    fn no_token_that_waits_is_dropped_for_another_and_spare_ones_are() {
        let held = RotatedTokens::default();
        for n in 0..MAX_ROTATED {
            drop(held.begin(&secret(n)).unwrap());
            held.hold(&secret(n), secret(n + 1));
        }
        assert_eq!(held.begin(&secret(MAX_ROTATED)).unwrap_err(), ImportBlocked::Full);
        assert!(held.begin(&secret(7)).is_ok(), "one that waits may be imported again");
        held.mark_spare(&secret(3));
        assert!(held.begin(&secret(MAX_ROTATED)).is_ok());
        held.hold(&secret(MAX_ROTATED), secret(0));
        assert_eq!(held.successor(&secret(3)), None);
        assert!((0..=MAX_ROTATED).filter(|n| *n != 3).all(|n| held.successor(&secret(n)).is_some()));
    }

    #[test]
    fn one_token_is_imported_once_at_a_time() {
        let held = RotatedTokens::default();
        let first = held.begin(&secret(1)).unwrap();
        assert_eq!(held.begin(&secret(1)).unwrap_err(), ImportBlocked::UnderWay);
        drop(first);
        assert!(held.begin(&secret(1)).is_ok());
    }
}
