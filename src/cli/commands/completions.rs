//! `completions`: what a shell completes after the program's name.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::arguments::Arguments;
use crate::cli::exit::CommandError;
use crate::cli::output;

const NAME: &str = "webex-tokend";

pub(super) fn run(shell: Shell) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), NAME, &mut script);
    Ok(output::write_bytes(&script)?)
}
