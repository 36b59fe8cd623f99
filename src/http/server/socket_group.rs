//! Opens the control socket and its directory to one group, and to no other user.

use std::fs;
use std::fs::DirBuilder;
use std::fs::Metadata;
use std::fs::Permissions;
use std::io;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::path::Path;

use crate::domain::socket_group::SocketGroup;
use crate::http::server::control_error::ControlError;

/// systemd keeps all users out of this directory, except root and the service itself (`DynamicUser=yes`).
/// Inside the service it looks open.
const PRIVATE: &str = "/var/lib/private";

/// The mode bit that lets a directory's group pass through it.
const THROUGH_BY_GROUP: u32 = 0o010;
/// The mode bit that lets all other users pass through a directory.
const THROUGH_BY_OTHERS: u32 = 0o001;

/// The mode bits of a directory's group.
const GROUP: u32 = 0o070;

/// The mode bit that lets the group write, for example replace the socket with another.
const WRITE_BY_GROUP: u32 = 0o020;

/// How many entries of the directory are examined.
const LOOKED_AT: usize = 10_000;
/// How many of them are named in a warning.
const NAMED: usize = 5;

/// User and group of this process.
#[derive(Clone, Copy, Debug)]
struct ProcessIdentity {
    uid: u32,
    gid: u32,
}

impl ProcessIdentity {
    fn new() -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }
}

/// The change that lets a group pass through a directory without listing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GroupChange {
    /// None, because the group can pass already.
    Nothing,
    /// The directory belongs to the group, and needs this mode.
    Mode(u32),
    /// The directory must be given to the group, with this mode.
    GroupAndMode(u32),
}

/// Checks whether this process can open the socket at `path` for `group`, without changing anything.
///
/// # Errors
/// [`ControlError`], if it cannot.
pub(in crate::http) fn check(group: &SocketGroup, path: &Path) -> Result<(), ControlError> {
    let us = ProcessIdentity::new();
    let mut groups: Vec<u32> = rustix::process::getgroups()
        .map_err(|e| ControlError::System(path.to_owned(), e.into()))?
        .into_iter()
        .map(rustix::process::Gid::as_raw)
        .collect();
    groups.push(us.gid);
    // Root may give a file to any group.
    if us.uid != 0 && !groups.contains(&group.gid) {
        groups.sort_unstable();
        groups.dedup();
        let groups = groups.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        return Err(ControlError::NotAMember { group: group.clone(), uid: us.uid, groups });
    }
    let dir = directory_of(path);
    let real = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    if real.starts_with(PRIVATE) {
        return Err(ControlError::PrivateToTheService { group: group.clone(), path: path.to_owned() });
    }
    match fs::metadata(dir) {
        Ok(found) => change(&found, group.gid, us)
            .map(|_| ())
            .ok_or_else(|| ControlError::ClosedToGroup(shut_out(group, dir, &found))),
        // The directory will be created.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(ControlError::System(path.to_owned(), e)),
    }
}

/// Creates `dir` if it is missing, for this user only, and lets `group` pass through it. Lets the group pass
/// through an existing one.
pub(in crate::http) fn open_directory(dir: &Path, group: &SocketGroup) -> Result<(), ControlError> {
    let refused = |error| ControlError::System(dir.to_owned(), error);
    let above = dir.ancestors().skip(1);
    let missing: Vec<&Path> =
        above.take_while(|above| !above.as_os_str().is_empty() && !above.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(refused)?;
    let us = ProcessIdentity::new();
    for dir in missing.into_iter().rev().chain([dir]) {
        let found = fs::metadata(dir).map_err(refused)?;
        let mode = match change(&found, group.gid, us) {
            Some(GroupChange::Nothing) => continue,
            Some(GroupChange::Mode(mode)) => mode,
            Some(GroupChange::GroupAndMode(mode)) => {
                chown(dir, None, Some(group.gid)).map_err(refused)?;
                mode
            }
            None => return Err(ControlError::ClosedToGroup(shut_out(group, dir, &found))),
        };
        fs::set_permissions(dir, Permissions::from_mode(mode)).map_err(refused)?;
        log::info!("control socket: the group {group} may pass through {} (mode {mode:04o})", dir.display());
    }
    Ok(())
}

/// Gives the socket at `made`, which no other user can reach yet, to `group`.
pub(in crate::http) fn hand_over(made: &Path, group: &SocketGroup) -> io::Result<()> {
    chown(made, None, Some(group.gid))?;
    fs::set_permissions(made, Permissions::from_mode(0o660))
}

/// Warnings for the operator about the location of the socket at `path`, one line each.
pub(in crate::http) fn warnings(path: &Path, group: &SocketGroup) -> Vec<String> {
    let dir = directory_of(path);
    let Ok(real) = fs::canonicalize(dir) else { return Vec::new() };
    let mut lines = Vec::new();
    let shut = real.ancestors().skip(1).find_map(|above| {
        let found = fs::metadata(above).ok()?;
        (!is_passable(&found, group.gid)).then(|| (above.to_owned(), found.mode() & 0o7777))
    });
    if let Some((above, mode)) = shut {
        lines.push(format!(
            "TOKEND_SOCKET_GROUP: {} (mode {mode:04o}) may keep the group {group} from the control socket; set \
             TOKEND_CONTROL_SOCKET to a path that the group can reach, such as /run/webex-tokend/control.sock",
            above.display()
        ));
    }
    let Ok(found) = fs::metadata(&real) else { return lines };
    if found.gid() == group.gid && found.mode() & WRITE_BY_GROUP != 0 {
        lines.push(format!(
            "TOKEND_SOCKET_GROUP: the group {group} can write to {}, so its members can put another socket in place of the \
             daemon's: chmod g-w it",
            real.display()
        ));
    }
    // If all users can pass through the directory, the group gets no additional access.
    if found.mode() & THROUGH_BY_OTHERS == 0 {
        lines.extend(reachable(&real, path, group));
    }
    lines
}

/// Other files in the directory that the group can use, because it can pass through.
fn reachable(dir: &Path, socket: &Path, group: &SocketGroup) -> Option<String> {
    let mut open: Vec<String> = fs::read_dir(dir)
        .ok()?
        .take(LOOKED_AT)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let found = entry.metadata().ok()?;
            let mode = found.mode();
            let usable = mode & 0o007 != 0 || (found.gid() == group.gid && mode & GROUP != 0);
            let other = Some(entry.file_name().as_os_str()) != socket.file_name() && !found.is_symlink();
            (other && usable).then(|| format!("{} ({:04o})", entry.file_name().display(), mode & 0o777))
        })
        .collect();
    open.sort_unstable();
    let more = open.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    open.truncate(NAMED);
    (!open.is_empty()).then(|| {
        format!(
            "TOKEND_SOCKET_GROUP: the group {group} can also use these files in {}: {}{more}; chmod o-rwx them, \
             or set TOKEND_CONTROL_SOCKET to a path in a directory of its own",
            dir.display(),
            open.join(", ")
        )
    })
}

/// `None` if this process cannot, or should not, let the group pass.
fn change(found: &Metadata, gid: u32, us: ProcessIdentity) -> Option<GroupChange> {
    needed(found.mode() & 0o7777, (found.uid(), found.gid()), gid, us)
}

fn needed(mode: u32, (uid, group): (u32, u32), gid: u32, us: ProcessIdentity) -> Option<GroupChange> {
    let is_ours = uid == us.uid || us.uid == 0;
    if group == gid {
        return match mode & THROUGH_BY_GROUP {
            0 if is_ours => Some(GroupChange::Mode(mode | THROUGH_BY_GROUP)),
            0 => None,
            _ => Some(GroupChange::Nothing),
        };
    }
    if mode & THROUGH_BY_OTHERS != 0 {
        return Some(GroupChange::Nothing);
    }
    // Rights of a group other than the daemon's own were granted on purpose, so they stay.
    let is_free = mode & GROUP == 0 || group == us.gid;
    (is_ours && is_free).then_some(GroupChange::GroupAndMode(mode & !GROUP | THROUGH_BY_GROUP))
}

fn is_passable(found: &Metadata, gid: u32) -> bool {
    let bit = if found.gid() == gid { THROUGH_BY_GROUP } else { THROUGH_BY_OTHERS };
    found.mode() & bit != 0
}

fn shut_out(group: &SocketGroup, dir: &Path, found: &Metadata) -> String {
    format!(
        "TOKEND_SOCKET_GROUP: found the group {group}, which cannot pass through {} (mode {:04o}, user {}, group {}), and the \
         daemon may not change that: chgrp {} and chmod g+x this directory, or set TOKEND_CONTROL_SOCKET to a path in a \
         directory of its own",
        dir.display(),
        found.mode() & 0o7777,
        found.uid(),
        found.gid(),
        group.gid,
    )
}

/// The directory of the socket at `path`.
pub(in crate::http) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: ProcessIdentity = ProcessIdentity { uid: 100, gid: 100 };
    const GID: u32 = 991;

    #[test]
    fn a_directory_is_opened_for_passing_through_and_to_the_group_only() {
        for (mode, owner, expected) in [
            (0o700, (100, 100), Some(GroupChange::GroupAndMode(0o710))),
            // As systemd makes it with RuntimeDirectoryMode=0750 and SupplementaryGroups=.
            (0o750, (100, 100), Some(GroupChange::GroupAndMode(0o710))),
            (0o770, (100, 100), Some(GroupChange::GroupAndMode(0o710))),
            (0o3770, (100, 100), Some(GroupChange::GroupAndMode(0o3710))),
            // The same with Group=.
            (0o750, (100, GID), Some(GroupChange::Nothing)),
            (0o700, (100, GID), Some(GroupChange::Mode(0o710))),
            (0o740, (100, GID), Some(GroupChange::Mode(0o750))),
            (0o755, (0, 0), Some(GroupChange::Nothing)),
            (0o1777, (0, 0), Some(GroupChange::Nothing)),
            (0o750, (0, GID), Some(GroupChange::Nothing)),
            // Directories of another user or group.
            (0o700, (0, 0), None),
            (0o700, (0, GID), None),
            (0o750, (100, 50), None),
            (0o700, (100, 50), Some(GroupChange::GroupAndMode(0o710))),
            // Open to all users except the group.
            (0o705, (0, GID), None),
        ] {
            assert_eq!(needed(mode, owner, GID, US), expected, "{mode:o} {owner:?}");
        }
        let root = ProcessIdentity { uid: 0, gid: 0 };
        assert_eq!(needed(0o700, (100, 100), GID, root), Some(GroupChange::GroupAndMode(0o710)));
        assert_eq!(needed(0o750, (100, 50), GID, root), None, "another group's rights stay");
    }
}
