//! The command line's arguments.

mod notices;
mod parts;
mod people;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use clap::CommandFactory as _;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;
use clap::error::ErrorKind;
use clap_complete::Shell;

use crate::cli::arguments::parts::STATES;
use crate::cli::arguments::parts::patience;
use crate::cli::exit::EXIT_CODES;

pub use crate::cli::arguments::notices::CheckArgs;
pub use crate::cli::arguments::notices::HistoryArgs;
pub use crate::cli::arguments::notices::NoticesAction;
pub use crate::cli::arguments::notices::NoticesArgs;
pub use crate::cli::arguments::parts::DaemonArgs;
pub use crate::cli::arguments::parts::JsonArgs;
pub use crate::cli::arguments::parts::ListArgs;
pub use crate::cli::arguments::parts::MinTtlArgs;
pub use crate::cli::arguments::parts::PersonArgument;
pub use crate::cli::arguments::parts::TokenFormat;
pub use crate::cli::arguments::parts::TokenOutputArgs;
pub use crate::cli::arguments::people::PeopleArgs;

/// Keeps Cisco Webex access tokens of many people fresh, stores them encrypted and serves them.
///
/// Without a command, it runs the daemon. Settings are environment variables; `webex-tokend man` explains each of them.
#[derive(Debug, Parser)]
#[command(version, about, after_help = exit_codes())]
pub struct Arguments {
    /// The command; `serve` if it is omitted
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `serve`, if no command is given.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Read settings from FILE, under the environment, instead of .env in the working directory (serve) or in the state
    /// directory (all other commands)
    #[arg(long, value_name = "FILE", global = true, hide_short_help = true)]
    pub env_file: Option<PathBuf>,
}

impl Arguments {
    /// Parses the arguments. Ends the process with a message if they are invalid.
    #[must_use]
    pub fn typed() -> Self {
        Self::checked(Self::parse()).unwrap_or_else(|e| e.exit())
    }

    /// Rejects options of `serve` before another command, because they would have no effect.
    fn checked(self) -> Result<Self, clap::Error> {
        let ServeArgs { debug, refresh_at_start } = self.serve;
        if self.command.is_some() && (debug || refresh_at_start) {
            let line = "--debug and --refresh-at-start must follow the command";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, line));
        }
        Ok(self)
    }
}

fn exit_codes() -> String {
    let codes: Vec<String> = EXIT_CODES.iter().map(|(code, meaning)| format!("{code} {meaning}")).collect();
    format!("Exit codes: {}.", codes.join(", "))
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: the consent pages and the event loop that keeps tokens fresh
    Serve(ServeArgs),
    /// A command that needs the daemon's API, or the store.
    #[command(flatten)]
    Ask(ApiCommand),
    /// Check settings, certificate, store, grants and Webex: those of the running daemon or, without one, of this command
    Doctor(DaemonArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page; `webex-tokend man | man -l -` shows it
    Man,
}

/// Commands that use the API.
#[derive(Debug, Subcommand)]
pub enum ApiCommand {
    /// Get a person's consent from the terminal, by a browser or by another device
    #[command(visible_alias = "retrieve")]
    Login(LoginArgs),
    /// Refresh a token now; while Webex would give the same one again (the no-op window), only with --force
    Refresh(RefreshArgs),
    /// Print a live access token and nothing else
    Token(TokenArgs),
    /// Run a command with a live access token in WEBEX_ACCESS_TOKEN and WEBEX_TEAMS_ACCESS_TOKEN
    Exec(ExecArgs),
    /// List the stored persons and the state of their tokens
    #[command(visible_alias = "status")]
    People(PeopleArgs),
    /// Explain, rule by rule, whether and when a person's token is refreshed, and show Webex's last answer
    Why(WhyArgs),
    /// List the refreshes ahead, and who must consent again by when
    Plan(PlanArgs),
    /// Remove a person's grant from the store, or the grants of many persons
    Forget(ForgetArgs),
    /// Import grants from a file
    Import(ImportArgs),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Open the running daemon's dashboard in a browser, by a link that works once
    Dashboard(DashboardArgs),
    /// Show what operators and persons are told: waiting, sent and given up notices
    Notices(NoticesArgs),
    /// Show what happened: consents, failures, notices given up, removals; newest first
    History(HistoryArgs),
    /// Say in one line, and by the exit code, how the daemon is: for monitoring (0 ok, 1 warning, 2 critical, 3 unknown)
    Check(CheckArgs),
}

/// Options of `serve`.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ServeArgs {
    /// Log what this program does in more detail (no secret is logged at any level)
    #[arg(long)]
    pub debug: bool,
    /// Refresh every stored grant at start, whatever its age
    #[arg(long)]
    pub refresh_at_start: bool,
}

/// Options of `login`.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// Consent on another device: shows a URL, a code and a QR code
    #[arg(long)]
    pub device: bool,
    /// Only print the URL to open
    #[arg(long)]
    pub no_browser: bool,
    /// Preselect this account at Webex, and fail if another person consents
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// How long to wait for the consent [default: 60, with --device 300]
    #[arg(short, long, value_name = "TIME", value_parser = patience)]
    pub timeout: Option<u64>,
    /// What to print.
    #[command(flatten)]
    pub output: TokenOutputArgs,
    /// The connection to the daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Options of `refresh`.
#[derive(Debug, Args)]
pub struct RefreshArgs {
    /// The person to refresh.
    #[command(flatten)]
    pub subject: PersonArgument,
    /// Refresh all persons; with -j, print every outcome
    #[arg(long, conflicts_with_all = ["person", "output"])]
    pub all: bool,
    /// Refresh inside the no-op window as well
    #[arg(long)]
    pub force: bool,
    /// What to print.
    #[command(flatten)]
    pub output: TokenOutputArgs,
    /// The connection to the daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Options of `token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The person whose token is printed.
    #[command(flatten)]
    pub subject: PersonArgument,
    /// The token's minimum lifetime.
    #[command(flatten)]
    pub life: MinTtlArgs,
    /// How to print the token
    #[arg(long, value_enum, default_value = "raw")]
    pub format: TokenFormat,
    /// The connection to the daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Options of `exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// The person whose token is passed.
    #[command(flatten)]
    pub subject: PersonArgument,
    /// Set this variable to the token as well; may be given several times
    #[arg(long, value_name = "NAME")]
    pub env: Vec<String>,
    /// The token's minimum lifetime.
    #[command(flatten)]
    pub life: MinTtlArgs,
    /// The connection to the daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// The command to run, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Options of `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The person to explain.
    #[command(flatten)]
    pub subject: PersonArgument,
    /// The options of lists.
    #[command(flatten)]
    pub list: ListArgs,
}

/// Options of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// How many days to look ahead
    #[arg(long, default_value_t = 90)]
    pub days: u32,
    /// Show the sums of each day (UTC) instead of the persons
    #[arg(long)]
    pub by_day: bool,
    /// How to print the forecast.
    #[command(flatten)]
    pub json: JsonArgs,
    /// The connection to the daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Options of `forget`.
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// The person to remove.
    #[command(flatten)]
    pub subject: PersonArgument,
    /// Remove the grants of all persons in this state
    #[arg(long, value_parser = STATES, conflicts_with_all = ["person", "file"])]
    pub state: Option<String>,
    /// Remove the grants of the persons in FILE, one PERSON on each line; `-` reads stdin
    #[arg(long, value_name = "FILE", conflicts_with = "person")]
    pub file: Option<PathBuf>,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub yes: bool,
    /// The connection to the daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Formats of files to import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImportFormat {
    /// JSON with refresh_token, access_token or both: objects, one after another or in an array
    Jsonl,
    /// The configuration of wtr, .wtr-cli.json
    Wtr,
    /// The SQLite file of the token management service sample
    TokenApp,
    /// A .env file with REFRESH_TOKEN, ACCESS_TOKEN or both, also with the prefix WEBEX_
    Env,
}

/// Options of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file's format; detected from its content if omitted
    #[arg(long, value_enum)]
    pub from: Option<ImportFormat>,
    /// The file; `-` reads stdin
    pub file: PathBuf,
    /// Replace the person's stored grant even if it is active and has every scope of the imported one
    #[arg(long)]
    pub replace: bool,
    /// Write the grants that are not imported to this new file, which may be imported again; it contains their tokens
    #[arg(long, value_name = "FILE")]
    pub failed_to: Option<PathBuf>,
    /// The connection to the daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// The subcommands of `key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key and print it; it is never shown again
    Create(KeyCreateArgs),
    /// List the keys, without their secrets
    List(ListArgs),
    /// Revoke a key at once
    Revoke(KeyRevokeArgs),
}

/// Options of `key create`.
#[derive(Debug, Args)]
pub struct KeyCreateArgs {
    /// The name of the new key
    pub name: String,
    /// Only for this person (id or e-mail address); may be given several times; all persons if left out
    #[arg(long = "person", value_name = "PERSON")]
    pub persons: Vec<String>,
    /// What the key may do, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "read", value_parser = ["read", "refresh", "admin"])]
    pub can: Vec<String>,
    /// Days until the key expires; never if left out
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: Option<u32>,
    /// The connection to the daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Options of `key revoke`.
#[derive(Debug, Args)]
pub struct KeyRevokeArgs {
    /// The name of the key
    pub name: String,
    /// The connection to the daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Options of `dashboard`.
#[derive(Debug, Args)]
pub struct DashboardArgs {
    /// Only print the URL to open
    #[arg(long)]
    pub no_browser: bool,
    /// The connection to the daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

impl ApiCommand {
    /// The person that the command is about, if there is one.
    pub(super) fn subject(&mut self) -> Option<&mut PersonArgument> {
        match self {
            Self::Token(TokenArgs { subject, .. })
            | Self::Exec(ExecArgs { subject, .. })
            | Self::Why(WhyArgs { subject, .. })
            | Self::Forget(ForgetArgs { subject, state: None, file: None, .. })
            | Self::Refresh(RefreshArgs { subject, all: false, .. }) => Some(subject),
            _ => None,
        }
    }

    /// The connection options, wherever they were given.
    #[must_use]
    pub fn daemon(&self) -> DaemonArgs {
        match self {
            Self::Login(LoginArgs { daemon, .. })
            | Self::Dashboard(DashboardArgs { daemon, .. })
            | Self::Refresh(RefreshArgs { daemon, .. })
            | Self::Token(TokenArgs { daemon, .. })
            | Self::Exec(ExecArgs { daemon, .. })
            | Self::People(PeopleArgs { list: ListArgs { daemon, .. }, .. })
            | Self::Why(WhyArgs { list: ListArgs { daemon, .. }, .. })
            | Self::Plan(PlanArgs { daemon, .. })
            | Self::Forget(ForgetArgs { daemon, .. })
            | Self::Import(ImportArgs { daemon, .. })
            | Self::History(HistoryArgs { list: ListArgs { daemon, .. }, .. })
            | Self::Check(CheckArgs { daemon, .. })
            | Self::Key(
                KeyCommand::Create(KeyCreateArgs { daemon, .. })
                | KeyCommand::List(ListArgs { daemon, .. })
                | KeyCommand::Revoke(KeyRevokeArgs { daemon, .. }),
            ) => *daemon,
            Self::Notices(asked) => asked.daemon(),
        }
    }
}

#[cfg(test)]
mod tests;
