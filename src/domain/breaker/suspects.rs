//! Evidence against the app or Webex, before the breaker opens.

use std::cmp::Reverse;
use std::time::Duration;

use crate::domain::breaker::Cause;
use crate::domain::breaker::SentRefresh;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;

/// So many persons with transient failures in a row are no coincidence.
const TRANSIENT: usize = 5;

/// So many requests to wait are remembered.
const BUSY: usize = 8;

/// More than so many persons whose grants are refused within [`REFUSED_WITHIN`] are no coincidence.
const REFUSED: usize = 5;

/// See [`REFUSED`].
const REFUSED_WITHIN: Duration = Duration::from_secs(600);

/// Persons whose refreshes failed in a new way since the last success of any. Bounded by the constants above.
#[derive(Clone, Debug, Default)]
pub(super) struct Suspects {
    client_refused: Option<PersonId>,
    /// With the ends of the waits that Webex asked for, the latest first.
    busy: Vec<(PersonId, UnixTime)>,
    transient: Vec<PersonId>,
    refused: Vec<(PersonId, UnixTime)>,
}

impl Suspects {
    /// A refresh succeeded: what failed before was the persons' own trouble.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Webex answered properly, but did not accept a refresh token.
    pub(super) fn clear_all_but_refused(&mut self) {
        let refused = std::mem::take(&mut self.refused);
        *self = Self { refused, ..Self::default() };
    }

    /// Adds a failed refresh. `Some` if the evidence is enough to open the breaker, with the end of the wait that two
    /// persons (or the only one) were asked for, if they were.
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
                // What others were asked for may be over.
                self.busy.retain(|(other, end)| other != person && *end >= now);
                self.busy.push((person.clone(), wait_until.unwrap_or(now)));
                self.busy.sort_by_key(|(_, end)| Reverse(*end));
                self.busy.truncate(BUSY);
                self.busy.get(1).map(|(_, end)| Some(*end))
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

    /// Whether another person's grant was refused lately, with no success since.
    pub(super) fn others_are_refused(&self, person: &PersonId, now: UnixTime) -> bool {
        self.refused.iter().any(|(other, at)| other != person && now < *at + REFUSED_WITHIN)
    }

    /// Adds a refused grant. Answers whether so many are refused that none of them may be to blame.
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
