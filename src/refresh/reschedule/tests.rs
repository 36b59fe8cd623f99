//! What a start does to one grant.

use super::*;
use crate::refresh::sample_grants::*;

#[test]
fn changed_settings_replan_grants_without_failures() {
    let other = Policy { max_age: 5 * DAY, ..POLICY };
    let mut grant = consented(NOW - HOUR);
    assert!(!replan(&mut grant, &POLICY, NOW), "the same settings");
    assert!(replan(&mut grant, &other, NOW));
    assert_eq!(grant.next, other.plan(&grant.dates(), NOW));
    let mut failing = consented(NOW - HOUR);
    failing.failures = 1;
    for grant in [failing, dead(NOW - HOUR, 0)] {
        let mut replanned = grant.clone();
        assert!(!replan(&mut replanned, &other, NOW));
        assert_eq!(replanned, grant);
    }
}

#[test]
fn a_refresh_at_the_start_makes_all_grants_due_that_were_not_refreshed_since() {
    let start = StartOptions { at: NOW, refresh_all: true };
    for (last, now, is_due) in [
        (NOW - HOUR, NOW, true),
        // Written by a clock that was ahead.
        (NOW + HOUR, NOW, true),
        (NOW - HOUR, NOW + MINUTE, true),
        (NOW, NOW + MINUTE, true),
        (NOW + MINUTE / 2, NOW + MINUTE, false),
    ] {
        let mut grant = consented(NOW - HOUR);
        grant.last.at = last;
        let before = grant.next;
        assert_eq!(due(&mut grant, start, now), is_due, "{last}, {now}");
        assert_eq!(grant.next, if is_due { Schedule::at(now) } else { before });
    }
}
