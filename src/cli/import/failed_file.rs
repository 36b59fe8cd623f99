//! The file for grants that were not imported. It may be imported again.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::api_types::ImportBody;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;

/// JSON lines with the tokens, and why they were not imported. Only the user may read it. Each line is written at once, and a
/// file without lines is removed.
#[derive(Debug)]
pub(super) struct FailedFile {
    path: PathBuf,
    file: File,
    lines: usize,
}

#[derive(Serialize)]
struct FailedLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'a str>,
    why: &'a str,
}

impl FailedFile {
    /// Creates the file. An existing one is not overwritten, because it may contain the only copy of a token.
    pub(super) fn create(path: &Path) -> Result<Self, CommandError> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|e| {
            let advice = if e.kind() == io::ErrorKind::AlreadyExists { "; name a new file" } else { "" };
            let line = format!("cannot create {}: {e}{advice}; nothing was imported", path.display());
            CommandError::new(Exit::Usage, line)
        })?;
        Ok(Self { path: path.to_owned(), file, lines: 0 })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn add(&mut self, grant: &ImportBody, why: &str) -> Result<(), CommandError> {
        let (refresh_token, access_token) = (grant.refresh_token.as_deref(), grant.access_token.as_deref());
        let line = FailedLine { refresh_token, access_token, why };
        let mut line = serde_json::to_vec(&line).map(Zeroizing::new).map_err(io::Error::from)?;
        line.push(b'\n');
        self.lines += 1;
        self.file.write_all(&line).map_err(|e| {
            CommandError::new(Exit::Failed, format!("cannot write {}: {e}", self.path.display()))
        })
    }
}

impl Drop for FailedFile {
    fn drop(&mut self) {
        if self.lines == 0 {
            // An empty file that stays does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}
