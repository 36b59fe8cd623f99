//! A `.env` file with `REFRESH_TOKEN`, `ACCESS_TOKEN` or both, as the token management service reads it.

use std::collections::BTreeMap;

use crate::cli::import::Broken;
use crate::cli::import::Parsed;
use crate::cli::import::Record;
use crate::config::dotenv::Assignment;
use crate::config::dotenv::assignments;

pub(super) const NAMES: [&str; 2] = ["REFRESH_TOKEN", "ACCESS_TOKEN"];

const CLIENT_ID: &str = "CLIENT_ID";

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Broken> {
    let mut all = BTreeMap::new();
    for Assignment { line, name, value } in
        assignments(bytes, |name| NAMES.contains(&name) || name == CLIENT_ID)
    {
        // Nothing of the value is told: it is a secret's.
        let value = value.map_err(|why| Broken::new(format!("line {line}, that of {name}: {why}")))?;
        all.insert(name, value.to_owned());
    }
    let [refresh_token, access_token] = NAMES.map(|name| all.remove(name));
    if refresh_token.is_none() && access_token.is_none() {
        return Err(Broken::new("it sets neither REFRESH_TOKEN nor ACCESS_TOKEN"));
    }
    let record = Record::new("the .env grant".to_owned(), refresh_token, access_token)?;
    let client_id = all.remove(CLIENT_ID).filter(|id| !id.is_empty());
    Ok(Parsed { records: vec![record], client_id, remarks: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_beside_other_settings() {
        let file =
            "PORT=5000\nCLIENT_ID=C1\nexport REFRESH_TOKEN='r1'\nACCESS_TOKEN=\"a1_PF84_org\" # mine\n";
        let parsed = parse(file.as_bytes()).unwrap();
        assert_eq!(parsed.records[0].asked.refresh_token.as_deref(), Some("r1"));
        assert_eq!(parsed.records[0].asked.access_token.as_deref(), Some("a1_PF84_org"));
        assert_eq!(parsed.client_id.as_deref(), Some("C1"));
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_never_quoted() {
        let told = parse(b"PORT=1\nREFRESH_TOKEN='s3cret\n").unwrap_err().to_string();
        assert!(told.contains("line 2, that of REFRESH_TOKEN") && !told.contains("s3cret"), "{told}");
        assert!(parse(b"PORT=1\n").unwrap_err().to_string().contains("neither"));
        assert!(parse(b"REFRESH_TOKEN=\n").unwrap_err().to_string().contains("neither"));
    }

    #[test]
    fn values_are_literal_and_other_lines_may_hold_anything() {
        let file = b"GREETING=\"hello\nC:\\logs\nmysql://u:p w@h/x\nname=\xfc\nREFRESH_TOKEN=r$1\\n\nACCESS_TOKEN=\"a$b\"\n";
        let parsed = parse(file).unwrap();
        assert_eq!(parsed.records[0].asked.refresh_token.as_deref(), Some("r$1\\n"));
        assert_eq!(parsed.records[0].asked.access_token.as_deref(), Some("a$b"));
    }
}
