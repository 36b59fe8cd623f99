//! Reads PEM files of the operator, with a bound on their size.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

/// Maximum size of a PEM file. The roots of a whole system take a quarter of a MiB.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The content of a PEM file, which may contain a key. Blocks, but not on a pipe.
///
/// # Errors
/// When it is not a regular file, is longer than 4 MiB, or cannot be read.
pub fn read_pem(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = open_pem(path)?;
    let room = usize::try_from(file.metadata()?.len().min(BYTES_MAX)).unwrap_or(0);
    let mut pem = Zeroizing::new(Vec::with_capacity(room));
    let read = file.take(BYTES_MAX + 1).read_to_end(&mut pem)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > BYTES_MAX {
        return Err(io::Error::other(format!("longer than {} MiB", BYTES_MAX >> 20)));
    }
    Ok(pem)
}

/// Opens a PEM file.
///
/// # Errors
/// When it is not a regular file, or cannot be read.
pub fn open_pem(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pem_file_is_a_regular_file_of_bounded_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long.pem");
        let file = File::create(&path).unwrap();
        file.set_len(BYTES_MAX).unwrap();
        assert_eq!(read_pem(&path).unwrap().len() as u64, BYTES_MAX);
        file.set_len(BYTES_MAX + 1).unwrap();
        assert_eq!(read_pem(&path).unwrap_err().to_string(), "longer than 4 MiB");
        for path in [Path::new("/dev/null"), dir.path()] {
            assert_eq!(read_pem(path).unwrap_err().to_string(), "not a regular file");
        }
    }
}
