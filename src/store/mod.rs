//! What is kept: grants, sealed, with the time when the loop has to do with them again.
//!
//! [`Store`] is the contract; [`sqlite`] and [`memory`] keep it, and one suite of tests holds both to it.
//! Rows go in, domain types come out; nothing here decides.

pub mod key;
pub mod list;
pub mod memory;
pub mod overview;
pub mod seal;
pub mod sqlite;

use std::future::Future;
use std::path::Path;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use crate::domain::breaker::Waiting;
use crate::domain::grant::Grant;
use crate::domain::key::KeyRecord;
use crate::domain::person::Email;
use crate::domain::person::Namesake;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::schedule::Next;
use crate::domain::time::UnixTime;

pub use crate::store::list::Bookmark;
pub use crate::store::list::Key;
pub use crate::store::list::Order;
pub use crate::store::list::Page;
pub use crate::store::list::Pick;
pub use crate::store::overview::Census;
pub use crate::store::overview::Count;
pub use crate::store::overview::Counts;

/// What a store answers, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Changes a grant in place; answers whether it did. May be asked again about the same grant. See [`Store::revise`].
pub type Revision = Arc<dyn Fn(&mut Grant) -> bool + Send + Sync>;

/// The grants of one integration.
///
/// Every verb that changes something has made the change durable before it answers `Ok`; an `Err` means that nothing
/// of it was kept. Verbs may be called at once from any number of tasks.
pub trait Store: Send + Sync {
    /// Keeps a consent: a new grant, or in the place of the person's old one, whose running claim is thereby void. Of
    /// two consents the one that was obtained later stays, in whatever order they come; a date that is later than the
    /// consent's own present ([`Grant::last`]) is a wrong clock's, and counts for nothing.
    fn save_consent(&self, grant: Grant) -> Answer<'_, Saved>;

    /// Keeps a grant that was taken over, as [`Store::save_consent`] does, unless the one that is there covers it
    /// ([`Grant::covers`]): then nothing is changed, and the answer is [`Saved::Kept`].
    fn save_import(&self, grant: Grant) -> Answer<'_, Saved>;

    /// Claims up to `limit` due grants in the order of the request; no other caller gets them until the lease ends. The
    /// claim is durable when it is answered: its holder may call Webex.
    fn claim_due(&self, ask: Ask) -> Answer<'_, Claims>;

    /// Takes one person's grant, due or not. `None` if there is none, or if it is claimed and its lease has not ended.
    fn claim_one(&self, person: PersonId, lease: Lease) -> Answer<'_, Option<Claim>>;

    /// Keeps what became of a claimed grant and ends the claim, unless a consent, another claim or a removal came
    /// between: then nothing is changed and the answer is [`Committed::Superseded`]. Only a consent and
    /// [`Store::update_person`] change the person.
    fn commit(&self, fence: Fence, grant: Grant) -> Answer<'_, Committed>;

    /// Ends a claim that came to nothing: the grant is as it was, and planned by `next`. As with [`Store::commit`],
    /// nothing is changed when something came between.
    fn give_back(&self, person: PersonId, fence: Fence, next: Next) -> Answer<'_, Committed>;

    /// One person's grant.
    fn find(&self, person: PersonId) -> Answer<'_, Option<Grant>>;

    /// The persons with this address, those whose grants are alive first, then in order of arrival; at most
    /// [`MOST_NAMESAKES`](crate::domain::person::MOST_NAMESAKES).
    fn resolve(&self, email: Email) -> Answer<'_, Vec<Namesake>>;

    /// Keeps what Webex says of a person, and `next` as [`Grant::person_check_at`]. Changes nothing, and answers `false`,
    /// unless that is still `planned`: a consent came between then, and its word is newer. A running claim goes on.
    fn update_person(&self, person: Person, planned: UnixTime, next: UnixTime) -> Answer<'_, bool>;

    /// A part of the list of grants, and where in the list each stands. Costs what is in the part, not what is stored.
    fn list(&self, page: Page) -> Answer<'_, Vec<(Bookmark, Grant)>>;

    /// Removes a person's grant, tokens and all; answers whether there was one.
    fn forget(&self, person: PersonId) -> Answer<'_, bool>;

    /// The earliest `wake_at` of all grants that is later than `after`.
    fn next_wake(&self, after: UnixTime) -> Answer<'_, Option<UnixTime>>;

    /// What waits for a refresh at `now`. Grants that have ended do not count.
    fn waiting(&self, now: UnixTime) -> Answer<'_, Waiting>;

    /// Shows up to `limit` grants after the cursor to `revision` and keeps what it changes. Answers where to go on;
    /// `None` at the end. The person stays, and so does the claim of a claimed one, with its lease: a claim whose holder
    /// commits replaces what was revised, and one that nobody holds any more must not hide old dates. Long lists are revised in many short steps, so that others get their
    /// turn.
    fn revise(&self, after: Cursor, limit: u32, revision: Revision) -> Answer<'_, Option<Cursor>>;

    /// How many grants there are.
    fn census(&self) -> Answer<'_, Census>;

    /// How many grants are in which state at `now`.
    fn counts(&self, now: UnixTime) -> Answer<'_, Counts>;

    /// The latest moment at which anything was kept: a clock that reads less has been set back.
    fn latest(&self) -> Answer<'_, Option<UnixTime>>;

    /// Brings [`Store::latest`] back to `now` if it is later, and the ends of leases back to `lease_end`: what was kept by
    /// a fast clock has been mended.
    fn settle(&self, now: UnixTime, lease_end: UnixTime) -> Answer<'_, ()>;

    /// A short text kept for the loop.
    fn recall(&self, note: Note) -> Answer<'_, Option<String>>;

    /// Keeps a short text for the loop.
    fn remember(&self, note: Note, text: String) -> Answer<'_, ()>;

    /// Whether the store can be read.
    fn check(&self) -> Answer<'_, ()>;

    /// Whether the store can keep anything: what the last write came to. Where that is long ago, a mark is written;
    /// so it may be asked as often as anybody likes.
    fn prove(&self) -> Answer<'_, ()>;
}

/// The API keys of a store. Every verb has made its change durable before it answers.
pub trait KeyStore: Send + Sync {
    /// Keeps a new key; `false` if its name is taken.
    fn add_key(&self, key: KeyRecord) -> Answer<'_, bool>;

    /// All keys, oldest first.
    fn keys(&self) -> Answer<'_, Vec<KeyRecord>>;

    /// Removes the key of this name; answers whether there was one.
    fn revoke_key(&self, name: String) -> Answer<'_, bool>;

    /// Notes that the key with this id was used.
    fn touch_key(&self, id: String, at: UnixTime) -> Answer<'_, ()>;
}

/// What a consent did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// A person who was not there before.
    New,
    /// The person's older grant gave way.
    Replaced,
    /// The person's grant is a newer one, and stays.
    Older,
    /// The person's grant does all that the one taken over could do, and stays.
    Kept,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The outcome is kept.
    Kept,
    /// Somebody was quicker: their word stands.
    Superseded,
}

/// Who keeps others away from a grant, and until when.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The present time.
    pub now: UnixTime,
    /// Who claims: one name for each process.
    pub owner: String,
    /// From when on others may claim.
    pub end: UnixTime,
}

/// What a claim is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// For how long.
    pub lease: Lease,
    /// Grants due at or before this; not after the present.
    pub due_by: UnixTime,
    /// At most so many.
    pub limit: usize,
    /// Persons not to claim: the asker is still at work on them.
    pub except: Vec<PersonId>,
    /// Which of the due grants come first.
    pub order: ClaimOrder,
}

/// Which of the due grants are claimed first. Of two equal ones the one that was stored first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClaimOrder {
    /// Living tokens, the least life left first; then expired ones in the order in which they expired.
    LeastLife,
    /// As `LeastLife`, but living tokens of grants without failures before all others.
    NoFailures,
    /// As `LeastLife`, but before all others living tokens of failing grants, those that have been due the longest first.
    LongestFailing,
    /// For a probe: grants that have ended last, before them those refused or asked to wait themselves; the fewest
    /// failures in a row first, so that probes that fail go round; the most life left first, since persons of one tenant
    /// often have as much life left as each other.
    Healthiest,
}

/// What a claim gave.
#[derive(Debug, Default)]
pub struct Claims {
    /// To be refreshed.
    pub claims: Vec<Claim>,
    /// Persons whose record does not open (tampered with, or sealed by another key); put off for a day. One whose very
    /// name is unreadable goes by `row-` and its number.
    pub unreadable: Vec<PersonId>,
}

/// A durable, leased intent to refresh one grant.
#[derive(Debug)]
pub struct Claim {
    /// The grant as it stood when it was claimed.
    pub grant: Grant,
    /// What the commit is checked against.
    pub fence: Fence,
}

/// Names one attempt at one version of one row; a commit counts only if all of it still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The row; never given twice, not even after a removal.
    pub serial: i64,
    /// Grows whenever tokens are kept.
    pub version: i64,
    /// Grows whenever the row is claimed.
    pub attempt: i64,
}

/// Where [`Store::revise`] goes on. Starts at the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub i64);

/// Names of the texts kept for the loop, of each integration its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The policy by which all stored times were planned.
    Policy,
    /// Why refreshes of everybody pause, if they do.
    Breaker,
}

impl Note {
    /// Its name in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Breaker => "breaker",
        }
    }
}

/// Why the store could not do it, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process has the store open.
    #[error(
        "the store {0} is in use by another webex-tokend; stop that one, or set TOKEND_STORE_URL to another file"
    )]
    InUse(PathBuf),
    /// The file is of a later version of this program.
    #[error(
        "the store {path} has version {found}, this program knows up to {known}; run a newer webex-tokend"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file is a database, but not one of ours.
    #[error("{0} is a database of another program; set TOKEND_STORE_URL to a file of its own")]
    Foreign(PathBuf),
    /// There is a store, but no key to it.
    #[error(
        "the store {store} is sealed, but its key file {key} is missing; restore the key from your backup \
             (to start anew instead, move the store away: everybody will have to consent again)"
    )]
    KeyMissing {
        /// The store.
        store: PathBuf,
        /// Where the key was looked for.
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
    /// A directory or file cannot be made or opened.
    #[error(
        "{path}: {why}; make it a place where this user may write, or set TOKEND_STATE_DIR or TOKEND_STORE_URL to one"
    )]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// No room.
    #[error(
        "the store cannot be written, its disk is full; free some space (refreshes go on by themselves then)"
    )]
    Full,
    /// No right to write.
    #[error("the store cannot be written, its file or disk is read-only; make it writable")]
    ReadOnly,
    /// The system refused to read or write: a quota, a limit on the size of files, a failing disk.
    #[error(
        "the store's disk cannot be read or written ({0}); look for a used-up quota or a failing disk in the system's log"
    )]
    Disk(String),
    /// The name leads to another file than the one that was opened, or to none.
    #[error(
        "the store {0} was moved, replaced or removed while in use, nothing is kept any more; put it back, or restart"
    )]
    Moved(PathBuf),
    /// There is a log of changes, but not the database that they were made to.
    #[error(
        "{log} belongs to a store, but {path} is missing or empty; put that back (to start anew instead, move the log \
             away, too: everybody will have to consent again)"
    )]
    LogAlone {
        /// The store.
        path: PathBuf,
        /// Its write-ahead log.
        log: PathBuf,
    },
    /// Held by another program.
    #[error("the store is locked by another program (a backup, a shell?); end it")]
    Locked,
    /// Damaged.
    #[error("the store's file is damaged ({0}); stop the daemon, keep a copy, restore your latest backup")]
    Corrupt(String),
    /// A record does not open with the key.
    #[error(
        "the record of {0} does not open: it was changed, or comes from another store; a new consent replaces it"
    )]
    Unreadable(PersonId),
    /// The store is closing.
    #[error("the store is closing")]
    Closed,
    /// Anything else.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl StoreError {
    /// Whether this is trouble of the whole store. The store tells it itself, when it begins and when it ends; whoever
    /// runs into it meanwhile need not.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        use StoreError::Corrupt;
        use StoreError::Disk;
        use StoreError::Failed;
        use StoreError::Full;
        use StoreError::Locked;
        use StoreError::Moved;
        use StoreError::ReadOnly;
        matches!(self, Full | ReadOnly | Disk(_) | Moved(_) | Locked | Corrupt(_) | Failed(_))
    }

    /// How loudly a caller that runs into this tells it. Trouble of the store, and a record that does not open, are
    /// told by the store itself, once.
    #[must_use]
    pub fn level(&self) -> log::Level {
        let is_told = self.is_trouble() || matches!(self, Self::Unreadable(_));
        if is_told { log::Level::Debug } else { log::Level::Error }
    }

    /// The same, naming the store's file where that has to be copied or replaced.
    #[must_use]
    pub(crate) fn at(self, path: &Path) -> Self {
        let name = path.display().to_string();
        match self {
            Self::Corrupt(why) if !why.contains(&name) => Self::Corrupt(format!("{name}: {why}")),
            other => other,
        }
    }
}
