//! The rows: the numbers are those of the list of bad inputs that the bridge was designed against;
//! rows numbered `+` were thought of later.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::Fate;
use crate::support::client::request;
use crate::support::{gzip, signing};

/// The secret of an application that is not the others'.
pub const OTHER_SECRET: &str = "secret-of-another-application-0002";
/// A secret that is being replaced.
pub const OLD_SECRET: &str = "secret-that-is-being-replaced-0003";
/// A secret that was replaced long ago.
pub const OLDER_SECRET: &str = "secret-that-was-replaced-long-ago-0004";
/// Stands in bodies; must not stand anywhere else.
pub const BODY_CANARY: &str = "canary-of-the-bodies";
/// Stands in signature headers.
pub const SIGNATURE_CANARY: &str = "canary-of-the-signatures";

const BODY_BYTES_MAX: usize = 2 << 20;
const STREAM: &str = "/in/stream-video";
const HOOKS: &str = "/in/hooks";

/// One input and its fate.
pub struct Row {
    pub number: &'static str,
    pub input: String,
    pub request: Request,
    pub expected: Fate,
    /// The signed body.
    pub body: Vec<u8>,
    /// Attributes that the event must have; `null` for those it must not have.
    pub attributes: Vec<(&'static str, Value)>,
}

/// What goes over the wire.
pub enum Request {
    /// All at once.
    Whole(Vec<u8>),
    /// A beginning, and then byte by byte.
    Dribbled { at_once: Vec<u8>, then: Vec<u8> },
}

/// All rows, in the order in which they are tried.
pub fn all() -> Vec<Row> {
    let chapters =
        [transport(), encoding(), authentication(), timestamps(), replays(), json(), types(), output()];
    chapters.into_iter().flatten().collect()
}

fn row(number: &'static str, input: impl Into<String>, bytes: Vec<u8>, body: &[u8], expected: Fate) -> Row {
    let request = Request::Whole(bytes);
    Row { number, input: input.into(), request, expected, body: body.to_vec(), attributes: Vec::new() }
}

/// Bytes that no source ever sees as a delivery, or not as a whole one.
fn raw(number: &'static str, input: impl Into<String>, bytes: impl Into<Vec<u8>>, expected: Fate) -> Row {
    row(number, input, bytes.into(), b"", expected)
}

/// A delivery that Stream signed as it should.
fn stream(number: &'static str, input: impl Into<String>, body: impl AsRef<[u8]>, expected: Fate) -> Row {
    let body = body.as_ref();
    row(number, input, request(STREAM, &[("x-signature", &signing::stream(body))], body), body, expected)
}

/// A delivery of Stream's with these headers.
fn with_headers(
    number: &'static str,
    input: impl Into<String>,
    headers: &[(&str, &str)],
    body: &str,
    expected: Fate,
) -> Row {
    row(number, input, request(STREAM, headers, body.as_bytes()), body.as_bytes(), expected)
}

impl Row {
    fn with(mut self, name: &'static str, value: Value) -> Self {
        self.attributes.push((name, value));
        self
    }
}

fn refused(status: u16, reason: &str) -> Fate {
    Fate::Refused(status, reason.into())
}

fn quarantined(reason: &str) -> Fate {
    Fate::Quarantined(reason.into())
}

/// An event about a call, told from all others by what it is for.
fn call(what: &str) -> String {
    format!(
        r#"{{"type":"call.created","call_cid":"default:{what}","for":"{what}","canary":"{BODY_CANARY}"}}"#
    )
}

fn transport() -> Vec<Row> {
    let body = call("transport");
    let signature = signing::stream(body.as_bytes());
    let line = |method: &str, path: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nx-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let head =
        |more: &str| format!("POST {STREAM} HTTP/1.1\r\nhost: x\r\nx-signature: {signature}\r\n{more}");
    let mut rows = Vec::new();
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "post"] {
        rows.push(raw("B1", format!("{method} on a source's path"), line(method, STREAM), Fate::Turned(405)));
    }
    for path in [
        "/in/nobody",
        "/in/../in/stream-video",
        "/in/%2e%2e/in/stream-video",
        "/in/%73tream-video",
        "//in/stream-video",
        "/in//stream-video",
        "/in/stream-video/",
        "/in/Stream-Video",
        "/in/stream-video%00",
        "/in/",
        "/metrics",
        "/api/status",
    ] {
        rows.push(raw("B3", format!("POST to {path}"), line("POST", path), Fate::Turned(404)));
    }
    let chunked = |chunks: usize| {
        let chunk = [b"1000\r\n".as_slice(), &[b' '; 0x1000], b"\r\n"].concat();
        [head("transfer-encoding: chunked\r\n\r\n").into_bytes(), chunk.repeat(chunks), b"0\r\n\r\n".to_vec()]
            .concat()
    };
    let many: String = (0..200).map(|n| format!("x-{n}: a\r\n")).collect();
    let stated = |bytes: usize| head(&format!("content-length: {bytes}\r\n\r\n"));
    let both =
        head(&format!("content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", body.len()));
    rows.extend([
        Row {
            request: Request::Dribbled { at_once: head("x: ").into_bytes(), then: vec![b'a'; 100] },
            ..raw("B4", "a head of one byte every tenth of a second", "", Fate::Closed)
        },
        Row {
            request: Request::Dribbled { at_once: stated(1000).into_bytes(), then: vec![b'a'; 100] },
            ..raw("B6", "a body of ten bytes a second", "", refused(408, "body_timeout"))
        },
        raw(
            "B8",
            "a stated length one byte over the cap",
            stated(BODY_BYTES_MAX + 1),
            refused(413, "body_bytes"),
        ),
        raw("B8", "a stated length of 2^63", stated(1 << 63), refused(413, "body_bytes")),
        raw(
            "B8",
            "a stated length of 2^64",
            head("content-length: 18446744073709551616\r\n\r\n"),
            Fate::Turned(400),
        ),
        raw(
            "B9",
            "chunks that grow past the cap",
            chunked(BODY_BYTES_MAX / 0x1000 + 1),
            refused(413, "body_bytes"),
        ),
        raw("B11", "Content-Length and Transfer-Encoding", both, Fate::Turned(400)),
        raw("B14", "200 headers", head(&format!("{many}\r\n")), Fate::Turned(431)),
        raw(
            "B14",
            "a header of 500 KB",
            head(&format!("x: {}\r\n\r\n", "a".repeat(500_000))),
            Fate::Turned(431),
        ),
        raw(
            "+",
            "an encoding of the transfer that is not chunked",
            head("transfer-encoding: gzip\r\n\r\n"),
            Fate::Turned(400),
        ),
        raw(
            "+",
            "two different lengths",
            head("content-length: 1\r\ncontent-length: 2\r\n\r\nab"),
            Fate::Turned(400),
        ),
        raw(
            "+",
            "a line break inside a header",
            head(" folded\r\ncontent-length: 0\r\n\r\n"),
            Fate::Turned(400),
        ),
        raw("+", "a space before a header's colon", head("content-length : 2\r\n\r\n{}"), Fate::Turned(400)),
        raw("+", "HTTP/2 without being asked", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Fate::Closed),
    ]);
    rows
}

fn encoding() -> Vec<Row> {
    let post = |headers: &[(&str, &str)], signed: &[u8], body: &[u8]| {
        let signature = signing::stream(signed);
        request(STREAM, &[headers, &[("x-signature", &signature)]].concat(), body)
    };
    let zipped = |number, input: &str, expected| {
        let body = call(input);
        row(number, input, post(&[], body.as_bytes(), &gzip(body.as_bytes())), body.as_bytes(), expected)
    };
    let bomb = {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let zeros = vec![b' '; 1 << 20];
        (0..256).for_each(|_| encoder.write_all(&zeros).expect("memory takes it"));
        encoder.finish().expect("memory takes it")
    };
    let empty_blocks =
        [&gzip(b"")[..10], &[2, 8, 32, 128, 0].repeat(400_000), &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    let garbage = [gzip(b"{}"), b"garbage".to_vec()].concat();
    let (first, second) = (r#"{"type":"call.created","call_cid":"default:two","#, r#""members":2}"#);
    let members = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
    let whole = [first, second].concat();
    let named = call("named gzip, sent plain");
    let compressed = gzip(call("signed compressed").as_bytes());
    let mut rows = vec![
        row(
            "B23",
            "260 KB of gzip that hold 256 MiB",
            post(&[], b"x", &bomb),
            b"",
            refused(413, "inflated_bytes"),
        ),
        row(
            "+",
            "2 MB of gzip that hold nothing",
            post(&[], b"x", &empty_blocks),
            b"",
            refused(401, "wrong_signature"),
        ),
        row(
            "B25",
            "gzip's magic and nothing of it",
            post(&[], b"x", b"\x1f\x8bnope"),
            b"",
            refused(400, "bad_encoding"),
        ),
        row(
            "B27",
            "gzip and garbage behind it",
            post(&[], b"{}", &garbage),
            b"",
            refused(400, "bad_encoding"),
        ),
        row(
            "B28",
            "gzip in two members",
            post(&[], whole.as_bytes(), &members),
            whole.as_bytes(),
            Fate::Accepted,
        ),
        row(
            "B29",
            "Content-Encoding: gzip on a plain body",
            post(&[("content-encoding", "gzip")], named.as_bytes(), named.as_bytes()),
            named.as_bytes(),
            Fate::Accepted,
        ),
        zipped("B30", "gzip that no header names", Fate::Accepted),
    ];
    for coding in ["br", "zstd", "deflate", "gzip, br", "identity;q=0"] {
        let bytes = post(&[("content-encoding", coding)], b"{}", b"{}");
        rows.push(row(
            "B31",
            format!("Content-Encoding: {coding}"),
            bytes,
            b"",
            refused(415, "unsupported_encoding"),
        ));
    }
    let empty = |path| request(path, &[], b"");
    rows.extend([
        row(
            "B32",
            "the signature of the compressed bytes",
            post(&[], &compressed, &compressed),
            b"",
            refused(401, "wrong_signature"),
        ),
        row("B33", "nothing, where nobody probes", empty(STREAM), b"", refused(401, "missing_signature")),
        row("B33", "nothing, where the provider probes", empty("/in/fastpix"), b"", Fate::Probe),
        row("B33", "nothing, signed", post(&[], b"", b""), b"", quarantined("empty")),
        stream("B34", "a byte order mark", format!("\u{feff}{}", call("bom")), quarantined("bom")),
    ]);
    rows
}

fn authentication() -> Vec<Row> {
    let body = call("authentication");
    let right = signing::stream(body.as_bytes());
    let other = signing::stream(b"another body");
    let wrong = || refused(401, "wrong_signature");
    let malformed = || refused(401, "malformed_signature");
    let signed = |number, input: &str, signature: &str, expected| {
        with_headers(number, input, &[("x-signature", signature)], &body, expected)
    };
    let upper = call("upper case");
    let upper_signature = signing::stream(upper.as_bytes()).to_uppercase();
    let sent_as =
        |input: &str, sent: &str| with_headers("B48", input, &[("x-signature", &right)], sent, wrong());
    let mut rows = vec![
        with_headers("B38", "no signature", &[], &body, refused(401, "missing_signature")),
        with_headers(
            "B38",
            "an empty signature",
            &[("x-signature", "")],
            &body,
            refused(401, "missing_signature"),
        ),
        with_headers(
            "+",
            "the signature under a name with an underscore",
            &[("x_signature", &right)],
            &body,
            refused(401, "missing_signature"),
        ),
        with_headers(
            "B39",
            "the right signature twice",
            &[("x-signature", &right), ("X-Signature", &right)],
            &body,
            refused(401, "ambiguous_signature"),
        ),
        with_headers(
            "B39",
            "the right signature and another",
            &[("x-signature", &right), ("x-signature", &other)],
            &body,
            refused(401, "ambiguous_signature"),
        ),
        signed("B40", "the first eight digits", &right[..8], malformed()),
        signed("B40", "a signature with one digit more", &format!("{right}0"), malformed()),
        signed("B40", "words", SIGNATURE_CANARY, malformed()),
        signed("+", "a signature with a prefix", &format!("sha256={right}"), malformed()),
        signed("+", "two signatures in one header", &format!("{right},{right}"), malformed()),
        with_headers(
            "B45",
            "hex in upper case",
            &[("x-signature", &upper_signature)],
            &upper,
            Fate::Accepted,
        ),
        sent_as("one space more in the body", &format!("{body} ")),
        sent_as("one byte less of the body", &body[..body.len() - 1]),
        sent_as(
            "the members in another order",
            &format!(
                r#"{{"call_cid":"default:authentication","type":"call.created","for":"authentication","canary":"{BODY_CANARY}"}}"#
            ),
        ),
    ];
    rows.extend(secrets());
    rows.extend(lists());
    rows.extend(strict_base64());
    rows
}

/// Secrets in and out of use, and of somebody else.
fn secrets() -> Vec<Row> {
    let from = |number, input: &str, path, secret, expected| {
        let body = call(input);
        let signature = signing::stream_with(secret, body.as_bytes());
        row(
            number,
            input,
            request(path, &[("x-signature", &signature)], body.as_bytes()),
            body.as_bytes(),
            expected,
        )
    };
    let wrong = || refused(401, "wrong_signature");
    vec![
        from("B47", "the old secret while it may be used", "/in/rotating", OLD_SECRET, Fate::Accepted),
        from("B47", "the old secret after its time", "/in/rotating", OLDER_SECRET, wrong()),
        from("B57", "what one source signed, sent to another", "/in/other", signing::STREAM_SECRET, wrong()),
        from("B57", "the other way round", STREAM, OTHER_SECRET, wrong()),
    ]
}

/// The list of signatures that Standard Webhooks allows.
fn lists() -> Vec<Row> {
    let hook = |number, input: &str, list: &dyn Fn(&str) -> String, expected| {
        let body = format!(r#"{{"type":"demo.event","data":{{"id":"{input}"}}}}"#);
        let now = now().to_string();
        let signature = list(&signing::standard_webhooks(input, &now, body.as_bytes()));
        let headers = [("webhook-id", input), ("webhook-timestamp", &now), ("webhook-signature", &signature)];
        row(number, input, request(HOOKS, &headers, body.as_bytes()), body.as_bytes(), expected)
    };
    let wrong = format!("v1,{}=", "A".repeat(43));
    let malformed = || refused(401, "malformed_signature");
    vec![
        hook("B40", "a version and a comma", &|_| "v1,".into(), malformed()),
        hook("B40", "a version", &|_| "v1".into(), malformed()),
        hook("B40", "a comma", &|_| ",".into(), malformed()),
        hook("B40", "eight characters of the right one", &|right| right[..11].into(), malformed()),
        hook(
            "B42",
            "the right one among three wrong ones",
            &|right| format!("{wrong} {wrong} {right} {wrong}"),
            Fate::Accepted,
        ),
        hook("B42", "the right one behind two spaces", &|right| format!("{wrong}  {right}"), Fate::Accepted),
        hook(
            "B42",
            "the right one beside another version",
            &|right| format!("v1a,{wrong} {right}"),
            Fate::Accepted,
        ),
        hook(
            "B43",
            "the right one behind 15 others",
            &|right| format!("{}{right}", format!("{wrong} ").repeat(15)),
            Fate::Accepted,
        ),
        hook(
            "B43",
            "the right one behind 16 others",
            &|right| format!("{}{right}", format!("{wrong} ").repeat(16)),
            refused(401, "too_many_signatures"),
        ),
        hook(
            "B43",
            "10,000 signatures",
            &|right| format!("{right}{}", " v1,A".repeat(10_000)),
            refused(401, "too_many_signatures"),
        ),
        hook(
            "+",
            "the right one under another version",
            &|right| right.replacen("v1,", "v2,", 1),
            malformed(),
        ),
    ]
}

/// Spellings that lenient decoders take for the right signature.
fn strict_base64() -> Vec<Row> {
    // One whose signature has a character in which the alphabets differ.
    let bodies = (0..).map(|n| format!(r#"{{"type":"video.media.ready","id":"spelling-{n}"}}"#));
    let mut bodies = bodies.filter(|body| signing::fastpix(body.as_bytes()).contains('+'));
    let body = bodies.next().expect("one in two has one");
    let right = signing::fastpix(body.as_bytes());
    let spelled = |input: &str, signature: &str, expected| {
        let bytes = request("/in/fastpix", &[("fastpix-signature", signature)], body.as_bytes());
        row("B44", input, bytes, body.as_bytes(), expected)
    };
    let malformed = || refused(401, "malformed_signature");
    let url = right.replace('+', "-").replace('/', "_");
    let (start, end) = right.split_at(20);
    // The last character before the padding carries two spare bits: three more spellings of one value.
    let spare = right.replace("=", "").pop().map(|last| char::from(last as u8 + 1)).expect("a character");
    vec![
        spelled("base64 for URLs", &url, malformed()),
        spelled("base64 without padding", right.trim_end_matches('='), malformed()),
        spelled("base64 with a space inside", &format!("{start} {end}"), malformed()),
        spelled("base64 with spare bits set", &format!("{}{spare}=", &right[..right.len() - 2]), malformed()),
        spelled("base64 on two lines", &format!("{start}\r\n {end}"), Fate::Turned(400)),
        spelled("base64 as it should be", &right, Fate::Accepted),
    ]
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the epoch is past");
    i64::try_from(since.as_secs()).expect("not that far")
}

fn timestamps() -> Vec<Row> {
    let stamped = |number, input: &str, stamp: String, expected| {
        let body = format!(r#"{{"type":"demo.event","data":{{"id":"{input}"}}}}"#);
        let signature = signing::standard_webhooks(input, &stamp, body.as_bytes());
        let headers =
            [("webhook-id", input), ("webhook-timestamp", &stamp), ("webhook-signature", &signature)];
        row(number, input, request(HOOKS, &headers, body.as_bytes()), body.as_bytes(), expected)
    };
    let stamp = |seconds: i64| (now() + seconds).to_string();
    let malformed = || refused(401, "malformed_timestamp");
    let too_new = || refused(401, "timestamp_too_new");
    vec![
        // The rows before these take a while.
        stamped("B49", "200 seconds old", stamp(-200), Fate::Accepted),
        stamped("B49", "301 seconds old", stamp(-301), refused(401, "timestamp_too_old")),
        stamped("B49", "an hour ahead", stamp(3600), too_new()),
        stamped("B50", "the least number of 64 bits", i64::MIN.to_string(), malformed()),
        stamped("B50", "the greatest number of 64 bits", i64::MAX.to_string(), too_new()),
        stamped("B50", "20 nines", "9".repeat(20), too_new()),
        stamped("B50", "21 nines", "9".repeat(21), malformed()),
        stamped("B50", "a plus sign", format!("+{}", now()), malformed()),
        stamped("B50", "a fraction", format!("{}.0", now()), refused(401, "ambiguous_parts")),
        stamped("B52", "milliseconds", format!("{}000", now()), refused(401, "timestamp_in_milliseconds")),
    ]
}

fn replays() -> Vec<Row> {
    let body = call("replayed");
    let attempt = |number, input: &str, id: &str, body: &str, expected| {
        let signature = signing::stream(body.as_bytes());
        with_headers(number, input, &[("x-signature", &signature), ("x-webhook-id", id)], body, expected)
    };
    vec![
        attempt("B54", "a delivery", "first", &body, Fate::Accepted),
        attempt("B54", "the very same again", "first", &body, Fate::Duplicate),
        attempt("B55", "the same under another unsigned id", "second", &body, Fate::Duplicate),
        attempt("B56", "another body under the first id", "first", &call("reuse"), Fate::Accepted),
        stream("+", "a body that is no event", "[]", quarantined("not_object")),
        stream("+", "the same again", "[]", Fate::Duplicate),
    ]
}

fn json() -> Vec<Row> {
    let mut rows = Vec::new();
    for text in [
        "{not valid json",
        r#"{"a":1,}"#,
        r#"{"a":1} x"#,
        r#"{"a":NaN}"#,
        r#"{"a":01}"#,
        "{'a':1}",
        "{/**/}",
        r#"{"a":"\ud800"}"#,
    ] {
        rows.push(stream("B82", text, text, quarantined("json")));
    }
    for text in ["null", r#""x""#, "42", " [1] "] {
        rows.push(stream("B83", text, text, quarantined("not_object")));
    }
    for depth in [65, 128, 100_000] {
        let nested =
            format!(r#"{{"type":"call.created","a":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
        rows.push(stream("B84", format!("{depth} levels"), nested, quarantined("depth")));
    }
    let mut not_utf8 = call("not UTF-8").into_bytes();
    let last = not_utf8.len() - 3;
    not_utf8[last] = 0xFF;
    let keys: String = (0..10_001).map(|n| format!(r#","k{n}":0"#)).collect();
    rows.extend([
        stream("B84", "64 levels", format!(r#"{{"type":"call.created","a":{}{}}}"#, "[".repeat(63), "]".repeat(63)), Fate::Accepted),
        stream("B85", "two types", r#"{"type":"call.created","type":"b"}"#, quarantined("duplicate_key")),
        stream("B85", "two types, one of them escaped", r#"{"type":"call.created","\u0074ype":"b"}"#, quarantined("duplicate_key")),
        stream("+", "Type beside type", r#"{"type":"call.created","Type":"b"}"#, quarantined("case_collision")),
        stream("+", "10,002 keys", format!(r#"{{"type":"call.created"{keys}}}"#), quarantined("too_many")),
        stream("B87", "an escaped key", r#"{"\u0074ype":"call.created","n":87}"#, Fate::Accepted)
            .with("type", json!("call.created")),
        stream("B88", "a byte that is not UTF-8", not_utf8, quarantined("utf8")),
        stream(
            "B91",
            "numbers of all sizes",
            r#"{"type":"call.created","n":[1778198400000000000,12345678901234567890123,1e400,-0,0.10000000000000000555]}"#,
            Fate::Accepted,
        ),
        stream("+", "a body over two lines", "{\"type\":\"call.created\",\r\n\"n\":2}", Fate::Accepted),
    ]);
    rows
}

fn types() -> Vec<Row> {
    let typed = |number, input: &str, value: &str, expected| {
        stream(number, input, format!(r#"{{"type":{value},"for":"{input}"}}"#), expected)
    };
    let unusable = |input, value: &str| typed("B92", input, value, quarantined("type"));
    let mut rows = vec![
        stream("B92", "no type", r#"{"for":"no type"}"#, quarantined("type")),
        unusable("an empty type", r#""""#),
        unusable("a number for a type", "1"),
        unusable("null for a type", "null"),
        unusable("an object for a type", "{}"),
        unusable("a type of 10 KB", &format!(r#""{}""#, "a".repeat(10_240))),
        unusable("a type of nothing but a space", r#"" ""#),
        typed("B92", "a type with a space at its end", r#""call created ""#, Fate::Filtered),
        unusable("a type that is written backwards", r#""call.\u202ecreated""#),
        typed("B92", "a type with spaces", r#""call created""#, Fate::Filtered),
        unusable("a type with a line break", r#""call.created\r\n""#),
        typed("B92", "a type that is a picture", r#""📞""#, Fate::Filtered),
        typed("B92", "a type with a letter that looks the same", "\"c\u{430}ll.created\"", Fate::Filtered),
        typed("B93", "a type that nobody knows", r#""totally.made.up""#, Fate::Filtered),
        typed("B93", "a listed type in upper case", r#""CALL.CREATED""#, Fate::Filtered),
        typed("B95", "a star for a type", r#""*""#, Fate::Filtered),
        typed("B95", "a pattern for a type", r#""call.*""#, Fate::Filtered),
    ];
    for (input, value) in [
        ("no key", r#""other":1"#.to_owned()),
        ("an object for a key", r#""call_cid":{"a":1}"#.to_owned()),
        ("an array for a key", r#""call_cid":["a"]"#.to_owned()),
        ("a key of 1 MB", format!(r#""call_cid":"{}""#, "k".repeat(1 << 20))),
        ("an empty key", r#""call_cid":"""#.to_owned()),
        ("a key with an escape sequence", r#""call_cid":"\u001b[2J""#.to_owned()),
    ] {
        let body = format!(r#"{{"type":"call.created","for":"{input}",{value}}}"#);
        rows.push(stream("B96", input, body, Fate::Accepted).with("partitionkey", Value::Null));
    }
    rows.extend(times());
    rows
}

fn times() -> Vec<Row> {
    let at = |input: &str, value: &str, time: Option<&str>| {
        let body = format!(r#"{{"type":"call.created","for":"time {input}","created_at":{value}}}"#);
        let row = stream("B97", format!("time: {input}"), body, Fate::Accepted);
        match time {
            Some(time) => row.with("time", json!(time)).with("timeinferred", Value::Null),
            None => row.with("timeinferred", json!(true)),
        }
    };
    vec![
        at("nine digits", r#""2026-05-08T09:12:28.123456789Z""#, Some("2026-05-08T09:12:28.123456789Z")),
        at("an offset", r#""2026-05-08T09:12:28+05:30""#, Some("2026-05-08T09:12:28+05:30")),
        at("nanoseconds", "1778198400000000001", Some("2026-05-08T00:00:00.000000001Z")),
        at("the year 1", r#""0001-01-01T00:00:00Z""#, Some("0001-01-01T00:00:00Z")),
        at("the year 9999", r#""9999-12-31T23:59:59Z""#, Some("9999-12-31T23:59:59Z")),
        at("a 30th of February", r#""2026-02-30T00:00:00Z""#, None),
        at("a word", r#""yesterday""#, None),
        at("more than 64 bits", "99999999999999999999", None),
    ]
}

fn output() -> Vec<Row> {
    let padded = |bytes: usize| {
        let start = r#"{"type":"call.created","padding":""#;
        format!("{start}{}\"}}", "x".repeat(bytes - start.len() - 2))
    };
    let media = |input: &str, id: &str| {
        let body = format!(r#"{{"type":"video.media.ready","id":"{id}"}}"#);
        let signature = signing::fastpix(body.as_bytes());
        let bytes = request("/in/fastpix", &[("fastpix-signature", &signature)], body.as_bytes());
        row("B100", input, bytes, body.as_bytes(), Fate::Accepted)
    };
    let digest = |id: &str| {
        json!(signing::digest_id(format!(r#"{{"type":"video.media.ready","id":"{id}"}}"#).as_bytes()))
    };
    let traced = padded(100);
    let signature = signing::stream(traced.as_bytes());
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("x-signature", signature.as_str()), ("traceparent", trace)];
    let steering = r"a\r\n\u001b[2J\u009b31m\u202e";
    vec![
        stream("B99", "a body at the cap", padded(BODY_BYTES_MAX), Fate::Accepted),
        stream("B99", "a body one byte over the cap", padded(BODY_BYTES_MAX + 1), refused(413, "body_bytes")),
        media("an id that steers terminals", steering).with("id", digest(steering)),
        media("an id that scripts", "${jndi:ldap://x}<script>").with("id", json!("${jndi:ldap://x}<script>")),
        stream(
            "B100",
            "a type that scripts",
            r#"{"type":"<script>alert(1)</script>${jndi:ldap://x}"}"#,
            Fate::Filtered,
        ),
        with_headers("+", "a trace's parent, given once", &headers, &traced, Fate::Accepted)
            .with("traceparent", json!(trace)),
    ]
}
