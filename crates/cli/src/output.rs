//! Output of commands: tables and messages, or JSON.
//!
//! Values go to standard output, messages to standard error, so that `token=$(mlp token create …)` contains only the value.
//! Control characters in names and messages are replaced, because they could move the cursor.

use std::io::{self, Write};

use anstream::AutoStream;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::Failure;

/// The output of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(crate) const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Without colours if it is not a terminal.
    pub(crate) fn stdout(self) -> AutoStream<io::Stdout> {
        anstream::stdout()
    }

    /// A list: one line for each item, or a JSON array with the API's field names.
    pub(crate) fn list<T: Serialize>(
        self,
        columns: &[&str],
        items: &[T],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), Failure> {
        if self.json {
            return self.json(&items);
        }
        if items.is_empty() {
            return self.say("the list is empty");
        }
        let mut table = Table::new();
        table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if !self.quiet {
            table.set_header(columns);
        }
        for item in items {
            table.add_row(row(item).iter().map(|cell| plain(cell)));
        }
        let mut out = self.stdout();
        // The presets end each line with the padding of its last column.
        for line in table.lines() {
            writeln!(out, "{}", line.trim())?;
        }
        Ok(())
    }

    /// An object: one line for each field, or a JSON object.
    pub(crate) fn one<T: Serialize>(self, item: &T, fields: &[(&str, String)]) -> Result<(), Failure> {
        if self.json {
            return self.json(item);
        }
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let mut out = self.stdout();
        for (name, value) in fields {
            writeln!(out, "{name:width$}  {}", plain(value))?;
        }
        Ok(())
    }

    /// A single value; in JSON with its name.
    pub(crate) fn value(self, name: &str, value: &str) -> Result<(), Failure> {
        if self.json {
            return self.json(&json!({ name: value }));
        }
        Ok(writeln!(self.stdout(), "{value}")?)
    }

    /// A text of several lines.
    pub(crate) fn text(self, name: &str, text: &str) -> Result<(), Failure> {
        if self.json {
            return self.json(&json!({ name: text }));
        }
        Ok(self.stdout().write_all(text.as_bytes())?)
    }

    /// The output of a program, unchanged.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        Ok(out.write_all(bytes).and_then(|()| out.flush())?)
    }

    pub(crate) fn json<T: Serialize>(self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Failure::failed(error.to_string()))?;
        Ok(writeln!(self.stdout(), "{text}")?)
    }

    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// A message about what was done.
    pub(crate) fn say(self, text: &str) -> Result<(), Failure> {
        if !self.quiet {
            writeln!(anstream::stderr(), "{}", plain(text))?;
        }
        Ok(())
    }

    /// A warning.
    pub(crate) fn warn(self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(anstream::stderr(), "warning: {}", plain(text))?)
    }

    /// The error that ends the command.
    pub(crate) fn failed(self, failure: &Failure) {
        if failure.message.is_empty() {
            return;
        }
        let mut out = anstream::stderr();
        // An error here cannot be reported: the output is closed.
        if self.json {
            let error =
                json!({"error": {"message": failure.message, "hint": failure.hint, "code": failure.code as u8}});
            let _ = writeln!(out, "{error}");
            return;
        }
        let _ = writeln!(out, "mlp: {}", lines(&failure.message));
        if let Some(hint) = &failure.hint {
            let _ = writeln!(out, "hint: {}", lines(hint));
        }
    }
}

/// Replaces control characters.
fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// The same, line by line.
fn lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// A time in UTC, to the second.
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// The same, or a word if there is none.
pub(crate) fn moment_or(at: Option<Timestamp>, none: &str) -> String {
    at.map_or_else(|| none.to_owned(), moment)
}

/// The API's name of an enumeration value.
pub(crate) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{9b}1m"), "a\\u{1b}[2Jb\\nc\\u{9b}1m");
        assert_eq!(lines("one\ntwo\r"), "one\ntwo\\r");
    }

    #[test]
    fn moments() {
        let at: Timestamp = "2026-11-28T14:02:30.5Z".parse().unwrap();
        assert_eq!((moment(at), moment_or(None, "never")), ("2026-11-28 14:02:30Z".to_owned(), "never".to_owned()));
    }
}
