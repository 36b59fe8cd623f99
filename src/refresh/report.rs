//! What is logged of refreshes: one line for each, and one alert for a trouble of all.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use log::Level;
use tokio::time::Instant;

use crate::domain::breaker::Turn;
use crate::domain::explain::failed;
use crate::domain::grant::Grant;
use crate::domain::time::UnixTime;
use crate::domain::time::spoken;
use crate::domain::verdict::Outcome;
use crate::refresh::refresher::Refresher;

/// How often it is logged that refreshes still pause.
const TELL_AGAIN: Duration = Duration::from_secs(600);

/// When it was last logged that refreshes pause.
#[derive(Debug, Default)]
pub(super) struct ToldAgain(Mutex<Option<Instant>>);

impl ToldAgain {
    /// Whether it was logged lately; if not, it is now.
    fn lately(&self) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = told.is_some_and(|at| at.elapsed() < TELL_AGAIN);
        if !lately {
            *told = Some(Instant::now());
        }
        lately
    }

    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Logs a change of the breaker. That the trouble lasts is logged again after ten minutes at the earliest.
fn log_turn(turn: Option<Turn>, told: &ToldAgain) {
    match turn {
        Some(Turn::Opened { until, cause, again: false }) => {
            told.now();
            log::error!("refreshes pause, the next try is at {until}: {cause}");
        }
        Some(Turn::Opened { until, cause, again: true }) => {
            let level = if told.lately() { Level::Debug } else { Level::Warn };
            log::log!(level, "refreshes still pause, the next try is at {until}: {cause}");
        }
        Some(Turn::MassRefusalEnded) => log::warn!(
            "Webex has refused all grants for a day: each is judged by itself from now on, and ends when it is refused again"
        ),
        Some(Turn::Closed) => log::info!("Webex answers again, refreshes go on"),
        None => {}
    }
}

impl Refresher {
    /// A breaker that many refused grants opened closes after a day.
    pub(super) async fn end_mass_refusal(&self, now: UnixTime) {
        let turn = self.breaker().end_mass_refusal(now);
        if turn.is_some() {
            self.turned(turn);
            self.keep_breaker().await;
        }
    }

    /// Tells of a change of the breaker.
    pub(super) fn turned(&self, turn: Option<Turn>) {
        if turn.is_some() {
            self.parts().view.events().breaker_turned();
        }
        log_turn(turn, &self.told_again);
    }

    /// The one line of a refresh.
    pub(super) fn tell(&self, level: Level, grant: &Grant, tracking_id: Option<&str>, now: UnixTime) {
        let (person, last) = (&grant.person, &grant.last);
        let id = tracking_id.unwrap_or("none");
        let hash = grant.tokens.access_token.fingerprint();
        let expires = grant.tokens.expires_at;
        match last.outcome {
            Outcome::Renewed | Outcome::Unchanged => {
                log::log!(
                    level,
                    "{person}: {}, expires {expires}, token hash {hash}, tracking id {id}",
                    last.outcome
                );
            }
            Outcome::ConsentNeeded => log::log!(
                level,
                "{person}: consent needed at {}, Webex no longer renews this grant ({}); the access token lives until \
                 {expires}, token hash {hash}, tracking id {id}",
                self.parts().webex.consent_url(&grant.person),
                last.detail
            ),
            outcome => log::log!(
                level,
                "{person}: {outcome} ({}), {}, next try in {}; the access token lives until {expires}, \
                 token hash {hash}, tracking id {id}",
                last.detail,
                failed(grant.failures),
                spoken(grant.next.due_at.until(now))
            ),
        }
    }
}

/// How loud a refresh is told. One alert speaks for all: a failure that only repeats the breaker's cause is no news.
pub(super) fn level(outcome: Outcome, repeated: bool) -> Level {
    match outcome {
        Outcome::Renewed | Outcome::Unchanged => Level::Info,
        Outcome::ConsentNeeded => Level::Error,
        _ if repeated => Level::Debug,
        _ => Level::Warn,
    }
}
