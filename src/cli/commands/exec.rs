//! `exec`: replaces this process with the command, with a live token in its environment and none in its
//! arguments.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::cli::api_client::ApiClient;
use crate::cli::arguments::ExecArgs;
use crate::cli::commands::token;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::config::secrets;

const VARIABLES: [&str; 2] = ["WEBEX_ACCESS_TOKEN", "WEBEX_TEAMS_ACCESS_TOKEN"];

/// Returns only on failure. On success the process becomes the command, with its signals and exit code.
pub(super) fn run(mut handle: ApiClient, asked: &ExecArgs) -> Result<(), CommandError> {
    if let Some(name) = asked.env.iter().find(|name| !is_variable(name)) {
        let line = format!(
            "--env {name:?}: the name of a variable consists of letters, digits and _, and does not start with a digit"
        );
        return Err(CommandError::new(Exit::Usage, line));
    }
    let Some((program, arguments)) = asked.command.split_first() else {
        return Err(CommandError::new(Exit::Usage, "there is no command to run after --"));
    };
    let token = token::get(&mut handle, &asked.subject, asked.life)?;
    // Closes a store that was opened here, because the command may run for days.
    drop(handle);
    let mut command = Command::new(program);
    command.args(arguments);
    // The command must not inherit secrets of the daemon from the caller's environment.
    for name in secrets() {
        command.env_remove(name);
    }
    for name in VARIABLES.into_iter().chain(asked.env.iter().map(String::as_str)) {
        command.env(name, &token.access_token);
    }
    let error = command.exec();
    let exit = match error.kind() {
        io::ErrorKind::NotFound => Exit::NoSuchCommand,
        _ => Exit::NotExecutable,
    };
    Err(CommandError::new(exit, format!("{} cannot be run: {error}", program.to_string_lossy())))
}

fn is_variable(name: &str) -> bool {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    letters && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_variables_are_accepted() {
        assert!(is_variable("MY_TOKEN") && is_variable("_x1"));
        assert!(["", "1A", "A=B", "A B", "Ä"].into_iter().all(|name| !is_variable(name)));
    }
}
