//! Where settings come from: a `.env` file in the working directory, under the real environment.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use crate::config::Mistake;
use crate::config::Mistakes;

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
    match dotenvy::from_path_iter(path) {
        Ok(lines) => lines.collect::<Result<_, _>>().map_err(|e| wrong(told(&e))),
        Err(e) if e.not_found() => Ok(BTreeMap::new()),
        Err(e) => Err(wrong(told(&e))),
    }
}

/// The library quotes the line, and the line may be a secret's.
fn told(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(line, at) => {
            let name = line.split('=').next().unwrap_or_default().trim();
            format!("a line that cannot be read, that of {name:?}, wrong near its character {at}")
        }
        other => other.to_string(),
    }
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
