//! Arguments -> serve or a command -> exit code.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use webex_tokend::cli;
use webex_tokend::cli::arguments::Arguments;
use webex_tokend::cli::arguments::Command;
use webex_tokend::cli::arguments::Serve;
use webex_tokend::cli::exit::Exit;
use webex_tokend::cli::exit::fail;
use webex_tokend::cli::logging;
use webex_tokend::cli::memory;
use webex_tokend::config::Config;
use webex_tokend::config::Source;
use webex_tokend::daemon;
use webex_tokend::daemon::DaemonError;
use webex_tokend::http::control::ControlError;

fn main() -> ExitCode {
    if let Err(e) = memory::keep_private() {
        return fail(Exit::Failed, &format!("the system does not let memory be kept private: {e}"));
    }
    let Arguments { command, serve: flags } = Arguments::parse();
    match command {
        None => serve(flags),
        Some(Command::Serve(flags)) => serve(flags),
        Some(command) => cli::run(command),
    }
}

fn serve(serve: Serve) -> ExitCode {
    let source = match Source::environment(Path::new(".")) {
        Ok(source) => source,
        Err(mistakes) => return fail(Exit::Usage, &mistakes),
    };
    logging::start(serve.debug, source.get("RUST_LOG"));
    let config = match Config::read(&source) {
        Ok(config) => config,
        Err(mistakes) => return fail(Exit::Usage, &format!("the settings are wrong:\n{mistakes}")),
    };
    drop(source);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(Exit::Failed, &format!("no runtime: {e}")),
    };
    match runtime.block_on(daemon::run(config, serve.refresh_at_start)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(DaemonError::House(e)) if e.is_in_use() => fail(Exit::Unavailable, &e),
        Err(e @ DaemonError::Control(ControlError::Live(_))) => fail(Exit::Unavailable, &e),
        Err(e) => fail(Exit::Failed, &e),
    }
}
