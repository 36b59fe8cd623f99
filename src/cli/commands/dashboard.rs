//! `dashboard`: a session in the browser without a key, for whoever may use the control socket.

use crate::api_types::DashboardLink;
use crate::cli::arguments::Dashboard;
use crate::cli::browser::open_browser;
use crate::cli::client::Handle;
use crate::cli::client::Surroundings;
use crate::cli::commands::API;
use crate::cli::exit::Failure;
use crate::cli::print::note;
use crate::cli::print::printable;

/// The code is shown here only: the address, which other users of the machine may see, opens nothing without it.
pub(super) fn run(surroundings: &Surroundings, asked: &Dashboard) -> Result<(), Failure> {
    let mut handle = Handle::of_daemon(surroundings)?;
    let link: DashboardLink = handle.post_nothing(&format!("{API}/dashboard-links"))?;
    let (url, code) = (printable(&link.url), printable(&link.code));
    let opened = !asked.no_browser && open_browser(&link.url, &surroundings.source);
    let first = if opened {
        "A browser opens for the dashboard. If none does, open this address within a minute:"
    } else {
        "Open this address within a minute:"
    };
    note(&format!("{first}\n{url}\nThe code to type there: {code}"));
    Ok(())
}
