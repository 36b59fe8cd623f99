//! A validated API request, as handlers see it: bounded, and without unknown parameters.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::RangeInclusive;

use hyper::HeaderMap;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use crate::domain::list::ListPosition;
use crate::domain::person::PersonId;
use crate::domain::person::PersonQuery;
use crate::domain::person::ResolvedPerson;
use crate::grant_cache::StoreError;
use crate::http::api::context::Api;
use crate::http::auth::caller::Caller;
use crate::http::request::cursor;
use crate::http::response::api_error::ApiError;

/// An API request and its caller.
pub(super) struct ApiRequest {
    /// The decoded segment of the path that the route's `{…}` matches; empty if it has none.
    pub(super) named: String,
    pub(super) caller: Caller,
    /// The id of the last event that a reconnecting client of a stream has seen.
    pub(super) last_event: Option<String>,
    query: String,
    body: Bytes,
}

/// The parameters of a query. All of them are known, and none is repeated.
pub(super) struct QueryParameters(BTreeMap<&'static str, String>);

impl ApiRequest {
    pub(super) fn new(named: &str, request: &Request<Bytes>, caller: Caller) -> Result<Self, ApiError> {
        let body = request.body().clone();
        let kinds: Vec<_> = request.headers().get_all(header::CONTENT_TYPE).iter().collect();
        let is_json = matches!(kinds.as_slice(), [kind] if kind.to_str().is_ok_and(is_json));
        if !body.is_empty() && !is_json {
            return Err(ApiError::NotJson);
        }
        let named = decoded(named)
            .ok_or_else(|| ApiError::BadRequest("The path is not percent-encoded UTF-8.".to_owned()))?;
        let query = request.uri().query().unwrap_or_default().to_owned();
        Ok(Self { named, caller, last_event: last_event(request.headers()), query, body })
    }

    /// The query. Fails if it contains other parameters than `known`, or one of them twice.
    pub(super) fn query<const N: usize>(
        &self,
        known: [&'static str; N],
    ) -> Result<QueryParameters, ApiError> {
        let mut found = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(self.query.as_bytes()) {
            let Some(known) = known.iter().find(|known| **known == name) else {
                return Err(ApiError::BadRequest(format!(
                    "The parameter {} is unknown. Known parameters: {}.",
                    printable(&name),
                    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
                )));
            };
            if found.insert(*known, value.into_owned()).is_some() {
                return Err(ApiError::BadRequest(format!("The parameter {known} is given more than once.")));
            }
        }
        Ok(QueryParameters(found))
    }

    /// The body, an object without unknown fields. An empty body counts as `{}`.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let bytes: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        // serde would also accept an array for a struct.
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(ApiError::BadRequest("The body must be a JSON object.".to_owned()));
        }
        serde_json::from_slice(bytes).map_err(|why| {
            ApiError::BadRequest(format!("The body is invalid: {}.", printable(&why.to_string())))
        })
    }

    /// Fails if there is a body.
    pub(super) fn no_body(&self) -> Result<(), ApiError> {
        if self.body.is_empty() {
            Ok(())
        } else {
            Err(ApiError::BadRequest("No body is expected here.".to_owned()))
        }
    }

    /// The person in the path, whether stored or not. A key that is limited to other persons learns nothing.
    pub(super) async fn person(&self, api: &Api) -> Result<PersonId, ApiError> {
        self.permitted(api.0.cache.resolve(&self.who()?).await)
    }

    /// The same for irreversible actions. An address that several grants share is ambiguous here, even if
    /// only one of these grants is alive.
    pub(super) async fn only_person(&self, api: &Api) -> Result<PersonId, ApiError> {
        self.permitted(api.0.cache.resolve_strictly(&self.who()?).await)
    }

    fn who(&self) -> Result<PersonQuery, ApiError> {
        PersonQuery::parse(&self.named)
            .map_err(|why| ApiError::BadRequest(format!("The person in the path is invalid: {why}.")))
    }

    fn permitted(&self, resolved: Result<ResolvedPerson, StoreError>) -> Result<PersonId, ApiError> {
        let among = self.caller.allowed_persons();
        let may = |id: &PersonId| among.is_none_or(|among| among.contains(id));
        match resolved? {
            ResolvedPerson::One(id) if may(&id) => Ok(id),
            ResolvedPerson::Ambiguous(persons) if persons.iter().any(may) => {
                Err(ApiError::AmbiguousPerson(persons.into_iter().filter(may).collect()))
            }
            ResolvedPerson::Unknown if among.is_none() => {
                Err(ApiError::UnknownPerson(printable(&self.named)))
            }
            _ => Err(ApiError::Forbidden("The key is limited to other persons.".to_owned())),
        }
    }
}

impl QueryParameters {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A whole number, in digits only.
    pub(super) fn number(
        &self,
        name: &str,
        default: u32,
        range: RangeInclusive<u32>,
    ) -> Result<u32, ApiError> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && range.contains(number));
        number.ok_or_else(|| {
            let (from, to) = (range.start(), range.end());
            ApiError::BadRequest(format!(
                "{name}: expected a whole number from {from} to {to}, found {}.",
                printable(text)
            ))
        })
    }

    /// The position at which the list continues.
    pub(super) fn after(&self) -> Result<Option<ListPosition>, ApiError> {
        self.position("after", cursor::decode)
    }

    /// The number before which a list continues that is ordered from new to old.
    pub(super) fn before(&self) -> Result<Option<i64>, ApiError> {
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        self.position("before", |text| text.parse().ok().filter(|number| *number > 0 && is_number(text)))
    }

    fn position<T>(&self, name: &str, decode: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ApiError> {
        let unknown =
            || ApiError::BadRequest(format!("{name}: expected the value of `next` in an earlier response."));
        self.text(name).map(|text| decode(text).ok_or_else(unknown)).transpose()
    }
}

/// A header that is not text becomes an empty id. This id is unknown, but the client meant to send one.
pub(in crate::http) fn last_event(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("last-event-id")?;
    Some(id.to_str().unwrap_or_default().to_owned())
}

fn is_json(kind: &str) -> bool {
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Text from a request, made safe for a message: short and printable.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(100) {
        let _ = if c.is_control() { write!(shown, "{}", c.escape_default()) } else { write!(shown, "{c}") };
    }
    shown
}

/// Decodes percent-encoding; `None` if it is malformed or not UTF-8. Unlike in a query, `+` stands for
/// itself.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some(byte) = bytes.next() {
        plain.push(if byte == b'%' { digit(bytes.next())? * 16 + digit(bytes.next())? } else { byte });
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths_are_decoded_strictly() {
        assert_eq!(decoded("ada%40example.com").unwrap(), "ada@example.com");
        assert_eq!(decoded("a+b%2Fc").unwrap(), "a+b/c");
        for bad in ["%", "%4", "%zz", "%ff", "%+1"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
    }

    #[test]
    fn query_numbers_accept_only_digits_in_range() {
        let of =
            |text: &str| QueryParameters(BTreeMap::from([("n", text.to_owned())])).number("n", 5, 1..=10);
        assert_eq!(of("10").unwrap(), 10);
        for bad in ["", "0", "11", "+1", "-1", "1.0", " 1", "99999999999999999999", "x"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
