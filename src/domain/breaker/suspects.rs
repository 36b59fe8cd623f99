//! Evidence against the app or Webex, before the breaker opens.

use std::time::Duration;

use crate::domain::breaker::Cause;
use crate::domain::breaker::SentRefresh;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;

/// So many persons with transient failures in a row are no coincidence.
const TRANSIENT: usize = 5;

/// More than so many persons whose grants are refused within [`REFUSED_WITHIN`] are no coincidence.
const REFUSED: usize = 5;

/// See [`REFUSED`].
const REFUSED_WITHIN: Duration = Duration::from_secs(600);

/// Persons whose refreshes failed in a new way since the last success of any. Bounded by the constants above.
#[derive(Clone, Debug, Default)]
pub(super) struct Suspects {
    client_refused: Option<PersonId>,
    /// With the end of the wait that Webex asked for.
    busy: Option<(PersonId, UnixTime)>,
    transient: Vec<PersonId>,
    refused: Vec<(PersonId, UnixTime)>,
}

impl Suspects {
    /// A refresh succeeded: what failed before was the persons' own trouble.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
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
                let end = wait_until.unwrap_or(now);
                // What the first person was asked for may be over.
                self.busy.take_if(|(_, first_end)| *first_end < now);
                let (first, first_end) = self.busy.get_or_insert_with(|| (person.clone(), end));
                (*first != *person).then_some(Some(end.min(*first_end)))
            }
            Cause::ManyFailing | Cause::ManyRefused => {
                if !self.transient.contains(person) {
                    self.transient.push(person.clone());
                }
                (self.transient.len() >= TRANSIENT).then_some(None)
            }
        }
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
