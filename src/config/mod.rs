//! Every setting, typed and defaulted; all mistakes at once. The only reader of the environment.

mod aliases;
mod consent;
mod door;
pub mod dotenv;
mod env_file;
mod hook;
mod parse;
mod places;
mod proxy;
mod secret_files;
mod service_links;
mod settings;
mod source;
mod space;
mod token_service;

use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::config::door::door;
use crate::config::door::is_loopback;
use crate::config::parse::Reader;
use crate::consent::Hook;
use crate::domain::allow::Allow;
use crate::domain::host::is_host;
use crate::domain::person::Who;
use crate::domain::schedule::Policy;
use crate::domain::socket_group::SocketGroup;
use crate::domain::token_service::TokenService;
use crate::refresh::Pace;
use crate::webex::Integration;
use crate::webex::Proxy;
use crate::webex::Space;

pub use crate::config::aliases::ALIASES;
pub use crate::config::door::DoorConfig;
pub use crate::config::door::Listen;
pub use crate::config::places::StoreConfig;
pub use crate::config::settings::SETTINGS;
pub use crate::config::settings::Setting;
pub use crate::config::settings::VARIABLES;
pub use crate::config::settings::secrets;
pub use crate::config::source::EnvFile;
pub use crate::config::source::Source;

/// What the daemon runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// What was registered at Webex.
    pub integration: Integration,
    /// Sent with every call to Webex.
    pub user_agent: String,
    /// PEM roots to trust beside the system's, for calls to Webex.
    pub ca_file: Option<PathBuf>,
    /// The proxy between here and Webex.
    pub proxy: Option<Proxy>,
    /// When to refresh.
    pub policy: Policy,
    /// How many and how fast.
    pub pace: Pace,
    /// Who may consent; `None`: every person with a Webex account.
    pub allow: Option<Allow>,
    /// Where people come in.
    pub door: DoorConfig,
    /// Where commands come in; `None` where no place for it is known.
    pub control_socket: Option<PathBuf>,
    /// Whose members may use it, beside the daemon's user and root.
    pub socket_group: Option<SocketGroup>,
    /// Where grants are kept.
    pub store: StoreConfig,
    /// The token service sample's own endpoint, if it is on.
    pub token_service: Option<TokenService>,
    /// The space that a bot adds people to, if it is set.
    pub space: Option<Space>,
    /// The test hook, if it is set.
    pub hook: Option<Hook>,
    /// Things that are allowed and look like mistakes.
    pub remarks: Vec<String>,
}

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Its variable.
    pub variable: &'static str,
    /// What was found; never a secret.
    pub found: String,
    /// What would be right.
    pub expected: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, expected {}", self.variable, self.found, self.expected)
    }
}

/// Every mistake there is, and beside them what may be the reason: names that are no settings, values that do not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).chain(.1.iter().cloned()).collect::<Vec<_>>().join("\n"))]
pub struct Mistakes(pub Vec<Mistake>, pub Vec<String>);

impl Mistakes {
    /// Mistakes without anything beside them.
    fn new(mistakes: Vec<Mistake>) -> Self {
        Self(mistakes, Vec::new())
    }
}

impl Config {
    /// Reads all settings.
    ///
    /// # Errors
    /// Every mistake, not only the first.
    pub fn read(source: &Source) -> Result<Self, Mistakes> {
        Self::read_by(Reader::new(source))
    }

    /// The same for a process that is going to serve: mistakes in the content of the certificate's files are found, too.
    ///
    /// # Errors
    /// Every mistake, not only the first.
    pub fn read_to_serve(source: &Source) -> Result<Self, Mistakes> {
        Self::read_by(Reader::to_serve(source))
    }

    fn read_by(mut reader: Reader<'_>) -> Result<Self, Mistakes> {
        let read = Self::parts(&mut reader);
        match (read, reader.mistakes) {
            (Some(config), mistakes) if mistakes.is_empty() => Ok(config),
            (_, mistakes) => Err(Mistakes(mistakes, hints(reader.source))),
        }
    }

    /// `None` only where a mistake was noted. Every part is read before the first is missed.
    fn parts(reader: &mut Reader<'_>) -> Option<Self> {
        let redirect_uri = redirect_uri(reader);
        let integration = integration(reader);
        let policy = policy(reader);
        let pace = pace(reader);
        let user_agent = user_agent(reader);
        let ca_file = reader.roots("WEBEX_CA_FILE");
        let proxy = proxy::proxy(reader);
        let store = places::store(reader);
        let control_socket = places::control_socket(reader);
        let socket_group = places::socket_group(reader);
        let hook = hook::hook(reader);
        default_person(reader);
        let allow = consent::allow(reader);
        let operator = consent::operator(reader);
        let door = door(reader, redirect_uri, operator);
        let token_service = token_service::token_service(reader);
        let space = space::space(reader);
        let mut remarks = remarks(reader, hook.is_some(), control_socket.is_some(), door.as_ref());
        remarks.extend(consent::remark(reader, door.as_ref()));
        remarks.extend(open_secrets(reader, door.as_ref()));
        remarks.extend(token_service.as_ref().and_then(token_service::remark));
        let (integration, policy, pace) = (integration?, policy?, pace?);
        Some(Self {
            integration,
            user_agent: user_agent?,
            ca_file,
            proxy,
            policy,
            pace,
            allow,
            door: door?,
            control_socket,
            socket_group,
            store: store?,
            token_service,
            space,
            hook,
            remarks,
        })
    }
}

/// Things that are allowed and look like mistakes.
fn remarks(reader: &Reader<'_>, hooked: bool, control: bool, door: Option<&DoorConfig>) -> Vec<String> {
    let mut remarks = Vec::new();
    if !hooked && hook::VARIABLES.iter().any(|name| reader.text(name).is_some()) {
        remarks.push(format!("the test hook is off: it needs all of {}", hook::VARIABLES.join(", ")));
    }
    if !control {
        remarks.push("there is no control socket: set TOKEND_STATE_DIR or TOKEND_CONTROL_SOCKET".to_owned());
    }
    remarks.extend(foreign(reader));
    remarks.extend(hints(reader.source));
    let placeholders = ["MY_APP_CLIENT_ID", "MY_APP_SECRET_ID"].into_iter();
    for name in
        placeholders.filter(|name| reader.text(name).is_some_and(|text| text.starts_with("your-client-")))
    {
        let name = reader.set_as(name);
        remarks.push(format!(
            "{name} is the sample's placeholder; Webex will refuse it until yours stands there"
        ));
    }
    let Some(door) = door else { return remarks };
    let (url, port) = (&door.redirect_uri, door.addresses.first().map(|listen| listen.address.port()));
    // Elsewhere, and with TOKEND_TLS, a proxy stands between.
    if is_loopback(url) && reader.text("TOKEND_TLS").is_none() && url.port_or_known_default() != port {
        remarks.push(format!("browsers come back to {url}, but MY_APP_PORT is {}", port.unwrap_or_default()));
    }
    if let Some(address) = door.wide_address().filter(|_| !door.secure) {
        remarks.push(format!(
            "plain HTTP is served at {address}: others on the way can read API keys and tokens, so the dashboard and the \
             space are closed; use an https MY_APP_REDIRECT_URI, or loopback addresses only (TOKEND_BIND)"
        ));
    }
    if !door.secure && door.pem.is_some() {
        remarks.push(
            "TOKEND_TLS_CERT and TOKEND_TLS_KEY are not used: the port speaks plain HTTP by MY_APP_REDIRECT_URI or TOKEND_TLS"
                .to_owned(),
        );
    }
    remarks
}

/// Which files with secrets other users can read.
fn open_secrets(reader: &Reader<'_>, door: Option<&DoorConfig>) -> Vec<String> {
    let named = [("MY_APP_SECRET_ID", "MY_APP_SECRET_ID_FILE"), ("BOT_TOKEN", "BOT_TOKEN_FILE")];
    let named = named.into_iter().filter(|(itself, _)| reader.source.get(itself).is_none());
    let named = named.filter_map(|(_, file)| Some((file, Path::new(reader.source.get(file)?))));
    let key = door.filter(|door| door.secure).and_then(|door| door.pem.as_ref());
    let key = key.map(|(_, key)| ("TOKEND_TLS_KEY", key.as_path()));
    let settings = reader.source.file_with_secrets().map(|file| ("the settings file", file));
    named.chain(key).chain(settings).filter_map(|(name, file)| secret_files::remark(name, file)).collect()
}

/// What is set and does not count.
fn hints(source: &Source) -> Vec<String> {
    let unknown = source.unknown().map(|name| {
        format!(
            "{name} is set, but there is no such setting; is it misspelt? (docs/configuration.md lists all)"
        )
    });
    unknown.chain(source.left_out().map(str::to_owned)).collect()
}

/// Which names of other samples are used.
fn foreign(reader: &Reader<'_>) -> Vec<String> {
    let mut ours: Vec<&str> = ALIASES.iter().map(|(ours, _)| *ours).collect();
    ours.dedup();
    let used = ours.into_iter().map(|ours| (ours, reader.set_as(ours)));
    let used = used.filter(|(ours, name)| name != ours && !reader.is_in_file(ours));
    used.map(|(ours, name)| format!("{name} is used, another sample's name, since {ours} is not set"))
        .collect()
}

/// Names the person that commands mean when none is named.
pub const DEFAULT_PERSON: &str = "TOKEND_DEFAULT_PERSON";

/// Where Webex is, unless a setting says otherwise (webex-api, "Endpoints").
pub const WEBEX_BASE: &str = "https://webexapis.com/v1";

const DEFAULT_REDIRECT_URI: &str = "https://localhost:8000/oauth";
const DAY: f64 = 86_400.0;

fn redirect_uri(reader: &mut Reader<'_>) -> Option<Url> {
    let expected = "an http or https URL whose path ends in /oauth, as registered at Webex, such as https://localhost:8000/oauth";
    let text = reader.text("MY_APP_REDIRECT_URI").unwrap_or(DEFAULT_REDIRECT_URI);
    let url = Url::parse(text).ok().filter(|url| {
        let web = matches!(url.scheme(), "http" | "https") && url.has_host();
        let bare = url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        // What plain HTTP is sent to names this host.
        web && bare && url.host_str().is_some_and(is_host) && url.path().ends_with("/oauth")
    });
    if url.is_none() {
        reader.wrong("MY_APP_REDIRECT_URI", expected);
    }
    url
}

fn integration(reader: &mut Reader<'_>) -> Option<Integration> {
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

fn client_id(reader: &mut Reader<'_>) -> Option<String> {
    let expected = "the integration's client id, from developer.webex.com/my-apps";
    let client_id = reader.required("MY_APP_CLIENT_ID", expected)?;
    if let Some(found) = parse::odd_character(&client_id) {
        reader.note("MY_APP_CLIENT_ID", found, expected);
        return None;
    }
    Some(client_id)
}

/// The client secret goes there, so plain HTTP only where nobody can listen.
fn base(reader: &mut Reader<'_>) -> Option<String> {
    let text = reader.text("WEBEX_API_BASE_URL").unwrap_or(WEBEX_BASE);
    let fits = Url::parse(text).is_ok_and(|url| {
        let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
        safe && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    });
    if !fits {
        reader.wrong(
            "WEBEX_API_BASE_URL",
            "an https URL (http on loopback only), such as https://webexapis.com/v1",
        );
    }
    fits.then(|| text.trim_end_matches('/').to_owned())
}

fn policy(reader: &mut Reader<'_>) -> Option<Policy> {
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

fn pace(reader: &mut Reader<'_>) -> Option<Pace> {
    let at_once = reader.whole("EVENT_LOOP_CONCURRENCY", 16, 1..=1024, "refreshes");
    let per_second =
        reader.decimal("EVENT_LOOP_MAX_PER_SECOND", 20.0, 0.0..=10_000.0, "refreshes a second (0: no cap)");
    // Slower than one in a minute and a half, and a refresh on demand would never see its turn.
    if per_second.is_some_and(|rate| rate > 0.0 && rate < SLOWEST) {
        reader.wrong("EVENT_LOOP_MAX_PER_SECOND", &format!("0 for no cap, or at least {SLOWEST}"));
        return None;
    }
    Some(Pace { at_once: usize::try_from(at_once?).ok()?, per_second: per_second? })
}

fn user_agent(reader: &mut Reader<'_>) -> Option<String> {
    let default = concat!("webex-tokend/", env!("CARGO_PKG_VERSION"));
    let text = reader.text("MY_USER_AGENT").unwrap_or(default);
    let fits = text.len() <= 256 && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    if !fits {
        reader.wrong("MY_USER_AGENT", "at most 256 printable ASCII characters");
    }
    fits.then(|| text.to_owned())
}

/// Only checked: it is the commands that read it.
fn default_person(reader: &mut Reader<'_>) {
    if reader.text(DEFAULT_PERSON).is_some_and(|text| Who::parse(text).is_err()) {
        reader.wrong(DEFAULT_PERSON, "a Webex person id or an e-mail address");
    }
}

#[cfg(test)]
mod tests;
