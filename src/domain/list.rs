//! Pages of the list of grants: filter, order and position. Each filter and order has an index, so a page costs the same with
//! a million grants as with ten.

use std::borrow::Borrow;

use crate::domain::grant::Grant;
use crate::domain::grant::GrantState;
use crate::domain::grant::GrantStatus;
use crate::domain::person::PersonId;
use crate::domain::search::Search;
use crate::domain::time::UnixTime;

/// A page of the list of grants.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Filter and order.
    pub selection: ListSelection,
    /// Whether the order is descending.
    pub descending: bool,
    /// The position of the last grant of the previous page. This page continues behind it in its own direction.
    pub after: Option<ListPosition>,
    /// The maximal number of grants.
    pub limit: u32,
    /// Only grants of these persons.
    pub only_persons: Option<Vec<PersonId>>,
    /// The current time.
    pub now: UnixTime,
}

/// Filter and order of a list. Ties are in the order in which the persons were first stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListSelection {
    /// All grants.
    All(SortBy),
    /// Grants in this state at present, by next refresh.
    InState(GrantState),
    /// Grants whose last refresh did not fail (fresh or due), by next refresh.
    Working,
    /// Grants that need a new consent, by the end of the access token.
    ConsentNeeded,
    /// Grants whose consent ends soon ([`Grant::consent_ends_soon`]), by that end.
    ConsentEnding,
    /// Grants of the persons that a search finds, by the text that it finds.
    Matching(Search),
}

/// Orders of the whole list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// By first consent.
    CreatedAt,
    /// By address; grants without one come first.
    Email,
    /// By the time at which the grants are due.
    NextRefresh,
}

/// The sort key of a grant. Within one list all keys are of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortKey {
    /// The list is in the order of first consents.
    None,
    /// A time in milliseconds since 1970.
    Number(i64),
    /// An address, or the text that a search found.
    Text(String),
}

/// A position in a list. It stays valid if grants change or are removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListPosition {
    /// The sort key of the grant before the position.
    pub key: SortKey,
    /// The number of that grant's row, which grows with each new person.
    pub serial: i64,
}

impl ListSelection {
    /// The sort key of `grant` in this list; `None` if the filter excludes it.
    #[must_use]
    pub fn key(&self, grant: &Grant, now: UnixTime) -> Option<SortKey> {
        let email = || grant.person.email.as_ref().map(|email| email.as_str().to_owned());
        match self {
            Self::All(SortBy::CreatedAt) => Some(SortKey::None),
            Self::All(SortBy::Email) => Some(SortKey::Text(email().unwrap_or_default())),
            Self::All(SortBy::NextRefresh) => Some(SortKey::Number(grant.next.due_at.0)),
            Self::InState(state) => {
                (grant.state(now) == *state).then_some(SortKey::Number(grant.next.due_at.0))
            }
            Self::Working => matches!(grant.state(now), GrantState::Fresh | GrantState::Due)
                .then_some(SortKey::Number(grant.next.due_at.0)),
            Self::ConsentNeeded => (grant.status == GrantStatus::ConsentNeeded)
                .then_some(SortKey::Number(grant.tokens.expires_at.0)),
            Self::ConsentEnding => grant.consent_ends_soon(now).map(|ends| SortKey::Number(ends.0)),
            Self::Matching(search) => search.finds(&grant.person).map(SortKey::Text),
        }
    }
}

impl ListRequest {
    /// The first page in ascending order.
    #[must_use]
    pub fn first_page(pick: ListSelection, limit: u32, now: UnixTime) -> Self {
        Self { selection: pick, descending: false, after: None, limit, only_persons: None, now }
    }

    /// `limit` as a `usize`.
    pub(crate) fn limit_as_usize(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// This page of `grants`, which must be all grants. For few grants, or for a store without indexes.
    pub(crate) fn select_from<G: Borrow<Grant>>(
        &self,
        grants: impl Iterator<Item = (i64, G)>,
    ) -> Vec<(ListPosition, G)> {
        let among = |id: &PersonId| self.only_persons.as_ref().is_none_or(|among| among.contains(id));
        let marked =
            grants.filter(|(_, grant)| among(&grant.borrow().person.id)).filter_map(|(serial, grant)| {
                Some((ListPosition { key: self.selection.key(grant.borrow(), self.now)?, serial }, grant))
            });
        let behind = |mark: &ListPosition| match &self.after {
            None => true,
            Some(after) if self.descending => mark < after,
            Some(after) => mark > after,
        };
        let mut part: Vec<(ListPosition, G)> = marked.filter(|(mark, _)| behind(mark)).collect();
        part.sort_by(|(one, _), (other, _)| if self.descending { other.cmp(one) } else { one.cmp(other) });
        part.truncate(self.limit_as_usize());
        part
    }
}
