//! A picture of a person, kept elsewhere: a page may show it, nobody stores it.

/// Where a picture is. Who makes one vouches for the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its whole URL.
    pub address: String,
    /// The URL's scheme, host and port: fit for a `Content-Security-Policy`.
    pub origin: String,
}
