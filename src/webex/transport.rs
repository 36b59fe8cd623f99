//! One call to Webex and its answer, with limits: connect 10 s, whole 40 s, 1 MiB, no redirects.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::pin::pin;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::Client;
use reqwest::NoProxy;
use reqwest::redirect::Policy;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::sleep;

use crate::domain::secret::Secret;
use crate::webex::Proxy;

/// A dead host is noticed after this.
const CONNECT: Duration = Duration::from_secs(10);

/// From the first byte sent to the last received; the samples wait as long.
pub const WHOLE: Duration = Duration::from_secs(40);

/// What has arrived by the end of [`WHOLE`] is read within this. A process that was stopped (SIGSTOP, a paused virtual
/// machine) finds the end of its time and the answer at one moment; the answer may hold the only refresh token there is.
const ARRIVED: Duration = Duration::from_secs(2);

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
    /// Sends one call, once: no retries, no redirects. Ends within [`WHOLE`] and two seconds.
    fn send(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Raw, NoAnswer>> + Send + '_>>;
}

/// Real sockets.
#[derive(Clone, Debug)]
pub struct HttpTransport(Client);

/// Why no client could be built.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A file given by `WEBEX_CA_FILE` is no PEM bundle.
    #[error("WEBEX_CA_FILE: {0}; expected a PEM file of certificates")]
    Roots(String),
    /// The proxy's address is none.
    #[error("the proxy's address cannot be used: {0}")]
    Proxy(String),
    /// The TLS library refuses.
    #[error(
        "no TLS client can be built: {0} (are the system's root certificates installed, package ca-certificates?)"
    )]
    Client(String),
}

impl HttpTransport {
    /// A client that trusts the system's roots and those of `extra_roots` (PEM), and goes through `proxy`. With `plain`
    /// (an `http` base, on loopback) it needs no roots at all, and no proxy.
    ///
    /// # Errors
    /// [`TransportError`] says what is wrong.
    pub fn new(
        user_agent: &str,
        extra_roots: Option<&[u8]>,
        plain: bool,
        proxy: Option<&Proxy>,
    ) -> Result<Self, TransportError> {
        // An error only says that it is there already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut client = Client::builder()
            .user_agent(user_agent)
            .connect_timeout(CONNECT)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            // What the environment says of proxies has been read with the other settings.
            .no_proxy();
        // Only this machine may see what is not encrypted.
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

    /// Asks without a token, only to see whether somebody answers.
    pub(super) async fn knock(&self, url: &str) -> Result<Knocked, NoAnswer> {
        let response = in_time(WHOLE, async { self.0.get(url).send().await.map_err(no_answer) }).await?;
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

/// Checks that `pem` holds certificates, and that each can be trusted by a TLS client.
///
/// # Errors
/// Says what is wrong, without any of the content.
pub fn check_roots(pem: &[u8]) -> Result<(), String> {
    roots(pem).map(drop)
}

/// The certificates in a PEM file, each known to be one. The client would blame the system's roots for a bad one.
fn roots(pem: &[u8]) -> Result<Vec<Certificate>, String> {
    let mut roots = Vec::new();
    for (number, der) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
        let wrong = |why: &dyn std::fmt::Display| {
            format!(
                "certificate {number} in it cannot be used ({why}); take it out, or put it in again whole"
            )
        };
        let der = der.map_err(|e| wrong(&e))?;
        RootCertStore::empty().add(der.clone()).map_err(|e| wrong(&e))?;
        roots.push(Certificate::from_der(&der).map_err(|e| wrong(&chain(&e)))?);
    }
    if roots.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(roots) }
}

impl Transport for HttpTransport {
    fn send(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Raw, NoAnswer>> + Send + '_>> {
        Box::pin(in_time(WHOLE, self.carry(call)))
    }
}

/// The answer, if it has arrived within `limit`. Unlike reqwest's own time-out, this one looks for the answer once more
/// when the time is over: first for what is there, then for what the connection's task has still to read.
async fn in_time<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, NoAnswer>>,
) -> Result<T, NoAnswer> {
    let mut answer = pin!(answer);
    for wait in [limit, ARRIVED] {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            () = sleep(wait) => {}
        }
    }
    Err(NoAnswer(format!("no answer in time ({limit:?})")))
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

    /// Blocks this thread, and a runtime that has no other.
    fn block(time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            thread::park_timeout(end.saturating_duration_since(Instant::now()));
        }
    }

    /// Answers one request in parts, each after a pause; tells when the request is there.
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
                // The client may have left.
                let _ = peer.write_all(part.as_bytes());
            }
            let _ = peer.read(&mut request);
        });
        (url, arrived)
    }

    /// One call, by a runtime that does nothing from the arrival of the request on until `stopped` has gone by.
    async fn call(parts: &'static [(u64, &'static str)], stopped: Option<Duration>) -> Result<Raw, NoAnswer> {
        let (url, arrived) = server(parts);
        let transport = HttpTransport::new("test", None, true, None).unwrap();
        let payload = Payload::Form(vec![("grant_type", Secret::new("refresh_token".to_owned()))]);
        let stop = async move {
            while arrived.try_recv().is_err() {
                sleep(Duration::from_millis(1)).await;
            }
            // Blocks the only thread that the runtime has, timers and sockets included.
            stopped.into_iter().for_each(block);
        };
        let (answer, ()) = tokio::join!(in_time(LIMIT, transport.carry(Call { url, payload })), stop);
        answer
    }

    const ANSWER: &[(u64, &str)] =
        &[(10, "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{\"to"), (10, "ken\":1}\n")];

    #[test]
    fn a_bad_entry_among_extra_roots_is_named_by_its_place() {
        let made = || {
            let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
        };
        let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let opens = |pem: String| HttpTransport::new("test", Some(pem.as_bytes()), false, None).map(drop);
        let why = |pem: String| opens(pem).unwrap_err().to_string();
        let cut = made().replacen("-----END", "----END", 1);
        for (pem, expected) in [
            (format!("{}{bad}{}", made(), made()), "certificate 2 in it cannot be used"),
            (bad.to_owned(), "certificate 1 in it cannot be used"),
            (cut, "certificate 1 in it cannot be used"),
            ("nothing".to_owned(), "there is no certificate in it"),
        ] {
            let told = why(pem);
            assert!(told.starts_with("WEBEX_CA_FILE: ") && told.contains(expected), "{told}");
        }
        assert!(opens(format!("a comment\n{}{}", made(), made())).is_ok());
    }

    #[tokio::test]
    async fn an_answer_that_arrived_while_the_process_was_stopped_is_read() {
        let raw = call(ANSWER, Some(LIMIT * 3)).await.unwrap();
        assert_eq!((raw.status, raw.body), (200, b"{\"token\":1}\n".to_vec()));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_given_up_soon_after_its_time() {
        let begun = Instant::now();
        let why = call(&[(10, "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n")], None).await.unwrap_err();
        assert_eq!(why.to_string(), "no answer in time (300ms)");
        let took = begun.elapsed();
        assert!(took >= LIMIT && took < LIMIT + ARRIVED * 2, "{took:?}");
    }
}
