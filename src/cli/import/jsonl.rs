//! JSON objects with a refresh token, an access token or both: one in each line, over several lines (as `jq
//! .` prints Webex's response), or in arrays. Other fields are ignored.

use std::fmt;

use serde::de::Deserialize;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::Deserializer;
use serde_json::Value;

use crate::cli::import::parsed_file::FileReader;
use crate::cli::import::parsed_file::ImportFileError;
use crate::cli::import::parsed_file::ImportRecord;
use crate::cli::import::parsed_file::ParsedFile;
use crate::cli::import::parsed_file::json_error;
use crate::cli::import::parsed_file::text;

/// A JSON value. Unlike [`Value`], an object keeps a field that occurs twice.
enum Item {
    Object(Vec<(String, Value)>),
    Array(Vec<Self>),
    Other,
}

struct ItemVisitor;

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ItemVisitor)
    }
}

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Item::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Item, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Item::Array(items))
    }

    fn visit_str<E>(self, _: &str) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_unit<E>(self) -> Result<Item, E> {
        Ok(Item::Other)
    }
}

/// The whole text is read even if a value is wrong, so that all wrong places are known.
pub(super) fn parse(bytes: &[u8]) -> Result<ParsedFile, ImportFileError> {
    let text = text(bytes)?;
    let mut reader = FileReader::default();
    let (mut start, mut line) = (0, 1);
    while let Some((from, at)) = values(text, (start, line), &mut reader) {
        // The value that begins here is broken. The next one begins on a later line.
        (start, line) = next_value_line(text, from, at);
    }
    reader.finish()
}

/// Reads values from an offset in this line on. Returns offset and line of the first value that is not JSON.
fn values(text: &str, (start, line): (usize, usize), reader: &mut FileReader) -> Option<(usize, usize)> {
    let part = text.get(start..).unwrap_or_default();
    let mut values = Deserializer::from_str(part).into_iter::<Item>();
    let (mut at, mut counted) = (line, 0);
    loop {
        // The start of the next value.
        let begins = next_value(part, values.byte_offset());
        at += part.get(counted..begins).unwrap_or_default().matches('\n').count();
        counted = begins;
        let place = format!("line {at}");
        match values.next().transpose() {
            Ok(None) => return None,
            Ok(Some(Item::Array(items))) => {
                for (number, item) in (1..).zip(items) {
                    reader.add(record(format!("{place}, item {number}"), item));
                }
            }
            Ok(Some(value)) => reader.add(record(place, value)),
            Err(e) => {
                reader.add(Err(json_error(&place, &e, line - 1)));
                return Some((start + begins, at));
            }
        }
    }
}

fn next_value(text: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + (rest.len() - rest.trim_start().len())
}

/// The first line after this offset that may begin a value: the lines within a value are indented, or close it.
fn next_value_line(text: &str, mut from: usize, mut line: usize) -> (usize, usize) {
    loop {
        let rest = text.get(from..).unwrap_or_default();
        let Some(end) = rest.find('\n') else { return (text.len(), line) };
        (from, line) = (from + end + 1, line + 1);
        let next = text.get(from..).and_then(|rest| rest.chars().next());
        if next.is_none_or(|c| !c.is_whitespace() && !matches!(c, '}' | ']')) {
            return (from, line);
        }
    }
}

fn record(place: String, value: Item) -> Result<ImportRecord, ImportFileError> {
    let Item::Object(fields) = value else {
        return Err(ImportFileError::new(format!("{place} is not an object with tokens as strings")));
    };
    let (refresh_token, access_token) =
        (token(&place, &fields, "refresh_token")?, token(&place, &fields, "access_token")?);
    ImportRecord::new(place, refresh_token, access_token)
}

/// The token with this name, which programs write as `refresh_token`, `refreshToken` or `RefreshToken`.
fn token(place: &str, fields: &[(String, Value)], name: &str) -> Result<Option<String>, ImportFileError> {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let mut found = None;
    for (_, value) in fields.iter().filter(|(key, value)| plain(key) == plain(name) && !value.is_null()) {
        let Value::String(text) = value else {
            return Err(ImportFileError::new(format!("{place} is not an object with tokens as strings")));
        };
        if found.replace(text).is_some_and(|other| other != text) {
            return Err(ImportFileError::new(format!("{place} has two different tokens for {name}")));
        }
    }
    Ok(found.cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_one_grant() {
        let text = "{\"refresh_token\":\"r1\",\"email\":\"a@b.c\"}\r\n\n{\"access_token\":\"a2\",\"refresh_token\":null}\n";
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.records.iter().map(|r| r.place.as_str()).collect::<Vec<_>>(), ["line 1", "line 3"]);
        assert_eq!(parsed.records[0].asked.refresh_token.as_deref(), Some("r1"));
        assert_eq!(parsed.records[1].asked.access_token.as_deref(), Some("a2"));
    }

    #[test]
    fn errors_name_the_line_and_never_quote_it() {
        for bad in
            ["{\"refresh_token\":5555}", "{\"refresh_token\":\"s3cret\"", "[\"s3cret\"]", "s3cret", "{}"]
        {
            let text = format!("{{\"refresh_token\":\"ok\"}}\n{bad}");
            let told = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(
                told.starts_with("line 2") && !told.contains("s3cret") && !told.contains("5555"),
                "{told}"
            );
        }
        assert!(parse(b"{}\n\xff").unwrap_err().to_string().contains("line 2 is not UTF-8"));
    }

    #[test]
    fn objects_over_several_lines_and_arrays_are_accepted() {
        let answer =
            "\n{\n  \"access_token\": \"a1\",\n  \"expires_in\": 1209599,\n  \"refresh_token\": \"r1\"\n}\n";
        let array =
            "[\n {\"refreshToken\": \"r2\"},\n {\"RefreshToken\": \"r3\", \"accessToken\": \"a3\"}\n]\n";
        let one_line = "{\"refresh_token\":\"r4\",\"refreshToken\":\"r4\"} {\"refresh-token\":\"r5\"}";
        let parsed = parse([answer, array, one_line].concat().as_bytes()).unwrap();
        let told = |record: &ImportRecord| {
            let token = |token: &Option<String>| token.clone().unwrap_or_default();
            (record.place.clone(), token(&record.asked.refresh_token), token(&record.asked.access_token))
        };
        let expected = [
            ("line 2", "r1", "a1"),
            ("line 7, item 1", "r2", ""),
            ("line 7, item 2", "r3", "a3"),
            ("line 11", "r4", ""),
            ("line 11", "r5", ""),
        ];
        let expected = expected.map(|(place, refresh, access)| (place.into(), refresh.into(), access.into()));
        assert_eq!(parsed.records.iter().map(told).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn two_different_tokens_of_one_kind_are_rejected() {
        let told =
            parse(b"[{\"refresh_token\":\"s3cret\",\"refreshToken\":\"other\"}]").unwrap_err().to_string();
        assert!(
            told.starts_with("line 1, item 1 has two different tokens") && !told.contains("s3cret"),
            "{told}"
        );
    }

    #[test]
    fn every_wrong_place_is_named() {
        let ok = "{\"refresh_token\":\"r\"}";
        let broken_object = "{\n  \"refresh_token\": s3cret,\n  \"more\": 1\n}";
        let file = [
            "{\"refresh_token\":\"s3cret",
            ok,
            "{}",
            "s3cret",
            "",
            ok,
            broken_object,
            "[{\"refresh_token\":7}, {\"refresh_token\":\"r\"}, 3]",
            "{\"refresh_token\":\"a b\"}",
            "{\"refresh_token\":\"r\"} x",
            "{\"refresh_token\":\"r\"",
        ];
        let told = parse(file.join("\n").as_bytes()).unwrap_err();
        let places = |problem: &String| problem.split([' ', ',']).nth(1).unwrap().parse::<usize>().unwrap();
        let lines: Vec<usize> = told.problems().iter().map(places).collect();
        assert_eq!(lines, [1, 3, 4, 7, 11, 11, 12, 13, 14], "{told}");
        assert!(told.problems()[3].ends_with("(looked at up to line 8, column 20)"), "{told}");
        assert!(!told.to_string().contains("s3cret"), "{told}");
        let bytes = [b"{}\n\xff\n{}\n".as_slice(), b"\xfe"].concat();
        assert_eq!(parse(&bytes).unwrap_err().problems().len(), 2, "a file in another encoding");
    }

    #[test]
    fn a_file_may_have_any_number_of_records() {
        let text = "{\"refresh_token\":\"r\"}\n".repeat(200_001);
        assert_eq!(parse(text.as_bytes()).unwrap().records.len(), 200_001);
    }
}
