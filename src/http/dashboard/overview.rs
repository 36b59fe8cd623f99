//! What stands above the table: how many are how, whether refreshes run, what was and what is planned.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::domain::grant::State;
use crate::domain::time::UnixTime;
use crate::http::dashboard::Dashboard;
use crate::http::dashboard::plot;
use crate::http::dashboard::plot::Column;
use crate::http::dashboard::plot::Hour;
use crate::http::dashboard::query::Query;
use crate::http::dashboard::row::Chip;
use crate::http::dashboard::row::Moment;
use crate::http::refusal::Refusal;
use crate::tokens::Count;
use crate::tokens::Counts;
use crate::tokens::Day;

/// Days ahead that are shown.
pub(super) const DAYS: u32 = 90;

/// A calendar is good for so long: at a million people it takes a moment to count.
const FRESH: Duration = Duration::from_secs(60);

/// The calendar, counted at most once a minute, by one at a time.
pub(super) struct Calendar {
    turn: Semaphore,
    known: Mutex<Option<(UnixTime, Arc<Vec<Day>>)>>,
}

impl Default for Calendar {
    fn default() -> Self {
        Self { turn: Semaphore::new(1), known: Mutex::default() }
    }
}

/// See the module.
pub(super) struct Overview {
    pub(super) people: String,
    pub(super) nobody: bool,
    pub(super) tiles: Vec<Tile>,
    /// Why refreshes pause, and until when.
    pub(super) pause: Option<(String, Moment)>,
    /// No refresh at all in the hours that the history shows.
    pub(super) is_quiet: bool,
    pub(super) columns: Vec<Column>,
    pub(super) sum: Sum,
}

/// All hours together.
pub(super) struct Sum {
    pub(super) renewed: String,
    pub(super) unchanged: String,
    pub(super) failed: String,
}

/// How many are in one state.
pub(super) struct Tile {
    pub(super) state: State,
    pub(super) chip: Chip,
    pub(super) count: String,
    /// Where they are listed.
    pub(super) link: String,
}

impl Dashboard {
    pub(super) async fn overview(&self, home: &str, now: UnixTime) -> Result<Overview, Refusal> {
        let (parts, day) = (self.api.parts(), Duration::from_secs(23 * 3600));
        let counts = parts.view.counts(now).await.map_err(|why| Refusal::store(&why))?;
        let past = parts.view.history(now - day).await.map_err(|why| Refusal::store(&why))?;
        let hours = plot::hours(&past, now);
        let sum = |part: fn(&Hour) -> u64| thousands(hours.iter().map(part).sum());
        let sum = Sum {
            renewed: sum(|hour| hour.renewed),
            unchanged: sum(|hour| hour.unchanged),
            failed: sum(|hour| hour.failed),
        };
        let pause = parts.refresher.pause();
        Ok(Overview {
            people: thousands(counts.people),
            nobody: counts.people == 0,
            tiles: tiles(home, &counts),
            pause: pause.map(|pause| (pause.cause.to_string(), Moment::of(pause.until, now))),
            is_quiet: hours.iter().all(|hour| hour.all() == 0),
            columns: plot::columns(&hours, now),
            sum,
        })
    }

    /// What is planned for the next days, as it was known within the last minute.
    pub(super) async fn calendar(&self, now: UnixTime) -> Result<Arc<Vec<Day>>, Refusal> {
        // Never closed.
        let _turn = self.calendar.turn.acquire().await;
        let known = self.calendar.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, days)) = known
            && at <= now
            && now.since(at) < FRESH
        {
            return Ok(days);
        }
        let days = self.api.parts().view.calendar(now, DAYS).await.map_err(|why| Refusal::store(&why))?;
        let days = Arc::new(days);
        *self.calendar.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, days.clone()));
        Ok(days)
    }
}

/// One for each state, with links below `home`.
fn tiles(home: &str, counts: &Counts) -> Vec<Tile> {
    let of = |(state, count): (State, Count)| Tile {
        state,
        chip: Chip::of(state),
        count: written(count),
        link: format!("{home}{}", Query::in_state(state).written()),
    };
    let all = [
        (State::Fresh, counts.fresh),
        (State::Due, counts.due),
        (State::Retrying, counts.retrying),
        (State::ConsentNeeded, counts.consent_needed),
    ];
    all.into_iter().map(of).collect()
}

fn written(count: Count) -> String {
    format!("{}{}", thousands(count.people), if count.or_more { "+" } else { "" })
}

/// `1,234,567`
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut written = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_parted_by_thousands() {
        let table = [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")];
        for (number, said) in table {
            assert_eq!(thousands(number), said);
        }
        assert_eq!(written(Count { people: 10_000, or_more: true }), "10,000+");
    }
}
