//! A backlog after an outage: the log, the status and the place of each person say how many wait, and for how long.

use log::Level;
use tokio::time::sleep;
use webex_sim::Person;
use webex_sim::Settings;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::refresh::RateLimits;

use super::after_an_outage;
use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::faulty_store::FaultyStore;
use crate::support::faulty_store::StoreFault;
use crate::support::intercept_store::StoreOp;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::TestServices;

/// For a loop that refreshes two persons a second.
const TWO_A_SECOND: RateLimits = RateLimits { per_second: 2.0, ..RATE_LIMITS };

/// The lines about a backlog.
fn told() -> Vec<(Level, String)> {
    captured_logs().into_iter().filter(|(_, line)| line.contains("refreshes are due")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_count_that_hangs_delays_refreshes_by_seconds() {
    let store = FaultyStore::new();
    let settings = Settings { people: Person::some(5), ..Settings::default() };
    let mut services = TestServices::with_store(store.clone(), settings, POLICY, RATE_LIMITS);
    services.consent_all(5).await;
    sleep(2 * DAY).await;
    store.script(|op, _| match op {
        StoreOp::Backlog => StoreFault::DelayReply(HOUR),
        _ => StoreFault::None,
    });
    services.start(false).await;
    sleep(10 * SECOND).await;
    for person in 0..5 {
        assert_eq!(services.starts(person).len(), 1, "person {person}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_logged_at_once_and_every_ten_minutes_with_its_end() {
    capture_thread_logs();
    let mut services = after_an_outage(3000, TWO_A_SECOND).await;
    services.start(false).await;
    let began = services.now();
    sleep(SECOND).await;
    let first = told();
    let (level, line) = &first[0];
    let end = UnixTime::from_seconds((began + 1500 * SECOND).seconds());
    assert_eq!(*level, Level::Warn);
    let says = "3000 refreshes are due, 3000 of them for persons whose access token has expired; at 2 a second, \
                the last one is sent at about";
    assert!(line.contains(says) && line.contains(&end.to_string()), "{line}");
    sleep(HOUR).await;
    let all = told();
    assert_eq!(all.len(), 2, "after 10 and 20 minutes: {all:#?}");
    // Claimed grants no longer wait.
    let left =
        |(_, line): &(Level, String)| line.split(' ').find_map(|word| word.parse::<u32>().ok()).unwrap();
    assert!((1775..=1800).contains(&left(&all[0])) && (575..=600).contains(&left(&all[1])), "{all:#?}");
    for person in [0, 1500, 2999] {
        assert!(services.is_live(person).await);
    }
}

#[tokio::test(start_paused = true)]
async fn due_refreshes_that_take_less_than_a_minute_are_no_backlog() {
    capture_thread_logs();
    let mut services = after_an_outage(100, TWO_A_SECOND).await;
    services.start(false).await;
    sleep(SECOND).await;
    assert_eq!(services.refresher.as_ref().unwrap().backlog(), None);
    sleep(10 * MINUTE).await;
    assert_eq!(told(), []);
}

#[tokio::test(start_paused = true)]
async fn the_backlog_shrinks_with_every_refresh_and_each_person_has_a_place() {
    let mut services = after_an_outage(1000, TWO_A_SECOND).await;
    services.start(false).await;
    let refresher = services.refresher.clone().unwrap();
    sleep(100 * SECOND).await;
    let backlog = refresher.backlog().unwrap();
    assert!((795..=801).contains(&backlog.due) && backlog.expired == backlog.due, "{backlog:?}");
    let left = backlog.until.unwrap().since(services.now());
    assert!((395 * SECOND..=402 * SECOND).contains(&left), "{left:?}");
    let late = refresher.queue_place(&services.grant(999).await).await.unwrap().unwrap();
    assert!((700..=801).contains(&late.ahead), "{late:?}");
    assert!(late.at.unwrap().since(services.now()) >= 350 * SECOND, "{late:?}");
    let renewed = refresher.queue_place(&services.grant(0).await).await.unwrap();
    assert_eq!(renewed, None, "a renewed grant does not wait");
    sleep(HOUR).await;
    assert_eq!(refresher.backlog(), None, "all refreshes were sent");
    assert_eq!(refresher.queue_place(&services.grant(999).await).await.unwrap(), None);
}
