//! A call and its answer, as plain data.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};

/// One HTTP request, whole.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path, such as `/v1/access_token`.
    pub path: String,
    /// What stands after `?`.
    pub query: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
    /// The headers whose names begin with `webhook-`.
    pub webhook_headers: Vec<(String, String)>,
}

impl Request {
    /// A GET of this path, with this query, if any.
    #[must_use]
    pub fn get(path_and_query: &str) -> Self {
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (path_and_query, None),
        };
        Self { method: "GET".to_owned(), path: path.to_owned(), query, ..Self::default() }
    }

    /// A POST of these form fields.
    #[must_use]
    pub fn form(path: &str, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Self {
            method: "POST".to_owned(),
            path: path.to_owned(),
            body: body.into_bytes(),
            content_type: Some("application/x-www-form-urlencoded".to_owned()),
            ..Self::default()
        }
    }

    /// The same call with `Authorization: Bearer …`.
    #[must_use]
    pub fn bearer(mut self, access_token: &str) -> Self {
        self.authorization = Some(format!("Bearer {access_token}"));
        self
    }

    /// The same call with `Authorization: Basic …`.
    #[must_use]
    pub fn basic(mut self, user: &str, password: &str) -> Self {
        self.authorization = Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))));
        self
    }
}

/// What the simulated Webex answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Wait this long before sending it.
    pub delay: Duration,
    /// The HTTP status.
    pub status: u16,
    /// The HTTP headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How the connection misbehaves, if it does.
    pub cut: Option<Cut>,
    /// Hand it to [`Model::left`](super::Model::left) when the answer is sent or given up.
    pub visit: Visit,
}

/// How a connection misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Reset it instead of answering.
    Reset,
    /// Send the headers, then close it.
    AfterHeaders,
    /// Send half of the body, then close it.
    InBody,
    /// Never answer.
    Hang,
    /// Send the body byte by byte, with this pause between two.
    Drip(Duration),
}

/// Names one call that has been answered but has not [left](super::Model::left) yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Visit(pub(super) u64);

impl Answer {
    pub(crate) fn empty(status: u16) -> Self {
        Self {
            delay: Duration::ZERO,
            status,
            headers: Vec::with_capacity(4),
            body: Vec::new(),
            cut: None,
            visit: Visit::default(),
        }
    }

    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { body: body.to_string().into_bytes(), ..Self::empty(status) }
            .with("Content-Type", "application/json;charset=UTF-8")
            .with("Cache-Control", "no-store")
    }

    pub(crate) fn html(status: u16, page: String) -> Self {
        // No `form-action`: browsers would apply it to the redirect that follows a decision, too.
        Self { body: page.into_bytes(), ..Self::empty(status) }
            .with("Content-Type", "text/html; charset=utf-8")
            .with("Cache-Control", "no-store")
            .with(
                "Content-Security-Policy",
                "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
            )
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::empty(302).with("Location", to)
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
