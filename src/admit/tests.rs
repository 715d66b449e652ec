//! The three verdicts.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::prelude::*;
use sha2::Digest;

use super::*;
use crate::event::{EventTime, HeaderClaims, Timestamp};
use crate::provider::{builtin, builtin_named, sample};

const NOW: Timestamp = Timestamp(1_778_198_400_000_000_000);

fn source(provider: &str) -> AdmissionSource {
    let definition = builtin_named(provider).unwrap();
    let event_source = format!("/{provider}/default").into();
    AdmissionSource::new(definition, "intake".into(), event_source)
}

fn authentic(body: impl Into<Bytes>) -> Verified {
    Verified {
        body: body.into(),
        stated: HeaderClaims {
            extensions: vec![("webhookid".into(), "w1".into())],
            ..HeaderClaims::default()
        },
        secret: 0,
        skew_seconds: None,
        arrived: NOW,
    }
}

fn digest_id(body: &[u8]) -> ByteString {
    format!("sha256-{}", hex::encode(sha2::Sha256::digest(body))).into()
}

fn only(types: &[&str]) -> Selection {
    Selection::Only(types.iter().map(ToString::to_string).collect())
}

#[test]
fn a_selected_event_is_accepted_with_all_its_attributes() {
    let body = r#"{"type":"call.session_started","call_cid":"default:1","created_at":1778198400000000000}"#;
    let verdict = admit(&source("stream"), authentic(body), &only(&["call.session_started"]));
    let Verdict::Accept(event) = verdict else { panic!("{verdict:?}") };
    let expected = Event {
        id: digest_id(body.as_bytes()),
        source: "/stream/default".into(),
        event_type: "call.session_started".into(),
        provider: "stream".into(),
        family: "video.session".into(),
        source_name: "intake".into(),
        key: Some("default:1".into()),
        subject: Some("default:1".into()),
        time: EventTime::Stated("2026-05-08T00:00:00Z".into()),
        arrived: NOW,
        extensions: vec![("webhookid".into(), "w1".into())],
        configuration: None,
        only_sink: None,
        body: body.into(),
    };
    assert_eq!(*event, expected);
}

#[test]
fn identity_never_changes_between_versions() {
    for (provider, body, id) in [
        (
            "stream",
            r#"{"type":"message.new","created_at":1778198400000000000}"#,
            "sha256-b73b88be6c4f6d49653a172abccb73f47ccc1c0e0607963789ade7ed3cec127e",
        ),
        (
            "stream",
            r#"{"type":"custom"}"#,
            "sha256-9c734efce96c8dac60bb9e9244bd468880359e9fbcb78cc2067f0692b180e3c4",
        ),
        (
            "fastpix",
            r#"{"type":"video.media.ready","id":"134b9d7b-5ed4-4193-8cfb-9ffae9cc2970"}"#,
            "134b9d7b-5ed4-4193-8cfb-9ffae9cc2970",
        ),
    ] {
        let Verdict::Accept(event) = admit(&source(provider), authentic(body), &Selection::All) else {
            panic!()
        };
        assert_eq!(event.id, id, "{body}");
    }
}

#[test]
fn a_type_that_is_not_on_the_list_is_filtered_even_if_it_is_new() {
    for (event_type, family) in
        [("totally.made.up", "unclassified"), ("call.ring", "video.ringing"), ("*", "unclassified")]
    {
        let body = format!(r#"{{"type":"{event_type}"}}"#);
        let verdict =
            admit(&source("stream"), authentic(body.clone()), &only(&["call.rin", "Call.ring", "call.*"]));
        let Verdict::Filter(filtered) = verdict else { panic!("{verdict:?}") };
        assert_eq!((filtered.event_type, filtered.family), (event_type.into(), family.into()));
        assert_eq!(filtered.id, digest_id(body.as_bytes()));
        let verdict = admit(&source("stream"), authentic(body), &Selection::All);
        assert!(matches!(verdict, Verdict::Accept(_)), "{verdict:?}");
    }
}

#[test]
fn an_authentic_body_that_is_unusable_is_kept_as_it_is() {
    for (body, reason) in [
        (&b"{not json"[..], "json"),
        (b"[]", "not_object"),
        (b"{}", "type"),
        (b"{\"type\":\"a\",\"x\":\"\xFF\"}", "utf8"),
        (b"\xEF\xBB\xBF{\"type\":\"a\"}", "bom"),
        (br#"{"type":"a","type":"b"}"#, "duplicate_key"),
        (br#"{"type":"a","TYPE":"b"}"#, "case_collision"),
        (b"", "empty"),
    ] {
        // Whether the type would be selected does not matter: it is not known.
        let verdict = admit(&source("stream"), authentic(body), &only(&[]));
        let Verdict::Quarantine(quarantined) = verdict else { panic!("{verdict:?}") };
        assert_eq!((&*quarantined.reason, &*quarantined.body), (reason, body));
        assert_eq!(quarantined.id, digest_id(body));
        assert_eq!((&*quarantined.source, &*quarantined.source_name), ("/stream/default", "intake"));
    }
}

#[test]
fn a_quarantined_delivery_that_can_be_read_is_redacted_and_known_by_all_of_its_body() {
    let body = r#"{"type":["a"],"data":{"streamKey":"k","url":"u","n":1}}"#;
    let verdict = admit(&source("fastpix"), authentic(body), &Selection::All);
    let Verdict::Quarantine(quarantined) = verdict else { panic!("{verdict:?}") };
    let redacted = br#"{"type":["a"],"data":{"streamKey":"[redacted]","url":"[redacted]","n":1}}"#;
    assert_eq!(&*quarantined.body, redacted);
    assert_eq!(quarantined.id, digest_id(body.as_bytes()));
}

#[test]
fn what_is_redacted_in_a_quarantined_body_tells_events_apart_all_the_same_once_it_is_admitted() {
    let text = "{ signature: { scheme: none, insecure_no_verification: true }, redact: [/token], \
                event: { type: { pointers: [/POINTER] } } }";
    let source = |pointer: &str| {
        let file = serde_saphyr::from_str(&text.replace("POINTER", pointer)).unwrap();
        let definition = Definition::compile("acme", file).unwrap();
        AdmissionSource::new(definition.into(), "intake".into(), "/acme/default".into())
    };
    let admitted = |token: &str| {
        let body = format!(r#"{{"kind":"paid","token":"{token}"}}"#);
        let direct = admit(&source("kind"), authentic(body.clone()), &Selection::All);
        let Verdict::Quarantine(letter) = admit(&source("wrong"), authentic(body), &Selection::All) else {
            panic!("the type is not where the definition looks")
        };
        match (direct, readmit(&source("kind"), &letter, &Selection::All)) {
            (Verdict::Accept(direct), Verdict::Accept(later)) => {
                assert_eq!((&direct.id, &direct.body), (&later.id, &later.body));
                later.id.clone()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_ne!(admitted("one"), admitted("two"));
}

#[test]
fn two_signed_ids_with_one_body_that_is_unusable_are_two_deliveries() {
    let id = |signed: &str| {
        let stated = HeaderClaims { signed_id: Some(signed.into()), ..HeaderClaims::default() };
        match admit(&source("standard-webhooks"), Verified { stated, ..authentic("{}") }, &Selection::All) {
            Verdict::Quarantine(quarantined) => quarantined.id.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_ne!(id("msg_1"), id("msg_2"));
    assert_eq!(id("msg_1"), id("msg_1"));
}

#[test]
fn a_quarantined_delivery_keeps_what_its_headers_said() {
    let stated = HeaderClaims {
        signed_id: Some("msg_1".into()),
        event_type: Some("push".into()),
        ..HeaderClaims::default()
    };
    let verified = Verified { stated: stated.clone(), ..authentic("{not json") };
    let verdict = admit(&source("github"), verified, &Selection::All);
    let Verdict::Quarantine(quarantined) = verdict else { panic!("{verdict:?}") };
    assert_eq!(quarantined.stated, stated);
}

#[test]
fn every_catalogued_type_has_samples_that_are_accepted_and_distinct() {
    for definition in builtin() {
        let source = source(&definition.provider);
        for info in definition.catalogue.types() {
            let event = |n| {
                let body = sample(definition, &info.name, NOW, n).unwrap();
                let stated = crate::provider::event_headers(definition, &info.name);
                let event_type = stated.values().next().map(|value| value.to_str().unwrap().into());
                let stated = HeaderClaims { event_type, ..HeaderClaims::default() };
                match admit(&source, Verified { stated, ..authentic(body) }, &Selection::All) {
                    Verdict::Accept(event) => event,
                    other => panic!("{}: {other:?}", info.name),
                }
            };
            let (first, second) = (event(1), event(2));
            assert_eq!((&first.event_type, &first.family), (&info.name, &info.family));
            assert_ne!(first.id, second.id, "{}", info.name);
            assert_eq!(event(1), first);
            assert_eq!(first.key.is_some(), !info.key.is_empty(), "{}", info.name);
            assert_ne!(
                first.key.as_ref(),
                second.key.as_ref().filter(|_| first.key.is_some()),
                "{}",
                info.name
            );
            // GitHub has no one place for the time of an event.
            let stated = matches!(first.time, EventTime::Stated(_));
            assert_eq!(stated, &*definition.provider != "github", "{}", info.name);
        }
    }
}

#[test]
fn a_type_without_a_catalogue_entry_has_no_sample() {
    assert_eq!(sample(&builtin_named("stream").unwrap(), "totally.made.up", NOW, 1), None);
}

proptest! {
    /// Selection decides whether an event passes, and nothing else about it.
    #[test]
    fn an_event_passes_exactly_if_its_very_name_is_selected(
        event_type in "[a-cA-C._*-]{1,6}",
        list in prop::collection::btree_set("[a-cA-C._*-]{1,6}", 0..20),
    ) {
        let body = format!(r#"{{"type":"{event_type}","call_cid":"c"}}"#);
        let selected = list.contains(&event_type);
        let selection = Selection::Only(list);
        let verdict = admit(&source("stream"), authentic(body.clone()), &selection);
        let all = admit(&source("stream"), authentic(body), &Selection::All);
        let Verdict::Accept(unfiltered) = all else {
            return Err(TestCaseError::fail("select: all takes all"));
        };
        match verdict {
            Verdict::Accept(event) => { prop_assert!(selected); prop_assert_eq!(event, unfiltered) }
            Verdict::Filter(filtered) => {
                prop_assert!(!selected);
                prop_assert_eq!(&filtered.id, &unfiltered.id)
            }
            Verdict::Quarantine(_) => prop_assert!(false, "a usable body"),
        }
    }
}

#[test]
fn a_letter_keeps_the_identity_of_its_delivery_and_type_also_once_its_body_is_redacted() {
    let text = "{ signature: { scheme: hmac-sha256, header: x-sig }, redact: [/token], \
                extensions: { delivery: x-delivery }, \
                event: { type: { header: x-type, join: /POINTER }, delivery_id: { header: x-delivery } } }";
    let source = |pointer: &str| {
        let file = serde_saphyr::from_str(&text.replace("POINTER", pointer)).unwrap();
        let definition = Definition::compile("acme", file).unwrap();
        AdmissionSource::new(definition.into(), "intake".into(), "/acme/default".into())
    };
    let mut ids = std::collections::BTreeSet::new();
    for (token, delivery) in [("one", Some("d1")), ("two", Some("d1")), ("one", Some("d2")), ("one", None)] {
        let body = format!(r#"{{"bad":"\n","good":"paid","token":"{token}"}}"#);
        let stated = HeaderClaims {
            event_type: Some("invoice".into()),
            extensions: delivery.map(|id| ("delivery".into(), id.into())).into_iter().collect(),
            ..HeaderClaims::default()
        };
        let verified = || Verified { stated: stated.clone(), ..authentic(body.clone()) };
        let Verdict::Quarantine(letter) = admit(&source("bad"), verified(), &Selection::All) else {
            panic!("the detail is no part of a type")
        };
        let direct = admit(&source("good"), verified(), &Selection::All);
        match (direct, readmit(&source("good"), &letter, &Selection::All)) {
            (Verdict::Accept(direct), Verdict::Accept(later)) => assert_eq!(direct.id, later.id),
            other => panic!("{other:?}"),
        }
        assert!(ids.insert(letter.id.clone()), "{token} of {delivery:?} is a letter of its own");
    }
}
