//! The browser returns with a code, or with an error of Webex.

use webex_sim::Person;
use webex_sim::Settings;

use super::CLIENT_REFUSED;
use super::GRANTED;
use super::page;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::REFRESH_EVERY_SECOND;
use crate::support::counters;
use crate::support::eventually;
use crate::support::start_sim;
use crate::support::start_sim_with;

#[tokio::test]
async fn a_consent_is_stored_and_confirmed() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let answered = visitor.consent(&daemon, 0).await;
    page(&answered, 200, GRANTED);
    assert!(answered.says("Ada Lovelace") && answered.says("<code>spark:kms</code>"), "{}", answered.body);
    let kept = daemon.stored_grants();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].email, "ada@example.com");
    assert_eq!(counters(&sim).calls.people_me, 1);
    let line = daemon.wait_for_line("ada@example.com: consent stored person=").await;
    for pair in [" outcome=new ", " expires_at=20", " token_hash=", " tracking_id="] {
        assert!(line.contains(pair), "{pair}: {line}");
    }
}

#[tokio::test]
async fn several_people_are_stored_and_refreshed() {
    let sim =
        start_sim_with(Settings { noop_window: std::time::Duration::ZERO, ..Settings::default() }).await;
    let daemon = Daemon::start(&sim, &REFRESH_EVERY_SECOND).await;
    let one_after_another = BrowserClient::new();
    for (index, name) in [(0, "Ada Lovelace"), (1, "Grace Hopper"), (2, "Katherine Johnson")] {
        let answered = one_after_another.consent(&daemon, index).await;
        page(&answered, 200, GRANTED);
        assert!(answered.says(name), "{}", answered.body);
    }
    daemon.wait_until_stored(&["ada", "grace", "katherine"]).await;
    let refreshed = || counters(&sim).people.iter().filter(|person| person.refreshes.renewed > 1).count();
    eventually("all three are refreshed twice", || refreshed() == 3).await;
}

#[tokio::test]
async fn the_newest_consent_of_a_person_wins() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    page(&visitor.consent(&daemon, 0).await, 200, GRANTED);
    let first = daemon.stored_grants();
    page(&visitor.consent(&daemon, 0).await, 200, GRANTED);
    daemon.wait_for_line("consent stored, it replaces the older grant").await;
    let second = daemon.stored_grants();
    assert_eq!((first.len(), second.len()), (1, 1));
    assert!(second[0].obtained_at > first[0].obtained_at && second[0].access_token != first[0].access_token);
}

#[tokio::test]
async fn a_name_is_escaped_on_pages() {
    let people = vec![
        Person::new("<b>Eve</b> & \"Co\" <script>alert(1)</script>", "eve@example.com"),
        Person::new("", "noname@example.com"),
    ];
    let sim = start_sim_with(Settings { people, ..Settings::default() }).await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let eve = visitor.consent(&daemon, 0).await;
    page(&eve, 200, GRANTED);
    assert!(!eve.says("<b>") && eve.says("Eve"), "{}", eve.body);
    let nameless = visitor.consent(&daemon, 1).await;
    page(&nameless, 200, GRANTED);
    assert!(nameless.says("noname@example.com"), "{}", nameless.body);
}

#[tokio::test]
async fn two_consents_at_once_in_one_browser_both_succeed() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let (one, two) = (visitor.begin(&daemon).await, visitor.begin(&daemon).await);
    let (grace, ada) = (visitor.accept(&two, 1).await, visitor.accept(&one, 0).await);
    let (grace, ada) = tokio::join!(visitor.get(grace), visitor.get(ada));
    page(&grace, 200, GRANTED);
    page(&ada, 200, GRANTED);
    assert!(grace.says("Grace Hopper") && ada.says("Ada Lovelace"));
    daemon.wait_until_stored(&["ada", "grace"]).await;
}

#[tokio::test]
async fn a_declined_consent_has_its_own_page_and_changes_nothing() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    page(&visitor.consent(&daemon, 0).await, 200, GRANTED);
    let before = daemon.stored_grants();
    let begun = visitor.begin(&daemon).await;
    let back = visitor.decline(&begun).await;
    let answered = visitor.get(back).await;
    page(&answered, 403, "You did not consent");
    assert!(answered.says(r#"id="start" href="/oauth""#), "{}", answered.body);
    assert_eq!(daemon.stored_grants(), before);
    page(&visitor.consent(&daemon, 0).await, 200, GRANTED);
}

#[tokio::test]
async fn each_error_of_webex_has_its_page_and_webexs_text_is_not_shown() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let state = visitor.begin(&daemon).await.query["state"].clone();
    for (error, status, heading) in [
        ("access_denied", 403, "You did not consent"),
        ("invalid_scope", 400, "Webex does not accept the requested scopes"),
        ("unauthorized_client", 400, CLIENT_REFUSED),
        ("invalid_client", 400, CLIENT_REFUSED),
        ("server_error", 502, "Webex has a problem"),
        ("temporarily_unavailable", 400, "Webex ended the consent"),
        ("%3Cscript%3Ealert(1)%3C/script%3E", 400, "Webex ended the consent"),
        ("", 400, "Webex ended the consent"),
    ] {
        let url = format!("/oauth?error={error}&error_description=Call+0900-EVIL&state={state}&code=nocode");
        let answered = visitor.get(daemon.url(&url)).await;
        page(&answered, status, heading);
        assert!(!answered.says("EVIL") && !answered.says("alert"), "{}", answered.body);
        assert!(!answered.says("MY_APP_"), "settings are shown to the operator only: {}", answered.body);
    }
    assert_eq!(counters(&sim).calls.access_token, 0, "a callback with an error exchanges no code");
    assert!(daemon.stored_grants().is_empty());
}
