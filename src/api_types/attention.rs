//! What needs the attention of an operator or a person. `check`, `people`, `doctor` and the dashboard all use this module, so
//! that they report the same.

use crate::api_types::notices::NoticeCounts;
use crate::api_types::status::StateTally;

/// One problem that an operator or a person must solve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// The topic of the problem.
    pub topic: Topic,
    /// The problem and the remedy.
    pub says: String,
}

/// The topics of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Persons must consent again.
    Consent,
    /// Consents end soon, and refreshes do not extend them.
    Expiring,
    /// Notices cannot be stored or delivered.
    Notices,
}

impl Topic {
    /// The name of the topic in `doctor`'s findings.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Consent | Self::Expiring => "consents",
            Self::Notices => "notices",
        }
    }
}

/// The problems in these numbers, the most urgent first. `None` counts as no problem.
#[must_use]
pub fn attention(people: Option<&StateTally>, notices: Option<&NoticeCounts>) -> Vec<Attention> {
    let mut all = Vec::new();
    let mut add = |topic, says: String| all.push(Attention { topic, says });
    let persons = |number: u64, one: &str, many: &str| match number {
        1 => format!("1 person {one}"),
        _ => format!("{number} persons {many}"),
    };
    let deliveries = |number: u64, one: &str, many: &str| match number {
        1 => format!("1 delivery of a notice {one}: `notices --failed` says why"),
        _ => format!("{number} deliveries of notices {many}: `notices --failed` says why"),
    };
    if let Some(people) = people {
        if people.consent_needed > 0 {
            let says = persons(people.consent_needed, "must consent again", "must consent again");
            add(
                Topic::Consent,
                format!("{says}: `people --state consent_needed` lists them with their links"),
            );
        }
        if people.consent_ending > 0 {
            let says = persons(people.consent_ending, "has a consent that ends", "have consents that end");
            add(Topic::Expiring, format!("{says} within 30 days: a new consent extends it"));
        }
    }
    if let Some(notices) = notices {
        if let Some(why) = &notices.trouble {
            add(Topic::Notices, format!("notices cannot be stored, and wait in memory: {why}"));
        }
        for sink in &notices.turned_off {
            let says = format!(
                "the receiver of {sink} has turned it off (410); `notices test` turns it on when it answers"
            );
            add(Topic::Notices, says);
        }
        if notices.failing > 0 {
            add(Topic::Notices, deliveries(notices.failing, "fails at present", "fail at present"));
        }
        if notices.given_up > 0 {
            add(Topic::Notices, deliveries(notices.given_up, "was given up", "were given up"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_urgent_comes_first_and_what_is_well_is_left_out() {
        let well = StateTally {
            fresh: 5,
            due: 1,
            retrying: 1,
            consent_needed: 0,
            consent_ending: 0,
            or_more: false,
        };
        assert_eq!(attention(Some(&well), None), []);
        assert_eq!(attention(None, None), []);
        let people = StateTally { consent_needed: 1, consent_ending: 2, ..well };
        let notices = NoticeCounts {
            waiting: 9,
            failing: 3,
            given_up: 1,
            turned_off: vec!["webhook".to_owned()],
            trouble: Some("damaged".to_owned()),
        };
        let all = attention(Some(&people), Some(&notices));
        let topics: Vec<&str> = all.iter().map(|one| one.topic.word()).collect();
        assert_eq!(topics, ["consents", "consents", "notices", "notices", "notices", "notices"]);
        assert_eq!(all[2].says, "notices cannot be stored, and wait in memory: damaged");
        assert_eq!(all[4].says, "3 deliveries of notices fail at present: `notices --failed` says why");
        assert_eq!(all[5].says, "1 delivery of a notice was given up: `notices --failed` says why");
        assert!(all[0].says.starts_with("1 person must consent again"));
        assert!(all[1].says.starts_with("2 persons have consents that end within 30 days"));
    }
}
