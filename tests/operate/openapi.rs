//! The description of the admin API.

use std::collections::BTreeSet;
use std::fs;

use fanbridge::admin::openapi_document;
use serde_json::Value;

use crate::support::bridge::Home;
use crate::support::client::Client;
use crate::support::turns;

fn document() -> Value {
    serde_json::from_str(openapi_document()).expect("JSON")
}

/// Method and path of each operation.
fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, operations): (&String, &Value)| {
        let methods = operations.as_object().expect("operations").keys();
        methods.map(|method| (method.clone(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn the_committed_description_is_the_one_of_this_version() {
    let committed = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/openapi.json"));
    let committed = committed.unwrap_or_default();
    assert!(committed == openapi_document(), "run `fanbridge check --openapi > deploy/openapi.json`");
}

#[test]
fn every_route_is_described_and_every_description_is_a_route() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    let described = document();
    let mut admin = Client::new(home.admin);
    let served = admin.get("/api/v1/openapi.json").expect("an answer");
    assert_eq!(served.text(), openapi_document());
    let operations = operations(&described);
    for (method, path) in &operations {
        let of = |problem: &Value| problem["code"].as_str().unwrap_or_default().to_owned();
        let concrete = path.replace("{id}", "1234").replace(['{', '}'], "");
        if concrete.ends_with("/stream") {
            continue;
        }
        let change = [("x-fanbridge-request", "1")];
        let (right, other) = (admin.get(&concrete), admin.post(&concrete, &change, b"{"));
        let (right, other) = if method == "get" { (right, other) } else { (other, right) };
        let codes = [right, other].map(|answer| {
            let answer = answer.expect("an answer");
            of(&serde_json::from_slice(&answer.body).unwrap_or_default())
        });
        assert!(!["no_such_path", "no_such_method"].contains(&&*codes[0]), "{method} {path}: {codes:?}");
        let other = if method == "get" { "post" } else { "get" };
        let is_described = operations.contains(&(other.to_owned(), path.clone()));
        assert_eq!(codes[1] == "no_such_method", !is_described, "the other method of {path}");
    }
    // Each route of the API is in the table: nobody else adds one below it.
    let beside = ["src/admin/mod.rs", "src/admin/page/mod.rs"].map(|path| {
        let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
        fs::read_to_string(path).expect("a source file")
    });
    let routes = beside.iter().flat_map(|text| text.lines()).filter(|line| line.contains(".route(\"/api/v1"));
    assert_eq!(routes.collect::<Vec<_>>(), [""; 0]);
    drop(bridge);
}

#[test]
fn a_description_leads_to_every_schema_that_it_names_and_each_operation_has_a_name() {
    let document = document();
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        let pointer = reference.strip_prefix('#').expect("a reference within the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        let name = pointer.rsplit('/').next().unwrap_or_default();
        let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        assert!(is_plain, "{name} is no name of a component");
    }
    assert!(found.len() > 20, "{found:?}");
    let operations = document["paths"].as_object().expect("paths").values();
    let named = operations.flat_map(|path| path.as_object().expect("operations").values());
    let names: Vec<_> = named.map(|operation| operation["operationId"].as_str().expect("a name")).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
}

#[test]
fn the_description_needs_no_token_and_all_that_it_describes_does() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let token = "a-token-of-the-tests-0001";
    fs::write(home.path("token"), token).unwrap();
    let path = home.path("fanbridge.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let admin = format!("admin: {{ token: \"file:{}\",", home.path("token").display());
    fs::write(&path, text.replace("admin: {", &admin)).unwrap();
    let bridge = home.start();
    let ask = |path: &str, authorization: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{authorization}\r\n");
        let answer = bridge.admin().exchange(head.as_bytes()).expect("an answer");
        let document: Value = serde_json::from_slice(&answer.body).expect("JSON");
        (answer.status, document["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ask("/api/v1/openapi.json", ""), (200, String::new()));
    for (method, path) in operations(&document()).iter().filter(|(method, _)| method == "get") {
        if path != "/api/v1/openapi.json" {
            assert_eq!(ask(path, ""), (401, "token_required".to_owned()), "{method} {path}");
        }
    }
    assert_eq!(ask("/api/v1/status", "authorization: Bearer other\r\n"), (401, "token_wrong".to_owned()));
    let right = format!("authorization: Bearer {token}\r\n");
    assert_eq!(ask("/api/v1/status", &right), (200, String::new()));
}
