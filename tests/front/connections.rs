//! What a connection may cost, and how it ends.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use fanbridge::source::http::connections::Connections;
use fanbridge::source::http::serve;
use fanbridge::telemetry::Metrics;
use http::Request;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::support::{BODY_BYTES_MAX, Front, Peer, Setting, delivery, delivery_with, event};

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_connection_is_used_again() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    for size in 100..110 {
        let reply = peer.ask(delivery(&event(size))).await;
        assert_eq!((reply.status, reply.closing()), (200, false));
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    let (event, get) = (delivery(&event(200)), b"GET /in/stream HTTP/1.1\r\nHost: x\r\n\r\n");
    peer.send([&event[..], get, &event, get].concat()).await;
    for expected in [200, 405, 200, 405] {
        assert_eq!(peer.reply().await.unwrap().status, expected);
    }
}

#[tokio::test]
async fn a_request_keeps_its_connection_however_much_of_the_next_one_has_arrived() {
    let front = Front::start().await;
    let (first, second) = (delivery(&event(200)), delivery(&event(300)));
    for cut in [1, 40, second.len() - 300, second.len() - 150, second.len() - 1] {
        let mut peer = front.connect().await;
        peer.send([&first[..], &second[..cut]].concat()).await;
        let reply = peer.reply().await.unwrap();
        assert_eq!((reply.status, reply.closing()), (200, false), "{cut} bytes of the next one are here");
        let reply = peer.ask(&second[cut..]).await;
        assert_eq!((reply.status, reply.closing()), (200, false));
    }
}

#[tokio::test]
async fn a_peer_that_asks_first_is_told_to_go_on() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    let request = delivery_with("Expect: 100-continue\r\n", &event(200));
    let (head, body) = request.split_at(request.len() - 200);
    assert_eq!(peer.ask(head).await.status, 100);
    assert_eq!(peer.ask(body).await.status, 200);
}

#[tokio::test]
async fn a_peer_that_asks_first_with_too_much_is_refused_instead() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    let request = delivery_with("Expect: 100-continue\r\n", &event(BODY_BYTES_MAX + 1));
    let reply = peer.ask(&request[..request.len() - BODY_BYTES_MAX - 1]).await;
    assert_eq!((reply.status, reply.closing()), (413, true));
}

#[tokio::test]
async fn a_dribbled_head_is_closed_at_the_timeout() {
    let front = Front::start_with(|setting| setting.limits.header_timeout = SHORT).await;
    for head in [
        "POST /in/stream HTTP/1.1\r\nX-Dribbled: as slowly as can be",
        "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
    ] {
        let mut peer = front.connect().await;
        let start = Instant::now();
        let dribble = async {
            for byte in head.as_bytes() {
                peer.send([*byte]).await;
                tokio::time::sleep(SHORT / 8).await;
            }
            peer
        };
        let mut peer = dribble.await;
        peer.assert_closed().await;
        assert!(start.elapsed() >= SHORT);
        assert_eq!(
            front.metric("fanbridge_requests_total{source=\"stream\",code=\"200\"}").split(' ').nth(1),
            Some("0")
        );
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_at_the_head_timeout() {
    let front = Front::start_with(|setting| setting.limits.header_timeout = SHORT).await;
    let start = Instant::now();
    front.connect().await.assert_closed().await;
    assert!((SHORT..10 * SHORT).contains(&start.elapsed()));
}

#[tokio::test]
async fn an_idle_connection_outlives_the_head_timeout_but_not_the_idle_timeout() {
    let front = Front::start_with(|setting| {
        setting.limits.header_timeout = SHORT;
        setting.limits.idle_timeout = 10 * SHORT;
    })
    .await;
    let mut peer = front.connect().await;
    assert_eq!(peer.ask(delivery(&event(200))).await.status, 200);
    tokio::time::sleep(2 * SHORT).await;
    assert_eq!(peer.ask(delivery(&event(201))).await.status, 200, "still open after an idle while");
    let start = Instant::now();
    peer.assert_closed().await;
    assert!(start.elapsed() >= 5 * SHORT);
}

#[tokio::test]
async fn a_stranger_holds_a_connection_no_longer_than_a_head_may_take() {
    let front = Front::start_with(|setting| {
        setting.limits.header_timeout = SHORT;
        setting.limits.idle_timeout = Duration::from_secs(60);
    })
    .await;
    let mut peer = front.connect().await;
    assert_eq!(peer.ask(delivery(&event(200))).await.status, 200);
    assert_eq!(peer.ask("GET /in/stream HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 405);
    let start = Instant::now();
    peer.assert_closed().await;
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_body_that_never_ends_is_a_timeout() {
    let front = Front::start_with(|setting| setting.limits.body_timeout = SHORT).await;
    let mut peer = front.connect().await;
    let request = delivery(&event(200));
    let reply = peer.ask(&request[..request.len() - 1]).await;
    assert_eq!((reply.status, reply.closing()), (408, true));
    peer.assert_closed().await;
    front.assert_metric(r#"fanbridge_refused_total{source="stream",reason="body_timeout"}"#, "1");
}

#[tokio::test]
async fn a_body_below_the_minimum_rate_is_a_timeout_long_before_the_last() {
    let front = Front::start_with(|setting| {
        setting.limits.body_timeout = Duration::from_secs(60);
        setting.limits.body_bytes_per_second_min = 1000;
    })
    .await;
    let mut peer = front.connect().await;
    let request = delivery(&event(2000));
    let (start, body) = request.split_at(request.len() - 2000);
    peer.send(start).await;
    let begun = Instant::now();
    // 100 bytes a second.
    for piece in body.chunks(20).take(8) {
        peer.send(piece).await;
        tokio::time::sleep(SHORT).await;
    }
    let reply = peer.reply().await.unwrap();
    assert_eq!((reply.status, reply.closing()), (408, true));
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_peer_that_takes_no_answers_is_given_up() {
    let front = Front::start_with(|setting| setting.limits.idle_timeout = SHORT).await;
    let mut peer = front.connect().await;
    let requests = b"GET /in/stream HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    // Until the answers fill every buffer on the way and the front reads no more, and then gives up.
    let flood = async { while peer.io.write_all(&requests).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), flood).await.expect("the front should close");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let front = Front::start_with(|setting| setting.limits.connections_max = 2).await;
    let (mut first, mut second) = (front.connect().await, front.connect().await);
    assert_eq!(first.ask(delivery(&event(200))).await.status, 200);
    assert_eq!(second.ask(delivery(&event(201))).await.status, 200);
    let mut third = front.connect().await;
    third.send(delivery(&event(202))).await;
    assert!(tokio::time::timeout(SHORT, third.reply()).await.is_err(), "there is no place yet");
    drop(first);
    assert_eq!(third.reply().await.unwrap().status, 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_of_an_address_are_closed() {
    let front = Front::start_with(|setting| setting.limits.connections_per_address_max = 1).await;
    let mut first = front.connect().await;
    assert_eq!(first.ask(delivery(&event(200))).await.status, 200);
    front.connect().await.assert_closed().await;
    assert_eq!(first.ask(delivery(&event(201))).await.status, 200, "the others are untouched");
    drop(first);
    // The front notices in its own time.
    loop {
        let mut next = front.connect().await;
        next.send(delivery(&event(202))).await;
        if let Some(reply) = next.reply().await {
            assert_eq!(reply.status, 200);
            break;
        }
    }
}

#[tokio::test]
async fn a_connection_that_no_source_ever_sees_is_counted() {
    let front = Front::start_with(|setting| setting.limits.connections_per_address_max = 1).await;
    let mut stranger = front.connect().await;
    assert_eq!(stranger.ask("no HTTP at all\r\n\r\n").await.status, 400);
    stranger.assert_closed().await;
    let mut first = front.connect().await;
    assert_eq!(first.ask(delivery(&event(200))).await.status, 200);
    front.connect().await.assert_closed().await;
    for reason in ["not_http", "address_full"] {
        let series = format!(r#"fanbridge_connections_refused_total{{listener="http",reason="{reason}"}}"#);
        front.assert_metric(&series, "1");
    }
    front.assert_metric(r#"fanbridge_connections{listener="http"}"#, "1");
}

#[tokio::test]
async fn a_peer_that_ends_its_own_side_still_gets_its_answer() {
    let front = Front::start_with(|setting| setting.fsync = SHORT).await;
    let mut peer = front.connect().await;
    peer.send(delivery(&event(200))).await;
    peer.io.shutdown().await.unwrap();
    assert_eq!(peer.reply().await.unwrap().status, 200);
    peer.assert_closed().await;
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_body_harms_nobody() {
    let front = Front::start().await;
    for _ in 0..10 {
        let socket = TcpStream::connect(front.address).await.unwrap();
        socket.set_zero_linger().unwrap();
        let mut peer = Peer::new(socket);
        let request = delivery(&event(2000));
        peer.send(&request[..request.len() / 2]).await;
    }
    assert_eq!(front.connect().await.ask(delivery(&event(200))).await.status, 200);
}

#[tokio::test]
async fn an_answer_given_before_the_body_was_read_arrives() {
    let front = Front::start().await;
    for _ in 0..20 {
        let mut peer = front.connect().await;
        // More than fits into the buffers on the way, from a peer that reads only afterwards.
        let reply = peer.ask(delivery(&event(6 << 20))).await;
        assert_eq!((reply.status, reply.closing()), (413, true));
    }
}

#[tokio::test]
async fn a_graceful_end_finishes_what_was_begun_and_takes_nothing_new() {
    let mut front = Front::start().await;
    let (mut busy, mut idle) = (front.connect().await, front.connect().await);
    assert_eq!(idle.ask(delivery(&event(200))).await.status, 200);
    let request = delivery_with("Expect: 100-continue\r\n", &event(201));
    let (head, body) = request.split_at(request.len() - 201);
    assert_eq!(busy.ask(head).await.status, 100, "the request has begun");

    front.stop.cancel();
    idle.assert_closed().await;
    let reply = busy.ask(body).await;
    assert_eq!((reply.status, reply.closing()), (200, true));
    busy.assert_closed().await;
    (&mut front.served).await.unwrap();
    assert!(TcpStream::connect(front.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_graceful_end_answers_who_was_let_in_a_moment_before_and_waits_briefly_for_who_says_nothing() {
    let mut front = Front::start().await;
    let (mut fresh, mut silent) = (front.connect().await, front.connect().await);
    let accepted = async {
        while !front.has_metric(r#"fanbridge_connections{listener="http"}"#, "2") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(10 * SHORT, accepted).await.expect("both are accepted");

    front.stop.cancel();
    let reply = fresh.ask(delivery(&event(200))).await;
    assert_eq!((reply.status, reply.closing()), (200, true));
    fresh.assert_closed().await;
    silent.assert_closed().await;
    tokio::time::timeout(10 * SHORT, &mut front.served).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_graceful_end_waits_for_nobody_for_ever() {
    let mut front = Front::start_with(|setting| setting.drain_timeout = SHORT).await;
    let mut stuck = front.connect().await;
    let request = delivery_with("Expect: 100-continue\r\n", &event(201));
    assert_eq!(stuck.ask(&request[..request.len() - 201]).await.status, 100);
    front.stop.cancel();
    let ended = tokio::time::timeout(10 * SHORT, &mut front.served).await;
    ended.expect("the front should have ended").unwrap();
    stuck.assert_closed().await;
}

#[tokio::test]
async fn a_panic_in_one_request_is_that_requests_error_and_nobody_elses() {
    let router = Router::new()
        .route("/panic", get(async || -> &'static str { panic!("on purpose") }))
        .route("/fine", get(async || "fine"));
    let service = tower::service_fn(move |request: Request<Incoming>| {
        assert_ne!(request.uri().path(), "/panic-of-the-call", "on purpose");
        router.clone().oneshot(request)
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Setting::default().limits;
    let connections = Connections::new("http", &Metrics::new());
    let served =
        tokio::spawn(serve(listener, None, limits, SHORT, connections, service, CancellationToken::new()));

    let mut other = Peer::new(TcpStream::connect(address).await.unwrap());
    assert_eq!(other.ask("GET /fine HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 200);
    for path in ["/panic", "/panic-of-the-call"] {
        let mut unlucky = Peer::new(TcpStream::connect(address).await.unwrap());
        let reply = unlucky.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!((reply.status, reply.closing()), (500, true), "{path}");
        assert!(!reply.body.contains("on purpose"));
    }
    assert_eq!(other.ask("GET /fine HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 200);
    served.abort();
}

/// Set in the process of its own that runs the test below with few descriptors.
const FEW: &str = "FRONT_TEST_WITH_FEW_DESCRIPTORS";

#[tokio::test]
async fn a_front_without_descriptors_waits_for_some_and_does_not_spin() {
    if std::env::var_os(FEW).is_none() {
        let name = "connections::a_front_without_descriptors_waits_for_some_and_does_not_spin";
        let status = tokio::process::Command::new("sh")
            .args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(name)
            .env(FEW, "1")
            .status();
        assert!(status.await.unwrap().success());
        return;
    }
    let front = Front::start().await;
    let stat = File::open("/proc/self/stat").unwrap();
    // The front has no turn before the last descriptor is gone.
    let connect = || std::net::TcpStream::connect(front.address);
    let taken: Vec<_> = std::iter::from_fn(|| connect().ok()).collect();
    assert!(taken.len() > 10);
    let before = processor_ticks(&stat);
    tokio::time::sleep(5 * SHORT).await;
    assert!(processor_ticks(&stat) - before < 20, "a second of spinning would be a hundred");
    drop(taken);
    assert_eq!(front.connect().await.ask(delivery(&event(200))).await.status, 200);
}

/// The processor time of a process, in hundredths of a second, from its open `stat` file.
fn processor_ticks(stat: &File) -> u64 {
    let mut buffer = [0; 1024];
    let count = stat.read_at(&mut buffer, 0).unwrap();
    let stat = String::from_utf8_lossy(&buffer[..count]);
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
