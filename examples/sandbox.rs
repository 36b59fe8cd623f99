//! The daemon and a simulated Webex, together, with a short loop: for trying it out without a Webex account.
//!
//! ```text
//! cargo run --example sandbox
//! ```
//!
//! Nothing is kept at the end. The daemon listens on port 8000, or on the one given as the only argument.

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::process::ExitCode;

use webex_sim::Settings;
use webex_sim::Sim;
use webex_tokend::cli::logging;
use webex_tokend::config::Config;
use webex_tokend::config::Source;
use webex_tokend::daemon;

#[tokio::main]
async fn main() -> ExitCode {
    let port = std::env::args().nth(1).unwrap_or_else(|| "8000".to_owned());
    logging::start(false, None);
    match run(&port).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("sandbox: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(port: &str) -> Result<(), String> {
    // Without the no-op window every refresh brings a new token, which is more to look at.
    let settings = Settings { noop_window: std::time::Duration::ZERO, ..Settings::default() };
    let (client_id, client_secret) = (settings.client_id.clone(), settings.client_secret.clone());
    let sim = Sim::start(settings).await.map_err(|e| format!("no simulator: {e}"))?;
    let (base, redirect_uri) = (sim.base_url(), format!("https://localhost:{port}/oauth"));
    let source = Source::from([
        ("MY_APP_PORT", port),
        ("MY_APP_CLIENT_ID", &client_id),
        ("MY_APP_SECRET_ID", &client_secret),
        ("MY_APP_REDIRECT_URI", &redirect_uri),
        ("WEBEX_API_BASE_URL", &base),
        ("TOKEND_STORE_URL", "memory:"),
        ("EVENT_LOOP_SLEEP_SECONDS", "5"),
        ("EVENT_LOOP_DAYS", "0.0001"),
        ("EVENT_LOOP_NOOP_WINDOW_SECONDS", "0"),
    ]);
    let config = Config::read(&source).map_err(|mistakes| mistakes.to_string())?;
    println!("Webex, simulated: {base}");
    println!("The daemon:       https://localhost:{port}/  (open it, press Go to Webex, choose who you are)");
    println!(
        "Each token is refreshed when it is older than 9 seconds; the loop looks every 5. Ctrl-C ends it."
    );
    daemon::run(config, false).await.map_err(|e| e.to_string())
}
