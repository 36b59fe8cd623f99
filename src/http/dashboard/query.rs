//! The query of the list in a URL. URLs with other content are tolerated.

use url::form_urlencoded::Serializer;

use crate::domain::grant::State;
use crate::domain::search::LONGEST;
use crate::domain::search::Search;
use crate::http::bookmark;
use crate::http::parameter;
use crate::tokens::Bookmark;
use crate::tokens::Order;
use crate::tokens::Pick;

/// The orders that the table offers, and their names in the URL.
const SORTS: [(Order, &str); 2] = [(Order::Email, "person"), (Order::Next, "next")];

/// The group of people that one of the numbers counts and lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// People who must consent now.
    ConsentNeeded,
    /// People who must consent soon.
    ConsentEnding,
    /// People whose last refresh failed.
    Retrying,
    /// All other people.
    Working,
}

impl Filter {
    /// All of them, the most urgent first.
    pub(super) const ALL: [Self; 4] =
        [Self::ConsentNeeded, Self::ConsentEnding, Self::Retrying, Self::Working];

    /// Its name in the URL.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::ConsentNeeded => "consent_needed",
            Self::ConsentEnding => "consent_ending",
            Self::Retrying => "retrying",
            Self::Working => "working",
        }
    }

    /// The list of these people.
    pub(super) fn pick(self) -> Pick {
        match self {
            Self::ConsentNeeded => Pick::ConsentNeeded,
            Self::ConsentEnding => Pick::ConsentEnding,
            Self::Retrying => Pick::In(State::Retrying),
            Self::Working => Pick::Working,
        }
    }
}

/// A query for the list. A search, a filter and an order exclude each other, because only this is fast among
/// a million people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) pick: Pick,
    pub(super) descending: bool,
    pub(super) from: From,
    /// The search text, as it was typed.
    pub(super) typed: String,
}

/// Where a page of the list begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    Start,
    /// After this position.
    After(Bookmark),
    /// Before this position.
    Before(Bookmark),
}

impl Query {
    /// Parses a query. Invalid parts are ignored, because a URL may be typed, shortened or old.
    pub(super) fn parse(text: &str) -> Self {
        let value = |name: &str| parameter::first(text, name);
        let mark = |name| value(name).and_then(|text| bookmark::read(&text));
        let from = match (mark("after"), mark("before")) {
            (Some(after), _) => From::After(after),
            (None, Some(before)) => From::Before(before),
            (None, None) => From::Start,
        };
        let typed: String = value("q").unwrap_or_default().chars().take(LONGEST).collect();
        let typed = typed.trim().to_owned();
        let (mut pick, mut descending) = (Pick::All(Order::Arrival), false);
        let search = Search::parse(&typed).ok().flatten();
        let typed = if search.is_some() { typed } else { String::new() };
        if let Some(search) = search {
            pick = Pick::Found(search);
        } else if let Some(filter) =
            value("state").and_then(|word| Filter::ALL.into_iter().find(|filter| filter.word() == word))
        {
            pick = filter.pick();
        } else if let Some(sort) = value("sort") {
            let (word, turned) = sort.strip_prefix('-').map_or((&*sort, false), |word| (word, true));
            if let Some((order, _)) = SORTS.iter().find(|(_, known)| *known == word) {
                (pick, descending) = (Pick::All(*order), turned);
            }
        }
        Self { pick, descending, from, typed }
    }

    /// The query as it follows the path in a URL.
    pub(super) fn written(&self) -> String {
        let mut query = Serializer::new(String::new());
        match (&self.pick, self.filter()) {
            (Pick::Found(_), _) => {
                query.append_pair("q", &self.typed);
            }
            (_, Some(filter)) => {
                query.append_pair("state", filter.word());
            }
            (Pick::All(order), None) => {
                if let Some((_, word)) = SORTS.iter().find(|(known, _)| known == order) {
                    query.append_pair("sort", &format!("{}{word}", if self.descending { "-" } else { "" }));
                }
            }
            _ => {}
        }
        match &self.from {
            From::Start => {}
            From::After(mark) => {
                query.append_pair("after", &bookmark::written(mark));
            }
            From::Before(mark) => {
                query.append_pair("before", &bookmark::written(mark));
            }
        }
        let query = query.finish();
        if query.is_empty() { query } else { format!("?{query}") }
    }

    /// The same query at another position.
    pub(super) fn starting(&self, from: From) -> Self {
        Self { from, ..self.clone() }
    }

    /// All people in this order.
    pub(super) fn sorted(order: Order, descending: bool) -> Self {
        Self { pick: Pick::All(order), descending, from: From::Start, typed: String::new() }
    }

    /// The people of this filter.
    pub(super) fn filtered(filter: Filter) -> Self {
        Self { pick: filter.pick(), ..Self::sorted(Order::Arrival, false) }
    }

    /// Its filter, if it has one.
    pub(super) fn filter(&self) -> Option<Filter> {
        Filter::ALL.into_iter().find(|filter| filter.pick() == self.pick)
    }

    /// Whether it is the list of all people from its start, without search, filter or order.
    pub(super) fn is_plain(&self) -> bool {
        *self == Self::sorted(Order::Arrival, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Key;

    #[test]
    fn queries_survive_formatting_and_parsing() {
        let mark = Bookmark { key: Key::Number(-5), serial: 7 };
        let filters = Filter::ALL.map(|filter| format!("?state={}", filter.word()));
        let others = ["", "?q=Ada+%26+%3Cb%3E", "?sort=-next", "?sort=person"].map(str::to_owned);
        for text in filters.into_iter().chain(others) {
            let query = Query::parse(text.trim_start_matches('?'));
            assert_eq!(query.written(), text);
            assert_eq!(query.is_plain(), text.is_empty());
            for from in [From::After(mark.clone()), From::Before(mark.clone())] {
                let there = query.starting(from);
                assert_eq!(Query::parse(there.written().trim_start_matches('?')), there);
                assert!(!there.is_plain());
            }
        }
    }

    #[test]
    fn invalid_parts_are_ignored() {
        for text in ["state=well", "sort=failures", "sort=--next", "after=x", "q=+%00", "x=1&&=", "%", "q"] {
            assert_eq!(Query::parse(text), Query::sorted(Order::Arrival, false), "{text}");
        }
        assert_eq!(Query::parse("q=a&state=retrying&sort=next").written(), "?q=a");
        assert_eq!(Query::parse(&format!("q={}", "x".repeat(100_000))).typed.len(), LONGEST);
    }
}
