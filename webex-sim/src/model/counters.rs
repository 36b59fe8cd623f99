//! What was called, how often, and how much of it at once.

use std::collections::{HashMap, VecDeque};

use super::http::Visit;

/// Start times kept for each person; older ones are forgotten.
const STARTS_KEPT: usize = 1000;

/// A picture of what has happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls of each endpoint.
    pub calls: Calls,
    /// All refreshes, those with unknown refresh tokens included.
    pub refreshes: Refreshes,
    /// Codes exchanged for tokens.
    pub codes_exchanged: u64,
    /// By person index.
    pub people: Vec<PersonCounters>,
    /// By refresh token (its successors included), in the order of the consents.
    pub tokens: Vec<TokenCounters>,
    /// Calls whose responses are not sent completely yet.
    pub in_flight: usize,
    /// The most calls of all kinds that were in flight at once.
    pub most_in_flight: usize,
    /// The most refreshes of one refresh token (or its successors) that were in flight at once.
    pub most_in_flight_for_one_token: usize,
}

/// Calls of each endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// `/authorize`, page and decision.
    pub authorize: u64,
    /// `/access_token`, both grants.
    pub access_token: u64,
    /// `/people/me`
    pub people_me: u64,
    /// `/userinfo`
    pub user_info: u64,
    /// `/authorizations/tokenExpiry`
    pub token_expiry: u64,
    /// The device grant's endpoints.
    pub device: u64,
    /// `/memberships`
    pub memberships: u64,
    /// `/messages`
    pub messages: u64,
    /// `/hooks/notices`
    pub hooks: u64,
    /// Everything else.
    pub other: u64,
}

/// How refreshes went. `attempts` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refreshes {
    /// Refreshes that arrived.
    pub attempts: u64,
    /// A new access token was minted, whether or not the answer arrived.
    pub renewed: u64,
    /// Answered with the same access token.
    pub unchanged: u64,
    /// Refused by the model's own rules.
    pub refused: u64,
    /// Answered by a fault instead.
    pub faulted: u64,
}

/// One person's refreshes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonCounters {
    /// How they went.
    pub refreshes: Refreshes,
    /// When they arrived, in milliseconds since 1970, oldest first; the newest 1000.
    pub starts_ms: Vec<i64>,
}

/// One refresh token's refreshes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounters {
    /// Whose it is.
    pub person: usize,
    /// How they went.
    pub refreshes: Refreshes,
    /// The most that were in flight at once.
    pub most_in_flight: usize,
}

/// How one refresh went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Renewed,
    Unchanged,
    Refused,
    Faulted,
}

impl Refreshes {
    fn add(&mut self, outcome: Outcome) {
        self.attempts += 1;
        match outcome {
            Outcome::Renewed => self.renewed += 1,
            Outcome::Unchanged => self.unchanged += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Faulted => self.faulted += 1,
        }
    }
}

#[derive(Debug, Default)]
struct Person {
    refreshes: Refreshes,
    starts_ms: VecDeque<i64>,
}

/// Where the counting happens.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) calls: Calls,
    pub(super) codes_exchanged: u64,
    refreshes: Refreshes,
    people: Vec<Person>,
    tokens: Vec<TokenCounters>,
    visits: u64,
    here: HashMap<Visit, Option<usize>>,
    here_for: HashMap<usize, usize>,
    most_here: usize,
    most_here_for_one: usize,
}

impl Tally {
    /// A refresh token (the next one in order) exists for `person`.
    pub(super) fn token_opened(&mut self, person: usize) {
        self.tokens.push(TokenCounters { person, ..TokenCounters::default() });
    }

    /// A call has arrived; `token` is the refresh token it wants to use, if that is known.
    pub(super) fn arrive(&mut self, token: Option<usize>) -> Visit {
        self.visits += 1;
        let visit = Visit(self.visits);
        self.here.insert(visit, token);
        self.most_here = self.most_here.max(self.here.len());
        if let Some(token) = token {
            let here = self.here_for.entry(token).or_default();
            *here += 1;
            self.most_here_for_one = self.most_here_for_one.max(*here);
            if let Some(counters) = self.tokens.get_mut(token) {
                counters.most_in_flight = counters.most_in_flight.max(*here);
            }
        }
        visit
    }

    /// The call is over. Unknown visits, and those that left already, change nothing.
    pub(super) fn leave(&mut self, visit: Visit) {
        let Some(Some(token)) = self.here.remove(&visit) else { return };
        if let Some(here) = self.here_for.get_mut(&token) {
            *here -= 1;
            if *here == 0 {
                self.here_for.remove(&token);
            }
        }
    }

    /// A refresh that arrived at `now_ms` went like this.
    pub(super) fn refreshed(&mut self, now_ms: i64, token: Option<usize>, outcome: Outcome) {
        self.refreshes.add(outcome);
        let Some(counters) = token.and_then(|token| self.tokens.get_mut(token)) else { return };
        counters.refreshes.add(outcome);
        let index = counters.person;
        if self.people.len() <= index {
            self.people.resize_with(index + 1, Person::default);
        }
        if let Some(person) = self.people.get_mut(index) {
            person.refreshes.add(outcome);
            if person.starts_ms.len() == STARTS_KEPT {
                person.starts_ms.pop_front();
            }
            person.starts_ms.push_back(now_ms);
        }
    }

    /// A picture of it all; people without a refresh are in it, too, up to `people`.
    pub(super) fn picture(&self, people: usize) -> Counters {
        let picture = |person: &Person| PersonCounters {
            refreshes: person.refreshes,
            starts_ms: person.starts_ms.iter().copied().collect(),
        };
        let mut counted: Vec<_> = self.people.iter().map(picture).collect();
        counted.resize_with(people.max(counted.len()), PersonCounters::default);
        Counters {
            calls: self.calls,
            refreshes: self.refreshes,
            codes_exchanged: self.codes_exchanged,
            people: counted,
            tokens: self.tokens.clone(),
            in_flight: self.here.len(),
            most_in_flight: self.most_here,
            most_in_flight_for_one_token: self.most_here_for_one,
        }
    }
}
