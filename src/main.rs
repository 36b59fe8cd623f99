//! Parses the arguments, runs the daemon or a command, and returns the exit code.

use std::path::Path;
use std::process::ExitCode;

use webex_tokend::cli;
use webex_tokend::cli::arguments::Arguments;
use webex_tokend::cli::arguments::Command;
use webex_tokend::cli::arguments::ServeArgs;
use webex_tokend::cli::exit::Exit;
use webex_tokend::cli::exit::fail;
use webex_tokend::cli::logging;
use webex_tokend::config::Config;
use webex_tokend::config::EnvFile;
use webex_tokend::config::SettingsSource;
use webex_tokend::daemon;
use webex_tokend::daemon::DaemonError;
use webex_tokend::hardening;
use webex_tokend::http::server::control_error::ControlError;

fn main() -> ExitCode {
    if let Err(e) = hardening::disable_core_dumps() {
        return fail(Exit::Failed, &format!("cannot disable core dumps: {e}"));
    }
    let Arguments { command, serve: flags, env_file } = Arguments::typed();
    let env_file = env_file.as_deref();
    match command {
        None => serve(flags, env_file),
        Some(Command::Serve(flags)) => serve(flags, env_file),
        Some(command) => cli::run(command, env_file),
    }
}

fn serve(serve: ServeArgs, env_file: Option<&Path>) -> ExitCode {
    let file = env_file.map_or_else(|| EnvFile::In(Path::new(".")), EnvFile::Named);
    let source = match SettingsSource::environment(file) {
        Ok(source) => source,
        Err(errors) => return fail(Exit::Usage, &errors),
    };
    logging::start_for_daemon(serve.debug, source.get("RUST_LOG"), &source);
    let ended = serve_logged(source, serve.refresh_at_start);
    log::logger().flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err((exit, why)) => fail(exit, &why),
    }
}

/// Runs the daemon until it ends. Returns the exit code and the message if it fails.
fn serve_logged(source: SettingsSource, refresh_at_start: bool) -> Result<(), (Exit, String)> {
    let config = Config::read_to_serve(&source)
        .map_err(|errors| (Exit::Usage, format!("the settings are wrong:\n{errors}")))?;
    drop(source);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| (Exit::Failed, format!("cannot start the async runtime: {e}")))?;
    runtime.block_on(daemon::run(config, refresh_at_start)).map_err(|e| {
        let exit = match &e {
            DaemonError::Build(why) if why.is_in_use() => Exit::Unavailable,
            DaemonError::Control(ControlError::Live(_)) => Exit::Unavailable,
            DaemonError::Control(why) if why.is_wrong_setting() => Exit::Usage,
            _ => Exit::Failed,
        };
        (exit, e.to_string())
    })
}
