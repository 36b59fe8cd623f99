//! The key file: 32 bytes with mode 0600. It is created together with a new store, and never for an existing one.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::rand;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use crate::store::StoreError;
use crate::store::seal::KEY_LEN;

/// The bytes of a store key, zeroed on drop.
pub type SealingKey = Zeroizing<[u8; KEY_LEN]>;

/// Reads the key at `path`; `None` if there is no such file.
///
/// # Errors
/// [`StoreError::BadKey`] if the file cannot be read, is not 32 bytes long, is accessible to other users, or is owned by a
/// user other than this process's and root.
pub fn read(path: &Path) -> Result<Option<SealingKey>, StoreError> {
    let bad = |why: String| StoreError::BadKey { path: path.to_owned(), why };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(bad(e.to_string())),
    };
    // The metadata of the opened file, even if the path names another file by now.
    let found = file.metadata().map_err(|e| bad(e.to_string()))?;
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(bad(format!(
            "its mode is {mode:04o}, so other users can read it; expected 0600: chmod 600 it"
        )));
    }
    let us = geteuid().as_raw();
    if !check_owner(found.uid(), us) {
        return Err(bad(format!(
            "it belongs to the user with id {owner}, who knows it; expected a file of yours (id {us}) or root's: run this \
             as its owner, or chown it if you know that it is yours",
            owner = found.uid()
        )));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_LEN + 1));
    file.take(KEY_LEN as u64 + 1).read_to_end(&mut bytes).map_err(|e| bad(e.to_string()))?;
    let key = <[u8; KEY_LEN]>::try_from(bytes.as_slice()).map_err(|_| {
        bad(format!("it has {} bytes, expected {KEY_LEN}; restore it from your backup", found.len()))
    })?;
    Ok(Some(Zeroizing::new(key)))
}

/// Whether the owner of a key file may know the key: this user or root.
fn check_owner(owner: u32, us: u32) -> bool {
    owner == us || owner == 0
}

/// Creates a new key at `path`, durably. Never replaces a file.
///
/// # Errors
/// [`StoreError::BadKey`] if the file cannot be written or exists already.
pub fn generate(path: &Path) -> Result<SealingKey, StoreError> {
    let bad = |why: String| StoreError::BadKey { path: path.to_owned(), why };
    let mut key = Zeroizing::new([0; KEY_LEN]);
    rand::fill(key.as_mut()).map_err(|_| bad("the system provides no random bytes".to_owned()))?;
    write_new(path, key.as_ref()).map_err(|e| bad(format!("cannot be created: {e}")))?;
    Ok(key)
}

/// Writes a temporary file and links it to `path`, so that a crash leaves a complete key or none.
fn write_new(path: &Path, key: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(key)?;
    file.sync_all()?;
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside)?;
    linked?;
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn a_key_is_made_once_private_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(read(&path).unwrap().is_none());
        let made = generate(&path).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(generate(&path).is_err(), "a key is never replaced");
        assert_eq!(read(&path).unwrap().unwrap(), made);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_key_that_is_short_or_readable_by_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, [1; 31]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("31 bytes"));
        fs::write(&path, [1; 32]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("0640"));
    }

    #[test]
    fn a_key_of_another_user_is_refused() {
        for (owner, us, may) in
            [(0, 0, true), (0, 1000, true), (1000, 1000, true), (1000, 0, false), (1, 2, false)]
        {
            assert_eq!(check_owner(owner, us), may, "{owner} {us}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        generate(&path).unwrap();
        // Only root can give a file away.
        if chown(&path, Some(4711), None).is_ok() {
            let why = read(&path).unwrap_err().to_string();
            assert!(why.contains("belongs to the user with id 4711"), "{why}");
        }
    }
}
