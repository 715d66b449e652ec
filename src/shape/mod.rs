//! What is known of an event type's JSON: its members and their kinds, learnt from samples.
//!
//! A shape has no value of any event: names of members, kinds and counts only. A name that can be a value
//! itself, such as an id or an e-mail address, is not kept either. Every dimension is bounded: what is beyond
//! a bound is left out, and a schema without it still holds.

mod names;
mod node;
mod schema;
#[cfg(test)]
mod tests;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use node::{ShapeNode, Walk};

/// Deepest level of objects and arrays that is learnt.
const DEPTH_MAX: usize = 12;
/// Most members of a shape, over all its levels.
const MEMBERS_MAX: usize = 512;
/// Most members of one object with names of their own. An object with more of them is a map, whose names are
/// data: the widest object that a provider documents (GitHub's `repository`) has about 100.
const NAMES_MAX: usize = 128;
/// Objects in a row without a member after which it counts as vanished.
const VANISHED_AFTER: u32 = 100;
/// Items of one array that are looked at.
const ITEMS_MAX: usize = 100;
/// Most bytes of a shape as JSON (28 KiB).
pub const SHAPE_BYTES_MAX: usize = 28 << 10;

/// What is known of the JSON of one event type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// How many events it was learnt from.
    events: u64,
    /// Whether something was left out, because it was beyond a bound.
    #[serde(default)]
    cut: bool,
    root: ShapeNode,
}

/// How a shape differs from what it was before an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeChange {
    /// Where: a JSON pointer. `*` stands for every item of an array, and for every member of a map.
    pub path: String,
    /// What is different there.
    pub what: ShapeNews,
}

/// What is different in a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShapeNews {
    /// A member came that no event had before.
    New,
    /// A member has not come for 100 objects.
    Vanished,
    /// A value is of another kind than all before.
    Kind,
}

impl fmt::Display for ShapeNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Vanished => "vanished",
            Self::Kind => "kind",
        })
    }
}

impl Shape {
    /// Learns from the body of an event, and returns what the event shows for the first time. Each change is
    /// returned once. The first event of a shape changes nothing; a body that is no JSON teaches nothing. The
    /// shape grows to `bytes_max` and [`SHAPE_BYTES_MAX`] at the most.
    pub fn learn(&mut self, body: &[u8], bytes_max: usize) -> Vec<ShapeChange> {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
        let (members, bytes) = self.root.extent();
        let mut walk = Walk {
            members_left: MEMBERS_MAX.saturating_sub(members),
            bytes_left: bytes_max.min(SHAPE_BYTES_MAX).saturating_sub(bytes),
            changes: Vec::new(),
            path: String::new(),
            cut: self.cut,
        };
        walk.value(&mut self.root, &value, 0, self.events == 0);
        self.events = self.events.saturating_add(1);
        self.cut = walk.cut;
        walk.changes
    }

    /// How many events it was learnt from.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// At least as many bytes as it has in JSON.
    pub fn bytes(&self) -> usize {
        self.root.extent().1
    }

    /// The shape as a JSON Schema, of draft 2020-12.
    pub fn json_schema(&self) -> Value {
        schema::of(&self.root, self.events, self.cut)
    }
}
