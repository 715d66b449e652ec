//! Bodies of any kind: no panic, and never more than the limit.
#![no_main]

use std::sync::LazyLock;

use fanbridge::event::{Delivery, Timestamp};
use fanbridge::provider::{BodyLimits, Definition, Receipt, verify};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;

const LIMITS: BodyLimits = BodyLimits { inflated_bytes_max: 1 << 17, inflate_ratio_max: 10 };

static OPEN: LazyLock<Definition> = LazyLock::new(|| {
    let file = serde_json::json!({
        "signature": { "scheme": "none", "insecure_no_verification": true },
        "event": { "type": { "pointers": ["/type"] } },
    });
    let file = serde_json::from_value(file).expect("a definition");
    Definition::compile("open", file).expect("a definition without problems")
});

fuzz_target!(|body: Vec<u8>| {
    let gzip = body.starts_with(&[0x1F, 0x8B]);
    let headers = HeaderMap::new();
    let delivery = Delivery { headers: &headers, body: body.clone().into(), arrived: Timestamp(0) };
    if let Ok(Receipt::Verified(verified)) = verify(&OPEN, &[], delivery, &LIMITS) {
        assert!(verified.body.len() <= LIMITS.inflated_bytes_max);
        assert!(gzip || verified.body == body);
    }
});
