//! Pagination cursors as opaque text.

use std::fmt::Write;

use crate::domain::list::ListPosition;
use crate::domain::list::SortKey;

/// Hexadecimal digits of a number.
const DIGITS: usize = 16;

/// Maximum size of a text in bytes: 128 characters of a search or 254 of an address, in UTF-8.
const MAX_LEN: usize = 1024;

pub(in crate::http) fn encode(mark: &ListPosition) -> String {
    let mut text = format!("{:016x}", mark.serial.max(0));
    match &mark.key {
        SortKey::None => {}
        SortKey::Number(number) => {
            let _ = write!(text, "n{number:016x}");
        }
        SortKey::Text(key) => {
            text.push('t');
            key.bytes().for_each(|byte| {
                let _ = write!(text, "{byte:02x}");
            });
        }
    }
    text
}

/// Decodes a cursor. `None` if it is invalid. A cursor of another list gives an arbitrary position in this
/// one.
pub(in crate::http) fn decode(text: &str) -> Option<ListPosition> {
    let (serial, key) = text.split_at_checked(DIGITS)?;
    let serial = i64::try_from(number(serial)?).ok()?;
    let key = match key.chars().next() {
        None => SortKey::None,
        Some('n') => SortKey::Number(number(key.strip_prefix('n')?)?.cast_signed()),
        Some(_) => SortKey::Text(bytes(key.strip_prefix('t')?)?),
    };
    Some(ListPosition { key, serial })
}

fn number(text: &str) -> Option<u64> {
    let digits = text.len() == DIGITS && text.bytes().all(is_digit);
    u64::from_str_radix(text, 16).ok().filter(|_| digits)
}

fn bytes(text: &str) -> Option<String> {
    if text.len() > 2 * MAX_LEN || text.len() % 2 == 1 || !text.bytes().all(is_digit) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2));
    let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
    String::from_utf8(bytes?).ok()
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
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
        for bad in
            ["", "1", "ffffffffffffffff", "000000000000000G", "+00000000000000f", "00000000000000001", "é"]
        {
            assert_eq!(decode(bad), None, "{bad}");
        }
        for bad in [
            "n",
            "n1",
            "n+00000000000000f",
            "t0",
            "tzz",
            "tff",
            "t+1",
            &format!("t{}", "61".repeat(MAX_LEN + 1)),
        ] {
            assert_eq!(decode(&format!("0000000000000001{bad}")), None, "{bad}");
        }
    }
}
