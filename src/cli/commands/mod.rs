//! The commands, one file for each kind. Each uses the API through one [`ApiClient`].

mod check;
mod completions;
mod dashboard;
mod doctor;
mod exec;
mod forget;
mod forget_all;
mod key;
mod login;
mod manual;
mod notices;
mod people;
mod person;
mod plan;
mod plan_by_day;
mod refresh;
mod refresh_all;
mod token;
mod why;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use log::LevelFilter;

use crate::cli::api_client::ApiClient;
use crate::cli::api_client::CommandContext;
use crate::cli::api_client::in_process::StoreAccess;
use crate::cli::api_client::socket::Socket;
use crate::cli::arguments::ApiCommand;
use crate::cli::arguments::Command;
use crate::cli::arguments::DaemonArgs;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::import;
use crate::cli::logging;
use crate::cli::output::Terminal;
use crate::config::ConfigErrors;
use crate::config::DEFAULT_PERSON;
use crate::config::EnvFile;
use crate::config::SettingsSource;
use crate::domain::person::PersonQuery;

/// Runs a command other than `serve` and returns its exit code.
#[must_use]
pub fn run(command: Command, env_file: Option<&Path>) -> ExitCode {
    let done = match command {
        Command::Serve(_) => Err(CommandError::new(Exit::Usage, "`serve` is not a client command")),
        Command::Completions { shell } => completions::run(shell),
        Command::Man => manual::run(),
        Command::Doctor(daemon) => context(daemon, env_file).and_then(|s| doctor::run(&s)),
        Command::Ask(ask) => context(ask.daemon(), env_file).and_then(|s| answer(ask, &s)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

/// A settings file in the working directory is not read, because another user may have put it there.
fn context(daemon: DaemonArgs, env_file: Option<&Path>) -> Result<CommandContext, CommandError> {
    let wrong =
        |mistakes: ConfigErrors| CommandError::new(Exit::Usage, mistakes.to_string().replace('\n', "; "));
    let file = env_file.map_or(EnvFile::InStateDirectory, EnvFile::Named);
    let source = SettingsSource::environment(file).map_err(wrong)?;
    source.check_places().map_err(wrong)?;
    if daemon.debug {
        logging::start(true, LevelFilter::Info, source.get("RUST_LOG"));
    }
    let socket = source.control_socket().ok_or_else(|| {
        let line = "HOME is not set, so the daemon's socket cannot be found; set TOKEND_STATE_DIR or TOKEND_CONTROL_SOCKET";
        CommandError::new(Exit::Usage, line)
    })?;
    let socket =
        Socket::new(&socket, source.state_dir().as_deref(), Duration::from_secs(daemon.daemon_timeout));
    Ok(CommandContext { source, socket })
}

/// The person of TOKEND_DEFAULT_PERSON, for commands that name none.
fn default_person(source: &SettingsSource) -> Result<Option<String>, CommandError> {
    let Some(text) = source.get(DEFAULT_PERSON) else { return Ok(None) };
    let who = PersonQuery::parse(text).map_err(|e| {
        CommandError::new(Exit::Usage, format!("{DEFAULT_PERSON}: {text:?} is not a PERSON: {e}"))
    })?;
    Ok(Some(who.to_string()))
}

fn answer(mut ask: ApiCommand, context: &CommandContext) -> Result<(), CommandError> {
    if let Some(subject) = ask.subject().filter(|subject| subject.person.is_none()) {
        subject.person = default_person(&context.source)?;
    }
    let terminal = Terminal::for_stdout(&context.source);
    let open = || ApiClient::open(context, StoreAccess::Existing);
    match ask {
        ApiCommand::Token(asked) => token::run(&mut open()?, &asked),
        ApiCommand::Exec(asked) => exec::run(open()?, &asked),
        ApiCommand::People(asked) => people::run(&mut open()?, &asked, terminal),
        ApiCommand::Refresh(asked) if asked.all => {
            refresh_all::run(&mut open()?, asked.force, asked.output.json)
        }
        ApiCommand::Refresh(asked) => refresh::run(&mut open()?, &asked),
        ApiCommand::Why(asked) => why::run(&mut open()?, &asked, terminal),
        ApiCommand::Plan(asked) => plan::plan(&mut open()?, &asked, terminal),
        ApiCommand::Forget(asked) => forget::run(context, &asked),
        ApiCommand::Dashboard(asked) => dashboard::run(context, &asked),
        ApiCommand::Login(asked) => login::run(context, &asked, terminal),
        ApiCommand::Import(asked) => {
            let file = import::read(&asked, &context.source)?;
            import::run(&mut ApiClient::open(context, StoreAccess::CreateIfMissing)?, &asked, file)
        }
        ApiCommand::Key(asked) => key::run(&mut open()?, asked, terminal),
        ApiCommand::Notices(asked) => notices::run(context, &asked, terminal),
        ApiCommand::History(asked) => notices::history(&mut open()?, &asked, terminal),
        ApiCommand::Check(asked) => check::run(context, &asked),
    }
}
