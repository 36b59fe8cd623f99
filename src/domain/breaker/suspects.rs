//! Collects failures of different persons until they open the breaker.

use std::cmp::Reverse;
use std::time::Duration;

use crate::domain::breaker::cause::Cause;
use crate::domain::breaker::sent_refresh::SentRefresh;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;

/// Number of persons with transient failures in a row that opens the breaker.
const TRANSIENT: usize = 5;

/// Number of requests to wait that are remembered.
const BUSY: usize = 8;

/// If more persons than this have their grants refused within [`REFUSED_WITHIN`], the breaker opens.
const REFUSED: usize = 5;

/// See [`REFUSED`].
const REFUSED_WITHIN: Duration = Duration::from_secs(600);

/// Persons whose refreshes failed in a new way since the last success of any person. The constants above limit their number.
#[derive(Clone, Debug, Default)]
pub(super) struct Suspects {
    client_refused: Option<PersonId>,
    /// The waits that Webex requested, the one that ends last first.
    busy: Vec<RequestedWait>,
    transient: Vec<PersonId>,
    refused: Vec<(PersonId, UnixTime)>,
}

/// Webex requested a wait for one person.
#[derive(Clone, Debug)]
struct RequestedWait {
    person: PersonId,
    requested_at: UnixTime,
    end: UnixTime,
}

impl Suspects {
    /// Called when a refresh succeeded: the failures before concerned single persons.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Called when Webex responded regularly without accepting a refresh token.
    pub(super) fn clear_all_but_refused(&mut self) {
        let refused = std::mem::take(&mut self.refused);
        *self = Self { refused, ..Self::default() };
    }

    /// Adds a failed refresh. `Some` if the breaker must open, with the end of the wait that Webex requested for two
    /// persons (or the only one), if it did.
    pub(super) fn add(
        &mut self,
        cause: Cause,
        sent: &SentRefresh,
        wait_until: Option<UnixTime>,
        now: UnixTime,
    ) -> Option<Option<UnixTime>> {
        let person = &sent.person;
        if sent.only_person && cause != Cause::ManyFailing {
            return Some(wait_until);
        }
        match cause {
            Cause::ClientRefused => {
                let first = self.client_refused.get_or_insert_with(|| person.clone());
                (*first != *person).then_some(None)
            }
            Cause::Busy => {
                // The waits of other persons may be over. If one was requested in the future, the clock was set back since,
                // and its end means nothing.
                self.busy
                    .retain(|wait| wait.person != *person && wait.requested_at <= now && now <= wait.end);
                let end = wait_until.unwrap_or(now);
                self.busy.push(RequestedWait { person: person.clone(), requested_at: now, end });
                self.busy.sort_by_key(|wait| Reverse(wait.end));
                self.busy.truncate(BUSY);
                self.busy.get(1).map(|wait| Some(wait.end))
            }
            // Refused grants are counted by `refused`.
            Cause::ManyRefused => None,
            Cause::ManyFailing => {
                if !self.transient.contains(person) {
                    self.transient.push(person.clone());
                }
                (self.transient.len() >= TRANSIENT).then_some(None)
            }
        }
    }

    /// Whether another person's grant was refused within [`REFUSED_WITHIN`], with no success since.
    pub(super) fn others_are_refused(&self, person: &PersonId, now: UnixTime) -> bool {
        self.refused.iter().any(|(other, at)| other != person && now < *at + REFUSED_WITHIN)
    }

    /// Adds a refused grant. Answers whether so many are refused that the cause may be common to them.
    pub(super) fn refused(&mut self, person: &PersonId, now: UnixTime) -> bool {
        self.refused.retain(|(other, at)| other != person && *at <= now && now < *at + REFUSED_WITHIN);
        self.refused.push((person.clone(), now));
        if self.refused.len() <= REFUSED {
            return false;
        }
        self.refused.remove(0);
        true
    }
}
