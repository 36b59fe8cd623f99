//! What an access token opens (`/people/me` and its like), and the calls that steer the model from outside HTTP.

use serde_json::{Value, json};

use super::Model;
use super::counters::Counters;
use super::fault::Fault;
use super::grants::Tokens;
use super::http::{Answer, Request, Visit};
use super::params::bearer;
use super::problem;
use crate::people::Person;

/// The scope of tokens that were made without a consent.
const SEEDED_SCOPE: &str = "spark:all spark:kms";

impl Model {
    fn caller(&self, now_ms: i64, request: &Request) -> Option<(i64, &str, &Person)> {
        let token = bearer(request.authorization.as_deref())?;
        let (access, grant) = self.grants.alive(token, now_ms)?;
        Some((access.expires_ms, &grant.scope, self.settings.people.get(grant.person)?))
    }

    pub(super) fn people_me(&self, now_ms: i64, request: &Request) -> Answer {
        let Some((_, scope, person)) = self.caller(now_ms, request) else {
            return problem::dead_access_token(&self.tracking_id);
        };
        if !scope.split(' ').any(|word| matches!(word, "spark:all" | "spark:people_read")) {
            let text = "The call requires the scope spark:people_read.";
            return problem::webexapis(403, text, text, &self.tracking_id);
        }
        Answer::json(200, &profile(person, self.avatar(person)))
    }

    pub(super) fn user_info(&self, now_ms: i64, request: &Request) -> Answer {
        let Some((_, _, person)) = self.caller(now_ms, request) else {
            return problem::dead_access_token(&self.tracking_id);
        };
        let info = json!({
            "sub": person.uuid,
            "name": person.display_name,
            "given_name": person.first_name(),
            "family_name": person.last_name(),
            "email": person.email,
            "email_verified": "true",
        });
        Answer::json(200, &info)
    }

    pub(super) fn token_expiry(&self, now_ms: i64, request: &Request) -> Answer {
        match self.caller(now_ms, request) {
            Some((expires_ms, ..)) => Answer::json(200, &json!({ "exp": expires_ms })),
            None => problem::dead_access_token(&self.tracking_id),
        }
    }

    /// Ends a call: its response was sent, or the client has left.
    pub fn left(&mut self, visit: Visit) {
        self.tally.leave(visit);
    }

    /// A consent without a browser. The list of people grows if `person` is beyond its end.
    pub fn mint(&mut self, now_ms: i64, person: usize) -> Tokens {
        let grant = self.consented(now_ms, person, SEEDED_SCOPE);
        let text = |token: Option<&str>| token.unwrap_or_default().to_owned();
        let grant = self.grants.get(grant);
        Tokens {
            access_token: text(grant.map(|grant| &*grant.access)),
            refresh_token: text(grant.map(|grant| &*grant.refresh)),
        }
    }

    /// Adopts these tokens as a grant of this person, issued at `now_ms`.
    pub fn adopt(&mut self, now_ms: i64, person: usize, access_token: &str, refresh_token: &str) {
        self.person(person);
        let tokens =
            Tokens { access_token: access_token.to_owned(), refresh_token: refresh_token.to_owned() };
        self.open(now_ms, person, SEEDED_SCOPE, &tokens);
    }

    /// This person's refresh tokens die. Access tokens live on until they expire.
    pub fn revoke_person(&mut self, person: usize) {
        self.grants.revoke(person, false);
    }

    /// This person's refresh tokens die and the access tokens with them, as by *Reset Access* in Control Hub.
    pub fn reset_access(&mut self, person: usize) {
        self.grants.revoke(person, true);
    }

    /// One refresh token dies, with those that replaced it. False: it was not alive.
    pub fn kill_refresh_token(&mut self, refresh_token: &str) -> bool {
        self.grants.kill(refresh_token)
    }

    /// One access token dies before its time. False: it was not known.
    pub fn kill_access_token(&mut self, access_token: &str) -> bool {
        self.grants.kill_access(access_token)
    }

    /// The integration gets a new secret; the old one stops working.
    pub fn change_client_secret(&mut self, secret: &str) {
        secret.clone_into(&mut self.settings.client_secret);
    }

    /// Adds a rule that spoils calls.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Takes all rules away.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.tally.picture(self.settings.people.len())
    }

    /// Every access token, refresh token, authorization code and device code issued (or adopted), and every code verifier
    /// that was shown for a code, oldest first: the newest 200 000.
    #[must_use]
    pub fn secrets_issued(&self) -> Vec<String> {
        self.grants.secrets()
    }

    /// Whether APIs would accept this access token now.
    #[must_use]
    pub fn is_live(&self, access_token: &str, now_ms: i64) -> bool {
        self.grants.alive(access_token, now_ms).is_some()
    }

    /// Whose access token this is; expired ones are known for a day.
    #[must_use]
    pub fn person_of(&self, access_token: &str) -> Option<usize> {
        let access = self.grants.of_access_token(access_token)?;
        self.grants.get(access.grant).map(|grant| grant.person)
    }

    /// Which consent this access token comes from, counted from 0: its place in [`Counters::tokens`]. Expired ones are
    /// known for a day.
    #[must_use]
    pub fn consent_of(&self, access_token: &str) -> Option<usize> {
        self.grants.of_access_token(access_token).map(|access| access.grant)
    }
}

fn profile(person: &Person, avatar: Option<String>) -> Value {
    let emails: &[&str] = if person.email.is_empty() { &[] } else { &[&person.email] };
    let mut profile = json!({
        "id": person.id,
        "emails": emails,
        "phoneNumbers": [],
        "displayName": person.display_name,
        "nickName": person.first_name(),
        "firstName": person.first_name(),
        "lastName": person.last_name(),
        "orgId": person.org_id,
        "roles": [],
        "created": "2016-03-14T09:26:53.589Z",
        "lastModified": "2024-02-29T12:00:00.000Z",
        "timezone": "Europe/London",
        "status": "active",
        "invitePending": false,
        "loginEnabled": true,
        "type": person.kind,
    });
    if let (Some(address), Some(fields)) = (avatar, profile.as_object_mut()) {
        fields.insert("avatar".to_owned(), address.into());
    }
    profile
}
