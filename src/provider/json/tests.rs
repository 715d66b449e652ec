//! What the pass takes, what it refuses, and that it agrees with an independent parser.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::Value;

use super::cursor::plain_run;
use super::*;

/// The places that most tests look for.
const PLACES: [&str; 6] = ["/type", "/user/id", "/list/1/id", "/a~1b", "/user", "/Message/cid"];

fn pointers() -> Pointers {
    let mut pointers = Pointers::new();
    for place in PLACES {
        pointers.slot(place).unwrap();
    }
    pointers.redaction("/data/keys/*/secret").unwrap();
    pointers
}

fn flaw(body: impl AsRef<[u8]>) -> Option<Flaw> {
    scan(body.as_ref(), &pointers()).err().map(|defect| defect.flaw)
}

/// What was found at a place, as it is written.
fn found<'a>(body: &'a str, place: &str) -> Option<&'a str> {
    let slot = PLACES.iter().position(|known| *known == place).unwrap();
    scan(body.as_bytes(), &pointers()).unwrap().span(slot as Slot).map(|span| &body[span])
}

#[test]
fn values_are_found_as_they_are_written() {
    let body = r#" { "type" : "call.ring", "n":-0.10e+5, "user":{"x":[{"id":0}],"id": 12345678901234567890123 },
        "list":[{"id":1},{"id":[2, 2]}], "a/b":null, "other":{"type":"no","user":{"id":"no"}} } "#;
    assert_eq!(found(body, "/type"), Some(r#""call.ring""#));
    assert_eq!(found(body, "/user/id"), Some("12345678901234567890123"));
    assert_eq!(found(body, "/list/1/id"), Some("[2, 2]"));
    assert_eq!(found(body, "/a~1b"), Some("null"));
    assert_eq!(found(body, "/user"), Some(r#"{"x":[{"id":0}],"id": 12345678901234567890123 }"#));
    assert_eq!(found(r#"{"user":["id"],"list":{"id":1}}"#, "/user/id"), None);
}

#[test]
fn a_key_may_be_spelled_with_escapes() {
    assert_eq!(found(r#"{"\u0074ype":"x"}"#, "/type"), Some(r#""x""#));
    assert_eq!(found(r#"{"a\/b":1}"#, "/a~1b"), Some("1"));
    assert_eq!(flaw(r#"{"type":1,"\u0074\u0079pe":2}"#), Some(Flaw::DuplicateKey));
}

#[test]
fn a_star_stands_for_every_element_of_an_array() {
    let body = br#"{"data":{"keys":[{"secret":"a"},7,{"other":1},{"secret":[1]}]}}"#;
    let found = scan(body, &pointers()).unwrap().redactions;
    let texts: Vec<_> = found.into_iter().map(|(_, span)| &body[span]).collect();
    assert_eq!(texts, [&br#""a""#[..], b"[1]"]);
}

/// What is found of these redactions in a body, in the order in which it ends, each with its bits.
fn redacted(redactions: &[&str], body: &str) -> Vec<(u64, String)> {
    let mut pointers = pointers();
    let first = redactions.iter().map(|pointer| pointers.redaction(pointer).unwrap()).min().unwrap();
    let found = scan(body.as_bytes(), &pointers).unwrap().redactions;
    found.into_iter().map(|(bits, span)| (bits >> first, body[span].to_owned())).collect()
}

#[test]
fn a_star_stands_for_every_member_of_an_object() {
    let body = r#"{"data":{"a":{"key":1,"b":{"key":2}},"c":[{"key":3},4,{"b":{"key":5}}],"key":6},"key":7}"#;
    let found = redacted(&["/data/*/key", "/data/*/*/key"], body);
    assert_eq!(found, [(1, "1".into()), (2, "2".into()), (2, "3".into())]);
}

#[test]
fn a_star_and_a_name_that_lead_to_one_value_both_do() {
    let found = redacted(
        &["/a/*/key", "/a/b/*", "/a/b/key", "/a/1/other"],
        r#"{"a":{"b":{"key":1,"other":2},"c":{"key":3,"other":4}}}"#,
    );
    assert_eq!(found, [(0b111, "1".into()), (0b010, "2".into()), (0b001, "3".into())]);
    let found = redacted(&["/a/*/key", "/a/1/other"], r#"{"a":[{"key":1,"other":2},{"key":3,"other":4}]}"#);
    assert_eq!(found, [(1, "1".into()), (1, "3".into()), (2, "4".into())]);
}

#[test]
fn a_slot_is_found_beside_a_star() {
    let mut pointers = pointers();
    pointers.redaction("/list/*/key").unwrap();
    pointers.redaction("/*/id/deep").unwrap();
    let body = br#"{"list":[{"key":1},{"key":2,"id":"b"}],"user":{"id":{"deep":3}}}"#;
    let found = scan(body, &pointers).unwrap();
    let slot = |place| found.span(PLACES.iter().position(|known| *known == place).unwrap() as Slot);
    assert_eq!(&body[slot("/list/1/id").unwrap()], br#""b""#);
    assert_eq!(&body[slot("/user/id").unwrap()], br#"{"deep":3}"#);
    assert_eq!(found.redactions.len(), 3);
}

#[test]
fn a_star_takes_names_of_any_case_and_more_than_once() {
    let found = redacted(
        &["/data/*/key", "/data/named/other"],
        r#"{"data":{"x":{"key":1},"x":{"key":2},
        "NAMED":{"key":3},"\u212aelvin":{"key":4}}}"#,
    );
    assert_eq!(found.into_iter().map(|(_, text)| text).collect::<String>(), "1234");
    let mut pointers = pointers();
    pointers.redaction("/data/*/key").unwrap();
    let twice = br#"{"data":{"x":{"key":1,"key":2}}}"#;
    assert_eq!(scan(twice, &pointers).err().map(|defect| defect.flaw), Some(Flaw::DuplicateKey));
}

#[test]
fn stars_that_agree_in_too_many_ways_are_refused() {
    let mut pointers = Pointers::new();
    let refused = (0..14).any(|n| {
        let name = |step: usize| if step == n { format!("name{n}") } else { "*".into() };
        let steps: Vec<String> = (0..14).map(name).collect();
        pointers.redaction(&format!("/{}", steps.join("/"))).is_err()
    });
    assert!(refused, "this would be 16,383 nodes in the last step alone");
}

#[test]
fn what_rfc_8259_does_not_allow_is_not_json() {
    for body in [
        "{not valid json",
        r#"{"a":1,}"#,
        r#"{"a":1} x"#,
        r#"{"a":1}{"#,
        "{,}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a" 1}"#,
        r#"{a:1}"#,
        "{'a':1}",
        r#"{"a":'x'}"#,
        r#"{"a":NaN}"#,
        r#"{"a":Infinity}"#,
        r#"{"a":01}"#,
        r#"{"a":+1}"#,
        r#"{"a":.5}"#,
        r#"{"a":1.}"#,
        r#"{"a":1e}"#,
        r#"{"a":-}"#,
        r#"{"a":0x1}"#,
        r#"{"a":tru}"#,
        r#"{"a":nul}"#,
        r#"{"a":[1,]}"#,
        r#"{"a":[1}"#,
        r#"{"a":[}"#,
        r#"{"a":1]"#,
        "{\"a\":\"\n\"}",
        "{\"a\":\"\u{1}\"}",
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12g4"}"#,
        r#"{"a":"\u123"#,
        r#"{"a":"x"#,
        r#"{"a":1 /* no */}"#,
        "{\"a\":1}\0",
        "{\u{a0}}",
        "{",
        r#"{"a"#,
        r#"{"a":"\"#,
        "'x'",
        "NaN",
        "{\u{feff}}",
    ] {
        assert_eq!(flaw(body), Some(Flaw::Json), "{body:?}");
    }
}

#[test]
fn half_a_surrogate_pair_is_no_character() {
    for text in
        [r"\ud800", r"\udc00", r"\ud800\ud800", r"\ud800x", r"\ud800\n", r"\uD83D\u0041", r"\udc00\ud800"]
    {
        assert_eq!(flaw(format!(r#"{{"a":"{text}"}}"#)), Some(Flaw::Json), "{text}");
        assert_eq!(flaw(format!(r#"{{"{text}":1}}"#)), Some(Flaw::Json), "{text} as a key");
    }
    assert_eq!(flaw(r#"{"a":"\ud83d\ude00\uD83D\uDE00\uffff\u0000"}"#), None);
}

#[test]
fn json_that_is_no_object_is_told_from_no_json() {
    for body in ["null", "[]", r#""x""#, "42", " [{}] ", "-0", "true"] {
        assert_eq!(flaw(body), Some(Flaw::NotObject), "{body}");
    }
    for body in ["", " ", "\r\n\t"] {
        assert_eq!(flaw(body), Some(Flaw::Empty), "{body:?}");
    }
}

#[test]
fn a_byte_order_mark_and_bytes_that_are_no_text_are_refused_anywhere() {
    assert_eq!(flaw("\u{feff}{}"), Some(Flaw::Bom));
    assert_eq!(flaw(b"{\"unrelated\":[\"\xFF\"]}"), Some(Flaw::Utf8));
    assert_eq!(flaw(b"{\"a\":\"\xED\xA0\x80\"}"), Some(Flaw::Utf8), "an encoded surrogate");
    assert_eq!(flaw(b"{\"a\":\"\xC0\x80\"}"), Some(Flaw::Utf8), "an overlong form");
    assert_eq!(flaw("{\"a\":\"😀 \u{7f}\u{2028}\"}"), None);
}

#[test]
fn nesting_ends_at_64_levels_however_deep_it_goes() {
    let nested = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert_eq!(flaw(nested(64)), None);
    for levels in [65, 128, 100_000] {
        assert_eq!(flaw(nested(levels)), Some(Flaw::Depth), "{levels}");
    }
    assert_eq!(flaw(r#"{"a":"#.repeat(1_000_000)), Some(Flaw::Depth));
    assert_eq!(flaw(r#"{"user":"#.repeat(64) + "1" + &"}".repeat(64)), None);
}

#[test]
fn a_key_twice_at_top_level_is_refused_however_many_keys_there_are() {
    assert_eq!(flaw(r#"{"type":"a","type":"b"}"#), Some(Flaw::DuplicateKey));
    assert_eq!(flaw(r#"{"unrelated":1,"unrelated":1}"#), Some(Flaw::DuplicateKey));
    assert_eq!(flaw(r#"{"":1,"":2}"#), Some(Flaw::DuplicateKey));
    for count in [2, 31, 32, 33, 34, 5000] {
        let members: Vec<_> = (0..count).map(|n| format!(r#""a long key {n}":{n}"#)).collect();
        let distinct = members.join(",");
        assert_eq!(flaw(format!("{{{distinct}}}")), None, "{count}");
        for again in [0, count / 2, count - 1] {
            let body = format!("{{{distinct},{}}}", members[again]);
            assert_eq!(flaw(body), Some(Flaw::DuplicateKey), "{count} keys, {again} again");
        }
    }
}

#[test]
fn a_key_twice_matters_below_the_top_level_only_on_the_path_of_a_place() {
    assert_eq!(flaw(r#"{"user":{"id":1,"x":2,"id":3}}"#), Some(Flaw::DuplicateKey));
    assert_eq!(flaw(r#"{"data":{"keys":[{"secret":1,"secret":2}]}}"#), Some(Flaw::DuplicateKey));
    assert_eq!(flaw(r#"{"user":{"x":1,"x":2}}"#), None);
    assert_eq!(flaw(r#"{"other":{"id":1,"id":2}}"#), None);
    assert_eq!(flaw(r#"{"list":[{"id":1},{"id":2}],"user":[{"id":1,"id":1}]}"#), None);
}

#[test]
fn a_key_beside_itself_in_another_case_is_refused_where_it_matters() {
    for body in [
        r#"{"type":"a","Type":"b"}"#,
        r#"{"TYPE":"a","type":"b"}"#,
        r#"{"type":"a","\u0054ype":"b"}"#,
        r#"{"user":{"id":1,"ID":2}}"#,
        r#"{"Message":{"CID":1,"cid":2}}"#,
        r#"{"Message":1,"message":2}"#,
        // The long s and the sign for kelvin, which Unicode folds to s and k.
        r#"{"user":{"id":1},"u\u017fer":{"id":2}}"#,
        r#"{"uſer":1,"user":2}"#,
        r#"{"data":{"Keys":1,"\u212aeys":2}}"#,
    ] {
        assert_eq!(flaw(body), Some(Flaw::CaseCollision), "{body}");
    }
    for body in [
        r#"{"Type":"b"}"#,
        r#"{"other":1,"Other":2}"#,
        r#"{"user":{"x":1,"X":2}}"#,
        r#"{"uſer":1,"usér":2,"üser":3}"#,
    ] {
        assert_eq!(flaw(body), None, "{body}");
    }
}

#[test]
fn names_that_a_definition_spells_in_two_cases_collide_too() {
    let mut pointers = Pointers::new();
    let (lower, upper) = (pointers.slot("/user/id").unwrap(), pointers.slot("/User/id").unwrap());
    let captures = scan(br#"{"User":{"id":1}}"#, &pointers).unwrap();
    assert_eq!((captures.span(lower), captures.span(upper)), (None, Some(14..15)));
    let both = scan(br#"{"User":{"id":1},"user":{"id":2}}"#, &pointers);
    assert_eq!(both.err().map(|defect| defect.flaw), Some(Flaw::CaseCollision));
}

#[test]
fn a_defect_says_where_and_shows_nothing_of_the_body() {
    let defect = scan(br#"{"type":"a","type":"secret"}"#, &pointers()).err().unwrap();
    assert_eq!(defect.to_string(), "duplicate key at byte 12");
}

#[test]
fn numbers_of_any_size_pass_untouched() {
    for number in ["1778198400000000000", "12345678901234567890123", "1e400", "-0", "-0.0E-0", "0"] {
        assert_eq!(found(&format!(r#"{{"type":{number}}}"#), "/type"), Some(number));
    }
}

#[test]
fn more_keys_or_redactions_than_are_remembered_are_refused() {
    let keys = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!(r#""k{n}":{n}"#)).collect();
        format!("{{{}}}", members.join(","))
    };
    assert_eq!(flaw(keys(COUNT_MAX)), None);
    assert_eq!(flaw(keys(COUNT_MAX + 1)), Some(Flaw::TooMany));
    assert_eq!(flaw(format!(r#"{{"other":{}}}"#, keys(COUNT_MAX + 1))), None, "only the top level's");
    let secrets = |count| format!(r#"{{"data":{{"keys":[{}]}}}}"#, vec![r#"{"secret":1}"#; count].join(","));
    assert_eq!(flaw(secrets(COUNT_MAX)), None);
    assert_eq!(flaw(secrets(COUNT_MAX + 1)), Some(Flaw::TooMany));
}

/// JSON of all kinds, with keys that the places go by among others.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let key = prop_oneof![
        3 => prop::sample::select(vec!["type", "user", "id", "list", "a/b", "data", "keys", "secret", "cid"]),
        1 => prop::sample::select(vec!["Type", "Message", "ID", "", "é", "\"", "\\u"]),
    ];
    leaf.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(String::from), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What an independent parser says, where the two can be compared.
fn agrees(body: &[u8]) -> Result<(), TestCaseError> {
    let ours = scan(body, &pointers()).map_err(|defect| defect.flaw);
    match (serde_json::from_slice::<Value>(body), ours) {
        (Ok(_), Err(Flaw::Json | Flaw::Utf8 | Flaw::Empty)) => prop_assert!(false, "refused: {body:?}"),
        // The other parser makes numbers of what it reads, and has a limit of its own.
        (Err(error), Ok(_)) if error.to_string().contains("number out of range") => {}
        (Err(error), Ok(_)) => prop_assert!(false, "taken, but {error}: {body:?}"),
        _ => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn values_are_found_where_an_independent_parser_finds_them(value in json(), pretty: bool) {
        let body = match pretty {
            true => serde_json::to_vec_pretty(&value).unwrap(),
            false => serde_json::to_vec(&value).unwrap(),
        };
        agrees(&body)?;
        // Not the value itself: the parser's floats are not exact.
        let value: Value = serde_json::from_slice(&body).unwrap();
        if let Ok(captures) = scan(&body, &pointers()) {
            for (slot, place) in PLACES.iter().enumerate() {
                let theirs = value.pointer(place);
                let ours = captures.span(slot as Slot).map(|span| &body[span]);
                let ours: Option<Value> = ours.map(|text| serde_json::from_slice(text).unwrap());
                prop_assert_eq!(ours.as_ref(), theirs, "{}", place);
            }
        }
    }

    #[test]
    fn json_with_a_few_bytes_changed_is_judged_like_an_independent_parser_does(
        value in json(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut body = serde_json::to_vec(&value).unwrap();
        for (index, byte, kind) in changes {
            let at = index.index(body.len().max(1)).min(body.len());
            let telling = b"{}[]\",:\\u0-.eE \x1f\xFF";
            let byte = if kind < 2 { telling[usize::from(byte) % telling.len()] } else { byte };
            if kind % 2 == 0 && at < body.len() { body[at] = byte } else { body.insert(at, byte) }
        }
        agrees(&body)?;
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        agrees(&body)?;
    }

    #[test]
    fn a_plain_run_ends_at_the_first_special_byte(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F));
        prop_assert_eq!(plain_run(&bytes), expected.unwrap_or(bytes.len()));
    }
}
