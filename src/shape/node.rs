//! One level of a shape, and the walk that learns from a value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::names::is_name;
use super::{DEPTH_MAX, ITEMS_MAX, NAMES_MAX, ShapeChange, ShapeNews, VANISHED_AFTER};

/// Most bytes that a level has in JSON, besides the levels below it.
const NODE_BYTES: usize = 52;
/// Most bytes that a member has in JSON, besides its name and its level.
const MEMBER_BYTES: usize = 44;

/// The kinds of values that came, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Kinds(u8);

impl Kinds {
    /// The words of JSON Schema, each at the bit that it stands for.
    const WORDS: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];
    const INTEGER: u8 = 2;
    const NUMBER: u8 = 3;

    fn bit(value: &Value) -> u8 {
        match value {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Number(number) if number.is_f64() => Self::NUMBER,
            Value::Number(_) => Self::INTEGER,
            Value::String(_) => 4,
            Value::Array(_) => 5,
            Value::Object(_) => 6,
        }
    }

    fn has(self, bit: u8) -> bool {
        self.0 & (1 << bit) != 0
    }

    /// Adds the kind of a value, and returns whether others came before and none was of this kind. Every
    /// integer is a number.
    fn add(&mut self, value: &Value) -> bool {
        let bit = Self::bit(value);
        let is_known = self.has(bit) || (bit == Self::INTEGER && self.has(Self::NUMBER));
        let is_news = !is_known && self.0 != 0;
        self.0 |= if is_known { 0 } else { 1 << bit };
        is_news
    }

    /// The words of these kinds. `number` stands for `integer`, too.
    pub(super) fn words(self) -> Vec<&'static str> {
        let is_said = |bit: u8| self.has(bit) && !(bit == Self::INTEGER && self.has(Self::NUMBER));
        (0..).zip(Self::WORDS).filter_map(|(bit, word)| is_said(bit).then_some(word)).collect()
    }
}

/// What is known of the values at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShapeNode {
    #[serde(rename = "k")]
    pub(super) kinds: Kinds,
    /// How many objects came.
    #[serde(rename = "o", default, skip_serializing_if = "is_zero")]
    pub(super) objects: u32,
    #[serde(rename = "m", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) members: BTreeMap<String, ShapeMember>,
    /// The values of members whose names are not kept. An object of which some names are kept can have them.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) others: Option<Box<ShapeNode>>,
    /// Whether the objects are maps: no name of a member is kept any more.
    #[serde(rename = "x", default, skip_serializing_if = "is_false")]
    pub(super) is_map: bool,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub(super) items: Option<Box<ShapeNode>>,
}

/// A member with a name of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShapeMember {
    #[serde(rename = "v")]
    pub(super) node: ShapeNode,
    /// How many objects had it.
    #[serde(rename = "n")]
    pub(super) seen: u32,
    /// How many objects in a row had it not, up to those after which it counts as vanished.
    #[serde(rename = "w", default, skip_serializing_if = "is_zero")]
    without: u32,
    /// Whether it was reported as vanished.
    #[serde(rename = "g", default, skip_serializing_if = "is_false")]
    vanished: bool,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl ShapeNode {
    /// How many members it has, and how many bytes in JSON at the most, both with all levels below it.
    pub(super) fn extent(&self) -> (usize, usize) {
        let members = self.members.iter().map(|(name, member)| {
            let (members, bytes) = member.node.extent();
            (members + 1, bytes + name.len() + MEMBER_BYTES)
        });
        let nameless = [&self.others, &self.items].into_iter().flatten();
        let nameless = nameless.map(|node| node.extent());
        members.chain(nameless).fold((0, NODE_BYTES), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    }

    /// Makes the objects maps: what is known of the members' values stays, and their names go.
    fn become_map(&mut self) {
        self.is_map = true;
        for member in std::mem::take(&mut self.members).into_values() {
            self.others.get_or_insert_default().merge(member.node);
        }
    }

    /// Adds what is known of values of another place.
    fn merge(&mut self, other: Self) {
        self.kinds.0 |= other.kinds.0;
        self.objects = self.objects.saturating_add(other.objects);
        for (name, member) in other.members {
            let known = self.members.entry(name).or_default();
            known.seen = known.seen.saturating_add(member.seen);
            known.without = known.without.min(member.without);
            known.vanished |= member.vanished;
            known.node.merge(member.node);
        }
        for (place, more) in [(&mut self.others, other.others), (&mut self.items, other.items)] {
            if let Some(more) = more {
                place.get_or_insert_default().merge(*more);
            }
        }
        if other.is_map || self.is_map || self.members.len() > NAMES_MAX {
            self.become_map();
        }
    }
}

/// Learns from one value.
pub(super) struct Walk {
    pub(super) members_left: usize,
    pub(super) bytes_left: usize,
    pub(super) changes: Vec<ShapeChange>,
    /// Where the walk is, as a JSON pointer.
    pub(super) path: String,
    /// Whether something was left out.
    pub(super) cut: bool,
}

impl Walk {
    /// Learns the value at one place. What is below a place that is itself new is learnt silently.
    pub(super) fn value(&mut self, node: &mut ShapeNode, value: &Value, depth: usize, silently: bool) {
        if node.kinds.add(value) && !silently {
            self.report(ShapeNews::Kind);
        }
        let is_too_deep = depth >= DEPTH_MAX;
        match value {
            Value::Object(_) | Value::Array(_) if is_too_deep => self.cut = true,
            Value::Object(object) => self.object(node, object, depth, silently),
            Value::Array(items) => {
                let silently = silently || node.items.is_none();
                for item in items.iter().take(ITEMS_MAX) {
                    self.nameless(&mut node.items, item, depth, silently);
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, node: &mut ShapeNode, object: &Map<String, Value>, depth: usize, silently: bool) {
        let silently = silently || node.objects == 0;
        node.objects = node.objects.saturating_add(1);
        for (name, value) in object {
            if node.is_map || !is_name(name) {
                let silently = silently || node.others.is_none();
                self.nameless(&mut node.others, value, depth, silently);
            } else {
                self.member(node, name, value, depth, silently);
            }
        }
        for (name, member) in &mut node.members {
            if object.contains_key(name) {
                continue;
            }
            member.without = (member.without + 1).min(VANISHED_AFTER);
            if member.without == VANISHED_AFTER && !member.vanished {
                member.vanished = true;
                self.at(name, |walk| walk.report(ShapeNews::Vanished));
            }
        }
    }

    fn member(&mut self, node: &mut ShapeNode, name: &str, value: &Value, depth: usize, silently: bool) {
        if let Some(member) = node.members.get_mut(name) {
            (member.seen, member.without) = (member.seen.saturating_add(1), 0);
            self.at(name, |walk| walk.value(&mut member.node, value, depth + 1, silently));
            return;
        }
        if node.members.len() >= NAMES_MAX {
            node.become_map();
            self.nameless(&mut node.others, value, depth, true);
            return;
        }
        if self.members_left == 0 || !self.take_room(name.len() + MEMBER_BYTES + NODE_BYTES) {
            self.cut = true;
            return;
        }
        self.members_left -= 1;
        let member = node.members.entry(name.to_owned()).or_default();
        member.seen = 1;
        self.at(name, |walk| {
            if !silently {
                walk.report(ShapeNews::New);
            }
            walk.value(&mut member.node, value, depth + 1, true);
        });
    }

    /// Learns an item of an array, or the value of a member whose name is not kept.
    fn nameless(&mut self, place: &mut Option<Box<ShapeNode>>, value: &Value, depth: usize, silently: bool) {
        if place.is_none() && !self.take_room(NODE_BYTES) {
            self.cut = true;
            return;
        }
        let node = place.get_or_insert_default();
        self.at("*", |walk| walk.value(node, value, depth + 1, silently));
    }

    fn take_room(&mut self, bytes: usize) -> bool {
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.unwrap_or(self.bytes_left);
        left.is_some()
    }

    fn at(&mut self, name: &str, learn: impl FnOnce(&mut Self)) {
        let here = self.path.len();
        self.path.push('/');
        self.path.push_str(name);
        learn(self);
        self.path.truncate(here);
    }

    fn report(&mut self, what: ShapeNews) {
        self.changes.push(ShapeChange { path: self.path.clone(), what });
    }
}
