//! Options that several commands share.

use clap::Args;
use clap::ValueEnum;

/// The states of grants, as options name them.
pub(super) const STATES: [&str; 4] = ["fresh", "due", "retrying", "consent_needed"];

/// How to reach the daemon.
#[derive(Clone, Copy, Debug, Args)]
pub struct DaemonArgs {
    /// How long to wait for a response of the daemon
    #[arg(long, value_name = "TIME", default_value = "90", value_parser = patience, hide_short_help = true)]
    pub daemon_timeout: u64,
    /// Log what this command does
    #[arg(short = 'd', long)]
    pub debug: bool,
}

/// The person that a command is about.
#[derive(Clone, Debug, Args)]
pub struct PersonArgument {
    /// Webex person id or e-mail address; if left out, TOKEND_DEFAULT_PERSON, else the only stored person if that was the first
    /// one ever stored
    pub person: Option<String>,
}

/// Output as JSON.
#[derive(Clone, Copy, Debug, Args)]
pub struct JsonArgs {
    /// Print JSON
    #[arg(short, long)]
    pub json: bool,
}

/// Options of every command that prints a list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// How to print the list.
    #[command(flatten)]
    pub json: JsonArgs,
    /// The connection to the daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Prints the token after the command has succeeded.
#[derive(Clone, Copy, Debug, Args)]
pub struct TokenOutputArgs {
    /// Print the token as a block of text
    #[arg(short, long)]
    pub output: bool,
    /// Print the token as JSON
    #[arg(short, long, conflicts_with = "output")]
    pub json: bool,
}

/// How to print a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TokenFormat {
    /// The token only
    Raw,
    /// The token with its dates, as JSON
    Json,
    /// WEBEX_ACCESS_TOKEN=…
    Env,
    /// Authorization: Bearer …, for `curl -H @-`
    Header,
}

/// The minimum lifetime of a token.
#[derive(Clone, Copy, Debug, Args)]
pub struct MinTtlArgs {
    /// How long the token must still live; it is refreshed first if need be [default: 60]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub min_ttl: Option<u64>,
}

/// Parses a duration, such as `90`, `90s`, `15m`, `12h` or `7d`, into seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix(|c: char| c.is_ascii_alphabetic()).unwrap_or(text);
    let unit = match text.strip_prefix(number) {
        Some("" | "s") => Some(1),
        Some("m") => Some(60),
        Some("h") => Some(3600),
        Some("d") => Some(86_400),
        _ => None,
    };
    let digits = number.bytes().all(|b| b.is_ascii_digit());
    let count = number.parse::<u64>().ok().filter(|_| digits);
    count.zip(unit).and_then(|(count, unit)| count.checked_mul(unit)).ok_or_else(|| {
        "expected a number of seconds, or a number followed by s, m, h or d, such as 90, 15m, 12h or 7d"
            .to_owned()
    })
}

/// Parses a timeout: at least a second, at most a day.
pub(super) fn patience(text: &str) -> Result<u64, String> {
    match seconds(text)? {
        seconds @ 1..=86_400 => Ok(seconds),
        _ => Err("expected a time from 1s to 1d".to_owned()),
    }
}
