//! A large number of made-up grants.

use std::path::Path;

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
use webex_tokend::store::GrantCommands;
use webex_tokend::store::sqlite::SqliteStore;

use crate::support::time::HOUR;

const FIRST_NAMES: [&str; 10] =
    ["Ada", "Grace", "Katherine", "Hedy", "Dorothy", "Émilie", "Mary", "Annie", "Radia", "Barbara"];
const LAST_NAMES: [&str; 11] = [
    "Lovelace",
    "Hopper",
    "Johnson",
    "Lamarr",
    "Vaughan",
    "du Châtelet",
    "Jackson",
    "Easley",
    "Perlman",
    "Liskov",
    "Hamilton",
];

/// The `n`-th of many grants at `now`: nearly all fresh, some due, retrying, with consent needed, or soon to expire.
pub(crate) fn nth_grant(n: usize, now: UnixTime) -> Grant {
    let (first, last) = (FIRST_NAMES[n % FIRST_NAMES.len()], LAST_NAMES[n / 7 % LAST_NAMES.len()]);
    let number = u32::try_from(n).unwrap();
    let renewed_at = now - HOUR * (number % 24);
    let mut grant = Grant {
        person: Person {
            id: PersonId::parse(&format!("Y2lzY29zcGFyazovL3VzL1BFT1BMRS9{n:032x}")).unwrap(),
            email: Email::parse(&format!("{}.{n}@example.com", first.to_lowercase())).ok(),
            display_name: Some(format!("{first} {last}")),
            org_id: Some("Y2lzY29zcGFyazovL3VzL09SR0FOSVpBVElPTi8x".to_owned()),
        },
        tokens: Tokens {
            access_token: Secret::new(format!("{n:0>104}")),
            refresh_token: Secret::new(format!("{n:0>104}")),
            token_type: "Bearer".to_owned(),
            scope: Some("spark:all spark:kms".to_owned()),
            expires_at: renewed_at + HOUR * 24 * 14,
            refresh_token_expires_at: Some(renewed_at + HOUR * 24 * 90),
        },
        obtained_at: renewed_at,
        renewed_at,
        answered_at: renewed_at,
        status: GrantStatus::Active,
        refused_since: None,
        last: LastAttempt { at: renewed_at, outcome: Outcome::Renewed, detail: String::new() },
        failures: 0,
        next: Schedule::at(renewed_at + HOUR * 25),
        person_check_at: renewed_at + HOUR * 24 * 7,
        notice_state: NoticeState::default(),
        outbox_entries: OutboxEntries::default(),
    };
    if n % 100 == 3 {
        grant.next = Schedule::at(now - HOUR);
    } else if n % 100 == 5 {
        grant.tokens.refresh_token_expires_at = Some(now + HOUR * 24 * (1 + number / 100 % 29));
    } else if n % 100 == 7 {
        grant.failures = 1 + number % 4;
        grant.last.outcome = Outcome::Transient;
        grant.next = Schedule::at(now + HOUR * 2);
    } else if n % 200 == 9 {
        grant.status = GrantStatus::ConsentNeeded;
        if n % 400 == 209 {
            grant.tokens.expires_at = now - HOUR * (24 + number / 10);
        }
        grant.failures = 1;
        grant.last.outcome = Outcome::ConsentNeeded;
    }
    grant
}

/// Stores `count` grants in the store in `dir`, which no other process has open.
pub(crate) async fn store_many(dir: &Path, integration: &str, count: usize, now: UnixTime) {
    let opened = SqliteStore::open(&dir.join("tokend.db"), &dir.join("key"), integration, now);
    let store = std::sync::Arc::new(opened.unwrap().0);
    let mut writes = JoinSet::new();
    for n in 0..count {
        let store = store.clone();
        writes.spawn(async move { store.save_consent(nth_grant(n, now)).await.map(drop) });
        if writes.len() >= 1024 {
            writes.join_next().await.unwrap().unwrap().unwrap();
        }
    }
    while let Some(stored) = writes.join_next().await {
        stored.unwrap().unwrap();
    }
}
