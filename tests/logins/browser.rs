//! Logins that a client waits for.

use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;
use webex_sim::Consent;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::consent::BegunConsent;
use webex_tokend::consent::ConsentError;
use webex_tokend::consent::LoginState;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::ticket::TICKET_TTL;

use crate::support::time::SECOND;
use crate::support::virtual_time::TestServices;

/// The browser opens the login's URL.
fn open(services: &TestServices, url: &str) -> BegunConsent {
    let login = url.split_once("?login=").unwrap().1.split('&').next().unwrap();
    services.consents.begin_for(login, None).unwrap()
}

async fn accept(services: &TestServices, begun: &BegunConsent, person: usize) -> Result<(), ConsentError> {
    let back = services.decide_at_webex(&begun.url, Consent::AcceptAs(person));
    services.consents.finish(back("code"), back("state"), Some(&begun.sealed), None).await.map(|_| ())
}

async fn state(services: &TestServices, id: &str) -> LoginState {
    services.consents.login_status(id, Duration::ZERO).await.unwrap()
}

fn failed(state: &LoginState) -> &str {
    match state {
        LoginState::Failed(why) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_client_is_notified_of_the_consent_at_once() {
    let services = TestServices::new(Settings::default());
    let login = services.consents.begin_login(Some(Email::parse("ada@example.com").unwrap())).unwrap();
    assert_eq!(
        login.url,
        format!("https://localhost:8000/oauth?login={}&person=ada%40example.com", login.id)
    );
    let begun = open(&services, &login.url);
    let browser = async {
        sleep(7 * SECOND).await;
        accept(&services, &begun, 0).await.unwrap();
    };
    let since = Instant::now();
    let waiting = services.consents.login_status(&login.id, 20 * SECOND);
    let (state, ()) = tokio::join!(waiting, browser);
    assert_eq!(state, Some(LoginState::Granted(services.id(0))));
    assert_eq!(since.elapsed(), 7 * SECOND);
    assert_eq!(services.grant(0).await.person.id, services.id(0));
}

#[tokio::test(start_paused = true)]
async fn a_wait_times_out_with_the_current_state() {
    let services = TestServices::new(Settings::default());
    let login = services.consents.begin_login(None).unwrap();
    let since = Instant::now();
    let wait = |time| services.consents.login_status(&login.id, time);
    assert_eq!(wait(3 * SECOND).await, Some(LoginState::Pending));
    assert_eq!(since.elapsed().as_secs(), 3);
    assert_eq!(wait(Duration::MAX).await, Some(LoginState::Pending));
    assert_eq!(since.elapsed().as_secs(), 33, "a wait is bounded");
    sleep(TICKET_TTL - 43 * SECOND).await;
    assert!(failed(&wait(30 * SECOND).await.unwrap()).contains("in time"));
    assert_eq!(since.elapsed().as_secs(), TICKET_TTL.as_secs(), "it ends at its deadline");
    sleep(301 * SECOND).await;
    assert_eq!(wait(SECOND).await, None, "and is forgotten");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_or_finished_login_starts_no_consent() {
    let services = TestServices::new(Settings::default());
    for unknown in ["", "x", "AAAAAAAAAAAAAAAAAAAAAA", "../../etc/passwd"] {
        assert_eq!(services.consents.login_status(unknown, SECOND).await, None);
        assert!(matches!(services.consents.begin_for(unknown, None), Err(ConsentError::Stale)));
    }
    let login = services.consents.begin_login(None).unwrap();
    accept(&services, &open(&services, &login.url), 0).await.unwrap();
    assert!(matches!(services.consents.begin_for(&login.id, None), Err(ConsentError::Stale)));
    let late = services.consents.begin_login(None).unwrap();
    sleep(TICKET_TTL).await;
    assert!(matches!(services.consents.begin_for(&late.id, None), Err(ConsentError::Stale)));
}

#[tokio::test(start_paused = true)]
async fn two_concurrent_logins_get_their_own_persons() {
    let services = TestServices::new(Settings::default());
    let (one, two) =
        (services.consents.begin_login(None).unwrap(), services.consents.begin_login(None).unwrap());
    let (first, second) = (open(&services, &one.url), open(&services, &two.url));
    services.consent(2).await;
    assert_eq!(state(&services, &one.id).await, LoginState::Pending, "a consent that belongs to no login");
    accept(&services, &second, 1).await.unwrap();
    assert_eq!(state(&services, &one.id).await, LoginState::Pending);
    accept(&services, &first, 0).await.unwrap();
    assert_eq!(state(&services, &one.id).await, LoginState::Granted(services.id(0)));
    assert_eq!(state(&services, &two.id).await, LoginState::Granted(services.id(1)));
}

#[tokio::test(start_paused = true)]
async fn a_decline_fails_the_login_of_its_ticket_only() {
    let services = TestServices::new(Settings::default());
    let login = services.consents.begin_login(None).unwrap();
    let begun = open(&services, &login.url);
    let another = services.consents.begin_login(None).unwrap();
    let other = open(&services, &another.url);
    let back = services.decide_at_webex(&begun.url, Consent::Decline);
    assert_eq!(back("error").expose(), "access_denied");
    for sealed in [None, Some("rubbish"), Some(&*other.sealed)] {
        services.consents.declined("access_denied", &back("state"), sealed);
    }
    services.consents.declined("server_error", &back("state"), Some(&begun.sealed));
    assert_eq!(state(&services, &another.id).await, LoginState::Pending, "its ticket, but not its state");
    assert_eq!(state(&services, &login.id).await, LoginState::Pending);
    services.consents.declined("access_denied", &back("state"), Some(&begun.sealed));
    assert!(failed(&state(&services, &login.id).await).contains("declined"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_fails_the_login_and_a_transient_failure_does_not() {
    let services = TestServices::new(Settings::default());
    let login = services.consents.begin_login(None).unwrap();
    let begun = open(&services, &login.url);
    let back = services.decide_at_webex(&begun.url, Consent::AcceptAs(0));
    let kind = FaultKind::Unavailable { status: 503, html: false };
    services.model().fault(Fault { on: Endpoint::AccessToken, person: None, times: Some(1), kind });
    let finish = || services.consents.finish(back("code"), back("state"), Some(&begun.sealed), None);
    assert!(matches!(finish().await, Err(ConsentError::Unreachable { .. })));
    assert_eq!(state(&services, &login.id).await, LoginState::Pending, "the page may be reloaded");
    let kind = FaultKind::Client401;
    services.model().fault(Fault { on: Endpoint::AccessToken, person: None, times: Some(1), kind });
    assert!(matches!(finish().await, Err(ConsentError::ClientRefused { .. })));
    assert!(failed(&state(&services, &login.id).await).contains("HTTP 401"));
    let calls = services.model().counters().calls.access_token;
    assert!(matches!(finish().await, Err(ConsentError::ClientRefused { .. })), "the result stays");
    assert_eq!(services.model().counters().calls.access_token, calls, "and Webex is not asked again");
}

#[tokio::test(start_paused = true)]
async fn webex_is_asked_about_one_code_three_times_at_most() {
    for kind in [
        FaultKind::Unavailable { status: 503, html: false },
        FaultKind::TooMany429 { retry_after: Some("7".to_owned()) },
        FaultKind::Locked423 { retry_after: None },
        FaultKind::ResetBefore,
    ] {
        let services = TestServices::new(Settings::default());
        let begun = services.consents.begin(None).unwrap();
        let back = services.decide_at_webex(&begun.url, Consent::AcceptAs(0));
        services.model().fault(Fault {
            on: Endpoint::AccessToken,
            person: None,
            times: None,
            kind: kind.clone(),
        });
        let finish = || services.consents.finish(back("code"), back("state"), Some(&begun.sealed), None);
        for last in [false, false, true] {
            let finished = finish().await;
            let given_up = matches!(finished, Err(ConsentError::GivenUp { .. }));
            assert_eq!(given_up, last, "{kind:?}: {finished:?}");
            sleep(60 * SECOND).await;
        }
        services.model().clear_faults();
        assert!(matches!(finish().await, Err(ConsentError::GivenUp { .. })), "{kind:?}");
        assert_eq!(services.model().counters().calls.access_token, 3, "{kind:?}");
        assert!(accept(&services, &services.consents.begin(None).unwrap(), 0).await.is_ok(), "{kind:?}");
    }
}

/// Until then no code is sent to Webex, and refreshes are not affected.
#[tokio::test(start_paused = true)]
async fn a_retry_after_at_an_exchange_delays_exchanges_only() {
    for (retry_after, seconds) in [(Some("90"), 90), (None, 30), (Some("0"), 1), (Some("9999999"), 6 * 3600)]
    {
        let retry_after = retry_after.map(str::to_owned);
        let wait = Duration::from_secs(seconds);
        asked_to_wait(FaultKind::TooMany429 { retry_after: retry_after.clone() }, wait).await;
        locked(FaultKind::Locked423 { retry_after }).await;
    }
}

/// A locked account delays no other person's consent.
async fn locked(kind: FaultKind) {
    let services = TestServices::new(Settings::default());
    services.model().fault(Fault { on: Endpoint::AccessToken, person: None, times: Some(1), kind });
    let told = accept(&services, &services.consents.begin(None).unwrap(), 0).await;
    assert!(matches!(&told, Err(ConsentError::Unreachable { .. })), "{told:?}");
    accept(&services, &services.consents.begin(None).unwrap(), 1).await.unwrap();
}

async fn asked_to_wait(kind: FaultKind, expected: Duration) {
    let mut services = TestServices::new(Settings::default());
    services.start(false).await;
    services.consent(1).await;
    services.model().fault(Fault { on: Endpoint::AccessToken, person: None, times: Some(1), kind });
    let told = accept(&services, &services.consents.begin(None).unwrap(), 0).await;
    assert!(matches!(&told, Err(ConsentError::Busy { wait, .. }) if *wait == expected), "{told:?}");
    let calls = services.model().counters().calls.access_token;
    // A `Retry-After` for one person delays others for a minute at most.
    sleep(expected.min(60 * SECOND) - SECOND / 10).await;
    let another = accept(&services, &services.consents.begin(None).unwrap(), 2).await;
    assert!(matches!(another, Err(ConsentError::Busy { .. })), "{another:?}");
    assert_eq!(services.model().counters().calls.access_token, calls);
    let refreshed = services.refresher.clone().unwrap().refresh_now(&services.id(1), true).await;
    assert!(refreshed.is_ok(), "a refresh waits for exchanges: {refreshed:?}");
    sleep(SECOND).await;
    accept(&services, &services.consents.begin(None).unwrap(), 0).await.unwrap();
    services.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_waiting_client_learns_that_the_person_is_not_allowed() {
    let services = TestServices::new(Settings::default()).for_persons("@example.org,grace@example.com");
    let login = services.consents.begin_login(None).unwrap();
    let refused = accept(&services, &open(&services, &login.url), 0).await;
    assert!(matches!(refused, Err(ConsentError::NotAllowed(_))), "{refused:?}");
    let state = state(&services, &login.id).await;
    assert!(failed(&state).contains("ada@example.com may not consent here"), "{state:?}");
    assert!(services.context.store.find(services.id(0)).await.unwrap().is_none());
    let login = services.consents.begin_login(None).unwrap();
    accept(&services, &open(&services, &login.url), 1).await.unwrap();
}
