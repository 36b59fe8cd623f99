//! The source of the settings: the environment, and one file whose variables the environment overrides.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::Access;
use rustix::io::Errno;

use crate::config::aliases::others;
use crate::config::env_file;
use crate::config::env_file::syntax::assignments;
use crate::config::error::ConfigError;
use crate::config::error::ConfigErrors;
use crate::config::service_links;
use crate::config::settings::SettingKind;
use crate::config::settings::VARIABLES;
use crate::config::settings::kind;
use crate::config::settings::known;
use crate::config::settings::secrets;

/// The prefixes of most settings.
const OURS: [&str; 3] = ["MY_APP_", "EVENT_LOOP_", "TOKEND_"];

/// Variables that are accepted in lower case as well, as in other programs.
const IN_LOWER_CASE: [&str; 3] = ["HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// Settings whose defaults depend on the state directory.
const INSIDE: [&str; 3] = ["TOKEND_CONTROL_SOCKET", "TOKEND_STORE_URL", "TOKEND_KEY_FILE"];

/// Settings that every command needs, even if a daemon does the work.
const WHERE: [&str; 3] = ["TOKEND_STATE_DIR", "TOKEND_CONTROL_SOCKET", "TOKEND_DEFAULT_PERSON"];

/// The settings file below the environment.
#[derive(Clone, Copy, Debug)]
pub enum EnvFile<'a> {
    /// This file, which must exist.
    Named(&'a Path),
    /// `.env` in this directory, if it exists.
    In(&'a Path),
    /// `.env` in the state directory, if it exists. It may belong to the directory's owner.
    InStateDirectory,
}

/// Variables by name. An empty variable counts as not set.
#[derive(Clone, Default)]
pub struct SettingsSource {
    values: BTreeMap<String, String>,
    /// The variables that the file has set.
    from_file: BTreeSet<String>,
    /// The path of the file.
    file: Option<PathBuf>,
    /// Lines of the file that cannot be parsed.
    unread: Vec<ConfigError>,
    /// Messages about variables that are ignored on purpose.
    left_out: Vec<String>,
}

impl SettingsSource {
    /// The variables of the environment and of the file.
    ///
    /// # Errors
    /// When the file cannot be read, or other users can write to it.
    #[expect(clippy::disallowed_methods, reason = "the only module that reads the environment")]
    pub fn environment(file: EnvFile<'_>) -> Result<Self, ConfigErrors> {
        // A variable that is not UTF-8 is not a setting.
        let pair = |(k, v): (std::ffi::OsString, std::ffi::OsString)| {
            Some((k.into_string().ok()?, v.into_string().ok()?))
        };
        Self::layered(std::env::vars_os().filter_map(pair), file)
    }

    /// The variables of `real` and of the file.
    pub(super) fn layered(
        real: impl IntoIterator<Item = (String, String)>,
        file: EnvFile<'_>,
    ) -> Result<Self, ConfigErrors> {
        let mut left_out = Vec::new();
        let mut values: BTreeMap<String, String> = real.into_iter().collect();
        for name in IN_LOWER_CASE {
            if let Some(value) = values.remove(&name.to_lowercase()) {
                values.entry(name.to_owned()).or_insert(value);
            }
        }
        values.retain(|name, value| {
            // Kubernetes has set this variable, so a file may still set the setting of the same name.
            let link = known(name).is_some() && service_links::is_link(name, value);
            if link {
                left_out.push(format!(
                    "{name} is not used: it is an address that Kubernetes sets for a service of that name \
                     (enableServiceLinks: false in the pod ends that)"
                ));
            }
            !link
        });
        let real = Self { values, left_out, ..Self::default() };
        let mut all = match file {
            EnvFile::Named(path) => {
                real.in_file(path, None)?.ok_or_else(|| wrong(path, "there is no such file"))?
            }
            EnvFile::In(dir) => real.in_file(&dir.join(".env"), None)?.unwrap_or_default(),
            EnvFile::InStateDirectory => match real.state_dir().map(|dir| (dir.join(".env"), dir)) {
                // A user other than the daemon's need not be able to read the file, because the daemon may
                // still be reachable.
                Some((path, _)) if is_hidden(&path) => {
                    let says = "is not read: this user may not access the state directory or the file";
                    Self { left_out: vec![format!("{} {says}", path.display())], ..Self::default() }
                }
                Some((path, dir)) => {
                    let owner = fs::metadata(&dir).ok().map(|found| found.uid());
                    real.in_file(&path, owner)?.unwrap_or_default()
                }
                None => Self::default(),
            },
        };
        all.left_out.extend(real.left_out);
        all.extend(real.values);
        Ok(all)
    }

    /// The variables that the file at `path` sets, where this environment does not override them. `None` if
    /// there is no such file.
    fn in_file(&self, path: &Path, owner: Option<u32>) -> Result<Option<Self>, ConfigErrors> {
        let Some(text) = env_file::read(path, owner).map_err(|why| wrong(path, &why))? else {
            return Ok(None);
        };
        let mut read = Self::default();
        for found in assignments(&text, |name| known(name).is_some() || is_like_ours(name)) {
            let Some(variable) = known(found.name) else {
                // Kept only for its name, which is reported as unknown.
                read.values.insert(found.name.to_owned(), found.value.unwrap_or("unread").to_owned());
                continue;
            };
            match (found.value, self.overrules(variable, path)) {
                (Ok(_), Some(why)) => {
                    read.left_out.push(format!("{variable} in {} is not used: {why}", path.display()));
                }
                (Ok(value), None) => {
                    read.values.insert(variable.to_owned(), value.to_owned());
                }
                (Err(why), _) => {
                    let found =
                        format!("line {} of {}, which cannot be read: {why}", found.line, path.display());
                    let expected = "NAME=value in one line".to_owned();
                    read.unread.push(ConfigError { variable, found, expected });
                }
            }
        }
        read.file = Some(path.to_owned());
        read.from_file = read.values.keys().cloned().collect();
        Ok(Some(read))
    }

    /// Why the variable `name` of a file is ignored under this environment; `None` if it counts.
    fn overrules(&self, name: &str, path: &Path) -> Option<&'static str> {
        if kind(name) == Some(SettingKind::System) {
            return Some("it is never taken from a file");
        }
        // Another state directory has another store, key and socket. The file in that directory may name
        // their paths.
        let dir = self.get("TOKEND_STATE_DIR").filter(|_| INSIDE.contains(&name))?;
        let same =
            |a: &Path, b: &Path| fs::canonicalize(a).is_ok_and(|a| fs::canonicalize(b).is_ok_and(|b| a == b));
        let parent =
            path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let own = same(parent, Path::new(dir));
        (!own).then_some("TOKEND_STATE_DIR is set in the environment; set both there")
    }

    /// The value of this variable, without the white space around it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// The value of this variable, otherwise of its name in another sample.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.get(name).or_else(|| others(name).find_map(|other| self.get(other)))
    }

    /// The name under which `variable` is set; its own name if it is not set.
    pub(super) fn set_as(&self, variable: &'static str) -> &'static str {
        let is_set = |name: &&str| self.get(name).is_some();
        if is_set(&variable) { variable } else { others(variable).find(is_set).unwrap_or(variable) }
    }

    /// Errors in raw values, whatever the variable is for.
    pub(super) fn errors(&self) -> Vec<ConfigError> {
        let used = VARIABLES.into_iter().map(|name| self.set_as(name));
        let written = used.filter_map(|name| self.written(name, self.get(name)?));
        self.unread.iter().cloned().chain(written).collect()
    }

    fn written(&self, variable: &'static str, text: &str) -> Option<ConfigError> {
        let error = |found: &str, expected: &str| {
            let (found, expected) = (found.to_owned(), expected.to_owned());
            Some(ConfigError { variable, found, expected })
        };
        let quoted = |quote: char| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
        if !self.from_file.contains(variable) && (quoted('"') || quoted('\'')) {
            return error(
                "a value in quotes",
                "the value without them (docker --env-file and others pass quotes on unchanged)",
            );
        }
        if kind(variable) == Some(SettingKind::Path) && text.starts_with('~') {
            return error("a path that begins with ~", "an absolute path: only a shell expands ~");
        }
        None
    }

    /// Checks the settings with which commands find the daemon and the person.
    ///
    /// # Errors
    /// All errors in these settings.
    pub fn check_places(&self) -> Result<(), ConfigErrors> {
        let found: Vec<ConfigError> =
            self.errors().into_iter().filter(|error| WHERE.contains(&error.variable)).collect();
        if found.is_empty() { Ok(()) } else { Err(ConfigErrors::new(found)) }
    }

    /// The path of the file, if it sets a secret.
    pub(super) fn file_with_secrets(&self) -> Option<&Path> {
        let holds_one = secrets().any(|name| self.from_file.contains(name));
        self.file.as_deref().filter(|_| holds_one)
    }

    /// Messages about variables that are ignored, one line each.
    pub(super) fn left_out(&self) -> impl Iterator<Item = &str> {
        self.left_out.iter().map(String::as_str)
    }

    /// Variables with a prefix of this program that are not settings, which are probably misspelt.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &str> {
        let set =
            self.values.keys().map(String::as_str).filter(|name| is_like_ours(name) && known(name).is_none());
        set.filter(|name| self.get(name).is_some_and(|value| !service_links::is_link(name, value)))
    }

    /// The path of the daemon's control socket, which is all that a command needs to reach it.
    #[must_use]
    pub fn control_socket(&self) -> Option<PathBuf> {
        let inside = || Some(self.state_dir()?.join("control.sock"));
        self.get("TOKEND_CONTROL_SOCKET").map(PathBuf::from).or_else(inside)
    }

    /// `TOKEND_STATE_DIR`, otherwise the first directory of systemd's `STATE_DIRECTORY`, otherwise
    /// `webex-tokend` in the XDG state home.
    #[must_use]
    pub fn state_dir(&self) -> Option<PathBuf> {
        let systemd = || self.get("STATE_DIRECTORY").and_then(|dirs| dirs.split(':').next());
        let own = self.get("TOKEND_STATE_DIR").or_else(systemd).map(PathBuf::from);
        let xdg = || self.get("XDG_STATE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
        let home = || self.get("HOME").map(|home| Path::new(home).join(".local/state"));
        own.or_else(|| Some(xdg().or_else(home)?.join("webex-tokend")))
    }
}

/// Whether the system denies this user to read the file, or even to see whether it exists.
fn is_hidden(path: &Path) -> bool {
    rustix::fs::access(path, Access::READ_OK).is_err_and(|e| e == Errno::ACCESS)
}

fn is_like_ours(name: &str) -> bool {
    OURS.iter().any(|ours| name.starts_with(ours))
}

fn wrong(path: &Path, why: &str) -> ConfigErrors {
    let found = format!("{}, but {why}", path.display());
    let expected = "a readable file that only you or root can write".to_owned();
    ConfigErrors::new(vec![ConfigError { variable: "the settings file", found, expected }])
}

impl<const N: usize> From<[(&str, &str); N]> for SettingsSource {
    fn from(pairs: [(&str, &str); N]) -> Self {
        let values = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { values, ..Self::default() }
    }
}

/// Adds variables as if they were set in the environment.
impl Extend<(String, String)> for SettingsSource {
    fn extend<T: IntoIterator<Item = (String, String)>>(&mut self, pairs: T) {
        for (name, value) in pairs {
            self.unread.retain(|error| error.variable != name);
            self.from_file.remove(&name);
            self.values.insert(name, value);
        }
    }
}
