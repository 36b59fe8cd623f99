//! Faults: which requests to Webex and which store calls fail, and how.

use std::time::Duration;

use webex_sim::model::DeadText;
use webex_sim::model::FaultKind;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::StoreError;

use crate::simulation::rng::SimRng;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;

/// Values of `Retry-After`, valid and invalid.
const RETRY_AFTERS: [Option<&str>; 14] = [
    None,
    Some("0"),
    Some("1"),
    Some("-5"),
    Some("120"),
    Some("1800"),
    Some("21600"),
    Some("99999999999"),
    Some("Wed, 21 Oct 2065 07:28:00 GMT"),
    Some("Thu, 01 Jan 1970 00:00:00 GMT"),
    Some("rand(30),add(30)"),
    Some("soon"),
    Some("1e9"),
    Some(""),
];

/// How the refreshes of one person of a failing organization go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PersonFault {
    Unauthorized,
    TooMany,
    Locked,
    Refused,
    Broken,
    Hanging,
}

/// A fault that lasts for a while.
#[derive(Clone, Debug)]
struct FaultWindow {
    until: UnixTime,
    /// One person's, or that of all.
    person: Option<usize>,
    kind: FaultKind,
    /// How many of a thousand requests fail.
    per_mille: u64,
}

/// What happens to one call of the store.
#[derive(Clone, Debug, Default)]
pub(super) struct StoreCallFault {
    pub(super) wait_before: Duration,
    pub(super) wait_after: Duration,
    /// It fails, and nothing is stored.
    pub(super) refused: Option<StoreError>,
    /// It succeeds, but its reply is an error.
    pub(super) reply_lost: Option<StoreError>,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct FaultInjector {
    rng: SimRng,
    background_rate: u64,
    ack_lost: bool,
    windows: Vec<FaultWindow>,
    store: Option<(UnixTime, u64, bool)>,
}

impl FaultInjector {
    pub(super) fn new(rng: SimRng, background_rate: u64, ack_lost: bool) -> Self {
        Self { rng, background_rate, ack_lost, windows: Vec::new(), store: None }
    }

    /// Ends all faults, for good.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.rng.fork(), 0, false);
    }

    /// Webex is down, or nearly, for all persons. Returns until when, and how.
    pub(super) fn outage(&mut self, now: UnixTime) -> (UnixTime, FaultKind) {
        let until = now + self.rng.log_uniform(MINUTE, 5 * DAY);
        let kind = self.any_kind(false);
        self.windows.push(FaultWindow {
            until,
            person: None,
            kind: kind.clone(),
            per_mille: self.rng.pick(&[1000, 1000, 500]),
        });
        (until, kind)
    }

    /// Webex is down for all persons until then.
    pub(super) fn outage_until(&mut self, until: UnixTime) -> FaultKind {
        let kind = self.outage_kind();
        self.windows.push(FaultWindow { until, person: None, kind: kind.clone(), per_mille: 1000 });
        kind
    }

    /// Webex calls every refresh token dead, though none is. Returns until when.
    pub(super) fn false_refusals(&mut self, now: UnixTime) -> UnixTime {
        let until = now + self.rng.log_uniform(MINUTE, 12 * HOUR);
        let kind = FaultKind::Status400Dead(DeadText::RefreshToken);
        self.windows.push(FaultWindow { until, person: None, kind, per_mille: 1000 });
        until
    }

    /// Refreshes of one person of a failing organization fail until then.
    pub(super) fn fail_person(&mut self, person: usize, until: UnixTime, person_fault: PersonFault) {
        let wish = self.rng.pick(&[None, Some("600"), Some("21600"), Some("21600")]).map(str::to_owned);
        let kind = match person_fault {
            PersonFault::Unauthorized => FaultKind::Client401,
            PersonFault::TooMany => FaultKind::TooMany429 { retry_after: wish },
            PersonFault::Locked => FaultKind::Locked423 { retry_after: wish },
            PersonFault::Refused => FaultKind::Status400Dead(DeadText::InvalidGrant),
            PersonFault::Broken => FaultKind::Unavailable { status: 500, html: false },
            PersonFault::Hanging => FaultKind::Hang,
        };
        self.windows.push(FaultWindow { until, person: Some(person), kind, per_mille: 1000 });
    }

    fn outage_kind(&mut self) -> FaultKind {
        self.rng.pick(&[
            FaultKind::Unavailable { status: 503, html: true },
            FaultKind::Unavailable { status: 500, html: false },
            FaultKind::Hang,
            FaultKind::ResetBefore,
            FaultKind::Client401,
            FaultKind::TooMany429 { retry_after: None },
        ])
    }

    /// Refreshes of one person fail. Returns until when, and how.
    pub(super) fn person_outage(&mut self, person: usize, now: UnixTime) -> (UnixTime, FaultKind) {
        let until = now + self.rng.log_uniform(HOUR, 20 * DAY);
        let kind = self.any_kind(true);
        self.windows.push(FaultWindow { until, person: Some(person), kind: kind.clone(), per_mille: 1000 });
        (until, kind)
    }

    /// Requests about one person are slow for a while.
    pub(super) fn slow(&mut self, person: usize, by: Duration, now: UnixTime) {
        let until = now + 2 * MINUTE;
        self.windows.push(FaultWindow {
            until,
            person: Some(person),
            kind: FaultKind::Slow(by),
            per_mille: 1000,
        });
    }

    /// The store is slow, or fails, until then.
    pub(super) fn store_trouble(&mut self, now: UnixTime) -> UnixTime {
        let until = now + self.rng.log_uniform(MINUTE, 2 * DAY);
        self.store = Some((until, self.rng.pick(&[1000, 900, 500, 100]), self.rng.coin()));
        until
    }

    /// The fault for a request about this person, if any.
    pub(super) fn fault_for_call(&mut self, person: Option<usize>, now: UnixTime) -> Option<FaultKind> {
        self.windows.retain(|window| window.until > now);
        let over = |window: &&FaultWindow| window.person.is_none() || window.person == person;
        // A fault of all persons hides one person's own fault.
        let all = self.windows.iter().find(|window| window.person.is_none());
        if let Some(FaultWindow { per_mille, kind, .. }) = all.or_else(|| self.windows.iter().find(over)) {
            return self.rng.per_mille(*per_mille).then(|| kind.clone());
        }
        let background_rate = self.background_rate;
        self.rng.per_mille(background_rate).then(|| self.any_kind(false))
    }

    /// The fault for a call of the store.
    pub(super) fn store_call(&mut self, now: UnixTime) -> StoreCallFault {
        let Some((until, fails, slow)) = self.store else { return StoreCallFault::default() };
        if until <= now {
            self.store = None;
            return StoreCallFault::default();
        }
        let mut call = StoreCallFault::default();
        if slow {
            call.wait_before = self.rng.log_uniform(Duration::ZERO, 2 * SECOND);
            call.wait_after = self.rng.log_uniform(Duration::ZERO, 2 * SECOND);
        }
        if self.rng.per_mille(fails) {
            let errors = [
                StoreError::Full,
                StoreError::Locked,
                StoreError::ReadOnly,
                StoreError::Disk("I/O".to_owned()),
            ];
            let why = self.rng.pick(&errors);
            if self.ack_lost && self.rng.coin() {
                call.reply_lost = Some(why);
            } else {
                call.refused = Some(why);
            }
        }
        call
    }

    fn any_kind(&mut self, personal: bool) -> FaultKind {
        let wish = self.rng.pick(&RETRY_AFTERS).map(str::to_owned);
        let status = self.rng.pick(&[408, 500, 502, 503, 504, 520]);
        let html = self.rng.coin();
        let slow = self.rng.between(SECOND, 60 * SECOND);
        let own = self.rng.below(12);
        match if personal { self.rng.below(19) } else { self.rng.below(15) } {
            0 | 1 => FaultKind::Unavailable { status, html },
            2 => FaultKind::TooMany429 { retry_after: wish },
            3 => FaultKind::Locked423 { retry_after: wish },
            4 => FaultKind::Client401,
            5 => FaultKind::Hang,
            6 => FaultKind::ResetBefore,
            7 => FaultKind::OkHtml,
            8 => FaultKind::OkEmpty,
            9 => FaultKind::OkNoToken,
            10 => {
                if own == 0 {
                    FaultKind::OkHuge(2_000_000)
                } else {
                    FaultKind::OkBrokenJson
                }
            }
            11 => {
                if own < 6 {
                    FaultKind::ExpiresInAsString
                } else {
                    FaultKind::OkTruncatedJson
                }
            }
            12 => {
                if own < 6 {
                    FaultKind::ProcessedButLost
                } else {
                    FaultKind::CutInBody
                }
            }
            13 => FaultKind::Slow(slow),
            14 => undocumented_refusal(own),
            15 => FaultKind::TokenLimit,
            16 => FaultKind::Unavailable { status: 403, html },
            _ => FaultKind::Status400Dead(self.rng.pick(&[
                DeadText::RefreshToken,
                DeadText::InvalidGrant,
                DeadText::InvalidRefreshToken,
                DeadText::Scope,
            ])),
        }
    }
}

/// Undocumented refusals; none of them names the refresh token.
fn undocumented_refusal(which: u64) -> FaultKind {
    let (status, body) = match which {
        0 => (400, r#"{"error":"unsupported_grant_type"}"#),
        1 => (400, r#"{"error":"invalid_request"}"#),
        2 => (400, "<html>Bad Request</html>"),
        3 => (400, ""),
        4 => (404, r#"{"message":"The requested resource could not be found."}"#),
        5 => (302, ""),
        6 => (204, ""),
        7 => (418, "short and stout"),
        8 => (200, r#"{"access_token":""}"#),
        9 => (200, r#"{"access_token":7,"expires_in":3600}"#),
        10 => (200, "[]"),
        _ => (599, "\u{0}"),
    };
    FaultKind::Raw { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
}

/// The name of a fault in the log.
pub(super) fn name(kind: &FaultKind) -> String {
    let mut text = format!("{kind:?}");
    text.truncate(60);
    text
}
