//! Stores grants with sealed tokens and the time at which each is due.
//!
//! [`Store`] is the contract. [`sqlite`] and [`memory`] implement it, and one test suite runs against both. A store reads and
//! writes domain types and makes no decisions about refreshes.

pub mod backlog;
pub mod claim;
pub mod history;
pub mod key_file;
pub mod list;
pub mod memory;
mod meta_key;
pub mod outbox;
pub mod overview;
mod postponed;
mod removal;
pub mod seal;
pub mod sqlite;

use std::future::Future;
use std::path::Path;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use crate::domain::api_key::ApiKeyRecord;
use crate::domain::breaker::DueSummary;
use crate::domain::grant::Grant;
use crate::domain::person::AddressMatch;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::schedule::Schedule;
use crate::domain::time::UnixTime;

pub use crate::store::backlog::BacklogCounts;
pub use crate::store::backlog::BacklogRequest;
pub use crate::store::claim::Claim;
pub use crate::store::claim::ClaimOrder;
pub use crate::store::claim::ClaimRequest;
pub use crate::store::claim::Claims;
pub use crate::store::claim::Fence;
pub use crate::store::claim::Lease;
pub use crate::store::list::ListPosition;
pub use crate::store::list::ListRequest;
pub use crate::store::list::ListSelection;
pub use crate::store::list::SortBy;
pub use crate::store::list::SortKey;
pub use crate::store::meta_key::MetaKey;
pub use crate::store::overview::BoundedCount;
pub use crate::store::overview::GrantTotals;
pub use crate::store::overview::StateCounts;
pub use crate::store::removal::Removal;

/// The future of a store's answer.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Changes a grant in place and answers whether it did. May be called again for the same grant. See [`Store::update_batch`].
pub type GrantUpdate = Arc<dyn Fn(&mut Grant) -> bool + Send + Sync>;

/// The grants of one integration.
///
/// A method that changes something answers `Ok` only after the change is durable. `Err` means that nothing was changed.
/// Methods may be called concurrently from any number of tasks.
pub trait Store: Send + Sync {
    /// Stores the grant of a consent. It replaces the person's older grant, whose running claim becomes void. Of two consents
    /// the one that was obtained later stays, in whatever order they are stored. If the stored grant is dated later than the
    /// new grant's own time ([`Grant::last`]), the clock was wrong, and the new grant replaces it.
    fn save_consent(&self, grant: Grant) -> StoreFuture<'_, Saved>;

    /// Stores an imported grant as [`Store::save_consent`] does. If the stored grant covers it ([`Grant::covers`]), nothing
    /// is changed, and the answer is [`Saved::Kept`].
    fn save_import(&self, grant: Grant) -> StoreFuture<'_, Saved>;

    /// Claims up to `limit` due grants in the order of the request; no other caller gets them until the lease ends. The
    /// claim is durable when it is answered: its holder may call Webex.
    fn claim_due(&self, ask: ClaimRequest) -> StoreFuture<'_, Claims>;

    /// Claims one person's grant, due or not. `None` if there is none, or if it is claimed and its lease has not ended.
    fn claim_one(&self, person: PersonId, lease: Lease) -> StoreFuture<'_, Option<Claim>>;

    /// Stores the result of a refresh of a claimed grant and ends the claim. If a consent, another claim or a removal came
    /// first, nothing is changed and the answer is [`Committed::Superseded`]. Only a consent and [`Store::update_person`]
    /// change the person.
    fn commit(&self, fence: Fence, grant: Grant) -> StoreFuture<'_, Committed>;

    /// Releases a claim without a refresh: the grant stays as it was and is planned by `next`. As with [`Store::commit`],
    /// nothing is changed if a consent, another claim or a removal came first.
    fn release(&self, person: PersonId, fence: Fence, next: Schedule) -> StoreFuture<'_, Committed>;

    /// One person's grant.
    fn find(&self, person: PersonId) -> StoreFuture<'_, Option<Grant>>;

    /// The persons with this address, at most [`MAX_SAME_ADDRESS`](crate::domain::person::MAX_SAME_ADDRESS). Those whose grants
    /// are alive come first, and then those who were stored first.
    fn resolve(&self, email: Email) -> StoreFuture<'_, Vec<AddressMatch>>;

    /// Stores what Webex says of a person, and `next` as [`Grant::person_check_at`]. If that is no longer `planned`, a newer
    /// consent was stored: then nothing is changed, and the answer is `false`. A running claim stays valid.
    fn update_person(&self, person: Person, planned: UnixTime, next: UnixTime) -> StoreFuture<'_, bool>;

    /// A page of the list of grants, with the position of each. The cost depends on the size of the page only.
    fn list(&self, page: ListRequest) -> StoreFuture<'_, Vec<(ListPosition, Grant)>>;

    /// Removes a person's grant with its tokens. Answers whether there was one.
    fn forget(&self, person: PersonId) -> StoreFuture<'_, bool>;

    /// Removes the grants of many persons as [`Store::forget`] does, in one transaction. Answers whose grants were removed.
    fn forget_all(&self, removal: Removal) -> StoreFuture<'_, Vec<PersonId>>;

    /// The earliest `wake_at` of all grants that is later than `after`.
    fn next_wake(&self, after: UnixTime) -> StoreFuture<'_, Option<UnixTime>>;

    /// What waits for a refresh at `now`. Grants that have ended do not count.
    fn due_summary(&self, now: UnixTime) -> StoreFuture<'_, DueSummary>;

    /// Applies `revision` to up to `limit` grants after the cursor and stores those that it changes. Answers where to
    /// continue, or `None` at the end. Persons are not changed, nor are claims and their leases. Claimed grants are revised
    /// as well: a later commit overwrites the change, but if the claim was abandoned, the grant must not keep its old
    /// dates. Callers revise a long list in many short steps, so that other writes run between them.
    fn update_batch(
        &self,
        after: BatchPosition,
        limit: u32,
        revision: GrantUpdate,
    ) -> StoreFuture<'_, Option<BatchPosition>>;

    /// How many grants there are.
    fn totals(&self) -> StoreFuture<'_, GrantTotals>;

    /// How many grants are in which state at `now`.
    fn counts(&self, now: UnixTime) -> StoreFuture<'_, StateCounts>;

    /// How many living grants wait for a refresh. The cost grows with these numbers, but not beyond the limit of the request.
    fn backlog(&self, ask: BacklogRequest) -> StoreFuture<'_, BacklogCounts>;

    /// The time of the latest write. A clock that is behind it has been set back.
    fn last_write_at(&self) -> StoreFuture<'_, Option<UnixTime>>;

    /// Sets [`Store::last_write_at`] back to `now` if it is later, the ends of leases back to `lease_end`, and dates of the outbox
    /// and the history back to `now`: what was to be sent later is due now. Called when all dates that a fast clock wrote are
    /// corrected.
    fn clamp_times(&self, now: UnixTime, lease_end: UnixTime) -> StoreFuture<'_, ()>;

    /// A short text that the event loop stored.
    fn get_meta(&self, note: MetaKey) -> StoreFuture<'_, Option<String>>;

    /// Stores a short text for the event loop.
    fn set_meta(&self, note: MetaKey, text: String) -> StoreFuture<'_, ()>;

    /// Whether the store can be read.
    fn check_readable(&self) -> StoreFuture<'_, ()>;

    /// Whether the store can be written: the result of the last write. If that was long ago, a mark is written, so frequent
    /// calls are cheap.
    fn check_writable(&self) -> StoreFuture<'_, ()>;
}

/// The API keys of a store. A method answers only after its change is durable.
pub trait KeyStore: Send + Sync {
    /// Stores a new key; `false` if its name is taken.
    fn add_key(&self, key: ApiKeyRecord) -> StoreFuture<'_, bool>;

    /// All keys, oldest first.
    fn keys(&self) -> StoreFuture<'_, Vec<ApiKeyRecord>>;

    /// Removes the key of this name. Answers whether there was one.
    fn revoke_key(&self, name: String) -> StoreFuture<'_, bool>;

    /// Records when the key with this id was used.
    fn touch_key(&self, id: String, at: UnixTime) -> StoreFuture<'_, ()>;
}

/// The result of storing a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The person had no grant before.
    New,
    /// The grant replaced the person's older one.
    Replaced,
    /// The grant was not stored, because the person's stored grant is newer.
    Older,
    /// The imported grant was not stored, because the person's stored grant covers it.
    Kept,
}

/// The result of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The change is stored.
    Kept,
    /// A consent, another claim or a removal came first. Nothing was changed.
    Superseded,
}

/// Where [`Store::update_batch`] continues. The default is the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchPosition(pub i64);

/// Why an operation of the store failed, and what the operator can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process has the store open.
    #[error(
        "the store {0} is in use by another webex-tokend; stop that one, or set TOKEND_STORE_URL to another file"
    )]
    InUse(PathBuf),
    /// A later version of this program wrote the file.
    #[error(
        "the store {path} has version {found}, this program knows up to {known}; run a newer webex-tokend"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The latest version that this program knows.
        known: i64,
    },
    /// The file is a database of another program.
    #[error("{0} is a database of another program; set TOKEND_STORE_URL to a file of its own")]
    Foreign(PathBuf),
    /// The store exists, but its key file does not.
    #[error(
        "the store {store} is sealed, but its key file {key} is missing; restore the key from your backup \
             (to start anew instead, move the store away: every person must then consent again)"
    )]
    KeyMissing {
        /// The store.
        store: PathBuf,
        /// The path of the missing key file.
        key: PathBuf,
    },
    /// The key is not the one that sealed the store.
    #[error(
        "the key {key} does not open the store {store}; restore the key that belongs to it, nothing was changed"
    )]
    WrongKey {
        /// The store.
        store: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The key file cannot be used.
    #[error("key file {path}: {why}")]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        why: String,
    },
    /// A directory or file cannot be created or opened.
    #[error("{path}: {why}; let this user write there, or set TOKEND_STATE_DIR or TOKEND_STORE_URL to one")]
    File {
        /// The directory or file.
        path: PathBuf,
        /// The error of the operating system.
        why: String,
    },
    /// The disk is full.
    #[error(
        "the store cannot be written, its disk is full; free some space (refreshes then continue by themselves)"
    )]
    Full,
    /// The file or its disk is read-only.
    #[error("the store cannot be written, its file or disk is read-only; make it writable")]
    ReadOnly,
    /// The operating system refused to read or write, for instance because of a quota, a limit on the size of files, or a
    /// failing disk.
    #[error(
        "the store's disk cannot be read or written ({0}); look for a used-up quota or a failing disk in the system's log"
    )]
    Disk(String),
    /// The path names another file than the one that was opened, or none.
    #[error(
        "the store {0} was moved, replaced or removed while in use, and nothing is stored any more; put it back, or restart"
    )]
    Moved(PathBuf),
    /// The write-ahead log exists, but its database does not.
    #[error(
        "{log} belongs to a store, but {path} is missing or empty; put that back (to start anew instead, move the log \
             away, too: every person must then consent again)"
    )]
    LogAlone {
        /// The store.
        path: PathBuf,
        /// Its write-ahead log.
        log: PathBuf,
    },
    /// Another program holds a lock on the file.
    #[error("the store is locked by another program (a backup, a shell?); end it")]
    Locked,
    /// The file is damaged.
    #[error("the store's file is damaged ({0}); stop the daemon, keep a copy, restore your latest backup")]
    Corrupt(String),
    /// The record of this person does not open with the key.
    #[error(
        "the record of {0} does not open: it was changed, or comes from another store; a new consent replaces it"
    )]
    Unreadable(PersonId),
    /// The outbox or the history alone.
    #[error(
        "the store's file is damaged where notices are kept ({0}); restore your latest backup in a quiet hour"
    )]
    Outbox(String),
    /// The store is closing.
    #[error("the store is closing")]
    Closed,
    /// Any other error.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl StoreError {
    /// Whether the whole store is affected, as opposed to one record. The store logs such errors itself, once at the start
    /// and once at the end, so callers should not.
    #[must_use]
    pub fn affects_whole_store(&self) -> bool {
        use StoreError::Corrupt;
        use StoreError::Disk;
        use StoreError::Failed;
        use StoreError::Full;
        use StoreError::Locked;
        use StoreError::Moved;
        use StoreError::ReadOnly;
        matches!(self, Full | ReadOnly | Disk(_) | Moved(_) | Locked | Corrupt(_) | Failed(_))
    }

    /// The level at which a caller logs this error. It is `DEBUG` for errors that the store logs itself: errors of the whole
    /// store, and records that do not open.
    #[must_use]
    pub fn log_level(&self) -> log::Level {
        let is_told = self.affects_whole_store() || matches!(self, Self::Unreadable(_) | Self::Outbox(_));
        if is_told { log::Level::Debug } else { log::Level::Error }
    }

    /// The same error with the store's path, if the operator has to copy or replace the file.
    #[must_use]
    pub(crate) fn with_path(self, path: &Path) -> Self {
        let name = path.display().to_string();
        match self {
            Self::Corrupt(why) if !why.contains(&name) => Self::Corrupt(format!("{name}: {why}")),
            other => other,
        }
    }
}
