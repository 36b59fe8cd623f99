//! A browser driven by W3C WebDriver: only the calls that these tests need.

use std::io::BufRead;
use std::io::BufReader;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use url::Url;

use crate::support::http;
use crate::support::time::HANG_TIMEOUT;

/// Headless, also as root in a container, and contacting only the pages under test.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// Keys in the encoding of WebDriver.
pub(super) const TAB: &str = "\u{e004}";
pub(super) const ENTER: &str = "\u{e007}";

/// The key of an element reference in WebDriver's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Chromium with an empty profile. It is killed when this is dropped.
pub(super) struct Browser {
    http: Client,
    session: String,
    _driver: Driver,
    _profile: TempDir,
}

/// chromedriver and its browser, which are one process group.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        // An error only means that it has already ended.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

/// A tab of the browser.
#[derive(Clone, Debug)]
pub(super) struct Tab(String);

impl Browser {
    pub(super) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With more command line flags.
    pub(super) async fn with(flags: &[String]) -> Self {
        Self::begin(flags, json!({})).await
    }

    /// With scripts turned off.
    pub(super) async fn without_scripts() -> Self {
        Self::begin(&[], json!({ "profile.managed_default_content_settings.javascript": 2 })).await
    }

    async fn begin(flags: &[String], prefs: Value) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (driver, port) = Driver::start(profile.path());
        let mut args: Vec<String> = FLAGS.map(str::to_owned).into();
        args.extend_from_slice(flags);
        args.push(format!("--user-data-dir={}", profile.path().join("profile").display()));
        // Waits for elements, so that no test has to guess how long a page takes.
        let patience = u64::try_from(HANG_TIMEOUT.as_millis()).unwrap();
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "acceptInsecureCerts": true,
            "timeouts": { "implicit": patience, "pageLoad": patience },
            "goog:chromeOptions": { "args": args, "prefs": prefs },
        } } });
        let (http, driver_url) = (http(), format!("http://127.0.0.1:{port}/session"));
        let begun = call(&http, Method::POST, &driver_url, Some(capabilities)).await;
        let session = format!("{driver_url}/{}", begun["sessionId"].as_str().unwrap());
        Self { http, session, _driver: driver, _profile: profile }
    }

    async fn get(&self, word: &str) -> Value {
        call(&self.http, Method::GET, &format!("{}/{word}", self.session), None).await
    }

    async fn post(&self, word: &str, body: Value) -> Value {
        call(&self.http, Method::POST, &format!("{}/{word}", self.session), Some(body)).await
    }

    /// Returns when the page is loaded.
    pub(super) async fn open(&self, url: &Url) {
        self.post("url", json!({ "url": url.as_str() })).await;
    }

    pub(super) async fn back(&self) {
        self.post("back", json!({})).await;
    }

    pub(super) async fn reload(&self) {
        self.post("refresh", json!({})).await;
    }

    pub(super) async fn url(&self) -> Url {
        Url::parse(self.get("url").await.as_str().unwrap()).unwrap()
    }

    /// The id of the element that this selector finds first; waits until there is one.
    async fn find(&self, css: &str) -> String {
        let found = self.post("element", json!({ "using": "css selector", "value": css })).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    pub(super) async fn click(&self, css: &str) {
        let element = self.find(css).await;
        self.post(&format!("element/{element}/click"), json!({})).await;
    }

    /// Types `text` into the element.
    pub(super) async fn write(&self, css: &str, text: &str) {
        let element = self.find(css).await;
        self.post(&format!("element/{element}/value"), json!({ "text": text })).await;
    }

    /// Grants pages access to the clipboard.
    pub(super) async fn allow_clipboard(&self) {
        let permissions = json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
        self.devtools("Browser.grantPermissions", permissions).await;
    }

    /// The visible text of the element.
    pub(super) async fn text(&self, css: &str) -> String {
        let element = self.find(css).await;
        self.get(&format!("element/{element}/text")).await.as_str().unwrap().to_owned()
    }

    /// The value of a script, with the console's rights: the page's policy does not restrict it.
    pub(super) async fn evaluate(&self, script: &str) -> Value {
        self.post("execute/sync", json!({ "script": format!("return {script}"), "args": [] })).await
    }

    /// What a whole script returns. Waits for a promise.
    pub(super) async fn run(&self, script: &str) -> Value {
        self.post("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Waits until the script's value is true.
    pub(super) async fn until(&self, script: &str) {
        let look = async {
            while self.evaluate(script).await != Value::Bool(true) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(HANG_TIMEOUT, look)
            .await
            .unwrap_or_else(|_| panic!("not true in time: {script}"));
    }

    /// Waits until the image is loaded.
    pub(super) async fn is_loaded(&self, css: &str) {
        self.until(&format!("document.querySelector({css:?}).naturalWidth > 0")).await;
    }

    /// Presses and releases a key.
    pub(super) async fn press(&self, key: &str) {
        let keys = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] });
        self.post("actions", actions).await;
    }

    pub(super) async fn tab(&self) -> Tab {
        Tab(self.get("window").await.as_str().unwrap().to_owned())
    }

    /// Opens another tab and goes there.
    pub(super) async fn new_tab(&self) -> Tab {
        let opened = self.post("window/new", json!({ "type": "tab" })).await;
        let tab = Tab(opened["handle"].as_str().unwrap().to_owned());
        self.switch_to(&tab).await;
        tab
    }

    pub(super) async fn switch_to(&self, tab: &Tab) {
        self.post("window", json!({ "handle": tab.0 })).await;
    }

    /// Emulates a screen of this size, dark or light, from the next page on.
    pub(super) async fn emulate_screen(&self, width: u32, height: u32, scheme: &str) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Resizes the screen of the open page.
    pub(super) async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.post("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// Writes a screenshot of the whole page to `target/screenshots/NAME.png`.
    pub(super) async fn screenshot(&self, name: &str) -> PathBuf {
        self.capture(name, true).await
    }

    /// Writes a screenshot of the visible part of the page.
    pub(super) async fn screenshot_viewport(&self, name: &str) -> PathBuf {
        self.capture(name, false).await
    }

    async fn capture(&self, name: &str, beyond: bool) -> PathBuf {
        let taken = self.devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": beyond })).await;
        let png = STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots");
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join(format!("{name}.png"));
        std::fs::write(&file, png).unwrap();
        file
    }
}

impl Driver {
    /// Starts chromedriver on a free port. Returns the port.
    fn start(home: &Path) -> (Self, u16) {
        let child = Command::new("chromedriver")
            .arg("--port=0")
            .process_group(0)
            // Crash reports and other files go there.
            .env("HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver must be installed; bash tests/run.sh does that");
        let mut driver = Self(child);
        let mut lines = BufReader::new(driver.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        let told = lines.find_map(|line| {
            line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
        });
        let port = told.expect("chromedriver prints its port");
        // Its output must be read, or it blocks.
        std::thread::spawn(move || lines.for_each(drop));
        (driver, port)
    }
}

async fn call(http: &Client, method: Method, url: &str, body: Option<Value>) -> Value {
    let mut request = http.request(method, url);
    if let Some(body) = &body {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let mut json: Value = answer.json().await.unwrap();
    let value = json["value"].take();
    assert!(
        status.is_success(),
        "{url} {}: {} {}",
        body.unwrap_or_default(),
        value["error"],
        value["message"]
    );
    value
}
