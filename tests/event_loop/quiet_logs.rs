//! What concerns many persons at once is logged as a number, and what takes long as a progress.

use std::time::Duration;

use log::Level;
use tokio::time::sleep;
use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::model::DeadText;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::schedule::Policy;

use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::faulty_store::FaultyStore;
use crate::support::faulty_store::StoreFault;
use crate::support::intercept_store::StoreOp;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::TestServices;

#[tokio::test(start_paused = true)]
async fn a_mass_refusal_names_a_few_persons_and_counts_the_others() {
    let settings = Settings { people: Person::some(500), ..Settings::default() };
    let mut services = TestServices::with_policy(settings, POLICY, RATE_LIMITS);
    services.consent_all(500).await;
    services.start(false).await;
    services.model().fault(Fault {
        on: Endpoint::AccessToken,
        person: None,
        times: None,
        kind: FaultKind::Status400Dead(DeadText::RefreshToken),
    });
    capture_thread_logs();
    sleep(20 * DAY).await;
    let needed = services.context.store.totals().await.unwrap().consent_needed;
    assert_eq!(needed, 500, "Webex ends all grants");
    let errors: Vec<String> = captured_logs()
        .into_iter()
        .filter(|(level, _)| *level == Level::Error)
        .map(|(_, line)| line)
        .collect();
    let named = errors.iter().filter(|line| line.contains("consent needed at")).count();
    let counted = errors.iter().filter_map(|line| line.split_once(" more person"));
    let others: usize = counted.map(|(number, _)| number.parse::<usize>().unwrap()).sum();
    assert_eq!(named + others, 500, "{errors:#?}");
    assert!(errors.len() <= 80, "{} lines", errors.len());
}

/// Grants of persons, and a store that takes a second for each step of a change to all of them.
async fn slow_store(persons: usize) -> TestServices {
    let store = FaultyStore::new();
    let settings = Settings { people: Person::some(persons), ..Settings::default() };
    let services = TestServices::with_store(store.clone(), settings, POLICY, RATE_LIMITS);
    services.consent_all(persons).await;
    store.script(|op, _| match op {
        StoreOp::Revise => StoreFault::DelayCall(Duration::from_secs(2)),
        _ => StoreFault::None,
    });
    services
}

fn told(what: &str) -> Vec<String> {
    let lines = captured_logs().into_iter().map(|(_, line)| line);
    lines.filter(|line| line.starts_with(what)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_refresh_at_the_start_that_takes_long_to_prepare_logs_its_progress() {
    let mut services = slow_store(3000).await;
    services.start(false).await;
    services.stop().await;
    sleep(HOUR).await;
    capture_thread_logs();
    services.start(true).await;
    assert_eq!(
        told("every person becomes due"),
        [
            "every person becomes due: 1500 of 3000 persons so far",
            "every person becomes due: 3000 of 3000 persons so far",
            "every person becomes due: done after 14 seconds",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn changed_settings_that_take_long_to_apply_log_their_progress() {
    let mut services = slow_store(3000).await;
    services.context.policy = Policy { max_age: 2 * DAY, ..POLICY };
    capture_thread_logs();
    services.start(false).await;
    let lines = told("next refreshes follow the changed settings");
    assert_eq!(lines.len(), 3, "{lines:#?}");
}
