//! The `Retry-After` header.

use std::time::Duration;

use webex_tokend::domain::breaker::Breaker;
use webex_tokend::domain::breaker::Role;
use webex_tokend::domain::breaker::SentRefresh;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::domain::schedule::RETRY_AFTER_CAP;
use webex_tokend::domain::schedule::TokenTimes;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::domain::verdict::Verdict;
use webex_tokend::webex::wire::retry_after;

use super::harness::DAY;
use super::harness::NOW;

/// Whatever the header says, no wait is longer than the cap (and the jitter), and none is so short that Webex is
/// hammered.
pub(super) fn holds(data: &[u8]) -> String {
    let text = String::from_utf8_lossy(data);
    let read = retry_after(&text, NOW);
    if let Some(span) = read {
        assert_eq!(retry_after(&span.as_secs().to_string(), NOW), Some(Duration::from_secs(span.as_secs())));
    }
    let who = PersonId::parse("ada").unwrap();
    let mut breaker = Breaker::default();
    let sent = SentRefresh {
        person: who.clone(),
        role: Role::Ordinary,
        on_demand: false,
        previous: Outcome::Renewed,
        previous_at: NOW,
        refused_since: None,
        ended: false,
        token_dead: false,
        confirm_after: Duration::from_secs(600),
        only_person: true,
    };
    breaker.record(Verdict::Busy(String::new()), &sent, read, NOW);
    let pause = breaker.pause().unwrap().until.since(NOW);
    assert!(pause >= Duration::from_secs(1) && pause <= RETRY_AFTER_CAP, "all refreshes pause for {pause:?}");
    for (failures, life) in [(1, DAY * 14), (1, Duration::ZERO), (11, DAY * 14), (u32::MAX, DAY)] {
        let dates = TokenTimes { renewed_at: NOW, answered_at: NOW, expires_at: NOW + life };
        let next = Policy::after_failure(&dates, failures, read, &who, NOW).due_at.since(NOW);
        let wish = read.unwrap_or_default().min(RETRY_AFTER_CAP);
        assert!(
            next >= wish.max(Duration::from_secs(60)),
            "Retry-After {wish:?}, but the person's wait is {next:?}"
        );
        assert!(next <= RETRY_AFTER_CAP + RETRY_AFTER_CAP / 5, "the person's wait is {next:?}");
    }
    read.map_or_else(|| "no wish".to_owned(), |wish| format!("{} s", wish.as_secs()))
}
