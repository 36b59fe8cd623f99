//! `login`: a consent from the terminal, in a browser here or on another device.

use std::time::Duration;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::api_types::LoginRequest;
use crate::api_types::LoginStatus;
use crate::api_types::PersonView;
use crate::api_types::StartedLogin;
use crate::cli::api_client::API;
use crate::cli::api_client::ApiClient;
use crate::cli::api_client::CommandContext;
use crate::cli::api_client::in_process::StoreAccess;
use crate::cli::api_client::segment;
use crate::cli::arguments::LoginArgs;
use crate::cli::browser::open_browser;
use crate::cli::commands::token;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::format;
use crate::cli::output;
use crate::cli::output::Terminal;
use crate::cli::output::print_stderr;
use crate::cli::output::printable;
use crate::clock::Clock as _;
use crate::clock::SystemClock;
use crate::config::SettingsSource;

const BROWSER_SECONDS: u64 = 60;

/// Default timeout with `--device`, because people need time to find their phone.
const DEVICE_SECONDS: u64 = 300;

/// Maximum wait of one status request, so that a stopped daemon is noticed.
const TURN: Duration = Duration::from_secs(25);

/// Pause between status requests, in case the daemon does not wait itself.
const STEP: Duration = Duration::from_millis(200);

pub(super) fn run(
    context: &CommandContext,
    asked: &LoginArgs,
    terminal: Terminal,
) -> Result<(), CommandError> {
    let needs = if asked.device { StoreAccess::CreateIfMissing } else { StoreAccess::WithHttpServer };
    let mut handle = ApiClient::open(context, needs)?;
    let begin = LoginRequest { email: asked.email.clone(), device: asked.device };
    let begun: StartedLogin = handle.post(&format!("{API}/logins"), &begin)?;
    if asked.device {
        show_device(&begun);
    } else {
        show_address(&begun, asked.no_browser, &context.source);
    }
    let usual = if asked.device { DEVICE_SECONDS } else { BROWSER_SECONDS };
    let patience = asked.timeout.unwrap_or(usual).min(begun.expires_in.max(1));
    let person = wait(&mut handle, &begun, Duration::from_secs(patience))?;
    if let Some(email) = &asked.email {
        is_meant(&person, email)?;
    }
    if !asked.output.output && !asked.output.json {
        let left = format::time_left(Some(&person.expires_at), format::now(), "expired");
        let state = format::state_color(&person.state).paint(&printable(&person.state), terminal);
        return Ok(output::write_line(&format!(
            "{}: {state}, expires in {left}",
            format::person_line(&person)
        ))?);
    }
    let path = format!("{API}/people/{}", segment(&person.person_id));
    token::print(&mut handle, &path, asked.output.json)
}

/// Fails if another account consented than `email`: Webex lets any account sign in, whatever was preselected.
fn is_meant(person: &PersonView, email: &str) -> Result<(), CommandError> {
    if person.email.as_deref().is_some_and(|found| found.eq_ignore_ascii_case(email.trim())) {
        return Ok(());
    }
    let who = format::person_name(person);
    let handle = person.email.as_deref().unwrap_or(&person.person_id);
    let line = format!(
        "expected a consent of {email}, but {who} consented, and that consent is stored; `webex-tokend forget {handle}` removes it, \
         and `webex-tokend login --email {email}` asks again"
    );
    Err(CommandError::new(Exit::Failed, line))
}

#[expect(clippy::disallowed_methods, reason = "no runtime is there to sleep on")]
fn wait(
    handle: &mut ApiClient,
    begun: &StartedLogin,
    patience: Duration,
) -> Result<PersonView, CommandError> {
    let deadline = SystemClock.now() + patience;
    loop {
        let left = deadline.until(SystemClock.now());
        let turn = left.min(TURN);
        let seconds = turn.as_secs().max(u64::from(turn.subsec_millis() > 0));
        let path = format!("{API}/logins/{}?wait={seconds}", segment(&begun.id));
        let status: LoginStatus = handle.wait(&path, turn)?;
        match (status.state.as_str(), status.person) {
            ("granted", Some(person)) => return Ok(person),
            ("pending", _) if !left.is_zero() => std::thread::sleep(STEP.min(left)),
            ("pending", _) => {
                let line = format!(
                    "no consent in {} s; a consent given later still counts, or start again with a longer -t",
                    patience.as_secs()
                );
                return Err(CommandError::new(Exit::Failed, line));
            }
            (_, _) => {
                let why = status.detail.unwrap_or_else(|| "Webex gave no reason".to_owned());
                let line = format!("no consent: {why}; start again with `webex-tokend login`");
                return Err(CommandError::new(Exit::ConsentNeeded, line));
            }
        }
    }
}

fn show_address(begun: &StartedLogin, no_browser: bool, source: &SettingsSource) {
    let url = printable(&begun.url);
    let text = if no_browser {
        format!("Open this URL to consent:\n{url}")
    } else if open_browser(&begun.url, source) {
        format!("The consent opens in a browser. If it does not, open this URL:\n{url}")
    } else {
        format!("There is no browser here. Open this URL to consent:\n{url}")
    };
    print_stderr(&text);
}

fn show_device(begun: &StartedLogin) {
    let code = begun.user_code.as_deref().map(printable).unwrap_or_default();
    print_stderr(&format!("On any device, open\n  {}\nand enter the code\n  {code}", printable(&begun.url)));
    let address = begun.complete_url.as_deref().unwrap_or(&begun.url);
    let Some(width) = Terminal::stderr_width() else { return };
    if let Some(picture) = picture(address, width) {
        print_stderr(&format!("or scan this with its camera:\n{picture}"));
    }
}

/// A QR code, if the terminal is wide enough for it.
fn picture(address: &str, width: usize) -> Option<String> {
    let code = QrCode::new(address).ok()?;
    // Light on dark, as most terminals are. The quiet zone takes 4 modules on each side.
    let fits = code.width() + 8 <= width;
    let draw = || {
        let mut renderer = code.render::<Dense1x2>();
        renderer.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build()
    };
    fits.then(draw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qr_code_is_drawn_if_there_is_room() {
        let address = "https://login.webex.com/verify?userCode=a01284929c8b3d40f0d3f1f5e3a9b0c2";
        let picture_at = |width| picture(address, width);
        assert!(picture_at(20).is_none());
        let lines = picture_at(80).unwrap();
        assert!(lines.lines().all(|line| line.chars().count() <= 80));
    }
}
