//! All settings, typed and with their defaults. Reports all errors at once. Only this module reads the
//! environment.

mod aliases;
mod consent;
pub mod env_file;
mod error;
mod hook;
mod listen;
mod notices;
mod parse;
mod paths;
mod proxy;
mod secret_files;
mod service_links;
mod settings;
mod source;
mod space;
mod token_service;

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::config::listen::http;
use crate::config::parse::SettingsReader;
use crate::consent::TestHook;
use crate::domain::allowed_persons::AllowList;
use crate::domain::host::is_host;
use crate::domain::host::is_loopback;
use crate::domain::host::is_protected;
use crate::domain::person::PersonQuery;
use crate::domain::schedule::Policy;
use crate::domain::socket_group::SocketGroup;
use crate::domain::token_service::TokenService;
use crate::notices::settings::NoticeSettings;
use crate::refresh::RateLimits;
use crate::webex::Integration;
use crate::webex::Proxy;
use crate::webex::Space;

pub use crate::config::aliases::ALIASES;
pub use crate::config::error::ConfigError;
pub use crate::config::error::ConfigErrors;
pub use crate::config::listen::HttpConfig;
pub use crate::config::listen::ListenAddress;
pub use crate::config::paths::StoreConfig;
pub use crate::config::settings::SETTINGS;
pub use crate::config::settings::Setting;
pub use crate::config::settings::VARIABLES;
pub use crate::config::settings::secrets;
pub use crate::config::source::EnvFile;
pub use crate::config::source::SettingsSource;

/// The daemon's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The integration registered at Webex.
    pub integration: Integration,
    /// The `User-Agent` of requests to Webex.
    pub user_agent: String,
    /// PEM certificates to trust for requests to Webex, in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy for requests to Webex.
    pub proxy: Option<Proxy>,
    /// When to refresh.
    pub policy: Policy,
    /// The limits of concurrency and rate of refreshes.
    pub pace: RateLimits,
    /// The pace may grow to this many refreshes a second while tokens are dead or within their survival margin; no growth if it is
    /// not above the rate limit.
    pub catch_up_per_second: f64,
    /// The persons who may consent; `None`: every person with a Webex account.
    pub allow: Option<AllowList>,
    /// The settings of the HTTP server.
    pub http: HttpConfig,
    /// The path of the control socket; `None` if no directory for it is known.
    pub control_socket: Option<PathBuf>,
    /// The group whose members may use the control socket, in addition to the daemon's user and root.
    pub socket_group: Option<SocketGroup>,
    /// Where grants are stored.
    pub store: StoreConfig,
    /// The endpoint of the token service sample; `None` if it is off.
    pub token_service: Option<TokenService>,
    /// The space that a bot adds people to; `None` if it is off.
    pub space: Option<Space>,
    /// Who is told what happens, and how.
    pub notices: NoticeSettings,
    /// The test hook; `None` if it is off.
    pub hook: Option<TestHook>,
    /// Warnings about valid settings that are probably a mistake.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads all settings.
    ///
    /// # Errors
    /// All errors in the settings, not only the first.
    pub fn read(source: &SettingsSource) -> Result<Self, ConfigErrors> {
        Self::read_by(SettingsReader::new(source))
    }

    /// Reads all settings for a process that serves. It checks the content of the certificate's files, too.
    ///
    /// # Errors
    /// All errors in the settings, not only the first.
    pub fn read_to_serve(source: &SettingsSource) -> Result<Self, ConfigErrors> {
        Self::read_by(SettingsReader::to_serve(source))
    }

    fn read_by(mut reader: SettingsReader<'_>) -> Result<Self, ConfigErrors> {
        let read = Self::parts(&mut reader);
        match (read, reader.errors) {
            (Some(config), errors) if errors.is_empty() => Ok(config),
            (_, errors) => Err(ConfigErrors(errors, hints(reader.source))),
        }
    }

    /// All settings; `None` only if there are errors. Every part is read, so that all errors are found.
    fn parts(reader: &mut SettingsReader<'_>) -> Option<Self> {
        let redirect_uri = redirect_uri(reader);
        let integration = integration(reader);
        let policy = policy(reader);
        let pace = pace(reader);
        let catch_up = reader.decimal(
            "EVENT_LOOP_CATCH_UP_PER_SECOND",
            200.0,
            0.0..=10_000.0,
            "refreshes a second (0: no growth)",
        );
        let user_agent = user_agent(reader);
        let ca_file = reader.roots("WEBEX_CA_FILE");
        let proxy = proxy::proxy(reader);
        let store = paths::store(reader);
        let control_socket = paths::control_socket(reader);
        let socket_group = paths::socket_group(reader);
        let hook = hook::hook(reader);
        default_person(reader);
        let allow = consent::allow(reader);
        let operator = consent::operator(reader);
        let http = http(reader, redirect_uri, operator);
        let token_service = token_service::token_service(reader);
        let space = space::space(reader);
        let notices = notices::notices(reader);
        let mut warnings = warnings(reader, hook.is_some(), control_socket.is_some(), http.as_ref());
        warnings.extend(consent::warning(reader, http.as_ref()));
        warnings.extend(secret_files::open_secrets(reader, http.as_ref()));
        warnings.extend(token_service.as_ref().and_then(token_service::warning));
        let (integration, policy, pace) = (integration?, policy?, pace?);
        Some(Self {
            integration,
            user_agent: user_agent?,
            ca_file,
            proxy,
            policy,
            pace,
            catch_up_per_second: catch_up?,
            allow,
            http: http?,
            control_socket,
            socket_group,
            store: store?,
            token_service,
            space,
            notices,
            hook,
            warnings,
        })
    }
}

/// Warnings about valid settings that are probably a mistake.
fn warnings(
    reader: &SettingsReader<'_>,
    hooked: bool,
    control: bool,
    http: Option<&HttpConfig>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if !hooked && hook::VARIABLES.iter().any(|name| reader.text(name).is_some()) {
        warnings.push(format!("the test hook is off: it needs all of {}", hook::VARIABLES.join(", ")));
    }
    if !control {
        warnings.push("there is no control socket: set TOKEND_STATE_DIR or TOKEND_CONTROL_SOCKET".to_owned());
    }
    warnings.extend(foreign(reader));
    warnings.extend(hints(reader.source));
    let placeholders = ["MY_APP_CLIENT_ID", "MY_APP_SECRET_ID"].into_iter();
    for name in
        placeholders.filter(|name| reader.text(name).is_some_and(|text| text.starts_with("your-client-")))
    {
        let name = reader.set_as(name);
        warnings.push(format!(
            "{name} is the sample's placeholder; Webex will reject it until you replace it with yours"
        ));
    }
    let Some(http) = http else { return warnings };
    let (url, port) = (&http.redirect_uri, http.addresses.first().map(|listen| listen.address.port()));
    // On another host, and with TOKEND_TLS, there is a proxy in between.
    if is_loopback(url) && reader.text("TOKEND_TLS").is_none() && url.port_or_known_default() != port {
        warnings.push(format!("browsers return to {url}, but MY_APP_PORT is {}", port.unwrap_or_default()));
    }
    if let Some(address) = http.wide_address().filter(|_| !http.secure) {
        warnings.push(format!(
            "plain HTTP is served at {address}: others on the network can read API keys and tokens, so the dashboard and the \
             space are closed; use an https MY_APP_REDIRECT_URI, or loopback addresses only (TOKEND_BIND)"
        ));
    }
    if !http.secure && http.pem.is_some() {
        warnings.push(
            "TOKEND_TLS_CERT and TOKEND_TLS_KEY are not used: the port speaks plain HTTP by MY_APP_REDIRECT_URI or TOKEND_TLS"
                .to_owned(),
        );
    }
    warnings
}

/// Hints at variables that have no effect.
fn hints(source: &SettingsSource) -> Vec<String> {
    let unknown = source.unknown().map(|name| {
        format!(
            "{name} is set, but there is no such setting; is it misspelt? (docs/configuration.md lists all)"
        )
    });
    unknown.chain(source.left_out().map(str::to_owned)).collect()
}

/// Warnings about settings that are set under another sample's name.
fn foreign(reader: &SettingsReader<'_>) -> Vec<String> {
    let mut ours: Vec<&str> = ALIASES.iter().map(|(ours, _)| *ours).collect();
    ours.dedup();
    let used = ours.into_iter().map(|ours| (ours, reader.set_as(ours)));
    let used = used.filter(|(ours, name)| name != ours && !reader.is_in_file(ours));
    used.map(|(ours, name)| format!("{name}, the name in another sample, is used because {ours} is not set"))
        .collect()
}

/// Names the person of commands without a PERSON argument.
pub const DEFAULT_PERSON: &str = "TOKEND_DEFAULT_PERSON";

/// The default base URL of Webex (webex-api, "Endpoints").
pub const WEBEX_BASE: &str = "https://webexapis.com/v1";

const DEFAULT_REDIRECT_URI: &str = "https://localhost:8000/oauth";
const DAY: f64 = 86_400.0;

fn redirect_uri(reader: &mut SettingsReader<'_>) -> Option<Url> {
    let expected = "an http or https URL whose path ends in /oauth, as registered at Webex, such as https://localhost:8000/oauth";
    let text = reader.text("MY_APP_REDIRECT_URI").unwrap_or(DEFAULT_REDIRECT_URI);
    let url = Url::parse(text).ok().filter(|url| {
        let web = matches!(url.scheme(), "http" | "https") && url.has_host();
        // The redirect from plain HTTP names this host.
        web && is_bare(url) && url.host_str().is_some_and(is_host) && url.path().ends_with("/oauth")
    });
    if url.is_none() {
        reader.wrong("MY_APP_REDIRECT_URI", expected);
    }
    url
}

/// Whether a path can be appended to the URL: it has no query, fragment, user or password.
fn is_bare(url: &Url) -> bool {
    url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none()
}

fn integration(reader: &mut SettingsReader<'_>) -> Option<Integration> {
    let client_id = client_id(reader);
    let client_secret = reader.secret("MY_APP_SECRET_ID", "MY_APP_SECRET_ID_FILE", "the client secret");
    let scopes = parse::scopes(reader.text("MY_APP_SCOPES").unwrap_or("spark:all"));
    if scopes.is_none() {
        reader.wrong(
            "MY_APP_SCOPES",
            "scopes separated by spaces, plain or percent-encoded, such as spark:all spark:kms",
        );
    }
    let base = base(reader);
    let redirect_uri = reader.text("MY_APP_REDIRECT_URI").unwrap_or(DEFAULT_REDIRECT_URI).to_owned();
    Some(Integration {
        client_id: client_id?,
        client_secret: client_secret?,
        redirect_uri,
        scopes: scopes?,
        base: base?,
    })
}

fn client_id(reader: &mut SettingsReader<'_>) -> Option<String> {
    let expected = "the integration's client id, from developer.webex.com/my-apps";
    let client_id = reader.required("MY_APP_CLIENT_ID", expected)?;
    if let Some(found) = parse::odd_character(&client_id) {
        reader.add_error("MY_APP_CLIENT_ID", found, expected);
        return None;
    }
    Some(client_id)
}

/// The client secret is sent to this URL, so plain HTTP is accepted on loopback only.
fn base(reader: &mut SettingsReader<'_>) -> Option<String> {
    let text = reader.text("WEBEX_API_BASE_URL").unwrap_or(WEBEX_BASE);
    let fits = Url::parse(text).is_ok_and(|url| is_protected(&url) && url.has_host() && is_bare(&url));
    if !fits {
        reader.wrong(
            "WEBEX_API_BASE_URL",
            "an https URL (http on loopback only), such as https://webexapis.com/v1",
        );
    }
    fits.then(|| text.trim_end_matches('/').to_owned())
}

fn policy(reader: &mut SettingsReader<'_>) -> Option<Policy> {
    let sleep = reader.whole("EVENT_LOOP_SLEEP_SECONDS", 3600, 1..=31 * 86_400, "seconds");
    let days = reader.decimal("EVENT_LOOP_DAYS", 1.0, 0.000_001..=3650.0, "days");
    let window = reader.whole("EVENT_LOOP_NOOP_WINDOW_SECONDS", 86_400, 0..=365 * 86_400, "seconds");
    let floor = reader.whole("EVENT_LOOP_FLOOR_SECONDS", 300, 0..=86_400, "seconds");
    Some(Policy {
        sleep: Duration::from_secs(sleep?),
        max_age: Duration::from_secs_f64(days? * DAY),
        noop_window: Duration::from_secs(window?),
        floor: Duration::from_secs(floor?),
    })
}

const SLOWEST: f64 = 0.01;

fn pace(reader: &mut SettingsReader<'_>) -> Option<RateLimits> {
    let at_once = reader.whole("EVENT_LOOP_CONCURRENCY", 16, 1..=1024, "refreshes");
    let per_second =
        reader.decimal("EVENT_LOOP_MAX_PER_SECOND", 20.0, 0.0..=10_000.0, "refreshes a second (0: no cap)");
    // Below one refresh in a minute and a half, a refresh on demand would not get its turn before its
    // timeout.
    if per_second.is_some_and(|rate| rate > 0.0 && rate < SLOWEST) {
        reader.wrong("EVENT_LOOP_MAX_PER_SECOND", &format!("0 for no cap, or at least {SLOWEST}"));
        return None;
    }
    Some(RateLimits { concurrency: usize::try_from(at_once?).ok()?, per_second: per_second? })
}

fn user_agent(reader: &mut SettingsReader<'_>) -> Option<String> {
    let default = concat!("webex-tokend/", env!("CARGO_PKG_VERSION"));
    let text = reader.text("MY_USER_AGENT").unwrap_or(default);
    let fits = text.len() <= 256 && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    if !fits {
        reader.wrong("MY_USER_AGENT", "at most 256 printable ASCII characters");
    }
    fits.then(|| text.to_owned())
}

/// Only checked here. The commands read it.
fn default_person(reader: &mut SettingsReader<'_>) {
    if reader.text(DEFAULT_PERSON).is_some_and(|text| PersonQuery::parse(text).is_err()) {
        reader.wrong(DEFAULT_PERSON, "a Webex person id or an e-mail address");
    }
}

#[cfg(test)]
mod tests;
