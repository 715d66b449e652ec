//! Authentic bodies of any kind: no panic, no invention, and agreement with an independent parser.
#![no_main]

use bytes::Bytes;
use fanbridge::admit::{AdmissionSource, admit};
use fanbridge::event::{HeaderClaims, Timestamp, Verdict, Verified};
use fanbridge::provider::builtin;
use fanbridge::selection::Selection;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    for definition in builtin() {
        let source = AdmissionSource::new(definition.clone(), "intake".into(), "/p/a".into());
        let verified = Verified {
            body: Bytes::copy_from_slice(body),
            stated: HeaderClaims { event_type: Some("stated".into()), ..HeaderClaims::default() },
            secret: 0,
            skew_seconds: None,
            arrived: Timestamp(0),
        };
        match admit(&source, verified, &Selection::All) {
            Verdict::Accept(event) => {
                assert!(event.event_type.bytes().all(|byte| byte.is_ascii_graphic()));
                assert!(event.id.len() <= 255 && event.key.as_ref().is_none_or(|key| key.len() <= 1024));
                let theirs = serde_json::from_slice::<Value>(&event.body);
                // The other parser makes numbers of what it reads.
                let numbers = |error: &serde_json::Error| error.to_string().contains("number out of range");
                assert!(theirs.as_ref().is_ok_and(Value::is_object) || theirs.as_ref().is_err_and(numbers));
            }
            Verdict::Quarantine(quarantined) => {
                assert!(quarantined.body == body || !definition.redactions().is_empty());
            }
            Verdict::Filter(_) => unreachable!("everything is selected"),
        }
    }
});
