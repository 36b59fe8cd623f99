//! Reads single variables, and collects the errors.

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::config::error::ConfigError;
use crate::config::source::SettingsSource;
use crate::domain::secret::Secret;
use crate::http::server::certificate::open_pem;
use crate::http::server::certificate::read_pem;
use crate::webex::check_roots;

/// Maximum size of a file with a secret.
const SECRET_FILE_MAX: u64 = 64 * 1024;

/// Reads variables and collects the errors.
pub(super) struct SettingsReader<'a> {
    pub(super) source: &'a SettingsSource,
    pub(super) errors: Vec<ConfigError>,
    /// The number of errors that were found before the first variable was read.
    as_they_stand: usize,
    /// Whether the configured certificate is going to be served.
    pub(super) serves: bool,
}

impl<'a> SettingsReader<'a> {
    pub(super) fn new(source: &'a SettingsSource) -> Self {
        let errors = source.errors();
        Self { source, as_they_stand: errors.len(), errors, serves: false }
    }

    /// A reader for a process that serves the configured certificate.
    pub(super) fn to_serve(source: &'a SettingsSource) -> Self {
        Self { serves: true, ..Self::new(source) }
    }

    /// The value of this variable, otherwise of its name in another sample.
    pub(super) fn text(&self, variable: &str) -> Option<&'a str> {
        self.source.setting(variable)
    }

    /// The name under which `variable` is set; its own name if it is not set.
    pub(super) fn set_as(&self, variable: &'static str) -> &'static str {
        self.source.set_as(variable)
    }

    /// Whether a file of this program's settings replaces the secret.
    pub(super) fn is_in_file(&self, variable: &str) -> bool {
        variable == "MY_APP_SECRET_ID" && self.source.get("MY_APP_SECRET_ID_FILE").is_some()
    }

    /// Adds an error about the value of `variable`. Not for secrets, because the value is quoted.
    pub(super) fn wrong(&mut self, variable: &'static str, expected: &str) {
        let text: String = without_login(self.text(variable).unwrap_or_default()).chars().take(100).collect();
        self.add_error(variable, format!("{text:?}"), expected);
    }

    pub(super) fn missing(&mut self, variable: &'static str, expected: &str) {
        self.add_error(variable, "nothing".to_owned(), expected);
    }

    /// Adds an error if `variable` is not set although `other` is. If it is set and invalid, the error has
    /// been added already.
    pub(super) fn missing_beside(&mut self, variable: &'static str, other: &str) {
        if self.text(variable).is_none() {
            self.missing(variable, &format!("a PEM file, since {other} is set"));
        }
    }

    /// Adds an error, unless the raw value of the variable already caused one, because further errors would
    /// follow from that one.
    pub(super) fn add_error(&mut self, variable: &'static str, found: String, expected: &str) {
        let variable = self.set_as(variable);
        if !self.errors.iter().take(self.as_they_stand).any(|error| error.variable == variable) {
            self.errors.push(ConfigError { variable, found, expected: expected.to_owned() });
        }
    }

    pub(super) fn required(&mut self, variable: &'static str, expected: &str) -> Option<String> {
        let text = self.text(variable).map(str::to_owned);
        if text.is_none() {
            self.missing(variable, expected);
        }
        text
    }

    /// A secret from its variable, or from the file that `file_variable` names.
    pub(super) fn secret(
        &mut self,
        variable: &'static str,
        file_variable: &'static str,
        what: &str,
    ) -> Option<Secret> {
        let (variable, text) = self.secret_text(variable, file_variable, what)?;
        self.opaque(variable, text.expose(), what)
    }

    /// The same as it stands, whatever characters are in it, and the variable that it came by.
    pub(super) fn secret_text(
        &mut self,
        variable: &'static str,
        file_variable: &'static str,
        what: &str,
    ) -> Option<(&'static str, Secret)> {
        // The file variable takes precedence over another sample's variable.
        let file = self.source.get(file_variable);
        let text = self.source.get(variable).or_else(|| self.text(variable).filter(|_| file.is_none()));
        if let Some(text) = text {
            return Some((variable, Secret::new(text.to_owned())));
        }
        let Some(path) = file else {
            self.missing(variable, &format!("{what} (or {file_variable}, a file that contains it)"));
            return None;
        };
        match read_secret(path) {
            Ok(text) => match text.trim_start_matches('\u{feff}').trim() {
                "" => {
                    let expected = format!("a file that contains {what}");
                    self.add_error(file_variable, format!("the empty file {path:?}"), &expected);
                    None
                }
                text => Some((file_variable, Secret::new(text.to_owned()))),
            },
            Err(e) => {
                let expected = format!("a readable file that contains {what}");
                self.add_error(file_variable, format!("{path:?} ({e})"), &expected);
                None
            }
        }
    }

    /// A secret that Webex issued, which consists of printable ASCII characters without white space.
    fn opaque(&mut self, variable: &'static str, text: &str, what: &str) -> Option<Secret> {
        if let Some(found) = odd_character(text) {
            self.add_error(variable, found, what);
            return None;
        }
        Some(Secret::new(text.to_owned()))
    }

    /// The path of a PEM file that can be opened, if the variable is set.
    pub(super) fn pem(&mut self, variable: &'static str) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(variable)?);
        let Err(why) = open_pem(&path) else { return Some(path) };
        self.add_error(variable, format!("{} ({why})", path.display()), "a readable PEM file");
        None
    }

    /// The path of a PEM file of certificates to trust.
    pub(super) fn roots(&mut self, variable: &'static str) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(variable)?);
        let checked = read_pem(&path).map_err(|e| e.to_string()).and_then(|pem| check_roots(&pem));
        let Err(why) = checked else { return Some(path) };
        self.add_error(
            variable,
            format!("{} ({why})", path.display()),
            "a readable PEM file of certificates",
        );
        None
    }

    pub(super) fn whole(
        &mut self,
        variable: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
        unit: &str,
    ) -> Option<u64> {
        let Some(text) = self.text(variable) else { return Some(default) };
        let value = text.parse().ok().filter(|value| range.contains(value));
        if value.is_none() {
            self.wrong(
                variable,
                &format!("a whole number from {} to {}: {unit}", range.start(), range.end()),
            );
        }
        value
    }

    pub(super) fn decimal(
        &mut self,
        variable: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
        unit: &str,
    ) -> Option<f64> {
        let Some(text) = self.text(variable) else { return Some(default) };
        let value = text.parse().ok().filter(|value| range.contains(value));
        if value.is_none() {
            self.wrong(
                variable,
                &format!("a number from {} to {}, decimals allowed: {unit}", range.start(), range.end()),
            );
        }
        value
    }
}

/// The content of a file with a secret. It may be a pipe, which can be read only once.
fn read_secret(path: &str) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let read = File::open(path)?.take(SECRET_FILE_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > SECRET_FILE_MAX {
        return Err(io::Error::other(format!("longer than {} KiB", SECRET_FILE_MAX >> 10)));
    }
    Ok(text)
}

/// The position of the first character that ids, tokens and secrets of Webex never contain, without quoting
/// the text.
pub(super) fn odd_character(text: &str) -> Option<String> {
    let (at, odd) = (1..).zip(text.chars()).find(|(_, c)| !c.is_ascii_graphic())?;
    let what = match odd {
        odd if odd.is_whitespace() => "white space",
        odd if odd.is_control() => "a control character",
        _ => "a character that is not ASCII",
    };
    Some(format!("{what} in it (character {at} of {})", text.chars().count()))
}

/// Removes passwords from a URL: before the host (`postgres://name:password@host`) and in the query, however
/// malformed the rest is. URLs with one slash or with backslashes are recognized, too.
fn without_login(text: &str) -> String {
    let (address, query) = match text.split_once('?') {
        Some((address, _)) => (address, "?…"),
        None => (text, ""),
    };
    let Some((login, host)) = address.rsplit_once('@') else { return format!("{address}{query}") };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    match login.split_once("://").filter(|(scheme, _)| scheme.chars().all(plain)) {
        Some((scheme, _)) => format!("{scheme}://…@{host}{query}"),
        None => format!("…@{host}{query}"),
    }
}

/// Parses scopes separated by white space, plain or percent-encoded (with `+` or `%20` between them), and
/// removes duplicates. All characters of RFC 6749, 3.3 are allowed except the comma: no scope of Webex has
/// one, so it is a wrong separator. `None` if there is no scope or one is invalid.
pub(super) fn scopes(text: &str) -> Option<Vec<String>> {
    let decoded = if text.contains('%') {
        let pair = format!("s={}", text.replace(' ', "+"));
        url::form_urlencoded::parse(pair.as_bytes())
            .next()
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    } else {
        text.to_owned()
    };
    let mut scopes: Vec<String> = Vec::new();
    for scope in decoded.split_whitespace() {
        if !scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x24 | 0x26..=0x2b | 0x2d..=0x5b | 0x5d..=0x7e)) {
            return None;
        }
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    (!scopes.is_empty()).then_some(scopes)
}
