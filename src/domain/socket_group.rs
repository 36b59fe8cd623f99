//! The group whose members may use the control socket.

use std::fmt;

/// A group of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketGroup {
    /// As the setting has it: a name or a number.
    pub name: String,
    /// The group's number.
    pub gid: u32,
}

/// `webex-tokens (id 991)`, or `id 991` where the setting has a number.
impl fmt::Display for SocketGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.bytes().all(|byte| byte.is_ascii_digit()) {
            write!(f, "id {}", self.gid)
        } else {
            write!(f, "{} (id {})", self.name, self.gid)
        }
    }
}
