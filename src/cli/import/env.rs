//! A `.env` file with `REFRESH_TOKEN`, `ACCESS_TOKEN` or both, as the token management service reads it.
//! Other programs use the same names with the prefix `WEBEX_`.

use std::collections::BTreeMap;

use crate::cli::import::parsed_file::FileReader;
use crate::cli::import::parsed_file::ImportFileError;
use crate::cli::import::parsed_file::ImportRecord;
use crate::cli::import::parsed_file::ParsedFile;
use crate::config::env_file::syntax::Assignment;
use crate::config::env_file::syntax::assignments;

const REFRESH: [&str; 2] = ["REFRESH_TOKEN", "WEBEX_REFRESH_TOKEN"];
const ACCESS: [&str; 3] = ["ACCESS_TOKEN", "WEBEX_ACCESS_TOKEN", "WEBEX_TEAMS_ACCESS_TOKEN"];
const CLIENT: [&str; 2] = ["CLIENT_ID", "WEBEX_CLIENT_ID"];

/// The names that identify such a file.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    REFRESH.into_iter().chain(ACCESS)
}

pub(super) fn parse(bytes: &[u8]) -> Result<ParsedFile, ImportFileError> {
    let (mut all, mut reader) = (BTreeMap::new(), FileReader::default());
    for Assignment { line, name, value } in
        assignments(bytes, |name| names().chain(CLIENT).any(|known| known == name))
    {
        // The value must not appear in a message, because it is secret.
        match value {
            Ok(value) => {
                all.insert(name, value.to_owned());
            }
            Err(why) => reader.add(Err(ImportFileError::new(format!("line {line} ({name}): {why}")))),
        }
    }
    reader.finish()?;
    let (refresh_token, access_token) = (one_of(&all, &REFRESH)?, one_of(&all, &ACCESS)?);
    if refresh_token.is_none() && access_token.is_none() {
        return Err(ImportFileError::new(
            "it sets none of REFRESH_TOKEN, ACCESS_TOKEN, WEBEX_REFRESH_TOKEN and WEBEX_ACCESS_TOKEN",
        ));
    }
    let record = ImportRecord::new("the .env grant".to_owned(), refresh_token, access_token)?;
    let client_id = one_of(&all, &CLIENT)?.filter(|id| !id.is_empty());
    Ok(ParsedFile { records: vec![record], client_id, remarks: Vec::new() })
}

/// The value of these names, as far as they are set.
fn one_of(all: &BTreeMap<&str, String>, names: &[&str]) -> Result<Option<String>, ImportFileError> {
    let mut values = names.iter().filter_map(|name| all.get(*name)).filter(|value| !value.is_empty());
    let value = values.next();
    if values.any(|other| Some(other) != value) {
        return Err(ImportFileError::new(format!("it sets {} to different values", names.join(" and "))));
    }
    Ok(value.or_else(|| names.iter().find_map(|name| all.get(*name))).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_among_other_settings() {
        let file =
            "PORT=5000\nCLIENT_ID=C1\nexport REFRESH_TOKEN='r1'\nACCESS_TOKEN=\"a1_PF84_org\" # mine\n";
        let parsed = parse(file.as_bytes()).unwrap();
        assert_eq!(parsed.records[0].asked.refresh_token.as_deref(), Some("r1"));
        assert_eq!(parsed.records[0].asked.access_token.as_deref(), Some("a1_PF84_org"));
        assert_eq!(parsed.client_id.as_deref(), Some("C1"));
    }

    #[test]
    fn names_of_other_programs_are_accepted() {
        let file = "WEBEX_CLIENT_ID=C1\nWEBEX_REFRESH_TOKEN=r1\nREFRESH_TOKEN=\nWEBEX_ACCESS_TOKEN=a1\nACCESS_TOKEN=a1\n";
        let parsed = parse(file.as_bytes()).unwrap();
        assert_eq!(parsed.records[0].asked.refresh_token.as_deref(), Some("r1"));
        assert_eq!(parsed.records[0].asked.access_token.as_deref(), Some("a1"));
        assert_eq!(parsed.client_id.as_deref(), Some("C1"));
        let told = parse(b"WEBEX_REFRESH_TOKEN=s3cret\nREFRESH_TOKEN=other\n").unwrap_err().to_string();
        assert!(
            told.contains("WEBEX_REFRESH_TOKEN to different values") && !told.contains("s3cret"),
            "{told}"
        );
    }

    #[test]
    fn errors_name_the_line_and_never_quote_it() {
        let told = parse(b"PORT=1\nREFRESH_TOKEN='s3cret\n").unwrap_err().to_string();
        assert!(told.contains("line 2 (REFRESH_TOKEN)") && !told.contains("s3cret"), "{told}");
        let told = parse(b"REFRESH_TOKEN='s3cret\nPORT=1\nACCESS_TOKEN=\"s3cret\n").unwrap_err();
        assert!(told.problems().len() == 2 && told.problems()[1].starts_with("line 3 "), "{told}");
        assert!(parse(b"PORT=1\n").unwrap_err().to_string().contains("none of"));
        assert!(parse(b"REFRESH_TOKEN=\n").unwrap_err().to_string().contains("neither"));
    }

    #[test]
    fn values_are_literal_and_other_lines_are_ignored() {
        let file = b"GREETING=\"hello\nC:\\logs\nmysql://u:p w@h/x\nname=\xfc\nREFRESH_TOKEN=r$1\\n\nACCESS_TOKEN=\"a$b\"\n";
        let parsed = parse(file).unwrap();
        assert_eq!(parsed.records[0].asked.refresh_token.as_deref(), Some("r$1\\n"));
        assert_eq!(parsed.records[0].asked.access_token.as_deref(), Some("a$b"));
    }
}
