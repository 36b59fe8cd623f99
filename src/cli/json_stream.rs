//! A JSON object with one long list in it, printed part by part in the same form as [`output::write_json`] prints a value.

use std::io;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::Value;
use serde_json::ser::Formatter as _;
use serde_json::ser::PrettyFormatter;

use crate::cli::output;

/// Prints the fields before the list, the items as they come, and the fields after it. Nothing is printed before the first items
/// are known, so a command that fails at once prints no half object.
pub(super) struct JsonStream {
    /// What is still to be printed.
    text: Vec<u8>,
    /// Its indentation is that of the list's items.
    layout: PrettyFormatter<'static>,
    any: bool,
}

impl JsonStream {
    /// An object with these fields before the list.
    ///
    /// # Errors
    /// [`io::Error`] if a field cannot be encoded.
    pub(super) fn new(before: &[(&str, Value)], list: &str) -> io::Result<Self> {
        let (mut text, mut layout) = (Vec::new(), PrettyFormatter::new());
        layout.begin_object(&mut text)?;
        for (at, (name, value)) in before.iter().enumerate() {
            begin_field(&mut text, &mut layout, name, at == 0)?;
            serde_json::to_writer(&mut text, value)?;
            layout.end_object_value(&mut text)?;
        }
        begin_field(&mut text, &mut layout, list, before.is_empty())?;
        layout.begin_array(&mut text)?;
        Ok(Self { text, layout, any: false })
    }

    /// Prints the next items, in one write.
    ///
    /// # Errors
    /// [`io::Error`] if the output cannot be written, for instance because its reader has closed it.
    pub(super) fn write(&mut self, items: &[impl Serialize]) -> io::Result<()> {
        for item in items {
            self.layout.begin_array_value(&mut self.text, !self.any)?;
            // Items are indented while they are encoded, because indenting the encoded text doubles the time.
            item.serialize(&mut Serializer::with_formatter(&mut self.text, self.layout.clone()))?;
            self.layout.end_array_value(&mut self.text)?;
            self.any = true;
        }
        output::write_bytes(&self.text)?;
        self.text.clear();
        Ok(())
    }

    /// Ends the list, and prints `"next": null`: the list is complete.
    ///
    /// # Errors
    /// [`io::Error`] if the output cannot be written, for instance because its reader has closed it.
    pub(super) fn end(self) -> io::Result<()> {
        let Self { mut text, mut layout, .. } = self;
        layout.end_array(&mut text)?;
        layout.end_object_value(&mut text)?;
        begin_field(&mut text, &mut layout, "next", false)?;
        layout.write_null(&mut text)?;
        layout.end_object_value(&mut text)?;
        layout.end_object(&mut text)?;
        text.push(b'\n');
        output::write_bytes(&text)
    }
}

fn begin_field(
    text: &mut Vec<u8>,
    layout: &mut PrettyFormatter<'_>,
    name: &str,
    is_first: bool,
) -> io::Result<()> {
    layout.begin_object_key(text, is_first)?;
    serde_json::to_writer(&mut *text, name)?;
    layout.end_object_key(text)?;
    layout.begin_object_value(text)
}
