//! Requests to Webex, and its responses.

use std::time::Duration;

use serde_json::Value;
use webex_sim::model::FaultKind;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::webex::transport::RawResponse;
use webex_tokend::webex::transport::ResponseError;

use crate::simulation::invariants::ConsentCode;
use crate::simulation::invariants::InvariantChecker;
use crate::simulation::invariants::IssuedToken;
use crate::simulation::invariants::UncommittedRefresh;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;

/// The most refreshes of one person in an hour, unless they are forced: readers cause one every 30 s at most, and the
/// loop one every minute when a token is about to expire.
const MAX_REFRESHES_PER_HOUR: usize = 150;

/// What a request asks for.
#[derive(Clone, Debug)]
pub(crate) enum CallKind {
    /// A refresh with this refresh token.
    Refresh(String),
    /// An exchange of this code.
    Exchange(String),
    Other,
}

/// Webex's reply to a refresh, in the terms of the verdict table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyClass {
    Good,
    /// The reply names the refresh token, the grant or the scope.
    Dead,
    Client,
    Other,
}

impl InvariantChecker {
    pub(crate) fn code(&mut self, code: String, person: usize) {
        self.codes.insert(code, ConsentCode { person, chain: None, unanswered: false });
    }

    pub(crate) fn person_asked_for(&self, asked: &CallKind) -> Option<usize> {
        match asked {
            CallKind::Refresh(token) => self.refresh.get(token).map(|(person, _)| *person),
            CallKind::Exchange(code) => self.codes.get(code).map(|code| code.person),
            CallKind::Other => None,
        }
    }

    /// A request is sent. The number is for [`InvariantChecker::left`].
    pub(crate) fn sent(&mut self, asked: &CallKind, injected: bool) -> Option<u64> {
        self.stats.faults += u64::from(injected);
        if let CallKind::Exchange(code) = asked
            && let Some(code) = self.codes.get_mut(code)
        {
            code.unanswered = true;
        }
        let CallKind::Refresh(token) = asked else { return None };
        self.stats.refreshes += 1;
        let Some((person, chain)) = self.refresh.get(token).copied() else {
            self.violate("4", "a refresh token is sent that Webex never issued");
            return None;
        };
        self.record(&format!("refresh of person {person}, consent {chain}"));
        self.calls.2 += 12;
        if self.in_flight.values().any(|(_, other)| *other == chain) {
            self.violate("1 (no two refreshes of one grant)", &format!("person {person}"));
        }
        if self.people[person].fence.is_none() && self.people[person].kept.is_some() {
            // A consent may have come between the claim and the request; nothing else may.
            if !self.people[person].overtaken {
                self.violate("1", &format!("person {person} is refreshed without a claim"));
            }
        }
        if self.people[person].fence.is_some_and(|(_, end)| end < self.wall + MINUTE) {
            self.violate("1 (no two refreshes of one grant)", "a lease ends before its request");
        }
        self.pace_of_all(person);
        self.pace_of_one(person);
        self.visits += 1;
        self.in_flight.insert(self.visits, (person, chain));
        Some(self.visits)
    }

    pub(crate) fn left(&mut self, visit: u64) {
        self.in_flight.remove(&visit);
    }

    /// Rule 9: the rate of all refreshes. Those of tokens within their margin have a higher one if the pace may grow.
    fn pace_of_all(&mut self, person: usize) {
        let now = self.now;
        let kept = self.people[person].kept.as_ref();
        let urgent = kept.is_none_or(|kept| Policy::is_at_risk(&kept.grant.dates(), self.wall));
        let grown = if self.pace.per_second > 0.0 { self.catch_up / self.pace.per_second } else { 0.0 };
        if self.in_flight.len() as f64 >= 2.0 * self.pace.concurrency as f64 * grown.max(1.0) {
            self.violate("9 (bounds)", &format!("{} refreshes at once", self.in_flight.len() + 1));
        }
        if self.pace.per_second <= 0.0 || self.in_store_trouble() || self.clock_changed + MINUTE > now {
            return;
        }
        let (starts, per_second) = if urgent && self.catch_up > self.pace.per_second {
            (&mut self.urgent_starts, self.catch_up)
        } else {
            (&mut self.starts, self.pace.per_second)
        };
        let window = Duration::from_secs_f64((1.0 / per_second).max(1.0));
        starts.retain(|at| *at + window > now);
        starts.push_back(now);
        let most = window.as_secs_f64() * per_second + 1.5;
        let number = starts.len();
        if number as f64 > most {
            self.violate("9 (bounds)", &format!("{number} starts in {window:?}"));
        }
    }

    /// Rule 9: the rate of one person's refreshes.
    fn pace_of_one(&mut self, person: usize) {
        let now = self.now;
        let seen = &mut self.people[person];
        seen.starts.retain(|at| *at + HOUR > now);
        seen.starts.push_back(now);
        let forced = seen.forced_at.is_some_and(|at| at + HOUR * 2 > now);
        if seen.starts.len() > MAX_REFRESHES_PER_HOUR && !forced {
            self.violate(
                "9 (bounds)",
                &format!("person {person}: more than {MAX_REFRESHES_PER_HOUR} refreshes in an hour"),
            );
        }
    }

    /// The daemon is about to see this response.
    pub(crate) fn answered(
        &mut self,
        asked: &CallKind,
        sent_at: UnixTime,
        injected: Option<&FaultKind>,
        result: &Result<RawResponse, ResponseError>,
    ) {
        let Some(person) = self.person_asked_for(asked) else { return };
        let verdict = verdict(injected, result);
        self.trouble_of(person, verdict, injected, result);
        let word = match result {
            Ok(raw) => raw.status.to_string(),
            Err(why) => why.to_string(),
        };
        match asked {
            CallKind::Refresh(token) => {
                self.record(&format!("answer for person {person}: {verdict:?}, {word}"));
                self.note_reply(person, verdict);
                let chain = self.refresh[token].1;
                if let (ReplyClass::Good, Ok(raw)) = (verdict, result) {
                    let (access, refresh) = self.minted(raw, sent_at, person, chain);
                    self.expect_commit(
                        person,
                        UncommittedRefresh { access, refresh, since: self.now, chain, is_dead: false },
                        sent_at,
                    );
                }
            }
            CallKind::Exchange(code) => {
                self.record(&format!("a code of person {person}: {verdict:?}, {word}"));
                let mut chain = None;
                if let (ReplyClass::Good, Ok(raw)) = (verdict, result) {
                    self.chains += 1;
                    let (_, refresh) = self.minted(raw, sent_at, person, self.chains);
                    chain = Some(refresh.map_or(self.chains, |token| self.refresh[&token].1));
                }
                // After any other answer than these Webex may have taken the code.
                let unanswered = verdict == ReplyClass::Other;
                self.codes.insert(code.clone(), ConsentCode { person, chain, unanswered });
            }
            CallKind::Other => {}
        }
    }

    /// Records that these tokens must be stored soon.
    fn expect_commit(&mut self, person: usize, mut issued: UncommittedRefresh, sent_at: UnixTime) {
        let life = self.access[&issued.access].expires.until(sent_at);
        let token = issued.access.get(..8).unwrap_or_default();
        self.record(&format!("token {token} of person {person}, for {life:?}"));
        issued.is_dead = life.is_zero();
        self.people[person].pending.push(issued);
    }

    /// Records the tokens of a response.
    fn minted(
        &mut self,
        raw: &RawResponse,
        sent_at: UnixTime,
        person: usize,
        chain: u64,
    ) -> (String, Option<String>) {
        let json: Value = serde_json::from_slice(&raw.body).unwrap();
        let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
        let access = text("access_token").unwrap();
        let life = &json["expires_in"];
        let life = life.as_u64().or_else(|| life.as_str()?.parse().ok()).unwrap();
        let life = Duration::from_secs(life);
        let (expires, era) = (sent_at + life, self.era);
        // The same token may come again with less life left: it was issued when it came first.
        self.access.entry(access.clone()).or_insert(IssuedToken { person, expires, life, era });
        let refresh = text("refresh_token");
        if let Some(token) = &refresh {
            // A consent may return the present refresh token.
            self.refresh.entry(token.clone()).or_insert((person, chain));
        }
        (access, refresh)
    }

    fn note_reply(&mut self, person: usize, verdict: ReplyClass) {
        if verdict == ReplyClass::Good {
            self.last_good = self.now;
            for (other, seen) in self.people.iter_mut().enumerate() {
                seen.blamed |= other != person && seen.refused;
            }
        }
        self.note_refusal(person, verdict);
        let seen = &mut self.people[person];
        seen.last_reply = Some(verdict);
        seen.blamed &= verdict == ReplyClass::Client;
        seen.refused = verdict == ReplyClass::Client;
    }

    /// What counts as trouble in the premise of rule 3.
    fn trouble_of(
        &mut self,
        person: usize,
        verdict: ReplyClass,
        injected: Option<&FaultKind>,
        result: &Result<RawResponse, ResponseError>,
    ) {
        let now = self.now;
        if verdict != ReplyClass::Good || injected.is_some() {
            self.check_survival_of(person);
            let seen = &mut self.people[person];
            seen.trouble = seen.trouble.max(now);
        }
        if verdict == ReplyClass::Good {
            self.retry_afters.clear();
        }
        if let Ok(RawResponse { status: 429, retry_after, .. }) = result {
            let wish = if retry_after.is_some() { 432 * MINUTE } else { 2 * MINUTE };
            self.asked_to_wait(person, wish);
        }
    }

    /// The tokens of the responses that are not stored, and the stored ones.
    fn tokens_of(&self, person: usize) -> String {
        let seen = &self.people[person];
        let waiting =
            seen.pending.iter().map(|pending| format!("{} and {:?}", pending.access, pending.refresh));
        let kept = seen.kept.as_ref().map(|kept| &kept.grant.tokens);
        let kept = kept.map(|t| format!("{} and {}", t.access_token.expose(), t.refresh_token.expose()));
        format!("{:?}; kept are {kept:?}", waiting.collect::<Vec<_>>())
    }

    /// Successful refreshes must be stored soon, unless the process dies or a consent or removal came first.
    pub(super) fn nothing_is_lost(&mut self) {
        let now = self.now;
        if self.store_trouble + 2 * MINUTE > now || self.clock_changed + 2 * MINUTE > now {
            return;
        }
        let late =
            |pending: &UncommittedRefresh| !pending.is_dead && pending.since + 2 * MINUTE + SECOND < now;
        let lost = self.people.iter().position(|seen| seen.pending.iter().any(late));
        if let Some(person) = lost {
            self.violate(
                "nothing is lost",
                &format!(
                    "a refresh of person {person} came back well and is not kept: {}",
                    self.tokens_of(person)
                ),
            );
        }
    }
}

/// The verdict table again, written independently of the code.
fn verdict(injected: Option<&FaultKind>, result: &Result<RawResponse, ResponseError>) -> ReplyClass {
    let Ok(raw) = result else { return ReplyClass::Other };
    let body = String::from_utf8_lossy(&raw.body);
    let json: Option<Value> = serde_json::from_slice(&raw.body).ok();
    let token = json.as_ref().and_then(|json| json.get("access_token")?.as_str()).filter(|t| !t.is_empty());
    // These faults let Webex's own response through; half of a response means nothing.
    let own = match injected {
        None | Some(FaultKind::Slow(_) | FaultKind::ExpiresInAsString) => true,
        Some(FaultKind::OkTruncatedJson) => json.is_some(),
        Some(_) => false,
    };
    match (raw.status, injected) {
        (200, _) if token.is_some() => ReplyClass::Good,
        (401, _) => ReplyClass::Client,
        (400, Some(FaultKind::Status400Dead(_))) => ReplyClass::Dead,
        (400, _) if own && !body.contains("tokenlimit_reached") => ReplyClass::Dead,
        _ => ReplyClass::Other,
    }
}
