//! The query of the list in a URL. URLs with other content are tolerated.

use std::str::FromStr;

use strum::EnumString;
use strum::IntoStaticStr;
use strum::VariantArray;
use url::form_urlencoded::Serializer;

use crate::domain::grant::GrantState;
use crate::domain::list::ListPosition;
use crate::domain::list::ListSelection;
use crate::domain::list::SortBy;
use crate::domain::search::MAX_LEN;
use crate::domain::search::Search;
use crate::http::request::cursor;
use crate::http::request::query_string;

/// The orders that the table offers, and their names in the URL.
const SORTS: [(SortBy, &str); 2] = [(SortBy::Email, "person"), (SortBy::NextRefresh, "next")];

/// The group of people that one of the numbers counts and lists. The most urgent group is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum StateFilter {
    /// People who must consent now.
    ConsentNeeded,
    /// People who must consent soon.
    ConsentEnding,
    /// People whose last refresh failed.
    Retrying,
    /// All other people.
    Working,
}

impl StateFilter {
    /// Its name in the URL.
    pub(super) fn as_str(self) -> &'static str {
        self.into()
    }

    /// The list of these people.
    pub(super) fn pick(self) -> ListSelection {
        match self {
            Self::ConsentNeeded => ListSelection::ConsentNeeded,
            Self::ConsentEnding => ListSelection::ConsentEnding,
            Self::Retrying => ListSelection::InState(GrantState::Retrying),
            Self::Working => ListSelection::Working,
        }
    }
}

/// A query for the list. A search, a filter and an order exclude each other, because only this is fast among
/// a million people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListQuery {
    pub(super) pick: ListSelection,
    pub(super) descending: bool,
    pub(super) from: ListStart,
    /// The search text, as it was typed.
    pub(super) typed: String,
}

/// Where a page of the list begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListStart {
    Start,
    /// After this position.
    After(ListPosition),
    /// Before this position.
    Before(ListPosition),
}

impl ListQuery {
    /// Parses a query. Invalid parts are ignored, because a URL may be typed, shortened or old.
    pub(super) fn parse(text: &str) -> Self {
        let value = |name: &str| query_string::first(text, name);
        let mark = |name| value(name).and_then(|text| cursor::decode(&text));
        let from = match (mark("after"), mark("before")) {
            (Some(after), _) => ListStart::After(after),
            (None, Some(before)) => ListStart::Before(before),
            (None, None) => ListStart::Start,
        };
        let typed: String = value("q").unwrap_or_default().chars().take(MAX_LEN).collect();
        let typed = typed.trim().to_owned();
        let (mut pick, mut descending) = (ListSelection::All(SortBy::CreatedAt), false);
        let search = Search::parse(&typed).ok().flatten();
        let typed = if search.is_some() { typed } else { String::new() };
        if let Some(search) = search {
            pick = ListSelection::Matching(search);
        } else if let Some(filter) = value("state").and_then(|word| StateFilter::from_str(&word).ok()) {
            pick = filter.pick();
        } else if let Some(sort) = value("sort") {
            let (word, turned) = sort.strip_prefix('-').map_or((&*sort, false), |word| (word, true));
            if let Some((order, _)) = SORTS.iter().find(|(_, known)| *known == word) {
                (pick, descending) = (ListSelection::All(*order), turned);
            }
        }
        Self { pick, descending, from, typed }
    }

    /// The query as it follows the path in a URL.
    pub(super) fn written(&self) -> String {
        let mut query = Serializer::new(String::new());
        match (&self.pick, self.filter()) {
            (ListSelection::Matching(_), _) => {
                query.append_pair("q", &self.typed);
            }
            (_, Some(filter)) => {
                query.append_pair("state", filter.as_str());
            }
            (ListSelection::All(order), None) => {
                if let Some((_, word)) = SORTS.iter().find(|(known, _)| known == order) {
                    query.append_pair("sort", &format!("{}{word}", if self.descending { "-" } else { "" }));
                }
            }
            _ => {}
        }
        match &self.from {
            ListStart::Start => {}
            ListStart::After(mark) => {
                query.append_pair("after", &cursor::encode(mark));
            }
            ListStart::Before(mark) => {
                query.append_pair("before", &cursor::encode(mark));
            }
        }
        let query = query.finish();
        if query.is_empty() { query } else { format!("?{query}") }
    }

    /// The same query at another position.
    pub(super) fn starting(&self, from: ListStart) -> Self {
        Self { from, ..self.clone() }
    }

    /// All people in this order.
    pub(super) fn sorted(order: SortBy, descending: bool) -> Self {
        Self { pick: ListSelection::All(order), descending, from: ListStart::Start, typed: String::new() }
    }

    /// The people of this filter.
    pub(super) fn filtered(filter: StateFilter) -> Self {
        Self { pick: filter.pick(), ..Self::sorted(SortBy::CreatedAt, false) }
    }

    /// Its filter, if it has one.
    pub(super) fn filter(&self) -> Option<StateFilter> {
        StateFilter::VARIANTS.iter().copied().find(|filter| filter.pick() == self.pick)
    }

    /// Whether it is the list of all people from its start, without search, filter or order.
    pub(super) fn is_plain(&self) -> bool {
        *self == Self::sorted(SortBy::CreatedAt, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::list::SortKey;

    #[test]
    fn queries_survive_formatting_and_parsing() {
        let mark = ListPosition { key: SortKey::Number(-5), serial: 7 };
        let filters = StateFilter::VARIANTS.iter().map(|filter| format!("?state={}", filter.as_str()));
        let others = ["", "?q=Ada+%26+%3Cb%3E", "?sort=-next", "?sort=person"].map(str::to_owned);
        for text in filters.into_iter().chain(others) {
            let query = ListQuery::parse(text.trim_start_matches('?'));
            assert_eq!(query.written(), text);
            assert_eq!(query.is_plain(), text.is_empty());
            for from in [ListStart::After(mark.clone()), ListStart::Before(mark.clone())] {
                let there = query.starting(from);
                assert_eq!(ListQuery::parse(there.written().trim_start_matches('?')), there);
                assert!(!there.is_plain());
            }
        }
    }

    #[test]
    fn invalid_parts_are_ignored() {
        for text in ["state=well", "sort=failures", "sort=--next", "after=x", "q=+%00", "x=1&&=", "%", "q"] {
            assert_eq!(ListQuery::parse(text), ListQuery::sorted(SortBy::CreatedAt, false), "{text}");
        }
        assert_eq!(ListQuery::parse("q=a&state=retrying&sort=next").written(), "?q=a");
        assert_eq!(ListQuery::parse(&format!("q={}", "x".repeat(100_000))).typed.len(), MAX_LEN);
    }
}
