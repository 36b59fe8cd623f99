//! The device grant: a code is shown on one machine and typed on another.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;

use super::Model;
use super::http::{Answer, Request};
use super::params::{Params, basic};
use super::problem::{self, Problem};
use crate::clock::millis;
use crate::pages;

/// Used and expired device codes are forgotten this long after their end.
const KEPT_MS: i64 = 3_600_000;
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decided {
    NotYet,
    Approved(usize),
    Declined,
}

#[derive(Debug)]
struct Device {
    user_code: String,
    hash: String,
    scope: String,
    expires_ms: i64,
    polled_ms: Option<i64>,
    decided: Decided,
}

/// The device codes that were given out.
#[derive(Debug, Default)]
pub(super) struct Devices(HashMap<Arc<str>, Device>);

impl Devices {
    /// By what people type, or by what the complete link carries.
    fn decide(&mut self, user_code: &str, now_ms: Option<i64>, decided: Decided) -> bool {
        let waits = |device: &&mut Device| {
            (device.user_code == user_code || device.hash == user_code)
                && device.decided == Decided::NotYet
                && now_ms.is_none_or(|now_ms| now_ms < device.expires_ms)
        };
        let found = self.0.values_mut().find(waits);
        found.map(|device| device.decided = decided).is_some()
    }
}

impl Model {
    /// The person typed the code and accepted. `false` if no such code waits.
    pub fn approve_device(&mut self, user_code: &str, person: usize) -> bool {
        self.devices.decide(user_code, None, Decided::Approved(person))
    }

    /// The person typed the code and declined. `false` if no such code waits.
    pub fn decline_device(&mut self, user_code: &str) -> bool {
        self.devices.decide(user_code, None, Decided::Declined)
    }

    pub(super) fn device_authorize(&mut self, now_ms: i64, params: &Params) -> Answer {
        let malformed = "The request could not be understood by the server due to malformed syntax.";
        if params.get("client_id") != Some(self.settings.client_id.as_str()) {
            return problem::webexapis(400, malformed, "Client Id is invalid", &self.tracking_id);
        }
        let Some(scope) = params.get("scope") else {
            return problem::webexapis(400, malformed, problem::INVALID_SCOPE.text, &self.tracking_id);
        };
        self.devices.0.retain(|_, device| device.expires_ms + KEPT_MS > now_ms);
        let device_code: Arc<str> = self.strings.uuid().into();
        self.grants.issue(&device_code);
        let device = Device {
            user_code: self.strings.six_digits(),
            hash: self.strings.hash(),
            scope: scope.to_owned(),
            expires_ms: now_ms + millis(self.settings.device_lifetime),
            polled_ms: None,
            decided: Decided::NotYet,
        };
        let verify = format!("{}/device/verify", self.settings.base_url);
        let answer = json!({
            "device_code": &*device_code,
            "user_code": device.user_code,
            "verification_uri": verify,
            "verification_uri_complete": format!("{verify}?userCode={}", device.hash),
            "expires_in": self.settings.device_lifetime.as_secs(),
            "interval": self.settings.device_interval.as_secs(),
        });
        self.devices.0.insert(device_code, device);
        Answer::json(200, &answer)
    }

    pub(super) fn device_token(&mut self, now_ms: i64, request: &Request, params: &Params) -> Answer {
        self.poll(now_ms, request, params).unwrap_or_else(|problem| self.refuse(problem))
    }

    fn poll(&mut self, now_ms: i64, request: &Request, params: &Params) -> Result<Answer, Problem> {
        if basic(request.authorization.as_deref()).is_none() || !self.is_client(request, params) {
            return Err(problem::WRONG_CLIENT);
        }
        if params.get("grant_type") != Some(GRANT) {
            return Err(problem::UNSUPPORTED_GRANT);
        }
        let code = params.get("device_code").ok_or(problem::INVALID_REQUEST)?;
        let device = self.devices.0.get_mut(code).filter(|device| now_ms < device.expires_ms);
        let device = device.ok_or(problem::INVALID_GRANT)?;
        // A tenth of tolerance, so that a client that polls exactly at the interval is not refused because of a late packet.
        let soonest = millis(self.settings.device_interval) * 9 / 10;
        let too_soon = device.polled_ms.replace(now_ms).is_some_and(|last| now_ms - last < soonest);
        if too_soon {
            return Err(problem::SLOW_DOWN);
        }
        let (person, scope) = match device.decided {
            Decided::NotYet => return Err(problem::PENDING),
            Decided::Declined => return Err(problem::DENIED),
            Decided::Approved(person) => (person, std::mem::take(&mut device.scope)),
        };
        self.devices.0.remove(code);
        self.grant(now_ms, person, &scope)
    }

    pub(super) fn device_verify(&mut self, now_ms: i64, _request: &Request, params: &Params) -> Answer {
        let user_code = params.get("userCode").unwrap_or_default();
        let Some(decision) = params.get("decision") else {
            let shown = self.devices.0.values().find(|device| device.hash == user_code);
            let shown = shown.map_or(user_code, |device| device.user_code.as_str());
            return Answer::html(200, pages::device(&self.settings.people, shown));
        };
        let person = params.get("person").and_then(|index| index.parse().ok()).unwrap_or(0);
        let decided = if decision == "accept" && person < self.settings.people.len() {
            Decided::Approved(person)
        } else {
            Decided::Declined
        };
        if self.devices.decide(user_code, Some(now_ms), decided) {
            return Answer::html(200, pages::done("Done. Go back to your device."));
        }
        Answer::html(400, pages::error("This code is not known, not valid any more, or already used."))
    }
}
