//! The arguments of `people`.

use clap::Args;

use crate::cli::arguments::parts::ListArgs;
use crate::cli::arguments::parts::STATES;

/// Options of `people`.
#[derive(Debug, Args)]
pub struct PeopleArgs {
    /// Show only persons in this state
    #[arg(long, value_parser = STATES)]
    pub state: Option<String>,
    /// Show only persons whose grant lacks a scope of MY_APP_SCOPES
    #[arg(long)]
    pub missing_scope: bool,
    /// Show at most N persons
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// The options of lists.
    #[command(flatten)]
    pub list: ListArgs,
}
