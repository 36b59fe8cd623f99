//! The load during kills: clients that read tokens, operators who force refreshes, people who consent. It records what
//! each of them was shown.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::Client;
use reqwest::RequestBuilder;
use serde_json::Value;
use serde_json::json;
use tokio::sync::RwLock;
use tokio::sync::RwLockWriteGuard;
use tokio::task::JoinSet;
use url::Url;
use webex_sim::Sim;

use crate::process::kills::CONSENTED_BEFORE;
use crate::process::kills::CONSENTING_DURING;
use crate::process::kills::KillRng;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::PageResponse;
use crate::support::http;
use crate::support::time::HANG_TIMEOUT;

const READERS: u64 = 4;
const PEOPLE: usize = 2;

/// The slowest response of Webex, in milliseconds.
const SLOWEST: u64 = 50;

/// What clients were shown of one person.
#[derive(Clone, Debug, Default)]
pub(super) struct ShownTokens {
    /// The consent that must be stored, or a later one; counted from 0.
    pub(super) consent: usize,
    /// Access tokens since the last kill.
    pub(super) tokens: Vec<String>,
}

/// The load, and what it was shown.
pub(super) struct Load {
    sim: Arc<Sim>,
    home: Url,
    socket: PathBuf,
    key: String,
    /// Read-locked during an exchange with the daemon and its recording. Write-locked after a kill, when all exchanges
    /// are over.
    exchange: RwLock<()>,
    shown: Mutex<BTreeMap<usize, ShownTokens>>,
    failures: Mutex<Vec<String>>,
    over: AtomicBool,
    read: AtomicU64,
    forced: AtomicU64,
    consents: AtomicU64,
    consents_cut: AtomicU64,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (read, forced) = (count(&self.read), count(&self.forced));
        let (consents, cut) = (count(&self.consents), count(&self.consents_cut));
        write!(
            f,
            "{read} tokens read, {forced} refreshes forced, {consents} consents, {cut} of them cut by a kill"
        )
    }
}

impl Load {
    pub(super) fn new(sim: Arc<Sim>, daemon: &Daemon, key: String) -> Self {
        Self {
            sim,
            home: daemon.url("/"),
            socket: daemon.state_dir().join("control.sock"),
            key,
            exchange: RwLock::default(),
            shown: Mutex::default(),
            failures: Mutex::default(),
            over: AtomicBool::default(),
            read: AtomicU64::default(),
            forced: AtomicU64::default(),
            consents: AtomicU64::default(),
            consents_cut: AtomicU64::default(),
        }
    }

    pub(super) fn sim(&self) -> &Sim {
        &self.sim
    }

    pub(super) fn begin(self: Arc<Self>, working: &mut JoinSet<()>, seed: u64) {
        for n in 1..=READERS {
            working.spawn(self.clone().reads(KillRng(seed ^ n)));
        }
        working.spawn(self.clone().forces(KillRng(seed ^ 100)));
        for n in 0..PEOPLE {
            working.spawn(self.clone().consents_come(n, KillRng(seed ^ 200 ^ n as u64)));
        }
        working.spawn(self.vary_latency(KillRng(seed ^ 300)));
    }

    /// Ends the load.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Waits until every response is recorded. No request is sent until the result is dropped.
    pub(super) async fn pause(&self) -> RwLockWriteGuard<'_, ()> {
        tokio::time::timeout(HANG_TIMEOUT, self.exchange.write())
            .await
            .expect("a client still waits for the dead daemon")
    }

    /// Asserts that no response was wrong.
    pub(super) fn assert_no_failures(&self) {
        let failures = self.failures.lock().unwrap();
        assert!(failures.is_empty(), "{}: {:#?}", failures.len(), &failures[..failures.len().min(10)]);
    }

    /// What must be stored by now.
    pub(super) fn shown_so_far(&self) -> BTreeMap<usize, ShownTokens> {
        self.shown.lock().unwrap().clone()
    }

    /// Records what is stored now and must stay stored.
    pub(super) fn set_stored(&self, person: usize, shown: ShownTokens) {
        self.shown.lock().unwrap().insert(person, shown);
    }

    /// Index and address of every person who saw that their grant is stored.
    pub(super) fn persons(&self) -> Vec<(usize, String)> {
        let shown = self.shown_so_far();
        self.sim.with(|webex| {
            let people = &webex.settings().people;
            shown.keys().map(|person| (*person, people[*person].email.clone())).collect()
        })
    }

    /// Records that a client got this person's token.
    pub(super) fn shown(&self, person: usize, token: &str) {
        let now_ms = self.sim.now_ms();
        let (whose, lives) = self.sim.with(|webex| (webex.person_of(token), webex.is_live(token, now_ms)));
        assert!(whose == Some(person) && lives, "person {person} got a token of {whose:?}, live: {lives}");
        self.shown.lock().unwrap().entry(person).or_default().tokens.push(token.to_owned());
    }

    /// Records that this person has seen "Access Granted". No other consent for them may run at the same time.
    pub(super) fn granted(&self, person: usize) {
        let tokens = self.sim.with(|webex| webex.counters().tokens);
        let newest = tokens.iter().rposition(|token| token.person == person).unwrap();
        self.shown.lock().unwrap().entry(person).or_default().consent = newest;
    }

    fn report_failure(&self, what: &str, status: u16, body: &str) {
        self.failures.lock().unwrap().push(format!("{what}: {status} {body}"));
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn address_of(&self, person: usize) -> String {
        self.sim.with(|webex| webex.settings().people[person].email.clone())
    }

    /// Varies the latency of Webex.
    async fn vary_latency(self: Arc<Self>, mut rng: KillRng) {
        while !self.is_over() {
            let latency = Duration::from_millis(rng.below(SLOWEST + 1));
            self.sim.with(|webex| webex.settings_mut().latency = latency);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.sim.with(|webex| webex.settings_mut().latency = Duration::ZERO);
    }

    /// Reads tokens over TLS; one in eight requests needs a new token.
    async fn reads(self: Arc<Self>, mut rng: KillRng) {
        let client = http();
        while !self.is_over() {
            let person = rng.below(CONSENTED_BEFORE as u64) as usize;
            let min_ttl = if rng.below(8) == 0 { 14 * 86_400 } else { 60 };
            let path = format!("api/v1/people/{}/token?min_ttl={min_ttl}", self.address_of(person));
            let ask = client.get(self.home.join(&path).unwrap()).bearer_auth(&self.key);
            self.read_one(person, ask).await;
            tokio::time::sleep(Duration::from_millis(1 + rng.below(20))).await;
        }
    }

    async fn read_one(&self, person: usize, ask: RequestBuilder) {
        let _exchange = self.exchange.read().await;
        let Some((status, body)) = whole(ask).await else { return };
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        let Some(token) = answer["access_token"].as_str().filter(|_| status == 200) else {
            return self.report_failure("a reader", status, &body);
        };
        self.shown(person, token);
        self.read.fetch_add(1, Ordering::Relaxed);
    }

    /// Forces refreshes over the control socket.
    async fn forces(self: Arc<Self>, mut rng: KillRng) {
        let client =
            Client::builder().unix_socket(self.socket.as_path()).no_proxy().timeout(HANG_TIMEOUT * 2);
        let client = client.build().unwrap();
        while !self.is_over() {
            let person = rng.below(CONSENTED_BEFORE as u64) as usize;
            let url = format!("http://localhost/api/v1/people/{}/refresh", self.address_of(person));
            self.force_one(client.post(url)).await;
            tokio::time::sleep(Duration::from_millis(rng.below(50))).await;
        }
    }

    async fn force_one(&self, ask: RequestBuilder) {
        let _exchange = self.exchange.read().await;
        let Some((status, body)) = whole(ask.json(&json!({"force": true}))).await else { return };
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        if status != 200 || answer["outcome"] != "renewed" {
            self.report_failure("a forced refresh", status, &body);
        }
        self.forced.fetch_add(1, Ordering::Relaxed);
    }

    /// Consents of new persons first, then of known ones. Each person belongs to one of these tasks.
    async fn consents_come(self: Arc<Self>, part: usize, mut rng: KillRng) {
        let mut newcomers =
            (CONSENTED_BEFORE..CONSENTED_BEFORE + CONSENTING_DURING).filter(|person| person % PEOPLE == part);
        let visitor = BrowserClient::new();
        while !self.is_over() {
            let again = || rng.below((CONSENTED_BEFORE / PEOPLE) as u64) as usize * PEOPLE + part;
            let person = newcomers.next().unwrap_or_else(again);
            while !self.is_over() && !self.one_consents(&visitor, person).await {}
            tokio::time::sleep(Duration::from_millis(rng.below(200))).await;
        }
    }

    /// Whether the consent completed. If not, the daemon was killed meanwhile.
    async fn one_consents(&self, visitor: &BrowserClient, person: usize) -> bool {
        let Some(begun) = self.page(visitor, self.home.join("oauth").unwrap()).await else { return false };
        let webex = format!("{}&decision=accept&person={person}", begun.header("location").unwrap());
        let Some(accepted) = self.page(visitor, Url::parse(&webex).unwrap()).await else { return false };
        let back = Url::parse(accepted.header("location").unwrap()).unwrap();
        let mut cut = 0;
        while !self.is_over() {
            let exchange = self.exchange.read().await;
            let Ok(page) = visitor.try_get(back.clone()).await else {
                cut = 1;
                drop(exchange);
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            self.consents_cut.fetch_add(cut, Ordering::Relaxed);
            if page.status == 200 && page.says("Access Granted") {
                self.granted(person);
                self.consents.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            // The killed daemon has already used the code.
            if cut == 0 {
                self.report_failure("a consent", page.status, &page.body);
            }
            return false;
        }
        true
    }

    async fn page(&self, visitor: &BrowserClient, url: Url) -> Option<PageResponse> {
        let exchange = self.exchange.read().await;
        let page = visitor.try_get(url).await;
        drop(exchange);
        let Ok(page) = page else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            return None;
        };
        if page.status != 302 {
            self.report_failure("the start of a consent", page.status, &page.body);
            return None;
        }
        Some(page)
    }
}

/// Status and body; `None` if no daemon is running or it was killed.
async fn whole(ask: RequestBuilder) -> Option<(u16, String)> {
    let answer = ask.send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}
