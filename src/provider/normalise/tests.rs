//! Which type, id, time, key and body come out of what a provider sends.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::event::HeaderClaims;
use crate::provider::{DefinitionFile, builtin_named};

const NOW: Timestamp = Timestamp(1_778_198_400_000_000_000);

fn authentic(body: &str) -> Verified {
    Verified {
        body: Bytes::copy_from_slice(body.as_bytes()),
        stated: HeaderClaims::default(),
        secret: 0,
        skew_seconds: None,
        arrived: NOW,
    }
}

fn facts(provider: &str, body: &str) -> BodyFacts {
    normalise(&builtin_named(provider).unwrap(), &authentic(body), None).unwrap()
}

fn unusable(body: &str) -> &'static str {
    normalise(&builtin_named("stream").unwrap(), &authentic(body), None).unwrap_err().word
}

fn of_event(event: &str) -> Definition {
    let text = format!("signature: {{ scheme: hmac-sha256, header: x }}\nevent: {{ {event} }}");
    Definition::compile("acme", serde_saphyr::from_str::<DefinitionFile>(&text).unwrap()).unwrap()
}

#[test]
fn a_type_is_taken_as_it_is_spelled() {
    for spelled in [
        "video.mediaAI.named-entities.ready",
        "video.media.mp4Support.ready",
        "*",
        "call.*",
        "orders/create",
        "totally.made.up",
        "EC2 Instance State-change Notification",
        "cäll",
        "ca\u{308}ll",
        "通話 開始 😀",
        " call.ring ",
        "x",
        &"x".repeat(255),
    ] {
        assert_eq!(facts("stream", &format!(r#"{{"type":"{spelled}"}}"#)).event_type, spelled);
    }
    assert_eq!(facts("stream", r#"{"\u0074ype":"call\u002ering"}"#).event_type, "call.ring");
}

#[test]
fn a_type_that_is_no_name_is_unusable() {
    for value in [
        r#""""#,
        "1",
        "null",
        "true",
        "{}",
        "[]",
        r#"["call.ring"]"#,
        r#"" ""#,
        r#""call\nring""#,
        r#""call\u0000""#,
        r#""call\u2028ring""#,
        r#""call\u202ering""#,
        r#""call\u0085""#,
        r#""call\ufffe""#,
        r#""call\ufdd0""#,
        r#""\u007f""#,
        &format!("{:?}", "x".repeat(256)),
        &format!("{:?}", "x".repeat(10_000)),
        &format!("\"{}\"", "\\u0078".repeat(256)),
    ] {
        assert_eq!(unusable(&format!(r#"{{"type":{value}}}"#)), "type", "{value}");
    }
    for body in ["{}", r#"{"Type":"call.ring"}"#, r#"{"data":{"type":"call.ring"}}"#] {
        assert_eq!(unusable(body), "type", "{body}");
    }
}

#[test]
fn a_body_that_is_unusable_says_where_and_shows_nothing() {
    let stream = builtin_named("stream").unwrap();
    let detail = |body: &str| normalise(&stream, &authentic(body), None).unwrap_err().detail;
    assert_eq!(detail(r#"{"key":"value" x"#), "invalid JSON at byte 15");
    assert_eq!(
        detail(r#"{"type":7}"#),
        "no usable event type at /type, expected text of 1 to 255 bytes, not only white space, and without \
         control or invisible characters"
    );
    for (body, word) in
        [("null", "not_object"), (r#"{"type":"a","type":"a"}"#, "duplicate_key"), ("", "empty")]
    {
        assert_eq!(unusable(body), word);
    }
}

#[test]
fn a_type_may_be_stated_in_a_header_with_its_detail_in_the_body() {
    let definition = of_event("type: { header: x-event, join: /action }");
    let event_type = |stated: Option<&str>, body: &str| {
        let stated = HeaderClaims { event_type: stated.map(Into::into), ..HeaderClaims::default() };
        let verified = Verified { stated, ..authentic(body) };
        normalise(&definition, &verified, None)
            .map(|facts| facts.event_type.to_string())
            .map_err(|why| why.word)
    };
    assert_eq!(event_type(Some("push"), "{}").as_deref(), Ok("push"));
    assert_eq!(event_type(Some("issues"), r#"{"action":"opened"}"#).as_deref(), Ok("issues.opened"));
    assert_eq!(event_type(Some("issues"), r#"{"action":null}"#).as_deref(), Ok("issues"));
    let deploy = event_type(Some("repository_dispatch"), r#"{"action":"deploy to prod"}"#);
    assert_eq!(deploy.as_deref(), Ok("repository_dispatch.deploy to prod"));
    assert_eq!(event_type(Some("Push Hook"), "{}").as_deref(), Ok("Push Hook"));
    assert_eq!(event_type(Some("issues"), r#"{"action":"a\nb"}"#), Err("type"));
    assert_eq!(event_type(Some("issues"), r#"{"action":{}}"#), Err("type"), "not the type without it");
    assert_eq!(event_type(None, r#"{"action":"opened"}"#), Err("type"));
}

#[test]
fn identity_is_the_signed_id_or_the_id_in_the_body_or_the_digest() {
    let body = r#"{"type":"message.new","created_at":1778198400000000000}"#;
    assert_eq!(facts("stream", body).id, digest_id(body.as_bytes()));
    assert_eq!(facts("stream", r#"{"type":"a","id":"mine"}"#).id, digest_id(br#"{"type":"a","id":"mine"}"#));
    assert_eq!(facts("fastpix", r#"{"type":"a","id":"134b9d7b"}"#).id, "134b9d7b");
    assert_eq!(facts("fastpix", r#"{"type":"a","id":42}"#).id, "42");

    let standard = builtin_named("standard-webhooks").unwrap();
    let stated = |id: &str| HeaderClaims { signed_id: Some(id.into()), ..HeaderClaims::default() };
    let signed = |id: &str| Verified { stated: stated(id), ..authentic(body) };
    assert_eq!(normalise(&standard, &signed("msg_1"), None).unwrap().id, "msg_1");
}

#[test]
fn a_signed_id_that_can_be_no_events_id_tells_events_apart_all_the_same() {
    let standard = builtin_named("standard-webhooks").unwrap();
    let id = |signed: &str| {
        let stated = HeaderClaims { signed_id: Some(signed.into()), ..HeaderClaims::default() };
        normalise(&standard, &Verified { stated, ..authentic(r#"{"type":"a"}"#) }, None).unwrap().id
    };
    for (one, other) in [("order 1".to_owned(), "order 2".to_owned()), ("x".repeat(256), "y".repeat(256))] {
        assert_ne!(id(&one), id(&other));
        assert_eq!(id(&one), id(&one), "a retry is the same event");
        assert!(id(&one).starts_with("sha256-"));
    }
}

/// The id of one body under a type that a header states.
fn id_under(definition: &Definition, event_type: &str) -> ByteString {
    let stated = HeaderClaims { event_type: Some(event_type.into()), ..HeaderClaims::default() };
    let verified = Verified { stated, ..authentic(r#"{"a":1}"#) };
    normalise(definition, &verified, None).unwrap().id
}

#[test]
fn one_body_under_two_stated_types_is_two_events() {
    let shopify = builtin_named("shopify").unwrap();
    assert_eq!(id_under(&shopify, "orders/create"), id_under(&shopify, "orders/create"));
    assert_ne!(id_under(&shopify, "orders/create"), id_under(&shopify, "orders/updated"));
    let mut custom = Definition::clone(&shopify);
    custom.expect_types(["orders/one".into(), "orders/two".into()]);
    assert_ne!(id_under(&custom, "orders/one"), id_under(&custom, "orders/two"));
    assert_eq!(id_under(&custom, "orders/create"), id_under(&shopify, "orders/create"));
}

#[test]
fn one_body_under_any_number_of_invented_types_is_one_event() {
    for provider in ["shopify", "github"] {
        let definition = builtin_named(provider).unwrap();
        let ids = (0..100).map(|number| id_under(&definition, &format!("invented-{number}")));
        let ids: std::collections::BTreeSet<_> = ids.collect();
        assert_eq!(ids, [digest_id(br#"{"a":1}"#)].into(), "{provider}");
    }
    let bare = of_event("type: { header: x-topic }");
    assert_ne!(id_under(&bare, "one"), id_under(&bare, "two"), "without a catalogue none is invented");
}

#[test]
fn an_id_that_is_no_name_gives_way_to_the_digest() {
    for id in [r#""""#, "null", "1.5", "{}", r#""a b""#, r#""\r\n""#, &format!("{:?}", "x".repeat(256))] {
        let body = format!(r#"{{"type":"a","id":{id}}}"#);
        assert_eq!(facts("fastpix", &body).id, digest_id(body.as_bytes()), "{id}");
    }
}

#[test]
fn identity_is_taken_before_redaction() {
    let body = |key: &str| format!(r#"{{"type":"video.live_stream.idle","data":{{"streamKey":"{key}"}}}}"#);
    let (one, other) = (facts("fastpix", &body("one")), facts("fastpix", &body("other")));
    assert_eq!(one.body, other.body);
    assert_ne!(one.id, other.id);
    assert_eq!(one.id, digest_id(body("one").as_bytes()));
}

#[test]
fn a_moment_is_kept_as_it_is_written() {
    for moment in [
        "2025-05-19T10:32:05.653992466Z",
        "2025-05-19T10:32:05.9Z",
        "2025-05-19T10:32:05Z",
        "2019-04-24T10:51:28.142291+02:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
    ] {
        let facts = facts("stream", &format!(r#"{{"type":"a","created_at":"{moment}"}}"#));
        assert_eq!(facts.time, EventTime::Stated(moment.into()));
    }
}

#[test]
fn integer_nanoseconds_are_a_moment_to_the_last_digit() {
    for (nanos, moment) in [
        ("1778198400000000000", "2026-05-08T00:00:00Z"),
        ("1778198400123456789", "2026-05-08T00:00:00.123456789Z"),
        ("0", "1970-01-01T00:00:00Z"),
        ("-1", "1969-12-31T23:59:59.999999999Z"),
        ("9223372036854775807", "2262-04-11T23:47:16.854775807Z"),
    ] {
        let facts = facts("stream", &format!(r#"{{"type":"a","created_at":{nanos}}}"#));
        assert_eq!(facts.time, EventTime::Stated(moment.into()));
    }
    let seconds = of_event("type: { pointers: [/type] }, time: [/created], time_unit: seconds");
    let facts = normalise(&seconds, &authentic(r#"{"type":"a","created":1778198400}"#), None).unwrap();
    assert_eq!(facts.time, EventTime::Stated("2026-05-08T00:00:00Z".into()));
}

#[test]
fn a_time_that_cannot_be_read_is_the_arrival() {
    for time in [
        r#""yesterday""#,
        r#""2025-05-19""#,
        r#""0001-01-01""#,
        r#""2025-05-19T10:32:05""#,
        r#""2025-02-30T00:00:00Z""#,
        r#""2025-05-19T10:32:05.1234567890Z""#,
        r#""2025-05-19 10:32:05Z""#,
        r#""2025-05-19t10:32:05z""#,
        "1.5e18",
        "9223372036854775808",
        "null",
        "{}",
        r#""""#,
        r#""é025-05-19T10:32:05.1Z""#,
    ] {
        let facts = facts("stream", &format!(r#"{{"type":"a","created_at":{time}}}"#));
        assert_eq!(facts.time, EventTime::Inferred(NOW), "{time}");
    }
    assert_eq!(facts("stream", r#"{"type":"a"}"#).time, EventTime::Inferred(NOW));
}

#[test]
fn the_key_is_the_first_place_that_holds_one() {
    for (body, key) in [
        (r#"{"type":"call.ring","fid":"f","call_cid":"c"}"#, Some("c")),
        (r#"{"type":"call.ring","fid":"f"}"#, Some("f")),
        (r#"{"type":"feeds.bookmark.added","fid":"f","user":{"id":"u"}}"#, Some("u")),
        (r#"{"type":"flag.updated","Message":{"cid":"m"},"User":{"id":"u"}}"#, Some("m")),
        (r#"{"type":"flag.updated","User":{"id":"u"}}"#, Some("u")),
        (r#"{"type":"call.recording_paused","user":{"id":"u"},"call_cid":"c"}"#, Some("c")),
        (r#"{"type":"totally.made.up","user":{"id":"u"},"object":{"id":"o"}}"#, Some("u")),
        (r#"{"type":"call.ring","call_cid":12345678901234567890123}"#, Some("12345678901234567890123")),
        (r#"{"type":"call.ring","call_cid":"a\u002fb"}"#, Some("a/b")),
        (r#"{"type":"call.ring"}"#, None),
    ] {
        assert_eq!(facts("stream", body).key.as_deref(), key, "{body}");
    }
}

#[test]
fn a_value_that_is_no_key_gives_way_to_the_next() {
    let huge = format!("{:?}", "x".repeat(1 << 20));
    let long = format!("{:?}", "x".repeat(1025));
    for value in [
        r#""""#,
        "null",
        "{}",
        r#"["c"]"#,
        "1.5",
        "true",
        r#""a\nb""#,
        r#""\u009f""#,
        r#""a\ufdd0""#,
        r#""a\uffff""#,
        &long,
        &huge,
    ] {
        let body = format!(r#"{{"type":"call.ring","call_cid":{value},"cid":"next"}}"#);
        assert_eq!(facts("stream", &body).key.as_deref(), Some("next"));
    }
    let most = "x".repeat(1024);
    assert_eq!(facts("stream", &format!(r#"{{"type":"a","call_cid":"{most}"}}"#)).key.unwrap(), most);
}

#[test]
fn facts_share_the_memory_of_the_body() {
    let verified = authentic(r#"{"type":"call.ring","call_cid":"default:1"}"#);
    let facts = normalise(&builtin_named("stream").unwrap(), &verified, None).unwrap();
    let within = |text: &ByteString| verified.body.as_ptr_range().contains(&text.as_bytes().as_ptr());
    assert!(within(&facts.event_type) && within(&facts.key.unwrap()));
    assert_eq!(facts.body.as_ptr(), verified.body.as_ptr());
}

#[test]
fn redaction_replaces_the_values_and_nothing_else() {
    let body = r#"{ "type":"video.live_stream.active", "data":{"streamKey" : "k\"1", "srtSecret":{"a":[1]},
        "srtPlaybackResponse":{"srtPlaybackSecret":"s","other":"stays"},"url":"stays","number":1.50,
        "simulcastResponses":[{"streamKey":"k2","url":"rtmp://x"},{"streamKey":null},{}]},"streamKey":"stays"}"#;
    let redacted = r#"{ "type":"video.live_stream.active", "data":{"streamKey" : "[redacted]", "srtSecret":"[redacted]",
        "srtPlaybackResponse":{"srtPlaybackSecret":"[redacted]","other":"stays"},"url":"stays","number":1.50,
        "simulcastResponses":[{"streamKey":"[redacted]","url":"rtmp://x"},{"streamKey":null},{}]},"streamKey":"stays"}"#;
    assert_eq!(facts("fastpix", body).body, redacted);
}

#[test]
fn a_type_may_redact_more_than_its_provider() {
    let body = |event_type: &str| format!(r#"{{"type":"{event_type}","data":{{"url":"https://signed"}}}}"#);
    assert!(facts("fastpix", &body("video.media.upload")).body.ends_with(br#"{"url":"[redacted]"}}"#));
    // What a type carries that was invented since, nobody has said.
    assert!(facts("fastpix", &body("video.upload.invented")).body.ends_with(br#"{"url":"[redacted]"}}"#));
    assert!(facts("fastpix", &body("totally.made.up")).body.ends_with(br#"{"url":"[redacted]"}}"#));
    assert_eq!(facts("fastpix", &body("video.media.ready")).body, body("video.media.ready"));
}

#[test]
fn what_cannot_be_read_is_redacted_by_name() {
    let body = r#"{"type":"video.media.ready","data":{"deep":{"streamKey":"k"},"n":1"#;
    let unusable = normalise(&builtin_named("fastpix").unwrap(), &authentic(body), None).unwrap_err();
    assert_eq!(unusable.word, "json");
    assert_eq!(unusable.body, body.replace(r#""k""#, r#""[redacted]""#));
}

#[test]
fn a_redaction_inside_a_redaction_is_one() {
    let text = "signature: { scheme: hmac-sha256, header: x }\nevent: { type: { pointers: [/type] } }\n\
                redact: [/a/b, /a, /a/c/*]";
    let definition = Definition::compile("acme", serde_saphyr::from_str(text).unwrap()).unwrap();
    let body = r#"{"type":"x","a":{"b":1,"c":[2,3]},"d":4}"#;
    let facts = normalise(&definition, &authentic(body), None).unwrap();
    assert_eq!(facts.body, r#"{"type":"x","a":"[redacted]","d":4}"#);
}

/// What EventBridge puts around an event.
fn enveloped(detail: &str) -> String {
    format!(
        r#"{{"version":"0","id":"6a7e8feb-b491-4cf7-a9f1-bf3703467718","detail-type":"OrderPlaced",
            "source":"shop.orders","time":"2026-05-08T09:12:28Z","region":"eu-west-1","detail":{detail}}}"#
    )
}

fn of_envelopes(more: &str) -> Definition {
    let text = format!(
        "event:\n  {{ type: {{ pointers: [/detail-type] }}, id: [/id], time: [/time], \
         key: [/detail/customer], data: /detail }}\n{more}"
    );
    Definition::compile("shop", serde_saphyr::from_str::<DefinitionFile>(&text).unwrap()).unwrap()
}

#[test]
fn the_data_inside_an_envelope_is_passed_on_byte_for_byte_and_the_rest_is_read() {
    let detail =
        r#"{ "customer": "c-7",  "total": 1.10, "note": "é \ud83c\udf9e" , "big":12345678901234567890 }"#;
    let verified = authentic(&enveloped(detail));
    let facts = normalise(&of_envelopes(""), &verified, None).unwrap();
    assert_eq!(facts.body, detail);
    assert!(verified.body.as_ptr_range().contains(&facts.body.as_ptr()), "no copy");
    assert_eq!((&*facts.event_type, &*facts.id), ("OrderPlaced", "6a7e8feb-b491-4cf7-a9f1-bf3703467718"));
    assert_eq!(facts.key.as_deref(), Some("c-7"));
    assert_eq!(facts.time, EventTime::Stated("2026-05-08T09:12:28Z".into()));
}

#[test]
fn data_is_redacted_like_a_whole_body_and_a_letter_keeps_the_envelope() {
    let definition = of_envelopes("redact: [/detail/card/number, /detail/cards/*/cvc, /account]");
    let body = enveloped(r#"{"card":{"number":"4242"},"cards":[{"cvc":1},{"cvc":null}]}"#);
    let body = body.replacen('{', r#"{"account":"111111111111","#, 1);
    let facts = normalise(&definition, &authentic(&body), None).unwrap();
    assert_eq!(facts.body, r#"{"card":{"number":"[redacted]"},"cards":[{"cvc":"[redacted]"},{"cvc":null}]}"#);

    let typeless = body.replace("OrderPlaced", "");
    let unusable = normalise(&definition, &authentic(&typeless), None).unwrap_err();
    let kept =
        typeless.replace(r#""4242""#, r#""[redacted]""#).replace(r#""cvc":1"#, r#""cvc":"[redacted]""#);
    assert_eq!(unusable.body, kept.replace(r#""111111111111""#, r#""[redacted]""#));
}

#[test]
fn an_envelope_without_data_that_all_consumers_read_alike_is_unusable() {
    for (detail, said) in [
        ("\"text\"", "not an object"),
        ("[]", "not an object"),
        ("null", "not an object"),
        (r#"{"a":1,"a":2}"#, "duplicate key"),
    ] {
        let unusable = normalise(&of_envelopes(""), &authentic(&enveloped(detail)), None).unwrap_err();
        assert_eq!(unusable.word, "data");
        assert!(unusable.detail.contains("/detail") && unusable.detail.contains(said), "{}", unusable.detail);
    }
    let unusable =
        normalise(&of_envelopes(""), &authentic(r#"{"detail-type":"OrderPlaced"}"#), None).unwrap_err();
    assert_eq!((unusable.word, &*unusable.detail), ("data", "no data at /detail, expected an object"));
}

/// The id of a body under a type that a header states, as the delivery with this id.
fn id_of_delivery(provider: &str, event_type: &str, delivery: Option<&str>, body: &str) -> ByteString {
    let definition = builtin_named(provider).unwrap();
    let (_, extension) = definition.delivery_header().unwrap();
    let stated = HeaderClaims {
        event_type: Some(event_type.into()),
        extensions: delivery.map(|id| (extension.into(), id.into())).into_iter().collect(),
        ..HeaderClaims::default()
    };
    normalise(&definition, &Verified { stated, ..authentic(body) }, None).unwrap().id
}

#[test]
fn one_body_in_two_deliveries_is_two_events_where_the_provider_tells_deliveries_apart() {
    for (provider, event_type) in [("github", "workflow_dispatch"), ("shopify", "app/uninstalled")] {
        let id = |delivery, body| id_of_delivery(provider, event_type, delivery, body);
        let body = r#"{"ref":"refs/heads/main","inputs":{"env":"prod"}}"#;
        assert_ne!(id(Some("one"), body), id(Some("two"), body), "{provider}");
        assert_eq!(id(Some("one"), body), id(Some("one"), body), "{provider} delivers again");
        assert_ne!(id(Some("one"), body), id(Some("one"), r#"{"ref":"other"}"#), "the body is signed");
        assert_eq!(id(None, body), id(None, body), "{provider}: without the header the digest is left");
        assert_ne!(id(None, body), id(Some("one"), body), "{provider}");
        let invented = |event_type| id_of_delivery(provider, event_type, Some("one"), body);
        assert_ne!(invented("x.one"), invented("x.two"), "{provider}: no unlisted type is swallowed");
    }
    // A retry by another way has no such header, and each body states its own time.
    let body = r#"{"type":"call.ring"}"#;
    assert_eq!(id_of_delivery("stream", "", Some("one"), body), digest_id(body.as_bytes()));
}

#[test]
fn a_first_pointer_that_is_unusable_is_named_and_does_not_fall_through() {
    let definition = of_event("type: { pointers: [/kind, /type] }, id: [/id, /uid]");
    let read = |body: &str| normalise(&definition, &authentic(body), None);
    let detail = read(r#"{"kind":7,"type":"a"}"#).unwrap_err().detail;
    assert!(detail.starts_with("no usable event type at /kind, "), "{detail}");
    for nothing in ["", r#""kind":null,"#, r#""kind":"","#] {
        assert_eq!(read(&format!(r#"{{{nothing}"type":"a"}}"#)).unwrap().event_type, "a");
    }
    let id = |body: &str| read(body).unwrap().id;
    let body = r#"{"type":"a","id":"one two","uid":"u"}"#;
    assert_eq!(id(body), digest_id(body.as_bytes()));
    assert_eq!(id(r#"{"type":"a","id":null,"uid":"u"}"#), "u");
    let joined = of_event("type: { header: x-event, join: /action }");
    for (header, action, place) in [
        ("push", r#""a\u202eb""#, "/action"),
        ("a\tb", "null", "header x-event"),
        ("", "1", "header x-event"),
    ] {
        let stated = HeaderClaims { event_type: Some(header.into()), ..HeaderClaims::default() };
        let verified = Verified { stated, ..authentic(&format!(r#"{{"action":{action}}}"#)) };
        let detail = normalise(&joined, &verified, None).unwrap_err().detail;
        assert!(detail.starts_with(&format!("no usable event type at {place}, ")), "{detail}");
    }
}

#[test]
fn a_retry_of_fastpix_is_the_same_event_whatever_its_documents_call_the_id() {
    for name in ["id", "webhookId"] {
        let id = |attempts: &str| {
            let body = r#"{"type":"video.live_stream.active","NAME":"e-1","attempts":[LIST]}"#;
            facts("fastpix", &body.replace("NAME", name).replace("LIST", attempts)).id
        };
        assert_eq!((id(""), id(r#"{"number":1}"#)), ("e-1".into(), "e-1".into()), "{name}");
    }
}
