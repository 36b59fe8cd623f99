//! API keys, in requests and responses.

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::Error as _;

/// The request to create a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKeyRequest {
    /// The key's name, which is unique.
    pub name: String,
    /// Person ids or e-mail addresses, at least one. Omitted: all persons.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Option::is_none")]
    pub persons: Option<Vec<String>>,
    /// Rights out of `read`, `refresh` and `admin`, at least one. Omitted: `read`.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Option::is_none")]
    pub can: Option<Vec<String>>,
    /// Days until the key expires. Omitted or null: it does not expire.
    #[serde(default, deserialize_with = "whole_number")]
    pub days: Option<u32>,
}

/// Only an omitted field means the default. `null` counts as an empty list, which is rejected.
fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    Ok(Some(Option::<Vec<String>>::deserialize(from)?.unwrap_or_default()))
}

/// JSON has only one kind of number, so 30.0 counts as 30.
fn whole_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(from)? else { return Ok(None) };
    let fits = |n: &f64| n.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(n);
    let whole = number.as_f64().filter(fits).map(|n| n as u32);
    whole.map(Some).ok_or_else(|| D::Error::custom("expected a whole number"))
}

/// An API key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// The key's name, which is unique.
    pub name: String,
    /// The key's id, the part of the key that is not secret.
    pub id: String,
    /// The persons that the key is limited to, by id; null: all persons.
    pub persons: Option<Vec<String>>,
    /// Rights out of `read`, `refresh` and `admin`.
    pub can: Vec<String>,
    /// When the key was created.
    pub created_at: String,
    /// When the key expires; null: never.
    pub expires_at: Option<String>,
    /// When the key was last used, accurate to about a minute.
    pub last_used_at: Option<String>,
}

/// A new key. This is the only response that contains the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedKey {
    /// The whole key. It cannot be shown again.
    pub secret: String,
    /// Its properties.
    pub key: KeyView,
}

impl std::fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyMade").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A page of the list of API keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// Ordered by creation, oldest first.
    pub keys: Vec<KeyView>,
    /// Pass it as `after` for the next page; null on the last page.
    pub next: Option<String>,
}
