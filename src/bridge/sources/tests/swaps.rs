//! What a change does to one source, and what it leaves as it is.

use super::peer::{Peer, event};
use super::*;

const ONE: &str = "sources: { one: { provider: stream, app: a, secrets: [env:OLD] } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_stays_is_the_same_one_and_one_that_is_gone_has_no_path_and_no_gauge() {
    let two = "sources:\n\
        \x20 one: { provider: stream, app: a, secrets: [env:OLD] }\n\
        \x20 other: { provider: stream, app: b, secrets: [env:OLD] }\n";
    let mut bridge = Swapped::start(two).await;
    let mut peer = Peer::new(bridge.address());
    assert_eq!(peer.post("other", OLD, &event("call.created", "1")).await.0, 200);
    let source = |bridge: &Swapped, name: &str| {
        bridge.bridge.sources.running.get(name).map(|running| Arc::clone(&running.source))
    };
    let before = source(&bridge, "one").unwrap();
    bridge.swap(ONE, &["one"]).await;
    assert!(Arc::ptr_eq(&before, &source(&bridge, "one").unwrap()), "its secrets and bounds are kept");
    assert!(source(&bridge, "other").is_none());
    assert_eq!(peer.post("other", OLD, &event("call.created", "2")).await.0, 404);
    assert_eq!(bridge.bridge.sources.imports().names(), ["one"]);
    let summary = bridge.bridge.sources.surroundings.admin.summary();
    assert_eq!(summary.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>(), ["one"]);
    let series = bridge.series();
    let has = |name: &str| series.contains(&format!(r#"fanbridge_{name}{{source="other"}}"#));
    assert!(!has("clock_skew_seconds"), "it says nothing any more");
    assert!(series.iter().any(|line| line.starts_with(r#"fanbridge_requests_total{source="other""#)));

    bridge.swap(ONE, &[]).await;
    assert!(!Arc::ptr_eq(&before, &source(&bridge, "one").unwrap()), "a changed one is another");
    assert_eq!(peer.post("one", OLD, &event("call.created", "3")).await.0, 200);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_was_begun_before_a_change_ends_as_it_began() {
    let mut bridge = Swapped::start(ONE).await;
    let (mut begun, mut later) = (Peer::new(bridge.address()), Peer::new(bridge.address()));
    // The head has arrived once this connection, which came later, is answered.
    let rest = begun.begin("one", OLD, &event("call.ring", "begun")).await;
    assert_eq!(later.post("one", OLD, &event("call.ring", "before")).await.0, 200);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    bridge
        .swap("select: [call.created]\nsources: { two: { provider: stream, secrets: [env:NEW] } }", &[])
        .await;
    assert_eq!(later.post("one", OLD, &event("call.ring", "after")).await.0, 404);
    let (status, text) = begun.end(&rest).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("accepted"), "by the selection under which it began: {text}");
    let (status, text) = later.post("two", NEW, &event("call.ring", "after")).await;
    assert!(status == 200 && text.contains("filtered"), "{status}: {text}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_was_changed_is_taken_on_and_no_other() {
    let mut bridge = Swapped::start(ONE).await;
    let mut peer = Peer::new(bridge.address());
    let mut status =
        async |secret: &str, word: &str| peer.post("one", secret, &event("call.created", word)).await.0;
    assert_eq!((status(OLD, "1").await, status(NEW, "2").await), (200, 401));
    bridge.swap("sources: { one: { provider: stream, app: a, secrets: [env:NEW] } }", &[]).await;
    assert_eq!((status(OLD, "3").await, status(NEW, "4").await, status(FORGED, "5").await), (200, 200, 401));
    bridge.swap("sources: { one: { provider: stream, app: b, secrets: [env:NEW] } }", &[]).await;
    assert_eq!((status(OLD, "6").await, status(NEW, "7").await), (200, 200), "another change ends nothing");
    let ended = "sources: { one: { provider: stream, secrets: [env:NEW, \
                 { secret: env:OLD, not_after: 2026-01-01T00:00:00Z }] } }";
    bridge.swap(ended, &[]).await;
    assert_eq!((status(OLD, "8").await, status(NEW, "9").await), (401, 200), "its end is stated");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_prepared_and_not_swapped_in_leaves_no_trace() {
    let bridge = Swapped::start(ONE).await;
    let (series, sources) = (bridge.series(), bridge.bridge.health().sources().len());
    let other = "sources:\n\
        \x20 two: { provider: stream, secrets: ['file:DIR/secret'] }\n\
        \x20 queue: { provider: stream, sqs: { queue_url: \
            'https://sqs.eu-central-1.amazonaws.com/123456789012/events' } }\n";
    drop(bridge.prepare(other, &[]).await.unwrap());
    assert_eq!((bridge.series(), bridge.bridge.health().sources().len()), (series, sources));
    assert_eq!(bridge.bridge.sources.running.len(), 1);
    assert_eq!(Peer::new(bridge.address()).post("two", OLD, &event("call.created", "1")).await.0, 404);
    bridge.stop().await;
}
