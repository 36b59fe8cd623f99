//! The top of the first page: whether people need attention, current problems, and the numbers.

use crate::api_types::attention;
use crate::domain::overview::BoundedCount;
use crate::domain::overview::StateCounts;
use crate::domain::time::UnixTime;
use crate::http::dashboard::context::Dashboard;
use crate::http::dashboard::query::ListQuery;
use crate::http::dashboard::query::StateFilter;
use crate::http::dashboard::row::RelativeTime;
use crate::http::response::api_error::ApiError;
use strum::VariantArray;

/// The data of this part of the page.
pub(super) struct Overview {
    /// A sentence that says which people need attention.
    pub(super) answer: String,
    pub(super) people: String,
    /// No person has consented.
    pub(super) is_empty: bool,
    pub(super) tiles: Vec<Tile>,
    /// Why refreshes pause, and until when.
    pub(super) pause: Option<(String, RelativeTime)>,
    /// How many refreshes wait, and for how long.
    pub(super) backlog: Option<String>,
    /// That notices do not arrive.
    pub(super) undelivered: Vec<String>,
    /// The page of notices; `None` where no sink is set.
    pub(super) notices: Option<String>,
}

/// A number of people, with a link to their list.
pub(super) struct Tile {
    pub(super) filter: StateFilter,
    pub(super) count: String,
    /// What the number counts.
    pub(super) word: &'static str,
    /// The CSS class; `zero` if there are none.
    pub(super) class: &'static str,
    /// The link to their list.
    pub(super) link: String,
}

impl Dashboard {
    pub(super) async fn overview(&self, home: &str, now: UnixTime) -> Result<Overview, ApiError> {
        let services = self.api.services();
        let counts = services.cache.counts(now).await?;
        let pause = services.refresher.pause();
        let notices = self.api.notice_counts().await;
        let undelivered = attention(None, notices.as_ref()).into_iter().map(|one| one.says).collect();
        Ok(Overview {
            backlog: services.refresher.backlog().map(|backlog| backlog.sentence()),
            undelivered,
            notices: services.notices.has_sinks().then(|| format!("{home}/notices")),
            answer: answer(&counts),
            people: thousands(counts.people),
            is_empty: counts.people == 0,
            tiles: StateFilter::VARIANTS.iter().map(|filter| tile(home, *filter, &counts)).collect(),
            pause: pause.map(|pause| (pause.cause.to_string(), RelativeTime::of(pause.until, now))),
        })
    }
}

/// The most urgent fact.
fn answer(counts: &StateCounts) -> String {
    let StateCounts { people, retrying, consent_needed, consent_ending, .. } = *counts;
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
        format!("All {} have access", people_of(BoundedCount::exact(people)))
    }
}

fn people_of(count: BoundedCount) -> String {
    format!("{} {}", count_text(count), if count.people == 1 { "person" } else { "people" })
}

fn tile(home: &str, filter: StateFilter, counts: &StateCounts) -> Tile {
    let (count, word, class) = match filter {
        StateFilter::ConsentNeeded => (counts.consent_needed, "must consent", "bad"),
        StateFilter::ConsentEnding => (counts.consent_ending, "consent ends soon", "warn"),
        StateFilter::Retrying => (counts.retrying, "failing", "warn"),
        StateFilter::Working => {
            let others = counts.retrying.people.saturating_add(counts.consent_needed.people);
            (BoundedCount::exact(counts.people.saturating_sub(others)), "working", "good")
        }
    };
    Tile {
        filter,
        count: count_text(count),
        word,
        class: if count.people == 0 { "zero" } else { class },
        link: format!("{home}{}", ListQuery::filtered(filter).written()),
    }
}

/// `1,234`, or `10,000+`.
pub(super) fn count_text(count: BoundedCount) -> String {
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
        assert_eq!(count_text(BoundedCount { people: 10_000, or_more: true }), "10,000+");
    }

    #[test]
    fn the_answer_is_the_most_urgent_fact() {
        let mut counts = StateCounts::default();
        assert_eq!(answer(&counts), "No person has consented yet");
        counts.people = 1;
        assert_eq!(answer(&counts), "1 person has access");
        counts.people = 1_200;
        assert_eq!(answer(&counts), "All 1,200 people have access");
        counts.retrying = BoundedCount::exact(1);
        assert_eq!(answer(&counts), "Refreshes fail for 1 person");
        counts.consent_ending = BoundedCount { people: 10_000, or_more: true };
        assert_eq!(answer(&counts), "The consent of 10,000+ people ends soon");
        counts.consent_needed = BoundedCount::exact(2);
        assert_eq!(answer(&counts), "2 people must consent");
    }
}
