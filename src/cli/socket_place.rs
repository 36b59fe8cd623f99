//! Decides whether the location of a control socket proves which user's daemon listens there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::absolute;

use rustix::process::geteuid;

/// The permission bits that let the group or other users write.
const WRITE_BY_OTHERS: u32 = 0o022;

/// The owner of the directory that contains the socket at `path`, if only root or this process's user can
/// have created that directory. This holds for systemd's `/run/webex-tokend`, and for nothing below `/tmp`.
/// `None` otherwise.
pub(super) fn owner(path: &Path) -> Option<u32> {
    let dir = absolute(path).ok()?.parent()?.to_owned();
    let real = fs::canonicalize(&dir).ok()?;
    // Checks the path as written as well, because a link in it may be replaced a moment later.
    let written = dir.ancestors().all(|part| match fs::symlink_metadata(part) {
        Ok(found) if found.is_symlink() => is_trusted(found.uid()),
        Ok(found) => part == dir || is_closed(&found),
        Err(_) => false,
    });
    let above = real.ancestors().skip(1).all(|part| fs::metadata(part).is_ok_and(|found| is_closed(&found)));
    (written && above).then(|| fs::metadata(&real).ok().map(|found| found.uid())).flatten()
}

/// Whether no other user can add a file to this directory.
fn is_closed(found: &fs::Metadata) -> bool {
    is_trusted(found.uid()) && found.mode() & WRITE_BY_OTHERS == 0
}

fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::fs::chown;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    const OTHER: u32 = 65_534;

    /// A directory whose ancestors all belong to root or to this user; `None` if there is none.
    fn closed_place() -> Option<(tempfile::TempDir, PathBuf)> {
        let places = [PathBuf::from("/run"), std::env::current_dir().unwrap()];
        places.into_iter().find_map(|place| {
            let dir = tempfile::tempdir_in(place).ok()?;
            let path = dir.path().canonicalize().unwrap();
            let closed = path.ancestors().skip(1).all(|part| is_closed(&fs::metadata(part).unwrap()));
            closed.then_some((dir, path))
        })
    }

    #[test]
    fn a_directory_proves_its_owner_only_if_other_users_cannot_have_created_it() {
        let open = tempfile::tempdir_in("/tmp").unwrap();
        assert_eq!(
            owner(&open.path().join("control.sock")),
            None,
            "every user may create a directory in /tmp"
        );
        assert_eq!(owner(Path::new("/nowhere/control.sock")), None);

        let Some((_dir, path)) = closed_place() else {
            return eprintln!("skipped: every directory here is below one of another user");
        };
        let me = geteuid().as_raw();
        let place = path.join("daemon");
        fs::create_dir(&place).unwrap();
        let socket = place.join("control.sock");
        assert_eq!(owner(&socket), Some(me));
        symlink(&place, path.join("link")).unwrap();
        assert_eq!(owner(&path.join("link/control.sock")), Some(me));
        assert_eq!(owner(&path.join("link/../daemon/control.sock")), Some(me));
        symlink(&place, open.path().join("link")).unwrap();
        assert_eq!(owner(&open.path().join("link/control.sock")), None, "another user could move the link");
        symlink(open.path(), path.join("out")).unwrap();
        assert_eq!(owner(&path.join("out/control.sock")), None);
        fs::set_permissions(&path, Permissions::from_mode(0o770)).unwrap();
        assert_eq!(owner(&socket), None, "the group could have created it");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();

        if chown(&place, Some(OTHER), None).is_err() {
            return eprintln!("skipped in part: only root can change the owner of a directory");
        }
        assert_eq!(owner(&socket), Some(OTHER), "root has created it");
        assert_eq!(owner(&place.join("below/control.sock")), None);
        fs::create_dir(place.join("below")).unwrap();
        assert_eq!(
            owner(&place.join("below/control.sock")),
            None,
            "its owner could have created anything there"
        );
    }
}
