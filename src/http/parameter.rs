//! Parameters of addresses that people may type, shorten or keep: whatever makes no sense counts for nothing.

use url::form_urlencoded;

/// The first value of this name in a query; what comes after it does not count.
pub(super) fn first(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_name_counts() {
        let query = "a=1&b=%C3%A9+%26&a=2&c&=x&%";
        for (name, value) in [("a", Some("1")), ("b", Some("é &")), ("c", Some("")), ("d", None)] {
            assert_eq!(first(query, name).as_deref(), value, "{name}");
        }
    }
}
