//! Fills a store with made-up grants, to see how the daemon and its commands do with many persons.
//!
//! ```sh
//! cargo run --release --example many_persons -- DIRECTORY NUMBER [dead|due|fresh]
//! ```
//!
//! The directory becomes the state directory (`TOKEND_STATE_DIR`) of a daemon with the client id `many-persons`. The tokens are
//! made up: Webex and its simulator refuse them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use webex_tokend::clock::Clock as _;
use webex_tokend::clock::SystemClock;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::Tokens;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::domain::secret::Secret;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::Store;
use webex_tokend::store::sqlite::SqliteStore;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const POLICY: Policy =
    Policy { sleep: HOUR, max_age: DAY, noop_window: DAY, floor: Duration::from_secs(300) };

/// Writes that wait for the store at once.
const AT_ONCE: usize = 1024;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (dir, number, age) = match &words[..] {
        [dir, number] => (dir, number, "fresh"),
        [dir, number, age] => (dir, number, age.as_str()),
        _ => return Err("usage: many_persons DIRECTORY NUMBER [dead|due|fresh]".into()),
    };
    let age = match age {
        "dead" => 15 * DAY,
        "due" => 2 * DAY,
        _ => HOUR,
    };
    fill(Path::new(dir), number.parse()?, age).await
}

async fn fill(dir: &Path, persons: usize, age: Duration) -> Result<(), AnyError> {
    std::fs::create_dir_all(dir)?;
    let now = SystemClock.now();
    let (store, _) = SqliteStore::open(&dir.join("tokend.db"), &dir.join("key"), "many-persons", now)?;
    let (store, mut writes) = (Arc::new(store), JoinSet::new());
    for number in 0..persons {
        let (store, grant) = (store.clone(), grant(number, now - age)?);
        writes.spawn(async move { store.save_consent(grant).await });
        if writes.len() >= AT_ONCE
            && let Some(written) = writes.join_next().await
        {
            written??;
        }
    }
    while let Some(written) = writes.join_next().await {
        written??;
    }
    Ok(())
}

/// A grant that was obtained at this time.
fn grant(number: usize, obtained: UnixTime) -> Result<Grant, AnyError> {
    let token = || Secret::new(format!("{number:0>101}"));
    let mut person =
        Person::known_by(PersonId::parse(&format!("Y2lzY29zcGFyazovL3VzL1BFT1BMRS9{number:048x}"))?);
    person.email = Some(Email::parse(&format!("person{number}@example.com"))?);
    person.display_name = Some(format!("Person {number}"));
    let tokens = Tokens {
        access_token: token(),
        refresh_token: token(),
        token_type: "Bearer".to_owned(),
        scope: Some("spark:people_read spark:kms".to_owned()),
        expires_at: obtained + 14 * DAY,
        refresh_token_expires_at: Some(obtained + 90 * DAY),
    };
    Ok(Grant::consented(person, tokens, obtained, &POLICY, obtained))
}
