//! Fills a store with made-up grants, to see how the daemon and its commands do with many persons.
//!
//! ```sh
//! cargo run --release --example many_persons -- DIRECTORY NUMBER [dead|due|fresh] [MILLISECONDS]
//! ```
//!
//! The directory becomes the state directory (`TOKEND_STATE_DIR`) of a daemon with the client id `many-persons`. The tokens are
//! made up, so Webex refuses them. With MILLISECONDS, the example then simulates a Webex that knows them, and answers after this
//! time, until Ctrl-C. It prints the settings of a daemon that uses it, and writes the same grants to DIRECTORY/grants.jsonl, for
//! `webex-tokend import` into another store.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use webex_sim::Settings;
use webex_sim::Sim;
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
use webex_tokend::store::GrantCommands as _;
use webex_tokend::store::sqlite::SqliteStore;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const POLICY: Policy =
    Policy { sleep: HOUR, max_age: DAY, noop_window: DAY, floor: Duration::from_secs(300) };

/// The client id of the grants.
const CLIENT_ID: &str = "many-persons";

/// Writes that wait for the store at once.
const AT_ONCE: usize = 1024;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (dir, number, age, latency) = match words[..] {
        [dir, number] => (dir, number, "fresh", None),
        [dir, number, age] => (dir, number, age, None),
        [dir, number, age, latency] => (dir, number, age, Some(latency)),
        _ => return Err("usage: many_persons DIRECTORY NUMBER [dead|due|fresh] [MILLISECONDS]".into()),
    };
    let (dir, number) = (Path::new(dir), number.parse()?);
    let age = match age {
        "dead" => 15 * DAY,
        "due" => 2 * DAY,
        _ => HOUR,
    };
    let now = SystemClock.now();
    fill(dir, number, now - age).await?;
    match latency {
        Some(latency) => simulate(dir, number, now - age, Duration::from_millis(latency.parse()?)).await,
        None => Ok(()),
    }
}

async fn fill(dir: &Path, persons: usize, obtained: UnixTime) -> Result<(), AnyError> {
    std::fs::create_dir_all(dir)?;
    let (key, now) = (dir.join("key"), SystemClock.now());
    let (store, _) = SqliteStore::open(&dir.join("tokend.db"), &key, CLIENT_ID, now)?;
    let (store, mut writes) = (Arc::new(store), JoinSet::new());
    for number in 0..persons {
        let (store, grant) = (store.clone(), grant(number, obtained)?);
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

/// The access token and the refresh token of a person.
fn tokens(number: usize) -> [String; 2] {
    ["a", "r"].map(|kind| format!("{kind}{number:0>100}"))
}

/// The person at this index of the simulator.
fn person(number: usize) -> Result<Person, AnyError> {
    let known = webex_sim::Person::numbered(number);
    let mut person = Person::known_by(PersonId::parse(&known.id)?);
    person.email = Some(Email::parse(&known.email)?);
    person.display_name = Some(known.display_name);
    person.org_id = Some(known.org_id);
    Ok(person)
}

/// A grant that was obtained at this time.
fn grant(number: usize, obtained: UnixTime) -> Result<Grant, AnyError> {
    let [access_token, refresh_token] = tokens(number).map(Secret::new);
    let tokens = Tokens {
        access_token,
        refresh_token,
        token_type: "Bearer".to_owned(),
        scope: Some("spark:all spark:kms".to_owned()),
        expires_at: obtained + 14 * DAY,
        refresh_token_expires_at: Some(obtained + 90 * DAY),
    };
    Ok(Grant::consented(person(number)?, tokens, obtained, &POLICY, obtained))
}

/// Simulates a Webex that has issued the tokens.
async fn simulate(dir: &Path, persons: usize, obtained: UnixTime, latency: Duration) -> Result<(), AnyError> {
    let people = (0..persons).map(webex_sim::Person::numbered).collect();
    let client_id = CLIENT_ID.to_owned();
    let sim = Sim::start(Settings { client_id, latency, people, ..Settings::default() }).await?;
    let mut lines = Vec::new();
    for number in 0..persons {
        let [access, refresh] = tokens(number);
        sim.with(|webex| webex.adopt(obtained.0, number, &access, &refresh));
        writeln!(lines, "{{\"refresh_token\":\"{refresh}\"}}")?;
    }
    std::fs::write(dir.join("grants.jsonl"), lines)?;
    let secret = sim.with(|webex| webex.settings().client_secret.clone());
    let base = sim.base_url();
    writeln!(
        std::io::stdout(),
        "export WEBEX_API_BASE_URL={base} MY_APP_CLIENT_ID={CLIENT_ID} MY_APP_SECRET_ID={secret}"
    )?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}
