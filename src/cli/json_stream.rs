//! A JSON object with one long list in it, printed part by part in the same form as [`output::write_json`] prints a value.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use serde_json::Value;

use crate::cli::output;

/// Prints the fields before the list, the items as they come, and the fields after it. Nothing is printed before the first items
/// are known, so a command that fails at once prints no half object.
pub(super) struct JsonStream {
    /// What is still to be printed before the next item.
    head: Option<String>,
    any: bool,
}

impl JsonStream {
    /// An object with these fields before the list.
    pub(super) fn new(before: &[(&str, Value)], list: &str) -> Self {
        let mut head = String::from("{\n");
        for (name, value) in before {
            let _ = writeln!(head, "  \"{name}\": {value},");
        }
        let _ = write!(head, "  \"{list}\": [");
        Self { head: Some(head), any: false }
    }

    /// Prints the next items, in one write.
    ///
    /// # Errors
    /// [`io::Error`] if the output cannot be written, for instance because its reader has closed it.
    pub(super) fn write(&mut self, items: &[impl Serialize]) -> io::Result<()> {
        let mut text = self.head.take().unwrap_or_default();
        for item in items {
            let item = serde_json::to_string_pretty(item)?;
            // Line breaks within texts are escaped, so these are all of the layout.
            let indented = item.replace('\n', "\n    ");
            text.push_str(if self.any { ",\n    " } else { "\n    " });
            text.push_str(&indented);
            self.any = true;
        }
        output::write_bytes(text.as_bytes())
    }

    /// Ends the list, and prints `"next": null`: the list is complete.
    ///
    /// # Errors
    /// [`io::Error`] if the output cannot be written, for instance because its reader has closed it.
    pub(super) fn end(mut self) -> io::Result<()> {
        let head = self.head.take().unwrap_or_default();
        let space = if self.any { "\n  " } else { "" };
        output::write_line(&format!("{head}{space}],\n  \"next\": null\n}}"))
    }
}
