//! Where settings come from: a `.env` file in the working directory, under the real environment.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::config::Mistake;
use crate::config::Mistakes;
use crate::config::VARIABLES;
use crate::config::aliases::ALIASES;
use crate::config::aliases::others;

/// What names of ours begin with, but for a few.
const OURS: [&str; 3] = ["MY_APP_", "EVENT_LOOP_", "TOKEND_"];

/// Variables by name. Empty ones count as not set.
#[derive(Clone, Default)]
pub struct Source(BTreeMap<String, String>);

impl Source {
    /// The environment, over what `dir/.env` has.
    ///
    /// # Errors
    /// A mistake that names the file, if there is one that cannot be read.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn environment(dir: &Path) -> Result<Self, Mistakes> {
        let mut all = dotenv(&dir.join(".env"))?;
        // A variable that is no UTF-8 is none of ours.
        all.extend(
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
        );
        Ok(Self(all))
    }

    /// What is set under `name`; white space around it is nobody's intention.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// What is set under this name of ours, or else under another sample's.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.get(name).or_else(|| others(name).find_map(|other| self.get(other)))
    }

    /// Names that look like ours and are none, as they are set; a typing mistake, most likely.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &str> {
        let like_ours = |name: &&str| OURS.iter().any(|ours| name.starts_with(ours));
        let known = |name: &str| VARIABLES.contains(&name) || ALIASES.iter().any(|(_, other)| *other == name);
        let set = self.0.keys().map(String::as_str).filter(like_ours);
        set.filter(move |name| !known(name) && self.get(name).is_some())
    }

    /// Where the daemon's control socket is: all that a command needs to know to speak with it.
    #[must_use]
    pub fn control_socket(&self) -> Option<PathBuf> {
        let inside = || Some(state_dir(self)?.join("control.sock"));
        self.get("TOKEND_CONTROL_SOCKET").map(PathBuf::from).or_else(inside)
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Source {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl Extend<(String, String)> for Source {
    fn extend<T: IntoIterator<Item = (String, String)>>(&mut self, pairs: T) {
        self.0.extend(pairs);
    }
}

fn dotenv(path: &Path) -> Result<BTreeMap<String, String>, Mistakes> {
    let wrong = |found: String| {
        Mistakes(vec![Mistake { variable: ".env", found, expected: "lines of NAME=value".to_owned() }])
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(wrong(e.to_string())),
    };
    let lines = dotenvy::from_read_iter(text.trim_start_matches('\u{feff}').as_bytes());
    lines.collect::<Result<_, _>>().map_err(|e| wrong(told(&text, &e)))
}

/// Where the file is wrong. The library quotes the line or only its value, and either may be a secret's, so nothing of
/// it is shown but its number and a name that we know.
fn told(text: &str, error: &dotenvy::Error) -> String {
    let dotenvy::Error::LineParse(part, _) = error else { return error.to_string() };
    let part = part.lines().next().unwrap_or_default().trim();
    let lines = text.lines().map(|line| line.trim().trim_start_matches('\u{feff}'));
    let wrong = lines.enumerate().find(|(_, line)| {
        *line == part || line.split_once('=').is_some_and(|(_, value)| value.trim_start().starts_with(part))
    });
    let Some((index, line)) = wrong else { return "a line that cannot be read".to_owned() };
    let name = line.trim_start_matches("export").trim_start();
    let name = name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    let all = VARIABLES.into_iter().chain(ALIASES.map(|(_, other)| other));
    let known = all.into_iter().find(|known| *known == name).map(|name| format!(", that of {name}"));
    format!("a line that cannot be read (line {}{})", index + 1, known.unwrap_or_default())
}

/// `TOKEND_STATE_DIR`, else systemd's `STATE_DIRECTORY` (the first, of several), else `webex-tokend` under the XDG
/// state home.
pub(super) fn state_dir(source: &Source) -> Option<PathBuf> {
    let systemd = || source.get("STATE_DIRECTORY").and_then(|dirs| dirs.split(':').next());
    let own = source.get("TOKEND_STATE_DIR").or_else(systemd).map(PathBuf::from);
    let xdg = || source.get("XDG_STATE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let home = || source.get("HOME").map(|home| Path::new(home).join(".local/state"));
    own.or_else(|| Some(xdg().or_else(home)?.join("webex-tokend")))
}
