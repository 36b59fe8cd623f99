//! The HTTP server of the daemon, or of a login without a daemon: it binds the addresses, loads the
//! certificate, and serves both.

use std::io;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::config::HttpConfig;
use crate::config::ListenAddress;
use crate::domain::token_service::TokenService;
use crate::http::Authority;
use crate::http::api::Api;
use crate::http::router::Routes;
use crate::http::server::certificate::SelfSigned;
use crate::http::server::context::TlsContext;
use crate::http::server::limits::Limits;
use crate::http::server::limits::open_files;
use crate::http::server::listener;
use crate::http::server::tls;
use crate::http::server::tls::ExpiryWarning;
use crate::http::server::tls::Reloader;
use crate::http::server::tls::Renewer;
use crate::http::server::tls::ServedCertificate;
use crate::http::server::tls::TlsFeed;
use crate::tasks::Tasks;
use crate::tasks::Wake;

/// Why the HTTP server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is in use, or does not belong to this machine.
    #[error("cannot listen on {0}: {1}; {advice}", advice = advice(.1))]
    Listen(SocketAddr, io::Error),
    /// The certificate cannot be created or loaded.
    #[error("no certificate to serve: {0}")]
    Certificate(String),
    /// The redirect URI's host is not usable in a redirect.
    #[error("the redirect URI's host {0:?} is not a host name")]
    Host(String),
}

/// What an operator can do if an address cannot be bound.
fn advice(why: &io::Error) -> &'static str {
    match why.kind() {
        ErrorKind::AddrInUse => {
            "if a daemon with another state directory listens there, a command needs the TOKEND_STATE_DIR of that daemon; \
             otherwise stop what listens there, or change MY_APP_PORT or TOKEND_BIND"
        }
        ErrorKind::AddrNotAvailable => {
            "this machine does not have the address; change TOKEND_BIND to an address of this machine"
        }
        ErrorKind::PermissionDenied => {
            "a port below 1024 needs a privilege; change MY_APP_PORT or TOKEND_BIND to a higher port"
        }
        _ => "change MY_APP_PORT or TOKEND_BIND",
    }
}

/// The bound addresses and the TLS settings. Connections are accepted only after [`HttpServer::serve`].
pub struct HttpServer {
    config: HttpConfig,
    listeners: Vec<TcpListener>,
    secure: Option<TlsContext>,
    cert_source: Option<CertificateSource>,
}

impl HttpServer {
    /// Binds the addresses, and creates or loads the certificate.
    ///
    /// # Errors
    /// When an address cannot be bound, or the certificate or the redirect URI's host is unusable.
    pub async fn open(config: &HttpConfig, clock: Arc<dyn Clock>) -> Result<Self, ServeError> {
        let listeners = listen(&config.addresses).await?;
        let certificate = if config.secure { Some(certificate(config, clock)?) } else { None };
        let (feed, cert_source) = certificate.unzip();
        let secure = feed.map(|feed| secure(feed, config)).transpose()?;
        Ok(Self { config: config.clone(), listeners, secure, cert_source })
    }

    /// The addresses that the server listens on.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok())
    }

    /// The served certificate; `None` without TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<ServedCertificate> {
        let (shown, self_signed) = match self.cert_source.as_ref()? {
            CertificateSource::Files(reloader, _) => (reloader.shown(), false),
            CertificateSource::Ourselves(renewer, _) => (renewer.shown(), true),
        };
        Some(ServedCertificate { shown, host: host(&self.config).to_owned(), self_signed })
    }

    /// Accepts connections until `tasks` stop. `token_service` adds the endpoint of the token service sample.
    /// A notification of `reload` reloads the operator's certificate.
    pub fn serve(self, api: Api, token_service: Option<TokenService>, tasks: &Tasks, reload: Wake) {
        match self.cert_source {
            Some(CertificateSource::Files(reloader, alarm)) => {
                tasks.spawn("certificate", reloader.watch(alarm, tasks.clone(), tls::CHECK_INTERVAL, reload));
            }
            Some(CertificateSource::Ourselves(renewer, clock)) => {
                tasks.spawn("certificate", renewer.watch(clock, tasks.clone(), tls::CHECK_INTERVAL));
            }
            None => {}
        }
        let routes = Routes::new(api, &self.config.redirect_uri, self.config.is_local())
            .with_token_service(token_service)
            .with_operator(self.config.operator.clone());
        let routes = Arc::new(routes);
        let listeners = u32::try_from(self.listeners.len()).unwrap_or(u32::MAX);
        let files = open_files();
        let limits = Arc::new(Limits::for_open_files(files, listeners));
        if limits.connections < Limits::default().connections {
            log::warn!(
                "this process may open only {files} files, so each address accepts at most {} connections",
                limits.connections
            );
        }
        for listener in self.listeners {
            serve_on(listener, self.secure.clone(), limits.clone(), routes.clone(), tasks);
        }
    }
}

async fn listen(addresses: &[ListenAddress]) -> Result<Vec<TcpListener>, ServeError> {
    let mut listeners = Vec::new();
    for listen in addresses {
        match TcpListener::bind(listen.address).await {
            Ok(listener) => listeners.push(listener),
            Err(e) if listen.optional && is_spare(listen.address, &e) => {
                log::debug!("not listening on {}: {e}", listen.address);
            }
            Err(e) => return Err(ServeError::Listen(listen.address, e)),
        }
    }
    Ok(listeners)
}

/// Whether the server may start without this address. Many machines have no IPv6, and a socket for all of
/// IPv4 may prevent a second one for all of IPv4 and IPv6. A single address that another program uses is an
/// error, because browsers would reach that program.
fn is_spare(address: SocketAddr, why: &io::Error) -> bool {
    let no_family = Errno::AFNOSUPPORT.raw_os_error();
    match why.kind() {
        ErrorKind::AddrNotAvailable => true,
        ErrorKind::AddrInUse => address.ip().is_unspecified(),
        _ => why.raw_os_error() == Some(no_family),
    }
}

/// Where the certificate comes from, with the task that replaces it.
enum CertificateSource {
    /// The operator's files.
    Files(Reloader, ExpiryWarning),
    /// A self-signed certificate.
    Ourselves(Renewer, Arc<dyn Clock>),
}

/// The redirect URI's host; an IPv6 address without its brackets.
pub(super) fn host(routes: &HttpConfig) -> &str {
    routes.redirect_uri.host_str().unwrap_or("localhost").trim_matches(['[', ']'])
}

fn certificate(
    routes: &HttpConfig,
    clock: Arc<dyn Clock>,
) -> Result<(TlsFeed, CertificateSource), ServeError> {
    let wrong = |e: &dyn std::fmt::Display| ServeError::Certificate(e.to_string());
    let host = host(routes);
    if let Some((certificate, key)) = routes.pem.clone() {
        let (reloader, feed) = Reloader::open(certificate, key).map_err(|e| wrong(&e))?;
        log::info!("certificate: from the operator's files, {}", reloader.served());
        return Ok((feed, CertificateSource::Files(reloader, ExpiryWarning::new(host, clock))));
    }
    let names = [host, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = SelfSigned::make(&names, clock.now().seconds()).map_err(|e| wrong(&e))?;
    log::info!(
        "certificate: self-signed, created at this start, key fingerprint {}",
        made.pair().fingerprint()
    );
    let (renewer, feed) = Renewer::open(made).map_err(|e| wrong(&e))?;
    Ok((feed, CertificateSource::Ourselves(renewer, clock)))
}

fn secure(feed: TlsFeed, routes: &HttpConfig) -> Result<TlsContext, ServeError> {
    let url = &routes.redirect_uri;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let authority = format!("{}{port}", url.host_str().unwrap_or("localhost"));
    let parsed = Authority::parse(&authority);
    Ok(TlsContext { feed, authority: parsed.ok_or(ServeError::Host(authority))? })
}

fn serve_on(
    listener: TcpListener,
    secure: Option<TlsContext>,
    limits: Arc<Limits>,
    routes: Arc<Routes>,
    tasks: &Tasks,
) {
    let service = move |request, peer| {
        let routes = routes.clone();
        async move { routes.handle(request, peer).await }
    };
    let serving = listener::serve(listener, secure, limits, service, tasks.clone());
    tasks.spawn("http", serving);
}
