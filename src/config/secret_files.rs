//! Files that hold secrets: whether other users of the machine can read them.

use std::fs;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Read by the others of the file's group; by all others.
const READ_BY_GROUP: u32 = 0o040;
const READ_BY_OTHERS: u32 = 0o004;

/// What lets the others of a directory's group through it; all others.
const THROUGH_BY_GROUP: u32 = 0o010;
const THROUGH_BY_OTHERS: u32 = 0o001;

/// Who else can read the secret file at `path`, in words for the operator; `None` if only its owner and root can, or
/// the users that root has chosen:
///
/// - a group may read a file of root's (`/etc/ssl/private`, credentials of systemd);
/// - a directory above it may keep others away;
/// - a read-only file system in memory is how Kubernetes, Docker and systemd hand secrets to one service alone.
pub(super) fn remark(variable: &str, path: &Path) -> Option<String> {
    let found = fs::metadata(path).ok()?;
    let mode = found.mode();
    let is_open = |read: u32, through: u32| mode & read != 0 && is_reached(path, through);
    let readers = if is_open(READ_BY_OTHERS, THROUGH_BY_OTHERS) {
        "every user of this machine"
    } else if is_open(READ_BY_GROUP, THROUGH_BY_GROUP | THROUGH_BY_OTHERS) && !is_for_its_group(&found) {
        "its group"
    } else {
        return None;
    };
    let is_private = is_handed_over(path);
    (!is_private).then(|| {
        format!(
            "{variable}: {readers} can read the secret in {} (its mode is {:04o}): chmod 600 it",
            path.display(),
            mode & 0o777
        )
    })
}

fn is_for_its_group(found: &Metadata) -> bool {
    found.uid() == 0
}

/// Whether every directory above lets them through, of what the path really leads to.
fn is_reached(path: &Path, through: u32) -> bool {
    let Ok(real) = fs::canonicalize(path) else { return true };
    real.ancestors().skip(1).all(|dir| fs::metadata(dir).is_ok_and(|dir| dir.mode() & through != 0))
}

#[cfg(target_os = "linux")]
fn is_handed_over(path: &Path) -> bool {
    /// tmpfs and ramfs (statfs(2)).
    const IN_MEMORY: [i128; 2] = [0x0102_1994, 0x8584_58f6];
    let is_in_memory = || rustix::fs::statfs(path).is_ok_and(|at| IN_MEMORY.contains(&i128::from(at.f_type)));
    let is_read_only = || {
        rustix::fs::statvfs(path).is_ok_and(|at| at.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
    };
    is_read_only() && is_in_memory()
}

#[cfg(not(target_os = "linux"))]
fn is_handed_over(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::fs::set_permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::fs::chown;

    use super::*;

    fn told(path: &Path, mode: u32) -> Option<String> {
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
        remark("BOT_TOKEN_FILE", path)
    }

    #[test]
    fn a_secret_that_others_can_read_is_remarked_and_one_that_is_out_of_their_reach_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "secret").unwrap();
        set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        assert_eq!(told(&path, 0o644), None, "the directory keeps them away");
        set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let open = told(&path, 0o644).unwrap();
        assert!(open.starts_with("BOT_TOKEN_FILE: every user of this machine can read"), "{open}");
        assert!(open.contains("0644") && open.ends_with(": chmod 600 it"), "{open}");
        for mode in [0o600, 0o400] {
            assert_eq!(told(&path, mode), None, "{mode:o}");
        }
        // Only root can give a file away.
        if chown(&path, Some(4711), None).is_ok() {
            assert!(told(&path, 0o640).is_some_and(|told| told.contains(": its group can read")));
            chown(&path, Some(0), Some(4711)).unwrap();
            assert_eq!(told(&path, 0o640), None, "root has chosen the group");
        }
        assert_eq!(remark("BOT_TOKEN_FILE", &dir.path().join("none")), None);
    }
}
