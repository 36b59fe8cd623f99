//! Decides whether a refusal concerns one grant, and whether it is final.

use crate::domain::breaker::cause::Cause;
use crate::domain::breaker::decisions::Breaker;
use crate::domain::breaker::decisions::MASS_REFUSAL;
use crate::domain::breaker::decisions::Transition;
use crate::domain::breaker::sent_refresh::SentRefresh;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;
use crate::domain::verdict::Verdict;

impl Breaker {
    /// Whether the grant causes a refusal of the client: the client was refused for this grant before, and has been accepted
    /// for another person since.
    pub(super) fn is_the_grants_fault(&self, verdict: &Verdict, sent: &SentRefresh) -> bool {
        if !matches!(verdict, Verdict::ClientRefused(_)) {
            return false;
        }
        let before = sent.ended || sent.previous == Outcome::ClientRefused;
        // The acceptance must be later than the previous refusal. An earlier one may have been under way when the secret was
        // changed for all persons.
        let accepted = |(at, other): &(_, _)| *at > sent.previous_at && *other != sent.person;
        before && self.accepted.as_ref().is_some_and(accepted)
    }

    /// Makes a refusal final if it is confirmed.
    pub(super) fn confirm(
        &self,
        verdict: Verdict,
        sent: &SentRefresh,
        blamed: bool,
        now: UnixTime,
    ) -> Verdict {
        match verdict {
            Verdict::ConsentNeeded(why) | Verdict::Refused(why) if self.is_final(sent, now) => {
                Verdict::ConsentNeeded(why)
            }
            Verdict::ConsentNeeded(why) => Verdict::Refused(why),
            Verdict::ClientRefused(why) if blamed && self.is_final(sent, now) => Verdict::ConsentNeeded(why),
            other => other,
        }
    }

    fn is_final(&self, sent: &SentRefresh, now: UnixTime) -> bool {
        if sent.ended {
            return true;
        }
        let Some(first) = sent.refused_since.filter(|first| *first <= now) else { return false };
        // Not if another person's grant is refused as well. Then only time shows what the cause is.
        let waits = sent.on_demand && sent.token_dead && !self.suspects.others_are_refused(&sent.person, now);
        if now.since(first) < sent.confirm_after && !waits {
            return false;
        }
        !self.all_are_refused(now)
    }

    /// Whether so many grants have been refused for less than a day that the cause may be common to them.
    pub(super) fn all_are_refused(&self, now: UnixTime) -> bool {
        self.mass_refusal_since.is_some_and(|since| now < since + MASS_REFUSAL)
    }

    /// Closes a breaker that many refused grants opened a day ago or earlier. From then on each grant is judged by itself.
    pub fn end_mass_refusal(&mut self, now: UnixTime) -> Option<Transition> {
        self.look_at_the_clock(now);
        if self.all_are_refused(now) {
            return None;
        }
        self.mass_refusal_since.take()?;
        let outage = self.outage.take_if(|outage| outage.cause == Cause::ManyRefused)?;
        outage.confirmed.then_some(Transition::MassRefusalEnded)
    }
}
