//! The real daemon when its store accepts no writes: no refresh is sent, live tokens are served, the outage is logged
//! once, readiness fails, and recovery needs no restart.

use std::io::ErrorKind;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use reqwest::Client;
use rusqlite::Connection;
use serde_json::Value;
use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::Sim;

use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::REFRESH_EVERY_SECOND;
use crate::support::Setup;
use crate::support::counters;
use crate::support::eventually;
use crate::support::start_sim_with;
use crate::support::time::HANG_TIMEOUT;

const OUTAGE_LINE: &str =
    "no refresh is sent, because the store cannot be written; stored tokens are still served: ";
const RECOVERY_LINE: &str = "the store can be written again, after ";

/// Three persons whose grants are refreshed every second, and a client for their tokens.
struct StoreFaultScenario {
    sim: Sim,
    daemon: Daemon,
    control: Client,
}

impl StoreFaultScenario {
    async fn new(setup: Setup) -> Self {
        let sim = start_sim_with(Settings { noop_window: Duration::ZERO, ..Settings::default() }).await;
        let daemon = Daemon::start_with_setup(&sim, &REFRESH_EVERY_SECOND, setup).await;
        let scenario = Self { control: control(&daemon), sim, daemon };
        for person in 0..3 {
            assert_eq!(BrowserClient::new().consent(&scenario.daemon, person).await.status, 200);
        }
        scenario.wait_for_refreshes().await;
        assert_eq!(scenario.readiness().await, (200, "ready\n".to_owned()));
        scenario
    }

    fn attempts(&self) -> u64 {
        counters(&self.sim).refreshes.attempts
    }

    async fn wait_for_refreshes(&self) {
        let before = self.attempts();
        eventually("refreshes continue", || self.attempts() >= before + 6).await;
    }

    async fn readiness(&self) -> (u16, String) {
        let answered = BrowserClient::new().get(self.daemon.url("/readyz")).await;
        (answered.status, answered.body)
    }

    fn lines(&self, text: &str) -> usize {
        self.daemon.log().iter().filter(|line| line.contains(text)).count()
    }

    async fn wait_for_wakes(&self, times: usize) {
        let wakes = || self.lines("event loop: looking for old tokens");
        let before = wakes();
        eventually("the loop continues", || wakes() >= before + times).await;
    }

    /// Asserts that refreshes pause because of an outage whose log line contains `told`.
    async fn assert_paused(&self, told: &str) {
        let line = self.daemon.wait_for_line(OUTAGE_LINE).await;
        assert!(line.contains(told) && line.contains(" ERROR "), "{line}");
        // Claimed grants are still sent, and stored later.
        self.wait_for_wakes(2).await;
        eventually("no refresh is in flight", || counters(&self.sim).in_flight == 0).await;
        let before = self.attempts();
        self.wait_for_wakes(3).await;
        assert_eq!(self.attempts(), before, "no refresh is sent");
        assert_eq!(self.readiness().await, (503, "not ready: the store cannot be written\n".to_owned()));
        for person in ["ada", "grace"] {
            let token = token(&self.control, person).await.expect("stored tokens are served");
            let now_ms = self.sim.now_ms();
            assert!(self.sim.with(|webex| webex.is_live(&token, now_ms)));
        }
        assert_eq!(
            self.lines(" ERROR ") + self.lines(" WARN "),
            1 + self.lines("Webex's base URL is"),
            "logged once"
        );
    }

    /// Asserts that refreshes continue after the outage.
    async fn assert_recovered(&self) {
        self.daemon.wait_for_line(RECOVERY_LINE).await;
        self.wait_for_refreshes().await;
        assert_eq!(self.readiness().await, (200, "ready\n".to_owned()));
        assert_eq!([self.lines(OUTAGE_LINE), self.lines(RECOVERY_LINE)], [1, 1]);
        assert_eq!(counters(&self.sim).refreshes.refused, 0);
        assert_eq!(counters(&self.sim).most_in_flight_for_one_token, 1);
        for person in ["ada", "grace", "katherine"] {
            if let Some(token) = token(&self.control, person).await {
                let now_ms = self.sim.now_ms();
                assert!(self.sim.with(|webex| webex.is_live(&token, now_ms)));
            }
        }
        assert_eq!(self.lines("panicked"), 0);
    }
}

pub(super) fn control(daemon: &Daemon) -> Client {
    let socket = daemon.state_dir().join("control.sock");
    Client::builder().unix_socket(socket).no_proxy().timeout(HANG_TIMEOUT * 2).build().unwrap()
}

/// `None` if the store cannot be read.
pub(super) async fn token(control: &Client, person: &str) -> Option<String> {
    let url = format!("http://localhost/api/v1/people/{person}@example.com/token");
    let answer = control.get(url).send().await.unwrap();
    if answer.status() == 503 {
        return None;
    }
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    Some(answer["access_token"].as_str().unwrap().to_owned())
}

/// The state directory as the daemon sees it, whose disk is in its own mount namespace.
fn seen_by(daemon: &Daemon) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", daemon.pid()));
    root.join(daemon.state_dir().strip_prefix("/").unwrap())
}

#[tokio::test]
async fn a_full_disk_stops_refreshes_until_there_is_room() {
    let small_disk =
        Setup::Namespace("mkdir \"$0/state\"; mount -t tmpfs -o size=1m,mode=700 tmpfs \"$0/state\"");
    if !small_disk.is_possible() {
        return eprintln!("skipped: no small disk can be mounted here");
    }
    let sim = start_sim_with(Settings { noop_window: Duration::ZERO, ..Settings::default() }).await;
    // Outside the small disk, where this test can reach it.
    let mut settings = REFRESH_EVERY_SECOND.to_vec();
    settings.push(("TOKEND_CONTROL_SOCKET", "{home}/control.sock"));
    let daemon = Daemon::start_with_setup(&sim, &settings, small_disk).await;
    let socket = daemon.state_dir().with_file_name("control.sock");
    let control = Client::builder().unix_socket(socket).no_proxy().timeout(HANG_TIMEOUT * 2).build().unwrap();
    let scenario = StoreFaultScenario { sim, daemon, control };
    for person in 0..3 {
        assert_eq!(BrowserClient::new().consent(&scenario.daemon, person).await.status, 200);
    }
    let ballast = seen_by(&scenario.daemon).join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    let full = loop {
        if let Err(full) = file.write_all(&[0; 4096]) {
            break full;
        }
    };
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    scenario.assert_paused("its disk is full; free some space").await;
    let page = BrowserClient::new().consent(&scenario.daemon, 3).await;
    assert_eq!(page.status, 500);
    assert!(page.says("Your consent could not be stored"), "{}", page.body);

    drop(file);
    std::fs::remove_file(ballast).unwrap();
    scenario.assert_recovered().await;
    assert_eq!(BrowserClient::new().consent(&scenario.daemon, 3).await.status, 200);
}

#[tokio::test]
async fn an_io_error_on_commit_stops_refreshes_until_the_disk_works() {
    // The system also sends SIGXFSZ, which must not end the daemon.
    let scenario = StoreFaultScenario::new(Setup::None).await;
    let limit = |bytes: &str| {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &scenario.daemon.pid().to_string(), &format!("--fsize={bytes}:")]);
        command.status().is_ok_and(|status| status.success())
    };
    if !limit("4096") {
        return eprintln!("skipped: no limits can be set for another process here");
    }
    scenario.assert_paused("the store's disk cannot be read or written (disk I/O error").await;
    assert!(limit("unlimited"));
    scenario.assert_recovered().await;
}

#[tokio::test]
async fn a_lock_of_another_program_stops_refreshes_until_it_is_released() {
    let scenario = StoreFaultScenario::new(Setup::None).await;
    let shell = Connection::open(scenario.daemon.state_dir().join("tokend.db")).unwrap();
    shell.busy_timeout(HANG_TIMEOUT).unwrap();
    shell.execute_batch("BEGIN EXCLUSIVE").unwrap();
    scenario.assert_paused("the store is locked by another program").await;
    shell.execute_batch("COMMIT").unwrap();
    scenario.assert_recovered().await;
}

#[tokio::test]
async fn a_moved_store_file_stops_refreshes_until_it_is_back() {
    let scenario = StoreFaultScenario::new(Setup::None).await;
    let (place, elsewhere) =
        (scenario.daemon.state_dir().join("tokend.db"), scenario.daemon.state_dir().join("elsewhere"));
    std::fs::rename(&place, &elsewhere).unwrap();
    let line = scenario.daemon.wait_for_line(OUTAGE_LINE).await;
    assert!(line.contains("was moved, replaced or removed"), "{line}");
    assert_eq!(scenario.readiness().await.0, 503);
    assert!(token(&scenario.control, "ada").await.is_some());
    std::fs::rename(&elsewhere, &place).unwrap();
    scenario.assert_recovered().await;
}

/// The offset of the page with the grant of this person. The history names ids, too, but no addresses.
fn page_of(file: &[u8], person: &Person) -> usize {
    let has = |page: &[u8], text: &str| page.windows(text.len()).any(|part| part == text.as_bytes());
    let holds = |page: &[u8]| page[0] == 0x0d && has(page, &person.id) && has(page, &person.email);
    file.chunks(4096).position(holds).expect("no page has this person") * 4096
}

#[tokio::test]
async fn a_damaged_page_affects_only_the_persons_stored_on_it() {
    let sim = start_sim_with(Settings { people: Person::some(12), ..Settings::default() }).await;
    let mut daemon = Daemon::start(&sim, &[]).await;
    let visitor = BrowserClient::new();
    for person in 0..12 {
        assert_eq!(visitor.consent(&daemon, person).await.status, 200);
    }
    let people = || sim.with(|webex| webex.settings().people.clone());
    assert_eq!(daemon.terminate().await.code, Some(0));
    let path = daemon.state_dir().join("tokend.db");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (whole, key) =
        (std::fs::read(&path).unwrap(), std::fs::read(daemon.state_dir().join("key")).unwrap());
    let at = page_of(&whole, &people()[5]);
    let damaged: Vec<u8> = whole[at..at + 16].iter().map(|byte| byte ^ 0xa5).collect();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&damaged, at as u64).unwrap();

    daemon.restart(&[]).await;
    daemon.wait_for_line("tokend.db: its mode was 0644, others could use it; it is 0600 now").await;
    let control = control(&daemon);
    let mut lost = 0;
    for person in &people() {
        let name = person.email.split('@').next().unwrap();
        match token(&control, name).await {
            Some(token) => {
                let whose = sim.with(|webex| webex.person_of(&token));
                assert_eq!(whose.map(|index| people()[index].id.clone()), Some(person.id.clone()));
            }
            None => lost += 1,
        }
    }
    assert!((1..12).contains(&lost), "{lost} of 12 are not served");
    let line = daemon.wait_for_line("the store cannot be read: ").await;
    for part in ["tokend.db", "is damaged", "keep a copy", "restore your latest backup"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(std::fs::read(daemon.state_dir().join("key")).unwrap(), key);

    assert_eq!(daemon.terminate().await.code, Some(0));
    let log = daemon.final_log().await;
    let errors: Vec<&String> = log.iter().filter(|line| line.contains(" ERROR ")).collect();
    assert!(errors.len() <= 2, "{errors:#?}");
    assert_eq!(log.iter().filter(|line| line.contains("panicked")).count(), 0);
    file.write_all_at(&whole[at..at + 16], at as u64).unwrap();
    daemon.restart(&[]).await;
    let control = self::control(&daemon);
    for person in &people() {
        let name = person.email.split('@').next().unwrap();
        assert!(token(&control, name).await.is_some(), "nothing was removed");
    }
}
