//! Grants that lack a requested scope.

use log::Level;
use webex_sim::Person;
use webex_sim::Settings;

use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::virtual_time::TestServices;

fn told() -> Vec<String> {
    let lines = captured_logs().into_iter();
    let lines = lines.filter(|(level, text)| *level == Level::Warn && text.contains("MY_APP_SCOPES"));
    lines.map(|(_, text)| text).collect()
}

#[tokio::test(start_paused = true)]
async fn one_log_line_counts_the_grants_that_lack_scopes() {
    capture_thread_logs();
    let services = TestServices::new(Settings { people: Person::some(3), ..Settings::default() });
    services.consent_all(3).await;
    services.consents.tell_missing_scopes().await.unwrap();
    assert!(told().is_empty(), "each has all of them");
    for person in 0..2 {
        let mut grant = services.grant(person).await;
        grant.tokens.scope = Some("spark:kms".to_owned());
        services.context.store.save_consent(grant).await.unwrap();
    }
    services.consents.tell_missing_scopes().await.unwrap();
    let [line] = &told()[..] else { panic!("{:?}", told()) };
    assert!(line.starts_with("2 of 3 grants lack a scope of MY_APP_SCOPES (spark:all)"), "{line}");
}
