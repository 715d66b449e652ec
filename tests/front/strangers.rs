//! What strangers cost: no body is read that could not be authentic, and what they hold is little.

use std::time::{Duration, Instant};

use fanbridge::selection::Selection;
use tokio::time::timeout;

use crate::support::{Front, delivery, event, timed};

const SHORT: Duration = Duration::from_millis(200);

/// A head that asks whether its body may come.
fn asking(source: &str, headers: &str, bytes: usize) -> String {
    format!(
        "POST /in/{source} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {bytes}\r\nExpect: 100-continue\r\n\r\n"
    )
}

#[tokio::test]
async fn what_offers_no_signature_is_refused_before_its_body_is_read() {
    let front = Front::start().await;
    let signed = format!("X-Signature: {}\r\n", "5".repeat(64));
    let cases = [
        ("stream", String::new(), "missing_signature"),
        ("stream", "X-Signature: 5555\r\n".into(), "malformed_signature"),
        ("stream", format!("{signed}{signed}"), "ambiguous_signature"),
        (
            "standard",
            format!("webhook-id: a\r\nwebhook-signature: v1,{}A=\r\n", "5".repeat(42)),
            "missing_timestamp",
        ),
        ("mute", signed.clone(), "no_secret"),
        ("fastpix", String::new(), "no_secret"),
    ];
    for (source, headers, reason) in &cases {
        let reply = front.connect().await.ask(asking(source, headers, 1000)).await;
        assert_eq!((reply.status, reply.closing()), (401, true), "{source}: {reason}");
        let series = format!(r#"fanbridge_refused_total{{source="{source}",reason="{reason}"}}"#);
        front.assert_metric(&series, "1");
    }
    let reply = front.connect().await.ask(asking("stream", &signed, 1000)).await;
    assert_eq!(reply.status, 100, "this one may be authentic");
}

#[tokio::test]
async fn a_request_without_a_body_is_refused_and_the_connection_stays() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    let reply = peer.ask("POST /in/stream HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((reply.status, reply.closing()), (401, false));
    assert_eq!(peer.ask(delivery(&event(200))).await.status, 200);
}

#[tokio::test]
async fn of_an_unsigned_probe_no_more_is_read_than_a_probe_may_have() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    for body in ["", "{}", " { \r\n } \n"] {
        let length = body.len();
        let probe = format!("POST /in/fastpix HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
        let reply = peer.ask(probe).await;
        assert_eq!((reply.status, &*reply.body), (200, r#"{"verdict":"probe"}"#));
    }
    let reply = front.connect().await.ask(asking("fastpix", "", 17)).await;
    assert_eq!((reply.status, reply.closing()), (401, true));
    let endless =
        "POST /in/fastpix HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{               }";
    let reply = front.connect().await.ask(endless).await;
    assert_eq!((reply.status, reply.closing()), (401, true), "at the first byte too many");
}

#[tokio::test]
async fn a_probe_keeps_a_connection_no_longer_than_a_stranger() {
    let front = Front::start_with(|setting| {
        setting.limits.header_timeout = SHORT;
        setting.limits.idle_timeout = Duration::from_secs(60);
    })
    .await;
    let mut peer = front.connect().await;
    let probe = "POST /in/fastpix HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(peer.ask(probe).await.status, 200);
    let start = Instant::now();
    peer.assert_closed().await;
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn bodies_of_strangers_leave_memory_to_the_known_and_to_newcomers() {
    let front = Front::start_with(|setting| {
        setting.limits.inflated_bytes_max = 4096;
        setting.limits.in_flight_bytes_max = 32 << 10;
    })
    .await;
    let mut known = front.connect().await;
    assert_eq!(known.ask(delivery(&event(200))).await.status, 200);
    // Of 32 KiB half is for strangers, and an eighth of that for each network, or one body.
    let (mut held, mut refused) = (Vec::new(), 0);
    for number in 0..12 {
        let mut stranger = front.connect_from(2 + number % 4).await;
        let request = delivery(&event(3000 + usize::from(number)));
        stranger.send(&request[..request.len() - 1]).await;
        match timeout(SHORT, stranger.reply()).await {
            Ok(reply) => {
                assert_eq!(reply.map(|reply| (reply.status, reply.closing())), Some((503, true)));
                refused += 1;
            }
            Err(_) => held.push(stranger),
        }
    }
    assert_eq!((held.len(), refused), (4, 8), "one body of each network");
    let series = r#"fanbridge_refused_total{source="stream",reason="strangers_in_flight_bytes"}"#;
    front.assert_metric(series, "8");
    let newcomer = front.connect_from(6).await.ask(delivery(&event(3500))).await;
    assert_eq!(newcomer.status, 200);
    for size in 0..8 {
        assert_eq!(known.ask(delivery(&event(4000 + size))).await.status, 200);
    }
}

#[tokio::test]
async fn strangers_who_hold_all_connections_they_may_make_room_for_a_newcomer() {
    let front = Front::start_with(|setting| {
        setting.limits.connections_max = 8;
        setting.limits.header_timeout = Duration::from_secs(60);
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(front.connect_from(2).await);
    }
    let mut newcomer = front.connect().await;
    assert_eq!(newcomer.ask(delivery(&event(200))).await.status, 200);
    silent.remove(0).assert_closed().await;
    // Now that its network is known, it may have more than strangers leave.
    let mut others = Vec::new();
    for size in 201..206 {
        let mut other = front.connect().await;
        assert_eq!(other.ask(delivery(&event(size))).await.status, 200);
        others.push(other);
    }
    assert_eq!(
        newcomer.ask(timed(0, r#"{"type":"invoice.paid"}"#)).await.status,
        200,
        "and keeps what it has"
    );
    let series = r#"fanbridge_connections_refused_total{listener="http",reason="displaced"}"#;
    front.assert_metric(series, "4");
}

#[tokio::test]
async fn a_body_on_its_way_does_not_make_a_stranger_known() {
    let front = Front::start_with(|setting| {
        setting.limits.connections_max = 4;
        setting.limits.body_timeout = Duration::from_secs(60);
    })
    .await;
    let mut strangers = Vec::new();
    for size in 0..4 {
        let request = delivery(&event(300 + size));
        let mut stranger = front.connect_from(2).await;
        stranger.send(&request[..request.len() - 1]).await;
        strangers.push(stranger);
    }
    assert_eq!(front.connect().await.ask(delivery(&event(200))).await.status, 200);
}

#[tokio::test]
async fn a_delivery_that_is_sent_again_makes_nobody_known() {
    let front = Front::start_with(|setting| {
        setting.limits.connections_max = 4;
        setting.limits.header_timeout = Duration::from_secs(60);
    })
    .await;
    let mut sender = front.connect().await;
    assert_eq!(sender.ask(delivery(&event(200))).await.status, 200);
    let mut copying = front.connect_from(2).await;
    assert!(copying.ask(delivery(&event(200))).await.body.contains("duplicate"));
    let _silent = (front.connect_from(2).await, front.connect_from(2).await);
    let newcomer = front.connect_from(3).await.ask(delivery(&event(201))).await;
    assert_eq!(newcomer.status, 200);
    copying.assert_closed().await;
}

#[tokio::test]
async fn a_delivery_that_the_selection_keeps_out_makes_nobody_known_however_often_it_is_sent() {
    let front = Front::start_with(|setting| {
        setting.limits.connections_max = 4;
        setting.limits.header_timeout = Duration::from_secs(60);
        setting.selection = Selection::Only(["call.ended".to_owned()].into());
    })
    .await;
    let mut copying = front.connect_from(2).await;
    for _ in 0..3 {
        assert!(copying.ask(delivery(&event(200))).await.body.contains("filtered"));
    }
    let _silent = (front.connect_from(2).await, front.connect_from(2).await);
    let newcomer = front.connect_from(3).await.ask(delivery(&event(201))).await;
    assert_eq!(newcomer.status, 200);
    copying.assert_closed().await;
}
