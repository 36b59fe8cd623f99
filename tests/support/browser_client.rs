//! The browser's part of a consent: an HTTP client that stores cookies and follows no redirect by itself.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::Client;
use reqwest::Method;
use reqwest::header::COOKIE;
use reqwest::header::HeaderMap;
use reqwest::header::LOCATION;
use reqwest::header::SET_COOKIE;
use reqwest::redirect::Policy;
use rustls::crypto::aws_lc_rs::default_provider;
use url::Url;

use super::Daemon;

/// Longer than any response takes, and longer than the daemon waits for Webex (40 s).
const TIMEOUT: Duration = Duration::from_secs(60);

/// A person's browser, with its cookies for `localhost`.
#[derive(Debug)]
pub(crate) struct BrowserClient {
    http: Client,
    /// By name and path; oldest first, as browsers send them.
    cookies: Mutex<Vec<((String, String), String)>>,
}

/// A complete response.
#[derive(Clone, Debug)]
pub(crate) struct PageResponse {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A consent that the daemon has started.
#[derive(Clone, Debug)]
pub(crate) struct StartedConsent {
    /// The redirect to Webex.
    pub(crate) webex: Url,
    /// The parameters of the redirect.
    pub(crate) query: BTreeMap<String, String>,
}

/// Trusts every certificate, as people do who click the warning away, and follows no redirect.
pub(crate) fn http() -> Client {
    // Another test may have installed it before.
    let _ = default_provider().install_default();
    let client = Client::builder().tls_danger_accept_invalid_certs(true).redirect(Policy::none());
    client.no_proxy().timeout(TIMEOUT).build().unwrap()
}

impl BrowserClient {
    /// A browser without cookies.
    pub(crate) fn new() -> Self {
        Self { http: http(), cookies: Mutex::default() }
    }

    /// Requests `url`, sends the cookies that a browser would send, and stores those that it would store.
    pub(crate) async fn get(&self, url: Url) -> PageResponse {
        self.ask(Method::GET, url).await
    }

    pub(crate) async fn ask(&self, method: Method, url: Url) -> PageResponse {
        self.send(method, url, None).await.unwrap()
    }

    /// With an additional header.
    pub(crate) async fn get_with_header(&self, url: Url, name: &str, value: &str) -> PageResponse {
        self.send(Method::GET, url, Some((name, value))).await.unwrap()
    }

    /// The same, if the daemon may be down or end during the response.
    pub(crate) async fn try_get(&self, url: Url) -> reqwest::Result<PageResponse> {
        self.send(Method::GET, url, None).await
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        header: Option<(&str, &str)>,
    ) -> reqwest::Result<PageResponse> {
        let ours = url.host_str() == Some("localhost");
        let cookies = self.cookies_at(url.path());
        let mut request = self.http.request(method, url);
        if let Some(cookies) = cookies.filter(|_| ours) {
            request = request.header(COOKIE, cookies);
        }
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = request.send().await?;
        let answered = PageResponse {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.text().await?,
        };
        if ours {
            answered.all(SET_COOKIE.as_str()).for_each(|line| self.keep(line));
        }
        Ok(answered)
    }

    /// The `Cookie` header of a request for the redirect URI.
    pub(crate) fn cookie_header(&self) -> Option<String> {
        self.cookies_at("/oauth")
    }

    /// Cookies whose path matches (RFC 6265, 5.1.4).
    fn cookies_at(&self, asked: &str) -> Option<String> {
        let jar = self.cookies.lock().unwrap();
        let fits = |path: &str| match asked.strip_prefix(path) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || path.ends_with('/'),
            None => false,
        };
        let fitting = jar.iter().filter(|((_, path), _)| fits(path));
        let pairs: Vec<_> = fitting.map(|((name, _), value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    pub(crate) fn cookie_names(&self) -> Vec<String> {
        self.cookies.lock().unwrap().iter().map(|((name, _), _)| name.clone()).collect()
    }

    /// Adds a cookie that the daemon never set.
    pub(crate) fn plant(&self, name: &str, value: &str) {
        self.put((name.to_owned(), "/".to_owned()), value);
    }

    fn put(&self, key: (String, String), value: &str) {
        let mut jar = self.cookies.lock().unwrap();
        match jar.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => value.clone_into(old),
            None => jar.push((key, value.to_owned())),
        }
    }

    fn keep(&self, line: &str) {
        let mut parts = line.split("; ");
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let attributes: Vec<_> = parts.collect();
        let bound = ["Path=/", "Secure"].iter().all(|needed| attributes.contains(needed));
        assert!(!name.starts_with("__Host-") || bound, "browsers refuse {line}");
        assert!(!name.starts_with("__Secure-") || attributes.contains(&"Secure"), "browsers refuse {line}");
        let path = attributes.iter().find_map(|attribute| attribute.strip_prefix("Path=")).unwrap();
        let key = (name.to_owned(), path.to_owned());
        if attributes.contains(&"Max-Age=0") {
            self.cookies.lock().unwrap().retain(|(known, _)| *known != key);
        } else {
            self.put(key, value);
        }
    }

    /// Starts a consent.
    pub(crate) async fn begin(&self, daemon: &Daemon) -> StartedConsent {
        let answered = self.get(daemon.redirect_uri()).await;
        assert_eq!(answered.status, 302, "{}", answered.body);
        answered.begun()
    }

    /// Accepts at Webex, as the person of this index. Returns the callback URL.
    pub(crate) async fn accept(&self, begun: &StartedConsent, person: usize) -> Url {
        self.decide(begun, &format!("decision=accept&person={person}")).await
    }

    /// Declines at Webex. Returns the callback URL.
    pub(crate) async fn decline(&self, begun: &StartedConsent) -> Url {
        self.decide(begun, "decision=decline").await
    }

    async fn decide(&self, begun: &StartedConsent, decision: &str) -> Url {
        let answered = self.get(Url::parse(&format!("{}&{decision}", begun.webex)).unwrap()).await;
        assert_eq!(answered.status, 302, "{}", answered.body);
        Url::parse(answered.header("location").unwrap()).unwrap()
    }

    /// Starts and accepts a consent. Returns the callback URL, which the browser has not opened yet.
    pub(crate) async fn come_back(&self, daemon: &Daemon, person: usize) -> Url {
        let begun = self.begin(daemon).await;
        self.accept(&begun, person).await
    }

    /// The complete consent. Returns its last page.
    pub(crate) async fn consent(&self, daemon: &Daemon, person: usize) -> PageResponse {
        let back = self.come_back(daemon, person).await;
        self.get(back).await
    }
}

impl PageResponse {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Every value of a header that may occur more than once.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).into_iter().map(|value| value.to_str().unwrap())
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.body.contains(text)
    }

    fn begun(&self) -> StartedConsent {
        let webex = Url::parse(self.header(LOCATION.as_str()).unwrap()).unwrap();
        let query = webex.query_pairs().into_owned().collect();
        StartedConsent { webex, query }
    }
}
