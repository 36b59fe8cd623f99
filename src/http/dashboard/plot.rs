//! Plots: bars in SVG, made here. Everything is placed by attributes, since pages allow no style inside them.

use std::fmt::Write;

use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;
use crate::http::dashboard::overview::thousands;
use crate::tokens::Day;
use crate::tokens::Past;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Hours that the history shows.
pub(super) const HOURS: usize = 24;

/// How wide a day is drawn, with the gap beside it.
const WIDE: usize = 5;

/// The height of a plot's field.
const HEIGHT: u64 = 100;

/// One hour: how many went well, were not needed, failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hour {
    pub(super) renewed: u64,
    pub(super) unchanged: u64,
    pub(super) failed: u64,
}

/// A bar of the history: where its parts stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) x: usize,
    /// Class, y, height.
    pub(super) parts: Vec<(&'static str, u64, u64)>,
    pub(super) words: String,
}

/// The last 24 hours, oldest first, the hour under way last.
pub(super) fn hours(past: &[Past], now: UnixTime) -> [Hour; HOURS] {
    let mut hours = [Hour::default(); HOURS];
    let latest = now.0.div_euclid(HOUR);
    for found in past {
        let back = usize::try_from(latest.saturating_sub(found.hour.0.div_euclid(HOUR))).ok();
        let at = back.and_then(|back| HOURS.checked_sub(back + 1));
        let Some(hour) = at.and_then(|at| hours.get_mut(at)) else { continue };
        let part = match found.outcome {
            Outcome::Renewed => &mut hour.renewed,
            Outcome::Unchanged => &mut hour.unchanged,
            _ => &mut hour.failed,
        };
        *part = part.saturating_add(found.refreshes);
    }
    hours
}

/// The history's bars, ten wide each.
pub(super) fn columns(hours: &[Hour; HOURS], now: UnixTime) -> Vec<Column> {
    let most = hours.iter().map(Hour::all).max().unwrap_or(0).max(1);
    let first = now.0.div_euclid(HOUR).saturating_sub(i64::try_from(HOURS).unwrap_or(24) - 1);
    let column = |(at, hour): (usize, &Hour)| {
        let began = UnixTime((first + i64::try_from(at).unwrap_or(0)).saturating_mul(HOUR)).to_string();
        let mut top = HEIGHT;
        let mut parts = Vec::new();
        for (class, count) in
            [("renewed", hour.renewed), ("unchanged", hour.unchanged), ("failed", hour.failed)]
        {
            let height = share(count, most).min(top);
            top -= height;
            if height > 0 {
                parts.push((class, top, height));
            }
        }
        let words = format!(
            "The hour from {} UTC: {} renewed, {} unchanged, {} failed",
            began.get(11..16).unwrap_or_default(),
            thousands(hour.renewed),
            thousands(hour.unchanged),
            thousands(hour.failed)
        );
        Column { x: at * 10, parts, words }
    };
    hours.iter().enumerate().map(column).collect()
}

impl Hour {
    pub(super) fn all(&self) -> u64 {
        self.renewed.saturating_add(self.unchanged).saturating_add(self.failed)
    }
}

/// A height for `count` of `most`; never nothing for something.
fn share(count: u64, most: u64) -> u64 {
    let share = u128::from(count) * u128::from(HEIGHT) / u128::from(most.max(1));
    u64::try_from(share).unwrap_or(HEIGHT).max(u64::from(count > 0) * 2).min(HEIGHT)
}

/// Colours of a picture, which takes none from the page that shows it.
struct Colours {
    ink: &'static str,
    line: &'static str,
    refreshes: &'static str,
    consents: &'static str,
}

const LIGHT: Colours = Colours { ink: "#4c5865", line: "#74808c", refreshes: "#075f7e", consents: "#a1212b" };
const DARK: Colours = Colours { ink: "#aab5bf", line: "#7f8c98", refreshes: "#6fc7e6", consents: "#ff9f9a" };

/// The days ahead: above the line who is refreshed next, below it whose refresh token ends.
pub(super) fn plan(days: &[Day], now: UnixTime, dark: bool) -> String {
    let colours = if dark { DARK } else { LIGHT };
    let refreshes = days.iter().map(|day| day.refreshes).max().unwrap_or(0);
    let consents = days.iter().map(|day| day.consents).max().unwrap_or(0);
    let width = days.len() * WIDE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 -18 {width} 212\" font-family=\"sans-serif\" font-size=\"12\">"
    );
    for (at, day) in days.iter().enumerate() {
        let up = share(day.refreshes, refreshes);
        let down = share(day.consents, consents) / 2;
        let mut bar = |y: u64, height: u64, fill: &str| {
            if height > 0 {
                let x = at * WIDE;
                let _ = write!(
                    svg,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"4\" height=\"{height}\" fill=\"{fill}\"/>"
                );
            }
        };
        bar(HEIGHT - up, up, colours.refreshes);
        bar(HEIGHT + 24, down.max(u64::from(day.consents > 0) * 2), colours.consents);
    }
    let Colours { ink, line, .. } = colours;
    let _ = write!(svg, "<path d=\"M0 100H{width}M0 124H{width}\" stroke=\"{line}\"/>");
    let today = now.0.div_euclid(DAY);
    for at in (0..days.len()).step_by(15) {
        let date =
            UnixTime(today.saturating_add(i64::try_from(at).unwrap_or(0)).saturating_mul(DAY)).to_string();
        let date = date.get(5..10).unwrap_or_default();
        let _ = write!(svg, "<text x=\"{}\" y=\"117\" fill=\"{ink}\">{date}</text>", at * WIDE);
    }
    let _ = write!(
        svg,
        "<text x=\"0\" y=\"-5\" fill=\"{ink}\">Next refreshes, most on a day: {}</text>\
         <text x=\"0\" y=\"187\" fill=\"{ink}\">Refresh tokens that end, most on a day: {}</text></svg>",
        thousands(refreshes),
        thousands(consents)
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(500_000 * HOUR + 5);

    fn past(hours_ago: i64, outcome: Outcome, refreshes: u64) -> Past {
        Past { hour: UnixTime((500_000 - hours_ago) * HOUR), outcome, refreshes }
    }

    #[test]
    fn the_history_is_stacked_and_nothing_of_it_is_lost() {
        let past = [
            past(25, Outcome::Renewed, 9),
            past(24, Outcome::Renewed, 9),
            past(23, Outcome::Busy, 1),
            past(0, Outcome::Renewed, 1000),
            past(0, Outcome::Transient, 1),
            past(0, Outcome::ConsentNeeded, 1),
            past(-1, Outcome::Renewed, 5),
        ];
        let hours = hours(&past, NOW);
        assert_eq!(hours[0], Hour { failed: 1, ..Hour::default() });
        assert_eq!(hours[23], Hour { renewed: 1000, unchanged: 0, failed: 2 });
        assert_eq!(hours.iter().map(Hour::all).sum::<u64>(), 1003);
        let columns = columns(&hours, NOW);
        assert_eq!(columns[0].parts, [("failed", 98, 2)], "one is seen, however many others there are");
        assert_eq!(columns[23].parts, [("renewed", 1, 99), ("failed", 0, 1)]);
        assert!(columns[23].words.ends_with("1,000 renewed, 0 unchanged, 2 failed"), "{}", columns[23].words);
        assert!(columns[1].parts.is_empty());
    }

    #[test]
    fn a_plan_is_well_formed_whatever_is_in_it() {
        let mut days = vec![Day::default(); 90];
        days[3] = Day { refreshes: u64::MAX, consents: 1 };
        for days in [days, Vec::new()] {
            for (now, dark) in [(NOW, true), (UnixTime::NEVER, false), (UnixTime(i64::MIN), false)] {
                let svg = plan(&days, now, dark);
                assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>") && !svg.contains("style"));
            }
        }
    }
}
