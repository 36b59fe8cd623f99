//! Digests: one notice with the number of persons in place of one notice about each of them.

use std::time::Duration;

use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::time::UnixTime;

/// If notices of one type are held for more persons than this, the notices become one digest.
pub const MAX_SEPARATE_PERSONS: usize = 20;

/// How long a notice about a person is held, in case others of its type follow.
pub const HOLD: Duration = Duration::from_secs(30);

/// Maximum time that a digest is held while more notices join it.
pub const MAX_HOLD_TIME: Duration = Duration::from_secs(600);

/// Maximum number of notices that join a digest in one transaction of the store, so that the transaction stays short.
pub const MERGE_BATCH: usize = 500;

/// Whether a new `notice` is held for a digest.
#[must_use]
pub fn is_held(notice: &Notice) -> bool {
    notice.person.is_some()
}

/// A new digest of notices of this type. `first` is the number and the id of the first notice that joins it. The number is
/// needed because a notice that has joined a digest is removed, so that one with its id may be created again.
#[must_use]
pub fn begin(kind: NoticeType, first: (i64, &str), now: UnixTime) -> Notice {
    let (number, id) = first;
    let notice = Notice::new(NoticeType::Digest, None, &format!("{}\n{number} {id}", kind.as_str()), now);
    notice.with("type", kind.as_str()).with("persons", 0).with("since", now.to_string())
}

/// The digest after notices about `more` further persons joined it.
#[must_use]
pub fn joined(mut digest: Notice, more: usize) -> Notice {
    let persons = digest.data.get("persons").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let sum = persons.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
    digest.data.insert("persons".to_owned(), sum.into());
    digest
}

/// Until when a digest that began at `begun` is held after a notice joined it at `now`.
#[must_use]
pub fn held_until(begun: UnixTime, now: UnixTime) -> UnixTime {
    (now + HOLD).min(begun + MAX_HOLD_TIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000_000);

    #[test]
    fn a_digest_counts_who_joins_and_is_sent_in_the_end() {
        let digest = joined(joined(begin(NoticeType::ConsentNeeded, (1, "evt_1"), NOW), 500), 21);
        assert_eq!(digest.data["persons"], 521);
        assert_eq!(digest.data["type"], "consent.needed");
        assert_eq!(digest.id, begin(NoticeType::ConsentNeeded, (1, "evt_1"), NOW + HOLD).id);
        assert_ne!(digest.id, begin(NoticeType::ConsentNeeded, (2, "evt_1"), NOW).id);
        assert_eq!(held_until(NOW, NOW), NOW + HOLD);
        assert_eq!(held_until(NOW, NOW + MAX_HOLD_TIME), NOW + MAX_HOLD_TIME);
    }
}
