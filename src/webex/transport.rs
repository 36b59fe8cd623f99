//! Sends single requests to Webex, with limits: 10 s to connect, 40 s in total, 1 MiB, no redirects.

use std::future::Future;
use std::pin::Pin;
use std::pin::pin;
use std::time::Duration;

use reqwest::Client;
use reqwest::NoProxy;
use reqwest::redirect::Policy;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::domain::secret::Secret;
use crate::webex::proxy::Proxy;
use crate::webex::roots::chain;
use crate::webex::roots::roots;

/// Time limit for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit from the first byte sent to the last byte received; Webex's samples use the same.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(40);

/// After [`TOTAL_TIMEOUT`], data that has already arrived is read within this. A process that was stopped (SIGSTOP, a
/// paused virtual machine) finds the timeout and the response at the same moment, and the response may
/// contain the only valid refresh token.
const ARRIVED: Duration = Duration::from_secs(2);

/// Maximum size of a response. Token responses have a few hundred bytes, with JWT-shaped tokens a few
/// thousand.
const MAX_BODY: usize = 1024 * 1024;

/// Maximum size of a body that is read without being used, and the time for that.
const MAX_DISCARDED: usize = 64 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// A request.
#[derive(Clone, Debug)]
pub struct WebexRequest {
    /// The whole URL. The one of a webhook may contain a key of its receiver.
    pub url: Secret,
    /// The payload. A form or JSON makes it a POST, a bearer token alone a GET.
    pub payload: Payload,
}

/// The payload of a request.
#[derive(Clone, Debug)]
pub enum Payload {
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(&'static str, Secret)>),
    /// A form with HTTP Basic authentication (RFC 7617), which the device grant requires.
    BasicForm {
        /// The client id.
        user: String,
        /// The client secret.
        password: Secret,
        /// The form's fields.
        fields: Vec<(&'static str, Secret)>,
    },
    /// An `Authorization: Bearer` header.
    Bearer(Secret),
    /// A bearer token and a body of type `application/json`, which contains no secret.
    Json {
        /// The bearer token.
        token: Secret,
        /// The JSON.
        body: String,
    },
    /// A notice to a program of the operator's, which knows it by a signature in the headers. Not for Webex.
    Signed {
        /// Names in lower case.
        headers: Vec<(&'static str, String)>,
        /// The JSON, which holds no secret.
        body: String,
    },
}

/// A response.
#[derive(Clone, Debug, Default)]
pub struct RawResponse {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header as sent.
    pub retry_after: Option<String>,
    /// The `trackingId` header as sent.
    pub tracking_id: Option<String>,
    /// The body, at most 1 MiB.
    pub body: Vec<u8>,
}

/// The response to a request without a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingResponse {
    /// The HTTP status. Webex sends 401, because the token is missing.
    pub status: u16,
    /// The `Date` header as sent.
    pub date: Option<String>,
}

/// There was no complete response. The text is for people and contains no URL and no secret.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ResponseError(pub String);

/// Sends requests to Webex.
pub trait Transport: Send + Sync {
    /// Sends one request, once: without retries or redirects. Ends within [`TOTAL_TIMEOUT`] and two seconds.
    fn send(
        &self,
        call: WebexRequest,
    ) -> Pin<Box<dyn Future<Output = Result<RawResponse, ResponseError>> + Send + '_>>;
}

/// The transport over real sockets.
#[derive(Clone, Debug)]
pub struct HttpTransport(Client);

/// Why no HTTP client could be built.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The file given by `WEBEX_CA_FILE` is not a PEM bundle.
    #[error("WEBEX_CA_FILE: {0}; expected a PEM file of certificates")]
    Roots(String),
    /// The proxy's URL is invalid.
    #[error("the proxy's address cannot be used: {0}")]
    Proxy(String),
    /// The TLS library refuses.
    #[error(
        "no TLS client can be built: {0} (are the system's root certificates installed, package ca-certificates?)"
    )]
    Client(String),
}

impl HttpTransport {
    /// A client that trusts the system's roots and those of `extra_roots` (PEM), and uses `proxy`. With
    /// `plain` (an `http` base URL on loopback) it uses neither roots nor the proxy.
    ///
    /// # Errors
    /// When the roots, the proxy's URL or the TLS configuration are unusable.
    pub fn new(
        user_agent: &str,
        extra_roots: Option<&[u8]>,
        plain: bool,
        proxy: Option<&Proxy>,
    ) -> Result<Self, TransportError> {
        // An error only means that the provider is already installed.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut client = Client::builder()
            .user_agent(user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            // The settings were already read from the environment, with those of the proxy.
            .no_proxy();
        // Unencrypted requests must not leave this machine.
        if let Some(proxy) = proxy.filter(|_| !plain) {
            let except = proxy.except.as_deref().and_then(NoProxy::from_string);
            let through = reqwest::Proxy::all(proxy.url.as_str());
            let through = through.map_err(|e| TransportError::Proxy(chain(&e)))?;
            client = client.proxy(through.no_proxy(except));
        }
        if let Some(pem) = extra_roots {
            client = client.tls_certs_merge(roots(pem).map_err(TransportError::Roots)?);
        } else if plain {
            client = client.tls_certs_only([]);
        }
        Ok(Self(client.build().map_err(|e| TransportError::Client(chain(&e)))?))
    }

    /// Sends a request without a token, to check whether there is a response.
    pub(super) async fn ping(&self, url: &str) -> Result<PingResponse, ResponseError> {
        let response =
            in_time(TOTAL_TIMEOUT, async { self.0.get(url).send().await.map_err(no_answer) }).await?;
        let date = response.headers().get("date").and_then(|date| Some(date.to_str().ok()?.to_owned()));
        Ok(PingResponse { status: response.status().as_u16(), date })
    }

    async fn send_once(&self, call: WebexRequest) -> Result<RawResponse, ResponseError> {
        let url = call.url.expose();
        let request = match &call.payload {
            Payload::Form(fields) => self.0.post(url).form(&pairs(fields)),
            // reqwest marks the header as sensitive, as it does for the bearer token, so it is neither
            // printed nor indexed.
            Payload::BasicForm { user, password, fields } => {
                self.0.post(url).basic_auth(user, Some(password.expose())).form(&pairs(fields))
            }
            Payload::Bearer(token) => self.0.get(url).bearer_auth(token.expose()),
            Payload::Signed { headers, body } => {
                let post = self.0.post(url).body(body.clone());
                headers.iter().fold(post, |post, (name, value)| post.header(*name, value))
            }
            Payload::Json { token, body } => {
                let post = self.0.post(url).bearer_auth(token.expose());
                post.header("content-type", "application/json").body(body.clone())
            }
        };
        let mut response = request.header("accept", "application/json").send().await.map_err(no_answer)?;
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let mut raw = RawResponse {
            status: response.status().as_u16(),
            retry_after: header("retry-after"),
            tracking_id: header("trackingid"),
            body: Vec::new(),
        };
        if matches!(call.payload, Payload::Signed { .. }) {
            // Only the status says whether a notice was accepted, so a long body or a broken one changes nothing.
            let _ = timeout(DISCARD_TIMEOUT, discard_body(&mut response)).await;
            return Ok(raw);
        }
        while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
            if raw.body.len() + chunk.len() > MAX_BODY {
                return Err(ResponseError(format!("the response is longer than {MAX_BODY} bytes")));
            }
            raw.body.extend_from_slice(&chunk);
        }
        Ok(raw)
    }
}

/// Reads the start of a body that is not used, so that the connection can be used again if the body is short.
async fn discard_body(response: &mut reqwest::Response) {
    let mut left = MAX_DISCARDED;
    while let Ok(Some(chunk)) = response.chunk().await
        && chunk.len() <= left
    {
        left -= chunk.len();
    }
}

impl Transport for HttpTransport {
    fn send(
        &self,
        call: WebexRequest,
    ) -> Pin<Box<dyn Future<Output = Result<RawResponse, ResponseError>> + Send + '_>> {
        Box::pin(in_time(TOTAL_TIMEOUT, self.send_once(call)))
    }
}

/// The response, if it arrives within `limit`. Unlike reqwest's own timeout, this one checks for the response
/// again when the time is over: first for data that has arrived, then for data that the connection's task has
/// yet to read.
async fn in_time<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, ResponseError>>,
) -> Result<T, ResponseError> {
    let mut answer = pin!(answer);
    for wait in [limit, ARRIVED] {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            () = sleep(wait) => {}
        }
    }
    Err(ResponseError(format!("no answer in time ({limit:?})")))
}

fn pairs<'a>(fields: &'a [(&'static str, Secret)]) -> Vec<(&'static str, &'a str)> {
    fields.iter().map(|(name, value)| (*name, value.expose())).collect()
}

fn no_answer(error: reqwest::Error) -> ResponseError {
    let error = error.without_url();
    let kind = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    };
    ResponseError(format!("{kind} ({})", chain(&error)))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::io::Write;
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::thread;

    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(300);

    /// Blocks this thread, and with it a single-threaded runtime.
    fn block(time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            thread::park_timeout(end.saturating_duration_since(Instant::now()));
        }
    }

    /// Answers one request in parts, each after a pause. Sends a message when the request has arrived.
    fn server(parts: &'static [(u64, &'static str)]) -> (String, mpsc::Receiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/access_token", listener.local_addr().unwrap());
        let (tell, arrived) = mpsc::channel();
        thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            assert!(peer.read(&mut request).unwrap() > 0);
            tell.send(()).unwrap();
            for (pause, part) in parts {
                block(Duration::from_millis(*pause));
                // The client may have disconnected.
                let _ = peer.write_all(part.as_bytes());
            }
            let _ = peer.read(&mut request);
        });
        (url, arrived)
    }

    /// Sends one request in a runtime that is blocked for `stopped` once the request has arrived.
    async fn call(
        parts: &'static [(u64, &'static str)],
        stopped: Option<Duration>,
    ) -> Result<RawResponse, ResponseError> {
        let (url, arrived) = server(parts);
        let transport = HttpTransport::new("test", None, true, None).unwrap();
        let payload = Payload::Form(vec![("grant_type", Secret::new("refresh_token".to_owned()))]);
        let stop = async move {
            while arrived.try_recv().is_err() {
                sleep(Duration::from_millis(1)).await;
            }
            // Blocks the only thread of the runtime, with its timers and sockets.
            stopped.into_iter().for_each(block);
        };
        let (answer, ()) = tokio::join!(
            in_time(LIMIT, transport.send_once(WebexRequest { url: Secret::new(url), payload })),
            stop
        );
        answer
    }

    const ANSWER: &[(u64, &str)] =
        &[(10, "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{\"to"), (10, "ken\":1}\n")];

    #[test]
    fn a_bad_certificate_among_extra_roots_is_named_by_its_position() {
        let made = || {
            let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
        };
        let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let opens = |pem: String| HttpTransport::new("test", Some(pem.as_bytes()), false, None).map(drop);
        let why = |pem: String| opens(pem).unwrap_err().to_string();
        let cut = made().replacen("-----END", "----END", 1);
        for (pem, expected) in [
            (format!("{}{bad}{}", made(), made()), "certificate 2 in the file cannot be used"),
            (bad.to_owned(), "certificate 1 in the file cannot be used"),
            (cut, "certificate 1 in the file cannot be used"),
            ("nothing".to_owned(), "the file contains no certificate"),
        ] {
            let text = why(pem);
            assert!(text.starts_with("WEBEX_CA_FILE: ") && text.contains(expected), "{text}");
        }
        assert!(opens(format!("a comment\n{}{}", made(), made())).is_ok());
    }

    #[tokio::test]
    async fn a_response_that_arrived_while_the_process_was_stopped_is_read() {
        let raw = call(ANSWER, Some(LIMIT * 3)).await.unwrap();
        assert_eq!((raw.status, raw.body), (200, b"{\"token\":1}\n".to_vec()));
    }

    #[tokio::test]
    async fn a_request_without_a_response_fails_soon_after_the_timeout() {
        let begun = Instant::now();
        let why = call(&[(10, "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n")], None).await.unwrap_err();
        assert_eq!(why.to_string(), "no answer in time (300ms)");
        let took = begun.elapsed();
        assert!(took >= LIMIT && took < LIMIT + ARRIVED * 2, "{took:?}");
    }
}
