//! Periodic checks of who a person is: the answer is stored and reported, and no refresh is affected.

use std::time::Duration;

use log::Level;
use tokio::time::sleep;
use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::person::PersonQuery;
use webex_tokend::domain::person::ResolvedPerson;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::refresh::RateLimits;

use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::SECOND;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::TestServices;

fn people(persons: usize) -> Settings {
    Settings { people: Person::some(persons), ..Settings::default() }
}

/// A running loop with the grants of so many people.
async fn consented(persons: usize) -> TestServices {
    let mut services = TestServices::new(people(persons));
    services.start(false).await;
    services.consent_all(persons).await;
    services
}

/// Person checks, without the one of each consent.
fn questions(services: &TestServices, consents: u64) -> u64 {
    services.model().counters().calls.people_me - consents
}

fn inject_fault(services: &TestServices, kind: FaultKind) {
    services.model().fault(Fault { on: Endpoint::PeopleMe, person: None, times: None, kind });
}

fn forbidden() -> FaultKind {
    let body = br#"{"message":"The call requires the scope spark:people_read."}"#.to_vec();
    FaultKind::Raw { status: 403, headers: vec![], body }
}

#[tokio::test(start_paused = true)]
async fn a_changed_address_and_name_are_stored_within_about_a_week_and_reported() {
    capture_thread_logs();
    let services = consented(2).await;
    let before = services.grant(0).await.person;
    let old = PersonQuery::Email(before.email.clone().unwrap());
    {
        let mut model = services.model();
        let ada = &mut model.settings_mut().people[0];
        (ada.email, ada.display_name) = ("Ada.King@example.com".to_owned(), "Ada King".to_owned());
        // Leaves time between a refresh, which is an event as well, and Webex's answer about the person.
        model.settings_mut().latency = 5 * SECOND;
    }
    sleep(6 * DAY).await;
    assert_eq!(services.grant(0).await.person, before);
    // Readers have the old name and address cached until the change is published.
    let (mut mark, mut days) = (services.context.cache.events().position(), 6 * DAY);
    while services.grant(0).await.person == before {
        assert_eq!(services.context.cache.resolve(&old).await, Ok(ResolvedPerson::One(services.id(0))));
        assert_eq!(services.context.cache.get(&services.id(0)).await.unwrap().unwrap().person, before);
        mark = services.context.cache.events().position();
        sleep(2 * SECOND).await;
        days += 2 * SECOND;
    }
    assert!((7 * DAY..=8 * DAY + HOUR).contains(&days), "{days:?}");
    let after = services.grant(0).await.person;
    assert_eq!(services.context.cache.get(&services.id(0)).await.unwrap().unwrap().person, after);
    assert_eq!(after.email.unwrap().as_str(), "ada.king@example.com");
    assert_eq!(after.display_name.as_deref(), Some("Ada King"));
    assert_eq!((after.id, after.org_id), (before.id, before.org_id.clone()));
    assert!(services.context.cache.events().changed_since(mark, &services.id(0)));
    let meant = async |email: &str| {
        services.context.cache.resolve(&PersonQuery::parse(email).unwrap()).await.unwrap()
    };
    assert_eq!(meant("ada.king@example.com").await, ResolvedPerson::One(services.id(0)));
    assert_eq!(meant(before.email.unwrap().as_str()).await, ResolvedPerson::Unknown);
    let told: Vec<String> = captured_logs()
        .into_iter()
        .filter(|(level, text)| {
            *level == Level::Info && text.contains("another address, name or organization")
        })
        .map(|(_, text)| text)
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let organization = before.org_id.unwrap();
    let now =
        format!("ada.king@example.com (Ada King, organization {organization}); before: ada@example.com");
    assert!(told[0].contains(&now), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_a_second_person_gets_is_reported() {
    capture_thread_logs();
    let services = consented(2).await;
    let shared = services.model().settings().people[1].email.clone();
    services.model().settings_mut().people[0].email.clone_from(&shared);
    sleep(9 * DAY).await;
    let both = ResolvedPerson::Ambiguous(vec![services.id(0), services.id(1)]);
    assert_eq!(services.context.cache.resolve(&PersonQuery::parse(&shared).unwrap()).await, Ok(both));
    let warned = |(level, text): &(Level, String)| {
        *level == Level::Warn && text.contains(&shared) && text.contains(services.id(0).as_str())
    };
    assert!(captured_logs().iter().any(warned));
}

#[tokio::test(start_paused = true)]
async fn webex_is_asked_about_a_person_once_a_week() {
    let services = consented(5).await;
    sleep(70 * DAY).await;
    let questions = questions(&services, 5);
    assert!((5 * 8..=5 * 10).contains(&questions), "{questions} person checks in ten weeks");
}

#[tokio::test(start_paused = true)]
async fn a_grant_without_the_scope_for_person_checks_is_rarely_asked_about() {
    let services = consented(2).await;
    inject_fault(&services, forbidden());
    sleep(60 * DAY).await;
    assert_eq!(questions(&services, 2), 2, "one check for each");
    assert_eq!(services.grant(0).await.last.outcome, Outcome::Renewed);
    sleep(60 * DAY).await;
    assert_eq!(questions(&services, 2), 4);
}

#[tokio::test(start_paused = true)]
async fn no_person_check_is_sent_during_a_retry_after() {
    let services = consented(40).await;
    inject_fault(&services, FaultKind::TooMany429 { retry_after: Some("36000".to_owned()) });
    sleep(7 * DAY + 12 * HOUR).await;
    assert_eq!(questions(&services, 40), 1, "the first response counts for all");
    services.model().clear_faults();
    sleep(2 * DAY).await;
    assert!(questions(&services, 40) >= 40);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_of_years_is_capped_at_a_day() {
    let services = consented(2).await;
    inject_fault(&services, FaultKind::TooMany429 { retry_after: Some("999999999999".to_owned()) });
    sleep(7 * DAY + 12 * HOUR).await;
    assert_eq!(questions(&services, 2), 1);
    services.model().clear_faults();
    sleep(2 * DAY).await;
    assert_eq!(questions(&services, 2), 3);
}

#[tokio::test(start_paused = true)]
async fn a_field_that_webex_omits_stays_unchanged() {
    let services = consented(1).await;
    let before = services.grant(0).await.person;
    let body = format!("{{\"id\":\"{}\"}}", before.id).into_bytes();
    inject_fault(&services, FaultKind::Raw { status: 200, headers: vec![], body });
    sleep(10 * DAY).await;
    assert_eq!(questions(&services, 1), 1);
    assert_eq!(services.grant(0).await.person, before);
    assert!(before.email.is_some() && before.display_name.is_some() && before.org_id.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_failed_person_check_affects_no_refresh() {
    let troubles = [
        FaultKind::Client401,
        FaultKind::TooMany429 { retry_after: None },
        FaultKind::Unavailable { status: 500, html: true },
        FaultKind::OkEmpty,
        FaultKind::Hang,
        forbidden(),
    ];
    let mut expected = None;
    for trouble in [None].into_iter().chain(troubles.map(Some)) {
        let mut services = consented(20).await;
        if let Some(kind) = trouble.clone() {
            inject_fault(&services, kind);
        }
        sleep(30 * DAY).await;
        assert!(services.refresher.as_ref().unwrap().pause().is_none(), "{trouble:?}");
        let starts: Vec<Vec<Duration>> = (0..20).map(|person| services.starts(person)).collect();
        assert_eq!(expected.get_or_insert_with(|| starts.clone()), &starts, "{trouble:?}");
        assert_eq!(services.grant(0).await.failures, 0, "{trouble:?}");
        services.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn person_checks_run_one_at_a_time_at_a_quarter_of_the_refresh_rate() {
    let mut services =
        TestServices::with_policy(people(200), POLICY, RateLimits { concurrency: 16, per_second: 8.0 });
    services.consent_all(200).await;
    services.model().settings_mut().latency = SECOND / 5;
    sleep(8 * DAY).await;
    services.start(false).await;
    let mut last = 0;
    for _ in 0..240 {
        sleep(SECOND).await;
        let now = questions(&services, 200);
        assert!(now - last <= 3, "{} person checks in a second", now - last);
        last = now;
    }
    assert_eq!(last, 200);
}

#[tokio::test(start_paused = true)]
async fn a_response_about_another_person_changes_nothing() {
    let mut services = TestServices::new(people(2));
    services.start(false).await;
    services.consent(0).await;
    let before = services.grant(0).await.person;
    let body = br#"{"id":"Y2lzT1RIRVI","emails":["other@example.com"],"displayName":"Other"}"#.to_vec();
    inject_fault(&services, FaultKind::Raw { status: 200, headers: vec![], body });
    sleep(30 * DAY).await;
    assert_eq!(services.grant(0).await.person, before);
    assert!(questions(&services, 1) <= 4, "no more person checks because of it");
}
