//! `GET /api/token`: the endpoint of the token service sample, for programs that were written for it. Off
//! unless it is configured.

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::Method;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::time::Instant;

use crate::api_types;
use crate::domain::grant::Grant;
use crate::domain::list::ListRequest;
use crate::domain::list::ListSelection;
use crate::domain::list::SortBy;
use crate::domain::person::Email;
use crate::domain::person::PersonId;
use crate::domain::person::PersonQuery;
use crate::domain::person::ResolvedPerson;
use crate::domain::token_service::PresentedCredentials;
use crate::domain::token_service::TokenService;
use crate::domain::token_service::tail;
use crate::http::api::context::Api;
use crate::http::auth::client_network::network;
use crate::http::auth::rate_limit::RateLimit;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::error_response::STORE_RETRY;
use crate::http::response::response_body::ResponseBody;
use crate::http::server::handler::Peer;

/// The sample's framework ignores case and a slash at the end.
const PATHS: [&str; 2] = ["/api/token", "/api/token/"];

/// The default of the API: a token that lives less long is rarely useful.
const MIN_TTL: Duration = Duration::from_secs(60);

/// Batch size of the search for a person of the organization.
const STEP: u32 = 500;

/// Invalid requests that an address may send at once. A phrase that a person chose can be guessed, so after
/// these even a correct one is not checked.
const BURST: u32 = 10;

/// After the burst, one more is allowed for each interval.
const GUESS_STEP: Duration = Duration::from_secs(6);

/// An invalid request that is repeated within this time is the same mistake, not another guess.
const SAME_MISTAKE: Duration = Duration::from_secs(86_400);

/// Minimum time between two log lines about invalid requests from one address.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Why the endpoint returns no token.
enum TokenServiceError {
    /// The request is invalid, or no grant of the organization is stored. The sample does not say which.
    Malformed,
    /// `FROM` is an address, and no grant of that person is stored for the organization.
    NoSuchPerson,
    /// Too many invalid requests came from this address.
    TooMany(Duration),
    /// There is a person, but no live token.
    NoToken(ApiError),
}

/// The response to an error: those of the sample, and some that the sample does not have.
fn error_response(why: &TokenServiceError) -> Response<ResponseBody> {
    let said = |status, error: &str| response::json(status, &serde_json::json!({ "error": error }));
    match why {
        TokenServiceError::Malformed => said(StatusCode::BAD_REQUEST, "Malformed Request"),
        TokenServiceError::TooMany(wait) => {
            response::with_retry_after(said(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"), *wait)
        }
        TokenServiceError::NoSuchPerson | TokenServiceError::NoToken(ApiError::ConsentNeeded { .. }) => {
            said(StatusCode::CONFLICT, "Consent Needed")
        }
        TokenServiceError::NoToken(ApiError::AmbiguousPerson(_)) => {
            said(StatusCode::CONFLICT, "Ambiguous Person")
        }
        TokenServiceError::NoToken(ApiError::WebexUnavailable { retry_after, .. }) => {
            response::with_retry_after(said(StatusCode::SERVICE_UNAVAILABLE, "No Live Token"), *retry_after)
        }
        TokenServiceError::NoToken(_) => {
            response::with_retry_after(said(StatusCode::SERVICE_UNAVAILABLE, "No Store"), STORE_RETRY)
        }
    }
}

/// The token service endpoint.
pub(in crate::http) struct TokenServiceEndpoint {
    service: TokenService,
    /// Limits the log lines about each address.
    told: Mutex<RateLimit<IpAddr>>,
    /// Cached: the person of the organization who consented first. Later consents cannot change this.
    found: Mutex<Option<PersonId>>,
    guesses: Mutex<GuessThrottle>,
}

/// Invalid requests, by address. Invalid API keys are counted elsewhere, so that they do not lock out a
/// correct phrase from the same address.
struct GuessThrottle {
    wrong: RateLimit<IpAddr>,
    /// Counts each distinct invalid request once, by address and hash. A program that repeats its mistake
    /// guesses nothing new, and must not lock out other programs at its address.
    known: RateLimit<(IpAddr, u64)>,
    /// Keyed at random, so that a stored hash of a phrase is useless elsewhere.
    hasher: RandomState,
}

impl GuessThrottle {
    fn new() -> Self {
        let (wrong, known) = (RateLimit::new(BURST, GUESS_STEP), RateLimit::new(1, SAME_MISTAKE));
        Self { wrong, known, hasher: RandomState::new() }
    }

    /// How long `from` must wait until its requests are checked again.
    fn check(&self, from: IpAddr) -> Result<(), Duration> {
        self.wrong.check(&network(from), Instant::now())
    }

    /// Records an invalid request.
    fn record_failure(&mut self, from: IpAddr, headers: &HeaderMap) {
        let values = [ORGANIZATION, SENDER, PHRASE].map(|name| headers.get(name).map(HeaderValue::as_bytes));
        let (from, now) = (network(from), Instant::now());
        if self.known.take((from, self.hasher.hash_one(values)), now).is_ok() {
            // Whether the address may proceed is checked before its next request.
            let _ = self.wrong.take(from, now);
        }
    }
}

pub(in crate::http) fn handles_path(path: &str) -> bool {
    PATHS.iter().any(|here| path.eq_ignore_ascii_case(here))
}

impl TokenServiceEndpoint {
    pub(in crate::http) fn new(service: TokenService) -> Self {
        Self {
            service,
            told: Mutex::new(RateLimit::new(1, TOLD_EVERY)),
            found: Mutex::new(None),
            guesses: Mutex::new(GuessThrottle::new()),
        }
    }

    /// Handles a request from `peer`. Addresses in a proxy's headers are not trusted.
    pub(in crate::http) async fn answer(
        &self,
        api: &Api,
        request: &hyper::Request<Incoming>,
        peer: Peer,
    ) -> Response<ResponseBody> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return response::method_not_allowed();
        }
        let response = match self.record(api, request.headers(), peer).await {
            Ok(record) => response::json(StatusCode::OK, &record),
            Err(why) => error_response(&why),
        };
        log::debug!("{} {} {}", request.method(), request.uri().path(), response.status().as_u16());
        if request.method() == Method::HEAD { response::head_of(response) } else { response }
    }

    async fn record(
        &self,
        api: &Api,
        headers: &HeaderMap,
        peer: Peer,
    ) -> Result<api_types::TokenRecord, TokenServiceError> {
        let from = peer.addr.ip();
        self.guesses().check(from).map_err(TokenServiceError::TooMany)?;
        let wrong = match read_credentials(headers) {
            Ok(shown) => self.service.admit(shown, from).err().map(|wrong| wrong.to_string()),
            Err(wrong) => Some(wrong),
        };
        if let Some(wrong) = wrong {
            if headers.contains_key(PHRASE) {
                self.guesses().record_failure(from, headers);
            }
            self.log_failure(from, &wrong);
            return Err(TokenServiceError::Malformed);
        }
        let person = self.person(api, from).await?;
        let given = api.live_token(&person, MIN_TTL).await.map_err(TokenServiceError::NoToken)?;
        Ok(self.to_record(&given.grant, api))
    }

    /// Logs why a caller got no token. The values that the caller sent are not logged.
    fn log_failure(&self, from: IpAddr, why: &str) {
        let mut told = self.told.lock();
        if told.take(network(from), Instant::now()).is_ok() {
            log::info!("GET /api/token from {} was refused: {why}", from.to_canonical());
        }
    }

    fn guesses(&self) -> MutexGuard<'_, GuessThrottle> {
        self.guesses.lock()
    }

    fn to_record(&self, grant: &Grant, api: &Api) -> api_types::TokenRecord {
        let (tokens, now) = (&grant.tokens, api.services().clock.now());
        let (cluster_id, org_id) = match tail(tokens.access_token.expose()) {
            Some((cluster, org)) => (Some(cluster.to_owned()), org.to_owned()),
            None => (None, self.service.org_id.clone()),
        };
        api_types::TokenRecord {
            id: 1,
            org_id,
            cluster_id,
            access_token: tokens.access_token.expose().to_owned(),
            expires_in: grant.life_left(now).as_secs(),
            refresh_token_expires_in: tokens.refresh_token_expires_at.map(|at| at.until(now).as_secs()),
            token_type: tokens.token_type.clone(),
            created_at: grant.obtained_at.to_the_millisecond(),
            updated_at: grant.renewed_at.to_the_millisecond(),
        }
    }

    /// The person whose token is returned. If `FROM` is an address, it is that person or none. Otherwise it
    /// is the person of the organization who consented first.
    async fn person(&self, api: &Api, from: IpAddr) -> Result<PersonId, TokenServiceError> {
        let Ok(email) = Email::parse(&self.service.from) else {
            return self.first(api).await.map_err(TokenServiceError::NoToken)?.ok_or_else(|| {
                self.log_failure(from, "no person of the organization ORG_ID has consented");
                TokenServiceError::Malformed
            });
        };
        self.named(api, &email).await.map_err(TokenServiceError::NoToken)?.ok_or_else(|| {
            let who = self.service.from.trim();
            self.log_failure(
                from,
                &format!("FROM names {who}, who has not consented, or does not belong to ORG_ID"),
            );
            TokenServiceError::NoSuchPerson
        })
    }

    /// The person with this address, if the grant belongs to the organization.
    async fn named(&self, api: &Api, email: &Email) -> Result<Option<PersonId>, ApiError> {
        let who = PersonQuery::Email(email.clone());
        match api.services().cache.resolve(&who).await? {
            ResolvedPerson::One(named) if self.is_for(api, &named).await? => Ok(Some(named)),
            ResolvedPerson::Ambiguous(persons) => Err(ApiError::AmbiguousPerson(persons)),
            _ => Ok(None),
        }
    }

    /// The person of the organization who consented first.
    async fn first(&self, api: &Api) -> Result<Option<PersonId>, ApiError> {
        let known = self.found.lock().clone();
        if let Some(known) = known
            && self.is_for(api, &known).await?
        {
            return Ok(Some(known));
        }
        let found = self.look(api).await?;
        self.found.lock().clone_from(&found);
        Ok(found)
    }

    async fn is_for(&self, api: &Api, person: &PersonId) -> Result<bool, ApiError> {
        let grant: Option<Arc<Grant>> = api.services().cache.get_uncached(person).await?;
        Ok(grant.is_some_and(|grant| self.service.is_for(&grant)))
    }

    async fn look(&self, api: &Api) -> Result<Option<PersonId>, ApiError> {
        let mut after = None;
        loop {
            let now = api.services().clock.now();
            let page = ListRequest {
                after,
                ..ListRequest::first_page(ListSelection::All(SortBy::CreatedAt), STEP, now)
            };
            let part = api.services().cache.list(page).await?;
            if let Some((_, grant)) = part.iter().find(|(_, grant)| self.service.is_for(grant)) {
                return Ok(Some(grant.person.id.clone()));
            }
            let Some((last, _)) = part.last() else { return Ok(None) };
            after = Some(last.clone());
        }
    }
}

const ORGANIZATION: &str = "x-organization-id";
const SENDER: &str = "x-from";
const PHRASE: &str = "x-api-phrase";

/// The three headers with credentials. `Err` says which of them is missing or repeated.
fn read_credentials(headers: &HeaderMap) -> Result<PresentedCredentials<'_>, String> {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().ok_or_else(|| format!("{name} is missing"))?;
        if values.next().is_some() {
            Err(format!("{name} is given more than once"))
        } else {
            Ok(value.as_bytes())
        }
    };
    Ok(PresentedCredentials { org_id: one(ORGANIZATION)?, from: one(SENDER)?, phrase: one(PHRASE)? })
}
