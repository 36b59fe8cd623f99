//! What is read from a request, and the cookies and cursors that come back with a later one.

pub mod cookies;
pub(in crate::http) mod cursor;
pub(in crate::http) mod log_path;
pub(in crate::http) mod query_string;
pub mod request_body;
