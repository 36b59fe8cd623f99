//! Why the control socket cannot be opened.

use std::io;
use std::path::PathBuf;

use crate::domain::socket_group::SocketGroup;

/// Why the control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another process listens on the socket.
    #[error("another webex-tokend answers at {}; stop that one, or set TOKEND_CONTROL_SOCKET to another path", .0.display())]
    Live(PathBuf),
    /// The path exists, and is not a socket.
    #[error("{} is not a socket; move it away, or set TOKEND_CONTROL_SOCKET to another path", .0.display())]
    NotASocket(PathBuf),
    /// The system reports an error.
    #[error("cannot create the control socket {}: {}; see TOKEND_CONTROL_SOCKET", .0.display(), .1)]
    System(PathBuf, io::Error),
    /// The daemon is not a member of the group, so it cannot give the socket to the group.
    #[error(
        "TOKEND_SOCKET_GROUP: found the group {group}, of which this process (user {uid}, groups {groups}) is not a member, so it \
         cannot give the control socket to it; start the daemon in that group: SupplementaryGroups={name} in a systemd unit, \
         --group-add for a container, else `usermod -aG {name} USER`", name = group.name
    )]
    NotAMember {
        /// The configured group.
        group: SocketGroup,
        /// This process's user.
        uid: u32,
        /// This process's groups.
        groups: String,
    },
    /// systemd keeps the group out of the directory.
    #[error(
        "TOKEND_SOCKET_GROUP: found the group {group}, which cannot reach {}: systemd keeps all other users out of the state \
         directory of a unit with DynamicUser=yes; set RuntimeDirectory=webex-tokend in the unit and \
         TOKEND_CONTROL_SOCKET=/run/webex-tokend/control.sock", path.display()
    )]
    PrivateToTheService {
        /// The configured group.
        group: SocketGroup,
        /// The socket.
        path: PathBuf,
    },
    /// The directory belongs to another user or group.
    #[error("{0}")]
    ClosedToGroup(String),
}

impl ControlError {
    /// Whether the settings require what is not possible.
    #[must_use]
    pub fn is_wrong_setting(&self) -> bool {
        matches!(self, Self::NotAMember { .. } | Self::PrivateToTheService { .. } | Self::ClosedToGroup(_))
    }
}
