//! Imports of grants that other programs obtained.

use std::time::Duration;

use tokio::time::sleep;
use webex_sim::Person;
use webex_sim::RefreshToken;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_sim::model::Tokens;
use webex_tokend::consent::ImportError;
use webex_tokend::consent::ImportRequest;
use webex_tokend::consent::ImportedGrant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::secret::Secret;
use webex_tokend::store::Saved;
use webex_tokend::store::StoreError;

use crate::support::faulty_store::FaultyStore;
use crate::support::faulty_store::StoreFault;
use crate::support::intercept_store::StoreOp;
use crate::support::time::DAY;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::TestServices;

/// Only the operator can import, so the allow list does not apply.
#[tokio::test(start_paused = true)]
async fn an_import_ignores_the_allow_list() {
    let services = TestServices::new(Settings::default()).for_persons("grace@example.com");
    let tokens = elsewhere(&services, 0).await;
    assert_eq!(offer(&services, Some(&tokens.refresh_token), None).await.unwrap().saved, Saved::New);
}

/// A grant that another program obtained two days ago.
async fn elsewhere(services: &TestServices, person: usize) -> Tokens {
    let tokens = services.model().mint(services.now().0, person);
    sleep(2 * DAY).await;
    tokens
}

async fn offer(
    services: &TestServices,
    refresh_token: Option<&str>,
    access_token: Option<&str>,
) -> Result<ImportedGrant, ImportError> {
    services.consents.import(offered(refresh_token, access_token)).await
}

fn offered(refresh_token: Option<&str>, access_token: Option<&str>) -> ImportRequest {
    let secret = |text: &str| Secret::new(text.to_owned());
    ImportRequest {
        refresh_token: refresh_token.map(secret),
        access_token: access_token.map(secret),
        replace: false,
    }
}

/// Replaces the stored grant.
async fn replace(services: &TestServices, refresh_token: &str) -> Saved {
    let offered = ImportRequest { replace: true, ..offered(Some(refresh_token), None) };
    services.consents.import(offered).await.unwrap().saved
}

fn refused(result: Result<ImportedGrant, ImportError>) -> String {
    match result.unwrap_err() {
        ImportError::Refused(why) => why,
        other => panic!("{other:?}"),
    }
}

fn failed(result: Result<ImportedGrant, ImportError>) -> String {
    match result.unwrap_err() {
        ImportError::Failed(why) => why,
        other => panic!("{other:?}"),
    }
}

/// What the grants of [`elsewhere`] allow.
const MINTED: &str = "spark:all spark:kms";

fn rotating() -> Settings {
    Settings { refresh_token: RefreshToken::Rotating, ..Settings::default() }
}

fn down(on: Endpoint) -> Fault {
    Fault { on, person: None, times: None, kind: FaultKind::Unavailable { status: 503, html: false } }
}

async fn nothing_is_kept(services: &TestServices, person: usize) {
    assert!(services.context.store.find(services.id(person)).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_token_pair_or_a_bare_refresh_token_becomes_a_stored_grant() {
    let mut services = TestServices::new(Settings::default());
    services.start(false).await;
    let (pair, bare) = (elsewhere(&services, 0).await, elsewhere(&services, 1).await);
    let taken = offer(&services, Some(&pair.refresh_token), Some(&pair.access_token)).await.unwrap();
    assert_eq!((taken.person.id, taken.saved), (services.id(0), Saved::New));
    let pasted = format!("\n Bearer {} \n", bare.refresh_token);
    let taken = offer(&services, Some(&pasted), Some("")).await.unwrap();
    assert_eq!((taken.person.id, taken.saved), (services.id(1), Saved::New));
    assert_eq!(services.model().counters().refreshes.attempts, 2, "one refresh per import");
    sleep(60 * DAY).await;
    for person in 0..2 {
        assert!(services.is_live(person).await);
        assert!(services.starts(person).len() > 50, "the loop keeps it alive");
    }
}

#[tokio::test(start_paused = true)]
async fn an_import_reports_a_retry_after_and_whether_it_came_with_429() {
    let asks = |seconds: Option<&str>| FaultKind::TooMany429 { retry_after: seconds.map(str::to_owned) };
    let headers = vec![("Retry-After".to_owned(), "70".to_owned())];
    let unavailable = FaultKind::Raw { status: 503, headers, body: Vec::new() };
    for on in [Endpoint::AccessToken, Endpoint::PeopleMe] {
        for (kind, seconds) in [
            (asks(Some("70")), Some((70, true))),
            (asks(Some("0")), Some((1, true))),
            (asks(None), Some((30, true))),
            (FaultKind::Locked423 { retry_after: Some("70".to_owned()) }, None),
            (FaultKind::Unavailable { status: 503, html: true }, None),
            (unavailable.clone(), Some((70, false))),
        ] {
            let services = TestServices::new(Settings::default());
            let pair = elsewhere(&services, 0).await;
            services.model().fault(Fault { on, person: None, times: None, kind: kind.clone() });
            let wait = match offer(&services, Some(&pair.refresh_token), None).await.unwrap_err() {
                ImportError::Busy { wait, rate_limited, .. } => Some((wait.as_secs(), rate_limited)),
                ImportError::Failed(_) => None,
                ImportError::Refused(why) => panic!("{why}"),
            };
            assert_eq!(wait, seconds, "{on:?} {kind:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn importing_the_same_record_twice_keeps_the_first() {
    let services = TestServices::new(Settings::default());
    let pair = elsewhere(&services, 0).await;
    for saved in [Saved::New, Saved::Kept, Saved::Kept] {
        assert_eq!(offer(&services, Some(&pair.refresh_token), None).await.unwrap().saved, saved);
        assert!(services.is_live(0).await);
    }
    assert_eq!(replace(&services, &pair.refresh_token).await, Saved::Replaced);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_rotated_by_the_import_of_the_stored_grant_is_not_lost() {
    let mut services = TestServices::new(rotating());
    services.consent(0).await;
    let stored = services.grant(0).await.tokens.refresh_token;
    sleep(2 * DAY).await;
    let taken = offer(&services, Some(stored.expose()), None).await.unwrap();
    assert_eq!(taken.saved, Saved::Replaced, "the stored refresh token is dead at Webex");
    assert_ne!(services.grant(0).await.tokens.refresh_token, stored);
    services.start(false).await;
    sleep(30 * DAY).await;
    assert!(services.is_live(0).await);
    assert_eq!(services.grant(0).await.status, GrantStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn an_older_narrower_grant_replaces_the_stored_one_only_if_told_to() {
    let services = TestServices::new(rotating());
    let narrow = elsewhere(&services, 0).await;
    services.consent(0).await;
    let scoped = async |scope: &str| {
        let mut grant = services.grant(0).await;
        grant.tokens.scope = Some(scope.to_owned());
        services.context.store.save_consent(grant.clone()).await.unwrap();
        grant
    };
    let wide = scoped(&format!("{MINTED} spark:rooms_read")).await;
    let taken = offer(&services, Some(&narrow.refresh_token), None).await.unwrap();
    assert_eq!((taken.saved, taken.as_str()), (Saved::Kept, "kept"));
    assert!(taken.replaced_outcome().unwrap().contains("--replace"));
    assert_eq!(services.grant(0).await, wide);
    // Webex has rotated the refresh token since then; the same record is still accepted.
    assert_eq!(replace(&services, &narrow.refresh_token).await, Saved::Replaced);
    assert_eq!(services.grant(0).await.tokens.scope.as_deref(), Some(MINTED));
    scoped("spark:rooms_read").await;
    let wider = elsewhere(&services, 0).await;
    let taken = offer(&services, Some(&wider.refresh_token), None).await.unwrap();
    assert_eq!(taken.saved, Saved::Replaced, "the stored grant does not have all of its scopes");
}

#[tokio::test(start_paused = true)]
async fn an_import_revives_a_dead_grant_and_keeps_a_healthy_one() {
    let mut services = TestServices::new(Settings::default());
    services.start(false).await;
    let other = elsewhere(&services, 0).await;
    services.consent(0).await;
    assert_eq!(offer(&services, Some(&other.refresh_token), None).await.unwrap().saved, Saved::Replaced);
    sleep(10 * DAY).await;
    assert!(services.is_live(0).await);
    services.model().revoke_person(0);
    sleep(2 * DAY).await;
    assert_eq!(services.grant(0).await.status, GrantStatus::ConsentNeeded);
    refused(offer(&services, Some(&other.refresh_token), None).await);
    let fresh = elsewhere(&services, 0).await;
    offer(&services, Some(&fresh.refresh_token), None).await.unwrap();
    assert_eq!(services.grant(0).await.status, GrantStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn dead_and_foreign_tokens_are_refused_and_not_stored() {
    let services = TestServices::new(Settings::default());
    let pair = elsewhere(&services, 0).await;
    services.model().kill_refresh_token(&pair.refresh_token);
    let why = refused(offer(&services, Some(&pair.refresh_token), Some(&pair.access_token)).await);
    assert!(why.contains("another client id") && why.contains("consent"), "{why}");
    assert!(!why.contains(&pair.refresh_token));
    let foreign = elsewhere(&services, 0).await;
    services.model().change_client_secret("another");
    let why = refused(offer(&services, Some(&foreign.refresh_token), None).await);
    assert!(why.contains("another client id") && why.contains("MY_APP_SECRET_ID"), "{why}");
    nothing_is_kept(&services, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_malformed_token_is_never_sent_to_webex() {
    let services = TestServices::new(Settings::default());
    let long = "x".repeat(9000);
    for rubbish in ["two words", "Bearer two words", "line\nbreak", &long] {
        refused(offer(&services, Some(rubbish), None).await);
        refused(offer(&services, None, Some(rubbish)).await);
    }
    for nothing in [None, Some(""), Some(" "), Some("Bearer ")] {
        assert!(refused(offer(&services, nothing, nothing).await).contains("no token"));
    }
    let calls = services.model().counters().calls;
    assert_eq!((calls.access_token, calls.people_me), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_access_token_alone_is_refused_with_an_explanation() {
    let mut people = Person::some(3);
    people[1].kind = "bot";
    people[2].kind = "appuser";
    let services = TestServices::new(Settings { people, ..Settings::default() });
    for (person, text) in [(0, "12 hours"), (1, "use it as it is"), (2, "guest")] {
        let token = elsewhere(&services, person).await.access_token;
        let why = refused(offer(&services, None, Some(&format!("Bearer {token}"))).await);
        assert!(why.contains(text), "{why}");
        services.model().kill_access_token(&token);
        assert!(refused(offer(&services, None, Some(&token)).await).contains("any more"));
        nothing_is_kept(&services, person).await;
    }
    services.model().fault(down(Endpoint::PeopleMe));
    failed(offer(&services, None, Some("whatever")).await);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_rotated_by_an_import_is_stored() {
    let mut services = TestServices::new(rotating());
    services.start(false).await;
    let pair = elsewhere(&services, 0).await;
    offer(&services, Some(&pair.refresh_token), Some(&pair.access_token)).await.unwrap();
    assert_ne!(services.grant(0).await.tokens.refresh_token.expose(), pair.refresh_token);
    sleep(30 * DAY).await;
    assert!(services.is_live(0).await);
    assert_eq!(services.model().counters().refreshes.refused, 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_the_rotation_loses_no_token() {
    let services = TestServices::new(rotating());
    let pair = elsewhere(&services, 0).await;
    services.model().fault(Fault { times: Some(2), ..down(Endpoint::PeopleMe) });
    offer(&services, Some(&pair.refresh_token), None).await.unwrap();

    let pair = elsewhere(&services, 1).await;
    services.model().fault(down(Endpoint::PeopleMe));
    for _ in 0..3 {
        let why = failed(offer(&services, Some(&pair.refresh_token), None).await);
        assert!(why.contains("import it again"), "{why}");
        sleep(2 * DAY).await;
    }
    nothing_is_kept(&services, 1).await;
    services.model().clear_faults();
    offer(&services, Some(&pair.refresh_token), None).await.unwrap();
    assert!(services.is_live(1).await);
    assert_eq!(services.model().counters().refreshes.refused, 0);
}

#[tokio::test(start_paused = true)]
async fn with_an_access_token_the_owner_is_checked_before_the_refresh_token_is_used() {
    let services = TestServices::new(rotating());
    let pair = elsewhere(&services, 0).await;
    services.model().fault(down(Endpoint::PeopleMe));
    failed(offer(&services, Some(&pair.refresh_token), Some(&pair.access_token)).await);
    services.model().clear_faults();
    let body = br#"{"message":"The call requires the scope spark:people_read."}"#.to_vec();
    let kind = FaultKind::Raw { status: 403, headers: vec![], body };
    services.model().fault(Fault { kind, ..down(Endpoint::PeopleMe) });
    let why = refused(offer(&services, Some(&pair.refresh_token), Some(&pair.access_token)).await);
    assert!(why.contains("spark:people_read"), "{why}");
    assert_eq!(services.model().counters().refreshes.attempts, 0);
    // An expired access token says nothing about its refresh token.
    services.model().clear_faults();
    services.model().kill_access_token(&pair.access_token);
    offer(&services, Some(&pair.refresh_token), Some(&pair.access_token)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_import_during_an_outage_can_be_repeated() {
    let services = TestServices::new(Settings::default());
    let pair = elsewhere(&services, 0).await;
    services.model().fault(down(Endpoint::AccessToken));
    failed(offer(&services, Some(&pair.refresh_token), None).await);
    services.model().clear_faults();
    services.model().fault(Fault {
        kind: FaultKind::TokenLimit,
        times: Some(1),
        ..down(Endpoint::AccessToken)
    });
    assert!(failed(offer(&services, Some(&pair.refresh_token), None).await).contains("as many live tokens"));
    assert_eq!(offer(&services, Some(&pair.refresh_token), None).await.unwrap().saved, Saved::New);
}

/// Counts the refreshes that Webex was asked for.
fn asked(services: &TestServices) -> u64 {
    services.model().counters().refreshes.attempts
}

#[tokio::test(start_paused = true)]
async fn two_imports_of_one_token_at_a_time_use_it_once() {
    let services = TestServices::new(rotating());
    let pair = elsewhere(&services, 0).await;
    services.model().settings_mut().latency = Duration::from_millis(500);
    let import = || offer(&services, Some(&pair.refresh_token), None);
    let (first, second) = tokio::join!(import(), import());
    assert_eq!(first.unwrap().saved, Saved::New);
    let why = failed(second);
    assert!(why.contains("being imported already"), "{why}");
    assert_eq!(asked(&services), 1);
    assert!(services.is_live(0).await);
}

#[tokio::test(start_paused = true)]
async fn an_import_begins_only_while_the_store_can_be_written() {
    let store = FaultyStore::new();
    let services = TestServices::with_store(store.clone(), rotating(), POLICY, RATE_LIMITS);
    let pair = elsewhere(&services, 0).await;
    store.fail(&[StoreOp::Prove], StoreError::Full);
    let why = failed(offer(&services, Some(&pair.refresh_token), None).await);
    assert!(why.contains("the store cannot be written"), "{why}");
    assert_eq!(asked(&services), 0, "the refresh token is not used up");
    store.recover();
    offer(&services, Some(&pair.refresh_token), None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stored_grant_gets_its_rotated_token_although_the_store_could_not_be_read_once() {
    let store = FaultyStore::new();
    let mut services = TestServices::with_store(store.clone(), rotating(), POLICY, RATE_LIMITS);
    services.consent(0).await;
    let stored = services.grant(0).await.tokens.refresh_token;
    sleep(2 * DAY).await;
    store.fail(&[StoreOp::Find], StoreError::Locked);
    failed(offer(&services, Some(stored.expose()), None).await);
    store.recover();
    let again = offered(Some(stored.expose()), None);
    assert!(services.consents.imported_before(&again).await.is_none(), "its rotated token waits");
    assert_eq!(services.consents.import(again).await.unwrap().saved, Saved::Replaced);
    services.start(false).await;
    sleep(30 * DAY).await;
    assert!(services.is_live(0).await);
    assert_eq!(services.model().counters().refreshes.refused, 0);
}

#[tokio::test(start_paused = true)]
async fn a_crash_right_after_an_imported_grant_was_stored_does_not_make_its_token_unknown() {
    let store = FaultyStore::new();
    let services = TestServices::with_store(store.clone(), rotating(), POLICY, RATE_LIMITS);
    let pair = elsewhere(&services, 0).await;
    let mut has_crashed = false;
    store.script(move |op, _| {
        let fault = if has_crashed { StoreFault::Fail(StoreError::Closed) } else { StoreFault::None };
        has_crashed |= op == StoreOp::SaveConsent;
        fault
    });
    offer(&services, Some(&pair.refresh_token), None).await.unwrap();
    store.recover();
    let again = offered(Some(&pair.refresh_token), None);
    assert!(services.consents.imported_before(&again).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_import_that_a_living_grant_covers_is_marked_unless_its_token_was_rotated() {
    for (settings, is_marked) in [(Settings::default(), true), (rotating(), false)] {
        let services = TestServices::new(settings);
        let (first, other) = (elsewhere(&services, 0).await, elsewhere(&services, 0).await);
        offer(&services, Some(&first.refresh_token), None).await.unwrap();
        let offered = || offered(Some(&other.refresh_token), None);
        assert_eq!(services.consents.import(offered()).await.unwrap().saved, Saved::Kept);
        assert_eq!(services.consents.imported_before(&offered()).await.is_some(), is_marked);
    }
}
