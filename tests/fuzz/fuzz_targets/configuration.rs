//! Any text is a configuration or a report of what is wrong with it, and never a panic; what the
//! report shows holds nothing of what stood where a secret belongs.
#![no_main]

use std::io;

use fanbridge::config::{Environment, load};
use fanbridge::event::Timestamp;
use libfuzzer_sys::fuzz_target;

/// What fuzzers put behind `secrets:` to see whether it comes out again.
const CANARY: &str = "CANARY";

fuzz_target!(|text: &str| {
    let env = |name: &str| (name == "SECRET").then(|| "0123456789abcdef0123456789abcdef".to_owned());
    let now = Timestamp(1_795_243_200_000_000_000);
    let outside = Environment { env: &env, read: &|_| Err(io::ErrorKind::NotFound.into()), now };
    let hostile = format!("sources:\n  a:\n    secrets:\n    - {CANARY}\n{text}");
    let wrote_it = text.contains(CANARY);
    for text in [text, &hostile] {
        let report = match load("fuzz.yaml", text, &outside) {
            Ok(loaded) => loaded.warnings,
            Err(report) => {
                assert!(report.has_errors());
                report
            }
        };
        let shown = format!("{}{}", report.render(true), report.to_json());
        // It stands once in `hostile`, behind `secrets:`, unless the fuzzer wrote it elsewhere too.
        assert!(wrote_it || !shown.contains(CANARY), "{shown}");
    }
});
