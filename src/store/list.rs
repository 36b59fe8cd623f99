//! Parts of the list of grants: who is in them, in which order, and where the next one goes on. Only what an index
//! gives can be asked for, so that a part costs the same at a million grants as at ten.

use std::borrow::Borrow;

use crate::domain::grant::Grant;
use crate::domain::grant::Standing;
use crate::domain::grant::State;
use crate::domain::person::PersonId;
use crate::domain::search::Search;
use crate::domain::time::UnixTime;

/// A part of the list of grants.
#[derive(Clone, Debug)]
pub struct Page {
    /// Who, and in which order.
    pub pick: Pick,
    /// From the last to the first.
    pub backwards: bool,
    /// Where the part before ended; the list goes on behind it, in the direction of this one.
    pub after: Option<Bookmark>,
    /// At most so many.
    pub limit: u32,
    /// Only these persons.
    pub among: Option<Vec<PersonId>>,
    /// The present time.
    pub now: UnixTime,
}

/// Who is in the list, and in which order. Equals are in the order of their first consents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Everybody.
    All(Order),
    /// Those in this state at present, by their next refresh.
    In(State),
    /// Those whose last refresh did not fail, fresh or due, by their next refresh.
    Working,
    /// Those in need of a consent, by the end of their access token.
    ConsentNeeded,
    /// Those whose consent ends soon ([`Grant::consent_ends_soon`]), by that end.
    ConsentEnding,
    /// Those whom a search finds, by what it finds of them.
    Found(Search),
}

/// The orders of the whole list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they first consented.
    Arrival,
    /// By address; those without one first.
    Email,
    /// By the time at which the loop has to do with them again.
    Next,
}

/// What a list is ordered by. Within one list all keys are of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// By arrival only.
    None,
    /// A time.
    Number(i64),
    /// An address, or what a search found.
    Text(String),
}

/// A place in a list: between two grants, also when they change or go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bookmark {
    /// Of the grant before it.
    pub key: Key,
    /// Its number: grows with each new person.
    pub serial: i64,
}

impl Pick {
    /// What `grant` is ordered by in this list; `None` if it is not in it.
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
    /// The first part, forwards.
    #[must_use]
    pub fn first(pick: Pick, limit: u32, now: UnixTime) -> Self {
        Self { pick, backwards: false, after: None, limit, among: None, now }
    }

    /// `limit`, to count with.
    pub(super) fn most(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// This part of `grants`, which are all there are: for few of them, or for a store without indexes.
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
