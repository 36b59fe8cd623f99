//! Lines of JSON: `{"refresh_token":"…","access_token":"…"}`, other fields ignored.

use serde::Deserialize;

use crate::cli::import::Broken;
use crate::cli::import::Parsed;
use crate::cli::import::RECORDS_MAX;
use crate::cli::import::Record;
use crate::cli::import::json_error;
use crate::cli::import::text;

#[derive(Deserialize)]
struct Line {
    refresh_token: Option<String>,
    access_token: Option<String>,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Broken> {
    let mut parsed = Parsed::default();
    for (number, line) in (1..).zip(text(bytes)?.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        if parsed.records.len() == RECORDS_MAX {
            return Err(Broken::new(format!("it has more than {RECORDS_MAX} records; split it")));
        }
        let place = format!("line {number}");
        let Line { refresh_token, access_token } =
            serde_json::from_str(line).map_err(|e| json_error(&place, &e))?;
        parsed.records.push(Record::new(place, refresh_token, access_token)?);
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_grant() {
        let text = "{\"refresh_token\":\"r1\",\"email\":\"a@b.c\"}\r\n\n{\"access_token\":\"a2\",\"refresh_token\":null}\n";
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.records.iter().map(|r| r.place.as_str()).collect::<Vec<_>>(), ["line 1", "line 3"]);
        assert_eq!(parsed.records[0].asked.refresh_token.as_deref(), Some("r1"));
        assert_eq!(parsed.records[1].asked.access_token.as_deref(), Some("a2"));
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_never_quoted() {
        for bad in
            ["{\"refresh_token\":5555}", "{\"refresh_token\":\"s3cret\"", "[\"s3cret\"]", "s3cret", "{}"]
        {
            let text = format!("{{\"refresh_token\":\"ok\"}}\n{bad}");
            let told = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(
                told.starts_with("line 2 ") && !told.contains("s3cret") && !told.contains("5555"),
                "{told}"
            );
        }
        assert!(parse(b"{}\n\xff").unwrap_err().to_string().contains("line 2 is no UTF-8"));
    }

    #[test]
    fn there_is_an_end_to_it() {
        let text = "{\"refresh_token\":\"r\"}\n".repeat(RECORDS_MAX + 1);
        assert!(parse(text.as_bytes()).unwrap_err().to_string().contains("more than 100000"));
    }
}
