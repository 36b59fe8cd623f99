//! Opens URLs in the user's browser.

use std::process::Command;
use std::process::Stdio;

use crate::config::SettingsSource;
use crate::config::secrets;

/// Opens the URL with `$BROWSER` (several commands, separated by colons; `%s` is the URL), otherwise with the
/// system's opener. Never uses a shell, because a URL must not be interpreted as a command. Returns whether a
/// program was started.
pub(super) fn open_browser(url: &str, source: &SettingsSource) -> bool {
    // Only a clear http or https URL is passed to another program.
    if !(url.starts_with("https://") || url.starts_with("http://")) {
        return false;
    }
    let own = source.get("BROWSER").unwrap_or_default();
    let system = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    own.split(':').chain([system]).any(|command| start(command, url))
}

fn start(command: &str, url: &str) -> bool {
    let mut words = command.split_whitespace();
    let Some(program) = words.next() else { return false };
    let mut arguments: Vec<String> = words.map(|word| word.replace("%s", url)).collect();
    if !command.contains("%s") {
        arguments.push(url.to_owned());
    }
    let quiet = || Stdio::null();
    let mut command = Command::new(program);
    // A browser runs for a long time and starts other programs, so it must not inherit secrets.
    secrets().for_each(|name| {
        command.env_remove(name);
    });
    command.args(arguments).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_urls_are_opened() {
        let source = SettingsSource::from([("BROWSER", "true")]);
        for odd in ["file:///etc/passwd", "-version", "javascript:1", ""] {
            assert!(!open_browser(odd, &source), "{odd}");
        }
        assert!(open_browser("https://webexapis.com/v1/authorize", &source));
    }
}
