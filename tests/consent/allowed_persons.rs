//! The list of persons who may consent.

use webex_sim::Person;
use webex_sim::Settings;

use super::GRANTED;
use super::page;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::start_sim;
use crate::support::start_sim_with;

const NOT_FOR_YOU: &str = "This service is not for your account";

#[tokio::test]
async fn a_person_who_is_not_allowed_sees_an_error_page_and_no_grant_is_stored() {
    let sim = start_sim().await;
    let organization = sim.with(|webex| webex.settings().people[0].org_uuid.clone());
    for (allow, allowed) in [
        ("ada@example.com", true),
        ("grace@example.com, Ada@Example.com", true),
        ("@example.com", true),
        (organization.as_str(), true),
        ("grace@example.com,@sub.example.com,11111111-2222-3333-4444-555555555555", false),
    ] {
        let mut daemon = Daemon::start(&sim, &[("TOKEND_ALLOW", allow)]).await;
        let visitor = BrowserClient::new();
        let back = visitor.come_back(&daemon, 0).await;
        let (status, heading) = if allowed { (200, GRANTED) } else { (403, NOT_FOR_YOU) };
        for _ in 0..2 {
            let answered = visitor.get(back.clone()).await;
            page(&answered, status, heading);
            assert!(answered.says(r#"id="revoke""#), "{}", answered.body);
            assert!(!answered.says("grace") && !answered.says("sub.example"), "{}", answered.body);
        }
        assert_eq!(daemon.stored_grants().len(), usize::from(allowed), "{allow}");
        daemon.terminate().await;
        let told = daemon.final_log().await;
        let told: Vec<_> =
            told.iter().filter(|line| line.contains("TOKEND_ALLOW does not list this person")).collect();
        assert_eq!(told.len(), usize::from(!allowed), "{told:?}");
        assert!(
            told.iter().all(|line| line.contains(" WARN ") && line.contains("ada@example.com:")),
            "{told:?}"
        );
    }
}

/// A person who is not allowed may try again and again.
#[tokio::test]
async fn refusals_do_not_flood_the_log_and_each_address_is_logged() {
    let settings = Settings { people: Person::some(14), ..Settings::default() };
    let sim = start_sim_with(settings).await;
    let mut daemon = Daemon::start(&sim, &[("TOKEND_ALLOW", "@example.net")]).await;
    for _ in 0..5 {
        page(&BrowserClient::new().consent(&daemon, 0).await, 403, NOT_FOR_YOU);
    }
    for person in 1..14 {
        page(&BrowserClient::new().consent(&daemon, person).await, 403, NOT_FOR_YOU);
    }
    daemon.terminate().await;
    let told = daemon.final_log().await;
    let told: Vec<_> = told.iter().filter(|line| line.contains("does not list this person")).collect();
    let named = |person: usize| sim.with(|webex| webex.settings().people[person].email.clone());
    for person in 0..5 {
        let lines = told.iter().filter(|line| line.contains(&format!(" {}: ", named(person)))).count();
        assert_eq!(lines, 1, "{person}: {told:?}");
    }
    assert!((10..=12).contains(&told.len()), "{told:?}");
    assert!(told[1].contains("; 4 more since the last such line"), "{told:?}");
}

/// The person was allowed earlier, and is no longer: the stored grant stays, and a new consent changes nothing.
#[tokio::test]
async fn a_narrower_allow_list_leaves_stored_grants_alone() {
    let sim = start_sim().await;
    let mut daemon = Daemon::start(&sim, &[]).await;
    page(&BrowserClient::new().consent(&daemon, 0).await, 200, GRANTED);
    let kept = daemon.stored_grants();
    daemon.restart(&[("TOKEND_ALLOW", "grace@example.com")]).await;
    page(&BrowserClient::new().consent(&daemon, 0).await, 403, NOT_FOR_YOU);
    assert_eq!(daemon.stored_grants(), kept);
}

#[tokio::test]
async fn a_public_daemon_warns_at_start_that_every_person_may_consent() {
    let sim = start_sim().await;
    let (line, open) = ("every person with a Webex account may consent", "https://tokens.example.com/oauth");
    let bind = ("TOKEND_BIND", "127.0.0.1");
    for (settings, told) in [
        (vec![("MY_APP_REDIRECT_URI", open), bind], true),
        (vec![("MY_APP_REDIRECT_URI", open), bind, ("TOKEND_ALLOW", "@example.com")], false),
        (vec![("TOKEND_BIND", "0.0.0.0")], true),
        (vec![("TOKEND_BIND", "0.0.0.0"), ("TOKEND_ALLOW", "@example.com")], false),
        (vec![("TOKEND_BIND", "127.0.0.1")], false),
        (vec![], false),
    ] {
        let daemon = Daemon::start_without_health_check(&sim, &settings).await;
        let lines = daemon.log();
        let found = lines.iter().find(|text| text.contains(line));
        assert_eq!(found.is_some(), told, "{settings:?}: {lines:?}");
        assert!(
            found.is_none_or(|text| text.contains(" WARN ") && text.contains("TOKEND_ALLOW")),
            "{found:?}"
        );
    }
}
