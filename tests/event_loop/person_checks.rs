//! Webex is asked now and then who a person is: what it says is stored and told, and no refresh suffers from it.

use std::time::Duration;

use log::Level;
use tokio::time::sleep;
use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::person::Resolved;
use webex_tokend::domain::person::Who;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::refresh::Pace;

use crate::support::heard_here;
use crate::support::listen_here;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::SECOND;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::World;

fn people(persons: usize) -> Settings {
    Settings { people: Person::some(persons), ..Settings::default() }
}

/// Questions, beside the one of each consent.
fn questions(world: &World, consents: u64) -> u64 {
    world.model().counters().calls.people_me - consents
}

fn spoil(world: &World, kind: FaultKind) {
    world.model().fault(Fault { on: Endpoint::PeopleMe, person: None, times: None, kind });
}

fn forbidden() -> FaultKind {
    let body = br#"{"message":"The call requires the scope spark:people_read."}"#.to_vec();
    FaultKind::Raw { status: 403, headers: vec![], body }
}

#[tokio::test(start_paused = true)]
async fn a_changed_address_and_name_are_known_after_about_a_week_and_told() {
    listen_here();
    let mut world = World::new(people(2));
    world.start(false).await;
    world.consents(2).await;
    let before = world.grant(0).await.person;
    let old = Who::Email(before.email.clone().unwrap());
    {
        let mut model = world.model();
        let ada = &mut model.settings_mut().people[0];
        (ada.email, ada.display_name) = ("Ada.King@example.com".to_owned(), "Ada King".to_owned());
        // So that there is a time between a refresh, which is told, too, and what Webex says of the person.
        model.settings_mut().latency = 5 * SECOND;
    }
    sleep(6 * DAY).await;
    assert_eq!(world.grant(0).await.person, before);
    // Readers have the old name and address cached until the change is told.
    let (mut mark, mut days) = (world.view.events().now(), 6 * DAY);
    while world.grant(0).await.person == before {
        assert_eq!(world.view.resolve(&old).await, Ok(Resolved::One(world.id(0))));
        assert_eq!(world.view.look(&world.id(0)).await.unwrap().unwrap().person, before);
        mark = world.view.events().now();
        sleep(2 * SECOND).await;
        days += 2 * SECOND;
    }
    assert!((7 * DAY..=8 * DAY + HOUR).contains(&days), "{days:?}");
    let after = world.grant(0).await.person;
    assert_eq!(world.view.look(&world.id(0)).await.unwrap().unwrap().person, after);
    assert_eq!(after.email.unwrap().as_str(), "ada.king@example.com");
    assert_eq!(after.display_name.as_deref(), Some("Ada King"));
    assert_eq!((after.id, after.org_id), (before.id, before.org_id));
    assert!(world.view.events().changed_since(mark, &world.id(0)));
    let meant = async |email: &str| world.view.resolve(&Who::parse(email).unwrap()).await.unwrap();
    assert_eq!(meant("ada.king@example.com").await, Resolved::One(world.id(0)));
    assert_eq!(meant(before.email.unwrap().as_str()).await, Resolved::Unknown);
    let told: Vec<String> = heard_here()
        .into_iter()
        .filter(|(level, text)| *level == Level::Info && text.contains("another address or name"))
        .map(|(_, text)| text)
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("ada.king@example.com (Ada King), before ada@example.com"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_becomes_another_persons_too_is_told() {
    listen_here();
    let mut world = World::new(people(2));
    world.start(false).await;
    world.consents(2).await;
    let shared = world.model().settings().people[1].email.clone();
    world.model().settings_mut().people[0].email.clone_from(&shared);
    sleep(9 * DAY).await;
    let both = Resolved::Ambiguous(vec![world.id(0), world.id(1)]);
    assert_eq!(world.view.resolve(&Who::parse(&shared).unwrap()).await, Ok(both));
    let warned = |(level, text): &(Level, String)| {
        *level == Level::Warn && text.contains(&shared) && text.contains(world.id(0).as_str())
    };
    assert!(heard_here().iter().any(warned));
}

#[tokio::test(start_paused = true)]
async fn webex_is_asked_about_a_person_once_a_week() {
    let mut world = World::new(people(5));
    world.start(false).await;
    world.consents(5).await;
    sleep(70 * DAY).await;
    let questions = questions(&world, 5);
    assert!((5 * 8..=5 * 10).contains(&questions), "{questions} questions in ten weeks");
}

#[tokio::test(start_paused = true)]
async fn a_grant_whose_scopes_do_not_allow_the_question_is_left_alone_for_long() {
    let mut world = World::new(people(2));
    world.start(false).await;
    world.consents(2).await;
    spoil(&world, forbidden());
    sleep(60 * DAY).await;
    assert_eq!(questions(&world, 2), 2, "once for each");
    assert_eq!(world.grant(0).await.last.outcome, Outcome::Renewed);
    sleep(60 * DAY).await;
    assert_eq!(questions(&world, 2), 4);
}

#[tokio::test(start_paused = true)]
async fn no_question_is_sent_while_webex_asks_to_wait() {
    let mut world = World::new(people(40));
    world.start(false).await;
    world.consents(40).await;
    spoil(&world, FaultKind::TooMany429 { retry_after: Some("36000".to_owned()) });
    sleep(7 * DAY + 12 * HOUR).await;
    assert_eq!(questions(&world, 40), 1, "the first answer speaks for all");
    world.model().clear_faults();
    sleep(2 * DAY).await;
    assert!(questions(&world, 40) >= 40);
}

#[tokio::test(start_paused = true)]
async fn a_wish_to_wait_for_years_ends_after_a_day() {
    let mut world = World::new(people(2));
    world.start(false).await;
    world.consents(2).await;
    spoil(&world, FaultKind::TooMany429 { retry_after: Some("999999999999".to_owned()) });
    sleep(7 * DAY + 12 * HOUR).await;
    assert_eq!(questions(&world, 2), 1);
    world.model().clear_faults();
    sleep(2 * DAY).await;
    assert_eq!(questions(&world, 2), 3);
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_leaves_out_stays_as_it_was() {
    let mut world = World::new(people(1));
    world.start(false).await;
    world.consents(1).await;
    let before = world.grant(0).await.person;
    let body = format!("{{\"id\":\"{}\"}}", before.id).into_bytes();
    spoil(&world, FaultKind::Raw { status: 200, headers: vec![], body });
    sleep(10 * DAY).await;
    assert_eq!(questions(&world, 1), 1);
    assert_eq!(world.grant(0).await.person, before);
    assert!(before.email.is_some() && before.display_name.is_some() && before.org_id.is_some());
}

#[tokio::test(start_paused = true)]
async fn trouble_with_the_question_changes_no_refresh() {
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
        let mut world = World::new(people(20));
        world.start(false).await;
        world.consents(20).await;
        if let Some(kind) = trouble.clone() {
            spoil(&world, kind);
        }
        sleep(30 * DAY).await;
        assert!(world.refresher.as_ref().unwrap().pause().is_none(), "{trouble:?}");
        let starts: Vec<Vec<Duration>> = (0..20).map(|person| world.starts(person)).collect();
        assert_eq!(expected.get_or_insert_with(|| starts.clone()), &starts, "{trouble:?}");
        assert_eq!(world.grant(0).await.failures, 0, "{trouble:?}");
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn questions_come_at_a_quarter_of_the_pace_of_refreshes_and_one_at_a_time() {
    let mut world = World::with(people(200), POLICY, Pace { at_once: 16, per_second: 8.0 });
    world.consents(200).await;
    world.model().settings_mut().latency = SECOND / 5;
    sleep(8 * DAY).await;
    world.start(false).await;
    let mut last = 0;
    for _ in 0..240 {
        sleep(SECOND).await;
        let now = questions(&world, 200);
        assert!(now - last <= 3, "{} questions in a second", now - last);
        last = now;
    }
    assert_eq!(last, 200);
}

#[tokio::test(start_paused = true)]
async fn another_persons_name_changes_nothing() {
    let mut world = World::new(people(2));
    world.start(false).await;
    world.consent(0).await;
    let before = world.grant(0).await.person;
    let body = br#"{"id":"Y2lzT1RIRVI","emails":["other@example.com"],"displayName":"Other"}"#.to_vec();
    spoil(&world, FaultKind::Raw { status: 200, headers: vec![], body });
    sleep(30 * DAY).await;
    assert_eq!(world.grant(0).await.person, before);
    assert!(questions(&world, 1) <= 4, "no more often for it");
}
