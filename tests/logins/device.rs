//! The device grant, in virtual time.

use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::consent::ConsentError;
use webex_tokend::consent::DeviceLogin;
use webex_tokend::consent::LoginState;
use webex_tokend::domain::person::PersonId;
use webex_tokend::tasks::Tasks;

use crate::support::time::SECOND;
use crate::support::virtual_time::TestServices;

fn settings() -> Settings {
    Settings { base_url: "https://webex.test/v1".to_owned(), ..Settings::default() }
}

async fn begin(services: &TestServices, tasks: &Tasks) -> DeviceLogin {
    services.consents.begin_device(tasks).await.unwrap()
}

/// The result of the login, and when it ends.
async fn end(services: &TestServices, login: &DeviceLogin) -> Result<PersonId, String> {
    loop {
        match services.consents.login_status(&login.id, 30 * SECOND).await.unwrap() {
            LoginState::Pending => {}
            LoginState::Granted(person) => return Ok(person),
            LoginState::Failed(why) => return Err(why),
        }
    }
}

fn fault(kind: FaultKind, times: Option<u32>) -> Fault {
    Fault { on: Endpoint::Any, person: None, times, kind }
}

/// Requests of the device grant, including the first.
fn calls(services: &TestServices) -> u64 {
    services.model().counters().calls.device
}

#[tokio::test(start_paused = true)]
async fn a_code_entered_on_another_device_becomes_a_stored_grant() {
    let services = TestServices::new(settings());
    let tasks = Tasks::new();
    let login = begin(&services, &tasks).await;
    assert_eq!((login.user_code.len(), login.expires_in), (6, 300 * SECOND));
    assert_eq!(login.verification_uri, "https://webex.test/v1/device/verify");
    assert!(login.verification_uri_complete.as_ref().unwrap().starts_with(&login.verification_uri));
    let since = Instant::now();
    let person = async {
        sleep(20 * SECOND).await;
        assert!(services.model().approve_device(&login.user_code, 3));
    };
    let (ended, ()) = tokio::join!(end(&services, &login), person);
    assert_eq!(ended, Ok(services.id(3)));
    assert_eq!(since.elapsed().as_secs(), 21, "detected at the next poll");
    assert_eq!(calls(&services), 1 + 7, "a poll every three seconds");
    assert!(services.is_live(3).await);
    tasks.stop();
    tasks.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_login_of_a_person_who_is_not_allowed_is_not_stored() {
    let services = TestServices::new(settings()).for_persons("grace@example.com");
    let tasks = Tasks::new();
    for (person, allowed) in [(0, false), (1, true)] {
        let login = begin(&services, &tasks).await;
        assert!(services.model().approve_device(&login.user_code, person));
        let ended = end(&services, &login).await;
        assert_eq!(ended.is_ok(), allowed, "{ended:?}");
        assert_eq!(services.context.store.find(services.id(person)).await.unwrap().is_some(), allowed);
        let why = ended.err().unwrap_or_default();
        assert!(allowed || why.contains("ada@example.com may not consent here"), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_slow_down_the_poll_interval_stays_longer() {
    let services = TestServices::new(settings());
    let tasks = Tasks::new();
    let login = begin(&services, &tasks).await;
    // From now on Webex refuses two polls within 7 s. Polls: 3 (pending), 6 (too soon), 14, 22, 30.
    services.model().settings_mut().device_interval = 7 * SECOND;
    sleep(31 * SECOND).await;
    assert_eq!(calls(&services), 1 + 5);
    // It obeys a longer `Retry-After`: polls 38 (429), 78.
    let kind = FaultKind::TooMany429 { retry_after: Some("40".to_owned()) };
    services.model().fault(fault(kind, Some(1)));
    assert!(services.model().approve_device(&login.user_code, 0));
    sleep(46 * SECOND).await;
    assert_eq!(calls(&services), 1 + 6);
    assert_eq!(services.consents.login_status(&login.id, Duration::ZERO).await, Some(LoginState::Pending));
    sleep(2 * SECOND).await;
    assert_eq!(end(&services, &login).await, Ok(services.id(0)));
}

#[tokio::test(start_paused = true)]
async fn an_outage_during_polling_only_delays_a_device_login() {
    for kind in [
        FaultKind::ResetBefore,
        FaultKind::Hang,
        FaultKind::OkHtml,
        FaultKind::Unavailable { status: 502, html: true },
        FaultKind::Redirect("https://proxy.test/login".to_owned()),
        FaultKind::Raw { status: 403, headers: vec![], body: b"<html>blocked".to_vec() },
    ] {
        let services = TestServices::new(settings());
        let tasks = Tasks::new();
        let login = begin(&services, &tasks).await;
        services.model().fault(fault(kind.clone(), None));
        sleep(120 * SECOND).await;
        assert!(calls(&services) <= 12, "{} polls during the outage: {kind:?}", calls(&services));
        services.model().clear_faults();
        assert!(services.model().approve_device(&login.user_code, 1));
        assert_eq!(end(&services, &login).await, Ok(services.id(1)), "{kind:?}");
    }
}

/// Webex issues the tokens only once.
#[tokio::test(start_paused = true)]
async fn an_outage_of_people_me_loses_no_device_login() {
    for (kind, seconds) in [
        (FaultKind::Unavailable { status: 503, html: true }, 30),
        (FaultKind::TooMany429 { retry_after: Some("90".to_owned()) }, 90),
    ] {
        let services = TestServices::new(settings());
        let tasks = Tasks::new();
        let login = begin(&services, &tasks).await;
        let is_wait = matches!(kind, FaultKind::TooMany429 { .. });
        services.model().fault(Fault { on: Endpoint::PeopleMe, ..fault(kind.clone(), is_wait.then_some(1)) });
        assert!(services.model().approve_device(&login.user_code, 1));
        sleep(seconds * SECOND).await;
        assert_eq!(
            services.consents.login_status(&login.id, Duration::ZERO).await,
            Some(LoginState::Pending)
        );
        services.model().clear_faults();
        assert_eq!(end(&services, &login).await, Ok(services.id(1)), "{kind:?}");
        assert!(services.is_live(1).await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unused_device_code_expires_with_advice() {
    let services = TestServices::new(settings());
    let tasks = Tasks::new();
    let since = Instant::now();
    let login = begin(&services, &tasks).await;
    let why = end(&services, &login).await.unwrap_err();
    assert!(why.contains("not confirmed in time") && why.contains("oauth-helper-{a,r,k,d}"), "{why}");
    assert!((295..=300).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    let polls = calls(&services);
    sleep(600 * SECOND).await;
    assert_eq!(calls(&services), polls, "and is no longer polled");
}

#[tokio::test(start_paused = true)]
async fn a_decline_and_a_wrong_secret_end_a_device_login_at_once() {
    let services = TestServices::new(settings());
    let tasks = Tasks::new();
    let login = begin(&services, &tasks).await;
    assert!(services.model().decline_device(&login.user_code));
    assert!(end(&services, &login).await.unwrap_err().contains("declined"));
    let login = begin(&services, &tasks).await;
    services.model().change_client_secret("another");
    assert!(end(&services, &login).await.unwrap_err().contains("MY_APP_SECRET_ID"));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_polling_and_stores_what_has_arrived() {
    let services = TestServices::new(settings());
    let tasks = Tasks::new();
    let waiting = begin(&services, &tasks).await;
    let answered = begin(&services, &tasks).await;
    assert!(services.model().approve_device(&answered.user_code, 2));
    services.model().settings_mut().latency = 2 * SECOND;
    sleep(4 * SECOND).await;
    tasks.stop();
    tasks.drained().await;
    assert_eq!(end(&services, &answered).await, Ok(services.id(2)), "its poll was in flight");
    assert!(services.is_live(2).await);
    assert!(end(&services, &waiting).await.unwrap_err().contains("daemon stops"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_to_begin_a_device_login_is_reported_at_once() {
    let services = TestServices::new(settings());
    let tasks = Tasks::new();
    services.model().settings_mut().client_id = "another".to_owned();
    let refused = services.consents.begin_device(&tasks).await.unwrap_err();
    assert!(matches!(&refused, ConsentError::Refused { why, .. } if why.contains("Client Id is invalid")));
    assert!(refused.to_string().contains("oauth-helper-{a,r,k,d}.wbx2.com"), "{refused}");
    services.model().fault(fault(FaultKind::TooMany429 { retry_after: None }, Some(1)));
    let unreachable = services.consents.begin_device(&tasks).await.unwrap_err();
    assert!(matches!(unreachable, ConsentError::Unreachable { .. }), "{unreachable}");
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_verification_address_is_rejected() {
    for base in
        ["http://webex.test/v1", "javascript:alert(1)//", "https://webex.com@evil.test/v1", "", "ftp://h"]
    {
        let services = TestServices::new(Settings { base_url: base.to_owned(), ..Settings::default() });
        let refused = services.consents.begin_device(&Tasks::new()).await.unwrap_err();
        assert!(
            matches!(&refused, ConsentError::Refused { why, .. } if why.contains("verification_uri")),
            "{base}"
        );
    }
    for base in ["http://127.0.0.1:18080/v1", "http://[::1]:1/v1", "http://localhost/v1"] {
        let services = TestServices::new(Settings { base_url: base.to_owned(), ..Settings::default() });
        begin(&services, &Tasks::new()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn pending_device_logins_are_bounded() {
    let services = TestServices::new(settings());
    let tasks = Tasks::new();
    for _ in 0..32 {
        begin(&services, &tasks).await;
    }
    assert!(matches!(services.consents.begin_device(&tasks).await, Err(ConsentError::Crowded)));
    sleep(300 * SECOND).await;
    begin(&services, &tasks).await;
}
