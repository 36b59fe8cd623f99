//! The space, and which persons the bot has added to it.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::domain::person::PersonId;
use crate::webex::Space;

/// Maximum number of persons that the bot adds concurrently.
const AT_ONCE: usize = 16;

/// Maximum number of persons remembered as added, which saves requests to Webex. When the list is full, it is
/// cleared.
const MAX_REMEMBERED: usize = 10_000;

/// The space, and the persons known to be members.
pub(super) struct SpaceMembers {
    pub(super) space: Space,
    pub(super) adding: Semaphore,
    added: Mutex<BTreeSet<PersonId>>,
}

impl SpaceMembers {
    pub(super) fn of(space: Space) -> Self {
        Self { space, adding: Semaphore::new(AT_ONCE), added: Mutex::default() }
    }

    /// A shortcut for persons who open the space repeatedly.
    pub(super) fn is_added(&self, person: &PersonId) -> bool {
        self.added.lock().contains(person)
    }

    pub(super) fn remember(&self, person: &PersonId) {
        let mut added = self.added.lock();
        if added.len() >= MAX_REMEMBERED {
            added.clear();
        }
        added.insert(person.clone());
    }
}
