//! What a call says: its fields and its credentials.

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::http::Request;

/// Named fields; of two with one name the first counts.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// The fields of the body: a form, or JSON with the same names (a Cisco sample sends that).
    pub(super) fn of_body(request: &Request) -> Self {
        let is_json = request.content_type.as_deref().is_some_and(|kind| kind.contains("json"));
        if is_json { Self::of_json(&request.body) } else { Self::of_form(&request.body) }
    }

    /// The fields of the body, then those of the query.
    pub(super) fn of_both(request: &Request) -> Self {
        let mut fields = Self::of_body(request);
        fields.0.extend(Self::of_form(request.query.as_deref().unwrap_or_default().as_bytes()).0);
        fields
    }

    fn of_form(text: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(text).into_owned().collect())
    }

    fn of_json(text: &[u8]) -> Self {
        let Ok(serde_json::Value::Object(object)) = serde_json::from_slice(text) else {
            return Self::default();
        };
        let text_of = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        Self(object.into_iter().map(|(name, value)| (name, text_of(value))).collect())
    }

    /// A field that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

/// The token of `Authorization: Bearer …`.
pub(super) fn bearer(authorization: Option<&str>) -> Option<&str> {
    after_scheme(authorization, "bearer")
}

/// Id and secret of `Authorization: Basic …`.
pub(super) fn basic(authorization: Option<&str>) -> Option<(String, String)> {
    let plain = BASE64_STANDARD.decode(after_scheme(authorization, "basic")?).ok()?;
    let (id, secret) = std::str::from_utf8(&plain).ok()?.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

fn after_scheme<'a>(authorization: Option<&'a str>, scheme: &str) -> Option<&'a str> {
    let (found, rest) = authorization?.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then_some(rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_form_say_the_same() {
        let form = Request::form("/", &[("grant_type", "refresh_token"), ("empty", "")]);
        let json = Request {
            body: br#"{"grant_type":"refresh_token","n":5}"#.to_vec(),
            content_type: Some("application/json".to_owned()),
            ..Request::default()
        };
        assert_eq!(Params::of_body(&form).get("grant_type"), Some("refresh_token"));
        assert_eq!(Params::of_body(&form).get("empty"), None);
        assert_eq!(Params::of_body(&json).get("grant_type"), Some("refresh_token"));
        assert_eq!(Params::of_body(&json).get("n"), Some("5"));
    }

    #[test]
    fn credentials_are_read_whatever_the_case_of_the_scheme() {
        assert_eq!(bearer(Some("bearer abc")), Some("abc"));
        assert_eq!(basic(Some("Basic YTpiOmM=")), Some(("a".to_owned(), "b:c".to_owned())));
        assert_eq!(basic(Some("Basic ???")), None);
    }
}
