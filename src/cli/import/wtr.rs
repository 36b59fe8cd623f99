//! wtr's `.wtr-cli.json`: the tokens of one person, and the settings of the integration.

use serde_json::Map;
use serde_json::Value;

use crate::cli::import::parsed_file::ImportFileError;
use crate::cli::import::parsed_file::ImportRecord;
use crate::cli::import::parsed_file::ParsedFile;
use crate::cli::import::parsed_file::json_error;
use crate::cli::import::parsed_file::text;

pub(super) fn parse(bytes: &[u8], now: i64) -> Result<ParsedFile, ImportFileError> {
    let value: Map<String, Value> =
        serde_json::from_str(text(bytes)?).map_err(|e| json_error(&format!("line {}", e.line()), &e, 0))?;
    // wtr's library accepts names in any case.
    let field =
        |name: &str| value.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let word = |name: &str| match field(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ImportFileError::new(format!("its {name} is not a string"))),
    };
    let (refresh_token, access_token) = (word("refresh_token")?, word("token")?);
    let blank = |token: &Option<String>| token.as_deref().is_none_or(|text| text.trim().is_empty());
    if blank(&refresh_token) && blank(&access_token) {
        return Err(ImportFileError::new("it has no tokens: `wtr retrieve` was not run"));
    }
    let mut remarks = Vec::new();
    let ended = field("refresh_expiration").and_then(Value::as_i64).filter(|at| (1..now).contains(at));
    if ended.is_some() {
        remarks.push("according to the file, the refresh token has expired; Webex decides".to_owned());
    }
    let client_id = word("clientid")?.filter(|id| !id.is_empty());
    let record = ImportRecord::new("the wtr grant".to_owned(), refresh_token, access_token)?;
    Ok(ParsedFile { records: vec![record], client_id, remarks })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file that version 0.1 writes after `retrieve`.
    const FILE: &str = r#"{
  "clientid": "C1234",
  "expiration": 1795000000,
  "redirectport": "6855",
  "refresh_expiration": 1800000000,
  "refresh_token": "r1",
  "scopes": "spark:all spark:kms",
  "secret": "s3cret",
  "token": "t1"
}"#;

    #[test]
    fn its_grant_and_client_id_are_found() {
        let parsed = parse(FILE.as_bytes(), 1_795_000_000).unwrap();
        let [record] = parsed.records.as_slice() else { panic!("not one") };
        assert_eq!(record.asked.refresh_token.as_deref(), Some("r1"));
        assert_eq!(record.asked.access_token.as_deref(), Some("t1"));
        assert_eq!(parsed.client_id.as_deref(), Some("C1234"));
        assert!(parsed.remarks.is_empty());
        assert_eq!(parse(FILE.as_bytes(), 1_900_000_000).unwrap().remarks.len(), 1);
    }

    #[test]
    fn files_without_tokens_say_so() {
        for (bad, told) in [
            ("{}", "wtr retrieve"),
            (r#"{"token":"","refresh_token":""}"#, "wtr retrieve"),
            (r#"{"refresh_token":7}"#, "refresh_token is not a string"),
            ("{\n\"token\": s3cret}", "line 2"),
            ("[]", "line 1"),
        ] {
            let error = parse(bad.as_bytes(), 0).unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("s3cret"), "{error}");
        }
    }
}
