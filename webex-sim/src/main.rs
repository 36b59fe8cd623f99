//! `webex-sim`: the simulator as a program.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use webex_sim::{Consent, ErrorBody, Person, RefreshLife, RefreshToken, Settings, Sim};

/// Webex's OAuth endpoints on 127.0.0.1, for people without an account, for tests and for benchmarks.
#[derive(Parser, Debug)]
#[command(version, about)]
struct Arguments {
    /// Port to listen on; 0: any free one.
    #[arg(long, default_value_t = 18080)]
    port: u16,
    /// Speak HTTPS, with a certificate made at start.
    #[arg(long)]
    tls: bool,
    /// Write the certificate authority to trust here (PEM); with --tls.
    #[arg(long, value_name = "PATH", requires = "tls")]
    ca_file: Option<PathBuf>,
    /// The integration's client id.
    #[arg(long)]
    client_id: Option<String>,
    /// The integration's client secret.
    #[arg(long)]
    client_secret: Option<String>,
    /// Lives of the tokens: 14d (refresh token 90d), 12h (60d) or 18h (89d).
    #[arg(long, default_value = "14d")]
    profile: Profile,
    /// Life of an access token, such as 90s, 15m, 12h or 14d; wins over the profile.
    #[arg(long, value_parser = duration)]
    access_lifetime: Option<Duration>,
    /// Life of a refresh token; wins over the profile.
    #[arg(long, value_parser = duration)]
    refresh_lifetime: Option<Duration>,
    /// A refresh this soon after the last one changes nothing; 0: off.
    #[arg(long, value_parser = duration, default_value = "24h")]
    noop_window: Duration,
    /// Give a new refresh token at every refresh; the old one dies.
    #[arg(long)]
    rotate: bool,
    /// Refreshing does not renew the life of the refresh token.
    #[arg(long)]
    counts_down: bool,
    /// Consent at once without a page: the person that login_hint names, else the next person in turn.
    #[arg(long)]
    auto_accept: bool,
    /// Every answer takes this long.
    #[arg(long, default_value_t = 0, value_name = "MILLISECONDS")]
    latency_ms: u64,
    /// The shape of JSON errors.
    #[arg(long, default_value = "webexapis")]
    error_body: Shape,
    /// How many people there are.
    #[arg(long, default_value_t = 6)]
    people: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    #[value(name = "14d")]
    Messaging,
    #[value(name = "12h")]
    ContactCenter,
    #[value(name = "18h")]
    SelfContained,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shape {
    Webexapis,
    Idbroker,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), String> {
    let address = (Ipv4Addr::LOCALHOST, arguments.port).into();
    let settings = arguments.settings();
    let (id, secret) = (settings.client_id.clone(), settings.client_secret.clone());
    let sim = Sim::start_on(address, arguments.tls, settings)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    if let (Some(path), Some(pem)) = (&arguments.ca_file, sim.ca_pem()) {
        std::fs::write(path, pem).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    greet(&arguments, &sim, &id, &secret);
    tokio::signal::ctrl_c().await.map_err(|error| format!("cannot wait for Ctrl-C: {error}"))?;
    sim.stop().await;
    Ok(())
}

impl Arguments {
    fn settings(&self) -> Settings {
        let hour = Duration::from_secs(3600);
        let (access, refresh) = match self.profile {
            Profile::Messaging => (14 * 24 * hour, 90 * 24 * hour),
            Profile::ContactCenter => (12 * hour, 60 * 24 * hour),
            Profile::SelfContained => (18 * hour, 89 * 24 * hour),
        };
        let usual = Settings::default();
        Settings {
            client_id: self.client_id.clone().unwrap_or_else(|| usual.client_id.clone()),
            client_secret: self.client_secret.clone().unwrap_or_else(|| usual.client_secret.clone()),
            access_lifetime: self.access_lifetime.unwrap_or(access),
            refresh_lifetime: self.refresh_lifetime.unwrap_or(refresh),
            noop_window: self.noop_window,
            refresh_token: if self.rotate { RefreshToken::Rotating } else { RefreshToken::Stable },
            refresh_life: if self.counts_down { RefreshLife::CountsDown } else { RefreshLife::Renewed },
            consent: if self.auto_accept { Consent::AcceptInTurn } else { Consent::Ask },
            latency: Duration::from_millis(self.latency_ms),
            error_body: match self.error_body {
                Shape::Webexapis => ErrorBody::Webexapis,
                Shape::Idbroker => ErrorBody::Idbroker,
            },
            people: Person::some(self.people),
            ..usual
        }
    }
}

/// `90s`, `15m`, `12h`, `14d`, or seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let (digits, unit) = units
        .iter()
        .find_map(|(letter, seconds)| Some((text.strip_suffix(letter)?, *seconds)))
        .unwrap_or((text, 1));
    let count: u64 =
        digits.parse().map_err(|_| "expected a number and s, m, h or d, such as 12h".to_owned())?;
    count.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| "too long".to_owned())
}

#[expect(clippy::print_stdout, reason = "what the program has to say is its output")]
fn greet(arguments: &Arguments, sim: &Sim, id: &str, secret: &str) {
    let base = sim.base_url();
    let root = base.trim_end_matches("/v1");
    println!("Webex simulator (not Cisco), on loopback only, nothing is kept. Ctrl-C ends it. Set:\n");
    println!("export WEBEX_API_BASE_URL={base}");
    if let Some(path) = &arguments.ca_file {
        println!("export WEBEX_CA_FILE={}", path.display());
    }
    println!("export MY_APP_CLIENT_ID={id}");
    println!("export MY_APP_SECRET_ID={secret}\n");
    println!("Redirect URIs: any on localhost. People: {}.", arguments.people);
    println!("Steer it: GET {root}/sim/people, GET {root}/sim/counters,");
    println!("          POST {root}/sim/fault | clear | advance | revoke | mint (see webex-sim/README.md)");
}

#[expect(clippy::print_stderr, reason = "the last words of a program that cannot go on")]
fn complain(error: &str) {
    eprintln!("webex-sim: {error}");
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("12h"), Ok(Duration::from_secs(43_200)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("h").is_err() && duration("-1").is_err());
    }
}
