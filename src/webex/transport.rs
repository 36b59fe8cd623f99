//! One call to Webex and its answer, with limits: connect 10 s, whole 40 s, 1 MiB, no redirects.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::Client;
use reqwest::redirect::Policy;

use crate::domain::secret::Secret;

/// A dead host is noticed after this.
const CONNECT: Duration = Duration::from_secs(10);

/// From the first byte sent to the last received; the samples wait as long.
pub const WHOLE: Duration = Duration::from_secs(40);

/// Token answers have a few hundred bytes, with JWT-shaped tokens a few thousand.
const BODY_MAX: usize = 1024 * 1024;

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whole URL; never with a secret in it.
    pub url: String,
    /// What it carries; a form or JSON makes it a POST, a bearer token alone a GET.
    pub payload: Payload,
}

/// What a call carries.
#[derive(Clone, Debug)]
pub enum Payload {
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(&'static str, Secret)>),
    /// The same with HTTP Basic authentication (RFC 7617), which the device grant insists on.
    BasicForm {
        /// The client id.
        user: String,
        /// The client secret.
        password: Secret,
        /// The form.
        fields: Vec<(&'static str, Secret)>,
    },
    /// An `Authorization: Bearer` header.
    Bearer(Secret),
    /// The same, and `application/json`, which holds no secret.
    Json {
        /// The bearer token.
        token: Secret,
        /// The JSON.
        body: String,
    },
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After` as sent.
    pub retry_after: Option<String>,
    /// `trackingId` as sent.
    pub tracking_id: Option<String>,
    /// At most 1 MiB.
    pub body: Vec<u8>,
}

/// What came back to a call without a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knocked {
    /// 401 from Webex: it wants a token.
    pub status: u16,
    /// `Date` as sent.
    pub date: Option<String>,
}

/// No whole answer came back. The text is fit for people: it holds no URL and no secret.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

/// A way to Webex.
pub trait Transport: Send + Sync {
    /// Sends one call, once: no retries, no redirects. Ends within [`WHOLE`].
    fn send(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Raw, NoAnswer>> + Send + '_>>;
}

/// Real sockets.
#[derive(Clone, Debug)]
pub struct HttpTransport(Client);

/// Why no client could be built.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A file given by `WEBEX_CA_FILE` is no PEM bundle.
    #[error("WEBEX_CA_FILE is no readable PEM file of certificates: {0}")]
    Roots(String),
    /// The TLS library refuses.
    #[error(
        "no TLS client can be built: {0} (are the system's root certificates installed, package ca-certificates?)"
    )]
    Client(String),
}

impl HttpTransport {
    /// A client that trusts the system's roots and those of `extra_roots` (PEM). With `plain` (an `http` base, on
    /// loopback) it needs no roots at all.
    ///
    /// # Errors
    /// [`TransportError`] says what is wrong.
    pub fn new(user_agent: &str, extra_roots: Option<&[u8]>, plain: bool) -> Result<Self, TransportError> {
        // An error only says that it is there already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut client = Client::builder()
            .user_agent(user_agent)
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .redirect(Policy::none())
            .retry(reqwest::retry::never());
        if plain {
            // Only this machine may see what is not encrypted, whatever HTTP_PROXY says.
            client = client.no_proxy();
        }
        if let Some(pem) = extra_roots {
            let roots = Certificate::from_pem_bundle(pem).map_err(|e| TransportError::Roots(chain(&e)))?;
            if roots.is_empty() {
                return Err(TransportError::Roots("there is no certificate in it".to_owned()));
            }
            client = client.tls_certs_merge(roots);
        } else if plain {
            client = client.tls_certs_only([]);
        }
        Ok(Self(client.build().map_err(|e| TransportError::Client(chain(&e)))?))
    }

    /// Asks without a token, only to see whether somebody answers.
    pub(super) async fn knock(&self, url: &str) -> Result<Knocked, NoAnswer> {
        let response = self.0.get(url).send().await.map_err(no_answer)?;
        let date = response.headers().get("date").and_then(|date| Some(date.to_str().ok()?.to_owned()));
        Ok(Knocked { status: response.status().as_u16(), date })
    }

    async fn carry(&self, call: Call) -> Result<Raw, NoAnswer> {
        let request = match &call.payload {
            Payload::Form(fields) => self.0.post(&call.url).form(&pairs(fields)),
            // reqwest marks the header sensitive, as it does the bearer's: it is neither printed nor indexed.
            Payload::BasicForm { user, password, fields } => {
                self.0.post(&call.url).basic_auth(user, Some(password.expose())).form(&pairs(fields))
            }
            Payload::Bearer(token) => self.0.get(&call.url).bearer_auth(token.expose()),
            Payload::Json { token, body } => {
                let post = self.0.post(&call.url).bearer_auth(token.expose());
                post.header("content-type", "application/json").body(body.clone())
            }
        };
        let mut response = request.header("accept", "application/json").send().await.map_err(no_answer)?;
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let mut raw = Raw {
            status: response.status().as_u16(),
            retry_after: header("retry-after"),
            tracking_id: header("trackingid"),
            body: Vec::new(),
        };
        while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
            if raw.body.len() + chunk.len() > BODY_MAX {
                return Err(NoAnswer(format!("the answer is longer than {BODY_MAX} bytes")));
            }
            raw.body.extend_from_slice(&chunk);
        }
        Ok(raw)
    }
}

impl Transport for HttpTransport {
    fn send(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Raw, NoAnswer>> + Send + '_>> {
        Box::pin(self.carry(call))
    }
}

fn pairs<'a>(fields: &'a [(&'static str, Secret)]) -> Vec<(&'static str, &'a str)> {
    fields.iter().map(|(name, value)| (*name, value.expose())).collect()
}

fn no_answer(error: reqwest::Error) -> NoAnswer {
    let error = error.without_url();
    let kind = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    };
    NoAnswer(format!("{kind} ({})", chain(&error)))
}

/// An error with its causes: reqwest's own texts end where it gets interesting.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let _ = write!(text, ": {next}");
        cause = next.source();
    }
    text
}
