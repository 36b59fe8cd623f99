//! `/access_token`: codes and refresh tokens turn into tokens.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Model;
use super::counters::Outcome;
use super::grants::{Grant, Tokens, Worth};
use super::http::{Answer, Request};
use super::params::{Params, basic};
use super::problem::{self, Problem};
use crate::clock::millis;

impl Model {
    pub(super) fn access_token(&mut self, now_ms: i64, request: &Request, params: &Params) -> Answer {
        match params.get("grant_type") {
            Some("authorization_code") => {
                self.exchange(now_ms, request, params).unwrap_or_else(|problem| self.refuse(problem))
            }
            Some("refresh_token") => {
                let token = params.get("refresh_token").unwrap_or_default();
                let grant = self.grants.of_refresh_token(token);
                let result = self.refresh(now_ms, request, params);
                let outcome = result.as_ref().map_or(Outcome::Refused, |(_, outcome)| *outcome);
                self.tally.refreshed(now_ms, grant, outcome);
                result.map_or_else(|problem| self.refuse(problem), |(answer, _)| answer)
            }
            Some(_) => self.refuse(problem::UNSUPPORTED_GRANT),
            None => self.refuse(problem::INVALID_REQUEST),
        }
    }

    /// Client credentials in the body or by Basic.
    pub(super) fn is_client(&self, request: &Request, params: &Params) -> bool {
        let in_body = || Some((params.get("client_id")?.to_owned(), params.get("client_secret")?.to_owned()));
        basic(request.authorization.as_deref()).or_else(in_body).is_some_and(|(id, secret)| {
            id == self.settings.client_id && secret == self.settings.client_secret
        })
    }

    fn exchange(&mut self, now_ms: i64, request: &Request, params: &Params) -> Result<Answer, Problem> {
        if !self.is_client(request, params) {
            return Err(problem::WRONG_CLIENT);
        }
        let (Some(code), Some(redirect_uri)) = (params.get("code"), params.get("redirect_uri")) else {
            return Err(problem::INVALID_REQUEST);
        };
        if let Some(verifier) = params.get("code_verifier") {
            self.grants.issue(&verifier.into());
        }
        let lifetime_ms = millis(self.settings.code_lifetime);
        let ticket = self.codes.redeem(code, now_ms, lifetime_ms).ok_or(problem::BAD_CODE)?;
        if ticket.redirect_uri != redirect_uri {
            return Err(problem::BAD_REDIRECT);
        }
        if ticket.challenge.is_some_and(|challenge| !challenge.is_met_by(params.get("code_verifier"))) {
            return Err(problem::BAD_VERIFIER);
        }
        let answer = self.grant(now_ms, ticket.person, &ticket.scope)?;
        self.tally.codes_exchanged += 1;
        Ok(answer)
    }

    /// Issues tokens for a person who has consented.
    pub(super) fn grant(&mut self, now_ms: i64, person: usize, scope: &str) -> Result<Answer, Problem> {
        if self.grants.is_full(person, now_ms, self.settings.token_limit) {
            return Err(problem::TOKEN_LIMIT);
        }
        let grant = self.consented(now_ms, person, scope);
        self.token_answer(now_ms, grant, true).ok_or(problem::INVALID_REQUEST)
    }

    fn refresh(
        &mut self,
        now_ms: i64,
        request: &Request,
        params: &Params,
    ) -> Result<(Answer, Outcome), Problem> {
        if !self.is_client(request, params) {
            return Err(problem::WRONG_CLIENT);
        }
        let token = params.get("refresh_token").ok_or(problem::INVALID_REQUEST)?;
        let (grant, outcome) = match self.grants.worth(token, now_ms, &self.settings) {
            Worth::Dead => return Err(problem::DEAD_REFRESH_TOKEN),
            Worth::InGrace(grant) => (grant, Outcome::Unchanged),
            Worth::Alive(grant) => {
                let window_ms = millis(self.settings.noop_window);
                if self.grants.is_fresh(grant, now_ms, window_ms) {
                    (grant, Outcome::Unchanged)
                } else {
                    self.renew(now_ms, grant)?;
                    (grant, Outcome::Renewed)
                }
            }
        };
        let answer = self.token_answer(now_ms, grant, false).ok_or(problem::DEAD_REFRESH_TOKEN)?;
        Ok((answer, outcome))
    }

    fn renew(&mut self, now_ms: i64, grant: usize) -> Result<(), Problem> {
        let person = self.grants.get(grant).map_or(0, |grant| grant.person);
        if self.grants.is_full(person, now_ms, self.settings.token_limit) {
            return Err(problem::TOKEN_LIMIT);
        }
        let who = self.person(person);
        let access_token = self.new_access_token(now_ms, &who);
        let refresh_token = self.next_refresh_token(&who);
        self.grants.renew(now_ms, grant, Tokens { access_token, refresh_token }, &self.settings);
        Ok(())
    }

    fn token_answer(&self, now_ms: i64, grant: usize, is_first: bool) -> Option<Answer> {
        let Grant { access, access_expires_ms, refresh, refresh_expires_ms, scope, .. } =
            self.grants.get(grant)?;
        let seconds_to = |end_ms: &i64| (end_ms - now_ms).max(0) / 1000;
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
        put("access_token", text(access));
        put("expires_in", seconds_to(access_expires_ms).into());
        put("token_type", "Bearer".into());
        if is_first || !self.settings.omit_refresh_token {
            put("refresh_token", text(refresh));
            put("refresh_token_expires_in", seconds_to(refresh_expires_ms).into());
        }
        if !self.settings.omit_scope {
            put("scope", text(scope));
        }
        Some(Answer::json(200, &Value::Object(body)))
    }
}

fn text(text: &Arc<str>) -> Value {
    Value::from(&**text)
}
