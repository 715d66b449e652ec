use proptest::prelude::*;
use serde_json::{Map, json};

use super::names::is_name;
use super::*;

fn learnt(bodies: &[Value]) -> Shape {
    let mut shape = Shape::default();
    bodies.iter().for_each(|body| drop(learn(&mut shape, body)));
    shape
}

fn learn(shape: &mut Shape, body: &Value) -> Vec<(ShapeNews, String)> {
    let changes = shape.learn(body.to_string().as_bytes(), SHAPE_BYTES_MAX);
    changes.into_iter().map(|change| (change.what, change.path)).collect()
}

#[test]
fn a_schema_has_the_members_their_kinds_and_which_are_always_there() {
    let shape = learnt(&[
        json!({ "type": "a", "n": 1, "user": { "id": "u" }, "tags": [] }),
        json!({ "type": "a", "n": 1.5, "user": { "id": null, "name": "x" }, "tags": ["t", 2] }),
    ]);
    let mut schema = shape.json_schema();
    let about = schema.as_object_mut().expect("an object");
    assert_eq!(about.remove("$comment"), Some("learnt from 2 events".into()));
    assert_eq!(about.remove("$schema"), Some("https://json-schema.org/draft/2020-12/schema".into()));
    let expected = json!({
        "type": "object",
        "properties": {
            "type": { "type": "string" },
            "n": { "type": "number" },
            "user": {
                "type": "object",
                "properties": { "id": { "type": ["null", "string"] }, "name": { "type": "string" } },
                "required": ["id"],
            },
            "tags": { "type": "array", "items": { "type": ["integer", "string"] } },
        },
        "required": ["n", "tags", "type", "user"],
    });
    assert_eq!(schema, expected);
}

#[test]
fn each_change_is_reported_once_and_what_is_within_a_new_member_is_not_reported() {
    let mut shape = Shape::default();
    assert_eq!(learn(&mut shape, &json!({ "a": 1, "b": { "c": "x" } })), []);
    assert_eq!(learn(&mut shape, &json!({ "a": 1, "b": { "c": "y" } })), []);
    let other = json!({ "a": null, "b": { "c": "y", "d": { "e": 1 } } });
    let news = [(ShapeNews::Kind, "/a".to_owned()), (ShapeNews::New, "/b/d".to_owned())];
    assert_eq!(learn(&mut shape, &other), news);
    assert_eq!(learn(&mut shape, &other), []);
    let inner = json!({ "a": 1, "b": { "c": "y", "d": { "e": 1, "f": [{ "g": 1 }] } } });
    assert_eq!(learn(&mut shape, &inner), [(ShapeNews::New, "/b/d/f".to_owned())]);
    let item = json!({ "a": 1, "b": { "c": "y", "d": { "e": 1, "f": [{ "g": "one" }] } } });
    assert_eq!(learn(&mut shape, &item), [(ShapeNews::Kind, "/b/d/f/*/g".to_owned())]);
}

#[test]
fn a_member_that_a_hundred_events_in_a_row_lack_is_reported_as_vanished_once() {
    let mut shape = learnt(&[json!({ "a": 1, "b": 1 })]);
    for _ in 1..VANISHED_AFTER {
        assert_eq!(learn(&mut shape, &json!({ "a": 1 })), []);
    }
    assert_eq!(learn(&mut shape, &json!({ "a": 1 })), [(ShapeNews::Vanished, "/b".to_owned())]);
    for body in [json!({ "a": 1 }), json!({ "a": 1, "b": 1 })] {
        assert_eq!(learn(&mut shape, &body), []);
    }
}

#[test]
fn a_name_that_is_an_id_or_an_address_becomes_additional_properties() {
    let members =
        json!({ "role": "admin", "jane@example.com": { "age": 1 }, "user_1234567": { "age": null } });
    let schema = learnt(&[json!({ "members": members })]).json_schema();
    let expected = json!({
        "type": "object",
        "properties": { "role": { "type": "string" } },
        "required": ["role"],
        "additionalProperties": {
            "type": "object",
            "properties": { "age": { "type": ["null", "integer"] } },
            "required": ["age"],
        },
    });
    assert_eq!(schema["properties"]["members"], expected);
}

#[test]
fn an_object_with_very_many_names_is_a_map_and_its_names_go() {
    let wide = |count: usize| -> Value {
        let members = (0..count).map(|n| (format!("name_{}", word(n)), json!({ "n": n })));
        json!({ "by_name": members.collect::<Map<_, _>>() })
    };
    let kept = learnt(&[wide(NAMES_MAX)]).json_schema();
    assert_eq!(kept["properties"]["by_name"]["properties"].as_object().map(Map::len), Some(NAMES_MAX));
    let mut shape = learnt(&[wide(NAMES_MAX), wide(NAMES_MAX + 50)]);
    let map = &shape.json_schema()["properties"]["by_name"];
    assert_eq!(map["properties"], Value::Null);
    assert_eq!(map["additionalProperties"]["properties"]["n"]["type"], "integer");
    assert_eq!(learn(&mut shape, &wide(NAMES_MAX + 60)), [], "names of a map are no news");
}

/// A word without digits for a number.
fn word(number: usize) -> String {
    let letter = |digit: usize| char::from(b'a' + u8::try_from(digit % 26).expect("a letter"));
    [number / 676, number / 26, number].map(letter).iter().collect()
}

#[test]
fn what_is_stored_is_read_the_same_again() {
    let shape = learnt(&[json!({ "a": [{ "b": 1 }], "1": {} }), json!({ "c": null })]);
    let text = serde_json::to_string(&shape).expect("JSON");
    assert_eq!(serde_json::from_str::<Shape>(&text).expect("a shape"), shape);
}

const CANARY: &str = "canary-in-a-value";

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(|text| Value::from(format!("{CANARY}{text}"))),
    ];
    leaf.prop_recursive(16, 256, 40, |inner| {
        let name = prop_oneof!["[a-d]", "[a-z]{1,70}", ".{0,12}", "[a-z]{3}@[a-z]{3}\\.org", "[0-9a-f]{32}"];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::vec((name, inner), 0..40)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Whether a value is as a schema of these words says.
fn holds(schema: &Value, value: &Value) -> bool {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_kind = |said: &Value| said == kind || (said == "number" && kind == "integer");
    let kind_holds = match &schema["type"] {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(is_kind),
        said => is_kind(said),
    };
    let rest_holds = match value {
        Value::Array(items) => {
            schema["items"].is_null() || items.iter().all(|item| holds(&schema["items"], item))
        }
        Value::Object(object) => {
            let required = schema["required"].as_array().into_iter().flatten();
            let all_there = required.filter_map(Value::as_str).all(|name| object.contains_key(name));
            all_there
                && object.iter().all(|(name, value)| {
                    let named = schema["properties"].get(name);
                    named.or(schema.get("additionalProperties")).is_none_or(|schema| holds(schema, value))
                })
        }
        _ => true,
    };
    kind_holds && rest_holds
}

/// The names and the depth of a schema.
fn names_of(schema: &Value, names: &mut Vec<String>) -> usize {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let named = properties.map(|(name, schema)| {
        names.push(name.clone());
        schema
    });
    let below: Vec<&Value> =
        named.chain(["items", "additionalProperties"].iter().filter_map(|key| schema.get(key))).collect();
    below.into_iter().map(|schema| 1 + names_of(schema, names)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_json_gives_a_bounded_schema_that_holds_and_has_no_value(
        bodies in proptest::collection::vec(any_json(), 1..6)
    ) {
        let shape = learnt(&bodies);
        let schema = shape.json_schema();
        for body in &bodies {
            // A number that JSON has no text for is written as `null`.
            let body: Value = serde_json::from_str(&body.to_string()).expect("JSON");
            prop_assert!(holds(&schema, &body), "{schema} does not hold for {body}");
        }
        let mut names = Vec::new();
        let depth = names_of(&schema, &mut names);
        prop_assert!(depth <= DEPTH_MAX && names.len() <= MEMBERS_MAX, "{depth} {}", names.len());
        prop_assert!(names.iter().all(|name| is_name(name)), "{names:?}");
        prop_assert!(!schema.to_string().contains(CANARY));
        let stored = serde_json::to_string(&shape).expect("JSON");
        prop_assert!(!stored.contains(CANARY));
        prop_assert!(stored.len() <= shape.bytes() + 64, "{} {}", stored.len(), shape.bytes());
        prop_assert!(shape.bytes() <= SHAPE_BYTES_MAX + NODE_SLACK);
    }

    #[test]
    fn any_bytes_are_learnt_from_or_left(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        Shape::default().learn(&body, SHAPE_BYTES_MAX);
    }
}

/// What the first level of a shape has, which is always there.
const NODE_SLACK: usize = 80;
