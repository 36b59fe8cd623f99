//! Runs the daemon together with a simulated Webex and a short refresh interval, to try it out without a
//! Webex account.
//!
//! ```text
//! cargo run --example sandbox
//! ```
//!
//! Nothing is stored permanently. The daemon listens on port 8000, or on the port given as the only argument.

#![expect(clippy::print_stdout, reason = "the example prints instructions")]

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use webex_sim::Settings;
use webex_sim::Sim;
use webex_tokend::api_types::DashboardLink;
use webex_tokend::cli::logging;
use webex_tokend::config::Config;
use webex_tokend::config::SettingsSource;
use webex_tokend::daemon;
use webex_tokend::daemon::DaemonError;
use webex_tokend::services::http_server::ServeError;

/// Time limit for the start; the daemon normally answers much earlier.
const STARTS: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> ExitCode {
    let port = std::env::args().nth(1).unwrap_or_else(|| "8000".to_owned());
    logging::start(false, log::LevelFilter::Info, None);
    match run(&port).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("sandbox: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(port: &str) -> Result<(), String> {
    // Without the no-op window, every refresh issues a new token, which shows more.
    let settings = Settings { noop_window: Duration::ZERO, ..Settings::default() };
    let (client_id, client_secret) = (settings.client_id.clone(), settings.client_secret.clone());
    let sim = Sim::start(settings).await.map_err(|e| format!("cannot start the simulator: {e}"))?;
    let (base, redirect_uri) = (sim.base_url(), format!("https://localhost:{port}/oauth"));
    // Readable by this user only, and removed at the end.
    let dir =
        tempfile::tempdir().map_err(|e| format!("cannot create a directory for the control socket: {e}"))?;
    let socket = dir.path().join("control.sock");
    let source = SettingsSource::from([
        ("MY_APP_PORT", port),
        ("MY_APP_CLIENT_ID", &client_id),
        ("MY_APP_SECRET_ID", &client_secret),
        ("MY_APP_REDIRECT_URI", &redirect_uri),
        ("WEBEX_API_BASE_URL", &base),
        ("TOKEND_STORE_URL", "memory:"),
        ("TOKEND_CONTROL_SOCKET", &socket.display().to_string()),
        ("EVENT_LOOP_SLEEP_SECONDS", "5"),
        ("EVENT_LOOP_DAYS", "0.0001"),
        ("EVENT_LOOP_NOOP_WINDOW_SECONDS", "0"),
    ]);
    let config = Config::read(&source).map_err(|mistakes| mistakes.to_string())?;
    println!("Webex, simulated: {base}");
    let daemon = daemon::run(config, false);
    tokio::pin!(daemon);
    tokio::select! {
        ended = &mut daemon => return ended.map_err(told),
        link = dashboard_link(&socket) => tell(port, &socket, link.as_ref()),
    }
    daemon.await.map_err(told)
}

fn tell(port: &str, socket: &Path, link: Option<&DashboardLink>) {
    println!("Consent:          https://localhost:{port}/  (press Go to Webex, choose who you are)");
    println!("Commands:         export TOKEND_CONTROL_SOCKET={}", socket.display());
    if let Some(link) = link {
        println!("Dashboard:        {}, code {}, within a minute", link.url, link.code);
        println!("                  (later: `webex-tokend dashboard` in a shell with that variable)");
    }
    println!(
        "Each token is refreshed when it is older than 9 seconds; the loop looks every 5. Ctrl-C ends it."
    );
}

/// The error with advice for the sandbox, whose only setting is the port.
fn told(error: DaemonError) -> String {
    match error {
        DaemonError::Serve(ServeError::Listen(address, why)) => {
            format!("cannot listen on {address}: {why}; use another port: cargo run --example sandbox 8123")
        }
        other => other.to_string(),
    }
}

/// Requests a dashboard link as soon as the control socket is there; `None` if that fails.
async fn dashboard_link(socket: &Path) -> Option<DashboardLink> {
    while !socket.exists() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let client = reqwest::Client::builder().unix_socket(socket).no_proxy().timeout(STARTS).build().ok()?;
    let answer = client.post("http://localhost/api/v1/dashboard-links").send().await;
    answer.ok()?.json().await.ok()
}
