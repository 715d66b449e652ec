//! What the integration tests share: the real binary as a child process, a provider that sends
//! to it, an oracle that remembers what it was promised, and readers of what came out.
//!
//! Everything runs outside the bridge's process and speaks to it as the world does: HTTP, files,
//! Kafka, signals. Nothing here uses the library, so a fault in it cannot hide itself.

// Each test binary compiles its own copy and uses its own part of it.
#![allow(dead_code, clippy::unwrap_used)]

pub mod aws;
pub mod bridge;
pub mod catalogue;
pub mod client;
pub mod clock;
pub mod dice;
pub mod gate;
pub mod inject;
pub mod load;
pub mod oracle;
pub mod proxy;
pub mod published;
pub mod readers;
pub mod redis;
pub mod rounds;
pub mod servers;
pub mod signing;
pub mod tier;
pub mod turns;

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

// Not every part is longer in some runs.
#[allow(unused_imports)]
pub use tier::Tier;

/// Bytes as a sender compresses them.
pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// Asks again and again, a few milliseconds apart, until the answer is there.
///
/// # Panics
/// When the deadline passes first; `what` says what was awaited.
pub fn await_until<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
