//! Where the values of a configuration are written, by their paths: `fanbridge.yaml:31:5`.
//!
//! It has places and keys, and no values but the event types of selections.

use std::collections::HashMap;

use super::yaml::spans::{Path, Spans};

/// Where the values of a configuration are written.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    file: String,
    /// Line and column, both counted from 1, of each key, or of the value if it is an element of a list.
    places: HashMap<String, (usize, usize)>,
    /// The path of each element of a selection, by the path of the list and the event type.
    listed: HashMap<(String, String), String>,
}

impl Origins {
    /// The places in a text that `file` names.
    pub(super) fn new(file: &str, text: &str, spans: &Spans) -> Self {
        let lines = Lines::of(text);
        let place = |(path, span): (&Path, &super::yaml::spans::KeySpan)| {
            let begin = span.key.as_ref().unwrap_or(&span.value).start;
            (path.whole(), lines.position_of(begin))
        };
        let places = spans.iter().map(place).collect();
        Self { file: file.to_owned(), places, listed: HashMap::new() }
    }

    /// Notes the event types on the list at this path, in its order.
    pub(super) fn list(&mut self, path: &Path, types: Vec<&str>) {
        for (index, event_type) in types.into_iter().enumerate() {
            let element = path.index(index).whole();
            self.listed.entry((path.whole(), event_type.to_owned())).or_insert(element);
        }
    }

    /// Where the key at this path is written, such as `sinks.lake.select`: file, line and column. `None` if
    /// the file does not have it, and its default counts.
    pub fn line(&self, path: &str) -> Option<String> {
        let (line, column) = self.places.get(path)?;
        Some(format!("{}:{line}:{column}", self.file))
    }

    /// Where an event type is written in the list at this path.
    pub fn listed(&self, path: &str, event_type: &str) -> Option<String> {
        let element = self.listed.get(&(path.to_owned(), event_type.to_owned()))?;
        self.line(element)
    }
}

/// The lines of a text.
struct Lines<'t> {
    text: &'t str,
    /// Where each line begins.
    begins: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let behind = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, begins: std::iter::once(0).chain(behind).collect() }
    }

    /// Line and column of a byte, counted from 1, the column in characters.
    fn position_of(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.begins.partition_point(|begin| *begin <= offset);
        let begin = self.begins[line - 1];
        (line, self.text[begin..offset].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::config::{Environment, load};
    use crate::event::Timestamp;

    const TEXT: &str = "\
sources:
  stream-video: { provider: stream, secrets: [env:S] } # é
select:
  - call.created
  - \"call.ended\"
sinks:
  lake: { file: { dir: /tmp/a }, select: [call.ended, call.created] }
  billing:
    file:
      dir: /tmp/b
";

    fn origins() -> Origins {
        let secret = |_: &str| Some("a-secret-of-a-stream-app".to_owned());
        let outside =
            Environment { env: &secret, read: &|_| Err(io::ErrorKind::NotFound.into()), now: Timestamp(0) };
        load("fanbridge.yaml", TEXT, &outside).expect("usable").config.origins
    }

    #[test]
    fn a_key_is_written_where_it_begins_and_what_is_not_written_has_no_place() {
        let origins = origins();
        let line = |path: &str| origins.line(path);
        assert_eq!(line("select"), Some("fanbridge.yaml:3:1".into()));
        assert_eq!(line("sinks.lake.select"), Some("fanbridge.yaml:7:34".into()));
        assert_eq!(line("sinks.billing.file.dir"), Some("fanbridge.yaml:10:7".into()));
        assert_eq!(line("sinks.billing.select"), None);
        assert_eq!(line("spool"), None);
    }

    #[test]
    fn an_event_type_on_a_list_is_found_in_its_line() {
        let origins = origins();
        let listed = |path: &str, name: &str| origins.listed(path, name);
        assert_eq!(listed("select", "call.ended"), Some("fanbridge.yaml:5:5".into()));
        assert_eq!(listed("sinks.lake.select", "call.created"), Some("fanbridge.yaml:7:55".into()));
        assert_eq!(listed("sinks.billing.select", "call.created"), None);
        assert_eq!(listed("select", "call.ring"), None);
    }
}
