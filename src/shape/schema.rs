//! A shape as a JSON Schema.

use serde_json::{Map, Value, json};

use super::node::ShapeNode;

/// The schema of a whole shape.
pub(super) fn of(root: &ShapeNode, events: u64, cut: bool) -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    let rest = if cut { "; what is beyond the bounds of a shape is left out" } else { "" };
    schema.insert("$comment".into(), format!("learnt from {events} events{rest}").into());
    describe(root, cut, &mut schema);
    schema.into()
}

fn level(node: &ShapeNode, cut: bool) -> Value {
    let mut schema = Map::new();
    describe(node, cut, &mut schema);
    schema.into()
}

fn describe(node: &ShapeNode, cut: bool, schema: &mut Map<String, Value>) {
    match *node.kinds.words() {
        [] => return,
        [kind] => schema.insert("type".into(), kind.into()),
        ref kinds => schema.insert("type".into(), json!(kinds)),
    };
    if !node.members.is_empty() {
        let properties = node.members.iter().map(|(name, member)| (name.clone(), level(&member.node, cut)));
        schema.insert("properties".into(), properties.collect());
        let always = node.members.iter().filter(|(_, member)| member.seen == node.objects);
        let always: Vec<&str> = always.map(|(name, _)| name.as_str()).collect();
        if !always.is_empty() {
            schema.insert("required".into(), json!(always));
        }
    }
    // Where members were left out, what is known of the nameless ones does not hold for the others.
    if let Some(others) = node.others.as_ref().filter(|_| !cut) {
        schema.insert("additionalProperties".into(), level(others, cut));
    }
    if let Some(items) = &node.items {
        schema.insert("items".into(), level(items, cut));
    }
}
