//! Answers that come before a request was read to its end. A proxy sends many people's requests over
//! one connection: whoever comes next is answered, or the proxy was told to take another.

use std::time::Duration;

use axum::Router;
use axum::routing::any;
use fanbridge::source::http::connections::Connections;
use fanbridge::source::http::serve;
use fanbridge::telemetry::Metrics;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::{BODY_BYTES_MAX, Front, Peer, Setting, chunked, delivery, delivery_with, event};

/// How late the rest of a request comes: behind an answer that does not wait for it.
const LATE: Duration = Duration::from_millis(20);

/// Requests that get an error, each with the body of a delivery.
fn strays() -> Vec<(&'static str, Vec<u8>)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let genuine = text(delivery(&event(300)));
    let changed = |from: &str, to: &str| genuine.replacen(from, to, 1).into_bytes();
    vec![
        ("a path that is not there", changed("/in/stream", "/wp-login.php")),
        ("a source that is not there", changed("/in/stream", "/in/nobody")),
        ("another method", changed("POST", "PUT")),
        ("a method that needs no body", changed("POST", "GET")),
        ("no signature", changed("X-Signature", "X-Other")),
        ("another signature", changed("X-Signature: ", "X-Signature: 00")),
        ("a source without a secret", changed("/in/stream", "/in/mute")),
        ("an encoding that is not known", delivery_with("Content-Encoding: br\r\n", &event(300))),
        ("no host", changed("Host: front\r\n", "")),
        ("two hosts", changed("Host: front\r\n", "Host: a\r\nHost: b\r\n")),
        ("a body over the cap", delivery(&event(BODY_BYTES_MAX + 1))),
        ("chunks at a path that is not there", {
            text(chunked(&event(300), 100)).replacen("/in/stream", "/nowhere", 1).into_bytes()
        }),
        ("a transfer coding that is not known", {
            text(chunked(&event(300), 100)).replacen("chunked", "gzip, chunked", 1).into_bytes()
        }),
    ]
}

/// Sends a request in two parts, and then a delivery; whether that is answered, or nobody had to expect
/// it to be.
async fn next_is_answered_or_warned(
    peer: &mut Peer<TcpStream>,
    stray: &[u8],
    cut: usize,
    (next, status): &(Vec<u8>, u16),
) -> bool {
    peer.send(&stray[..cut]).await;
    tokio::time::sleep(LATE).await;
    peer.send(&stray[cut..]).await;
    let reply = peer.reply().await.expect("a request is answered, if only to refuse it");
    assert_ne!(reply.status, 200);
    if reply.closing() {
        peer.assert_closed().await;
        return true;
    }
    peer.send(next).await;
    peer.reply().await.is_some_and(|reply| reply.status == *status)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_behind_an_early_answer_is_answered_or_was_told_that_the_connection_ends() {
    for spool_full in [false, true] {
        let front = Front::start_with(|setting| setting.spool_full = spool_full).await;
        let status = if spool_full { 503 } else { 200 };
        let next = (delivery(&event(301)), status);
        for (name, stray) in strays() {
            let head = stray.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            // The whole body is late, all but a byte of it, its last byte, nothing.
            for cut in [head, head + 1, stray.len() - 1, stray.len()] {
                let mut peer = front.connect().await;
                let fine = next_is_answered_or_warned(&mut peer, &stray, cut, &next).await;
                assert!(fine, "{name}, cut at {cut} of {}, the head has {head}", stray.len());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_deliveries_among_strays_on_shared_connections_are_all_answered() {
    let front = Front::start().await;
    let strays = strays();
    let mut shared = Vec::new();
    for _ in 0..4 {
        shared.push(front.connect().await);
    }
    let mut answered = 0;
    for number in 0..300_usize {
        let slot = number % shared.len();
        let peer = &mut shared[slot];
        let (_, stray) = &strays[number % strays.len()];
        if number % 2 == 0 {
            // As a proxy passes it on: the head, and the body when it is there.
            let head = stray.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            peer.send(&stray[..head]).await;
            tokio::task::yield_now().await;
            peer.send(&stray[head..]).await;
            if peer.reply().await.expect("an answer").closing() {
                shared[slot] = front.connect().await;
            }
        }
        let reply = shared[slot].ask(delivery(&event(200 + number))).await;
        answered += usize::from(reply.status == 200);
        if reply.closing() {
            shared[slot] = front.connect().await;
        }
    }
    assert_eq!(answered, 300);
}

#[tokio::test]
async fn a_listener_whose_service_reads_no_body_says_that_it_closes() {
    let router = Router::new().route("/fine", any(async || "fine"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Setting::default().limits.private();
    let connections = Connections::new("admin", &Metrics::new());
    let served =
        tokio::spawn(serve(listener, None, limits, LATE, connections, router, CancellationToken::new()));
    for path in ["/fine", "/nothing"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
        let mut peer = Peer::new(TcpStream::connect(address).await.unwrap());
        assert!(peer.ask(&head).await.closing(), "{path}: the body has not come");
        let mut peer = Peer::new(TcpStream::connect(address).await.unwrap());
        assert!(!peer.ask(format!("{head}hello")).await.closing(), "{path}: the body was there");
        assert!(!peer.ask(format!("{head}hello")).await.closing(), "{path}: and again");
    }
    served.abort();
}
