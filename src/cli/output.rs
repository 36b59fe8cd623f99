//! Output: the only module that writes results to stdout and messages to stderr.

use std::fmt::Write as _;
use std::io;
use std::io::IsTerminal as _;
use std::io::Write as _;

use serde::Serialize;

use crate::config::SettingsSource;

/// The width of an output that is not a terminal: wider than any sensible line.
const UNBOUNDED: usize = 10_000;

/// The capabilities of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terminal {
    /// The width in cells.
    pub(super) width: usize,
    /// Whether to use colours.
    pub(super) colour: bool,
}

impl Terminal {
    /// The capabilities of stdout: the terminal's width (`COLUMNS` overrides it), and colours on a terminal
    /// unless `NO_COLOR` is set.
    #[must_use]
    pub(super) fn for_stdout(source: &SettingsSource) -> Self {
        let terminal = io::stdout().is_terminal();
        let told = source.get("COLUMNS").and_then(|text| text.parse().ok()).filter(|width| *width > 0);
        let seen = || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        let width = told.or_else(seen).unwrap_or(if terminal { 80 } else { UNBOUNDED });
        let plain = source.get("NO_COLOR").is_some() || source.get("TERM") == Some("dumb");
        Self { width, colour: terminal && !plain }
    }

    /// The width of stderr; `None` if it is not a terminal.
    #[must_use]
    pub(super) fn stderr_width() -> Option<usize> {
        let stderr = io::stderr();
        let seen = stderr.is_terminal().then(|| terminal_size::terminal_size_of(stderr))?;
        Some(seen.map_or(80, |(width, _)| usize::from(width.0)))
    }
}

/// Writes bytes to stdout without changes.
///
/// # Errors
/// Of kind `BrokenPipe` if the reader has closed the output.
pub(super) fn write_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Writes a result and a line break to stdout.
///
/// # Errors
/// Of kind `BrokenPipe` if the reader has closed the output.
pub(super) fn write_line(text: &str) -> io::Result<()> {
    write_bytes(format!("{text}\n").as_bytes())
}

/// Writes a result to stdout as indented JSON.
///
/// # Errors
/// Of kind `BrokenPipe` if the reader has closed the output.
pub(super) fn write_json(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    write_line(&text)
}

/// Writes a message to stderr. A closed stderr is not an error.
pub(super) fn print_stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Asks a yes-no question. `None` if stdin or stderr is not a terminal.
#[must_use]
pub(super) fn confirm(question: &str) -> Option<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    let mut err = io::stderr().lock();
    let _ = write!(err, "{question} [y/N] ");
    let _ = err.flush();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Makes foreign text safe for a terminal and for one line: escapes control characters, and characters that
/// change the text direction.
#[must_use]
pub(super) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_control_the_terminal() {
        assert_eq!(printable("a\x1b[2J\nb\u{202e}c"), "a\\u{1b}[2J\\nb\\u{202e}c");
        assert_eq!(printable("Ådä 李雷 عمر"), "Ådä 李雷 عمر");
    }
}
