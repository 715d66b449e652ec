//! What the front must refuse, and what it must not, in one table.

use crate::support::{
    BODY_BYTES_MAX, Front, Reply, chunked, delivery, delivery_with, event, gzip, signature,
};

/// What should come of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// This status, and the connection stays open.
    Open(u16),
    /// This status, and the connection is closed.
    Closed(u16),
    /// This status, whatever becomes of the connection.
    Answered(u16),
}
use Expected::{Answered, Closed, Open};

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    expected: Expected,
    /// A header that must be in the answer.
    header: Option<(&'static str, &'static str)>,
}

fn case(name: &'static str, bytes: impl Into<Vec<u8>>, expected: Expected) -> Case {
    Case { name, bytes: bytes.into(), expected, header: None }
}

fn with_header(case: Case, name: &'static str, value: &'static str) -> Case {
    Case { header: Some((name, value)), ..case }
}

fn methods() -> Vec<Case> {
    let request = |method: &str| format!("{method} /in/stream HTTP/1.1\r\nHost: x\r\n\r\n");
    let refused = |name, method| with_header(case(name, request(method), Open(405)), "allow", "POST");
    vec![
        refused("GET on a source", "GET"),
        refused("PUT on a source", "PUT"),
        refused("DELETE on a source", "DELETE"),
        refused("OPTIONS on a source", "OPTIONS"),
        refused("a method nobody knows", "BREW"),
        refused("a method in lower case", "post"),
    ]
}

fn paths() -> Vec<Case> {
    let post = |path: &str| {
        String::from_utf8(delivery(&event(200))).unwrap().replacen("/in/stream", path, 1).into_bytes()
    };
    [
        ("an unknown source", "/in/nobody"),
        ("no source", "/in/"),
        ("the root", "/"),
        ("two dots", "/in/../in/stream"),
        ("encoded dots", "/in/%2e%2e/in/stream"),
        ("an encoded letter", "/in/%73tream"),
        ("a double slash", "//in/stream"),
        ("a double slash inside", "/in//stream"),
        ("a trailing slash", "/in/stream/"),
        ("upper case", "/in/Stream"),
        ("a parameter", "/in/stream;a=b"),
        ("a longer name", "/in/streams"),
        ("an encoded NUL", "/in/stream%00"),
    ]
    .into_iter()
    .map(|(name, path)| case(name, post(path), Answered(404)))
    .chain([
        case("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", Answered(404)),
        case("CONNECT", "CONNECT stream:443 HTTP/1.1\r\nHost: x\r\n\r\n", Answered(404)),
        case("the path with a query", post("/in/stream?a=b"), Open(200)),
    ])
    .collect()
}

fn heads() -> Vec<Case> {
    let many: String = (0..200).map(|n| format!("X-{n}: a\r\n")).collect();
    let few: String = (0..80).map(|n| format!("X-{n}: a\r\n")).collect();
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    vec![
        case("80 headers", delivery_with(&few, &event(201)), Open(200)),
        case("200 headers", delivery_with(&many, &event(202)), Closed(431)),
        case(
            "a header of 500 KB",
            delivery_with(&format!("X: {}\r\n", "a".repeat(500_000)), "{}"),
            Closed(431),
        ),
        case(
            "a header without an end",
            format!("POST /in/stream HTTP/1.1\r\nX: {}", "a".repeat(70_000)),
            Closed(431),
        ),
        case("a header with a NUL", "POST /in/stream HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n", Closed(400)),
        case("no HTTP at all", "\x16\x03\x01\x02\0\x01\0\x01\x7f\x03\x03 hello\r\n\r\n", Closed(400)),
        case("an HTTP/2 preface", preface, Closed(0)),
        case("an upgrade to HTTP/2", delivery_with("Upgrade: h2c\r\n", &event(203)), Answered(200)),
        case("HTTP/3.0", "POST /in/stream HTTP/3.0\r\n\r\n", Closed(400)),
    ]
}

fn hosts() -> Vec<Case> {
    let with = |target: &str, version: &str, hosts: &str| {
        let request = String::from_utf8(delivery(&event(207))).unwrap();
        let request = request.replacen("/in/stream HTTP/1.1", &format!("{target} {version}"), 1);
        request.replacen("Host: front\r\n", hosts, 1)
    };
    let plain = |hosts: &str| with("/in/stream", "HTTP/1.1", hosts);
    vec![
        case("no host", plain(""), Closed(400)),
        case("two hosts", plain("Host: front\r\nHost: front\r\n"), Closed(400)),
        case("two hosts that differ", plain("Host: front\r\nHost: other\r\n"), Closed(400)),
        case("an empty host", plain("Host:\r\n"), Closed(400)),
        case("a host with a path", plain("Host: front/in\r\n"), Closed(400)),
        case("a host with a user", plain("Host: me@front\r\n"), Closed(400)),
        case("a host with a port", plain("Host: front:8080\r\n"), Open(200)),
        case("an address for a host", plain("Host: [::1]:8080\r\n"), Open(200)),
        case("a URL of that host", with("http://front/in/stream", "HTTP/1.1", "Host: front\r\n"), Open(200)),
        case(
            "a URL of another host",
            with("http://other/in/stream", "HTTP/1.1", "Host: front\r\n"),
            Closed(400),
        ),
        case("no host in HTTP/1.0", with("/in/stream", "HTTP/1.0", ""), Closed(200)),
        case("two hosts in HTTP/1.0", with("/in/stream", "HTTP/1.0", "Host: a\r\nHost: b\r\n"), Closed(400)),
    ]
}

fn transfer_codings() -> Vec<Case> {
    let with = |codings: &str| {
        let request = String::from_utf8(chunked(&event(208), 100)).unwrap();
        request.replacen("Transfer-Encoding: chunked\r\n", codings, 1)
    };
    vec![
        case("chunked", with("Transfer-Encoding: chunked\r\n"), Closed(200)),
        case("gzip and chunked", with("Transfer-Encoding: gzip, chunked\r\n"), Closed(501)),
        case("a coding nobody knows", with("Transfer-Encoding: snail, chunked\r\n"), Closed(501)),
        case("identity and chunked", with("Transfer-Encoding: identity, chunked\r\n"), Closed(501)),
        case("identity", with("Transfer-Encoding: identity\r\n"), Closed(400)),
        case("gzip alone", with("Transfer-Encoding: gzip\r\n"), Closed(400)),
        case("chunked, then gzip", with("Transfer-Encoding: chunked, gzip\r\n"), Closed(400)),
        case("chunked twice in a line", with("Transfer-Encoding: chunked, chunked\r\n"), Closed(400)),
        case(
            "chunked in two lines",
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            Closed(400),
        ),
        case(
            "codings in two lines",
            with("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
            Closed(400),
        ),
        case("a folded coding", with("Transfer-Encoding:\r\n chunked\r\n"), Closed(400)),
        case(
            "chunked in HTTP/1.0",
            with("Transfer-Encoding: chunked\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1),
            Closed(400),
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let signed = signature(b"");
    let stated = |bytes: usize| {
        format!(
            "POST /in/stream HTTP/1.1\r\nHost: x\r\nX-Signature: {signed}\r\nContent-Length: {bytes}\r\n\r\n"
        )
    };
    let expecting = |bytes| stated(bytes).replace("Host: x", "Host: x\r\nExpect: 100-continue");
    vec![
        case("a body at the cap", delivery(&event(BODY_BYTES_MAX)), Open(200)),
        case("a body one byte over the cap", delivery(&event(BODY_BYTES_MAX + 1)), Closed(413)),
        case("a length over the cap, no body sent", stated(BODY_BYTES_MAX + 1), Closed(413)),
        case("a length over the cap, asked for first", expecting(BODY_BYTES_MAX + 1), Closed(413)),
        case("a length of 2^64 - 3", stated(usize::MAX - 2), Closed(413)),
        case(
            "a length of 2^64",
            "POST /in/stream HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n",
            Closed(400),
        ),
        case("a chunked body at the cap", chunked(&event(BODY_BYTES_MAX), 1000), Closed(200)),
        case("a chunked body over the cap", chunked(&event(BODY_BYTES_MAX + 1), 1000), Closed(413)),
        case(
            "one chunk of a gigabyte",
            {
                let mut bytes = chunked("", 1);
                bytes.truncate(bytes.len() - 5);
                bytes.extend(b"40000000\r\n");
                bytes.extend([b'a'; 3 * BODY_BYTES_MAX]);
                bytes
            },
            Closed(413),
        ),
        case("a body ten times the cap", delivery(&event(10 * BODY_BYTES_MAX)), Closed(413)),
    ]
}

fn encodings() -> Vec<Case> {
    let unsupported = |name, coding: &str| {
        let bytes = delivery_with(&format!("Content-Encoding: {coding}\r\n"), &event(204));
        with_header(case(name, bytes, Closed(415)), "accept-encoding", "gzip")
    };
    let binary = |body: &[u8], signed: &[u8]| {
        let head = format!(
            "POST /in/stream HTTP/1.1\r\nHost: x\r\nX-Signature: {}\r\nContent-Length: {}\r\n\r\n",
            signature(signed),
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let open = |body: &[u8]| {
        let signed = binary(body, body);
        let place = signed.windows(10).position(|bytes| bytes == b"/in/stream").unwrap();
        [&signed[..place], b"/in/open", &signed[place + 10..]].concat()
    };
    // Compresses well, but not so well that it looks like a bomb.
    let numbers: Vec<u32> = (0..18_000).map(|n| n * n % 1009).collect();
    let plain = format!(r#"{{"type":"call.session_started","call_cid":"default:a","numbers":{numbers:?}}}"#);
    let bomb = gzip(&vec![b'a'; 3 << 20]);
    let zipped = gzip(plain.as_bytes());
    assert!(plain.len() > 64 << 10, "worked on off the runtime");
    let broken = b"\x1f\x8b but not gzip";
    vec![
        unsupported("br", "br"),
        unsupported("zstd", "zstd"),
        unsupported("deflate", "deflate"),
        unsupported("gzip, br", "gzip, br"),
        unsupported("identity;q=0", "identity;q=0"),
        case("gzip that was not announced", binary(&zipped, plain.as_bytes()), Open(200)),
        case("the magic of gzip and nothing more", binary(broken, broken), Open(400)),
        case("half of a gzip", binary(&zipped[..zipped.len() / 2], plain.as_bytes()), Open(400)),
        case(
            "half of a gzip from whom nobody asks a signature",
            open(&zipped[..zipped.len() / 2]),
            Open(400),
        ),
        case("an event from whom nobody asks a signature", open(event(207).as_bytes()), Open(200)),
        case("a gzip bomb", binary(&bomb, b"whatever"), Closed(413)),
    ]
}

fn probes() -> Vec<Case> {
    let empty = |source: &str| format!("POST /in/{source} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    let braces =
        |source: &str| format!("POST /in/{source} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}");
    let unsigned = String::from_utf8(delivery(&event(205))).unwrap().replace("X-Signature", "X-Other");
    let forged = String::from_utf8(delivery(&event(205))).unwrap().replace("default:a", "default:b");
    let no_length = "POST /in/stream HTTP/1.1\r\nHost: x\r\n\r\n";
    vec![
        case("an empty body", empty("stream"), Open(401)),
        case("neither length nor body", no_length, Open(401)),
        case("an empty probe where probes are known", empty("fastpix"), Open(200)),
        case("a probe of braces", braces("fastpix"), Open(200)),
        case("an event for a source without secrets", delivery_to("fastpix"), Closed(401)),
        case("an event for a source without secrets or probes", delivery_to("mute"), Closed(401)),
        case("a probe where none are known", braces("mute"), Closed(401)),
        case("no signature", unsigned, Closed(401)),
        case("a signature that does not hold", forged, Open(401)),
    ]
}

fn delivery_to(source: &str) -> Vec<u8> {
    String::from_utf8(delivery(&event(206)))
        .unwrap()
        .replacen("/in/stream", &format!("/in/{source}"), 1)
        .into()
}

fn all() -> Vec<Case> {
    let tables = [methods(), paths(), heads(), hosts(), transfer_codings(), sizes(), encodings(), probes()];
    tables.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_input_gets_its_answer() {
    let front = Front::start().await;
    let mut failed = Vec::new();
    for Case { name, bytes, expected, header } in all() {
        let mut peer = front.connect().await;
        peer.send(bytes).await;
        let reply = peer.reply().await;
        let status = reply.as_ref().map_or(0, |reply| reply.status);
        // An open connection answers once more.
        peer.send(delivery(&event(300))).await;
        let open = peer.reply().await.is_some_and(|reply| reply.status == 200);
        let got = if open { Open(status) } else { Closed(status) };
        println!("{name:<50} {:<15} {got:?}", format!("{expected:?}"));

        let as_expected = got == expected || expected == Answered(status);
        let problem = reply.as_ref().is_none_or(is_answer_or_problem);
        let header = header.is_none_or(|(name, value)| {
            reply.and_then(|reply| reply.header(name).map(|found| found == value)) == Some(true)
        });
        if !(as_expected && problem && header) {
            failed.push(format!(
                "{name}: expected {expected:?}, got {got:?} (problem document {problem}, header {header})"
            ));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Every error the service gives is a problem document; the parser's own have no body.
fn is_answer_or_problem(reply: &Reply) -> bool {
    if reply.status == 200 || reply.body.is_empty() {
        return true;
    }
    let document: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    reply.header("content-type") == Some("application/problem+json")
        && document["status"] == reply.status
        && ["type", "title", "detail", "code", "instance"].iter().all(|member| document[member].is_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_strangers_get_the_same_answer() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    let body = event(200);
    let forged = String::from_utf8(delivery(&body)).unwrap().replace("default:a", "default:b");
    let unsigned = String::from_utf8(delivery(&body)).unwrap().replace("X-Signature", "X-Other");
    let first = peer.ask(forged).await;
    assert_eq!(first.status, 401);
    let said = without_request(&first.body);
    for stranger in [unsigned.into_bytes(), delivery_to("mute"), delivery_to("fastpix")] {
        let reply = front.connect().await.ask(stranger).await;
        assert_eq!((reply.status, without_request(&reply.body)), (first.status, said.clone()));
        assert_ne!(reply.body, first.body, "each has a number of its own");
    }
    front.assert_metric(r#"fanbridge_refused_total{source="mute",reason="no_secret"}"#, "1");
    front.assert_metric(r#"fanbridge_requests_total{source="stream",code="401"}"#, "2");
}

/// A problem document without the number of its request.
fn without_request(document: &str) -> String {
    let mut document: serde_json::Value = serde_json::from_str(document).unwrap();
    let request = document.as_object_mut().unwrap().remove("instance").unwrap();
    assert!(request.as_str().unwrap().starts_with("urn:fanbridge:request:"), "{request}");
    document.to_string()
}
