//! How verbs put data on stdout: as a table for people, as JSON for programs.
//!
//! Text from events may hold anything; in a table control characters are written out, so nothing
//! that came over the network can drive a terminal.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value};

use super::{Exit, Failure};
use crate::telemetry::Shown;

/// The form of data on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns, for people
    #[default]
    Table,
    /// One JSON array
    Json,
    /// One JSON object a line
    Ndjson,
}

/// Rows of data: JSON objects of which a table shows the named columns.
#[derive(Debug)]
pub struct Rows {
    columns: Vec<&'static str>,
    rows: Vec<Map<String, Value>>,
}

impl Rows {
    /// No rows yet. `columns` are keys of the objects, in the order a table shows them.
    pub fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; anything but an object is left out.
    pub fn add(&mut self, row: Value) {
        if let Value::Object(row) = row {
            self.rows.push(row);
        }
    }

    /// The rows in this form, ending with a line break.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Table => self.table(None),
            Format::Json => format!("{:#}\n", Value::from_iter(self.rows.iter().cloned())),
            Format::Ndjson => {
                self.rows.iter().map(|row| format!("{}\n", Value::Object(row.clone()))).collect()
            }
        }
    }

    /// Prints the rows; on a terminal a table is as wide as that, and what is longer goes on in the
    /// next line of its column.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn print(&self, format: Format) -> Result<(), Failure> {
        match format {
            Format::Table if io::stdout().is_terminal() => print(&self.table(Table::new().width())),
            format => print(&self.render(format)),
        }
    }

    /// A table of at most this many columns of characters, if it must be so narrow.
    fn table(&self, width: Option<u16>) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if let Some(width) = width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        table.set_header(self.columns.iter().map(|column| column.to_uppercase().replace('_', " ")));
        for row in &self.rows {
            table.add_row(self.columns.iter().map(|column| cell(row.get(*column))));
        }
        // The padding before the first column says nothing.
        let line = |line: String| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end());
        table.lines().map(line).collect()
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => plain(text),
        Some(Value::Array(values)) => {
            values.iter().map(|value| cell(Some(value))).collect::<Vec<_>>().join(", ")
        }
        Some(other) => plain(&other.to_string()),
    }
}

/// Text that a terminal does not obey.
pub fn plain(text: &str) -> String {
    Shown(text).to_string()
}

/// Prints data. A reader that has seen enough (`| head`) is no failure.
///
/// # Errors
/// When stdout cannot be written.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Io, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_columns_and_no_control_characters() {
        let mut rows = Rows::new(&["type", "first_seen", "channels"]);
        rows.add(serde_json::json!({ "type": "a\u{1b}[31m", "channels": ["webhook", "websocket"] }));
        let table = rows.render(Format::Table);
        assert!(table.starts_with("TYPE"), "{table}");
        assert!(table.contains("FIRST SEEN") && table.contains("webhook, websocket"), "{table}");
        assert!(table.contains(r"\u{1b}[31m") && !table.contains('\u{1b}'), "{table}");
    }

    #[test]
    fn on_a_terminal_a_table_keeps_to_its_width_and_loses_nothing() {
        let mut rows = Rows::new(&["type", "topic", "detail"]);
        let detail = "a sentence of several words that says what is wrong and what to do about it";
        rows.add(
            serde_json::json!({ "type": "call.created", "topic": "stream.video.call", "detail": detail }),
        );
        let table = rows.table(Some(60));
        assert!(table.lines().all(|line| line.chars().count() <= 60), "{table}");
        assert!(detail.split(' ').all(|word| table.contains(word)), "{table}");
        let whole = rows.render(Format::Table);
        assert!(whole.contains(detail), "what no terminal shows is not broken: {whole}");
    }

    #[test]
    fn programs_get_whole_objects() {
        let mut rows = Rows::new(&["a"]);
        rows.add(serde_json::json!({ "a": 1, "b": 2 }));
        assert_eq!(rows.render(Format::Ndjson), "{\"a\":1,\"b\":2}\n");
        let json: Value = serde_json::from_str(&rows.render(Format::Json)).expect("JSON");
        assert_eq!(json, serde_json::json!([{ "a": 1, "b": 2 }]));
    }
}
