//! Query parameters of URLs that people may type, shorten or bookmark. Invalid ones are ignored.

use url::form_urlencoded;

/// The first value of this name in a query. Later ones are ignored.
pub(in crate::http) fn first(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_name_is_used() {
        let query = "a=1&b=%C3%A9+%26&a=2&c&=x&%";
        for (name, value) in [("a", Some("1")), ("b", Some("é &")), ("c", Some("")), ("d", None)] {
            assert_eq!(first(query, name).as_deref(), value, "{name}");
        }
    }
}
