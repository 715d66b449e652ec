//! Event types for the tools of others: what is exported, and how a catalogue differs from a specification.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::bridge::{Bridge, Home};
use crate::support::load::STREAM_PATH;
use crate::support::{await_until, signing, turns};

const WITHIN: Duration = Duration::from_secs(30);
/// A type that a provider of one's own can have, and that tries to get out of wherever it stands.
const WILD: &str = "../../../{evil} <b>`x`</b> \"y\": [z](http://example.com) --- #";

/// A home with a provider of its own, and a sink of each form.
fn home() -> Home {
    let home = Home::new();
    let text = format!(
        "\x20 own: {{ provider: acme, secrets: [env:STREAM_SECRET] }}\n\
         providers:\n\
         \x20 acme:\n\
         \x20   signature: {{ scheme: hmac-sha256, header: x-signature }}\n\
         \x20   event: {{ type: {{ pointers: [/kind] }}, key: [\"/a {{b}}/id\"] }}\n\
         \x20   families: {{ odd: {{ types: {{ {}: {{}}, plain: {{}} }} }} }}\n\
         sinks:\n\
         \x20 local: {{ file: {{ dir: {} }} }}\n\
         \x20 lake: {{ kafka: {{ brokers: \"127.0.0.1:1\" }} }}\n\
         \x20 calls: {{ select: [call.created], attributes: [time], \
         kafka: {{ brokers: \"127.0.0.1:1\", structured: true }} }}\n",
        Value::from(WILD),
        home.path("topics").display()
    );
    home.configure("", &text);
    home
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The names of the catalogue's types that webhooks bring, of these providers.
fn catalogued(home: &Home, providers: &[&str]) -> BTreeSet<String> {
    let rows: Vec<Value> = serde_json::from_str(&home.run_verb(&["types", "--format", "json"])).unwrap();
    let rows = rows.iter().filter(|row| providers.contains(&row["provider"].as_str().unwrap()));
    let arriving = rows.filter(|row| row["channels"].as_array().unwrap().contains(&json!("webhook")));
    arriving.map(|row| row["type"].as_str().unwrap().to_owned()).collect()
}

/// What stands behind a reference of a document.
#[track_caller]
fn target<'d>(document: &'d Value, reference: &Value) -> &'d Value {
    let pointer = reference["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    let found = pointer.and_then(|pointer| document.pointer(pointer));
    found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

#[test]
fn asyncapi_has_every_topic_with_its_types_keys_and_attributes() {
    let home = home();
    let text = home.run_verb(&["types", "export", "--format", "asyncapi"]);
    assert_eq!(text, home.run_verb(&["types", "export", "--format", "asyncapi"]), "it is the same each time");
    let document = read(&text);
    assert_eq!(document["asyncapi"], "3.0.0");
    for part in ["/channels", "/operations", "/components/messages", "/components/schemas"] {
        let keys = document.pointer(part).and_then(Value::as_object).unwrap().keys();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        for key in keys {
            assert!(!key.is_empty() && key.bytes().all(fits), "{part}: {key}");
        }
    }
    let (mut by_sink, mut addresses) = (BTreeMap::<&str, BTreeSet<String>>::new(), BTreeSet::new());
    for (key, channel) in document["channels"].as_object().unwrap() {
        let sink = key.split('.').next().unwrap();
        addresses.insert((sink, channel["address"].as_str().unwrap()));
        for reference in channel["messages"].as_object().unwrap().values() {
            let message = target(&document, reference);
            by_sink.entry(sink).or_default().insert(message["name"].as_str().unwrap().to_owned());
        }
    }
    let every_type = catalogued(&home, &["stream", "fastpix", "acme"]);
    assert!(every_type.contains(WILD));
    assert_eq!(by_sink["lake"], every_type);
    assert_eq!(by_sink["local"], every_type);
    assert_eq!(by_sink["calls"], ["call.created".to_owned()].into());
    for address in ["stream.video.call-lifecycle", "fastpix.media", "acme.odd", "acme.unclassified"] {
        assert!(addresses.contains(&("lake", address)), "{address}: {addresses:?}");
    }
    for operation in document["operations"].as_object().unwrap().values() {
        assert!(target(&document, &operation["channel"])["address"].is_string());
    }

    let messages = &document["components"]["messages"];
    let created = &messages["lake.stream.call.created"];
    let key = &created["bindings"]["kafka"]["key"]["description"];
    assert!(key.as_str().unwrap().contains("/call_cid"), "{created}");
    let headers = target(&document, &created["headers"]);
    assert_eq!(headers["properties"]["ce_specversion"], json!({ "const": "1.0" }));
    let required = headers["required"].as_array().unwrap();
    assert!(required.contains(&json!("ce_id")) && !required.contains(&json!("ce_subject")), "{headers}");
    assert_eq!(target(&document, &created["payload"])["title"], "call.created");
    let fewer = target(&document, &messages["calls.stream.call.created"]["payload"]["allOf"][0]);
    let fewer: Vec<&String> = fewer["properties"].as_object().unwrap().keys().collect();
    for carried in ["id", "type", "time", "timeinferred", "datacontenttype"] {
        assert!(fewer.iter().any(|name| *name == carried), "{carried}: {fewer:?}");
    }
    assert!(!fewer.iter().any(|name| ["sequence", "subject", "ce_id"].contains(&name.as_str())), "{fewer:?}");
}

/// Sends an event, and returns once it is taken.
#[track_caller]
fn send(bridge: &Bridge, event_type: &str, number: u64) {
    let call = format!(r#""type":{},"call_cid":"default:export""#, Value::from(event_type));
    let body = format!(r#"{{{call},"number":{number},"members":{{"jane@example.com":"canary"}}}}"#);
    let signature = signing::stream(body.as_bytes());
    let answer = bridge.client().post(STREAM_PATH, &[("x-signature", &signature)], body.as_bytes());
    assert!(answer.expect("an answer").is_success());
}

#[test]
fn what_a_bridge_has_learnt_fills_the_schemas_and_no_value_is_in_them() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let known = "/$defs/stream~1call.created";
    let before = home.try_verb(&["types", "export", "--format", "json-schema"]);
    let said = String::from_utf8_lossy(&before.stderr).into_owned();
    assert!(before.status.success() && said.contains("no bridge answers"), "{said}");
    let before = read(&String::from_utf8_lossy(&before.stdout));
    assert_eq!(before["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(before.pointer(known).unwrap()["properties"], Value::Null);
    let names = before["$defs"].as_object().unwrap().len();
    assert_eq!(names, catalogued(&home, &["stream", "fastpix"]).len());

    let bridge = home.start();
    send(&bridge, "call.created", 1);
    send(&bridge, "orders/create me", 2);
    let learnt = await_until("both shapes are exported", WITHIN, || {
        let schemas = home.run_verb(&["types", "export", "--format", "json-schema"]);
        (schemas.matches("\"number\": {").count() == 2).then_some(schemas)
    });
    let schemas = read(&learnt);
    let number = |of: &str| schemas.pointer(of).unwrap()["properties"]["number"].clone();
    assert_eq!(number(known), json!({ "type": "integer" }));
    assert_eq!(number("/$defs/stream~1orders~1create me"), json!({ "type": "integer" }));
    let document = home.run_verb(&["types", "export", "--format", "asyncapi"]);
    let body = &read(&document)["components"]["schemas"]["body.stream.orders_x2f_create_x20_me"];
    assert_eq!(body["properties"]["number"], json!({ "type": "integer" }));
    home.run_verb(&["types", "export", "--format", "eventcatalog", "--output", "catalogue"]);
    for text in [learnt, document] {
        assert!(!text.contains("jane") && !text.contains("canary") && !text.contains("default:"), "{text}");
    }
    bridge.stop();
}

/// Every file below a directory, with its text.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(inner) = dirs.pop() {
        for entry in fs::read_dir(inner).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => dirs.push(entry.path()),
                false => {
                    let path = entry.path().strip_prefix(dir).unwrap().display().to_string();
                    found.insert(path, fs::read_to_string(entry.path()).unwrap());
                }
            }
        }
    }
    found
}

/// The head of a page, and its text.
#[track_caller]
fn page(text: &str) -> (Value, &str) {
    let (head, body) = text.strip_prefix("---\n").and_then(|text| text.split_once("\n---\n")).unwrap();
    (serde_saphyr::from_str(head).unwrap_or_else(|error| panic!("{error}: {head}")), body)
}

#[test]
fn an_event_catalogue_has_a_page_for_each_thing_and_no_name_gets_out_of_it() {
    let home = home();
    let dir = home.path("catalogue");
    let export = |dir: &Path| {
        home.try_verb(&["types", "export", "--format", "eventcatalog", "--output", dir.to_str().unwrap()])
    };
    let before: BTreeSet<String> = files(&home.path("")).into_keys().collect();
    assert!(export(&dir).status.success());
    let outside = files(&home.path("")).into_keys().filter(|path| !path.starts_with("catalogue/"));
    assert_eq!(outside.collect::<BTreeSet<_>>(), before, "nothing is written elsewhere");

    let exported = files(&dir);
    let (mut ids, mut pointed, mut events) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (path, text) in exported.iter().filter(|(path, _)| path.ends_with(".mdx")) {
        let (head, body) = page(text);
        let id = head["id"].as_str().unwrap().to_owned();
        assert!(path.ends_with(&format!("/{id}/index.mdx")), "{path}: {id}");
        for of in ["services", "sends"] {
            for one in head[of].as_array().into_iter().flatten() {
                pointed.insert(one["id"].as_str().unwrap().to_owned());
                let to = one["to"].as_array().into_iter().flatten();
                pointed.extend(to.map(|channel| channel["id"].as_str().unwrap().to_owned()));
            }
        }
        if path.contains("/events/") {
            events.insert(head["name"].as_str().unwrap().to_owned());
            let schema = path.replace("index.mdx", head["schemaPath"].as_str().unwrap());
            assert_eq!(read(&exported[&schema])["title"], head["name"], "{path}");
        }
        let components = ["<NodeGraph />", "<SchemaViewer ", "<ChannelInformation />"];
        let prose = body.lines().filter(|line| !components.iter().any(|name| line.starts_with(name)));
        for line in prose {
            assert!(!line.contains(['<', '{', '}']) && !line.starts_with("import"), "{path}: {line}");
        }
        assert!(ids.insert((path.split('/').rev().nth(2).unwrap().to_owned(), id)), "{path}");
    }
    assert_eq!(events, catalogued(&home, &["stream", "fastpix", "acme"]));
    let ids: BTreeSet<String> = ids.into_iter().map(|(_, id)| id).collect();
    assert_eq!(pointed.difference(&ids).collect::<Vec<_>>(), [""; 0], "no pointer leads nowhere");
    let (domain, _) = page(&exported["domains/acme/index.mdx"]);
    assert_eq!(domain["services"][0]["id"], "acme.odd");

    // Once more, with another configuration: what is gone from it goes, and what somebody added stays.
    fs::write(dir.join("domains/acme/notes.md"), "mine").unwrap();
    assert!(export(&dir).status.success());
    let again = files(&dir);
    assert!(exported.iter().all(|(path, text)| again.get(path) == Some(text)), "it is the same each time");
    let topics = home.path("topics");
    home.configure("", &format!("sinks:\n  local: {{ file: {{ dir: {} }} }}\n", topics.display()));
    assert!(export(&dir).status.success());
    let of_acme: Vec<String> = files(&dir).into_keys().filter(|path| path.contains("acme")).collect();
    assert_eq!(of_acme, ["domains/acme/notes.md"]);

    let refused = export(&home.path(""));
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not empty"), "{refused:?}");
    for wrong in [&["--format", "asyncapi", "--output", "x"][..], &["--format", "eventcatalog"]] {
        let refused = home.try_verb(&[&["types", "export"], wrong].concat());
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    }
}

/// A specification of these types, as Mux publishes one.
fn specification(types: impl IntoIterator<Item = String>) -> Value {
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": "events", "version": "1" },
        "webhooks": {},
        "components": { "schemas": { "Base": { "type": "object", "properties": {
            "type": { "type": "string" }, "id": { "type": "string" }, "created_at": { "type": "string" },
            "object": { "type": "object", "properties": { "type": {}, "id": { "type": "string" } } },
            "data": { "type": "object" },
        } } } },
    });
    for name in types {
        let body = json!({ "allOf": [
            { "$ref": "#/components/schemas/Base" },
            { "type": "object", "properties": { "type": { "type": "string", "enum": [name] } } },
        ] });
        document["components"]["schemas"][&name] = body;
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        document["webhooks"][&name] = json!({
            "post": { "requestBody": { "content": { "application/json": { "schema": schema } } } },
        });
    }
    document
}

#[test]
fn a_specification_says_which_types_are_new_gone_and_described_differently() {
    let home = Home::new();
    home.configure_files();
    let types = catalogued(&home, &["mux"]);
    let path = home.path("spec.json");
    let file = path.to_str().unwrap();
    let write = |document: &Value| fs::write(&path, document.to_string()).unwrap();
    write(&specification(types.iter().cloned()));
    let same = home.try_verb(&["types", "diff", file]);
    assert_eq!((same.status.code(), same.stdout.len()), (Some(0), 0), "{same:?}");
    let said = String::from_utf8_lossy(&same.stderr).into_owned();
    assert!(said.contains(&format!("mux: {} the same, 0 new", types.len())), "{said}");
    assert_eq!(home.run_verb(&["types", "diff", file, "--provider", "mux", "--format", "json"]), "[]\n");

    let changed = types.iter().filter(|name| *name != "video.asset.ready").cloned();
    let mut document = specification(changed.chain(["video.asset.readied".to_owned()]));
    document["components"]["schemas"]["video.asset.created"] = json!({ "type": "object", "properties": {
        "type": { "const": "video.asset.created" }, "id": {}, "created_at": {},
        "object": { "properties": { "type": {} } }, "data": { "properties": { "status": {} } },
    } });
    document["webhooks"]["video.asset.deleted"]["post"]["deprecated"] = json!(true);
    write(&document);
    let differs = home.try_verb(&["types", "diff", file, "--format", "json"]);
    assert_eq!(differs.status.code(), Some(1), "{differs:?}");
    let rows = read(&String::from_utf8_lossy(&differs.stdout));
    let key = "the specification has no /object/id and no /data/id, where its key is read";
    let resembles = "its name resembles that of `video.asset.ready`, which is gone";
    let expected = json!([
        { "type": "video.asset.readied", "what": "new", "family": "asset",
          "details": ["the catalogue does not have it", resembles] },
        { "type": "video.asset.ready", "what": "gone", "family": "asset",
          "details": ["the specification does not have it"] },
        { "type": "video.asset.created", "what": "different", "family": "asset", "details": [key] },
        { "type": "video.asset.deleted", "what": "different", "family": "asset",
          "details": ["the specification calls it deprecated"] },
    ]);
    assert_eq!(rows, expected);
    let table = home.try_verb(&["types", "diff", file]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.starts_with("TYPE") && table.contains("video.asset.readied"), "{table}");

    // A document without webhooks, whose events only Stream's definition reads.
    let mapping = json!({ "call.created": "#/components/schemas/Created", "call.teleported": "Created" });
    let event = json!({ "discriminator": { "propertyName": "type", "mapping": mapping } });
    let created = json!({ "properties": { "type": {}, "call_cid": {}, "created_at": {} } });
    write(&json!({ "components": { "schemas": { "AnyEvent": event, "Created": created } } }));
    let differs = home.try_verb(&["types", "diff", file, "--schema", "AnyEvent", "--format", "ndjson"]);
    let lines = String::from_utf8_lossy(&differs.stdout).into_owned();
    let first = read(lines.lines().next().unwrap());
    assert_eq!((&first["type"], &first["what"]), (&json!("call.teleported"), &json!("new")), "{differs:?}");
    let gone = catalogued(&home, &["stream"]).len() - 1;
    let said = String::from_utf8_lossy(&differs.stderr).into_owned();
    assert!(said.contains(&format!("stream: 1 the same, 1 new, {gone} gone, 0 described")), "{said}");

    // One in YAML.
    let yaml = "openapi: 3.1.0\nwebhooks:\n  video.asset.ready: { post: { responses: { 200: {} } } }\n";
    fs::write(&path, yaml).unwrap();
    let differs = home.try_verb(&["types", "diff", file, "--format", "ndjson"]);
    let lines = String::from_utf8_lossy(&differs.stdout).into_owned();
    assert_eq!((differs.status.code(), lines.lines().count()), (Some(1), types.len() - 1), "{differs:?}");
    assert!(lines.lines().all(|line| read(line)["what"] == "gone"), "{lines}");
}

#[test]
fn what_is_no_specification_is_refused_with_what_to_do() {
    let home = Home::new();
    home.configure_files();
    let path = home.path("spec.json");
    let file = path.to_str().unwrap();
    let refused = |text: &str, more: &[&str], code: i32, words: &str| {
        fs::write(&path, text).unwrap();
        let output = home.try_verb(&[&["types", "diff", file], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words) && output.stdout.is_empty(), "{said}");
    };
    refused("{", &[], 74, "no JSON");
    refused("a: [", &[], 74, "no YAML");
    refused("[1]", &[], 74, "expected an OpenAPI document");
    refused(r#"{"openapi":"3.0.0","paths":{}}"#, &[], 74, "--schema");
    refused(r#"{"webhooks":{"a.b":{}}}"#, &[], 2, "--provider");
    refused(r#"{"webhooks":{"a.b":{}}}"#, &["--provider", "muxx"], 2, "did you mean `mux`?");
    refused(r#"{"webhooks":{}}"#, &["--schema", "Any\u{1b}[2J"], 74, r"no schema `Any\u{1b}[2J`");
    let round = json!({ "$ref": "#/components/schemas/Round" });
    let mut entangled = specification(["video.asset.ready".to_owned()]);
    entangled["components"]["schemas"]["Round"] = json!({ "anyOf": [round, round, round, round] });
    entangled["components"]["schemas"]["video.asset.ready"] = round;
    refused(&entangled.to_string(), &["--provider", "mux"], 74, "refer to each other");
    fs::remove_file(&path).unwrap();
    let missing = home.try_verb(&["types", "diff", file]);
    assert_eq!(missing.status.code(), Some(74), "{missing:?}");
}
