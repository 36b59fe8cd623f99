//! What every command knows before it reaches the API.

use crate::cli::api_client::socket::Socket;
use crate::config::SettingsSource;

/// The settings, and the daemon's control socket.
pub(in crate::cli) struct CommandContext {
    pub(in crate::cli) source: SettingsSource,
    pub(in crate::cli) socket: Socket,
}
