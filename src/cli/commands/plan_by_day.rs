//! Sums of a forecast by day.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api_types::Planned;
use crate::cli::format;
use crate::domain::time::DAY;

/// What is planned for all persons together, by day in UTC.
#[derive(Debug, Default)]
pub(super) struct PlanByDay(BTreeMap<i64, (u64, u64)>);

/// What is planned for one day.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct PlannedDay {
    /// The date in UTC.
    pub(super) day: String,
    /// The estimated number of refreshes.
    pub(super) refreshes: u64,
    /// The number of persons who must consent again by the end of this day.
    pub(super) consents: u64,
}

impl PlanByDay {
    /// Adds what is planned for a person. What should have happened before `now`, in Unix seconds, counts for today.
    pub(super) fn add(&mut self, planned: &Planned, now: i64) {
        let day_of = |at: i64| at.max(now).div_euclid(SECONDS);
        if let Some(by) = planned.consent_by.as_deref().and_then(format::seconds) {
            self.0.entry(day_of(by)).or_default().1 += 1;
        }
        let Some(first) = planned.next_refresh_at.as_deref().and_then(format::seconds) else { return };
        let mut left = i64::from(planned.refreshes);
        // A daemon of an earlier version does not report the interval. Then all refreshes count for the day of the first one.
        let interval = planned.interval_seconds.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0);
        let mut at = first.max(now);
        while left > 0 {
            let day = day_of(at);
            let until_midnight = (day + 1) * SECONDS - at;
            let fitting = if interval > 0 { (until_midnight - 1) / interval + 1 } else { left };
            let refreshes = fitting.min(left);
            self.0.entry(day).or_default().0 += u64::try_from(refreshes).unwrap_or(0);
            left -= refreshes;
            at = at.saturating_add(interval.saturating_mul(refreshes));
        }
    }

    /// The days for which something is planned, in order.
    pub(super) fn days(&self) -> Vec<PlannedDay> {
        let date =
            |day: i64| jiff::Timestamp::from_second(day * SECONDS).map(|at| at.strftime("%F").to_string());
        let row = |(day, (refreshes, consents)): (&i64, &(u64, u64))| PlannedDay {
            day: date(*day).unwrap_or_default(),
            refreshes: *refreshes,
            consents: *consents,
        };
        self.0.iter().map(row).collect()
    }
}

/// Seconds of a day.
const SECONDS: i64 = DAY.as_secs().cast_signed();

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-27T22:00:00Z.
    const NOW: i64 = 1_795_816_800;

    fn planned(first: &str, refreshes: u32, interval: u64, consent_by: Option<&str>) -> Planned {
        Planned {
            person_id: "p".to_owned(),
            email: None,
            state: "fresh".to_owned(),
            next_refresh_at: Some(first.to_owned()),
            refreshes,
            interval_seconds: Some(interval),
            consent_by: consent_by.map(str::to_owned),
        }
    }

    fn summed(all: &[Planned]) -> Vec<(String, u64, u64)> {
        let mut sums = PlanByDay::default();
        all.iter().for_each(|planned| sums.add(planned, NOW));
        sums.days().into_iter().map(|day| (day.day, day.refreshes, day.consents)).collect()
    }

    #[test]
    fn refreshes_are_spread_over_days_by_their_interval() {
        let (hour, day) = (3600, 86_400);
        let daily = planned("2026-11-28T01:00:00Z", 3, day + hour, Some("2026-11-30T00:00:00Z"));
        let hourly = planned("2026-11-27T22:30:00Z", 27, hour, None);
        let row = |day: &str, refreshes, consents| (day.to_owned(), refreshes, consents);
        assert_eq!(
            summed(&[daily, hourly]),
            [
                row("2026-11-27", 2, 0),
                row("2026-11-28", 25, 0),
                row("2026-11-29", 2, 0),
                row("2026-11-30", 1, 1)
            ]
        );
    }

    #[test]
    fn what_is_overdue_counts_for_today() {
        let overdue = planned("2026-11-20T00:00:00Z", 1, 0, Some("2026-11-21T00:00:00Z"));
        assert_eq!(summed(&[overdue]), [("2026-11-27".to_owned(), 1, 1)]);
    }

    #[test]
    fn without_an_interval_all_refreshes_count_for_the_first_day() {
        let old = Planned { interval_seconds: None, ..planned("2026-11-28T00:00:00Z", 9, 0, None) };
        assert_eq!(summed(&[old]), [("2026-11-28".to_owned(), 9, 0)]);
    }
}
