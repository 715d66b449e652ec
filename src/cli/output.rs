//! Prints a verb's data on stdout: as a table for people, as JSON for programs.
//!
//! Text from events can contain anything. A table shows control characters escaped, so that no text
//! from the network can drive a terminal.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Exit, Failure};
use crate::telemetry::{Shown, steers_terminal};

/// The form of data on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns, for people
    #[default]
    Table,
    /// One JSON document
    Json,
    /// One JSON object per line
    Ndjson,
}

/// Rows of data: JSON objects, of which a table shows the named columns.
#[derive(Debug)]
pub struct Rows {
    columns: Vec<&'static str>,
    rows: Vec<Map<String, Value>>,
}

impl Rows {
    /// No rows. `columns` are keys of the objects, in the order in which a table shows them.
    pub fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row. A value that is not an object is left out.
    pub fn add(&mut self, row: Value) {
        if let Value::Object(row) = row {
            self.rows.push(row);
        }
    }

    /// The rows in this format, with a line break at the end.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Table => self.table(None),
            Format::Json => format!("{:#}\n", Value::from_iter(self.rows.iter().cloned())),
            Format::Ndjson => {
                self.rows.iter().map(|row| format!("{}\n", Value::Object(row.clone()))).collect()
            }
        }
    }

    /// Prints the rows. On a terminal a table is as wide as the terminal, and longer cells continue
    /// on the next line of their column. Where that would break a word, each row is printed as lines
    /// instead.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn print(&self, format: Format) -> Result<(), Failure> {
        match format {
            Format::Table => print(&self.table(terminal_width())),
            format => print(&self.render(format)),
        }
    }

    /// A table, at most this many characters wide if a width is given.
    fn table(&self, width: Option<u16>) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| column.replace('_', " ")).collect();
        let cells =
            |row: &Map<String, Value>| self.columns.iter().map(|column| cell(row.get(*column))).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(cells).collect();
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(names.iter().map(|name| name.to_uppercase()));
        table.add_rows(&rows);
        if let Some(width) = width {
            // Names are read and copied, so none is broken.
            let longest = |index: usize| {
                let cells = rows.iter().map(|row| &row[index]).chain([&names[index]]);
                cells.flat_map(|cell| cell.split(' ')).map(|word| word.chars().count()).max().unwrap_or(0)
            };
            let least: Vec<usize> = (0..names.len()).map(|index| longest(index) + PADDING).collect();
            if least.iter().sum::<usize>() > usize::from(width) {
                return rows.iter().map(|row| lines(&names, row, width.into())).collect();
            }
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
            let least = least.iter().map(|least| u16::try_from(*least).unwrap_or(u16::MAX));
            table.set_constraints(least.map(|least| ColumnConstraint::LowerBoundary(Width::Fixed(least))));
        }
        // The padding before the first column carries no information.
        let line = |line: String| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end());
        table.lines().map(line).collect()
    }
}

/// The width of the terminal that stdout is; `None` if it is none, or has no width.
pub fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

/// Columns and rows of the terminal that stdout is; `None` if it is none, or does not say.
pub fn terminal_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// Width of the padding around a cell's text.
const PADDING: usize = 2;

/// A row that is wider than the terminal: its first value, then each other value with its name. Lines
/// break between words only, and never after a name.
fn lines(names: &[String], row: &[String], width: usize) -> String {
    let named = names.iter().zip(row).skip(1).filter(|(_, cell)| !["", "-"].contains(&cell.as_str()));
    let first = row.first().map(|cell| (String::new(), cell));
    let fields = first.into_iter().chain(named.map(|(name, cell)| (format!("{name}: "), cell)));
    let mut text = String::new();
    let mut column = 0;
    for (mut name, cell) in fields {
        let mut gap = "  ";
        for word in cell.split(' ') {
            let word = std::mem::take(&mut name) + word;
            let length = word.chars().count();
            if column > 0 && column + gap.len() + length > width {
                gap = "\n    ";
                column = 4;
            } else if column > 0 {
                column += gap.len();
            } else {
                gap = "";
            }
            text.push_str(gap);
            text.push_str(&word);
            column += length;
            gap = " ";
        }
    }
    text + "\n"
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

/// Text with control characters escaped, so that a terminal does not obey it.
pub fn plain(text: &str) -> String {
    Shown(text).to_string()
}

/// JSON with control characters escaped if stdout is a terminal, so that the terminal does not obey
/// them. The value stays the same, because JSON has such characters only in strings. Output to a file
/// or pipe is not changed.
pub fn terminal_json(json: String) -> String {
    if !io::stdout().is_terminal() {
        return json;
    }
    escaped(&json)
}

fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if steers_terminal(c) && !matches!(c, '\\' | '\n' | '\r' | '\t') {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        } else {
            text.push(c);
        }
    }
    text
}

/// Prints one document as JSON, with its members in the order of its fields: on one line for `ndjson`.
///
/// # Errors
/// When stdout cannot be written.
pub fn print_json(document: &impl Serialize, format: Format) -> Result<(), Failure> {
    let json = match format {
        Format::Ndjson => serde_json::to_string(document),
        Format::Table | Format::Json => serde_json::to_string_pretty(document),
    };
    let json = json.map_err(|error| Failure::io("cannot write the answer", &error))?;
    print(&(terminal_json(json) + "\n"))
}

/// Prints data. A closed pipe (`| head`) is not an error.
///
/// # Errors
/// When stdout cannot be written.
pub fn print(text: &str) -> Result<(), Failure> {
    print_while_read(text).map(drop)
}

/// Prints a part of data that has no end; whether stdout is still read.
///
/// # Errors
/// When stdout cannot be written.
pub fn print_while_read(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(Exit::Io, format!("cannot write to stdout: {error}"))),
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
    fn a_terminal_too_narrow_for_the_columns_shows_rows_as_lines_and_breaks_no_word() {
        let mut rows = Rows::new(&["type", "family", "alias", "note", "first_seen", "key"]);
        let name = "call.rtmp_broadcast_started";
        rows.add(serde_json::json!({
            "type": name, "family": "video.broadcasting", "first_seen": "2026-11-21T06:40:00Z",
            "key": ["/call_cid", "/user/id"], "note": "",
        }));
        for width in [20, 40, 60, 79] {
            let table = rows.table(Some(width));
            let words: Vec<&str> = table.split_whitespace().collect();
            for word in [name, "video.broadcasting", "2026-11-21T06:40:00Z", "/call_cid,", "/user/id"] {
                assert!(words.contains(&word), "{width}: {table}");
            }
            let fits = |line: &str| {
                line.chars().count() <= usize::from(width).max("first seen: 2026-11-21T06:40:00Z".len() + 4)
            };
            assert!(table.lines().all(fits), "{width}: {table}");
        }
        let expected = "call.rtmp_broadcast_started  family: video.broadcasting\n    first seen: \
                        2026-11-21T06:40:00Z  key: /call_cid,\n    /user/id\n";
        assert_eq!(rows.table(Some(60)), expected);
        assert!(rows.table(Some(120)).starts_with("TYPE "), "columns where there is room");
        assert!(rows.render(Format::Table).starts_with("TYPE "), "and where no terminal is");
    }

    #[test]
    fn programs_get_whole_objects() {
        let mut rows = Rows::new(&["a"]);
        rows.add(serde_json::json!({ "a": 1, "b": 2 }));
        assert_eq!(rows.render(Format::Ndjson), "{\"a\":1,\"b\":2}\n");
        let json: Value = serde_json::from_str(&rows.render(Format::Json)).expect("JSON");
        assert_eq!(json, serde_json::json!([{ "a": 1, "b": 2 }]));
    }

    #[test]
    fn json_on_a_terminal_says_the_same_and_steers_nothing() {
        let value = serde_json::json!({ "a\u{202e}b": "\u{9b}2J\u{7f} \u{e0041} é \\ \" \u{2028}" });
        let text = escaped(&value.to_string());
        assert!(!text.chars().any(|c| steers_terminal(c) && c != '\\'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
    }
}
