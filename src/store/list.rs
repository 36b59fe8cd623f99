//! Pages of the list of grants: filter, order and position. Each filter and order has an index, so a page costs the same with
//! a million grants as with ten.

use std::borrow::Borrow;

use crate::domain::grant::Grant;
use crate::domain::grant::Standing;
use crate::domain::grant::State;
use crate::domain::person::PersonId;
use crate::domain::search::Search;
use crate::domain::time::UnixTime;

/// A page of the list of grants.
#[derive(Clone, Debug)]
pub struct Page {
    /// Filter and order.
    pub pick: Pick,
    /// Whether the order is descending.
    pub backwards: bool,
    /// The position of the last grant of the previous page. This page continues behind it in its own direction.
    pub after: Option<Bookmark>,
    /// The maximal number of grants.
    pub limit: u32,
    /// Only grants of these persons.
    pub among: Option<Vec<PersonId>>,
    /// The current time.
    pub now: UnixTime,
}

/// Filter and order of a list. Ties are in the order in which the persons were first stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// All grants.
    All(Order),
    /// Grants in this state at present, by next refresh.
    In(State),
    /// Grants whose last refresh did not fail (fresh or due), by next refresh.
    Working,
    /// Grants that need a new consent, by the end of the access token.
    ConsentNeeded,
    /// Grants whose consent ends soon ([`Grant::consent_ends_soon`]), by that end.
    ConsentEnding,
    /// Grants of the persons that a search finds, by the text that it finds.
    Found(Search),
}

/// Orders of the whole list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By first consent.
    Arrival,
    /// By address; grants without one come first.
    Email,
    /// By the time at which the grants are due.
    Next,
}

/// The sort key of a grant. Within one list all keys are of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The list is in the order of first consents.
    None,
    /// A time in milliseconds since 1970.
    Number(i64),
    /// An address, or the text that a search found.
    Text(String),
}

/// A position in a list. It stays valid if grants change or are removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bookmark {
    /// The sort key of the grant before the position.
    pub key: Key,
    /// The number of that grant's row, which grows with each new person.
    pub serial: i64,
}

impl Pick {
    /// The sort key of `grant` in this list; `None` if the filter excludes it.
    #[must_use]
    pub fn key(&self, grant: &Grant, now: UnixTime) -> Option<Key> {
        let email = || grant.person.email.as_ref().map(|email| email.as_str().to_owned());
        match self {
            Self::All(Order::Arrival) => Some(Key::None),
            Self::All(Order::Email) => Some(Key::Text(email().unwrap_or_default())),
            Self::All(Order::Next) => Some(Key::Number(grant.next.due_at.0)),
            Self::In(state) => (grant.state(now) == *state).then_some(Key::Number(grant.next.due_at.0)),
            Self::Working => matches!(grant.state(now), State::Fresh | State::Due)
                .then_some(Key::Number(grant.next.due_at.0)),
            Self::ConsentNeeded => {
                (grant.standing == Standing::ConsentNeeded).then_some(Key::Number(grant.tokens.expires_at.0))
            }
            Self::ConsentEnding => grant.consent_ends_soon(now).map(|ends| Key::Number(ends.0)),
            Self::Found(search) => search.finds(&grant.person).map(Key::Text),
        }
    }
}

impl Page {
    /// The first page in ascending order.
    #[must_use]
    pub fn first(pick: Pick, limit: u32, now: UnixTime) -> Self {
        Self { pick, backwards: false, after: None, limit, among: None, now }
    }

    /// `limit` as a `usize`.
    pub(super) fn most(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// This page of `grants`, which must be all grants. For few grants, or for a store without indexes.
    pub(super) fn of<G: Borrow<Grant>>(&self, grants: impl Iterator<Item = (i64, G)>) -> Vec<(Bookmark, G)> {
        let among = |id: &PersonId| self.among.as_ref().is_none_or(|among| among.contains(id));
        let marked =
            grants.filter(|(_, grant)| among(&grant.borrow().person.id)).filter_map(|(serial, grant)| {
                Some((Bookmark { key: self.pick.key(grant.borrow(), self.now)?, serial }, grant))
            });
        let behind = |mark: &Bookmark| match &self.after {
            None => true,
            Some(after) if self.backwards => mark < after,
            Some(after) => mark > after,
        };
        let mut part: Vec<(Bookmark, G)> = marked.filter(|(mark, _)| behind(mark)).collect();
        part.sort_by(|(one, _), (other, _)| if self.backwards { other.cmp(one) } else { one.cmp(other) });
        part.truncate(self.most());
        part
    }
}
