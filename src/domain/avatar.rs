//! The avatar of a person. Pages link to it; this service does not store it.

/// The URL of an avatar. The code that creates a value must have checked that pages may load from this origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvatarUrl {
    /// The complete URL.
    pub address: String,
    /// The URL's scheme, host and port, safe inside a `Content-Security-Policy` header.
    pub origin: String,
}
