//! Requests whose end two readers could see in different places: none of them may hide another.

use proptest::prelude::*;
use proptest::sample::select;
use tokio::io::AsyncWriteExt;

use crate::support::{Front, chunked, delivery, delivery_with, event, signature};

/// A request that should never be answered, because it is hidden in another's body.
const HIDDEN: &str = "GET /in/stream HTTP/1.1\r\nHost: hidden\r\n\r\n";

/// Heads that state the body's end in two ways, or in one that is no way.
const AMBIGUOUS: [(&str, &str); 27] = [
    ("length, then chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    ("chunked, then length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    ("any case", "content-LENGTH: 5\r\ntransfer-ENCODING: CHUNKED\r\n"),
    ("a length of nothing", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
    ("lines that end in LF", "Content-Length: 5\nTransfer-Encoding: chunked\n"),
    ("far apart", "Transfer-Encoding: chunked\r\nA: b\r\nC: d\r\nE: f\r\nContent-Length: 5\r\n"),
    ("a tab before the value", "Content-Length:\t5\r\nTransfer-Encoding:\tchunked\r\n"),
    ("no space before the value", "Content-Length:5\r\nTransfer-Encoding:chunked\r\n"),
    ("spaces around the value", "Content-Length:   5  \r\nTransfer-Encoding:   chunked  \r\n"),
    ("a bad length behind chunked", "Transfer-Encoding: chunked\r\nContent-Length: five\r\n"),
    (
        "chunked twice and a length",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ),
    ("a space before the colon", "Content-Length : 5\r\n"),
    ("a space before chunked's colon", "Content-Length: 5\r\nTransfer-Encoding : chunked\r\n"),
    ("a folded length", "Content-Length:\r\n 5\r\n"),
    ("a folded encoding", "Content-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n"),
    ("a folded line after the length", "Content-Length: 5\r\n Transfer-Encoding: chunked\r\n"),
    ("a bare CR", "Content-Length: 5\rTransfer-Encoding: chunked\r\n"),
    ("a vertical tab", "Content-Length: 5\r\nTransfer-Encoding: \x0bchunked\r\n"),
    ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
    ("a list of lengths", "Content-Length: 5, 5\r\n"),
    ("a signed length", "Content-Length: +5\r\n"),
    ("a hexadecimal length", "Content-Length: 0x5\r\n"),
    ("an empty length", "Content-Length:\r\n"),
    ("an encoding that is not chunked", "Transfer-Encoding: gzip\r\n"),
    ("chunked and then something", "Transfer-Encoding: chunked, identity\r\n"),
    ("nearly chunked", "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n"),
    ("quoted chunked", "Content-Length: 5\r\nTransfer-Encoding: \"chunked\"\r\n"),
];

#[tokio::test]
async fn a_request_that_ends_in_two_places_is_refused_and_the_connection_closed() {
    let front = Front::start().await;
    for (name, headers) in AMBIGUOUS {
        for body in ["0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"] {
            let mut peer = front.connect().await;
            let request = format!("POST /in/stream HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}{HIDDEN}");
            let reply = peer.ask(&request).await;
            assert_eq!(reply.status, 400, "{name}");
            assert!(reply.closing(), "{name}");
            peer.assert_closed().await;
        }
    }
}

#[tokio::test]
async fn an_ambiguous_request_behind_a_clean_one_is_refused() {
    let front = Front::start().await;
    let ambiguous =
        "POST /in/stream HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let clean = delivery(&event(200));
    let all_at_once = [&clean[..], &clean, ambiguous.as_bytes(), HIDDEN.as_bytes()].concat();
    // Cut anywhere, as the network may.
    for cut in [1, 7, 100, 255, 256, all_at_once.len()] {
        let mut peer = front.connect().await;
        for bytes in all_at_once.chunks(cut) {
            peer.send(bytes).await;
        }
        let mut statuses = Vec::new();
        while let Some(reply) = peer.reply().await {
            statuses.push(reply.status);
        }
        assert_eq!(statuses, [200, 200, 400], "cut every {cut} bytes");
    }
}

#[tokio::test]
async fn nothing_is_read_behind_a_chunked_request() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    let request = chunked(&event(200), 50);
    let reply = peer.ask([&request[..], HIDDEN.as_bytes()].concat()).await;
    assert_eq!((reply.status, reply.closing()), (200, true));
    peer.assert_closed().await;
}

#[tokio::test]
async fn a_body_that_looks_like_an_ambiguous_request_is_a_body() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    let inner = "POST / HTTP/1.1\\r\\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n";
    let reply = peer.ask(delivery(inner)).await;
    assert_eq!(reply.status, 200, "authentic, if of no use: {}", reply.body);
    assert_eq!(peer.ask(delivery(&event(200))).await.status, 200);
}

#[tokio::test]
async fn the_same_length_twice_is_one_length() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    let body = event(200);
    let reply = peer.ask(delivery_with("Content-Length: 200\r\n", &body)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(peer.ask(delivery(&body)).await.status, 200, "and the next request begins behind it");
}

/// Lines to make heads of: each is harmless, a framing, or something a careless reader takes for one.
const LINES: [&str; 14] = [
    "Content-Length: 5",
    "content-length:5 ",
    "Content-Length:\t 5\t",
    "Content-Length : 5",
    "Content-Length: 5,5",
    "X-Content-Length: 5",
    "Transfer-Encoding: chunked",
    "transfer-encoding:\tCHUNKED ",
    "Transfer-Encoding: identity",
    "Transfer-Encoding : chunked",
    " Transfer-Encoding: chunked",
    "Transfer_Encoding: chunked",
    "Note: Transfer-Encoding: chunked",
    "Connection: keep-alive",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_mixture_of_framings_hides_a_request(
        lines in prop::collection::vec((select(&LINES[..]), select(&["\r\n", "\n"][..])), 0..6),
        leading in select(&["", "\r\n", "\n\r\n"][..]),
        cut in 1..200_usize,
    ) {
        let head: String = lines.iter().flat_map(|(line, end)| [*line, *end]).collect();
        // Signed as what a stated length makes of it: a body is read only of who offers a signature.
        let signed = signature(b"0\r\n\r\n");
        let request = format!(
            "{leading}POST /in/stream HTTP/1.1\r\nHost: x\r\nX-Signature: {signed}\r\n{head}\r\n0\r\n\r\n{HIDDEN}"
        );
        let says = |name: &str| {
            lines.iter().any(|(line, _)| line.split(':').next().unwrap().trim().eq_ignore_ascii_case(name))
        };
        let (length, encoding) = (says("Content-Length"), says("Transfer-Encoding"));

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let statuses = runtime.block_on(statuses(request.as_bytes(), cut));
        match (length, encoding) {
            (true, true) => prop_assert_eq!(statuses, [400]),
            (false, true) => prop_assert!(matches!(statuses[..], [400 | 401]), "{:?}", statuses),
            // The hidden request is the next one, or the head was of no use.
            (true, false) => prop_assert!(matches!(statuses[..], [400] | [200, 405]), "{:?}", statuses),
            // What was meant for a body is no request.
            (false, false) => prop_assert!(matches!(statuses[..], [401, 400]), "{:?}", statuses),
        }
    }
}

/// The statuses that these bytes get from a fresh front, if nothing more comes behind them.
async fn statuses(bytes: &[u8], cut: usize) -> Vec<u16> {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    for piece in bytes.chunks(cut) {
        peer.send(piece).await;
    }
    // The front may have closed already.
    let _ = peer.io.shutdown().await;
    let mut statuses = Vec::new();
    while let Some(reply) = peer.reply().await {
        statuses.push(reply.status);
    }
    statuses
}
