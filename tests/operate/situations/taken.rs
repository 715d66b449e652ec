//! What the bridge decided about a delivery, and what is known of a type.

use super::stage::{await_settled, body, configure, files, home, place, send};
use super::{Made, Row};
use crate::configurations::fingerprint;
use crate::support::bridge::{Bridge, Home};
use crate::support::signing;

/// A sink of every event.
fn lake() -> (&'static str, String) {
    ("lake", files("lake"))
}

/// A body that was sent to a bridge of this selection and these sinks.
fn sent(select: &str, sinks: &[(&str, String)], body: &str) -> Option<Made> {
    let home = home(select, sinks);
    let bridge = home.start();
    let id = send(&bridge, body);
    Made::explain(home, &[&id], bridge)
}

/// Asked about a type of which nothing was sent.
fn type_of(select: &str, event_type: &str) -> Option<Made> {
    Made::explain(home(select, &[lake()]), &["--type", event_type], ())
}

/// A bridge with a source of its own, whose ids are short words, and what it was sent.
fn invoices(ids: &[&str]) -> (Home, Bridge) {
    let home = Home::new();
    let acme = "  acme: { provider: acme, secrets: [env:STREAM_SECRET] }\n\
                providers:\n  acme:\n    signature: { scheme: hmac-sha256, header: x-signature }\n\
                \x20   event: { type: { pointers: [/type] }, id: [/id] }\n";
    let dir = home.path("lake");
    home.configure("", &format!("{acme}sinks:\n  lake: {{ file: {{ dir: {} }} }}\n", dir.display()));
    let bridge = home.start();
    for id in ids {
        let body = format!(r#"{{"type":"invoice.paid","id":"{id}"}}"#);
        let signature = signing::stream(body.as_bytes());
        let answer = bridge.client().post("/in/acme", &[("x-signature", &signature)], body.as_bytes());
        assert!(answer.expect("an answer").is_success());
    }
    (home, bridge)
}

/// A body that was sent under the first selection and sinks, and of which is asked under the second; the
/// fingerprints of both.
fn sent_before(
    earlier: (&str, &[(&str, String)]),
    now: (&str, &[(&str, String)]),
) -> Option<(Made, [String; 2])> {
    let home = home(earlier.0, earlier.1);
    let bridge = home.start();
    let id = send(&bridge, &body("call.created"));
    await_settled(&bridge, "lake");
    let then = fingerprint(&bridge);
    bridge.stop();
    configure(&home, "", &format!("select: {}\n", now.0), now.1);
    let bridge = home.start();
    let fingerprints = [then, fingerprint(&bridge)];
    Some((Made::explain(home, &[&id], bridge)?, fingerprints))
}

pub const ROWS: &[Row] = &[
    Row {
        name: "an event that the file sink has",
        situation: "delivered",
        reason: "",
        make: |_| sent("all", &[lake()], &body("call.created")),
        cause: "delivered to lake: stream.video.call-lifecycle 00000001.jsonl byte 0",
        fix: "",
    },
    Row {
        name: "a delivery that the bridge's list filters",
        situation: "filtered",
        reason: "",
        make: |_| {
            let made = sent("[call.ended]", &[lake()], &body("call.created"))?;
            let place = place(&made.home, "select:");
            made.with(&[&place])
        },
        cause: "filtered: `select` is a list of 1 type and `call.created` is not on it (",
        fix: "add `call.created` to `select`",
    },
    Row {
        name: "an event that one sink does not select",
        situation: "not_selected",
        reason: "",
        make: |_| {
            let billing = ("billing", files("billing") + ", select: [call.ended]");
            let made = sent("all", &[lake(), billing], &body("call.created"))?;
            let place = place(&made.home, "billing:");
            made.with(&["delivered to lake: ", &place])
        },
        cause: "billing does not select `call.created` (",
        fix: "add it to `sinks.billing.select`",
    },
    Row {
        name: "an event that no sink selects",
        situation: "no_sink",
        reason: "",
        make: |_| {
            let lists = ["lake", "billing"].map(|name| (name, files(name) + ", select: [call.ended]"));
            sent("all", &lists, &body("call.created"))
        },
        cause: "accepted, and no sink selects `call.created`",
        fix: "add it to a sink's `select`",
    },
    Row {
        name: "an event that was admitted under an earlier configuration, whose list had its type",
        situation: "delivered",
        reason: "",
        make: |_| {
            let sinks = [lake()];
            let (made, [then, now]) = sent_before(("[call.created]", &sinks), ("[call.ended]", &sinks))?;
            let then = format!("it was admitted under configuration {then}, which counts for it");
            made.with(&[&then, &format!("by that of now ({now}) `select` would not take it")])
        },
        cause: "`select` would not take it",
        fix: "",
    },
    Row {
        name: "an event that was admitted under an earlier configuration, by which its sink left it out",
        situation: "no_sink",
        reason: "",
        make: |_| {
            let narrow = [("lake", files("lake") + ", select: [call.ended]")];
            let (made, [then, now]) = sent_before(("all", &narrow), ("all", &[lake()]))?;
            let then = format!("it was admitted under configuration {then}, which counts for it");
            made.with(&[&then, &format!("by that of now ({now}) lake would take it")])
        },
        cause: "lake would take it",
        fix: "fanbridge replay --sink lake",
    },
    Row {
        name: "a delivery that names its type twice",
        situation: "quarantined",
        reason: "duplicate_key",
        make: |_| {
            let made = sent("all", &[lake()], r#"{"type":"call.created","type":"call.ended"}"#)?;
            made.with(&[" at byte "])
        },
        cause: "cannot become an event: duplicate_key",
        fix: "tell the provider; `fanbridge dead show 1` shows it",
    },
    Row {
        name: "the beginning of two ids",
        situation: "several",
        reason: "",
        make: |_| {
            let (home, bridge) = invoices(&["invoice-1", "invoice-2"]);
            Made::explain(home, &["invoice-"], bridge)
        },
        cause: "2 events begin so, or have this id at several sources",
        fix: "ask for one of them by its whole id",
    },
    Row {
        name: "an id that nothing has had",
        situation: "unknown",
        reason: "",
        make: |_| {
            let (home, bridge) = invoices(&["invoice-1"]);
            Made::explain(home, &["invoice-3"], bridge)
        },
        cause: "nothing with this id: searched the log from ",
        fix: "`fanbridge explain --body FILE --source S` finds the id of a body",
    },
    Row {
        name: "a type that goes to every sink",
        situation: "delivered",
        reason: "",
        make: |_| type_of("[call.created]", "call.created"),
        cause: "goes to lake (stream.video.call-lifecycle)",
        fix: "",
    },
    Row {
        name: "a type that the bridge's list leaves out",
        situation: "filtered",
        reason: "",
        make: |_| {
            let made = type_of("[call.created, call.ended]", "call.ring")?;
            let place = place(&made.home, "select:");
            made.with(&[&place])
        },
        cause: "filtered: `select` is a list of 2 types and `call.ring` is not on it (",
        fix: "add `call.ring` to `select`",
    },
    Row {
        name: "a type that is sent to WebSocket clients only",
        situation: "web_socket_only",
        reason: "",
        make: |_| type_of("all", "connection.ok"),
        cause: "sends `connection.ok` to WebSocket clients only",
        fix: "it never reaches a webhook",
    },
    Row {
        name: "a type that is misspelt",
        situation: "nobody_sends",
        reason: "",
        make: |_| type_of("all", "call.sesion_ended"),
        cause: "no configured provider sends it",
        fix: "did you mean `call.session_ended`?",
    },
    Row {
        name: "a type of a provider that is not configured",
        situation: "nobody_sends",
        reason: "",
        make: |_| type_of("all", "payment_intent.succeeded"),
        cause: "no configured provider sends it: `payment_intent.succeeded` is a type of stripe",
        fix: "configure a source with `provider: stripe`",
    },
];
