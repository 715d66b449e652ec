//! Headers of any kind: no panic, and nothing is authentic that was not signed.
#![no_main]

use bytes::Bytes;
use fanbridge::event::{Delivery, Timestamp};
use fanbridge::provider::{BodyLimits, Receipt, SigningSecret, builtin, verify};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

const LIMITS: BodyLimits = BodyLimits { inflated_bytes_max: 1 << 16, inflate_ratio_max: 100 };
/// Every header that a built-in provider looks at.
const NAMES: [&str; 9] = [
    "x-signature",
    "fastpix-signature",
    "webhook-signature",
    "webhook-id",
    "webhook-timestamp",
    "x-hub-signature-256",
    "stripe-signature",
    "mux-signature",
    "content-encoding",
];

fuzz_target!(|input: (Vec<(u8, Vec<u8>)>, i64)| {
    let (pairs, arrived) = input;
    let mut headers = HeaderMap::new();
    for (name, value) in &pairs {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(NAMES[usize::from(*name) % NAMES.len()]), value);
        }
    }
    for definition in builtin() {
        // Canonical base64 of 24 bytes, and a text of 32: whatever the provider's encoding is.
        let secret =
            SigningSecret::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", definition.secret_form(), None, None);
        let delivery = Delivery {
            headers: &headers,
            body: Bytes::from_static(br#"{"type":"call.ring"}"#),
            arrived: Timestamp(arrived),
        };
        let secrets: Vec<_> = secret.into_iter().collect();
        let receipt = verify(definition, &secrets, delivery, &LIMITS);
        assert!(!matches!(receipt, Ok(Receipt::Verified(_))), "a signature out of thin air");
    }
});
