//! Requests that are refused for what they are: 400 to 415.

use std::time::UNIX_EPOCH;

use super::stage::{SMALL_BODIES, body, request};
use super::{Made, Row};
use crate::support::bridge::{Bridge, Home};
use crate::support::client::Answer;
use crate::support::load::STREAM_PATH;
use crate::support::{gzip, signing};

/// A bridge with these sources beside the usual ones, and with these limits.
fn started(sources: &str) -> (Home, Bridge) {
    let home = Home::new();
    let dir = home.path("lake");
    home.configure("", &format!("{sources}sinks:\n  lake: {{ file: {{ dir: {} }} }}\n", dir.display()));
    let bridge = home.start();
    (home, bridge)
}

/// Asked about an answer by its number.
fn of(home: Home, answer: &Answer, bridge: Bridge) -> Option<Made> {
    Made::explain(home, &[&request(answer)], bridge)
}

/// A usual body with these headers, or another body.
fn posted(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Made> {
    posted_to("", path, headers, body)
}

fn posted_to(sources: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Made> {
    let (home, bridge) = started(sources);
    let answer = bridge.client().post(path, headers, body).expect("an answer");
    of(home, &answer, bridge)
}

/// A delivery to Stream's source that is signed as it has to be, and has one more header.
fn signed(headers: &[(&str, &str)], body: &[u8]) -> Option<Made> {
    let signature = signing::stream(body);
    posted(STREAM_PATH, &[headers, &[("x-signature", &signature)]].concat(), body)
}

/// A delivery of Standard Webhooks whose timestamp is the sender's clock times a factor, and some seconds.
fn stamped(factor: u64, seconds: i64) -> Option<Made> {
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs() * factor;
    hook(&now.saturating_add_signed(seconds).to_string(), &["webhook-id", "webhook-timestamp"])
}

/// A delivery of Standard Webhooks with this timestamp, and of the headers beside the signature these.
fn hook(stamp: &str, headers: &[&str]) -> Option<Made> {
    let source = "  hooks: { provider: standard-webhooks, secrets: [env:FASTPIX_SECRET] }\n";
    let body = body("user.created");
    let signature = signing::standard_webhooks("msg_1", stamp, body.as_bytes());
    let all = [("webhook-id", "msg_1"), ("webhook-timestamp", stamp)];
    let mut sent: Vec<_> = all.into_iter().filter(|(name, _)| headers.contains(name)).collect();
    sent.push(("webhook-signature", &signature));
    posted_to(source, "/in/hooks", &sent, body.as_bytes())
}

const VERIFY: &str = " --body FILE --headers FILE` says what is wrong with the signature";

pub const ROWS: &[Row] = &[
    Row {
        name: "a path that no source has",
        situation: "refused",
        reason: "no_such_path",
        make: |_| posted("/in/nobody", &[], body("call.created").as_bytes()),
        cause: "refused with 404: no source has this path",
        fix: "post to /in/fastpix or /in/stream-video",
    },
    Row {
        name: "a question where deliveries are taken",
        situation: "refused",
        reason: "no_such_method",
        make: |_| {
            let (home, bridge) = started("");
            let answer = bridge.client().get(STREAM_PATH).expect("an answer");
            of(home, &answer, bridge)
        },
        cause: "refused with 405: deliveries are sent with POST",
        fix: "post to /in/fastpix or /in/stream-video",
    },
    Row {
        name: "a delivery of Stream's at another provider's path",
        situation: "refused",
        reason: "missing_signature",
        make: |_| {
            let body = body("call.created");
            posted("/in/fastpix", &[("x-signature", &signing::stream(body.as_bytes()))], body.as_bytes())
        },
        cause: "missing_signature: it has no `fastpix-signature`, and this looks like stream",
        fix: "post it to /in/stream-video",
    },
    Row {
        name: "a delivery that another secret signed",
        situation: "refused",
        reason: "wrong_signature",
        make: |_| {
            let body = body("call.created");
            let signature = signing::stream_with("another-secret-than-the-source-has", body.as_bytes());
            posted(STREAM_PATH, &[("x-signature", &signature)], body.as_bytes())
        },
        cause: "refused with 401: wrong_signature",
        fix: VERIFY,
    },
    Row {
        name: "a signature that is none",
        situation: "refused",
        reason: "malformed_signature",
        make: |_| posted(STREAM_PATH, &[("x-signature", "00")], body("call.created").as_bytes()),
        cause: "refused with 401: malformed_signature",
        fix: VERIFY,
    },
    Row {
        name: "two signatures where one is expected",
        situation: "refused",
        reason: "ambiguous_signature",
        make: |_| signed(&[("x-signature", "00")], body("call.created").as_bytes()),
        cause: "refused with 401: ambiguous_signature",
        fix: VERIFY,
    },
    Row {
        name: "a source without a secret",
        situation: "refused",
        reason: "no_secret",
        make: |_| {
            let body = body("call.created");
            let signature = signing::fastpix(body.as_bytes());
            let source = "  mute: { provider: fastpix, app: mute }\n";
            posted_to(source, "/in/mute", &[("fastpix-signature", &signature)], body.as_bytes())
        },
        cause: "refused with 401: no_secret: the source has no signing secret",
        fix: "list a secret under `sources.mute.secrets`",
    },
    Row {
        name: "a source whose only secret is over",
        situation: "refused",
        reason: "no_live_secret",
        make: |_| {
            let body = body("call.created");
            let signature = signing::stream(body.as_bytes());
            let over = "[{ secret: env:STREAM_SECRET, not_after: \"2020-01-31T00:00:00Z\" }]";
            let source = format!("  over: {{ provider: stream, app: over, secrets: {over} }}\n");
            posted_to(&source, "/in/over", &[("x-signature", &signature)], body.as_bytes())
        },
        cause: "refused with 401: no_live_secret: no secret of the source is valid at this moment",
        fix: "list a secret under `sources.over.secrets` whose `not_before` and `not_after` allow it",
    },
    Row {
        name: "a delivery without the id that is signed",
        situation: "refused",
        reason: "missing_id",
        make: |_| hook("1700000000", &["webhook-timestamp"]),
        cause: "refused with 401: missing_id",
        fix: VERIFY,
    },
    Row {
        name: "a delivery without the moment that is signed",
        situation: "refused",
        reason: "missing_timestamp",
        make: |_| hook("1700000000", &["webhook-id"]),
        cause: "refused with 401: missing_timestamp",
        fix: VERIFY,
    },
    Row {
        name: "a moment that is no number",
        situation: "refused",
        reason: "malformed_timestamp",
        make: |_| hook("yesterday", &["webhook-id", "webhook-timestamp"]),
        cause: "refused with 401: malformed_timestamp",
        fix: VERIFY,
    },
    Row {
        name: "a moment in milliseconds",
        situation: "refused",
        reason: "timestamp_in_milliseconds",
        make: |_| stamped(1000, 0),
        cause: "refused with 401: timestamp_in_milliseconds",
        fix: VERIFY,
    },
    Row {
        name: "a sender whose clock is behind",
        situation: "refused",
        reason: "timestamp_too_old",
        make: |_| stamped(1, -3600),
        cause: "refused with 401: timestamp_too_old",
        fix: VERIFY,
    },
    Row {
        name: "a sender whose clock is ahead",
        situation: "refused",
        reason: "timestamp_too_new",
        make: |_| stamped(1, 3600),
        cause: "refused with 401: timestamp_too_new",
        fix: VERIFY,
    },
    Row {
        name: "a body that is larger than the source takes",
        situation: "refused",
        reason: "body_bytes",
        make: |_| signed(&[], &vec![b' '; 3 << 20]),
        cause: "refused with 413: 3,145,728 bytes, at most 2",
        fix: "raise `body_bytes_max` of the source stream-video, if the provider sends as much",
    },
    Row {
        name: "a small body that is large once it is inflated",
        situation: "refused",
        reason: "inflated_bytes",
        make: |_| {
            let spaces = vec![b' '; 1 << 20];
            let signature = signing::stream(&spaces);
            posted_to(SMALL_BODIES, STREAM_PATH, &[("x-signature", &signature)], &gzip(&spaces))
        },
        cause: ", too many once they are inflated",
        fix: "raise `limits.inflated_bytes_max`, if the provider sends as much",
    },
    Row {
        name: "a body in an encoding that is not taken",
        situation: "refused",
        reason: "unsupported_encoding",
        make: |_| signed(&[("content-encoding", "br")], body("call.created").as_bytes()),
        cause: "refused with 415: unsupported_encoding: a body is taken plain or as gzip",
        fix: "have the sender, or the proxy in between, send it so",
    },
    Row {
        name: "a body that is said to be gzip and is none",
        situation: "refused",
        reason: "bad_encoding",
        make: |_| signed(&[("content-encoding", "gzip")], b"\x1f\x8bthis is not gzip at all"),
        cause: "refused with 400: bad_encoding: the body is not the gzip that it is said to be",
        fix: "have the sender, or the proxy in between, send it plain or as whole gzip",
    },
    Row {
        name: "a body that does not come",
        situation: "refused",
        reason: "body_timeout",
        make: |_| {
            let (home, bridge) = started("limits: { body_timeout: 500ms }\n");
            let zeros = "0".repeat(64);
            let head = format!(
                "POST {STREAM_PATH} HTTP/1.1\r\nhost: localhost\r\nx-signature: {zeros}\r\n\
                 content-length: 99\r\n\r\n{{"
            );
            let answer = bridge.client().exchange(head.as_bytes()).expect("an answer");
            of(home, &answer, bridge)
        },
        cause: "refused with 408: the body came too slowly",
        fix: "look at the network in between; `limits.body_timeout` bounds it",
    },
    Row {
        name: "a number that no refusal has",
        situation: "forgotten",
        reason: "",
        make: |_| {
            let (home, bridge) = started("");
            Made::explain(home, &["request:0123456789abcdef"], bridge)
        },
        cause: "no refused request has this number among the last steps",
        fix: "ask for it soon after it was refused",
    },
];
