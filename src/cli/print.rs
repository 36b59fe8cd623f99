//! The only place that writes to stdout, and the notes that go to stderr.

use std::fmt::Write as _;
use std::io;
use std::io::IsTerminal as _;
use std::io::Write as _;

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::exit::Failure;
use crate::config::Source;

/// Wider than any sensible line: what is no terminal has no width.
const UNBOUNDED: usize = 10_000;

/// How results may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paper {
    /// Cells in a line.
    pub(super) width: usize,
    /// Colours are welcome.
    pub(super) colour: bool,
}

impl Paper {
    /// Stdout as it is: a terminal's width (`COLUMNS` wins), colours only there and not with `NO_COLOR`.
    #[must_use]
    pub(super) fn of_stdout(source: &Source) -> Self {
        let terminal = io::stdout().is_terminal();
        let told = source.get("COLUMNS").and_then(|text| text.parse().ok()).filter(|width| *width > 0);
        let seen = || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        let width = told.or_else(seen).unwrap_or(if terminal { 80 } else { UNBOUNDED });
        let plain = source.get("NO_COLOR").is_some() || source.get("TERM") == Some("dumb");
        Self { width, colour: terminal && !plain }
    }

    /// How wide the notes on stderr may be; `None` where it is no terminal.
    #[must_use]
    pub(super) fn notes_width() -> Option<usize> {
        let stderr = io::stderr();
        let seen = stderr.is_terminal().then(|| terminal_size::terminal_size_of(stderr))?;
        Some(seen.map_or(80, |(width, _)| usize::from(width.0)))
    }
}

/// Writes bytes to stdout as they are.
///
/// # Errors
/// [`Failure::OutputClosed`] when nobody reads any more.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Writes a result and ends its line.
///
/// # Errors
/// [`Failure::OutputClosed`] when nobody reads any more.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes a result as JSON for people and programs.
///
/// # Errors
/// [`Failure::OutputClosed`] when nobody reads any more.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    line(&text)
}

/// Says something beside the result, on stderr. Nobody reading it is no reason to fail.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Asks a question that is answered by `y`. `None`: nobody is there to ask.
#[must_use]
pub(super) fn ask(question: &str) -> Option<bool> {
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

/// Somebody else's text in one line that does nothing to a terminal: controls are escaped, and so are the marks that
/// turn the direction of what follows.
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
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2J\nb\u{202e}c"), "a\\u{1b}[2J\\nb\\u{202e}c");
        assert_eq!(printable("Ådä 李雷 عمر"), "Ådä 李雷 عمر");
    }
}
