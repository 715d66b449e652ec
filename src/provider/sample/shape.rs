//! The shapes of the built-in providers' sample bodies, from the files in `shapes/`.
//!
//! A file lists shapes, each with top-level members for certain types. A type has the members of
//! every shape that names it, or that names its beginning with a `*` after it. `$name` is the part
//! of that name, and a member without a value is the part of its name. In texts, `{entity}`,
//! `{number}` and so on are replaced by facts of the sample.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{ENTITIES, detail, uuid};
use crate::event::Timestamp;

/// The facts of one sample.
pub(super) struct SampleFacts<'a> {
    pub event_type: &'a str,
    pub now: Timestamp,
    pub n: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shapes {
    parts: BTreeMap<String, Value>,
    shapes: Vec<Shape>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    of: Vec<String>,
    with: Vec<Member>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Member {
    Part(String),
    Value(BTreeMap<String, Value>),
}

/// The files, by provider.
static FILES: LazyLock<BTreeMap<&str, Shapes>> = LazyLock::new(|| {
    let texts = [
        ("fastpix", include_str!("shapes/fastpix.yaml")),
        ("github", include_str!("shapes/github.yaml")),
        ("mux", include_str!("shapes/mux.yaml")),
        ("shopify", include_str!("shapes/shopify.yaml")),
        ("stream", include_str!("shapes/stream.yaml")),
        ("stripe", include_str!("shapes/stripe.yaml")),
    ];
    let read = |text| serde_saphyr::from_str(text).expect("the built-in shapes are tested");
    texts.into_iter().map(|(name, text)| (name, read(text))).collect()
});

/// A body in the shape of its type, `None` if the provider has no shapes for it.
pub(super) fn body(provider: &str, facts: &SampleFacts<'_>) -> Option<Map<String, Value>> {
    let Shapes { parts, shapes } = FILES.get(provider)?;
    let writer = Writer { parts, tokens: tokens(facts) };
    let mut body = Map::new();
    for member in shapes.iter().filter(|shape| shape.is_of(facts.event_type)).flat_map(|shape| &shape.with) {
        match member {
            Member::Part(name) => drop(body.insert(name.clone(), writer.part(name))),
            Member::Value(values) => {
                body.extend(values.iter().map(|(name, value)| (name.clone(), writer.write(value))));
            }
        }
    }
    (!body.is_empty()).then_some(body)
}

impl Shape {
    fn is_of(&self, event_type: &str) -> bool {
        self.of.iter().any(|name| match name.strip_suffix('*') {
            Some(beginning) => event_type.starts_with(beginning),
            None => event_type == name,
        })
    }
}

/// The replacements in texts. The first three become numbers where they are the whole text.
fn tokens(facts: &SampleFacts<'_>) -> [(&'static str, String); 11] {
    let SampleFacts { event_type, now, n } = facts;
    let entity = n % ENTITIES;
    let hex = |parts: &[&str]| hex::encode(Sha256::digest(parts.join("#")));
    let number = n.to_string();
    [
        ("{entity}", entity.to_string()),
        ("{number}", number.clone()),
        ("{seconds}", now.unix_seconds().to_string()),
        ("{type}", (*event_type).into()),
        ("{action}", detail(event_type).unwrap_or_default().into()),
        ("{object}", event_type.split(['.', '/']).next().unwrap_or_default().into()),
        ("{now}", now.to_rfc3339()),
        ("{event}", uuid(&[event_type, "event"], *n)),
        ("{thing}", uuid(&["thing"], entity)),
        ("{hex}", hex(&["hex", &entity.to_string()])[..32].into()),
        ("{sha}", hex(&["sha", &number])[..40].into()),
    ]
}

/// Writes parts and values with replacements.
struct Writer<'a> {
    parts: &'a BTreeMap<String, Value>,
    tokens: [(&'static str, String); 11],
}

impl Writer<'_> {
    fn part(&self, name: &str) -> Value {
        self.write(self.parts.get(name).unwrap_or(&Value::Null))
    }

    fn write(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => match text.strip_prefix('$') {
                Some(name) => self.part(name),
                None => self.text(text),
            },
            Value::Array(values) => values.iter().map(|value| self.write(value)).collect(),
            Value::Object(members) => {
                let write = |(name, value): (&String, &Value)| match self.text(name) {
                    Value::String(name) => (name, self.write(value)),
                    _ => (name.clone(), self.write(value)),
                };
                Value::Object(members.iter().map(write).collect())
            }
            other => other.clone(),
        }
    }

    fn text(&self, text: &str) -> Value {
        if let Some((_, fact)) = self.tokens[..3].iter().find(|(token, _)| *token == text)
            && let Ok(number) = fact.parse::<i64>()
        {
            return number.into();
        }
        let filled =
            self.tokens.iter().fold(text.to_owned(), |text, (token, fact)| match text.contains(token) {
                true => text.replace(token, fact),
                false => text,
            });
        filled.into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::super::builtin;
    use super::*;

    fn texts<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::String(text) => found.push(text),
            Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
            Value::Object(members) => members.values().for_each(|value| texts(value, found)),
            _ => {}
        }
    }

    #[test]
    fn each_part_that_is_named_is_there_and_each_that_is_there_is_named() {
        for (provider, Shapes { parts, shapes }) in FILES.iter() {
            let mut named = Vec::new();
            parts.values().for_each(|value| texts(value, &mut named));
            for member in shapes.iter().flat_map(|shape| &shape.with) {
                match member {
                    Member::Part(name) => assert!(parts.contains_key(name), "{provider}: {name}"),
                    Member::Value(values) => values.values().for_each(|value| texts(value, &mut named)),
                }
            }
            let named: Vec<&str> = named.into_iter().filter_map(|text| text.strip_prefix('$')).collect();
            for name in &named {
                assert!(parts.contains_key(*name), "{provider}: {name}");
            }
            let whole = |name: &String| {
                let members = || shapes.iter().flat_map(|shape| &shape.with);
                members().any(|member| matches!(member, Member::Part(part) if part == name))
            };
            for name in parts.keys() {
                assert!(named.contains(&name.as_str()) || whole(name), "{provider}: {name} is nowhere used");
            }
        }
    }

    #[test]
    fn each_shape_is_of_a_type_that_there_is_and_each_type_has_a_shape() {
        for definition in builtin() {
            let Some(Shapes { shapes, .. }) = FILES.get(&*definition.provider) else {
                assert_eq!(definition.catalogue.types().len(), 0, "{}", definition.provider);
                continue;
            };
            for name in shapes.iter().flat_map(|shape| &shape.of) {
                let of = Shape { of: vec![name.clone()], with: Vec::new() };
                let known = definition.catalogue.types().any(|info| of.is_of(&info.name));
                assert!(known, "{}: {name}", definition.provider);
            }
            for info in definition.catalogue.types() {
                let facts = SampleFacts { event_type: &info.name, now: Timestamp(1), n: 7 };
                let body = body(&definition.provider, &facts);
                assert!(body.is_some(), "{}", info.name);
                let text = Value::Object(body.unwrap()).to_string();
                let unfilled = text.replace("{passphrase}", "");
                assert!(!unfilled.contains("\"$"), "{text}");
                assert!(
                    !unfilled
                        .as_bytes()
                        .windows(2)
                        .any(|pair| pair[0] == b'{' && pair[1].is_ascii_lowercase()),
                    "{text}"
                );
            }
        }
    }
}
