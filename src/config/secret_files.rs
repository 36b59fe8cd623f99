//! Warns about files with secrets that other users of the machine can read.

use std::fs;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::listen::HttpConfig;
use crate::config::parse::SettingsReader;

/// The permission bits that let the group read, and that let all other users read.
const READ_BY_GROUP: u32 = 0o040;
const READ_BY_OTHERS: u32 = 0o004;

/// The permission bits of a directory that let the group pass, and that let all other users pass.
const THROUGH_BY_GROUP: u32 = 0o010;
const THROUGH_BY_OTHERS: u32 = 0o001;

/// Warnings about files with secrets that other users can read.
pub(super) fn open_secrets(reader: &SettingsReader<'_>, http: Option<&HttpConfig>) -> Vec<String> {
    let named = [
        ("MY_APP_SECRET_ID", "MY_APP_SECRET_ID_FILE"),
        ("BOT_TOKEN", "BOT_TOKEN_FILE"),
        ("NOTIFY_WEBHOOK_SECRET", "NOTIFY_WEBHOOK_SECRET_FILE"),
        ("NOTIFY_SMTP_URL", "NOTIFY_SMTP_URL_FILE"),
    ];
    let named = named.into_iter().filter(|(itself, _)| reader.source.get(itself).is_none());
    let named = named.filter_map(|(_, file)| Some((file, Path::new(reader.source.get(file)?))));
    let key = http.filter(|http| http.secure).and_then(|http| http.pem.as_ref());
    let key = key.map(|(_, key)| ("TOKEND_TLS_KEY", key.as_path()));
    let settings = reader.source.file_with_secrets().map(|file| ("the settings file", file));
    named.chain(key).chain(settings).filter_map(|(name, file)| warning(name, file)).collect()
}

/// A warning if users other than its owner and root can read the secret file at `path`. There is no warning
/// if root has decided so:
///
/// - A group may read a file that belongs to root (`/etc/ssl/private`, credentials of systemd).
/// - A directory above the file may deny access to others.
/// - Kubernetes, Docker and systemd pass secrets to a single service in a read-only file system in memory.
pub(super) fn warning(variable: &str, path: &Path) -> Option<String> {
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
            "{variable}: {readers} can read the secret in {} (its mode is {:04o}): run chmod 600 on it",
            path.display(),
            mode & 0o777
        )
    })
}

fn is_for_its_group(found: &Metadata) -> bool {
    found.uid() == 0
}

/// Whether every directory above the file lets these users pass; links are resolved.
fn is_reached(path: &Path, through: u32) -> bool {
    let Ok(real) = fs::canonicalize(path) else { return true };
    real.ancestors().skip(1).all(|dir| fs::metadata(dir).is_ok_and(|dir| dir.mode() & through != 0))
}

#[cfg(target_os = "linux")]
fn is_handed_over(path: &Path) -> bool {
    /// The types of tmpfs and ramfs (statfs(2)).
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

    fn is_reported(path: &Path, mode: u32) -> Option<String> {
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
        warning("BOT_TOKEN_FILE", path)
    }

    #[test]
    fn a_secret_that_other_users_can_reach_and_read_causes_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "secret").unwrap();
        set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        assert_eq!(is_reported(&path, 0o644), None, "the directory denies access");
        set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let open = is_reported(&path, 0o644).unwrap();
        assert!(open.starts_with("BOT_TOKEN_FILE: every user of this machine can read"), "{open}");
        assert!(open.contains("0644") && open.ends_with(": run chmod 600 on it"), "{open}");
        for mode in [0o600, 0o400] {
            assert_eq!(is_reported(&path, mode), None, "{mode:o}");
        }
        // Only root can change the owner of a file.
        if chown(&path, Some(4711), None).is_ok() {
            assert!(is_reported(&path, 0o640).is_some_and(|told| told.contains(": its group can read")));
            chown(&path, Some(0), Some(4711)).unwrap();
            assert_eq!(is_reported(&path, 0o640), None, "root has decided on the group");
        }
        assert_eq!(warning("BOT_TOKEN_FILE", &dir.path().join("none")), None);
    }
}
