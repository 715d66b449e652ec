//! From a delivery to a receipt: the schemes of the built-in providers, and what is no signature.
#![allow(clippy::unwrap_used)]

use std::io::Write;

use http::{HeaderName, HeaderValue};

use super::*;
use crate::event::Timestamp;

const NOW: Timestamp = Timestamp(1_778_198_400_000_000_000);
const LIMITS: BodyLimits = BodyLimits { inflated_bytes_max: 5 << 20, inflate_ratio_max: 100 };
const STREAM_SECRET: &str = "test_secret_do_not_use_in_production";
const STREAM_BODY: &[u8] = br#"{"type":"message.new","created_at":1778198400000000000}"#;
const STREAM_SIGNATURE: &str = "408ab27d58b18a584d29f2801dde0d5ad20e5f5965039ac88d2ef49014a2c4a7";
const FASTPIX_BODY: &[u8] = br#"{"type":"video.media.ready","data":{"id":"abc-123"}}"#;
const FASTPIX_SIGNATURE: &str = "SXTZYhjRshplUTerYmYX0D3d2LSTG3PWD2lY6XFLzd0=";

/// What a sender sends.
struct Sent {
    headers: HeaderMap,
    body: Bytes,
}

impl Sent {
    fn arrives(&self, arrived: Timestamp) -> Delivery<'_> {
        Delivery { headers: &self.headers, body: self.body.clone(), arrived }
    }
}

fn send(headers: &[(&'static str, &str)], body: impl AsRef<[u8]>) -> Sent {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    Sent { headers: map, body: Bytes::copy_from_slice(body.as_ref()) }
}

fn check(provider: &str, keys: &[&[u8]], sent: &Sent) -> Result<Receipt, DeliveryRefusal> {
    let definition = builtin_named(provider).unwrap();
    let secrets: Vec<_> = keys.iter().map(|key| SigningSecret::from_key(key.to_vec())).collect();
    verify(&definition, &secrets, sent.arrives(NOW), &LIMITS)
}

fn stream(headers: &[(&'static str, &str)], body: impl AsRef<[u8]>) -> Result<Receipt, DeliveryRefusal> {
    check("stream", &[STREAM_SECRET.as_bytes()], &send(headers, body))
}

fn fastpix(headers: &[(&'static str, &str)], body: impl AsRef<[u8]>) -> Result<Receipt, DeliveryRefusal> {
    check("fastpix", &[b"demo-secret"], &send(headers, body))
}

/// The word of a refusal for want of authenticity.
#[track_caller]
fn unauthenticated(result: Result<Receipt, DeliveryRefusal>) -> &'static str {
    match result {
        Err(DeliveryRefusal::Unauthenticated(word) | DeliveryRefusal::OutOfTime { word, .. }) => word,
        other => panic!("expected a 401, got {other:?}"),
    }
}

#[track_caller]
fn verified(result: Result<Receipt, DeliveryRefusal>) -> Verified {
    match result {
        Ok(Receipt::Verified(verified)) => verified,
        other => panic!("expected an authentic delivery, got {other:?}"),
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_known_signatures_of_stream_hold() {
    for (kind, signature) in [
        ("message.new", STREAM_SIGNATURE),
        ("call.session_started", "9c65b50bfdf1e8205ba673103a21d3fda71d6969f9003c0f2cdaf43467f6ab07"),
        ("feeds.activity.added", "5290d8c67e1bc1a4b8143f23ccf204dabc852b2d8d124603af5b81b57f2c25a3"),
    ] {
        let body = format!(r#"{{"type":"{kind}","created_at":1778198400000000000}}"#);
        let verified = verified(stream(&[("x-signature", signature)], &body));
        assert_eq!(verified.body, body);
        assert_eq!((verified.stated.signed_id, verified.skew_seconds), (None, None));
    }
    let body = r#"{"type":"message.new","message":{"text":"the quick brown fox"}}"#;
    let signature = "a91edf26f024e0efad88b0e2561e4841fa6f8c85f98ecb85dcd12e58563c2218";
    verified(check("stream", &[b"tsec2"], &send(&[("x-signature", signature)], body)));
}

#[test]
fn the_known_signature_of_fastpix_holds_and_the_one_of_the_undecoded_secret_does_not() {
    verified(fastpix(&[("fastpix-signature", FASTPIX_SIGNATURE)], FASTPIX_BODY));
    let undecoded = "lMUHnS5bLs+GAIqyLhDCg2OAxI7qpQ9HJCjfsrgGi98=";
    let refused = fastpix(&[("fastpix-signature", undecoded)], FASTPIX_BODY);
    assert_eq!(unauthenticated(refused), "wrong_signature");
}

#[test]
fn the_published_signature_of_github_holds() {
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let headers = [("x-hub-signature-256", signature), ("x-github-event", "ping")];
    let secret: &[u8] = b"It's a Secret to Everybody";
    let verified = verified(check("github", &[secret], &send(&headers, "Hello, World!")));
    assert_eq!(verified.stated.event_type.as_deref(), Some("ping"));
    let bare = [("x-hub-signature-256", &signature[7..])];
    assert_eq!(
        unauthenticated(check("github", &[secret], &send(&bare, "Hello, World!"))),
        "malformed_signature"
    );
}

#[test]
fn every_provider_believes_what_it_signs_and_no_other_does() {
    let secret = || SigningSecret::from_key(b"0123456789abcdef01234567".to_vec());
    let body = br#"{"type":"a","id":"b"}"#;
    for signer in builtin() {
        for verifier in builtin() {
            let headers = sign(signer, &secret(), body, NOW, "msg_1");
            let sent = Sent { headers, body: body.as_slice().into() };
            let receipt = verify(verifier, &[secret()], sent.arrives(NOW), &LIMITS);
            assert_eq!(
                receipt.is_ok(),
                signer.provider == verifier.provider,
                "{} {}",
                signer.provider,
                verifier.provider
            );
        }
    }
}

#[test]
fn a_hex_signature_may_be_in_upper_case() {
    verified(stream(&[("x-signature", &STREAM_SIGNATURE.to_uppercase())], STREAM_BODY));
}

#[test]
fn a_hex_signature_has_its_digits_and_nothing_in_front() {
    let odd = &STREAM_SIGNATURE[1..];
    let prefixed = ["0x", "0X"].map(|prefix| format!("{prefix}{STREAM_SIGNATURE}"));
    let shortened = ["0x", "0X"].map(|prefix| format!("{prefix}{}", &STREAM_SIGNATURE[2..]));
    for text in prefixed.into_iter().chain(shortened).chain([odd.to_owned()]) {
        let refused = stream(&[("x-signature", &text)], STREAM_BODY);
        assert_eq!(unauthenticated(refused), "malformed_signature", "{text}");
    }
}

#[test]
fn a_body_that_was_touched_in_any_way_is_refused() {
    for body in [
        &br#"{"type":"message.new","created_at":1778198400000000000} "#[..],
        br#"{"type":"message.new", "created_at":1778198400000000000}"#,
        br#"{"created_at":1778198400000000000,"type":"message.new"}"#,
        br#"{"type":"message.new","created_at":1778198400000000001}"#,
        b"",
    ] {
        let refused = stream(&[("x-signature", STREAM_SIGNATURE)], body);
        assert_eq!(unauthenticated(refused), "wrong_signature");
    }
}

#[test]
fn a_signature_that_is_not_exactly_one_is_refused() {
    let padded = format!("{STREAM_SIGNATURE}00");
    let prefixed = format!("sha256={STREAM_SIGNATURE}");
    let twice = format!("{STREAM_SIGNATURE},{STREAM_SIGNATURE}");
    for wrong in [&STREAM_SIGNATURE[..8], &STREAM_SIGNATURE[..63], &padded, &prefixed, &twice, ",", "zz"] {
        assert_eq!(unauthenticated(stream(&[("x-signature", wrong)], STREAM_BODY)), "malformed_signature");
    }
    assert_eq!(unauthenticated(stream(&[], STREAM_BODY)), "missing_signature");
    assert_eq!(unauthenticated(stream(&[("x-signature", "")], STREAM_BODY)), "missing_signature");
}

#[test]
fn two_signature_headers_are_refused_even_if_both_are_right() {
    for other in [STREAM_SIGNATURE, "00"] {
        let headers = [("x-signature", STREAM_SIGNATURE), ("x-signature", other)];
        assert_eq!(unauthenticated(stream(&headers, STREAM_BODY)), "ambiguous_signature");
    }
}

#[test]
fn base64_has_one_spelling_only() {
    let bare = FASTPIX_SIGNATURE.trim_end_matches('=');
    let spare_bits = FASTPIX_SIGNATURE.replace("0=", "1=");
    let more_bytes = FASTPIX_SIGNATURE.replace('=', "A");
    let url_safe = "lMUHnS5bLs-GAIqyLhDCg2OAxI7qpQ9HJCjfsrgGi98=";
    for wrong in [
        bare,
        &spare_bits,
        &more_bytes,
        url_safe,
        &format!("{FASTPIX_SIGNATURE} "),
        &format!(" {bare}"),
        "====",
    ] {
        let refused = fastpix(&[("fastpix-signature", wrong)], FASTPIX_BODY);
        assert_eq!(unauthenticated(refused), "malformed_signature", "{wrong}");
    }
}

#[test]
fn a_signature_over_the_inflated_bytes_holds_and_one_over_the_compressed_does_not() {
    let signed = [("x-signature", STREAM_SIGNATURE), ("content-encoding", "gzip")];
    assert_eq!(verified(stream(&signed, gzip(STREAM_BODY))).body, STREAM_BODY);
    assert_eq!(verified(stream(&signed[..1], gzip(STREAM_BODY))).body, STREAM_BODY, "no header");
    assert_eq!(verified(stream(&signed, STREAM_BODY)).body, STREAM_BODY, "inflated on the way");

    let definition = builtin_named("stream").unwrap();
    let secret = SigningSecret::from_key(STREAM_SECRET.into());
    let compressed = gzip(STREAM_BODY);
    let headers = sign(&definition, &secret, &compressed, NOW, "");
    let sent = Sent { headers, body: compressed.into() };
    let refused = verify(&definition, &[secret], sent.arrives(NOW), &LIMITS);
    assert_eq!(unauthenticated(refused), "wrong_signature");
}

#[test]
fn a_delivery_without_a_signature_is_refused_before_its_body_is_inflated() {
    let broken = b"\x1f\x8bnot gzip";
    assert_eq!(unauthenticated(stream(&[], broken)), "missing_signature");
    let refused = stream(&[("x-signature", STREAM_SIGNATURE)], broken);
    assert_eq!(refused.unwrap_err(), DeliveryRefusal::Undecodable("bad_encoding"));
}

#[test]
fn any_live_secret_will_do_and_the_receipt_says_which() {
    let right = STREAM_SECRET.as_bytes();
    let signed = send(&[("x-signature", STREAM_SIGNATURE)], STREAM_BODY);
    for (keys, which) in [(&[right][..], 0), (&[b"another", right], 1), (&[right, right], 0)] {
        assert_eq!(verified(check("stream", keys, &signed)).secret, which);
    }
    assert_eq!(unauthenticated(check("stream", &[b"another"], &signed)), "wrong_signature");
    assert_eq!(unauthenticated(check("stream", &[], &signed)), "no_live_secret");
}

#[test]
fn a_secret_counts_inside_its_window_only() {
    let definition = builtin_named("stream").unwrap();
    let at = |arrived: i64| {
        let end = Some(Timestamp(NOW.0 + 10));
        let secret = SigningSecret::parse(STREAM_SECRET, definition.secret_form(), Some(NOW), end).unwrap();
        let sent = send(&[("x-signature", STREAM_SIGNATURE)], STREAM_BODY);
        verify(&definition, &[secret], sent.arrives(Timestamp(arrived)), &LIMITS)
    };
    verified(at(NOW.0));
    verified(at(NOW.0 + 10));
    assert_eq!(unauthenticated(at(NOW.0 - 1)), "no_live_secret");
    assert_eq!(unauthenticated(at(NOW.0 + 11)), "no_live_secret");
}

#[test]
fn a_probe_is_answered_before_any_secret_is_known() {
    for body in ["", " ", "{}", " { \r\n} ", "\n"] {
        let receipt = check("fastpix", &[], &send(&[], body));
        assert!(matches!(receipt, Ok(Receipt::Probe)), "{body:?}: {receipt:?}");
    }
    for body in ["{", "}", "{{}}", "[]", "null", r#"{"type":"video.media.ready"}"#] {
        assert_eq!(unauthenticated(check("fastpix", &[], &send(&[], body))), "missing_signature");
    }
    assert_eq!(unauthenticated(stream(&[], "")), "missing_signature", "Stream does not probe");
    assert_eq!(unauthenticated(stream(&[], "{}")), "missing_signature", "Stream does not probe");
}

#[test]
fn a_signed_body_with_neither_id_nor_type_is_a_probe() {
    let definition = builtin_named("fastpix").unwrap();
    let secret = [SigningSecret::from_key(b"demo-secret".into())];
    let receipt = |body: &'static str| {
        let headers = sign(&definition, &secret[0], body.as_bytes(), NOW, "");
        let sent = Sent { headers, body: body.into() };
        verify(&definition, &secret, sent.arrives(NOW), &LIMITS).unwrap()
    };
    for probe in ["{}", "", " ", r#"{"workspace":{"id":"w"},"status":"ping"}"#] {
        assert!(matches!(receipt(probe), Receipt::Probe), "{probe:?}");
    }
    for event in [r#"{"id":"e"}"#, r#"{"type":"video.media.ready"}"#, r#"{"type":null}"#, "{", "[]"] {
        assert!(matches!(receipt(event), Receipt::Verified(_)), "{event:?}");
    }
    let badly_signed = fastpix(&[("fastpix-signature", FASTPIX_SIGNATURE)], "{}");
    assert_eq!(unauthenticated(badly_signed), "wrong_signature");
}

#[test]
fn headers_that_the_definition_names_travel_along() {
    let headers = [
        ("x-signature", STREAM_SIGNATURE),
        ("x-webhook-id", "123e4567"),
        ("x-webhook-attempt", "2"),
        ("x-api-key", "not named"),
        ("traceparent", "twice"),
        ("traceparent", "twice"),
    ];
    let extensions = verified(stream(&headers, STREAM_BODY)).stated.extensions;
    assert_eq!(extensions, [("webhookattempt".into(), "2".into()), ("webhookid".into(), "123e4567".into())]);
    let long = [("x-signature", STREAM_SIGNATURE), ("x-webhook-id", &"x".repeat(256))];
    assert_eq!(verified(stream(&long, STREAM_BODY)).stated.extensions, []);
}

#[test]
fn every_refusal_has_a_word() {
    assert_eq!(DeliveryRefusal::Unauthenticated("wrong_signature").word(), "wrong_signature");
    assert_eq!(DeliveryRefusal::Undecodable("bad_encoding").word(), "bad_encoding");
    assert_eq!(DeliveryRefusal::UnsupportedEncoding.word(), "unsupported_encoding");
    assert_eq!(DeliveryRefusal::TooLarge.word(), "too_large");
}
