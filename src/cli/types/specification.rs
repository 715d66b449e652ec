//! The event types that a provider's published specification describes: an OpenAPI 3 document with webhooks,
//! or with schemas of events (pure).
//!
//! A webhook's type is the constant at the place where the provider's definition reads the type: a member of
//! the body such as `type`, or a header and a member of the body. A union with a discriminator there
//! describes a type for each entry of its mapping. Where nothing is constant, the type is named as the
//! webhook is.
//!
//! A document can be anything: references that lead round and round and unions of unions end at a bound,
//! behind which nothing is said to be missing.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::provider::Definition;
use crate::telemetry::Shown;

/// Deepest nesting of references and unions that is followed.
const DEPTH_MAX: usize = 32;
/// Most schemas that are looked at for one list of types.
const STEPS_MAX: usize = 500_000;
/// Most types of a specification; the largest known one has some 300.
const TYPES_MAX: usize = 10_000;
/// Longest type, in bytes: no event has a longer one.
const TYPE_BYTES_MAX: usize = 255;
/// The members that hold webhooks: that of OpenAPI 3.1, and what 3.0 has instead of it.
const WEBHOOKS: [&str; 2] = ["webhooks", "x-webhooks"];
/// The members of a webhook that are requests.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
/// The members that hold named schemas.
const SCHEMAS: [&str; 3] = ["/components/schemas", "/$defs", "/definitions"];
/// The end of the name of a schema of an event, in a document without webhooks.
const EVENT_END: &str = "Event";
/// How a specification names the type of what has any type.
const ANY_TYPE: &str = "*";
/// What says nothing.
static UNSAID: Value = Value::Bool(true);

/// A type as the specification describes it.
#[derive(Debug)]
pub(super) struct DescribedType<'s> {
    /// The schemas of its bodies.
    bodies: Vec<&'s Value>,
    /// Whether the specification advises against it.
    pub(super) is_deprecated: bool,
}

/// The types of a specification by name.
pub(super) type DescribedTypes<'s> = BTreeMap<String, DescribedType<'s>>;

/// Where a specification is read.
#[derive(Debug)]
pub(super) struct Specification {
    document: Value,
    /// How many schemas may still be looked at.
    steps_left: Cell<usize>,
}

/// A body that a specification describes, before it is known which types it is of.
struct DescribedBody<'s> {
    /// The name of the webhook, if it is one of those.
    webhook: Option<&'s str>,
    /// What the header with the type can have.
    headers: BTreeSet<String>,
    schema: &'s Value,
    is_deprecated: bool,
}

/// What a schema says of a place.
enum Place<'s> {
    /// There is a value, as these schemas say.
    There(Vec<&'s Value>),
    /// It says nothing.
    Unsaid,
    /// There is none.
    Missing,
}

impl Specification {
    /// A specification from its document.
    pub(super) fn new(document: Value) -> Self {
        Self { document, steps_left: Cell::new(STEPS_MAX) }
    }

    /// The types that it describes for this provider: those of its webhooks, or of the schema of this name.
    ///
    /// # Errors
    /// With what is missing, if it describes none.
    pub(super) fn types(
        &self,
        definition: &Definition,
        schema: Option<&str>,
    ) -> Result<DescribedTypes<'_>, String> {
        self.steps_left.set(STEPS_MAX);
        let (mut types, mut descriptions) = (DescribedTypes::new(), 0);
        for body in self.bodies(definition, schema)? {
            for (mapped, variant) in self.variants(body.schema, definition) {
                let names = self.names(&body, mapped, variant, definition).into_iter();
                for name in names.filter(|name| name != ANY_TYPE && name.len() <= TYPE_BYTES_MAX) {
                    descriptions += 1;
                    if descriptions > STEPS_MAX {
                        return Err(format!("it describes types more than {STEPS_MAX} times"));
                    }
                    let described = types.entry(name);
                    let described =
                        described.or_insert(DescribedType { bodies: Vec::new(), is_deprecated: true });
                    described.bodies.push(variant);
                    described.is_deprecated &= body.is_deprecated || is_deprecated(variant);
                }
                if types.len() > TYPES_MAX {
                    return Err(format!("it has more than {TYPES_MAX} types"));
                }
            }
        }
        match types.is_empty() {
            true => Err("it describes no event type: expected an OpenAPI document with `webhooks`, or the \
                         name of a schema of events after --schema"
                .into()),
            false => Ok(types),
        }
    }

    /// Takes so many steps, if as many are left; else there are none any more.
    fn spend(&self, steps: usize) -> bool {
        let left = self.steps_left.get();
        self.steps_left.set(left.saturating_sub(steps));
        steps <= left
    }

    /// Whether it is so entangled that not all of it was looked at.
    pub(super) fn is_entangled(&self) -> bool {
        self.steps_left.get() == 0
    }

    /// Whether the specification says that none of these places is in a body of the type.
    pub(super) fn lacks<'p>(
        &self,
        described: &DescribedType<'_>,
        pointers: impl Iterator<Item = &'p str>,
    ) -> bool {
        let mut any = false;
        for pointer in pointers {
            any = true;
            let mut places = described.bodies.iter().map(|body| self.at(body, pointer));
            if places.any(|place| !matches!(place, Place::Missing)) {
                return false;
            }
        }
        any
    }

    fn bodies<'s>(
        &'s self,
        definition: &Definition,
        schema: Option<&str>,
    ) -> Result<Vec<DescribedBody<'s>>, String> {
        let of_schema = |schema: &'s Value| DescribedBody {
            webhook: None,
            headers: BTreeSet::new(),
            schema,
            is_deprecated: false,
        };
        let schemas = SCHEMAS.iter().filter_map(|place| self.document.pointer(place)?.as_object());
        if let Some(name) = schema {
            let found = schemas.clone().find_map(|schemas| schemas.get(name));
            let found = found.ok_or_else(|| format!("it has no schema `{}`", Shown(name)))?;
            return Ok(vec![of_schema(found)]);
        }
        let webhooks = WEBHOOKS.iter().filter_map(|member| self.document.get(member)?.as_object());
        let webhooks: Vec<(&String, &Value)> = webhooks.flatten().collect();
        if webhooks.is_empty() {
            let events = schemas.flatten().filter(|(name, _)| name.ends_with(EVENT_END));
            return Ok(events.map(|(_, schema)| of_schema(schema)).collect());
        }
        let mut bodies = Vec::new();
        for (name, item) in webhooks {
            let item = self.resolved(item);
            let operations: Vec<&Value> = METHODS.iter().filter_map(|method| item.get(method)).collect();
            // One that says nothing of its requests is a webhook all the same.
            let operations = if operations.is_empty() { vec![&UNSAID] } else { operations };
            for operation in operations {
                bodies.push(DescribedBody {
                    webhook: Some(name),
                    headers: self.headers([item, operation], definition),
                    schema: self.body(operation),
                    is_deprecated: is_deprecated(operation),
                });
            }
        }
        Ok(bodies)
    }

    /// The schema of an operation's body as JSON.
    fn body<'s>(&'s self, operation: &'s Value) -> &'s Value {
        let content = operation.get("requestBody").map(|body| self.resolved(body));
        let content = content.and_then(|body| body.get("content")?.as_object());
        let media = content.and_then(|content| {
            content.iter().find(|(kind, _)| kind.contains("json")).or_else(|| content.iter().next())
        });
        media.and_then(|(_, media)| media.get("schema")).unwrap_or(&UNSAID)
    }

    /// What the header with the type can have, as the parameters of a webhook and its operation say.
    fn headers(&self, owners: [&Value; 2], definition: &Definition) -> BTreeSet<String> {
        let Some(header) = definition.type_header() else { return BTreeSet::new() };
        let parameters = owners.into_iter().filter_map(|owner| owner.get("parameters")?.as_array());
        let parameters = parameters.flatten().map(|parameter| self.resolved(parameter));
        let named = parameters.filter(|parameter| {
            parameter["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(header))
        });
        let mut values = BTreeSet::new();
        for parameter in named {
            let mut said = self.constants(&[parameter.get("schema").unwrap_or(&UNSAID)]);
            if said.is_empty() {
                let places = ["/example", "/schema/example", "/schema/examples/0"];
                let examples = places.iter().filter_map(|place| parameter.pointer(place)?.as_str());
                said.extend(examples.take(1).map(ToOwned::to_owned));
            }
            values.extend(said);
        }
        values
    }

    /// The schemas of a union that a discriminator tells apart by the type, with the type of each; any other
    /// union's; or the schema itself.
    fn variants<'s>(
        &'s self,
        schema: &'s Value,
        definition: &Definition,
    ) -> Vec<(Option<&'s str>, &'s Value)> {
        let schema = self.resolved(schema);
        let mapping = schema.pointer("/discriminator/mapping").and_then(Value::as_object);
        let property = schema.pointer("/discriminator/propertyName").and_then(Value::as_str);
        let is_type = |property: &str| {
            definition.type_pointers().any(|pointer| pointer.strip_prefix('/') == Some(property))
        };
        if let (Some(mapping), Some(_)) = (mapping, property.filter(|property| is_type(property))) {
            return mapping
                .iter()
                .map(|(name, target)| (Some(name.as_str()), self.target(target).unwrap_or(&UNSAID)))
                .collect();
        }
        let union = ["oneOf", "anyOf"].iter().find_map(|word| schema.get(word)?.as_array());
        match union {
            Some(branches) => branches.iter().map(|branch| (None, self.resolved(branch))).collect(),
            None => vec![(None, schema)],
        }
    }

    /// The types of a body.
    fn names(
        &self,
        body: &DescribedBody<'_>,
        mapped: Option<&str>,
        variant: &Value,
        definition: &Definition,
    ) -> BTreeSet<String> {
        if let Some(name) = mapped {
            return [name.to_owned()].into();
        }
        let mut stated = definition.type_pointers().map(|pointer| match self.at(variant, pointer) {
            Place::There(schemas) => self.constants(&schemas),
            _ => BTreeSet::new(),
        });
        let stated = stated.find(|names| !names.is_empty()).unwrap_or_default();
        if definition.type_header().is_some() && !body.headers.is_empty() {
            let headers = body.headers.iter();
            return match stated.is_empty() {
                true => headers.cloned().collect(),
                // One more than is allowed is refused by the caller.
                false => headers
                    .flat_map(|event| stated.iter().map(move |detail| format!("{event}.{detail}")))
                    .take(TYPES_MAX + 1)
                    .collect(),
            };
        }
        match body.webhook {
            Some(name) if stated.is_empty() || definition.type_header().is_some() => {
                let known = definition.catalogue.find_alias(name).map(|info| info.name.to_string());
                [known.unwrap_or_else(|| name.to_owned())].into()
            }
            None if definition.type_header().is_some() => BTreeSet::new(),
            _ => stated,
        }
    }

    /// The texts that these schemas allow, if they allow only some; else what they have as a default: by it
    /// Stream's name their type.
    fn constants(&self, schemas: &[&Value]) -> BTreeSet<String> {
        let (mut texts, mut defaults) = (BTreeSet::new(), BTreeSet::new());
        for schema in schemas {
            for part in self.parts(schema) {
                let some = part.get("enum").and_then(Value::as_array);
                if !self.spend(some.map_or(0, Vec::len)) {
                    return texts;
                }
                let said = part.get("const").into_iter().chain(some.into_iter().flatten());
                texts.extend(said.filter_map(type_text));
                defaults.extend(part.get("default").and_then(type_text));
            }
        }
        if texts.is_empty() { defaults } else { texts }
    }

    /// What a schema says of a place.
    fn at<'s>(&'s self, schema: &'s Value, pointer: &str) -> Place<'s> {
        let (mut here, mut is_open) = (vec![schema], false);
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            let mut next = Vec::new();
            for part in here.into_iter().flat_map(|schema| self.parts(schema)) {
                let member = part.get("properties").and_then(|members| members.get(&step));
                let item = part.get("items").filter(|_| step.parse::<usize>().is_ok());
                next.extend(member.or(item));
                is_open |= is_open_to_more(part);
            }
            match (next.is_empty(), is_open) {
                (true, true) => return Place::Unsaid,
                (true, false) => return Place::Missing,
                (false, _) => here = next,
            }
        }
        Place::There(here)
    }

    /// The schemas that a schema consists of: itself, and those that hold with it or in its place.
    fn parts<'s>(&'s self, schema: &'s Value) -> Vec<&'s Value> {
        let mut found = Vec::new();
        self.collect(schema, 0, &mut found);
        found
    }

    fn collect<'s>(&'s self, schema: &'s Value, depth: usize, found: &mut Vec<&'s Value>) {
        if depth > DEPTH_MAX || !self.spend(1) {
            found.push(&UNSAID);
            return;
        }
        found.push(schema);
        if let Some(reference) = schema.get("$ref") {
            self.collect(self.target(reference).unwrap_or(&UNSAID), depth + 1, found);
        }
        for word in ["allOf", "oneOf", "anyOf"] {
            let inner = schema.get(word).and_then(Value::as_array).into_iter().flatten();
            inner.for_each(|inner| self.collect(inner, depth + 1, found));
        }
    }

    /// What stands behind a reference, or the value itself.
    fn resolved<'s>(&'s self, value: &'s Value) -> &'s Value {
        let mut value = value;
        for _ in 0..DEPTH_MAX {
            match value.get("$ref").map(|reference| self.target(reference)) {
                Some(Some(target)) => value = target,
                Some(None) => return &UNSAID,
                None => return value,
            }
        }
        &UNSAID
    }

    /// The target of a reference within the document; a mapping can have the name of a schema alone. Other
    /// documents are not read.
    fn target<'s>(&'s self, reference: &Value) -> Option<&'s Value> {
        let reference = reference.as_str()?;
        match reference.strip_prefix('#') {
            Some(pointer) => self.document.pointer(pointer),
            None => self.document.pointer(SCHEMAS[0])?.get(reference),
        }
    }
}

fn is_deprecated(described: &Value) -> bool {
    described["deprecated"] == true
}

/// Whether an object can have members that the schema does not name, or the schema does not say.
fn is_open_to_more(schema: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return *schema == Value::Bool(true) };
    let is_object = match schema.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => true,
    };
    let says = ["properties", "items", "$ref", "allOf", "oneOf", "anyOf", "const", "enum"];
    let is_silent = !says.iter().any(|word| schema.contains_key(*word));
    let names_more = match schema.get("additionalProperties") {
        None | Some(Value::Bool(false)) => false,
        Some(_) => true,
    };
    is_object && (is_silent || names_more || schema.contains_key("patternProperties"))
}

/// A text that can be a type, or a part of one.
fn type_text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| text.len() <= TYPE_BYTES_MAX).map(ToOwned::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::builtin_named;

    fn names(document: Value, provider: &str, schema: Option<&str>) -> Result<Vec<String>, String> {
        let specification = Specification::new(document);
        let types = specification.types(&builtin_named(provider).unwrap(), schema)?;
        Ok(types.into_keys().collect())
    }

    fn webhook(schema: &Value) -> Value {
        json!({ "post": { "requestBody": { "content": { "application/json": { "schema": schema } } } } })
    }

    #[test]
    fn a_webhook_is_named_by_the_constant_in_its_body_else_by_itself() {
        let document = json!({
            "webhooks": {
                "assetCreated": webhook(&json!({ "$ref": "#/components/schemas/AssetCreated" })),
                "video.asset.ready": webhook(&json!({ "type": "object" })),
                "several": webhook(&json!({ "properties": { "type": { "enum": ["video.a", "video.b"] } } })),
                "union": webhook(&json!({ "oneOf": [
                    { "properties": { "type": { "const": "video.c" } } },
                    { "properties": { "type": { "const": "video.d" } } },
                ] })),
                "elsewhere": { "$ref": "https://example.com/item.json" },
                "silent": { "post": {} },
            },
            "components": { "schemas": {
                "Base": { "properties": { "type": { "type": "string" } } },
                "AssetCreated": { "allOf": [
                    { "$ref": "#/components/schemas/Base" },
                    { "properties": { "type": { "enum": ["video.asset.created"] } } },
                ] },
            } },
        });
        let expected = [
            "elsewhere",
            "silent",
            "video.a",
            "video.asset.created",
            "video.asset.ready",
            "video.b",
            "video.c",
            "video.d",
        ];
        assert_eq!(names(document, "mux", None).unwrap(), expected);
    }

    #[test]
    fn a_type_in_a_header_is_joined_with_the_detail_in_the_body() {
        let item = |event: Value, body: Value| {
            let mut item = webhook(&body);
            item["post"]["parameters"] = json!([event]);
            item
        };
        let created = json!({ "properties": { "action": { "enum": ["created"] } } });
        let document = json!({ "webhooks": {
            "issue-comment-created": item(
                json!({ "name": "X-Github-Event", "example": "issue_comment" }),
                created,
            ),
            "push": item(
                json!({ "name": "x-github-event", "schema": { "const": "push" } }),
                json!({ "properties": { "ref": { "type": "string" } } }),
            ),
        } });
        assert_eq!(names(document, "github", None).unwrap(), ["issue_comment.created", "push"]);
    }

    #[test]
    fn a_union_has_a_type_for_each_entry_of_its_discriminator() {
        let document = json!({ "components": { "schemas": { "AnyEvent": {
            "oneOf": [{ "$ref": "#/components/schemas/Created" }],
            "discriminator": { "propertyName": "type", "mapping": {
                "call.created": "#/components/schemas/Created", "call.gone": "Created", "*": "Created",
            } },
        }, "Created": { "properties": { "call_cid": {} } } } } });
        assert_eq!(
            names(document.clone(), "stream", Some("AnyEvent")).unwrap(),
            ["call.created", "call.gone"]
        );
        let mut more = document.clone();
        more["components"]["schemas"]["RingEvent"] =
            json!({ "properties": { "type": { "default": "call.ring" } } });
        more["components"]["schemas"]["CustomEvent"] =
            json!({ "properties": { "type": { "default": "*" } } });
        more["components"]["schemas"]["Image"] = json!({ "properties": { "type": { "const": "image" } } });
        assert_eq!(names(more, "stream", None).unwrap(), ["call.created", "call.gone", "call.ring"]);
        let missing = names(document, "stream", Some("Nothing")).unwrap_err();
        assert_eq!(missing, "it has no schema `Nothing`");
    }

    #[test]
    fn a_document_without_event_types_is_refused() {
        for document in [json!({}), json!({ "webhooks": {} }), json!({ "webhooks": [], "components": 1 })] {
            assert!(names(document, "mux", None).unwrap_err().contains("no event type"));
        }
    }

    #[test]
    fn types_that_are_multiplied_end_at_the_bound_and_none_is_longer_than_one_can_be() {
        let many = |name: &str| (0..3_000).map(|at| format!("{name}{at}")).collect::<Vec<_>>();
        let long = "l".repeat(10 << 20);
        let action = |said: Value| json!({ "properties": { "action": { "enum": said } } });
        let document = |events: Value, body: Value| {
            let mut item = webhook(&body);
            item["post"]["parameters"] = json!([{ "name": "X-GitHub-Event", "schema": { "enum": events } }]);
            json!({ "webhooks": { "all": item } })
        };
        let multiplied = names(document(json!(many("e")), action(json!(many("a")))), "github", None);
        assert_eq!(multiplied.unwrap_err(), "it has more than 10000 types");
        let long = document(json!(["push", long]), action(json!([long, "created"])));
        assert_eq!(names(long, "github", None).unwrap(), ["push.created"]);

        // Each branch has the same types, and each reference the same long list.
        let branches = json!({ "oneOf": vec![action(json!(["created"])); 3_000] });
        let list = json!({ "oneOf": vec![json!({ "$ref": "#/$defs/List" }); 3_000] });
        let mut referred = document(json!(["push"]), json!({ "properties": { "action": list } }));
        referred["$defs"]["List"] = json!({ "enum": many("a") });
        let described = names(document(json!(many("e")), branches), "github", None);
        assert_eq!(described.unwrap_err(), "it describes types more than 500000 times");
        let referred = Specification::new(referred);
        let types = referred.types(&builtin_named("github").unwrap(), None).unwrap();
        assert!(referred.is_entangled() && types.len() == 3_000);
    }

    #[test]
    fn nothing_is_missing_where_a_schema_is_open_or_leads_round_and_round() {
        let round = json!({ "$ref": "#/$defs/Round" });
        let round = json!({ "oneOf": [round, round, round, round] });
        let document = json!({
            "webhooks": {
                "closed": webhook(&json!({ "type": "object", "properties": { "id": {} } })),
                "open": webhook(&json!({ "properties": { "id": {} }, "additionalProperties": true })),
                "nested": webhook(&json!({ "properties": { "object": { "type": "object" } } })),
                "items": webhook(&json!({ "properties": { "object": { "properties": { "id": {} } } } })),
                "round": webhook(&json!({ "$ref": "#/$defs/Round" })),
            },
            "$defs": { "Round": round },
        });
        let specification = Specification::new(document);
        let types = specification.types(&builtin_named("mux").unwrap(), None).unwrap();
        let lacks = |name: &str| specification.lacks(&types[name], ["/object/id"].into_iter());
        assert!(specification.is_entangled(), "the round takes every step");
        specification.steps_left.set(STEPS_MAX);
        assert_eq!(["closed", "open", "nested", "items"].map(lacks), [true, false, false, false],);
        assert!(!lacks("round"));
        assert!(!specification.lacks(&types["closed"], std::iter::empty()), "what is read nowhere");
    }
}
