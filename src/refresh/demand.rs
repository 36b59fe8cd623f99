//! Refreshes that somebody waits for: a reader whose token is too old, a person who says so. One refresh for any
//! number of callers; every wait is bounded; the live token is given while Webex is down.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::domain::breaker::Role;
use crate::domain::grant::Grant;
use crate::domain::grant::Standing;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;
use crate::refresh::busy::Busy;
use crate::refresh::pace::Reason;
use crate::refresh::refresher::Refresher;
use crate::store::StoreError;
use crate::tokens::Mark;

/// A reader is not kept waiting longer; the refresh goes on without them.
const READER_WAIT: Duration = Duration::from_secs(20);

/// Whoever asked for the refresh itself waits for its end: the start's turn, the whole call, the commit.
const ASKER_WAIT: Duration = Duration::from_secs(60);

/// After a failure readers do not cause another try sooner than this; the loop's ladder goes on beside.
const READER_STEP: Duration = Duration::from_secs(30);

/// A refused grant whose token is dead is asked about once more after this, while the caller waits: a second refusal
/// confirms the first.
const CONFIRM_STEP: Duration = Duration::from_secs(1);

/// A token that may be given away.
#[derive(Clone, Debug)]
pub struct Given {
    /// With the token in it.
    pub grant: Arc<Grant>,
    /// It lives less long than was asked for: the longest there is.
    pub short: bool,
}

/// Why there is no live token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoToken {
    /// Nobody of this name is kept.
    #[error("no such person")]
    UnknownPerson,
    /// The access token is dead and Webex will not renew it, or the stored record does not open.
    #[error("the person must consent again")]
    ConsentNeeded(Arc<Grant>),
    /// The access token is dead and Webex does not answer well at present.
    #[error("no live token at present: {why}")]
    Unavailable {
        /// Fit for people.
        why: String,
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// The store cannot say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What came of a refresh that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// A new access token.
    Renewed,
    /// Webex answered with the same one.
    Unchanged,
    /// It was not sent: the last one is too young.
    Skipped,
    /// It was sent and did not work, or could not be sent.
    Failed,
}

impl Came {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// What a refresh that was asked for came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// In a word.
    pub came: Came,
    /// In a sentence; empty when there is nothing to say.
    pub detail: String,
    /// The grant after it.
    pub grant: Arc<Grant>,
}

/// Why no refresh begins.
const STOPS: &str = "the daemon is being stopped";

impl Refresher {
    /// A live token of `person` that lives at least `min_ttl`, refreshed first if need be. Where Webex gives none that
    /// lives so long, the longest there is.
    ///
    /// # Errors
    /// [`NoToken`], only when there is no live token at all.
    pub async fn token(self: &Arc<Self>, person: &PersonId, min_ttl: Duration) -> Result<Given, NoToken> {
        self.token_if(person, min_ttl, || true).await
    }

    /// The same; `may` is asked before a refresh begins for this caller. Without it the caller gets the token there is.
    ///
    /// # Errors
    /// [`NoToken`], as [`Refresher::token`].
    pub async fn token_if(
        self: &Arc<Self>,
        person: &PersonId,
        min_ttl: Duration,
        may: impl FnOnce() -> bool,
    ) -> Result<Given, NoToken> {
        let grant = self.known(person).await?;
        let now = self.parts().clock.now();
        let enough = min_ttl.min(self.longest(&grant));
        let is_enough = grant.life_left(now) >= enough.max(Duration::from_millis(1));
        if is_enough || !self.reader_may_ask(&grant, now) || !self.may_fly(person, may) {
            return self.give(grant, min_ttl);
        }
        let begun = Instant::now();
        self.fly(person, READER_WAIT, false).await;
        self.confirm_refusal(person, READER_WAIT.saturating_sub(begun.elapsed())).await?;
        self.give(self.known(person).await?, min_ttl)
    }

    /// Asks once more about a grant that was just refused and whose token is dead, so that the caller is not sent away to
    /// come again.
    async fn confirm_refusal(self: &Arc<Self>, person: &PersonId, patience: Duration) -> Result<(), NoToken> {
        let grant = self.known(person).await?;
        let refused = grant.last.outcome == Outcome::Refused && grant.standing == Standing::Alive;
        let dead = grant.life_left(self.parts().clock.now()).is_zero();
        if refused && dead && patience > CONFIRM_STEP {
            sleep(CONFIRM_STEP).await;
            self.fly(person, patience.saturating_sub(CONFIRM_STEP), false).await;
        }
        Ok(())
    }

    /// Refreshes `person` now. Without `force` the no-op window is respected.
    ///
    /// # Errors
    /// [`NoToken::UnknownPerson`] and the store's.
    pub async fn renew(self: &Arc<Self>, person: &PersonId, force: bool) -> Result<Report, NoToken> {
        self.renew_if(person, force, || true).await
    }

    /// The same; `may` is asked before a refresh begins for this caller. Without it the refresh is skipped.
    ///
    /// # Errors
    /// As [`Refresher::renew`].
    pub async fn renew_if(
        self: &Arc<Self>,
        person: &PersonId,
        force: bool,
        may: impl FnOnce() -> bool,
    ) -> Result<Report, NoToken> {
        let before = self.known(person).await?;
        let now = self.parts().clock.now();
        let window = before.answered_at + self.parts().policy.noop_window;
        if !force && before.standing == Standing::Alive && now < window {
            let detail = format!(
                "Webex renews nothing before {window} (the no-op window); force it to ask all the same"
            );
            return Ok(Report { came: Came::Skipped, detail, grant: before });
        }
        if force && let Some(wait) = self.forced_lately(&before, now) {
            let seconds = wait.as_millis().div_ceil(1000);
            let detail = format!("it was tried a moment ago; a forced refresh may follow in {seconds} s");
            return Ok(Report { came: Came::Skipped, detail, grant: before });
        }
        if !force && self.backs_off(&before, now) {
            let detail = format!(
                "the last refresh failed a moment ago ({}); force it to ask all the same",
                before.last.detail
            );
            return Ok(Report { came: Came::Skipped, detail, grant: before });
        }
        if !self.may_fly(person, may) {
            return Ok(Report {
                came: Came::Skipped,
                detail: "the caller has used up its refresh budget".to_owned(),
                grant: before,
            });
        }
        let joined = self.fly(person, ASKER_WAIT, force).await;
        self.confirm_refusal(person, READER_WAIT).await?;
        let mut grant = self.known(person).await?;
        if joined && grant.last == before.last {
            // What it joined was put aside, for a consent that came meanwhile.
            self.fly(person, READER_WAIT, force).await;
            grant = self.known(person).await?;
        }
        if grant.last == before.last {
            let cause = self.breaker().trouble().map(|cause| format!("refreshes pause: {cause}"));
            let stops = self.parts().tasks.stopping().is_cancelled().then(|| STOPS.to_owned());
            let detail = cause
                .or(stops)
                .unwrap_or_else(|| "it could not be sent, or is still under way; see the log".to_owned());
            return Ok(Report { came: Came::Failed, detail, grant });
        }
        let came = match grant.last.outcome {
            Outcome::Renewed => Came::Renewed,
            Outcome::Unchanged => Came::Unchanged,
            _ => Came::Failed,
        };
        let detail = if came == Came::Failed {
            format!("{}: {}", grant.last.outcome, grant.last.detail)
        } else {
            String::new()
        };
        Ok(Report { came, detail, grant })
    }

    /// Removes a person's grant, tokens and all; answers whether there was one.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget(&self, person: &PersonId) -> Result<bool, StoreError> {
        let gone = self.parts().store.forget(person.clone()).await?;
        self.parts().view.publish(person);
        if gone {
            log::info!("{person}: forgotten");
        }
        Ok(gone)
    }

    async fn known(&self, person: &PersonId) -> Result<Arc<Grant>, NoToken> {
        let view = &self.parts().view;
        let grant = match view.look(person).await {
            // Its tokens are lost: to wait helps nothing.
            Err(StoreError::Unreadable(_)) => {
                let shown = view.show(person).await?.ok_or(NoToken::UnknownPerson)?;
                return Err(NoToken::ConsentNeeded(shown));
            }
            looked => looked?,
        };
        grant.ok_or(NoToken::UnknownPerson)
    }

    /// The longest life worth a refresh: more cannot be had without asking inside the no-op window, or so often that
    /// the person's quota of tokens would suffer.
    fn longest(&self, grant: &Grant) -> Duration {
        let lifetime = grant.dates().lifetime();
        lifetime.saturating_sub(self.parts().policy.noop_window).max(lifetime / 2)
    }

    fn reader_may_ask(&self, grant: &Grant, now: UnixTime) -> bool {
        let floor = self.parts().policy.floor_for(grant.dates().lifetime());
        grant.standing == Standing::Alive && now >= grant.answered_at + floor && !self.backs_off(grant, now)
    }

    /// How long a forced refresh must still wait, if the last refresh was too short ago. A consent is no refresh.
    fn forced_lately(&self, grant: &Grant, now: UnixTime) -> Option<Duration> {
        let refreshed = grant.failures > 0 || grant.answered_at > grant.obtained_at;
        let wait = (grant.last.at + self.parts().policy.forced_floor()).until(now);
        (refreshed && grant.last.at <= now && !wait.is_zero()).then_some(wait)
    }

    /// Whether it failed so lately, or in such a way, that asking again would only do harm.
    fn backs_off(&self, grant: &Grant, now: UnixTime) -> bool {
        let refused = grant.last.outcome == Outcome::Refused && grant.life_left(now).is_zero();
        // A refusal is to be confirmed for a caller who waits for a dead token.
        let step = if refused { CONFIRM_STEP } else { READER_STEP };
        let failing = grant.failures > 0 && now < grant.last.at + step;
        let limited =
            matches!(grant.last.outcome, Outcome::TokenLimit | Outcome::Busy) && now < grant.next.due_at;
        let limited = limited && grant.failures > 0;
        failing || limited
    }

    fn give(&self, grant: Arc<Grant>, min_ttl: Duration) -> Result<Given, NoToken> {
        let now = self.parts().clock.now();
        let left = grant.life_left(now);
        if !left.is_zero() {
            return Ok(Given { grant, short: left < min_ttl });
        }
        if grant.standing == Standing::ConsentNeeded {
            return Err(NoToken::ConsentNeeded(grant));
        }
        let why = match self.breaker().trouble() {
            Some(cause) => format!("refreshes pause: {cause}"),
            None if self.parts().tasks.stopping().is_cancelled() => STOPS.to_owned(),
            None if grant.failures > 0 => format!("the last refresh failed: {}", grant.last.detail),
            None => "the refresh is still under way".to_owned(),
        };
        let retry_after = grant.next.due_at.until(now).clamp(Duration::from_secs(1), READER_STEP);
        Err(NoToken::Unavailable { why, retry_after })
    }

    /// Whether a caller may wait for a refresh of `person`. One that is under way already costs nothing more.
    fn may_fly(&self, person: &PersonId, may: impl FnOnce() -> bool) -> bool {
        self.busy().holds(person) || may()
    }

    /// Joins the person's flight, or begins it beside the caller, who may leave. Answers whether it was somebody else's,
    /// and has ended.
    async fn fly(self: &Arc<Self>, person: &PersonId, patience: Duration, forced: bool) -> bool {
        let (flight, busy) = self.busy().join(person);
        let joined = busy.is_none();
        if let Some(busy) = busy {
            let (refresher, published) = (self.clone(), self.parts().view.events().now());
            self.parts()
                .tasks
                .spawn("refresh on demand", async move { refresher.fly_one(busy, forced, published).await });
        }
        // Whoever waits in vain is given what there is.
        timeout(patience, flight.ended()).await.is_ok() && joined
    }

    /// Asks the breaker whether a refresh of one person may be sent. A grant that has failed is tried when it is due, or
    /// when an operator insists.
    async fn admit(&self, person: &PersonId, forced: bool) -> Option<Role> {
        let grant = self.known(person).await.ok()?;
        let now = self.parts().clock.now();
        let healthy = grant.failures == 0 && grant.standing == Standing::Alive;
        let insists = forced && (now >= grant.last.at + READER_STEP || now < grant.last.at);
        self.breaker().admit_on_demand(healthy, insists || now >= grant.next.due_at, now)
    }

    async fn fly_one(&self, busy: Busy, forced: bool, published: Mark) {
        let Ok(place) = self.asked().acquire().await else { return };
        let person = busy.person().clone();
        if self.keeps_nothing() {
            log::info!("{person}: not refreshed, the store keeps nothing at present");
            return;
        }
        // Before it takes one of the starts, which the probes need while the breaker is open.
        let Some(role) = self.admit(&person, forced).await else { return };
        // Before the claim, whose lease would run out while it waits.
        self.starts().next(Reason::Requested).await;
        let stops = self.parts().tasks.stopping().is_cancelled();
        let changed = self.parts().view.events().changed_since(published, &person);
        if stops || changed || self.keeps_nothing() || !self.breaker().may_send(role) {
            // The daemon ends as soon as what runs is finished; or a consent or removal came first; or what came back
            // could not be kept; or the breaker has opened meanwhile.
            if role == Role::Probe {
                self.breaker().cancel_probe();
            }
            return;
        }
        match self.claim_one(busy, role).await {
            Ok(Some(taken)) => {
                self.send(taken, place).await;
                return;
            }
            Ok(None) => {}
            Err(why) => {
                log::log!(why.level(), "{person}: no refresh is sent: {why}");
                if matches!(why, StoreError::Unreadable(_)) {
                    // Readers must see it, too, and not what was cached before.
                    self.parts().view.publish(&person);
                }
            }
        }
        if role == Role::Probe {
            self.breaker().cancel_probe();
        }
    }
}
