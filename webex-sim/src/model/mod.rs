//! The simulated Webex: a pure state machine. A request and the time go in, an answer comes out;
//! no sockets, no clock, no waiting.

mod api;
mod authorize;
mod counters;
mod device;
mod exchange;
mod fault;
mod grants;
mod http;
mod notices;
mod params;
mod problem;
mod space;
mod strings;

pub use self::counters::{Calls, Counters, PersonCounters, Refreshes, TokenCounters};
pub use self::fault::{DeadText, Endpoint, Fault, FaultKind};
pub use self::grants::Tokens;
pub use self::http::{Answer, Cut, Request, Visit};
pub use self::notices::{Message, Webhook};

use std::collections::BTreeSet;

use self::authorize::Codes;
use self::counters::{Outcome, Tally};
use self::device::Devices;
use self::fault::{Faults, Scene};
use self::grants::{Grants, Lives};
use self::params::{Params, bearer};
use self::problem::Problem;
use self::strings::Strings;
use crate::clock::millis;
use crate::people::Person;
use crate::settings::{RefreshToken, Settings, TokenShape};

/// A simulated Webex.
#[derive(Debug)]
pub struct Model {
    settings: Settings,
    strings: Strings,
    grants: Grants,
    codes: Codes,
    devices: Devices,
    faults: Faults,
    tally: Tally,
    turn: usize,
    members: BTreeSet<usize>,
    messages: Vec<Message>,
    webhooks: Vec<Webhook>,
    tracking_id: String,
}

/// What the path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Authorize,
    AccessToken,
    PeopleMe,
    UserInfo,
    TokenExpiry,
    DeviceAuthorize,
    DeviceToken,
    DeviceVerify,
    Memberships,
    Messages,
    Hook,
    File,
    WrongMethod,
    Unknown,
}

impl Route {
    fn of(request: &Request) -> Self {
        let (route, methods) = match request.path.as_str() {
            "/v1/authorize" => (Self::Authorize, "GET POST"),
            "/v1/access_token" => (Self::AccessToken, "POST"),
            "/v1/people/me" => (Self::PeopleMe, "GET"),
            "/v1/userinfo" => (Self::UserInfo, "GET"),
            "/v1/authorizations/tokenExpiry" => (Self::TokenExpiry, "GET"),
            "/v1/device/authorize" => (Self::DeviceAuthorize, "POST"),
            "/v1/device/token" => (Self::DeviceToken, "POST"),
            "/v1/device/verify" => (Self::DeviceVerify, "GET POST"),
            "/v1/memberships" => (Self::Memberships, "POST"),
            "/v1/messages" => (Self::Messages, "POST"),
            "/hooks/notices" => (Self::Hook, "POST"),
            path if space::file(path).is_some() => (Self::File, "GET"),
            _ => return Self::Unknown,
        };
        if methods.split(' ').any(|method| method == request.method) { route } else { Self::WrongMethod }
    }

    fn endpoint(self) -> Option<Endpoint> {
        match self {
            Self::Authorize => Some(Endpoint::Authorize),
            Self::AccessToken => Some(Endpoint::AccessToken),
            Self::PeopleMe => Some(Endpoint::PeopleMe),
            Self::Memberships => Some(Endpoint::Memberships),
            Self::Messages => Some(Endpoint::Messages),
            Self::Hook => Some(Endpoint::Hook),
            _ => None,
        }
    }

    fn is_api(self) -> bool {
        matches!(
            self,
            Self::PeopleMe | Self::UserInfo | Self::TokenExpiry | Self::Memberships | Self::Messages
        )
    }
}

/// The person and the grant that a call is about, as far as the request shows.
#[derive(Clone, Copy, Debug, Default)]
struct Subject {
    person: Option<usize>,
    grant: Option<usize>,
    is_refresh: bool,
}

impl Model {
    /// Creates a Webex without grants.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            strings: Strings::new(settings.seed),
            settings,
            grants: Grants::default(),
            codes: Codes::default(),
            devices: Devices::default(),
            faults: Faults::default(),
            tally: Tally::default(),
            turn: 0,
            members: BTreeSet::new(),
            messages: Vec::new(),
            webhooks: Vec::new(),
            tracking_id: String::new(),
        }
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes how Webex behaves from the next call on. Tokens that exist keep the lives they were given.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Answers a call that arrives at `now_ms` (milliseconds since 1970). The caller waits for
    /// [`Answer::delay`], obeys [`Answer::cut`] and then calls [`Model::left`].
    pub fn answer(&mut self, now_ms: i64, request: &Request) -> Answer {
        self.tracking_id = self.strings.tracking_id();
        let route = Route::of(request);
        let params = match route {
            Route::Authorize | Route::DeviceVerify => Params::of_both(request),
            Route::AccessToken | Route::DeviceAuthorize | Route::DeviceToken => Params::of_body(request),
            _ => Params::default(),
        };
        self.count(route);
        let subject = self.subject(route, request, &params);
        let visit = self.tally.arrive(subject.grant.filter(|_| subject.is_refresh));

        let fault = self.faults.strike(route.endpoint(), subject.person);
        let scene =
            Scene { shape: self.settings.error_body, tracking_id: &self.tracking_id, is_api: route.is_api() };
        let mut answer = match fault.as_ref().and_then(|fault| fault.instead(&scene)) {
            Some(answer) => {
                if subject.is_refresh {
                    self.tally.refreshed(now_ms, subject.grant, Outcome::Faulted);
                }
                answer
            }
            None => self.own_answer(now_ms, route, request, &params),
        };
        if let Some(fault) = fault {
            fault.spoil(&mut answer);
        }
        answer.delay += self.settings.latency;
        answer.visit = visit;
        answer.with("trackingId", &self.tracking_id)
    }

    fn own_answer(&mut self, now_ms: i64, route: Route, request: &Request, params: &Params) -> Answer {
        match route {
            Route::Authorize => self.authorize(now_ms, request, params),
            Route::AccessToken => self.access_token(now_ms, request, params),
            Route::PeopleMe => self.people_me(now_ms, request),
            Route::UserInfo => self.user_info(now_ms, request),
            Route::TokenExpiry => self.token_expiry(now_ms, request),
            Route::DeviceAuthorize => self.device_authorize(now_ms, params),
            Route::DeviceToken => self.device_token(now_ms, request, params),
            Route::DeviceVerify => self.device_verify(now_ms, request, params),
            Route::Memberships => self.memberships(request),
            Route::Messages => self.send_message(request),
            Route::Hook => self.take_webhook(request),
            Route::File => space::file(&request.path).unwrap_or_else(|| self.not_found(404)),
            Route::WrongMethod => self.not_found(405),
            Route::Unknown => self.not_found(404),
        }
    }

    fn count(&mut self, route: Route) {
        let calls = &mut self.tally.calls;
        *match route {
            Route::Authorize => &mut calls.authorize,
            Route::AccessToken => &mut calls.access_token,
            Route::PeopleMe => &mut calls.people_me,
            Route::UserInfo => &mut calls.user_info,
            Route::TokenExpiry => &mut calls.token_expiry,
            Route::DeviceAuthorize | Route::DeviceToken | Route::DeviceVerify => &mut calls.device,
            Route::Memberships => &mut calls.memberships,
            Route::Messages => &mut calls.messages,
            Route::Hook => &mut calls.hooks,
            Route::File | Route::WrongMethod | Route::Unknown => &mut calls.other,
        } += 1;
    }

    fn subject(&self, route: Route, request: &Request, params: &Params) -> Subject {
        let of_grant = |grant: usize| Subject {
            person: self.grants.get(grant).map(|grant| grant.person),
            grant: Some(grant),
            is_refresh: false,
        };
        match route {
            Route::AccessToken if params.get("grant_type") == Some("refresh_token") => {
                let token = params.get("refresh_token").unwrap_or_default();
                let subject = self.grants.of_refresh_token(token).map(of_grant).unwrap_or_default();
                Subject { is_refresh: true, ..subject }
            }
            Route::AccessToken => Subject {
                person: self.codes.person(params.get("code").unwrap_or_default()),
                ..Subject::default()
            },
            Route::Authorize => Subject { person: self.consenting(params), ..Subject::default() },
            _ => {
                let token = bearer(request.authorization.as_deref()).unwrap_or_default();
                self.grants.of_access_token(token).map(|access| of_grant(access.grant)).unwrap_or_default()
            }
        }
    }

    fn refuse(&self, problem: Problem) -> Answer {
        problem.answer(self.settings.error_body, &self.tracking_id)
    }

    fn not_found(&self, status: u16) -> Answer {
        let text = "The requested resource could not be found.";
        problem::webexapis(status, text, text, &self.tracking_id)
    }

    /// The person at this index; the list grows to hold it.
    fn person(&mut self, index: usize) -> Person {
        let people = &mut self.settings.people;
        while people.len() <= index {
            people.push(Person::numbered(people.len()));
        }
        people.get(index).cloned().unwrap_or_else(|| Person::numbered(index))
    }

    fn new_access_token(&mut self, now_ms: i64, person: &Person) -> String {
        match self.settings.token_shape {
            TokenShape::Opaque => self.strings.opaque(&self.settings.cluster, person),
            TokenShape::Jwt => {
                let expires_ms = now_ms + millis(self.settings.access_lifetime);
                self.strings.jwt(&self.settings, person, expires_ms)
            }
        }
    }

    /// Tokens for a consent: a new grant, or the running one if the settings say so.
    fn consented(&mut self, now_ms: i64, person: usize, scope: &str) -> usize {
        let who = self.person(person);
        let access_token = self.new_access_token(now_ms, &who);
        let running = self.grants.running(person, scope, now_ms);
        if let Some(grant) = running.filter(|_| self.settings.reconsent_keeps_refresh_token) {
            let refresh_token = self.next_refresh_token(&who);
            self.grants.renew(now_ms, grant, Tokens { access_token, refresh_token }, &self.settings);
            return grant;
        }
        let refresh_token = self.strings.opaque(&self.settings.cluster, &who);
        let tokens = Tokens { access_token, refresh_token };
        self.open(now_ms, person, scope, &tokens)
    }

    /// The refresh token a renewal would bring; empty if it would bring none.
    fn next_refresh_token(&mut self, who: &Person) -> String {
        match self.settings.refresh_token {
            RefreshToken::Stable => String::new(),
            _ => self.strings.opaque(&self.settings.cluster, who),
        }
    }

    fn open(&mut self, now_ms: i64, person: usize, scope: &str, tokens: &Tokens) -> usize {
        let settings = &self.settings;
        let refresh_life = settings.refresh_lifetime.saturating_sub(settings.first_refresh_life_short_by);
        let access_ms = millis(settings.access_lifetime);
        let lives = Lives { from_ms: now_ms, access_ms, refresh_ms: millis(refresh_life) };
        self.tally.token_opened(person);
        self.grants.open(person, scope, tokens, lives)
    }
}
