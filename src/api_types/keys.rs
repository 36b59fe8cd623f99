//! API keys, as they are asked for and shown.

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::Error as _;

/// What a key is asked with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAsked {
    /// Unique.
    pub name: String,
    /// Ids or addresses; never empty. Left out: all persons.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Option::is_none")]
    pub persons: Option<Vec<String>>,
    /// Of `read`, `refresh`, `admin`; never empty. Left out: `read`.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Option::is_none")]
    pub can: Option<Vec<String>>,
    /// Days until it opens nothing any more.
    #[serde(default, deserialize_with = "whole_number")]
    pub days: Option<u32>,
}

/// Only a field that is left out means the default: `null` counts as an empty list, which is refused.
fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    Ok(Some(Option::<Vec<String>>::deserialize(from)?.unwrap_or_default()))
}

/// JSON has numbers of one kind only: 30.0 is 30.
fn whole_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(from)? else { return Ok(None) };
    let fits = |n: &f64| n.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(n);
    let whole = number.as_f64().filter(fits).map(|n| n as u32);
    whole.map(Some).ok_or_else(|| D::Error::custom("expected a whole number"))
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Unique.
    pub name: String,
    /// Stands in the key in clear.
    pub id: String,
    /// Person ids; null: everybody.
    pub persons: Option<Vec<String>>,
    /// Of `read`, `refresh`, `admin`.
    pub can: Vec<String>,
    /// When it was made.
    pub created_at: String,
    /// From when on it opens nothing.
    pub expires_at: Option<String>,
    /// To a minute or so.
    pub last_used_at: Option<String>,
}

/// A key just made: the only answer that holds it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMade {
    /// The whole key. It is shown this once.
    pub secret: String,
    /// The rest.
    pub key: Key,
}

impl std::fmt::Debug for KeyMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyMade").field("key", &self.key).finish_non_exhaustive()
    }
}

/// All keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// Oldest first.
    pub keys: Vec<Key>,
}
