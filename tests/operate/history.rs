//! `/api/v1/history` of the real binary: what the plots of the page are drawn of.

use std::time::Duration;

use serde_json::Value;

use crate::support::await_until;
use crate::support::bridge::Home;

#[test]
fn what_happened_within_the_last_minutes_is_in_columns() {
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    for _ in 0..3 {
        home.run_verb(&["send", "stream-video", "call.created", "--count", "5", "--no-wait"]);
    }
    let history = |query: &str| -> Value {
        let answer = bridge.admin().get(&format!("/api/v1/history{query}")).expect("an answer");
        serde_json::from_slice(&answer.body).expect("JSON")
    };
    let is_there = || {
        let columns = &history("")["columns"];
        let some = |name: &str| {
            let values = columns[name].as_array().expect("a column");
            values.iter().filter_map(Value::as_f64).any(|value| value > 0.0)
        };
        let all = ["accepted", "ack_p99", "fdatasync_p50", "spool_bytes"].into_iter().all(some);
        all.then_some(())
    };
    await_until("the deliveries are in a point", Duration::from_secs(30), is_there);
    let answer = history("?minutes=1");
    let points = answer["at"].as_array().expect("moments").len();
    assert!((1..=12).contains(&points), "{points} points of a minute");
    let sink = &answer["sinks"][0];
    assert_eq!(sink["name"], "local");
    let ages = sink["columns"]["oldest_pending_seconds"].as_array().expect("a column");
    assert_eq!(ages.len(), points, "each column has a value for each point");
    for query in ["?minutes=0", "?minutes=61", "?hours=1"] {
        let answer = bridge.admin().get(&format!("/api/v1/history{query}")).expect("an answer");
        assert_eq!(answer.status, 400, "{query}");
    }
}
