//! What may be typed.

use clap::Args;
use clap::Parser;
use clap::Subcommand;

/// Keeps Cisco Webex access tokens of many people fresh, sealed and at hand.
///
/// Without a command it serves. Settings come from the environment, see the README.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do; `serve` if it is left out.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// For `serve`, when no command is given.
    #[command(flatten)]
    pub serve: Serve,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: the consent pages and the event loop that keeps tokens fresh
    Serve(Serve),
}

/// How to serve.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Serve {
    /// Log what this program does in more detail (no secret is logged at any level)
    #[arg(long)]
    pub debug: bool,
    /// Refresh every stored grant at start, whatever its age
    #[arg(long)]
    pub refresh_at_start: bool,
}

impl Arguments {
    /// How to serve, wherever it was typed.
    #[must_use]
    pub fn serve(&self) -> Serve {
        match self.command {
            Some(Command::Serve(serve)) => serve,
            None => self.serve,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn serving_is_what_happens_without_a_command() {
        for typed in [&["webex-tokend", "--debug"][..], &["webex-tokend", "serve", "--debug"]] {
            let serve = Arguments::try_parse_from(typed).unwrap().serve();
            assert!(serve.debug && !serve.refresh_at_start, "{typed:?}");
        }
    }
}
