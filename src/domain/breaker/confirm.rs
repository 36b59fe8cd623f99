//! When a refusal is this grant's, and when it is final.

use crate::domain::breaker::Breaker;
use crate::domain::breaker::Cause;
use crate::domain::breaker::MASS_REFUSAL;
use crate::domain::breaker::SentRefresh;
use crate::domain::breaker::Turn;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;
use crate::domain::verdict::Verdict;

impl Breaker {
    /// Whether a refusal of the client is this grant's fault: the client was refused for it before, and has been
    /// accepted for another person since.
    pub(super) fn is_the_grants_fault(&self, verdict: &Verdict, sent: &SentRefresh) -> bool {
        if !matches!(verdict, Verdict::ClientRefused(_)) {
            return false;
        }
        let before = sent.ended || sent.previous == Outcome::ClientRefused;
        // Between the last two refusals: one before may have been under way when the secret was changed for all.
        let accepted = |(at, other): &(_, _)| *at > sent.previous_at && *other != sent.person;
        before && self.accepted.as_ref().is_some_and(accepted)
    }

    /// Makes a refusal final, or not yet.
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
        // Not while another person's grant is refused, too: then time must show whose fault it is.
        let waits = sent.on_demand && sent.token_dead && !self.suspects.others_are_refused(&sent.person, now);
        if now.since(first) < sent.confirm_after && !waits {
            return false;
        }
        !self.all_are_refused(now)
    }

    /// Whether so many grants are refused, for less than a day, that none of them may be to blame.
    pub(super) fn all_are_refused(&self, now: UnixTime) -> bool {
        self.mass_refusal_since.is_some_and(|since| now < since + MASS_REFUSAL)
    }

    /// Closes a breaker that many refused grants opened a day ago or earlier: from then on each grant is judged by itself.
    pub fn end_mass_refusal(&mut self, now: UnixTime) -> Option<Turn> {
        self.look_at_the_clock(now);
        if self.all_are_refused(now) {
            return None;
        }
        self.mass_refusal_since.take()?;
        let outage = self.outage.take_if(|outage| outage.cause == Cause::ManyRefused)?;
        outage.confirmed.then_some(Turn::MassRefusalEnded)
    }
}
