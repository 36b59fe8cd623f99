//! Pagination cursors as opaque text: the position as JSON, in base64.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::json;

use crate::domain::list::ListPosition;
use crate::domain::list::SortKey;

/// Maximum size of a text in bytes: 128 characters of a search or 254 of an address, in UTF-8.
const MAX_LEN: usize = 1024;

pub(super) fn encode(mark: &ListPosition) -> String {
    let key = match &mark.key {
        SortKey::None => Value::Null,
        SortKey::Number(number) => json!(number),
        SortKey::Text(text) => json!(text),
    };
    URL_SAFE_NO_PAD.encode(json!([mark.serial, key]).to_string())
}

/// Decodes a cursor. `None` if it is invalid. A cursor of another list gives an arbitrary position in this
/// one.
pub(super) fn decode(text: &str) -> Option<ListPosition> {
    let json = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (serial, key): (i64, Value) = serde_json::from_slice(&json).ok()?;
    let key = match key {
        Value::Null => SortKey::None,
        Value::Number(number) => SortKey::Number(number.as_i64()?),
        Value::String(text) if text.len() <= MAX_LEN => SortKey::Text(text),
        _ => return None,
    };
    (serial >= 0).then_some(ListPosition { key, serial })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_encoding() {
        for serial in [0, 1, 255, i64::MAX] {
            let numbers = [i64::MIN, -1, 0, i64::MAX].map(SortKey::Number);
            let texts = ["", "zoë@exämple.com"].map(|text| SortKey::Text(text.to_owned()));
            for key in numbers.into_iter().chain(texts).chain([SortKey::None]) {
                let mark = ListPosition { key, serial };
                assert_eq!(decode(&encode(&mark)), Some(mark));
            }
        }
    }

    #[test]
    fn invalid_cursors_are_refused() {
        let long = format!("[1,{:?}]", "a".repeat(MAX_LEN + 1));
        let json =
            ["", "x", "1", "[]", "[1]", "[-1,null]", "[1,1.5]", "[1,true]", "[1,[]]", "[1,null,1]", &long];
        for bad in json {
            assert_eq!(decode(&URL_SAFE_NO_PAD.encode(bad)), None, "{bad}");
        }
        for bad in ["x", "é", "[1,null]", "WzEsbnVsbF0="] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
