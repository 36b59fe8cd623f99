//! What is in memory stays there: tokens, the client secret and the store's key.

use std::io;

/// Keeps the system from writing this process's memory to a file when it crashes, and other processes of the same user
/// from reading it or its environment (they need `CAP_SYS_PTRACE`). A command that is run in this one's place starts
/// without.
///
/// A limit on the size of core files would not do: one that is written into a pipe (systemd-coredump) has none.
///
/// # Errors
/// The system's.
#[cfg(target_os = "linux")]
pub fn keep_private() -> io::Result<()> {
    use rustix::process::DumpableBehavior;
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Keeps the system from writing this process's memory to a file when it crashes.
///
/// # Errors
/// The system's.
#[cfg(not(target_os = "linux"))]
pub fn keep_private() -> io::Result<()> {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    Ok(rustix::process::setrlimit(rustix::process::Resource::Core, none)?)
}
