//! The commands, one file for each kind. Each uses the API through one [`Handle`].

mod completions;
mod dashboard;
mod doctor;
mod exec;
mod forget;
mod keys;
mod login;
mod manual;
mod people;
mod person;
mod plan;
mod refresh;
mod token;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use log::LevelFilter;

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
use crate::cli::socket::Socket;
use crate::config::DEFAULT_PERSON;
use crate::config::EnvFile;
use crate::config::Mistakes;
use crate::config::Source;
use crate::domain::person::Who;

/// The path prefix of the API.
const API: &str = "/api/v1";

/// Runs a command other than `serve` and returns its exit code.
#[must_use]
pub fn run(command: Command, env_file: Option<&Path>) -> ExitCode {
    let done = match command {
        Command::Serve(_) => Err(Failure::new(Exit::Usage, "`serve` is not a client command")),
        Command::Completions { shell } => completions::run(shell),
        Command::Man => manual::run(),
        Command::Doctor(daemon) => surroundings(daemon, env_file).and_then(|s| doctor::run(&s)),
        Command::Ask(ask) => surroundings(ask.daemon(), env_file).and_then(|s| answer(ask, &s)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(),
    }
}

/// A settings file in the working directory is not read, because another user may have put it there.
fn surroundings(daemon: Daemon, env_file: Option<&Path>) -> Result<Surroundings, Failure> {
    let wrong = |mistakes: Mistakes| Failure::new(Exit::Usage, mistakes.to_string().replace('\n', "; "));
    let file = env_file.map_or(EnvFile::InStateDirectory, EnvFile::Named);
    let source = Source::environment(file).map_err(wrong)?;
    source.check_places().map_err(wrong)?;
    if daemon.debug {
        logging::start(true, LevelFilter::Info, source.get("RUST_LOG"));
    }
    let socket = source.control_socket().ok_or_else(|| {
        let line = "HOME is not set, so the daemon's socket cannot be found; set TOKEND_STATE_DIR or TOKEND_CONTROL_SOCKET";
        Failure::new(Exit::Usage, line)
    })?;
    let socket =
        Socket::new(&socket, source.state_dir().as_deref(), Duration::from_secs(daemon.daemon_timeout));
    Ok(Surroundings { source, socket })
}

/// The person of TOKEND_DEFAULT_PERSON, for commands that name none.
fn default_person(source: &Source) -> Result<Option<String>, Failure> {
    let Some(text) = source.get(DEFAULT_PERSON) else { return Ok(None) };
    let who = Who::parse(text)
        .map_err(|e| Failure::new(Exit::Usage, format!("{DEFAULT_PERSON}: {text:?} is not a PERSON: {e}")))?;
    Ok(Some(who.to_string()))
}

fn answer(mut ask: Ask, surroundings: &Surroundings) -> Result<(), Failure> {
    if let Some(subject) = ask.subject().filter(|subject| subject.person.is_none()) {
        subject.person = default_person(&surroundings.source)?;
    }
    let paper = Paper::of_stdout(&surroundings.source);
    let open = || Handle::open(surroundings, Needs::Kept);
    match ask {
        Ask::Token(asked) => token::run(&mut open()?, &asked),
        Ask::Exec(asked) => exec::run(open()?, &asked),
        Ask::People(asked) => people::run(&mut open()?, &asked, paper),
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
