//! The daemon's consents, store, refresher and loop in virtual time, against an in-process Webex.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use webex_sim::Consent;
use webex_sim::Model;
use webex_sim::Settings;
use webex_sim::model::Answer;
use webex_sim::model::Request;
use webex_tokend::api_keys::ApiKeys;
use webex_tokend::clock::Clock;
use webex_tokend::consent::ConsentService;
use webex_tokend::consent::Granted;
use webex_tokend::domain::allowed_persons::AllowList;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::domain::secret::Secret;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::health::Health;
use webex_tokend::http::api::Api;
use webex_tokend::http::api::ApiServices;
use webex_tokend::notices::Notices;
use webex_tokend::refresh::EventLoop;
use webex_tokend::refresh::RateLimits;
use webex_tokend::refresh::RefreshService;
use webex_tokend::service_context::ServiceContext;
use webex_tokend::store::Store;
use webex_tokend::store::memory::MemoryStore;
use webex_tokend::store::seal::Sealer;
use webex_tokend::tasks::Tasks;
use webex_tokend::webex::Integration;
use webex_tokend::webex::Webex;
use webex_tokend::webex::transport::Payload;
use webex_tokend::webex::transport::RawResponse;
use webex_tokend::webex::transport::ResponseError;
use webex_tokend::webex::transport::TOTAL_TIMEOUT;
use webex_tokend::webex::transport::Transport;
use webex_tokend::webex::transport::WebexRequest;

use crate::support::time::DAY;
use crate::support::time::HOUR;

/// The time at which every test starts.
pub(crate) const START: UnixTime = UnixTime(1_790_000_000_000);

/// The default settings.
pub(crate) const POLICY: Policy =
    Policy { sleep: HOUR, max_age: DAY, noop_window: DAY, floor: Duration::from_secs(300) };

pub(crate) const RATE_LIMITS: RateLimits = RateLimits { concurrency: 16, per_second: 20.0 };

/// The wall clock: follows virtual time, and can be set. Webex's own clock cannot.
#[derive(Debug)]
pub(crate) struct WallClock {
    /// The true time at one moment of the runtime.
    mark: Mutex<(UnixTime, Instant)>,
    shift_ms: AtomicI64,
}

impl WallClock {
    /// A correct clock, in a runtime that starts at `now`.
    pub(crate) fn new(now: UnixTime) -> Self {
        Self { mark: Mutex::new((now, Instant::now())), shift_ms: AtomicI64::new(0) }
    }

    /// The time on Webex's clock.
    pub(crate) fn true_time(&self) -> UnixTime {
        let (at, since) = *self.mark.lock().unwrap();
        at + since.elapsed()
    }

    /// Sets the clock ahead, or back if `ms` is negative.
    pub(crate) fn step(&self, ms: i64) {
        self.shift_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// The deviation from the true time.
    pub(crate) fn shift_ms(&self) -> i64 {
        self.shift_ms.load(Ordering::SeqCst)
    }

    /// Suspends the machine: time passes, timers stand still.
    pub(crate) fn suspend(&self, span: Duration) {
        let mut mark = self.mark.lock().unwrap();
        mark.0 = mark.0 + span;
    }

    /// Continues in another runtime at this true time.
    pub(crate) fn resume_at(&self, now: UnixTime) {
        *self.mark.lock().unwrap() = (now, Instant::now());
    }
}

impl Clock for WallClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.true_time().0 + self.shift_ms.load(Ordering::SeqCst))
    }
}

/// Sends requests to the model, with its latency and its faults.
pub(crate) struct ModelTransport {
    pub(crate) model: Arc<Mutex<Model>>,
    pub(crate) clock: Arc<WallClock>,
}

impl Transport for ModelTransport {
    fn send(
        &self,
        call: WebexRequest,
    ) -> Pin<Box<dyn Future<Output = Result<RawResponse, ResponseError>> + Send + '_>> {
        Box::pin(async move {
            let late = |_| Err(ResponseError("no answer in time".to_owned()));
            timeout(TOTAL_TIMEOUT, self.carry(call)).await.unwrap_or_else(late)
        })
    }
}

impl ModelTransport {
    async fn carry(&self, call: WebexRequest) -> Result<RawResponse, ResponseError> {
        let path = call.url.expose().split_once("//webex.test").unwrap().1;
        let request = match &call.payload {
            Payload::Form(fields) => form(path, fields),
            Payload::BasicForm { user, password, fields } => {
                form(path, fields).basic(user, password.expose())
            }
            Payload::Bearer(token) => Request::get(path).bearer(token.expose()),
            Payload::Json { token, body } => json_call(path, body).bearer(token.expose()),
            Payload::Signed { headers, body } => {
                let webhook_headers =
                    headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
                Request { webhook_headers, ..json_call(path, body) }
            }
        };
        let answer = self.model.lock().unwrap().answer(self.clock.true_time().0, &request);
        let _guard = CallGuard { model: &self.model, visit: Some(answer.visit) };
        sleep(answer.delay).await;
        match answer.cut {
            None => Ok(raw(&answer)),
            Some(webex_sim::model::Cut::Hang) => std::future::pending().await,
            Some(_) => Err(ResponseError("the connection broke".to_owned())),
        }
    }
}

fn form(path: &str, fields: &[(&'static str, Secret)]) -> Request {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.expose())).collect();
    Request::form(path, &fields)
}

struct CallGuard<'a> {
    model: &'a Mutex<Model>,
    visit: Option<webex_sim::model::Visit>,
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        if let Some(visit) = self.visit.take() {
            self.model.lock().unwrap().left(visit);
        }
    }
}

fn raw(answer: &Answer) -> RawResponse {
    RawResponse {
        status: answer.status,
        retry_after: answer.header("retry-after").map(str::to_owned),
        tracking_id: answer.header("trackingid").map(str::to_owned),
        body: answer.body.clone(),
    }
}

/// Services of the daemon: what survives a restart, and what is running.
pub(crate) struct TestServices {
    pub(crate) model: Arc<Mutex<Model>>,
    pub(crate) clock: Arc<WallClock>,
    pub(crate) context: ServiceContext,
    pub(crate) pace: RateLimits,
    /// `EVENT_LOOP_CATCH_UP_PER_SECOND`; off unless a test is about it.
    pub(crate) catch_up: f64,
    pub(crate) consents: Arc<ConsentService>,
    pub(crate) refresher: Option<Arc<RefreshService>>,
    running: Option<(JoinHandle<()>, CancellationToken)>,
    starts: u32,
}

impl TestServices {
    pub(crate) fn new(settings: Settings) -> Self {
        Self::with_policy(settings, POLICY, RATE_LIMITS)
    }

    pub(crate) fn with_policy(settings: Settings, policy: Policy, pace: RateLimits) -> Self {
        Self::with_store(Arc::new(MemoryStore::new()), settings, policy, pace)
    }

    /// With this store.
    pub(crate) fn with_store(
        store: Arc<dyn Store>,
        settings: Settings,
        policy: Policy,
        pace: RateLimits,
    ) -> Self {
        let model = Arc::new(Mutex::new(Model::new(settings)));
        let clock = Arc::new(WallClock::new(START));
        let context = ServiceContext::new(store, webex(&model, &clock), clock.clone(), policy);
        let sealer = Arc::new(Sealer::new(&[1; 32]).unwrap());
        Self {
            model,
            clock,
            consents: Arc::new(ConsentService::new(context.clone(), sealer)),
            context,
            pace,
            catch_up: 0.0,
            refresher: None,
            running: None,
            starts: 0,
        }
    }

    /// Allows only the persons of this list to consent.
    pub(crate) fn for_persons(self, allow: &str) -> Self {
        let consents = Arc::into_inner(self.consents).unwrap().for_persons(AllowList::parse(allow).ok());
        Self { consents: Arc::new(consents), ..self }
    }

    /// Starts the loop as the daemon does.
    pub(crate) async fn start(&mut self, refresh_at_start: bool) {
        self.starts += 1;
        let tasks = Tasks::new();
        let stopping = tasks.stopping();
        let refresher = self.new_refresher(format!("start {}", self.starts), &tasks);
        self.refresher = Some(refresher.clone());
        // A failing store does not stop the loop, which tries again.
        let _ = refresher.prepare(refresh_at_start).await;
        let event_loop = EventLoop::new(refresher);
        #[expect(clippy::disallowed_methods, reason = "a task of the test")]
        let task = tokio::spawn(event_loop.run());
        self.running = Some((task, stopping));
    }

    fn new_refresher(&self, owner: String, tasks: &Tasks) -> Arc<RefreshService> {
        // Each start reads the settings again.
        let webex = webex(&self.model, &self.clock);
        let context = ServiceContext { webex, tasks: tasks.clone(), ..self.context.clone() };
        Arc::new(RefreshService::new(context, self.pace, owner).with_catch_up(self.catch_up))
    }

    /// The API of these services, for the HTTP server.
    pub(crate) async fn api(&self) -> Api {
        let tasks = Tasks::new();
        let refresher = self.new_refresher("api".to_owned(), &tasks);
        Api::new(ApiServices {
            consents: self.consents.clone(),
            health: Health::new(self.context.store.clone(), refresher.pending_commits().clone()),
            refresher,
            cache: self.context.cache.clone(),
            keys: Arc::new(ApiKeys::load(Arc::new(MemoryStore::new()), self.clock.clone()).await.unwrap()),
            clock: self.clock.clone(),
            policy: self.context.policy,
            tasks,
            redirect_uri: "http://localhost:8000/oauth".to_owned(),
            run_doctor: Arc::new(|| Box::pin(async { vec![] })),
            notices: self.notices(),
        })
    }

    /// Notices to no sink, on a store of their own.
    fn notices(&self) -> Arc<Notices> {
        let store = Arc::new(MemoryStore::new());
        Arc::new(Notices::new(self.context.clone(), store.clone(), store, Vec::new()))
    }

    /// Ends the loop as a signal does.
    pub(crate) async fn stop(&mut self) {
        let (task, stopping) = self.running.take().unwrap();
        stopping.cancel();
        task.await.unwrap();
    }

    /// Ends the loop like `kill -9`: nothing is finished.
    pub(crate) async fn kill(&mut self) {
        let (task, _) = self.running.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    /// A client of this Webex.
    pub(crate) fn webex(&self) -> Arc<Webex> {
        self.context.webex.clone()
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// A person consents, in the two real steps.
    pub(crate) async fn consent(&self, person: usize) -> Granted {
        let begun = self.consents.begin(None).unwrap();
        let back = self.decide_at_webex(&begun.url, Consent::AcceptAs(person));
        self.consents.finish(back("code"), back("state"), Some(&begun.sealed), None).await.unwrap()
    }

    /// See [`decide_at_webex`].
    pub(crate) fn decide_at_webex(&self, url: &str, decision: Consent) -> impl Fn(&str) -> Secret + use<> {
        decide_at_webex(&self.model, &self.clock, url, decision)
    }

    pub(crate) async fn consent_all(&self, persons: usize) {
        for person in 0..persons {
            self.consent(person).await;
        }
    }

    pub(crate) fn id(&self, person: usize) -> PersonId {
        PersonId::parse(&self.model().settings().people[person].id).unwrap()
    }

    pub(crate) async fn grant(&self, person: usize) -> Grant {
        self.context.store.find(self.id(person)).await.unwrap().unwrap()
    }

    /// When refreshes of one person started, as time since [`START`] by Webex's clock.
    pub(crate) fn starts(&self, person: usize) -> Vec<Duration> {
        let counters = self.model().counters();
        let starts = counters.people.get(person).map(|p| p.starts_ms.clone()).unwrap_or_default();
        starts.into_iter().map(|ms| UnixTime(ms).since(START)).collect()
    }

    /// Whether Webex accepts the stored token.
    pub(crate) async fn is_live(&self, person: usize) -> bool {
        let token = self.grant(person).await.tokens.access_token;
        self.model().is_live(token.expose(), self.clock.true_time().0)
    }
}

/// The callback parameters that Webex returns, by name, after the person decided at `url`.
pub(crate) fn decide_at_webex(
    model: &Mutex<Model>,
    clock: &WallClock,
    url: &str,
    decision: Consent,
) -> impl Fn(&str) -> Secret + use<> {
    let location = {
        let mut model = model.lock().unwrap();
        model.settings_mut().consent = decision;
        let path = url.split_once("//webex.test").unwrap().1;
        let answer = model.answer(clock.true_time().0, &Request::get(path));
        let location = answer.header("location").unwrap().to_owned();
        model.left(answer.visit);
        location
    };
    let query = location.split_once('?').unwrap().1.to_owned();
    move |name| {
        let value = url::form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == name);
        Secret::new(value.unwrap().1.into_owned())
    }
}

fn json_call(path: &str, body: &str) -> Request {
    Request {
        method: "POST".to_owned(),
        path: path.to_owned(),
        body: body.as_bytes().to_vec(),
        content_type: Some("application/json".to_owned()),
        ..Request::default()
    }
}

fn webex(model: &Arc<Mutex<Model>>, clock: &Arc<WallClock>) -> Arc<Webex> {
    let transport = ModelTransport { model: model.clone(), clock: clock.clone() };
    let integration = integration(model.lock().unwrap().settings());
    Arc::new(Webex::new(integration, Arc::new(transport), clock.clone()))
}

/// The integration that this Webex knows.
pub(crate) fn integration(settings: &Settings) -> Integration {
    Integration {
        client_id: settings.client_id.clone(),
        client_secret: Secret::new(settings.client_secret.clone()),
        redirect_uri: "https://localhost:8000/oauth".to_owned(),
        scopes: vec!["spark:all".to_owned()],
        base: "https://webex.test/v1".to_owned(),
    }
}

/// Webex with these lifetimes.
pub(crate) fn lifetimes(access: Duration, refresh: Duration) -> Settings {
    Settings { access_lifetime: access, refresh_lifetime: refresh, ..Settings::default() }
}
