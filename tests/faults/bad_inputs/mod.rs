//! What a hostile network, a hostile sender and a broken one may hand to the real binary: one table,
//! each row an input and its fate. The fate is read off three witnesses that must agree: the answer,
//! the metrics, and the dead letters; afterwards the sink is read, and the traces that were left.

mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::bridge::{Bridge, Home};
use crate::support::client::Client;
use crate::support::{await_until, readers, signing, turns};
use rows::Row;

/// Bytes of memory that all rows together may add.
const RESIDENT_GROWTH_MAX: u64 = 64 << 20;

/// What becomes of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// Answered 2xx, durable, on its way to the sinks.
    Accepted,
    /// Answered 2xx and counted; its type is not selected.
    Filtered,
    /// Answered 2xx; the first copy is durable.
    Duplicate,
    /// Answered 2xx and kept in the dead letters for this reason.
    Quarantined(String),
    /// Answered 2xx; nothing is kept.
    Probe,
    /// Refused with this status, and counted under this reason.
    Refused(u16, String),
    /// Answered with this status by the listener; no source counts a refused delivery.
    Turned(u16),
    /// The connection is closed without an answer.
    Closed,
    /// The witnesses do not agree.
    Contradiction(String),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => write!(f, "accepted"),
            Self::Filtered => write!(f, "filtered"),
            Self::Duplicate => write!(f, "duplicate"),
            Self::Quarantined(reason) => write!(f, "quarantined: {reason}"),
            Self::Probe => write!(f, "probe"),
            Self::Refused(status, reason) => write!(f, "{status}: {reason}"),
            Self::Turned(status) => write!(f, "{status}"),
            Self::Closed => write!(f, "closed"),
            Self::Contradiction(what) => write!(f, "contradiction: {what}"),
        }
    }
}

#[test]
fn every_bad_input_meets_its_fate_and_leaves_no_other_trace() {
    let _turn = turns::in_company();
    let home = Home::new();
    configure(&home);
    let bridge = home.start();
    let resident = bridge.resident_bytes();

    let mut witnesses = Witnesses::new(&bridge);
    let mut failed = Vec::new();
    let rows = rows::all();
    for row in &rows {
        let got = witnesses.fate_of(&row.request);
        println!("{:<5} {:<58} {:<34} {got}", row.number, row.input, row.expected.to_string());
        if got != row.expected {
            failed.push(format!("{} {}: expected {}, got {got}", row.number, row.input, row.expected));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(bridge.metric("fanbridge_id_reuse_total", &[]), 1.0, "B56");
    let growth = bridge.resident_bytes().saturating_sub(resident);
    assert!(growth < RESIDENT_GROWTH_MAX, "{growth} bytes more are resident");

    assert_no_secret_is_shown(&home, &bridge);
    let seen = home.run_verb(&["types", "--seen"]) + &home.run_verb(&["dead", "list", "--limit", "1000"]);
    assert_eq!(seen.chars().find(|c| c.is_control() && *c != '\n'), None, "{seen:?}");
    bridge.stop();
    assert_sink_holds(&home.path("topics"), &rows);
    for dir in ["spool", "topics"] {
        assert_only_the_owner_may_look(&home.path(dir));
    }
}

/// Sources of all kinds, and a list of the types that the rows use.
fn configure(home: &Home) {
    for (name, secret) in
        [("other", rows::OTHER_SECRET), ("old", rows::OLD_SECRET), ("older", rows::OLDER_SECRET)]
    {
        std::fs::write(home.path(name), secret).expect("the home takes a file");
    }
    let file = |name| home.path(name).display().to_string();
    let (other, old, older, topics) = (file("other"), file("old"), file("older"), file("topics"));
    home.configure(
        "",
        &format!(
            "\x20 hooks: {{ provider: standard-webhooks, secrets: [env:FASTPIX_SECRET], custom_types: [demo.event] }}\n\
             \x20 other: {{ provider: stream, app: other, secrets: [\"file:{other}\"] }}\n\
             \x20 rotating:\n\
             \x20   provider: stream\n\
             \x20   secrets:\n\
             \x20     - env:STREAM_SECRET\n\
             \x20     - {{ secret: \"file:{old}\", not_after: \"2200-01-01T00:00:00Z\" }}\n\
             \x20     - {{ secret: \"file:{older}\", not_after: \"2020-01-01T00:00:00Z\" }}\n\
             select: [call.created, video.media.ready, demo.event]\n\
             sinks:\n\
             \x20 local: {{ file: {{ dir: {topics} }} }}\n"
        ),
    );
}

/// Everything that says what became of a delivery.
struct Witnesses<'b> {
    bridge: &'b Bridge,
    admin: Client,
    counts: BTreeMap<String, u64>,
}

impl<'b> Witnesses<'b> {
    fn new(bridge: &'b Bridge) -> Self {
        let mut witnesses = Self { bridge, admin: bridge.admin(), counts: BTreeMap::new() };
        witnesses.news();
        witnesses
    }

    /// Sends an input and asks everyone what it was.
    fn fate_of(&mut self, request: &rows::Request) -> Fate {
        let answer = match request {
            rows::Request::Whole(bytes) => self.bridge.client().exchange(bytes).ok(),
            rows::Request::Dribbled { at_once, then } => {
                return dribble(self.bridge, at_once, then)
                    .map_or(Fate::Closed, |status| self.refusal(status));
            }
        };
        let Some(answer) = answer else { return Fate::Closed };
        if answer.status != 200 {
            return self.refusal(answer.status);
        }
        let document: Value = serde_json::from_slice(&answer.body).expect("an answer is JSON");
        let (verdict, id) = (document["verdict"].as_str().expect("a verdict"), document["id"].as_str());
        let counted = self.news();
        let expected = if verdict == "probe" { Vec::new() } else { vec![format!("verdict=\"{verdict}\"")] };
        if counted != expected {
            return Fate::Contradiction(format!("answered {verdict}, counted {counted:?}"));
        }
        match verdict {
            "accepted" => Fate::Accepted,
            "filtered" => Fate::Filtered,
            "duplicate" => Fate::Duplicate,
            "probe" => Fate::Probe,
            "quarantined" => Fate::Quarantined(self.reason_of(id.expect("an id"))),
            other => Fate::Contradiction(format!("answered {other}")),
        }
    }

    fn refusal(&mut self, status: u16) -> Fate {
        match self.news().as_slice() {
            [] => Fate::Turned(status),
            [only] => match only.strip_prefix("reason=\"").and_then(|rest| rest.strip_suffix('"')) {
                Some(reason) => Fate::Refused(status, reason.to_owned()),
                None => Fate::Contradiction(format!("answered {status}, counted {only}")),
            },
            more => Fate::Contradiction(format!("answered {status}, counted {more:?}")),
        }
    }

    /// The verdicts and reasons that were counted since the last time, each as often as it was.
    fn news(&mut self) -> Vec<String> {
        let text = self.admin.get("/metrics").expect("the metrics").text();
        let counts: BTreeMap<String, u64> = text.lines().filter_map(verdict_or_reason).collect();
        let more = |(series, count): (&String, &u64)| {
            let label = series.rsplit([',', '{', '}']).find(|label| !label.is_empty()).unwrap_or_default();
            let before = self.counts.get(series).copied().unwrap_or(0);
            vec![label.to_owned(); usize::try_from(count - before).expect("counters only grow")]
        };
        let news = counts.iter().flat_map(more).collect();
        self.counts = counts;
        news
    }

    /// Why the delivery with this id is a dead letter.
    fn reason_of(&mut self, id: &str) -> String {
        await_until("the dead letter is kept", Duration::from_secs(10), || {
            let list = self.admin.get("/api/dead?quarantined=true&limit=1000").expect("the dead letters");
            let letters: Vec<Value> = serde_json::from_slice(&list.body).expect("a list");
            let letter = letters.into_iter().find(|letter| letter["event_id"] == id)?;
            letter["reason"].as_str().map(str::to_owned)
        })
    }
}

/// A line of the metrics that counts a delivery's verdict or the reason of its refusal.
fn verdict_or_reason(line: &str) -> Option<(String, u64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let counted = ["fanbridge_events_total{", "fanbridge_refused_total{"];
    let is_counted = counted.iter().any(|name| series.starts_with(name));
    is_counted.then(|| (series.to_owned(), value.parse().expect("a count")))
}

/// Sends some bytes at once and then one by one, a tenth of a second apart, until there is an answer
/// or the connection ends.
fn dribble(bridge: &Bridge, at_once: &[u8], then: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", bridge.http_port())).expect("the bridge listens");
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
    stream.write_all(at_once).expect("the bridge reads");
    let mut answer = Vec::new();
    for byte in then {
        let mut some = [0; 1024];
        match stream.read(&mut some) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&some[..read]),
            Err(_) if stream.write_all(&[*byte]).is_ok() => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&answer).split(' ').nth(1).map(|status| status.parse().expect("a status"))
}

fn assert_no_secret_is_shown(home: &Home, bridge: &Bridge) {
    let mut admin = bridge.admin();
    let mut shown = bridge.log() + &home.run_verb(&["check"]);
    for path in ["/metrics", "/api/status", "/api/types", "/api/dead?limit=1000"] {
        shown.push_str(&admin.get(path).expect("an answer").text());
    }
    let secrets = [
        signing::STREAM_SECRET,
        signing::FASTPIX_SECRET,
        rows::OTHER_SECRET,
        rows::OLD_SECRET,
        rows::OLDER_SECRET,
    ];
    for canary in secrets.iter().copied().chain([rows::BODY_CANARY, rows::SIGNATURE_CANARY]) {
        assert!(!shown.contains(canary), "{canary} is shown");
    }
    let log = bridge.log();
    assert_eq!(log.chars().find(|c| c.is_control() && *c != '\n'), None, "{log:?}");
}

/// What was accepted is there once, byte for byte, with the attributes the row names; nothing else is.
fn assert_sink_holds(topics: &Path, rows: &[Row]) {
    let arrivals = readers::files(topics);
    let accepted: Vec<&Row> = rows.iter().filter(|row| row.expected == Fate::Accepted).collect();
    let bodies: BTreeSet<_> = accepted.iter().map(|row| signing::sha256(&row.body)).collect();
    let arrived: BTreeSet<_> = arrivals.iter().map(|arrival| arrival.sha256).collect();
    assert_eq!(arrivals.len(), accepted.len());
    assert_eq!(arrived, bodies, "the bytes that were signed, and no others");

    let events = readers::file_events(topics);
    for row in accepted.iter().filter(|row| !row.attributes.is_empty()) {
        let position = arrivals.iter().position(|arrival| arrival.sha256 == signing::sha256(&row.body));
        let event = &events[position.expect("it arrived")];
        for (name, value) in &row.attributes {
            assert_eq!(&event[*name], value, "{name} of {} {}", row.number, row.input);
        }
    }
}

fn assert_only_the_owner_may_look(path: &Path) {
    let mode = std::fs::metadata(path).expect("it exists").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a directory") {
            assert_only_the_owner_may_look(&entry.expect("an entry").path());
        }
    }
}
