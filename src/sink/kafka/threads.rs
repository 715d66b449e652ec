//! The end of librdkafka's threads.
//!
//! A producer is dropped by a thread of its own that nobody waits for, because it can have records left. When
//! a process ends, OpenSSL frees what such a thread may still be using for a TLS connection, and the process
//! crashes instead of ending with its exit code. So the end of the process waits for these threads, for a
//! moment.

use std::fs;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Longest wait: a question to the brokers that is underway ends within a second.
const WAIT_MAX: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until no thread of librdkafka or of a producer runs any more, or until the wait is over.
pub async fn ended() {
    let deadline = Instant::now() + WAIT_MAX;
    while Instant::now() < deadline && are_running() {
        sleep(LOOK_EVERY).await;
    }
}

/// Whether a thread of this process has a name that librdkafka or a producer gives. `false` if the system
/// does not show the names.
fn are_running() -> bool {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.into_iter().any(|name| name.starts_with("rdk:") || name.starts_with("kafka"))
}
