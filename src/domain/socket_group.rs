//! The group whose members may use the control socket.

use std::fmt;

/// A user group of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketGroup {
    /// The value of the setting: a group name or a group id.
    pub name: String,
    /// The group id.
    pub gid: u32,
}

/// `webex-tokens (id 991)`, or `id 991` if the setting is a group id.
impl fmt::Display for SocketGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.bytes().all(|byte| byte.is_ascii_digit()) {
            write!(f, "id {}", self.gid)
        } else {
            write!(f, "{} (id {})", self.name, self.gid)
        }
    }
}
