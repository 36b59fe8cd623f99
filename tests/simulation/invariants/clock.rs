//! When a token expires, and when it is refreshed next, as the daemon believes.

use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;

use crate::simulation::invariants::InvariantChecker;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;

impl InvariantChecker {
    /// Rule 9: the time of the next try.
    pub(super) fn bad_next_try(&self, before: &Grant, grant: &Grant, excused: bool) -> Option<String> {
        // A schedule made during a clock step may follow either clock.
        if self.clock_changed + 5 * MINUTE > self.now {
            return None;
        }
        let ended = |grant: &Grant| grant.status == GrantStatus::ConsentNeeded;
        if ended(before) && ended(grant) && grant.last.at < before.next.due_at {
            // It was requested between two scheduled tries.
            let kept = (grant.next, grant.failures) == (before.next, before.failures);
            return (!kept && !excused).then(|| "a refresh that was asked for moves the next try".to_owned());
        }
        let wait = grant.next.due_at.since(grant.last.at);
        let most = match grant.status {
            GrantStatus::ConsentNeeded if grant.failures > 5 => return None,
            GrantStatus::ConsentNeeded => DAY + DAY / 5,
            GrantStatus::Active if grant.failures > 0 => 6 * HOUR + 6 * HOUR / 5,
            GrantStatus::Active => 400 * DAY,
        };
        let least = match grant.failures {
            0 => SECOND,
            _ if grant.status == GrantStatus::ConsentNeeded => DAY,
            _ => MINUTE,
        };
        (wait < least || wait > most || grant.next.wake_at < grant.next.due_at).then(|| {
            format!(
                "the next try is {wait:?} after this one ({least:?}..{most:?}), failure {}",
                grant.failures
            )
        })
    }

    /// No token is believed to live longer than Webex says.
    pub(super) fn check_expiry(&mut self, person: usize, grant: &Grant) {
        let Some(minted) = self.access.get(grant.tokens.access_token.expose()) else {
            return self.violate("4", &format!("person {person}: a token is kept that Webex never gave"));
        };
        let shift = self.wall.0 - self.now.0;
        let beyond = grant.tokens.expires_at.0 - shift - minted.expires.0;
        // A token reported as expired is believed to have expired when it was requested, however long ago.
        let told_dead = grant.tokens.expires_at <= grant.renewed_at;
        if minted.person != person {
            self.violate("4", &format!("person {person} got the token of person {}", minted.person));
        } else if beyond > 0
            && !told_dead
            // Where Webex returns an expired token, the stored one stays. If the clock was set while the daemon was
            // stopped, its true end is unknown.
            && minted.era == self.era
            && self.clock_changed + 5 * MINUTE < self.now
            && grant.last.outcome.as_str() == "renewed"
        {
            self.violate(
                "3 (expiry counts from the sending)",
                &format!("person {person}: {beyond} ms too late"),
            );
        }
    }
}
