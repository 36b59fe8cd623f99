//! The content of a parsed file, and what the parsers of the formats share.

use crate::api_types::ImportBody;

pub(super) const SQLITE: &[u8] = b"SQLite format 3\0";

/// A grant in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ImportRecord {
    /// The position in the file: "line 3".
    pub(super) place: String,
    pub(super) asked: ImportBody,
}

/// The content of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ParsedFile {
    pub(super) records: Vec<ImportRecord>,
    /// The client id to which the tokens were issued, if the file contains it.
    pub(super) client_id: Option<String>,
    /// Remarks for the user.
    pub(super) remarks: Vec<String>,
}

/// What is wrong with a file, and where: every place, in the order of the file. Never quotes the file, because it contains
/// secrets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct ImportFileError(Vec<String>);

impl ParsedFile {
    /// The grants in the order of the file.
    pub fn grants(&self) -> impl Iterator<Item = &ImportBody> {
        self.records.iter().map(|record| &record.asked)
    }

    /// Remarks for the user.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }
}

impl ImportFileError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(vec![text.into()])
    }

    /// Each problem.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

/// Collects the grants of a file, and everything that is wrong with it.
#[derive(Debug, Default)]
pub(super) struct FileReader {
    parsed: ParsedFile,
    problems: Vec<String>,
}

impl FileReader {
    pub(super) fn add(&mut self, record: Result<ImportRecord, ImportFileError>) {
        match record {
            Ok(record) => self.parsed.records.push(record),
            Err(ImportFileError(problems)) => self.problems.extend(problems),
        }
    }

    /// The file, if nothing is wrong with it.
    pub(super) fn finish(self) -> Result<ParsedFile, ImportFileError> {
        if self.problems.is_empty() { Ok(self.parsed) } else { Err(ImportFileError(self.problems)) }
    }
}

impl ImportRecord {
    /// Blank tokens count as missing. A record without a token is an error.
    pub(super) fn new(
        place: String,
        refresh_token: Option<String>,
        access_token: Option<String>,
    ) -> Result<Self, ImportFileError> {
        let clean =
            |token: Option<String>| token.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let (refresh_token, access_token) = (clean(refresh_token), clean(access_token));
        let asked = ImportBody { refresh_token, access_token, replace: false };
        if asked.refresh_token.is_none() && asked.access_token.is_none() {
            return Err(ImportFileError::new(format!(
                "{place} has neither a refresh_token nor an access_token"
            )));
        }
        let tokens = [&asked.refresh_token, &asked.access_token];
        if tokens.into_iter().flatten().any(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(ImportFileError::new(format!(
                "{place} has a token with spaces or other invalid characters"
            )));
        }
        Ok(Self { place, asked })
    }
}

/// The text of a file in UTF-8, with or without a byte order mark.
pub(super) fn text(bytes: &[u8]) -> Result<&str, ImportFileError> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
        let broken = lines.filter(|(_, line)| std::str::from_utf8(line).is_err());
        ImportFileError(
            broken.map(|(number, _): (usize, _)| format!("line {number} is not UTF-8 text")).collect(),
        )
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The library's own message quotes the input. `before` lines of the file come before the part that was parsed.
pub(super) fn json_error(place: &str, error: &serde_json::Error, before: usize) -> ImportFileError {
    let what = if error.is_data() { "is not an object with tokens as strings" } else { "is not JSON" };
    ImportFileError::new(format!(
        "{place} {what} (looked at up to line {}, column {})",
        before + error.line(),
        error.column()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_need_a_valid_token() {
        let record = |refresh: &str, access: &str| {
            ImportRecord::new("line 1".to_owned(), Some(refresh.to_owned()), Some(access.to_owned()))
        };
        assert_eq!(record(" r ", " ").unwrap().asked.access_token, None);
        assert!(record("", "").unwrap_err().to_string().contains("neither"));
        let odd = record("a secret", "").unwrap_err().to_string();
        assert!(odd.contains("line 1") && !odd.contains("a secret"));
    }
}
