//! Definitions that cannot be used say where and why, all at once.
#![allow(clippy::unwrap_used)]

use super::*;

const SIGNED: &str = "signature: { scheme: hmac-sha256, header: x-sig }\n";
const TYPED: &str = "event: { type: { pointers: [/type] } }\n";

fn compile(text: &str) -> Result<Definition, Vec<DefinitionProblem>> {
    Definition::compile("acme", serde_saphyr::from_str(text).unwrap())
}

/// The problems as people see them, up to what was expected.
fn problems(text: &str) -> Vec<String> {
    compile(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[track_caller]
fn one_problem(text: &str, path: &str) {
    let problems = problems(text);
    assert!(problems.len() == 1 && problems[0].starts_with(&format!("{path}: ")), "{problems:?}\n{text}");
}

#[test]
fn a_small_definition_is_enough() {
    let definition = compile(&format!("{SIGNED}{TYPED}")).unwrap();
    assert_eq!(definition.provider, "acme");
    assert!(definition.is_verified() && !definition.probes());
    assert_eq!(definition.catalogue.families().collect::<Vec<_>>(), [UNCLASSIFIED]);
}

#[test]
fn a_definition_without_a_signature_is_for_what_needs_none() {
    let definition = compile(TYPED).unwrap();
    assert!(!definition.is_verified() && !definition.takes_webhooks());
    let open = "signature: { scheme: none, insecure_no_verification: true }\n";
    for signature in [SIGNED, open] {
        assert!(compile(&format!("{signature}{TYPED}")).unwrap().takes_webhooks(), "{signature}");
    }
}

#[test]
fn data_is_an_object_that_may_be_seen_and_no_element_of_an_array() {
    let text = |data: &str| format!("{SIGNED}event: {{ type: {{ pointers: [/type] }}, data: {data} }}\n");
    for data in ["/detail", "/a/b", "/d-1"] {
        assert!(compile(&text(data)).is_ok(), "{data}");
    }
    for data in ["detail", "/Records/0", "/Records/0/s3", "/*"] {
        one_problem(&text(data), "event.data");
    }
    one_problem(&format!("{}redact: [/detail]", text("/detail")), "event.data");
    assert!(compile(&format!("{}redact: [/detail/secret]", text("/detail"))).is_ok());
}

#[test]
fn unknown_keys_are_errors_at_every_level() {
    for text in [
        format!("{SIGNED}{TYPED}surprise: 1"),
        format!("signature: {{ scheme: none, algorithm: none }}\n{TYPED}"),
        format!("{SIGNED}event: {{ type: {{ pointer: /type }} }}"),
        format!("{SIGNED}{TYPED}families: {{ a: {{ types: {{ a.b: {{ keys: [/id] }} }} }} }}"),
    ] {
        assert!(serde_saphyr::from_str::<DefinitionFile>(&text).is_err(), "{text}");
    }
}

#[test]
fn no_verification_needs_to_be_said_twice_and_nothing_else_may_say_it() {
    let path = "signature.insecure_no_verification";
    one_problem(&format!("signature: {{ scheme: none }}\n{TYPED}"), path);
    let both = "signature: { scheme: hmac-sha256, header: x, insecure_no_verification: true }\n";
    one_problem(&format!("{both}{TYPED}"), path);
    let open = compile(&format!("signature: {{ scheme: none, insecure_no_verification: true }}\n{TYPED}"));
    assert!(!open.unwrap().is_verified());
}

#[test]
fn a_signature_that_makes_no_sense_names_the_key() {
    for (signature, path) in [
        ("", "signature.header"),
        (", header: 'x y'", "signature.header"),
        (", header: x, form: versions", "signature.version"),
        (", header: x, form: versions, version: 'v 1'", "signature.version"),
        (", header: x, version: v1", "signature.version"),
        (", header: x, form: versions, version: v1, prefix: a", "signature.prefix"),
        (", header: x, timestamp: { header: t, field: t }", "signature.timestamp"),
        (", header: x, timestamp: { field: t }", "signature.timestamp.field"),
        (", header: x, signed: '{id}.{body}', id_header: X", "signature.id_header"),
        (", header: x, signed: '{timestamp}.{body}', timestamp: { header: X }", "signature.timestamp.header"),
        (
            ", header: x, form: fields, version: t, signed: '{timestamp}.{body}', timestamp: { field: t }",
            "signature.timestamp.field",
        ),
    ] {
        let text = format!("signature: {{ scheme: hmac-sha256{signature} }}\n{TYPED}");
        let problems = problems(&text);
        let named = problems.iter().any(|problem| problem.starts_with(&format!("{path}: ")));
        assert!(named, "{signature}: {problems:?}");
    }
}

#[test]
fn a_signed_text_holds_exactly_what_is_stated_and_cannot_be_read_two_ways() {
    let with = |more: &str, signed: &str| {
        format!("signature: {{ scheme: hmac-sha256, header: x, signed: '{signed}'{more} }}\n{TYPED}")
    };
    let both = ", id_header: x-id, timestamp: { header: x-time }";
    assert_eq!(problems(&with(both, "{id}.{timestamp}.{body}")), [""; 0]);
    assert_eq!(problems(&with("", "{body}")), [""; 0]);
    for (more, signed) in [
        ("", "{id}.{body}"),
        ("", "{timestamp}.{body}"),
        ("", "fixed"),
        ("", "{body}{body}"),
        ("", "{date}.{body}"),
        ("", "{body"),
        ("", "body}"),
        ("", "{body}.suffix"),
        (both, "{body}"),
        (both, "{id}{timestamp}.{body}"),
        (both, "{id}.{timestamp}{body}"),
        (both, "{body}.{timestamp}.{id}"),
        (both, "{id}.{id}.{timestamp}.{body}"),
    ] {
        let problems = problems(&with(more, signed));
        let named = problems.iter().all(|problem| problem.starts_with("signature.signed: "));
        assert!(named && !problems.is_empty(), "{signed}: {problems:?}");
    }
}

#[test]
fn the_type_stands_in_the_body_or_in_a_header() {
    one_problem(&format!("{SIGNED}event: {{ type: {{}} }}"), "event.type");
    let both = format!("{SIGNED}event: {{ type: {{ pointers: [/type], header: x-type }} }}");
    one_problem(&both, "event.type");
    let join = format!("{SIGNED}event: {{ type: {{ pointers: [/type], join: /action }} }}");
    one_problem(&join, "event.type.join");
}

#[test]
fn pointers_are_checked_wherever_they_stand() {
    for (event, path) in [
        ("type: { pointers: [type] }", "event.type.pointers"),
        ("type: { pointers: [/type] }, id: [/a~2]", "event.id"),
        ("type: { pointers: [/type] }, time: [/a~]", "event.time"),
        ("type: { pointers: [/type] }, key: ['/list/*/id']", "event.key"),
        ("type: { pointers: [/type] }, key: [/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17]", "event.key"),
    ] {
        one_problem(&format!("{SIGNED}event: {{ {event} }}"), path);
    }
    let redact = format!("{SIGNED}{TYPED}redact: [secret]");
    one_problem(&redact, "redact");
    let deep = format!(
        "{SIGNED}{TYPED}families: {{ video.session: {{ types: {{ call.x: {{ key: [call_cid] }} }} }} }}"
    );
    one_problem(&deep, r#"families."video.session".types."call.x".key"#);
}

#[test]
fn more_pointers_than_the_scanner_holds_are_a_problem() {
    let list = |count| (0..count).map(|n| format!("/k{n}")).collect::<Vec<_>>().join(", ");
    let event = |count| format!("{SIGNED}event: {{ type: {{ pointers: [/type] }}, key: [{}] }}", list(count));
    assert!(compile(&event(31)).is_ok());
    one_problem(&event(32), "event.key");
}

#[test]
fn what_is_redacted_cannot_be_an_attribute() {
    let text = |key: &str| {
        format!("{SIGNED}event: {{ type: {{ pointers: [/type] }}, key: [{key}] }}\nredact: [/data/secret]")
    };
    one_problem(&text("/data/secret"), "event.key");
    one_problem(&text("/data/secret/id"), "event.key");
    assert_eq!(problems(&text("/data")).len(), 0, "the attribute is more than the secret");
    let any = |key: &str| text(key).replace("[/data/secret]", "[/data/*/secret]");
    one_problem(&any("/data/x/secret"), "event.key");
    one_problem(&any("/data/0/secret/id"), "event.key");
    assert_eq!(problems(&any("/data/secret/id")).len(), 0, "no secret is there");
}

#[test]
fn families_types_and_extensions_have_names_that_can_be_used() {
    let families = |text: &str| format!("{SIGNED}{TYPED}families: {{ {text} }}");
    one_problem(&families("A b: { types: {} }"), r#"families."A b""#);
    one_problem(&families("unclassified: { types: {} }"), "families.unclassified");
    one_problem(&families("a: { types: { ' ': {} } }"), r#"families.a.types." ""#);
    one_problem(&families("a: { types: { x: {} } }, b: { types: { x: {} } }"), "families.b.types.x");
    one_problem(&families("a: { types: { x: { channels: [] } } }"), "families.a.types.x.channels");
    for name in ["Upper", "with-hyphen", "source", "id", "type", "a-name-beyond-twenty-characters"] {
        one_problem(&format!("{SIGNED}{TYPED}extensions: {{ {name}: x-h }}"), &format!("extensions.{name}"));
    }
    one_problem(&format!("{SIGNED}{TYPED}extensions: {{ mine: 'x h' }}"), "extensions.mine");
}

#[test]
fn a_provider_has_a_name_that_can_be_used() {
    for name in ["", "A", "a/b", "a b", ".hidden", &"a".repeat(101)] {
        let file = serde_saphyr::from_str(&format!("{SIGNED}{TYPED}")).unwrap();
        assert!(Definition::compile(name, file).is_err(), "{name}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = "signature: { scheme: none }\nevent: { type: {}, id: [a], time: [b] }\nredact: [c]";
    assert_eq!(problems(text).len(), 5);
}

#[test]
fn the_form_has_a_schema() {
    let schema = serde_json::to_value(schemars::schema_for!(DefinitionFile)).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["signature"].is_object());
}

#[test]
fn a_delivery_id_that_would_not_stay_with_its_event_is_refused() {
    let with = |extensions: &str, id: &str| {
        format!("{SIGNED}{extensions}event: {{ type: {{ pointers: [/type] }}, delivery_id: {{ {id} }} }}")
    };
    one_problem(&with("", "header: x-delivery"), "event.delivery_id.header");
    one_problem(&with("extensions: { d: x-other }\n", "header: x-delivery"), "event.delivery_id.header");
    one_problem(&with("", "header: 'x y'"), "event.delivery_id.header");
    let fine = |id| compile(&with("extensions: { d: X-Delivery }\n", id)).unwrap();
    assert!(fine("header: x-Delivery").identifies_deliveries());
    assert!(!fine("header: x-delivery, identifies: false").identifies_deliveries());
}
