//! The top of the first page: whether people need attention, current problems, and the numbers.

use crate::domain::time::UnixTime;
use crate::http::dashboard::Dashboard;
use crate::http::dashboard::query::Filter;
use crate::http::dashboard::query::Query;
use crate::http::dashboard::row::Moment;
use crate::http::refusal::Refusal;
use crate::tokens::Count;
use crate::tokens::Counts;

/// The data of this part of the page.
pub(super) struct Overview {
    /// A sentence that says which people need attention.
    pub(super) answer: String,
    pub(super) people: String,
    /// No person has consented.
    pub(super) is_empty: bool,
    pub(super) tiles: Vec<Tile>,
    /// Why refreshes pause, and until when.
    pub(super) pause: Option<(String, Moment)>,
}

/// A number of people, with a link to their list.
pub(super) struct Tile {
    pub(super) filter: Filter,
    pub(super) count: String,
    /// What the number counts.
    pub(super) word: &'static str,
    /// The CSS class; `zero` if there are none.
    pub(super) class: &'static str,
    /// The link to their list.
    pub(super) link: String,
}

impl Dashboard {
    pub(super) async fn overview(&self, home: &str, now: UnixTime) -> Result<Overview, Refusal> {
        let parts = self.api.parts();
        let counts = parts.view.counts(now).await.map_err(|why| Refusal::store(&why))?;
        let pause = parts.refresher.pause();
        Ok(Overview {
            answer: answer(&counts),
            people: thousands(counts.people),
            is_empty: counts.people == 0,
            tiles: Filter::ALL.map(|filter| tile(home, filter, &counts)).into(),
            pause: pause.map(|pause| (pause.cause.to_string(), Moment::of(pause.until, now))),
        })
    }
}

/// The most urgent fact.
fn answer(counts: &Counts) -> String {
    let Counts { people, retrying, consent_needed, consent_ending, .. } = *counts;
    if people == 0 {
        "No person has consented yet".to_owned()
    } else if consent_needed.people > 0 {
        format!("{} must consent", people_of(consent_needed))
    } else if consent_ending.people > 0 {
        format!("The consent of {} ends soon", people_of(consent_ending))
    } else if retrying.people > 0 {
        format!("Refreshes fail for {}", people_of(retrying))
    } else if people == 1 {
        "1 person has access".to_owned()
    } else {
        format!("All {} have access", people_of(Count::exactly(people)))
    }
}

fn people_of(count: Count) -> String {
    format!("{} {}", written(count), if count.people == 1 { "person" } else { "people" })
}

fn tile(home: &str, filter: Filter, counts: &Counts) -> Tile {
    let (count, word, class) = match filter {
        Filter::ConsentNeeded => (counts.consent_needed, "must consent", "bad"),
        Filter::ConsentEnding => (counts.consent_ending, "consent ends soon", "warn"),
        Filter::Retrying => (counts.retrying, "failing", "warn"),
        Filter::Working => {
            let others = counts.retrying.people.saturating_add(counts.consent_needed.people);
            (Count::exactly(counts.people.saturating_sub(others)), "working", "good")
        }
    };
    Tile {
        filter,
        count: written(count),
        word,
        class: if count.people == 0 { "zero" } else { class },
        link: format!("{home}{}", Query::filtered(filter).written()),
    }
}

/// `1,234`, or `10,000+`.
pub(super) fn written(count: Count) -> String {
    format!("{}{}", thousands(count.people), if count.or_more { "+" } else { "" })
}

/// `1,234,567`
fn thousands(number: u64) -> String {
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
    fn thousands_are_separated_by_commas() {
        let table = [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")];
        for (number, said) in table {
            assert_eq!(thousands(number), said);
        }
        assert_eq!(written(Count { people: 10_000, or_more: true }), "10,000+");
    }

    #[test]
    fn the_answer_is_the_most_urgent_fact() {
        let mut counts = Counts::default();
        assert_eq!(answer(&counts), "No person has consented yet");
        counts.people = 1;
        assert_eq!(answer(&counts), "1 person has access");
        counts.people = 1_200;
        assert_eq!(answer(&counts), "All 1,200 people have access");
        counts.retrying = Count::exactly(1);
        assert_eq!(answer(&counts), "Refreshes fail for 1 person");
        counts.consent_ending = Count { people: 10_000, or_more: true };
        assert_eq!(answer(&counts), "The consent of 10,000+ people ends soon");
        counts.consent_needed = Count::exactly(2);
        assert_eq!(answer(&counts), "2 people must consent");
    }
}
