//! Logs refreshes: one line for each, and one alert for a failure that concerns all persons.

use std::time::Duration;

use log::Level;

use crate::domain::breaker::Transition;
use crate::domain::grant::Grant;
use crate::domain::person::Person;
use crate::domain::time::UnixTime;
use crate::domain::time::human_duration;
use crate::domain::verdict::Outcome;
use crate::domain::why::failed;
use crate::log_throttle::LogThrottle;
use crate::webex::Webex;

/// Shortest time between two lines that say that refreshes still pause.
pub(super) const PAUSE_LOG_INTERVAL: Duration = Duration::from_secs(600);

/// Logs a change of the breaker. That refreshes still pause is logged again after ten minutes at the earliest.
pub(super) fn log_transition(turn: Option<Transition>, told: &LogThrottle) {
    match turn {
        Some(Transition::Opened { until, cause, again: false }) => {
            told.restart();
            log::error!("refreshes pause, the next try is at {until}: {cause}");
        }
        Some(Transition::Opened { until, cause, again: true }) => {
            let level = if told.next_line().is_some() { Level::Warn } else { Level::Debug };
            log::log!(level, "refreshes still pause, the next try is at {until}: {cause}");
        }
        Some(Transition::MassRefusalEnded) => log::warn!(
            "Webex has refused all grants for a day: each is now judged by itself, and ends when it is refused again"
        ),
        Some(Transition::Closed) => log::info!("Webex answers again, refreshes go on"),
        None => {}
    }
}

/// Logs the result of a refresh in one line.
pub(super) fn log_refresh(
    webex: &Webex,
    level: Level,
    grant: &Grant,
    tracking_id: Option<&str>,
    now: UnixTime,
) {
    let (person, last) = (&grant.person, &grant.last);
    let event = match last.outcome {
        Outcome::Renewed => "access token renewed".to_owned(),
        Outcome::Unchanged => "access token unchanged".to_owned(),
        Outcome::ConsentNeeded => format!(
            "consent needed at {}, because Webex no longer renews this grant ({})",
            webex.consent_url(person),
            last.detail
        ),
        _ => format!(
            "refresh {} ({}), next try in {}",
            failed(grant.failures),
            last.detail,
            human_duration(grant.next.due_at.until(now))
        ),
    };
    log::log!(
        level,
        person = person.id.as_str(),
        outcome = last.outcome.as_str(),
        expires_at:% = grant.tokens.expires_at,
        token_hash:% = grant.tokens.access_token.fingerprint(),
        tracking_id;
        "{person}: {event}"
    );
}

/// Logs `text` about a person, with the id in the pair `person`.
pub(super) fn log_about(person: &Person, level: Level, text: &str) {
    log::log!(level, person = person.id.as_str(); "{person}: {text}");
}

/// Logs that the result of a refresh is not stored.
pub(super) fn log_discarded(person: &Person, tracking_id: Option<&str>) {
    log::info!(
        person = person.id.as_str(),
        tracking_id;
        "{person}: the result of a refresh is discarded, because the grant was replaced or removed meanwhile"
    );
}

/// The level of a refresh's line. A failure that only repeats the breaker's cause is `DEBUG`, because one alert covers it.
pub(super) fn log_level(outcome: Outcome, repeated: bool) -> Level {
    match outcome {
        Outcome::Renewed | Outcome::Unchanged => Level::Info,
        Outcome::ConsentNeeded => Level::Error,
        _ if repeated => Level::Debug,
        _ => Level::Warn,
    }
}
