//! The arguments of `notices`, `history` and `check`.

use clap::Args;
use clap::Subcommand;

use crate::cli::arguments::parts::DaemonArgs;
use crate::cli::arguments::parts::ListArgs;

/// `notices`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct NoticesArgs {
    /// Show only notices that a sink has not taken
    #[arg(long)]
    pub failed: bool,
    /// As with every list.
    #[command(flatten)]
    pub list: ListArgs,
    /// What else to do.
    #[command(subcommand)]
    pub action: Option<NoticesAction>,
}

/// What to do with notices.
#[derive(Debug, Subcommand)]
pub enum NoticesAction {
    /// Send a test notice through every sink that tells operators, and say what came of it
    Test {
        /// Only this sink, or these: webhook, command, webex, mail
        #[arg(long, value_name = "SINK")]
        sink: Option<String>,
        /// The way to the daemon.
        #[command(flatten)]
        daemon: DaemonArgs,
    },
    /// Send notices again
    Resend {
        /// The ids, as `notices` shows them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// The way to the daemon.
        #[command(flatten)]
        daemon: DaemonArgs,
    },
}

impl NoticesArgs {
    /// The way to the daemon, wherever it was typed.
    #[must_use]
    pub fn daemon(&self) -> DaemonArgs {
        match &self.action {
            Some(NoticesAction::Test { daemon, .. } | NoticesAction::Resend { daemon, .. }) => *daemon,
            None => self.list.daemon,
        }
    }
}

/// `history`
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Webex person id or e-mail address; without it everything
    pub person: Option<String>,
    /// Show at most N entries
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// As with every list.
    #[command(flatten)]
    pub list: ListArgs,
}

/// `check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Warn when a person must consent again
    #[arg(long)]
    pub warn_consent: bool,
    /// Warn when a consent that refreshes do not extend ends within so many days
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub warn_expiring: Option<u32>,
    /// The way to the daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}
