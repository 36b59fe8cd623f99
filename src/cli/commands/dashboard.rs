//! `dashboard`: opens the dashboard in a browser without an API key, for users of the control socket.

use crate::api_types::DashboardLink;
use crate::cli::api_client::API;
use crate::cli::api_client::ApiClient;
use crate::cli::api_client::CommandContext;
use crate::cli::arguments::DashboardArgs;
use crate::cli::browser::open_browser;
use crate::cli::exit::CommandError;
use crate::cli::output;
use crate::cli::output::print_stderr;
use crate::cli::output::printable;

/// The code is printed only here: other users of the machine may see the URL, which is useless without the
/// code.
pub(super) fn run(context: &CommandContext, asked: &DashboardArgs) -> Result<(), CommandError> {
    let mut handle = ApiClient::connect(context)?;
    let link: DashboardLink = handle.post_nothing(&format!("{API}/dashboard-links"))?;
    let (url, code) = (printable(&link.url), printable(&link.code));
    if asked.no_browser {
        print_stderr("Open this URL within a minute:");
        output::write_line(&url)?;
        print_stderr(&format!("The code to enter there: {code}"));
        return Ok(());
    }
    let opened = open_browser(&link.url, &context.source);
    let first = if opened {
        "The dashboard opens in a browser. If it does not, open this URL within a minute:"
    } else {
        "Open this URL within a minute:"
    };
    print_stderr(&format!("{first}\n{url}\nThe code to enter there: {code}"));
    Ok(())
}
