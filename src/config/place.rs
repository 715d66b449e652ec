//! Where the things of a file stand, by the keys that lead to them.
//!
//! The checks of meaning speak of paths and know nothing of lines; this finds the bytes to mark.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

/// The way from the top of the file to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    /// The value of a key in here.
    pub fn key(&self, key: &str) -> Self {
        Self(self.0.iter().cloned().chain([Step::Key(key.into())]).collect())
    }

    /// An element of the list here, counted from 0 among those that can be used.
    pub fn index(&self, index: usize) -> Self {
        Self(self.0.iter().cloned().chain([Step::Index(index)]).collect())
    }

    /// Whether this is where a secret belongs.
    pub fn holds_secrets(&self) -> bool {
        let keys = ["secrets", "secret", "token", "password", "key_password"];
        let last = self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        last.is_some_and(|last| keys.contains(&last))
    }

    /// What encloses this.
    fn parent(&self) -> Option<Self> {
        Some(Self(self.0.split_last()?.1.to_vec()))
    }
}

impl fmt::Display for Path {
    /// The keys; which element of a list is meant, line and column say better.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        f.write_str(&keys.collect::<Vec<_>>().join("."))
    }
}

/// Where the things of a file stand.
#[derive(Debug, Default)]
pub struct Places(HashMap<Path, Place>);

/// Where one thing stands.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its key, unless it is an element of a list.
    pub key: Option<Range<usize>>,
    /// Its value.
    pub value: Range<usize>,
}

impl Places {
    /// Notes where something stands.
    pub fn insert(&mut self, path: Path, place: Place) {
        self.0.insert(path, place);
    }

    /// The value there: of a scalar its text, of a collection its key. What was not written is
    /// sought in what encloses it.
    pub fn value(&self, path: &Path) -> Range<usize> {
        self.find(path).map_or(0..0, |place| place.value.clone())
    }

    /// The key there, or the value if it is an element of a list.
    pub fn key(&self, path: &Path) -> Range<usize> {
        self.find(path).map_or(0..0, |place| place.key.clone().unwrap_or(place.value.clone()))
    }

    /// Whether something was written there.
    pub fn has(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    /// Whether something was written inside of it.
    pub fn has_inside(&self, path: &Path) -> bool {
        self.0.keys().any(|inner| inner.parent().as_ref() == Some(path))
    }

    fn find(&self, path: &Path) -> Option<&Place> {
        self.0.get(path).or_else(|| self.find(&path.parent()?))
    }
}
