//! The commands, one file for each kind; every one of them speaks with the API through one [`Handle`].

mod dashboard;
mod doctor;
mod exec;
mod forget;
mod keys;
mod login;
mod pages;
mod people;
mod person;
mod plan;
mod refresh;
mod token;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::arguments::Ask;
use crate::cli::arguments::Command;
use crate::cli::arguments::Daemon;
use crate::cli::client::Handle;
use crate::cli::client::Surroundings;
use crate::cli::exit::Exit;
use crate::cli::exit::Failure;
use crate::cli::import;
use crate::cli::local::Needs;
use crate::cli::logging;
use crate::cli::print::Paper;
use crate::config::Source;

/// Where the API begins.
const API: &str = "/api/v1";

/// Runs a command other than `serve`, to its exit code.
#[must_use]
pub fn run(command: Command) -> ExitCode {
    let done = match command {
        Command::Serve(_) => Err(Failure::new(Exit::Usage, "the daemon is no command of its own")),
        Command::Completions { shell } => pages::completions(shell),
        Command::Man => pages::manual(),
        Command::Doctor(daemon) => surroundings(daemon).and_then(|s| doctor::run(&s)),
        Command::Ask(ask) => surroundings(ask.daemon()).and_then(|s| answer(ask, &s)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(),
    }
}

fn surroundings(daemon: Daemon) -> Result<Surroundings, Failure> {
    let source = Source::environment(Path::new("."))
        .map_err(|mistakes| Failure::new(Exit::Usage, mistakes.to_string()))?;
    if daemon.debug {
        logging::start(true, source.get("RUST_LOG"));
    }
    let socket = source.control_socket().ok_or_else(|| {
        let line = "there is no HOME to look for the daemon's socket under; set TOKEND_STATE_DIR or TOKEND_CONTROL_SOCKET";
        Failure::new(Exit::Usage, line)
    })?;
    Ok(Surroundings { source, socket, patience: Duration::from_secs(daemon.daemon_timeout) })
}

fn answer(ask: Ask, surroundings: &Surroundings) -> Result<(), Failure> {
    let paper = Paper::of_stdout(&surroundings.source);
    let open = || Handle::open(surroundings, Needs::Kept);
    match ask {
        Ask::Token(asked) => token::run(&mut open()?, &asked),
        Ask::Exec(asked) => exec::run(open()?, &asked),
        Ask::People(asked) => people::run(&mut open()?, asked.json.json, paper),
        Ask::Refresh(asked) => refresh::run(&mut open()?, &asked),
        Ask::Why(asked) => plan::why(&mut open()?, &asked, paper),
        Ask::Plan(asked) => plan::plan(&mut open()?, &asked, paper),
        Ask::Forget(asked) => forget::run(&mut open()?, &asked),
        Ask::Dashboard(asked) => dashboard::run(surroundings, &asked),
        Ask::Login(asked) => login::run(surroundings, &asked, paper),
        Ask::Import(asked) => {
            let file = import::read(&asked, &surroundings.source)?;
            import::run(&mut Handle::open(surroundings, Needs::Store)?, &file)
        }
        Ask::Key(asked) => keys::run(&mut open()?, asked, paper),
    }
}
