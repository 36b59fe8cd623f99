//! The store as callers see it: each operation becomes work for the writer or for a reader.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;

use crate::domain::api_key::ApiKeyRecord;
use crate::domain::breaker::DueSummary;
use crate::domain::grant::Grant;
use crate::domain::list::ListPosition;
use crate::domain::list::ListRequest;
use crate::domain::notice::NoticeType;
use crate::domain::notice::facts::Origin;
use crate::domain::overview::GrantTotals;
use crate::domain::overview::StateCounts;
use crate::domain::person::AddressMatch;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::schedule::Schedule;
use crate::domain::time::UnixTime;
use crate::store::BacklogCounts;
use crate::store::BacklogRequest;
use crate::store::BatchPosition;
use crate::store::Claim;
use crate::store::ClaimRequest;
use crate::store::Claims;
use crate::store::Committed;
use crate::store::Fence;
use crate::store::GrantCommands;
use crate::store::GrantQueries;
use crate::store::GrantUpdate;
use crate::store::ImportedToken;
use crate::store::KeyStore;
use crate::store::Lease;
use crate::store::MetaKey;
use crate::store::Removal;
use crate::store::Saved;
use crate::store::StoreError;
use crate::store::StoreFuture;
use crate::store::StoreMetadata;
use crate::store::outbox::OutboxContext;
use crate::store::seal::Sealer;
use crate::store::sqlite::api_keys;
use crate::store::sqlite::backlog;
use crate::store::sqlite::claim_queue::ClaimQueues;
use crate::store::sqlite::claims;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::file_identity::FileIdentity;
use crate::store::sqlite::generation;
use crate::store::sqlite::generation::GenerationFile;
use crate::store::sqlite::health::StoreHealth;
use crate::store::sqlite::import_marks;
use crate::store::sqlite::list;
use crate::store::sqlite::meta;
use crate::store::sqlite::open;
use crate::store::sqlite::open::StoreLock;
use crate::store::sqlite::outbox::changes;
use crate::store::sqlite::outbox::with_change::record_with_change;
use crate::store::sqlite::overview;
use crate::store::sqlite::persons;
use crate::store::sqlite::queries;
use crate::store::sqlite::readers::ReadSpan;
use crate::store::sqlite::worker::Workers;

/// The grants of one integration in a SQLite file. No other process can open the file until the value is dropped.
pub struct SqliteStore {
    threads: Workers,
    pub(super) context: Arc<QueryContext>,
    place: FileIdentity,
    condition: Arc<StoreHealth>,
    last_seen: Arc<GenerationFile>,
    /// Holds the locks of the store, which are released last.
    _owner: StoreLock,
}

impl SqliteStore {
    /// Opens the store at `path`. Creates the store and its key if neither exists. Grants that a process left claimed when it
    /// ended are due at `now`.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be opened or must not be used. The text says what to do, and nothing is changed.
    pub fn open(
        path: &Path,
        key_file: &Path,
        integration: &str,
        now: UnixTime,
    ) -> Result<(Self, Arc<Sealer>), StoreError> {
        let opened = open::open(path, key_file, now).map_err(|why| why.with_path(path))?;
        let condition = Arc::new(StoreHealth::new(opened.place.path().to_owned()));
        let (integration, claim_queues) = (integration.to_owned(), Mutex::default());
        let context = QueryContext {
            integration,
            sealer: opened.sealer.clone(),
            claim_queues,
            unreadable: Mutex::default(),
            outbox: OutboxContext::default(),
        };
        let threads = Workers::start(opened.writer, opened.readers, opened.place.clone(), &condition)?;
        let (context, place, last_seen) = (Arc::new(context), opened.place, Arc::new(opened.last_seen));
        let store = Self { threads, context, place, condition, last_seen, _owner: opened.owner };
        Ok((store, opened.sealer))
    }

    pub(super) fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection, &QueryContext) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let (context, mut again) = (self.context.clone(), false);
        let publisher = self.context.clone();
        let with_events = move |db: &Connection| {
            if std::mem::replace(&mut again, true) {
                // Rows that the failed batch had taken from it are still due.
                *context.claim_queues() = ClaimQueues::default();
            }
            context.outbox.discard_events();
            work(db, &context).map(|value| (value, context.outbox.take_events()))
        };
        let answer =
            self.threads.write_then(with_events, move |(_, events)| publisher.outbox.publish(events));
        Box::pin(async move {
            answer.await.map(|(value, _)| value).map_err(|why| why.with_path(self.place.path()))
        })
    }

    /// Runs a change with what it makes true. A damaged outbox must not cost the change.
    fn write_with_outbox<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection, &QueryContext) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let (again, known) = (work.clone(), self.context.outbox.postponed.trouble().is_some());
        Box::pin(async move {
            let done = self.write(work).await;
            // Mostly the thread has made it again already, but not where SQLite gave up the whole transaction.
            let is_new = !known && self.context.outbox.postponed.trouble().is_some();
            if done.is_err() && is_new { self.write(again).await } else { done }
        })
    }

    /// A change that begins a new generation if `counts` is true for its result, because a restored backup would undo
    /// it.
    fn write_generation<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection, &QueryContext) -> Result<T, StoreError> + Send + 'static,
        counts: impl Fn(&T) -> bool + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let changed = self.write(move |db, context| generation::after(db, work(db, context)?, &counts));
        Box::pin(async move {
            let (changed, begun) = changed.await?;
            if let Some(begun) = begun {
                self.note_generation(begun).await;
            }
            Ok(changed)
        })
    }

    /// Writes a generation to its file. Errors are logged only, because the change itself is durable already.
    async fn note_generation(&self, begun: i64) {
        self.last_seen.want(begun);
        let last_seen = self.last_seen.clone();
        // On the writer's thread, because a hanging disk must not block the async workers.
        let noted = self.threads.write(move |_| {
            last_seen.note(begun);
            Ok(())
        });
        let _ = noted.await;
    }

    /// The path of the database.
    pub(super) fn path(&self) -> &Path {
        self.place.path()
    }

    pub(super) fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &QueryContext) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.look(ReadSpan::Short, work)
    }

    /// Runs a read that may take long.
    pub(super) fn survey<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &QueryContext) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.look(ReadSpan::Long, work)
    }

    fn look<T: Send + 'static>(
        &self,
        span: ReadSpan,
        work: impl FnOnce(&Connection, &QueryContext) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let context = self.context.clone();
        let answer = self.threads.read(span, move |db| work(db, &context));
        Box::pin(async move { answer.await.map_err(|why| why.with_path(self.place.path())) })
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("integration", &self.context.integration).finish_non_exhaustive()
    }
}

impl GrantCommands for SqliteStore {
    fn save_consent(&self, grant: Grant) -> StoreFuture<'_, Saved> {
        self.write_with_outbox(move |db, context| {
            let save = || queries::save_consent(db, context, &grant);
            changes::after_consent(db, context, (&grant, Origin::Consent), save)
        })
    }

    fn save_import(&self, grant: Grant, token: ImportedToken) -> StoreFuture<'_, Saved> {
        self.write_with_outbox(move |db, context| {
            let save = || import_marks::save_import(db, context, &grant, &token);
            changes::after_consent(db, context, (&grant, Origin::Import), save)
        })
    }

    fn claim_due(&self, ask: ClaimRequest) -> StoreFuture<'_, Claims> {
        self.write_with_outbox(move |db, context| {
            let claims = claims::claim_due(db, context, &ask)?;
            record_with_change(db, context, &claims.outbox_entries)?;
            Ok(claims)
        })
    }

    fn claim_one(&self, person: PersonId, lease: Lease) -> StoreFuture<'_, Option<Claim>> {
        self.write(move |db, context| claims::claim_one(db, context, &person, &lease))
    }

    fn commit(&self, fence: Fence, grant: Grant) -> StoreFuture<'_, Committed> {
        let grant = Arc::new(grant);
        self.write_with_outbox(move |db, context| {
            let committed = queries::commit(db, context, fence, &grant)?;
            if committed == Committed::Kept {
                record_with_change(db, context, &grant.outbox_entries)?;
            }
            Ok(committed)
        })
    }

    fn release(&self, person: PersonId, fence: Fence, next: Schedule) -> StoreFuture<'_, Committed> {
        self.write(move |db, context| queries::release(db, context, &person, fence, next))
    }

    fn update_person(&self, person: Person, planned: UnixTime, next: UnixTime) -> StoreFuture<'_, bool> {
        self.write(move |db, context| persons::update_person(db, context, (&person, planned), next))
    }

    fn forget(&self, person: PersonId) -> StoreFuture<'_, bool> {
        let forget = move |db: &Connection, context: &QueryContext| {
            changes::after_removal(db, context, &person, || persons::forget(db, context, &person))
        };
        self.write_generation(forget, |gone| *gone)
    }

    fn forget_all(&self, removal: Removal) -> StoreFuture<'_, Vec<PersonId>> {
        let forget =
            move |db: &Connection, context: &QueryContext| persons::forget_all(db, context, &removal);
        self.write_generation(forget, |gone| !gone.is_empty())
    }

    fn update_batch(
        &self,
        after: BatchPosition,
        limit: u32,
        revision: GrantUpdate,
    ) -> StoreFuture<'_, Option<BatchPosition>> {
        self.write(move |db, context| queries::update_batch(db, context, after, limit, &revision))
    }

    fn clamp_times(&self, now: UnixTime, lease_end: UnixTime) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.clamp_outbox_times(now).await?;
            self.write(move |db, context| queries::clamp_times(db, context, now, lease_end)).await
        })
    }
}

impl GrantQueries for SqliteStore {
    fn find_import(&self, token_hash: [u8; 32]) -> StoreFuture<'_, Option<PersonId>> {
        self.read(move |db, context| import_marks::find(db, context, &token_hash))
    }

    fn find(&self, person: PersonId) -> StoreFuture<'_, Option<Grant>> {
        self.read(move |db, context| queries::find(db, context, &person))
    }

    fn resolve(&self, email: Email) -> StoreFuture<'_, Vec<AddressMatch>> {
        self.read(move |db, context| persons::resolve(db, context, &email))
    }

    fn list(&self, page: ListRequest) -> StoreFuture<'_, Vec<(ListPosition, Grant)>> {
        let span = if page.limit > 1 { ReadSpan::Long } else { ReadSpan::Short };
        self.look(span, move |db, context| list::list(db, context, &page))
    }

    fn next_wake(&self, after: UnixTime) -> StoreFuture<'_, Option<UnixTime>> {
        self.read(move |db, context| queries::next_wake(db, context, after))
    }

    fn due_summary(&self, now: UnixTime) -> StoreFuture<'_, DueSummary> {
        self.read(move |db, context| queries::due_summary(db, context, now))
    }

    fn backlog(&self, ask: BacklogRequest) -> StoreFuture<'_, BacklogCounts> {
        self.survey(move |db, context| backlog::counts(db, context, &ask))
    }

    fn totals(&self) -> StoreFuture<'_, GrantTotals> {
        self.survey(overview::totals)
    }

    fn counts(&self, now: UnixTime) -> StoreFuture<'_, StateCounts> {
        self.survey(move |db, context| overview::counts(db, context, now))
    }
}

impl StoreMetadata for SqliteStore {
    fn last_write_at(&self) -> StoreFuture<'_, Option<UnixTime>> {
        self.read(meta::last_write_at)
    }

    fn get_meta(&self, note: MetaKey) -> StoreFuture<'_, Option<String>> {
        self.read(move |db, context| meta::get_meta(db, context, note))
    }

    fn set_meta(&self, note: MetaKey, text: String) -> StoreFuture<'_, ()> {
        self.write(move |db, context| {
            changes::after_breaker(db, context, note, &text)?;
            meta::set_meta(db, context, note, &text)
        })
    }

    fn check_readable(&self) -> StoreFuture<'_, ()> {
        let place = self.place.clone();
        // The file is checked on the reader's thread, because a hanging disk must not block the async workers.
        self.read(move |db, _| {
            place.check()?;
            meta::check_readable(db)
        })
    }

    fn check_writable(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            if self.condition.needs_proof() {
                self.write(|db, _| meta::check_writable(db)).await?;
            }
            self.condition.writable()
        })
    }
}

impl KeyStore for SqliteStore {
    fn add_key(&self, key: ApiKeyRecord) -> StoreFuture<'_, bool> {
        let add = move |db: &Connection, context: &QueryContext| {
            let added = api_keys::add(db, &context.sealer, &key)?;
            changes::after_key(db, context, (NoticeType::KeyCreated, &key.id, &key.name), added)
        };
        self.write_generation(add, |added| *added)
    }

    fn keys(&self) -> StoreFuture<'_, Vec<ApiKeyRecord>> {
        self.survey(|db, context| api_keys::all(db, &context.sealer))
    }

    fn revoke_key(&self, name: String) -> StoreFuture<'_, bool> {
        let revoke = move |db: &Connection, context: &QueryContext| {
            let id = api_keys::id_of(db, &name)?.unwrap_or_default();
            changes::after_key(
                db,
                context,
                (NoticeType::KeyRevoked, &id, &name),
                api_keys::revoke(db, &name)?,
            )
        };
        self.write_generation(revoke, |gone| *gone)
    }

    fn touch_key(&self, id: String, at: UnixTime) -> StoreFuture<'_, ()> {
        self.write(move |db, _| api_keys::touch(db, &id, at))
    }
}
