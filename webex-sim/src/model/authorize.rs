//! `/authorize`: asks a person for consent and sends a code or a refusal back to the client.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use url::{Host, Url};

use super::Model;
use super::http::{Answer, Request};
use super::params::Params;
use super::problem;
use crate::pages;
use crate::settings::Consent;

/// Used and expired codes are forgotten this long after they were made.
const CODE_KEPT_MS: i64 = 3_600_000;

/// What a code stands for.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) person: usize,
    pub(super) scope: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: Option<Challenge>,
}

/// PKCE's challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    S256(String),
    Plain(String),
}

impl Challenge {
    /// Reads it from the request; `Err` if it cannot be right.
    fn read(params: &Params) -> Result<Option<Self>, ()> {
        let Some(challenge) = params.get("code_challenge") else { return Ok(None) };
        if !(43..=128).contains(&challenge.len()) {
            return Err(());
        }
        match params.get("code_challenge_method") {
            Some("S256") => Ok(Some(Self::S256(challenge.to_owned()))),
            Some("plain") | None => Ok(Some(Self::Plain(challenge.to_owned()))),
            Some(_) => Err(()),
        }
    }

    pub(super) fn is_met_by(&self, verifier: Option<&str>) -> bool {
        let verifier = verifier.unwrap_or_default();
        match self {
            Self::Plain(challenge) => challenge == verifier,
            Self::S256(challenge) => {
                *challenge == BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
            }
        }
    }
}

/// The codes that were given out.
#[derive(Debug, Default)]
pub(super) struct Codes {
    open: HashMap<Arc<str>, (i64, Ticket)>,
    in_order: VecDeque<(i64, Arc<str>)>,
}

impl Codes {
    fn insert(&mut self, code: Arc<str>, now_ms: i64, ticket: Ticket, kept_ms: i64) {
        while self.in_order.front().is_some_and(|(made, _)| made + kept_ms < now_ms) {
            if let Some((_, code)) = self.in_order.pop_front() {
                self.open.remove(&code);
            }
        }
        self.in_order.push_back((now_ms, Arc::clone(&code)));
        self.open.insert(code, (now_ms, ticket));
    }

    pub(super) fn person(&self, code: &str) -> Option<usize> {
        self.open.get(code).map(|(_, ticket)| ticket.person)
    }

    /// A code works once, whatever comes of it.
    pub(super) fn redeem(&mut self, code: &str, now_ms: i64, lifetime_ms: i64) -> Option<Ticket> {
        let (made_ms, ticket) = self.open.remove(code)?;
        (now_ms - made_ms < lifetime_ms).then_some(ticket)
    }
}

enum Decision {
    Ask,
    Accept(usize),
    Refuse(String, &'static str),
}

const DENIED: &str = "The resource owner or authorization server denied the request.";

impl Model {
    /// The person whose address `login_hint` is.
    pub(super) fn hinted(&self, params: &Params) -> Option<usize> {
        let hint = params.get("login_hint")?;
        self.settings.people.iter().position(|person| person.email.eq_ignore_ascii_case(hint))
    }

    /// Who is going to consent, as far as can be seen.
    pub(super) fn consenting(&self, params: &Params) -> Option<usize> {
        let set = match self.settings.consent {
            Consent::AcceptAs(person) => return Some(person),
            Consent::AcceptHinted(person) => Some(person),
            _ => params.get("person").and_then(|index| index.parse().ok()),
        };
        self.hinted(params).or(set)
    }

    pub(super) fn authorize(&mut self, now_ms: i64, request: &Request, params: &Params) -> Answer {
        if params.get("client_id") != Some(self.settings.client_id.as_str()) {
            return Answer::html(400, pages::error("This client_id is not known here."));
        }
        let Some((redirect_uri, back)) = self.redirect_uri(params) else {
            return Answer::html(400, pages::error("This redirect_uri is missing or not registered."));
        };
        let state = params.get("state");
        let refuse = |error: &str, text: &str| {
            send_back(&back, &[("error", error), ("error_description", text)], state)
        };

        if params.get("response_type") != Some("code") {
            return refuse("unsupported_response_type", "The response type must be code.");
        }
        let Some(scope) = params.get("scope") else {
            return refuse(problem::INVALID_SCOPE.code, problem::INVALID_SCOPE.text);
        };
        let Ok(challenge) = Challenge::read(params) else {
            return refuse("invalid_request", "The code challenge or its method is invalid.");
        };
        match self.decision(params) {
            Decision::Ask if params.get("prompt") == Some("none") => {
                refuse("login_required", "The login dialog may not be shown.")
            }
            Decision::Ask => {
                let query = request.query.as_deref().unwrap_or_default();
                let page = pages::Consent {
                    people: &self.settings.people,
                    hinted: self.hinted(params),
                    scope,
                    query,
                };
                Answer::html(200, page.html())
            }
            Decision::Refuse(error, text) => refuse(&error, text),
            Decision::Accept(person) => {
                let (scope, redirect_uri) = (scope.to_owned(), redirect_uri.to_owned());
                let code = self.new_code(now_ms, Ticket { person, scope, redirect_uri, challenge });
                send_back(&back, &[("code", code.as_ref())], state)
            }
        }
    }

    fn new_code(&mut self, now_ms: i64, ticket: Ticket) -> Arc<str> {
        let who = self.person(ticket.person);
        let code: Arc<str> = self.strings.opaque(&self.settings.cluster, &who).into();
        self.grants.issue(&code);
        let kept_ms = CODE_KEPT_MS.max(crate::clock::millis(self.settings.code_lifetime));
        self.codes.insert(Arc::clone(&code), now_ms, ticket, kept_ms);
        code
    }

    /// The page's buttons win over the setting, so that a script can press them, too.
    fn decision(&mut self, params: &Params) -> Decision {
        let chosen = params.get("person").and_then(|index| index.parse().ok());
        match params.get("decision") {
            Some("accept") => return self.accept(chosen.or_else(|| self.hinted(params)).unwrap_or(0)),
            Some(_) => return Decision::Refuse("access_denied".to_owned(), DENIED),
            None => {}
        }
        match self.settings.consent.clone() {
            Consent::Ask => Decision::Ask,
            Consent::AcceptAs(person) => self.accept(person),
            Consent::AcceptHinted(person) => self.accept(self.hinted(params).unwrap_or(person)),
            Consent::AcceptInTurn => {
                let next = self.turn % self.settings.people.len().max(1);
                self.turn += 1;
                self.accept(self.hinted(params).unwrap_or(next))
            }
            Consent::Decline => Decision::Refuse("access_denied".to_owned(), DENIED),
            Consent::Refuse(error) => Decision::Refuse(error, "The simulator was told to refuse."),
        }
    }

    fn accept(&self, person: usize) -> Decision {
        if person < self.settings.people.len() {
            return Decision::Accept(person);
        }
        Decision::Refuse("server_error".to_owned(), "The simulator has no such person.")
    }

    /// The URI as it was given, and parsed; `None` if it is not allowed.
    fn redirect_uri<'a>(&self, params: &'a Params) -> Option<(&'a str, Url)> {
        let text = params.get("redirect_uri")?;
        let url = Url::parse(text).ok()?;
        let registered = &self.settings.redirect_uris;
        let allowed =
            if registered.is_empty() { is_loopback(&url) } else { registered.iter().any(|uri| uri == text) };
        allowed.then_some((text, url))
    }
}

fn is_loopback(url: &Url) -> bool {
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    };
    here && matches!(url.scheme(), "http" | "https")
}

fn send_back(to: &Url, fields: &[(&str, &str)], state: Option<&str>) -> Answer {
    let mut url = to.clone();
    url.query_pairs_mut().extend_pairs(fields).extend_pairs(state.map(|state| ("state", state)));
    Answer::redirect(url.as_str()).with("Cache-Control", "no-store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pkce_accepts_the_example_of_rfc_7636() {
        let challenge = Challenge::S256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned());
        assert!(challenge.is_met_by(Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")));
        assert!(!challenge.is_met_by(Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXx")));
        assert!(!challenge.is_met_by(None));
    }
}
