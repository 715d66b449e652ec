//! The places of keys and values in a configuration file, by the path of keys that leads to them.
//!
//! The checks name paths and know nothing about lines; this module finds the bytes to mark.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

/// The path of keys and indexes from the top of the file to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    /// The path of a key's value in this mapping.
    pub fn key(&self, key: &str) -> Self {
        Self(self.0.iter().cloned().chain([Step::Key(key.into())]).collect())
    }

    /// The path of an element in this list, counted from 0 among the usable elements.
    pub fn index(&self, index: usize) -> Self {
        Self(self.0.iter().cloned().chain([Step::Index(index)]).collect())
    }

    /// Whether the value at this path is a secret or a reference to one.
    pub fn holds_secrets(&self) -> bool {
        let last = self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        last.is_some_and(|last| last == "secrets" || is_secret_key(last))
    }

    /// All of it, as `sinks.lake.select[2]`.
    pub fn whole(&self) -> String {
        let mut text = String::new();
        for step in &self.0 {
            match step {
                Step::Key(key) if text.is_empty() => text.push_str(key),
                Step::Key(key) => text.extend([".", key]),
                Step::Index(index) => text.extend(["[", &index.to_string(), "]"]),
            }
        }
        text
    }

    /// The path of the enclosing mapping or list.
    fn parent(&self) -> Option<Self> {
        Some(Self(self.0.split_last()?.1.to_vec()))
    }
}

/// Whether the value of this key is one secret, or a reference to one.
pub fn is_secret_key(key: &str) -> bool {
    matches!(key, "secret" | "token" | "metrics_token" | "password" | "key_password")
}

impl fmt::Display for Path {
    /// Shows the keys only: line and column show better which element of a list is meant.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        f.write_str(&keys.collect::<Vec<_>>().join("."))
    }
}

/// The places of a file's keys and values.
#[derive(Debug, Default)]
pub struct Spans(HashMap<Path, KeySpan>);

/// The bytes of one key and value.
#[derive(Clone, Debug)]
pub struct KeySpan {
    /// The bytes of the key, `None` for an element of a list.
    pub key: Option<Range<usize>>,
    /// The bytes of the value.
    pub value: Range<usize>,
}

impl Spans {
    /// Adds the place of a key or element.
    pub fn insert(&mut self, path: Path, place: KeySpan) {
        self.0.insert(path, place);
    }

    /// The bytes of the value at this path, or of its key for a mapping or list. For a key that the
    /// file does not have, those of the enclosing one.
    pub fn value(&self, path: &Path) -> Range<usize> {
        self.find(path).map_or(0..0, |place| place.value.clone())
    }

    /// The bytes of the key at this path, or of the value if it is an element of a list.
    pub fn key(&self, path: &Path) -> Range<usize> {
        self.find(path).map_or(0..0, |place| place.key.clone().unwrap_or(place.value.clone()))
    }

    /// All places, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &KeySpan)> {
        self.0.iter()
    }

    /// Whether the file has this path.
    pub fn has(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    /// Whether the file has anything inside this path.
    pub fn has_inside(&self, path: &Path) -> bool {
        self.0.keys().any(|inner| inner.parent().as_ref() == Some(path))
    }

    fn find(&self, path: &Path) -> Option<&KeySpan> {
        self.0.get(path).or_else(|| self.find(&path.parent()?))
    }
}
