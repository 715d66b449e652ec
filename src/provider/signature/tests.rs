//! Schemes that sign more than the body: versions, fields, ids and timestamps.
#![allow(clippy::unwrap_used)]

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hmac::Hmac;
use http::HeaderValue;
use sha2::Sha256;

use super::*;
use crate::event::{Delivery, Verified};
use crate::provider::scheme::mac;
use crate::provider::sign::sign;
use crate::provider::{
    BodyLimits, Definition, DefinitionFile, DeliveryRefusal, Receipt, builtin, builtin_named, verify,
};

const NOW: Timestamp = Timestamp(1_700_000_000_500_000_000);
const BODY: &str = r#"{"type":"invoice.paid","data":{"id":"in_1"}}"#;
const KEY: &[u8] = b"0123456789abcdef01234567";

fn standard() -> std::sync::Arc<Definition> {
    builtin_named("standard-webhooks").unwrap()
}

fn definition(signature: &str) -> Definition {
    let text = format!("signature: {signature}\nevent: {{ type: {{ pointers: [/type] }} }}");
    let file: DefinitionFile = serde_saphyr::from_str(&text).unwrap();
    Definition::compile("acme", file).unwrap()
}

fn check(definition: &Definition, headers: HeaderMap, body: &str) -> Result<Verified, &'static str> {
    let limits = BodyLimits { inflated_bytes_max: 1 << 20, inflate_ratio_max: 100 };
    let delivery =
        Delivery { headers: &headers, body: Bytes::copy_from_slice(body.as_bytes()), arrived: NOW };
    match verify(definition, &[SigningSecret::from_key(KEY.into())], delivery, &limits) {
        Ok(Receipt::Verified(verified)) => Ok(verified),
        Err(DeliveryRefusal::Unauthenticated(word) | DeliveryRefusal::OutOfTime { word, .. }) => Err(word),
        other => panic!("neither verified nor unauthenticated: {other:?}"),
    }
}

/// Signed as Standard Webhooks, so many seconds from now.
fn signed(definition: &Definition, id: &str, seconds: i64) -> HeaderMap {
    let moment = Timestamp(NOW.0 + seconds * 1_000_000_000);
    sign(definition, &SigningSecret::from_key(KEY.into()), BODY.as_bytes(), moment, id)
}

/// A signature over text of the test's own making.
fn hand_signed(text: &str) -> String {
    let mark = mac::<Hmac<Sha256>>(KEY, [text.as_bytes()].into_iter());
    BASE64_STANDARD.encode(&mark.bytes[..mark.len])
}

fn standard_headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)]
    {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// A Standard Webhooks delivery whose timestamp header is this text, signed over just that.
fn stamped(timestamp: &str) -> Result<Verified, &'static str> {
    let signature = format!("v1,{}", hand_signed(&format!("msg_1.{timestamp}.{BODY}")));
    check(&standard(), standard_headers("msg_1", timestamp, &signature), BODY)
}

#[test]
fn what_sign_makes_verify_believes_in_every_form() {
    for signature in [
        "{ scheme: hmac-sha1, header: x-sig }",
        "{ scheme: hmac-sha256, header: x-sig, prefix: sha256= }",
        "{ scheme: hmac-sha512, header: x-sig, encoding: base64 }",
        "{ scheme: hmac-sha256, header: x-sig, form: fields, version: v1, signed: '{timestamp}.{body}', \
           timestamp: { field: t } }",
        "{ scheme: hmac-sha256, header: x-sig, signed: 'v0:{timestamp}:{body}', prefix: v0=, \
           timestamp: { header: x-time } }",
        "{ scheme: hmac-sha512, header: x-sig, form: versions, version: v2, signed: '{id}/{body}', \
         id_header: x-id }",
    ] {
        let definition = definition(signature);
        let verified = check(&definition, signed(&definition, "msg_1", 0), BODY);
        let verified = verified.unwrap_or_else(|word| panic!("{signature}: {word}"));
        assert_eq!(verified.stated.signed_id.is_some(), signature.contains("id_header"));
        assert_eq!(verified.skew_seconds.is_some(), signature.contains("timestamp"));
        let touched = check(&definition, signed(&definition, "msg_1", 0), "{}");
        assert_eq!(touched.unwrap_err(), "wrong_signature", "{signature}");
    }
}

#[test]
fn the_published_example_of_standard_webhooks_holds() {
    let secret =
        SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", standard().secret_form(), None, None)
            .unwrap();
    let body = br#"{"test": 2432232314}"#;
    let moment = Timestamp(1_614_265_330_000_000_000);
    let headers = sign(&standard(), &secret, body, moment, "msg_p5jXN8AQM9LWM0D4loKWxJek");
    assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn a_signed_id_and_the_skew_are_told() {
    let verified = check(&standard(), signed(&standard(), "msg_1", -7), BODY).unwrap();
    assert_eq!(verified.stated.signed_id.as_deref(), Some("msg_1"));
    assert_eq!(verified.skew_seconds, Some(-7));
}

#[test]
fn one_right_signature_among_wrong_ones_is_enough() {
    let right = signed(&standard(), "msg_1", 0)["webhook-signature"].to_str().unwrap().to_owned();
    let wrong = format!("v1,{}", hand_signed("something else"));
    for list in [
        format!("{wrong} {wrong} {right} {wrong}"),
        format!("v1a,anything {right}"),
        format!("v1,AAAA v1, {right}"),
    ] {
        let verified = check(&standard(), standard_headers("msg_1", "1700000000", &list), BODY);
        assert!(verified.is_ok(), "{list}: {verified:?}");
    }
}

#[test]
fn a_list_that_is_no_list_of_signatures_is_refused() {
    let right = signed(&standard(), "msg_1", 0)["webhook-signature"].to_str().unwrap().to_owned();
    let bare = right.strip_prefix("v1,").unwrap();
    let renamed = right.replace("v1", "v2");
    let lists = ["v1,", "v1", ",", " ", "v1,v1", &right[..11], bare, &renamed];
    for list in lists {
        let refused = check(&standard(), standard_headers("msg_1", "1700000000", list), BODY);
        assert_eq!(refused.unwrap_err(), "malformed_signature", "{list:?}");
    }
}

#[test]
fn no_more_than_sixteen_signatures_are_considered() {
    let right = signed(&standard(), "msg_1", 0)["webhook-signature"].to_str().unwrap().to_owned();
    let wrong = format!("v1,{} ", hand_signed("something else"));
    let offer = |wrongs: usize| {
        let list = wrong.repeat(wrongs) + &right;
        check(&standard(), standard_headers("msg_1", "1700000000", &list), BODY)
    };
    assert!(offer(15).is_ok());
    assert_eq!(offer(16).unwrap_err(), "too_many_signatures");
    assert_eq!(offer(10_000).unwrap_err(), "too_many_signatures");
}

#[test]
fn id_and_timestamp_must_be_there_once() {
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut headers = signed(&standard(), "msg_1", 0);
        let value = headers.remove(name).unwrap();
        let word = check(&standard(), headers.clone(), BODY).unwrap_err();
        assert!(word.starts_with("missing_"), "{name}: {word}");
        headers.append(name, value.clone());
        headers.append(name, value);
        let word = check(&standard(), headers, BODY).unwrap_err();
        assert!(word.starts_with("ambiguous_"), "{name}: {word}");
    }
}

#[test]
fn a_signature_covers_id_and_timestamp() {
    for (name, value) in [("webhook-id", "msg_2"), ("webhook-timestamp", "1700000001")] {
        let mut headers = signed(&standard(), "msg_1", 0);
        headers.insert(name, HeaderValue::from_static(value));
        assert_eq!(check(&standard(), headers, BODY).unwrap_err(), "wrong_signature");
    }
}

#[test]
fn parts_cannot_be_moved_across_a_separator() {
    // Signed as id `msg_1`, timestamp 1700000000: the same text, cut elsewhere.
    let signature = format!("v1,{}", hand_signed(&format!("msg_1.1700000001.1700000000.{BODY}")));
    let headers = standard_headers("msg_1.1700000001", "1700000000", &signature);
    assert_eq!(check(&standard(), headers, BODY).unwrap_err(), "ambiguous_parts");
}

#[test]
fn a_timestamp_may_be_off_by_the_tolerance_either_way() {
    let off = |seconds| check(&standard(), signed(&standard(), "msg_1", seconds), BODY);
    for seconds in [-300, -299, 0, 299, 300] {
        assert_eq!(off(seconds).unwrap().skew_seconds, Some(seconds));
    }
    assert_eq!(off(-301).unwrap_err(), "timestamp_too_old");
    assert_eq!(off(301).unwrap_err(), "timestamp_too_new");
}

#[test]
fn a_timestamp_that_is_no_number_of_seconds_is_refused() {
    for text in
        ["-9223372036854775808", "+1700000000", "1700000000s", "1.7e9", "0x65", "111111111111111111111"]
    {
        let word = stamped(text).unwrap_err();
        // A point in it would be a second separator.
        assert!(["malformed_timestamp", "ambiguous_parts"].contains(&word), "{text}: {word}");
    }
    for text in ["9223372036854775807", "99999999999999999999", "18446744073709551616"] {
        assert_eq!(stamped(text).unwrap_err(), "timestamp_too_new", "{text}");
    }
    assert_eq!(stamped("0").unwrap_err(), "timestamp_too_old");
    assert_eq!(stamped("1700000000000").unwrap_err(), "timestamp_in_milliseconds");
}

#[test]
fn a_forged_timestamp_is_not_judged() {
    let headers = standard_headers("msg_1", "1", &format!("v1,{}", hand_signed("something else")));
    assert_eq!(check(&standard(), headers, BODY).unwrap_err(), "wrong_signature");
}

#[test]
fn several_spaces_part_the_signatures_of_a_list_as_one_does() {
    let right = signed(&standard(), "msg_1", 0)["webhook-signature"].to_str().unwrap().to_owned();
    let wrong = format!("v1,{}", hand_signed("something else"));
    for list in [format!("{wrong}  {right}"), format!("{right}   {wrong}"), format!("{right} ")] {
        assert!(check(&standard(), standard_headers("msg_1", "1700000000", &list), BODY).is_ok(), "{list:?}");
    }
}

#[test]
fn fields_need_one_timestamp_and_a_signature_of_the_version() {
    let definition = definition(
        "{ scheme: hmac-sha256, header: x-sig, encoding: base64, form: fields, version: v1, \
           signed: '{timestamp}.{body}', timestamp: { field: t } }",
    );
    let right = hand_signed(&format!("1700000000.{BODY}"));
    let offer = |text: String| {
        let mut headers = HeaderMap::new();
        headers.insert("x-sig", HeaderValue::from_str(&text).unwrap());
        check(&definition, headers, BODY).map(|verified| verified.skew_seconds)
    };
    assert_eq!(offer(format!("t=1700000000,v1={right}")), Ok(Some(0)));
    assert_eq!(offer(format!("v0=old,v1=AAAA,v1={right},t=1700000000")), Ok(Some(0)));
    assert_eq!(offer(format!("v1={right}")), Err("missing_timestamp"));
    assert_eq!(offer(format!("t=1700000000,t=1700000000,v1={right}")), Err("ambiguous_timestamp"));
    assert_eq!(offer("t=1700000000".into()), Err("malformed_signature"));
    assert_eq!(offer(format!("t=1700000000,v0={right}")), Err("malformed_signature"));
    assert_eq!(offer(format!("t=1700000000, v1={right}")), Ok(Some(0)));
    assert_eq!(offer(format!("t=1700000000,v1={right},")), Err("malformed_signature"));
}

#[test]
fn a_source_without_verification_takes_anything() {
    let definition = definition("{ scheme: none, insecure_no_verification: true }");
    assert!(!definition.is_verified());
    assert!(check(&definition, HeaderMap::new(), BODY).is_ok());
}

#[test]
fn a_provider_that_does_not_say_how_it_signs_is_not_believed() {
    let text = "event: { type: { pointers: [/type] } }";
    let unsaid = Definition::compile("acme", serde_saphyr::from_str(text).unwrap()).unwrap();
    assert!(check(&unsaid, HeaderMap::new(), BODY).is_err());
}

proptest::proptest! {
    #[test]
    fn a_signature_with_any_one_character_changed_is_refused(at in 0..200_usize, other in b' '..=b'~') {
        for definition in builtin() {
            let name = definition.signature.hmac.as_ref().unwrap().header.clone();
            let mut headers = signed(definition, "msg_1", 0);
            let mut text = headers[&name].as_bytes().to_vec();
            let at = at % text.len();
            if text[at].eq_ignore_ascii_case(&other) {
                continue;
            }
            text[at] = other;
            headers.insert(name, HeaderValue::from_bytes(&text).unwrap());
            let refused = check(definition, headers, BODY);
            proptest::prop_assert!(refused.is_err(), "{}: {refused:?}", definition.provider);
        }
    }
}
