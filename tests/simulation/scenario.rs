//! What a seed determines: a Webex, an operator's settings, and the kinds of events.

use std::time::Duration;

use webex_sim::ErrorBody;
use webex_sim::Person;
use webex_sim::RefreshLife;
use webex_sim::RefreshToken;
use webex_sim::Settings;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::refresh::RateLimits;

use crate::simulation::rng::SimRng;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;

/// How much to simulate.
#[derive(Clone, Copy, Debug)]
pub(super) struct SimSize {
    pub(super) persons: usize,
    pub(super) days: u32,
    /// The longest time between two events; the average is about half of it.
    pub(super) gap: Duration,
}

pub(super) const SHORT: SimSize = SimSize { persons: 10, days: 60, gap: Duration::from_secs(12 * 3600) };
pub(super) const LONG: SimSize = SimSize { persons: 50, days: 400, gap: Duration::from_secs(36 * 3600) };

/// Kinds of events, each on or off for a whole seed: a run with few kinds of faults shows bugs that a run with all of
/// them hides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    Consent,
    TwoConsents,
    ConsentDuringRefresh,
    Forget,
    Renew,
    Read,
    Outage,
    Sickness,
    BadTenant,
    Incident,
    OutageInMargin,
    StoreTrouble,
    Revoke,
    ClockSet,
    Suspend,
    Crash,
    CrashAtStep,
    Restart,
}

const EVENT_KINDS: [EventKind; 18] = [
    EventKind::Consent,
    EventKind::TwoConsents,
    EventKind::ConsentDuringRefresh,
    EventKind::Forget,
    EventKind::Renew,
    EventKind::Read,
    EventKind::Outage,
    EventKind::Sickness,
    EventKind::BadTenant,
    EventKind::Incident,
    EventKind::OutageInMargin,
    EventKind::StoreTrouble,
    EventKind::Revoke,
    EventKind::ClockSet,
    EventKind::Suspend,
    EventKind::Crash,
    EventKind::CrashAtStep,
    EventKind::Restart,
];

/// Everything that is drawn before the first event.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) size: SimSize,
    pub(super) webex: Settings,
    pub(super) policy: Policy,
    pub(super) pace: RateLimits,
    /// `EVENT_LOOP_CATCH_UP_PER_SECOND`, of every other scenario.
    pub(super) catch_up: f64,
    /// Uses SQLite in a directory instead of the memory store.
    pub(super) sqlite: bool,
    /// Shortens sleeps in which nothing can happen (see `faulty_store`).
    pub(super) skips: bool,
    /// How many of a thousand requests fail outside of fault windows.
    pub(super) background_rate: u64,
    /// Whether a failing store may have done its work: worse than its contract.
    pub(super) ack_lost: bool,
    pub(super) kinds: Vec<EventKind>,
}

impl Scenario {
    pub(super) fn draw(seed: u64, size: SimSize, rng: &mut SimRng) -> Self {
        let sqlite = rng.per_mille(if size.days > 100 { 0 } else { 60 });
        let size = if sqlite { SimSize { persons: 5, days: 20, ..size } } else { size };
        let many = !sqlite && size.days <= 100 && rng.per_mille(120);
        let size = if many { SimSize { persons: rng.pick(&[40, 80, 112]), days: 6, ..size } } else { size };
        let lives = [12 * HOUR, 12 * HOUR, 24 * HOUR, 36 * HOUR, 3 * DAY, 7 * DAY, 14 * DAY, 14 * DAY];
        // Tokens of one hour are refreshed every half hour, so a few days of them are enough.
        let short_lived = size.days <= 100 && rng.per_mille(120);
        let access = if short_lived { HOUR } else { rng.pick(&lives) };
        let size = if short_lived { SimSize { days: size.days.min(4), gap: 2 * HOUR, ..size } } else { size };
        let window = rng.pick(&[Duration::ZERO, HOUR, DAY, DAY]).min(access / 4);
        let policy = Policy {
            sleep: rng.pick(&[10 * MINUTE, HOUR, HOUR, 3 * HOUR, 6 * HOUR]),
            max_age: rng.pick(&[DAY / 2, DAY, 2 * DAY, 5 * DAY, 30 * DAY]),
            noop_window: rng.pick(&[window, Duration::ZERO, DAY]),
            floor: rng.pick(&[5 * MINUTE, 5 * MINUTE, Duration::ZERO, HOUR]),
        };
        let pace = RateLimits {
            concurrency: rng.pick(&[1, 2, 4, 16, 64]),
            per_second: rng.pick(&[20.0, 20.0, 0.0, 5.0, 1.0, if size.persons > 20 { 2.0 } else { 0.2 }]),
        };
        Self {
            size,
            webex: Self::webex(seed, size, access, window, rng),
            policy,
            pace,
            catch_up: if seed.is_multiple_of(2) { 200.0 } else { 0.0 },
            sqlite,
            skips: !rng.per_mille(20) || size.days > 100,
            background_rate: rng.pick(&[0, 0, 5, 30]),
            ack_lost: rng.per_mille(200),
            kinds: EVENT_KINDS.into_iter().filter(|_| rng.per_mille(600)).collect(),
        }
    }

    fn webex(seed: u64, size: SimSize, access: Duration, window: Duration, rng: &mut SimRng) -> Settings {
        let grace = RefreshToken::RotatingWithGrace(rng.pick(&[MINUTE, HOUR, DAY]));
        Settings {
            access_lifetime: access,
            refresh_lifetime: 90 * DAY,
            noop_window: window,
            refresh_token: rng.pick(&[
                RefreshToken::Stable,
                RefreshToken::Stable,
                RefreshToken::Rotating,
                grace,
            ]),
            refresh_life: rng.pick(&[RefreshLife::Renewed, RefreshLife::Renewed, RefreshLife::CountsDown]),
            reconsent_keeps_refresh_token: rng.per_mille(200),
            omit_scope: rng.coin(),
            omit_refresh_token: false,
            error_body: rng.pick(&[ErrorBody::Webexapis, ErrorBody::Idbroker]),
            old_token_survives: rng.per_mille(800),
            latency: rng.pick(&[Duration::ZERO, SECOND / 10, SECOND / 2, 3 * SECOND]),
            people: Person::some(size.persons),
            seed,
            ..Settings::default()
        }
    }
}
