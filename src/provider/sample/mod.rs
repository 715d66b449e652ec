//! Sample events: plausible bodies of any catalogued type, for tests and demonstrations.
//!
//! A sample of a built-in provider has the shape that the provider's documents give its type
//! ([`shape`]); any other has generic content. The type, id, time and key that the definition looks
//! for are added if the shape lacks them. The same number gives the same entity and id, and different
//! numbers give different ones; nothing is random.

mod shape;

use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::definition::Definition;
use super::definition_file::TimeUnitFile;
use super::pointer::steps;
use crate::event::Timestamp;

/// Number of entities in the samples, enough to see that the order of each one is kept.
const ENTITIES: u64 = 20;

/// The body of the `n`th sample event of a type; `None` if the type is not in the catalogue.
pub fn sample(definition: &Definition, event_type: &str, now: Timestamp, n: u64) -> Option<Vec<u8>> {
    let info = definition.catalogue.find(event_type)?;
    let facts = shape::SampleFacts { event_type, now, n };
    let shaped = shape::body(&definition.provider, &facts);
    let mut body = shaped.unwrap_or_else(|| content(definition, event_type, now, n));
    let pointers = &definition.pointers;
    if let Some(slot) = definition.data_slot {
        let data = Value::Object(std::mem::take(&mut body));
        put(&mut body, pointers.text(slot), data);
    }
    let first = |slots: &[u8]| slots.first().map(|slot| pointers.text(*slot).to_owned());
    let has = |body: &Map<String, Value>, place: &str| {
        find(body, place).is_some_and(|value| value.is_string() || value.is_i64() || value.is_u64())
    };
    if let Some(key) = info.key.first()
        && !info.key.iter().any(|key| has(&body, key))
    {
        put(&mut body, key, json!(entity(key, n)));
    }
    if let Some(place) = first(&definition.id_slots).filter(|place| !has(&body, place)) {
        put(&mut body, &place, json!(uuid(&[event_type, "id"], n)));
    }
    let timed = definition.time_slots.iter().any(|slot| has(&body, pointers.text(*slot)));
    if let Some(place) = first(&definition.time_slots).filter(|_| !timed) {
        put(&mut body, &place, time(definition.time_unit, now));
    }
    if let Some(place) = first(&definition.type_slots) {
        let value = match &definition.type_header {
            Some(_) => detail(event_type),
            None => Some(event_type),
        };
        value.into_iter().for_each(|value| put(&mut body, &place, json!(value)));
    }
    serde_json::to_vec(&Value::Object(body)).ok()
}

/// The header that states the event type, for providers that state it there.
pub fn event_headers(definition: &Definition, event_type: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let stated = match (detail(event_type), definition.type_slots.is_empty()) {
        (Some(detail), false) => &event_type[..event_type.len() - detail.len() - 1],
        _ => event_type,
    };
    if let (Some(name), Ok(value)) = (&definition.type_header, HeaderValue::from_str(stated)) {
        headers.insert(name, value);
    }
    headers
}

/// The part of a type after its first dot, if a header states the part before it.
fn detail(event_type: &str) -> Option<&str> {
    event_type.split_once('.').map(|(_, detail)| detail)
}

/// Generic content: an actor, and an object that resembles the type's.
fn content(definition: &Definition, event_type: &str, now: Timestamp, n: u64) -> Map<String, Value> {
    let object = event_type.split(['.', '/']).next().unwrap_or_default();
    let content = json!({
        "sample": true,
        "provider": *definition.provider,
        "number": n,
        "data": {
            "kind": object,
            "title": format!("Sample no. {n}: café “blå”"),
            "status": "ready",
            "duration_ms": 1_000 + n % 60_000,
            "starts_at": now.to_rfc3339(),
            "settings": { "audio": { "bitrate": 64_000 }, "video": { "width": 1280, "height": 720 } },
            "members": [
                { "id": "amina", "role": "host" },
                { "id": "joris", "role": "guest" },
            ],
        },
    });
    match content {
        Value::Object(content) => content,
        _ => Map::new(),
    }
}

/// An entity's id, in the form that the key's name suggests.
fn entity(pointer: &str, n: u64) -> String {
    let number = n % ENTITIES;
    match pointer.rsplit('/').next().unwrap_or_default() {
        "call_cid" => format!("default:standup-{number}"),
        "cid" => format!("messaging:general-{number}"),
        "fid" => format!("user:member-{number}"),
        _ => uuid(&[pointer], number),
    }
}

fn time(unit: TimeUnitFile, now: Timestamp) -> Value {
    match unit {
        TimeUnitFile::Nanoseconds => json!(now.to_rfc3339()),
        TimeUnitFile::Milliseconds => json!(now.0.div_euclid(1_000_000)),
        TimeUnitFile::Seconds => json!(now.unix_seconds()),
    }
}

/// The value at a pointer.
fn find<'b>(body: &'b Map<String, Value>, pointer: &str) -> Option<&'b Value> {
    let steps = steps(pointer).ok()?;
    let (first, rest) = steps.split_first()?;
    rest.iter().try_fold(body.get(first)?, |value, step| value.get(step))
}

/// Sets the value at a pointer, and creates the objects on the way.
fn put(body: &mut Map<String, Value>, pointer: &str, value: Value) {
    let Ok(mut steps) = steps(pointer) else { return };
    let Some(last) = steps.pop() else { return };
    let mut object = body;
    for step in steps {
        let inner = object.entry(step).or_insert_with(|| json!({}));
        if !inner.is_object() {
            *inner = json!({});
        }
        let Value::Object(inner) = inner else { return };
        object = inner;
    }
    object.insert(last, value);
}

/// An id in the form of a UUID, the same for the same input.
fn uuid(parts: &[&str], n: u64) -> String {
    let digest = Sha256::digest(format!("{}#{n}", parts.join("#")));
    let hex = hex::encode(&digest[..16]);
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}
