//! Protects the process's memory, which contains tokens, the client secret and the store's key.

use std::io;

/// Prevents core dumps of this process, and prevents other processes of the same user from reading its memory
/// and environment (they need `CAP_SYS_PTRACE`). A program that this process executes is not affected.
///
/// A size limit for core files would not suffice, because it does not apply to a core that is piped into a
/// program such as systemd-coredump.
///
/// # Errors
/// When the system call fails.
#[cfg(target_os = "linux")]
pub fn disable_core_dumps() -> io::Result<()> {
    use rustix::process::DumpableBehavior;
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Prevents core dumps of this process.
///
/// # Errors
/// When the system call fails.
#[cfg(not(target_os = "linux"))]
pub fn disable_core_dumps() -> io::Result<()> {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    Ok(rustix::process::setrlimit(rustix::process::Resource::Core, none)?)
}
