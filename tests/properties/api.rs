//! Requests to the API: method, path, headers, body.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header;
use serde_json::Value;
use tokio::runtime::Runtime;
use webex_tokend::api_keys::ApiKeys;
use webex_tokend::consent::ConsentService;
use webex_tokend::domain::api_key::ApiKeyRecord;
use webex_tokend::domain::api_key::Rights;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::Tokens;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::secret::Secret;
use webex_tokend::health::Health;
use webex_tokend::http::api::Api;
use webex_tokend::http::api::ApiServices;
use webex_tokend::http::api::Caller;
use webex_tokend::notices::Notices;
use webex_tokend::refresh::RateLimits;
use webex_tokend::refresh::RefreshService;
use webex_tokend::service_context::ServiceContext;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::GrantQueries;
use webex_tokend::store::memory::MemoryStore;
use webex_tokend::store::seal::Sealer;
use webex_tokend::webex::transport::Payload;
use webex_tokend::webex::transport::RawResponse;
use webex_tokend::webex::transport::WebexRequest;

use super::harness::FixedClock;
use super::harness::NOW;
use super::harness::POLICY;
use super::harness::SECRET_MARK;
use super::harness::ScriptedTransport;
use super::harness::runtime;
use super::harness::webex;

const STATUSES: [u16; 13] = [200, 201, 204, 400, 403, 404, 405, 409, 413, 415, 429, 502, 503];

/// Grace's name, which a key limited to Ada must not reveal.
const HIDDEN_NAME: &str = "Gr4ce-Hopper-8c1f-4e7b";

/// The caller's rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallerKind {
    Nothing,
    ReadsAda,
    Operator,
}

/// Input: `METHOD PATH`, headers and a body, with empty lines as in HTTP. Every response is well-formed. No secret
/// leaves, except an access token in the token response. A key without the right to change changes nothing, and a key
/// limited to one person reveals no other.
pub(super) fn holds(data: &[u8]) -> String {
    let mut statuses = Vec::new();
    for who in [CallerKind::Nothing, CallerKind::ReadsAda, CallerKind::Operator] {
        let Some(request) = request(data) else { return "no request".to_owned() };
        let runtime = runtime();
        let api = InMemoryApi::new(&runtime);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let (status, kind, body) = runtime.block_on(api.answer(request, who));
        let what = format!("{who:?} {method} {path}: {status} {body}");
        well_formed(status, &kind, &body, method == hyper::Method::HEAD, &what);

        let is_token = status == 200 && path.ends_with("/token");
        assert!(is_token || !body.contains(&format!("access-{SECRET_MARK}")), "{what}");
        let secrets = ["refresh", "client"].map(|kind| format!("{kind}-{SECRET_MARK}"));
        assert!(!secrets.iter().any(|secret| body.contains(secret)), "{what}");
        if who == CallerKind::ReadsAda
            && !data.windows(HIDDEN_NAME.len()).any(|part| part == HIDDEN_NAME.as_bytes())
        {
            assert!(!body.contains(HIDDEN_NAME), "{what}");
        }
        if who == CallerKind::Nothing {
            let open = path == "/api/v1/openapi.json";
            assert!(open || !matches!(status, 200..=299), "{what}");
        }
        let (ada, grace) = (api.kept(&runtime, "ada"), api.kept(&runtime, "grace"));
        if who != CallerKind::Operator {
            // A reader may cause a refresh of its token, but nothing else.
            assert!(ada.is_some() && grace.as_ref() == Some(&api.grace), "{what}");
        }
        let forgets = method == hyper::Method::DELETE && status == 204;
        assert!(forgets || (ada.is_some() && grace.is_some()), "{what}");
        statuses.push(status.to_string());
    }
    statuses.join(" ")
}

fn request(data: &[u8]) -> Option<Request<Bytes>> {
    let (head, body) = match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &[][..]),
    };
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let (method, path) = lines.next()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        request = request.header(name, value);
    }
    request.body(Bytes::copy_from_slice(body)).ok()
}

fn well_formed(status: u16, kind: &str, body: &str, head: bool, what: &str) {
    assert!(STATUSES.contains(&status), "{what}");
    assert!(body.len() < 200_000, "{} bytes to {what}", body.len());
    if status == 204 || head {
        assert!(body.is_empty(), "{what}");
        return;
    }
    let json: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {what}"));
    if status >= 400 {
        assert_eq!(
            (kind, json["status"].as_u64()),
            ("application/problem+json", Some(status.into())),
            "{what}"
        );
        let detail = json["detail"].as_str().unwrap_or_default();
        assert!(json["code"].is_string() && detail.len() < 2000, "{what}");
        assert!(!detail.chars().any(char::is_control), "{what}");
    } else {
        assert_eq!(kind, "application/json", "{what}");
    }
}

struct InMemoryApi {
    api: Api,
    store: Arc<MemoryStore>,
    grace: Grant,
}

impl InMemoryApi {
    fn new(runtime: &Runtime) -> Self {
        let store = Arc::new(MemoryStore::new());
        let grace = grant("grace", HIDDEN_NAME);
        runtime.block_on(async {
            store.save_consent(grant("ada", "Ada")).await.unwrap();
            store.save_consent(grace.clone()).await.unwrap();
        });
        let clock = Arc::new(FixedClock);
        let webex = Arc::new(webex(ScriptedTransport::new(Box::new(script))));
        let context = ServiceContext::new(store.clone(), webex, clock.clone(), POLICY);
        let sealer = Arc::new(Sealer::new(&[7; 32]).unwrap());
        let pace = RateLimits { concurrency: 16, per_second: 0.0 };
        let refresher = RefreshService::new(context.clone(), pace, "the seeds".to_owned());
        let notices = Notices::new(context.clone(), store.clone(), store.clone(), Vec::new());
        let api = Api::new(ApiServices {
            consents: Arc::new(ConsentService::new(context.clone(), sealer)),
            health: Health::new(store.clone(), refresher.pending_commits().clone()),
            refresher: Arc::new(refresher),
            cache: context.cache,
            keys: Arc::new(runtime.block_on(ApiKeys::load(store.clone(), clock.clone())).unwrap()),
            clock,
            policy: POLICY,
            tasks: context.tasks,
            redirect_uri: "https://localhost:8000/oauth".to_owned(),
            run_doctor: Arc::new(|| Box::pin(async { vec![] })),
            notices: Arc::new(notices),
        });
        Self { api, store, grace }
    }

    async fn answer(&self, request: Request<Bytes>, who: CallerKind) -> (u16, String, String) {
        let key = |rights, persons| {
            let rights = Rights::parse(rights).unwrap();
            Caller::Key(ApiKeyRecord::make(&[5; 38], "key".to_owned(), rights, persons, NOW).1.into())
        };
        let caller = match who {
            CallerKind::Nothing => key("", None),
            CallerKind::ReadsAda => key("read", Some(vec![PersonId::parse("ada").unwrap()])),
            CallerKind::Operator => Caller::Control,
        };
        let response = self.api.handle(request, caller).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let kind = headers.get(header::CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap()).to_owned();
        assert_eq!(headers.get(header::CACHE_CONTROL).unwrap(), "no-store");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    fn kept(&self, runtime: &Runtime, name: &str) -> Option<Grant> {
        runtime.block_on(self.store.find(PersonId::parse(name).unwrap())).unwrap()
    }
}

fn grant(name: &str, display_name: &str) -> Grant {
    let person = Person {
        id: PersonId::parse(name).unwrap(),
        email: Email::parse(&format!("{name}@example.com")).ok(),
        display_name: Some(display_name.to_owned()),
        org_id: None,
    };
    let tokens = Tokens {
        access_token: Secret::new(format!("access-{SECRET_MARK}")),
        refresh_token: Secret::new(format!("refresh-{SECRET_MARK}")),
        token_type: "Bearer".to_owned(),
        scope: Some("spark:all".to_owned()),
        expires_at: NOW + std::time::Duration::from_secs(14 * 86_400),
        refresh_token_expires_at: None,
    };
    Grant::consented(person, tokens, NOW, &POLICY, NOW)
}

/// Answers every request with success, as Ada's.
fn script(call: &WebexRequest) -> Option<RawResponse> {
    let body = match call.payload {
        Payload::Bearer(_) => "{\"id\":\"ada\",\"emails\":[\"ada@example.com\"]}".to_owned(),
        _ if call.url.expose().ends_with("/device/authorize") => format!(
            "{{\"device_code\":\"client-{SECRET_MARK}\",\"user_code\":\"123456\",\"verification_uri\":\"https://webex.example/verify\"}}"
        ),
        _ => format!(
            "{{\"access_token\":\"access-{SECRET_MARK}\",\"refresh_token\":\"refresh-{SECRET_MARK}\",\"expires_in\":43200}}"
        ),
    };
    Some(RawResponse { status: 200, body: body.into_bytes(), ..RawResponse::default() })
}
