//! Random sequences of calls to both stores and to a small model: all three must agree.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::runtime::Builder;
use webex_tokend::domain::breaker::DueSummary;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::overview::GrantTotals;
use webex_tokend::domain::person::AddressMatch;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::BatchPosition;
use webex_tokend::store::ClaimOrder;
use webex_tokend::store::ClaimRequest;
use webex_tokend::store::Committed;
use webex_tokend::store::Fence;
use webex_tokend::store::ImportedToken;
use webex_tokend::store::Lease;
use webex_tokend::store::Saved;
use webex_tokend::store::Store;
use webex_tokend::store::memory::MemoryStore;

use crate::store::fixtures;
use crate::store::fixtures::BEGINNING;
use crate::store::fixtures::StoreDir;
use crate::store::fixtures::at;
use crate::store::fixtures::grant;
use crate::store::fixtures::person;
use crate::store::fixtures::secret;
use crate::store::lists;

const NAMES: [&str; 5] = ["ada", "eve", "joe", "kim", "Zoe"];

#[derive(Clone, Debug)]
enum StoreStep {
    Consent(RandomGrant),
    Claim {
        now: i64,
        due_by: i64,
        lease: i64,
        limit: usize,
        order: ClaimOrder,
        except: Vec<Index>,
    },
    /// Of any claim so far, however old.
    Commit {
        claim: Index,
        outcome: RandomGrant,
    },
    /// Webex's answer about a person.
    PersonUpdate {
        random_grant: RandomGrant,
        planned: i64,
        next: i64,
    },
    Import {
        random_grant: RandomGrant,
        token: ImportedToken,
    },
    Revise {
        after: i64,
        limit: u32,
        failures: u32,
        odd_only: bool,
    },
}

/// A grant with small numbers, so that times coincide.
#[derive(Clone, Debug)]
struct RandomGrant {
    person_index: Index,
    expires: i64,
    due: i64,
    nap: i64,
    last: i64,
    obtained: i64,
    failures: u32,
    consent_needed: bool,
    ends: Option<i64>,
    name: Index,
}

const PERSONS: [(&str, &str); 4] = [
    ("", ""),
    ("ada@example.com", "Ada Lovelace"),
    ("love@example.com", "Ada"),
    ("zoe@example.com", "Zoë 100%"),
];

/// The model of a store: rows in insertion order.
#[derive(Default)]
struct StoreModel {
    rows: Vec<ModelRow>,
    latest: Option<UnixTime>,
    imports: BTreeMap<[u8; 32], PersonId>,
}

struct ModelRow {
    grant: Grant,
    fence: Fence,
    claimed: bool,
}

type ClaimedRow = (Grant, Fence);

impl ModelRow {
    /// The smallest is claimed first.
    fn rank(&self, ask: &ClaimRequest) -> [i64; 6] {
        let (expires_at, serial) = (self.grant.tokens.expires_at.0, self.fence.serial);
        let ended = self.grant.status == GrantStatus::ConsentNeeded;
        let living = expires_at > ask.lease.now.0;
        let failing = ended || self.grant.failures > 0;
        let (expired, failures) = (i64::from(!living), i64::from(self.grant.failures));
        match ask.order {
            ClaimOrder::LeastLife => [expired, expires_at, serial, 0, 0, 0],
            ClaimOrder::NoFailures => [expired, i64::from(living && failing), expires_at, serial, 0, 0],
            ClaimOrder::LongestFailing if living && failing => {
                [0, 0, self.grant.next.due_at.0, expires_at, serial, 0]
            }
            ClaimOrder::LongestFailing => [expired, 1, expires_at, serial, 0, 0],
            ClaimOrder::Healthiest => {
                let personal = self.grant.last.outcome.is_personal();
                [i64::from(ended), i64::from(personal), failures, expired, -expires_at, -serial]
            }
        }
    }
}

impl StoreModel {
    fn consent(&mut self, grant: &Grant) -> Saved {
        self.latest = self.latest.max(Some(grant.last.at));
        match self.rows.iter_mut().find(|row| row.grant.person.id == grant.person.id) {
            Some(row)
                if (grant.obtained_at..=grant.last.at).contains(&row.grant.obtained_at)
                    && row.grant.obtained_at != grant.obtained_at =>
            {
                Saved::Older
            }
            Some(row) => {
                let fence = Fence { version: row.fence.version + 1, ..row.fence };
                *row = ModelRow { grant: grant.clone(), fence, claimed: false };
                self.imports.retain(|_, imported| *imported != grant.person.id);
                Saved::Replaced
            }
            None => {
                let serial = i64::try_from(self.rows.len()).unwrap() + 1;
                let fence = Fence { serial, version: 1, attempt: 0 };
                self.rows.push(ModelRow { grant: grant.clone(), fence, claimed: false });
                Saved::New
            }
        }
    }

    fn claim(&mut self, ask: &ClaimRequest) -> Vec<ClaimedRow> {
        let mut told = Vec::new();
        while told.len() < ask.limit {
            let open = |row: &&mut ModelRow| {
                let id = &row.grant.person.id;
                let taken = told.iter().any(|(grant, _): &ClaimedRow| grant.person.id == *id);
                row.grant.next.due_at <= ask.due_by && !ask.except.contains(id) && !taken
            };
            let rank = |row: &&mut ModelRow| row.rank(ask);
            let Some(row) = self.rows.iter_mut().filter(open).min_by_key(rank) else { break };
            row.fence.attempt += 1;
            row.claimed = true;
            told.push((row.grant.clone(), row.fence));
            row.grant.next = Schedule::at(ask.lease.end);
            self.latest = self.latest.max(Some(ask.lease.now));
        }
        told
    }

    fn waiting(&self, now: UnixTime) -> DueSummary {
        let alive = |row: &&ModelRow| row.grant.status == GrantStatus::Active && row.grant.next.due_at <= now;
        let due: Vec<&ModelRow> = self.rows.iter().filter(alive).collect();
        let living = due.iter().filter(|row| row.grant.tokens.expires_at > now);
        let next = living.min_by_key(|row| (row.grant.tokens.expires_at, row.fence.serial));
        DueSummary {
            due: !due.is_empty(),
            healthy: due.iter().any(|row| row.grant.failures == 0),
            next_to_die: next.map(|row| (row.grant.person.id.clone(), row.grant.dates())),
        }
    }

    fn commit(&mut self, fence: Fence, grant: &Grant) -> Committed {
        let open =
            |row: &&mut ModelRow| row.claimed && row.fence == fence && row.grant.person.id == grant.person.id;
        let Some(row) = self.rows.iter_mut().find(open) else { return Committed::Superseded };
        let fence = Fence { version: fence.version + 1, ..fence };
        let (person, person_check_at) = (row.grant.person.clone(), row.grant.person_check_at);
        let grant = Grant { person, person_check_at, ..grant.clone() };
        self.latest = self.latest.max(Some(grant.last.at));
        *row = ModelRow { grant, fence, claimed: false };
        Committed::Kept
    }

    fn import(&mut self, grant: &Grant, token: &ImportedToken) -> Saved {
        let kept = self.rows.iter().find(|row| row.grant.person.id == grant.person.id);
        let lives = |row: &ModelRow| {
            row.grant.status == GrantStatus::Active && row.grant.tokens.expires_at > grant.last.at
        };
        // Scopes are one letter or none here.
        let wide =
            |row: &ModelRow| grant.tokens.scope.is_none() || row.grant.tokens.scope == grant.tokens.scope;
        let stays = !token.replaces_even_if_covered && kept.is_some_and(|row| lives(row) && wide(row));
        let saved = if stays { Saved::Kept } else { self.consent(grant) };
        if !(saved == Saved::Older || saved == Saved::Kept && token.is_rotated) {
            self.imports.insert(token.sha256, grant.person.id.clone());
        }
        saved
    }

    fn update(&mut self, told: &Person, planned: UnixTime, next: UnixTime) -> bool {
        let open =
            |row: &&mut ModelRow| row.grant.person.id == told.id && row.grant.person_check_at == planned;
        let row = self.rows.iter_mut().find(open);
        row.map(|row| (row.grant.person, row.grant.person_check_at) = (told.clone(), next)).is_some()
    }

    fn namesakes(&self, email: &Email) -> Vec<AddressMatch> {
        let theirs = self.rows.iter().filter(|row| row.grant.person.email.as_ref() == Some(email));
        let namesake = |row: &ModelRow| AddressMatch {
            id: row.grant.person.id.clone(),
            is_alive: row.grant.status == GrantStatus::Active,
        };
        let (living, consent_needed): (Vec<_>, Vec<_>) = theirs.map(namesake).partition(|one| one.is_alive);
        [living, consent_needed].concat()
    }

    fn revise(&mut self, after: i64, limit: u32, failures: u32, odd_only: bool) -> Option<BatchPosition> {
        let mut last = None;
        for row in self.rows.iter_mut().filter(|row| row.fence.serial > after).take(limit as usize) {
            last = Some(BatchPosition(row.fence.serial));
            if !odd_only || row.grant.failures % 2 == 1 {
                row.grant.failures = failures;
                row.grant.obtained_at = at(failures.into());
            }
        }
        last
    }

    fn census(&self) -> GrantTotals {
        let consent_needed =
            self.rows.iter().filter(|row| row.grant.status == GrantStatus::ConsentNeeded).count();
        GrantTotals { people: self.rows.len() as u64, consent_needed: consent_needed as u64, other_apps: 0 }
    }
}

fn random_grant() -> impl Strategy<Value = RandomGrant> {
    let dates = (-10..40_i64, -10..40_i64, 0..20_i64, -10..40_i64, -10..40_i64);
    let ends = proptest::option::of(-100_000..200_000_i64);
    let rest = (any::<bool>(), ends, any::<Index>());
    (any::<Index>(), dates, 0..4_u32, rest).prop_map(
        |(person_index, dates, failures, (consent_needed, ends, name))| {
            let (expires, due, nap, last, obtained) = dates;
            RandomGrant {
                person_index,
                expires,
                due,
                nap,
                last,
                obtained,
                failures,
                consent_needed,
                ends,
                name,
            }
        },
    )
}

fn step() -> impl Strategy<Value = StoreStep> {
    let except = vec(any::<Index>(), 0..3);
    let order = prop_oneof![
        Just(ClaimOrder::LeastLife),
        Just(ClaimOrder::NoFailures),
        Just(ClaimOrder::LongestFailing),
        Just(ClaimOrder::Healthiest),
    ];
    let claim = (0..40_i64, 0..10_i64, 1..20_i64, 0..4_usize, order, except);
    let claim = claim.prop_map(|(now, back, lease, limit, order, except)| StoreStep::Claim {
        now,
        due_by: now - back,
        lease,
        limit,
        order,
        except,
    });
    let commit =
        (any::<Index>(), random_grant()).prop_map(|(claim, outcome)| StoreStep::Commit { claim, outcome });
    let revise =
        (0..6_i64, 0..4_u32, 0..9_u32, any::<bool>()).prop_map(|(after, limit, failures, odd_only)| {
            StoreStep::Revise { after, limit, failures, odd_only }
        });
    let told = (random_grant(), 0..3_i64, 0..3_i64);
    let told = told.prop_map(|(random_grant, planned, next)| StoreStep::PersonUpdate {
        random_grant,
        planned,
        next,
    });
    let import = (random_grant(), 0..3_u8, any::<(bool, bool)>());
    let import = import.prop_map(|(random_grant, token, (is_rotated, replaces_even_if_covered))| {
        let token = ImportedToken { sha256: [token; 32], is_rotated, replaces_even_if_covered };
        StoreStep::Import { random_grant, token }
    });
    prop_oneof![
        3 => random_grant().prop_map(StoreStep::Consent),
        1 => import,
        4 => claim,
        4 => commit,
        2 => told,
        1 => revise,
    ]
}

impl RandomGrant {
    /// `number` makes its tokens unique.
    fn grant(&self, number: usize) -> Grant {
        let mut grant = grant(NAMES[self.person_index.index(NAMES.len())]);
        grant.tokens.access_token = secret(&format!("access {number}"));
        grant.tokens.refresh_token = secret(&format!("refresh {number}"));
        grant.tokens.expires_at = at(self.expires);
        grant.last.at = at(self.last);
        grant.obtained_at = at(self.obtained);
        grant.failures = self.failures;
        grant.next = Schedule { due_at: at(self.due), wake_at: at(self.due + self.nap) };
        grant.tokens.refresh_token_expires_at = self.ends.map(at);
        let (email, name) = PERSONS[self.name.index(PERSONS.len())];
        grant.person.email = Email::parse(email).ok();
        grant.person.display_name = Some(name.to_owned()).filter(|name| !name.is_empty());
        grant.tokens.scope = ["a", "b"].get(self.name.index(3)).map(|scope| (*scope).to_owned());
        grant.person_check_at = at(i64::from(self.failures % 3));
        if self.consent_needed {
            grant.status = GrantStatus::ConsentNeeded;
        }
        grant
    }
}

async fn run_steps(steps: Vec<StoreStep>) {
    let store_dir = StoreDir::new();
    let (memory, sqlite) = (MemoryStore::new(), store_dir.open());
    let stores: [&dyn Store; 2] = [&memory, &sqlite];
    let mut model = StoreModel::default();
    let mut claims: Vec<ClaimedRow> = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            StoreStep::Consent(random_grant) => {
                let grant = random_grant.grant(number);
                let expected = model.consent(&grant);
                for store in stores {
                    assert_eq!(store.save_consent(grant.clone()).await, Ok(expected));
                }
            }
            StoreStep::Claim { now, due_by, lease, limit, order, except } => {
                let except = except
                    .iter()
                    .map(|person_index| person(NAMES[person_index.index(NAMES.len())]))
                    .collect();
                let lease = Lease { end: at(now + lease), ..fixtures::lease(now) };
                let ask = ClaimRequest { lease, due_by: at(due_by), limit, except, order };
                let expected = model.claim(&ask);
                for store in stores {
                    let told = store.claim_due(ask.clone()).await.unwrap().claims;
                    assert_eq!(told.into_iter().map(|c| (c.grant, c.fence)).collect::<Vec<_>>(), expected);
                }
                claims.extend(expected);
            }
            StoreStep::Commit { claim, outcome } if !claims.is_empty() => {
                let (claimed, fence) = claim.get(&claims);
                let outcome = Grant { person: claimed.person.clone(), ..outcome.grant(number) };
                let expected = model.commit(*fence, &outcome);
                for store in stores {
                    assert_eq!(store.commit(*fence, outcome.clone()).await, Ok(expected));
                }
            }
            StoreStep::Commit { .. } => {}
            StoreStep::Import { random_grant, token } => {
                let grant = random_grant.grant(number);
                let expected = model.import(&grant, &token);
                for store in stores {
                    assert_eq!(store.save_import(grant.clone(), token).await, Ok(expected));
                }
            }
            StoreStep::PersonUpdate { random_grant, planned, next } => {
                let told = random_grant.grant(number).person;
                let (planned, next) = (at(planned), at(next));
                let expected = model.update(&told, planned, next);
                for store in stores {
                    assert_eq!(store.update_person(told.clone(), planned, next).await, Ok(expected));
                }
            }
            StoreStep::Revise { after, limit, failures, odd_only } => {
                let expected = model.revise(after, limit, failures, odd_only);
                for store in stores {
                    assert_eq!(revise(store, after, limit, failures, odd_only).await, expected);
                }
            }
        }
        for store in stores {
            compare(store, &model).await;
        }
    }
    drop(sqlite);
    for row in model.rows.iter_mut().filter(|row| row.claimed) {
        row.grant.next = Schedule::at(at(99));
    }
    compare(&store_dir.open_at(99), &model).await;
}

async fn revise(
    store: &dyn Store,
    after: i64,
    limit: u32,
    failures: u32,
    odd_only: bool,
) -> Option<BatchPosition> {
    let revision = move |grant: &mut Grant| {
        let changes = !odd_only || grant.failures % 2 == 1;
        grant.failures = failures;
        grant.obtained_at = at(failures.into());
        changes
    };
    store.update_batch(BatchPosition(after), limit, std::sync::Arc::new(revision)).await.unwrap()
}

async fn compare(store: &dyn Store, model: &StoreModel) {
    for name in NAMES {
        let expected = model.rows.iter().find(|row| row.grant.person.id.as_str() == name);
        let kept = store.find(person(name)).await.unwrap();
        assert_eq!(kept.as_ref(), expected.map(|row| &row.grant), "{name}");
    }
    for token in 0..3 {
        let expected = model.imports.get(&[token; 32]);
        assert_eq!(store.find_import([token; 32]).await, Ok(expected.cloned()), "token {token}");
    }
    for email in PERSONS.iter().filter_map(|(email, _)| Email::parse(email).ok()) {
        assert_eq!(store.resolve(email.clone()).await, Ok(model.namesakes(&email)), "{email}");
    }
    let wake = model.rows.iter().map(|row| row.grant.next.wake_at).min();
    assert_eq!(store.next_wake(BEGINNING).await, Ok(wake));
    for now in [0, 15, 40] {
        assert_eq!(store.due_summary(at(now)).await, Ok(model.waiting(at(now))));
    }
    assert_eq!(store.totals().await, Ok(model.census()));
    assert_eq!(store.last_write_at().await, Ok(model.latest));
    let rows: Vec<(i64, &Grant)> = model.rows.iter().map(|row| (row.fence.serial, &row.grant)).collect();
    lists::compare(store, &rows, at(15)).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_stores_agree_with_the_model(steps in vec(step(), 1..60)) {
        Builder::new_current_thread().build().unwrap().block_on(run_steps(steps));
    }
}
