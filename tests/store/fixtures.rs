//! Grants, and a directory with a store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::grant::LastAttempt;
use webex_tokend::domain::grant::Tokens;
use webex_tokend::domain::notice::OutboxEntries;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::refresh_token_end::NoticeState;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::domain::secret::Secret;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::store::Claim;
use webex_tokend::store::ClaimOrder;
use webex_tokend::store::ClaimRequest;
use webex_tokend::store::Lease;
use webex_tokend::store::Store;
use webex_tokend::store::StoreError;
use webex_tokend::store::seal::Sealer;
use webex_tokend::store::sqlite::SqliteStore;

pub(super) const INTEGRATION: &str = "C0ffee";

/// How long a claim made by [`ask`] lasts, in seconds.
pub(super) const LEASE: i64 = 60;

/// Before all other times.
pub(super) const BEGINNING: UnixTime = UnixTime(i64::MIN);

/// The time so many seconds after the start of a test's story.
pub(super) fn at(seconds: i64) -> UnixTime {
    UnixTime::from_seconds(1_800_000_000 + seconds)
}

pub(super) fn person(name: &str) -> PersonId {
    PersonId::parse(name).unwrap()
}

pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// A grant that is due at second 0.
pub(crate) fn grant(name: &str) -> Grant {
    Grant {
        person: Person::known_by(person(name)),
        tokens: Tokens {
            access_token: secret(&format!("access of {name}")),
            refresh_token: secret(&format!("refresh of {name}")),
            token_type: "Bearer".to_owned(),
            scope: None,
            expires_at: at(1000),
            refresh_token_expires_at: None,
        },
        obtained_at: at(-1000),
        renewed_at: at(-1000),
        answered_at: at(-1000),
        status: GrantStatus::Active,
        refused_since: None,
        last: LastAttempt { at: at(-1000), outcome: Outcome::Renewed, detail: String::new() },
        failures: 0,
        next: Schedule::at(at(0)),
        person_check_at: at(5000),
        notice_state: NoticeState::default(),
        outbox_entries: OutboxEntries::default(),
    }
}

/// The same, with an access token that expires at this second.
pub(super) fn living(name: &str, seconds: i64) -> Grant {
    let mut grant = grant(name);
    grant.tokens.expires_at = at(seconds);
    grant
}

/// Grants of one person: one that differs from [`grant`] in every field, one at the limits of every field, and
/// [`grant`].
pub(super) fn unusual(name: &str) -> [Grant; 3] {
    let mut full = grant(name);
    full.person.email = Some(Email::parse("zoë@exämple.com").unwrap());
    full.person.display_name = Some("Zoë \u{1F511} O'Hara; \"quoted\"\n\0end".to_owned());
    full.person.org_id = Some("org".to_owned());
    full.tokens.access_token = secret("\u{fffd}ünicode \u{1F511}\0");
    full.tokens.refresh_token = secret(&"long ".repeat(4000));
    full.tokens.token_type = "bearer".to_owned();
    full.tokens.scope = Some("spark:all spark:kms".to_owned());
    full.tokens.expires_at = at(7);
    full.tokens.refresh_token_expires_at = Some(at(8));
    full.obtained_at = at(1);
    full.renewed_at = at(2);
    full.answered_at = at(3);
    full.status = GrantStatus::ConsentNeeded;
    full.last = LastAttempt { at: at(4), outcome: Outcome::TokenLimit, detail: "détail".to_owned() };
    full.refused_since = Some(at(2));
    full.failures = u32::MAX;
    full.next = Schedule { due_at: at(-5), wake_at: at(6) };

    let mut edges = grant(name);
    edges.person.display_name = Some(String::new());
    edges.person.org_id = Some(String::new());
    edges.tokens.access_token = secret("");
    edges.tokens.scope = Some(String::new());
    edges.tokens.expires_at = UnixTime::NEVER;
    edges.tokens.refresh_token_expires_at = Some(UnixTime::NEVER);
    edges.obtained_at = UnixTime(i64::MIN);
    edges.renewed_at = UnixTime(-1);
    edges.answered_at = UnixTime(0);
    edges.last.outcome = Outcome::ClientRefused;
    edges.next = Schedule { due_at: UnixTime(i64::MIN), wake_at: UnixTime::NEVER };

    [full, edges, grant(name)]
}

/// A request for everything that is due at this second.
pub(crate) fn ask(seconds: i64) -> ClaimRequest {
    ClaimRequest {
        lease: lease(seconds),
        due_by: at(seconds),
        limit: 100,
        except: Vec::new(),
        order: ClaimOrder::LeastLife,
    }
}

pub(super) fn lease(seconds: i64) -> Lease {
    Lease { now: at(seconds), owner: "this process".to_owned(), end: at(seconds + LEASE) }
}

pub(super) async fn keep(store: &dyn Store, grants: impl IntoIterator<Item = Grant>) {
    for grant in grants {
        store.save_consent(grant).await.unwrap();
    }
}

/// Saves the consents of so many persons, `p0` and so on, at the same time.
pub(super) async fn save_many(store: &Arc<dyn Store>, persons: usize) {
    let mut consents = JoinSet::new();
    for n in 0..persons {
        let store = store.clone();
        consents.spawn(async move { store.save_consent(grant(&format!("p{n}"))).await.unwrap() });
    }
    consents.join_all().await;
}

pub(crate) async fn claim(store: &dyn Store, ask: ClaimRequest) -> Vec<Claim> {
    let claims = store.claim_due(ask).await.unwrap();
    assert_eq!(claims.unreadable, [], "every record opens");
    claims.claims
}

/// Claims the only due grant.
pub(super) async fn claim_one(store: &dyn Store, seconds: i64) -> Claim {
    let mut claims = claim(store, ask(seconds)).await;
    assert_eq!(claims.len(), 1);
    claims.remove(0)
}

pub(super) async fn claim_names(store: &dyn Store, ask: ClaimRequest) -> Vec<String> {
    claim(store, ask).await.iter().map(|claim| claim.grant.person.id.to_string()).collect()
}

pub(super) async fn found(store: &dyn Store, name: &str) -> Grant {
    store.find(person(name)).await.unwrap().unwrap()
}

/// The result of a successful refresh: other tokens, due again in a day.
pub(crate) fn renewed(grant: &Grant, seconds: i64) -> Grant {
    let mut grant = grant.clone();
    grant.tokens.access_token = secret(&format!("access of {} at {seconds}", grant.person.id));
    grant.tokens.expires_at = at(seconds + 100_000);
    grant.renewed_at = at(seconds);
    grant.answered_at = at(seconds);
    grant.last.at = at(seconds);
    grant.failures = 0;
    grant.next = Schedule::at(at(seconds + 86_400));
    grant
}

/// A state directory with a store.
pub(crate) struct StoreDir {
    dir: TempDir,
}

impl StoreDir {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// With a closed store that holds `names`.
    pub(super) async fn with_grants(names: &[&str]) -> Self {
        let store_dir = Self::new();
        keep(&store_dir.open(), names.iter().map(|name| grant(name))).await;
        store_dir
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn db(&self) -> PathBuf {
        self.path().join("tokend.db")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.path().join("key")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path().join("tokend.db-wal")
    }

    pub(crate) fn open(&self) -> SqliteStore {
        self.open_at(0)
    }

    pub(super) fn open_at(&self, seconds: i64) -> SqliteStore {
        self.open_for(INTEGRATION, seconds).unwrap()
    }

    /// Opened at this time.
    pub(crate) fn open_now(&self, now: UnixTime) -> SqliteStore {
        self.open_at(now.seconds() - at(0).seconds())
    }

    pub(super) fn open_for(&self, integration: &str, seconds: i64) -> Result<SqliteStore, StoreError> {
        open_in(self.path(), integration, seconds)
    }

    pub(super) fn open_error(&self) -> StoreError {
        self.open_for(INTEGRATION, 0).unwrap_err()
    }

    /// Turns it into a store of a version without MACs. The SQL removes what else that version does not have, and sets
    /// its number.
    pub(super) fn downgrade(&self, sql: &str) {
        let key = <[u8; 32]>::try_from(fs::read(self.key()).unwrap()).unwrap();
        let canary = "webex-tokend canary";
        let sealed = Sealer::new(&key).unwrap().seal(&secret(canary), canary).unwrap();
        let connection = self.other_connection();
        connection.execute_batch(&downgrade_to_version_7()).unwrap();
        connection.execute_batch(sql).unwrap();
        connection.execute_batch("ALTER TABLE grants DROP COLUMN person_mac").unwrap();
        connection.execute("UPDATE meta SET value = ?1 WHERE name = 'canary'", [sealed]).unwrap();
        connection.execute("DELETE FROM meta WHERE name IN ('store id', 'generation')", []).unwrap();
    }

    /// The generation files beside the key.
    pub(super) fn last_seen(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.to_string_lossy().contains("key.last-seen-")).collect()
    }

    /// A connection of another program to the same file. It never waits.
    pub(crate) fn other_connection(&self) -> Connection {
        let connection = Connection::open(self.db()).unwrap();
        connection.busy_timeout(Duration::ZERO).unwrap();
        connection
    }

    pub(super) fn write_key(&self, bytes: &[u8]) {
        fs::write(self.key(), bytes).unwrap();
        fs::set_permissions(self.key(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Name and content of every file, except the empty lock and the generation file.
    pub(super) fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let files = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path());
        let named = |path: PathBuf| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())
        };
        let mut contents: Vec<_> = files.map(named).collect();
        contents.retain(|(name, _)| name != "tokend.db.lock" && !name.starts_with("key.last-seen-"));
        contents.sort();
        contents
    }
}

pub(super) fn open_in(dir: &Path, integration: &str, seconds: i64) -> Result<SqliteStore, StoreError> {
    let open = || SqliteStore::open(&dir.join("tokend.db"), &dir.join("key"), integration, at(seconds));
    let mut opened = open();
    // Other tests start programs: between fork and exec, a new process holds the locks of this one, even released ones.
    for _ in 0..50 {
        if !matches!(opened, Err(StoreError::InUse(_))) {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(5));
        opened = open();
    }
    opened.map(|(store, _)| store)
}

/// The SQL that turns a store of this version into version 7.
fn downgrade_to_version_7() -> String {
    let third = include_str!("../../src/store/sqlite/migrations/0003_overview.sql");
    let fourth = include_str!("../../src/store/sqlite/migrations/0004_triggers.sql");
    let piece = |text: &str, from: &str, to: &str| {
        let (_, rest) = text.split_once(from).unwrap();
        let (inner, _) = rest.split_once(to).unwrap();
        format!("{from}{inner}{to}")
    };
    [
        "DROP TABLE imports; DROP TRIGGER grants_import_removed; DROP TABLE notices; DROP TABLE deliveries; DROP TABLE history; DROP TABLE daily_counts; DROP TABLE digest_persons; \
         ALTER TABLE grants DROP COLUMN horizon; ALTER TABLE grants DROP COLUMN expiring_told; \
         ALTER TABLE grants DROP COLUMN at_risk; DROP INDEX grants_needed; DROP INDEX grants_ending; DROP TRIGGER grants_added; DROP TRIGGER grants_removed;"
            .to_owned(),
        piece(third, "ALTER TABLE grants ADD COLUMN ends_on", ";"),
        piece(third, "INSERT INTO tallies SELECT integration, 'ends_on'", ";"),
        piece(third, "CREATE TABLE history", ";"),
        piece(third, "CREATE TRIGGER grants_removed", "END;"),
        piece(fourth, "CREATE TRIGGER grants_added", "END;"),
        piece(fourth, "CREATE TRIGGER grants_end_moved", "END;"),
    ]
    .join("\n")
}
