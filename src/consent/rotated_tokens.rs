//! The refresh tokens that imports have rotated, until they are stored.

use std::collections::VecDeque;

use parking_lot::Mutex;
use parking_lot::MutexGuard;

use crate::domain::secret::Secret;

/// Maximum number of rotated refresh tokens that wait to be stored.
const MAX_ROTATED: usize = 256;

/// Rotated refresh tokens by the imported ones, until they are stored. They are in memory only, because their
/// owner is not known yet.
#[derive(Debug, Default)]
pub(super) struct RotatedTokens(Mutex<VecDeque<(Secret, Secret)>>);

impl RotatedTokens {
    pub(super) fn successor(&self, offered: &Secret) -> Option<Secret> {
        self.entries().iter().find(|(key, _)| key == offered).map(|(_, successor)| successor.clone())
    }

    pub(super) fn hold(&self, offered: &Secret, successor: Secret) {
        self.release(offered);
        let mut all = self.entries();
        if all.len() >= MAX_ROTATED {
            all.pop_front();
        }
        all.push_back((offered.clone(), successor));
    }

    pub(super) fn release(&self, offered: &Secret) {
        self.entries().retain(|(key, _)| key != offered);
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<(Secret, Secret)>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_tokens_are_bounded() {
        let (held, secret) = (RotatedTokens::default(), |n: usize| Secret::new(n.to_string()));
        for n in 0..=MAX_ROTATED {
            held.hold(&secret(n), secret(n + 1));
        }
        assert_eq!(held.successor(&secret(0)), None);
        assert_eq!(held.successor(&secret(MAX_ROTATED)), Some(secret(MAX_ROTATED + 1)));
    }
}
