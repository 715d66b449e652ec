//! The last steps, and what comes, over HTTP.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use fanbridge::admin::{Access, AdminState, SinkSummary, Summary, router};
use fanbridge::event::{Placement, Position, Timestamp};
use fanbridge::health::Health;
use fanbridge::selection::Selection;
use fanbridge::source::http::connections::Connections;
use fanbridge::source::http::{Limits, serve};
use fanbridge::telemetry::Metrics;
use fanbridge::timeline::{
    Collector, DecidedBy, HeldStep, PublishedStep, TakenAs, TakenStep, Timeline, TimelineOptions,
    TimelineWriter,
};
use secrecy::SecretString;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::live_stream::{LiveStream, ids};
use crate::support::await_until;
use crate::support::client::{Answer, Client};

const DEADLINE: Duration = Duration::from_secs(20);
/// Most readers that wait at once.
const PLACES: usize = 32;

/// An admin listener with a timeline that the test writes to.
struct Desk {
    writer: TimelineWriter,
    collector: Collector,
    health: Arc<Health>,
    port: u16,
    stop: Option<DropGuard>,
    runtime: Runtime,
}

impl Desk {
    fn new() -> Self {
        Self::with(16 << 20, Limits::default(), None)
    }

    fn with(bytes_max: usize, limits: Limits, token: Option<&str>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let (metrics, health) = (Arc::new(Metrics::new()), Arc::new(Health::default()));
        health.start();
        let options = TimelineOptions { bytes_max, ..TimelineOptions::default() };
        let (timeline, writer, collector) = Timeline::new(&options, metrics.timeline.clone());
        let token = token.map(|token| SecretString::from(token.to_owned()));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let access = Access::new(address, token.as_ref());
        let connections = Connections::new("admin", &metrics);
        let admin = AdminState::new(metrics, health.clone(), summary(), access).with_timeline(timeline);
        let stop = CancellationToken::new();
        let drain = Duration::from_secs(1);
        let limits = limits.private();
        runtime.spawn(serve(listener, None, limits, drain, connections, router(admin), stop.clone()));
        let (port, stop) = (address.port(), Some(stop.drop_guard()));
        Self { writer, collector, health, port, stop, runtime }
    }

    fn get(&self, path: &str) -> Answer {
        Client::new(self.port).with_timeout(DEADLINE).get(path).expect("an answer")
    }

    /// The page of a request that is granted.
    fn page(&self, query: &str) -> Value {
        let answer = self.get(&format!("/api/v1/events{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Notes that an event was accepted.
    fn accept(&mut self, id: &str, event_type: &str) {
        note_accepted(&self.writer, id, event_type);
        self.collector.collect();
    }

    /// Notes that a sink has an event, and that it holds others.
    fn publish_and_hold(&mut self, id: &str) {
        let mut notes = self.writer.open();
        notes.published(
            now(),
            &PublishedStep {
                source: "stream-video",
                sink: "lake",
                topic: "stream.video.call",
                id,
                event_type: "call.created",
                position: Position(1),
                placement: Placement::offset(1, 42),
                attempts: 1,
                after_ms: 3,
                replay: false,
            },
        );
        notes.held(
            now(),
            &HeldStep {
                sink: "billing",
                topic: "billing-video-call",
                reason: "unknown_topic",
                detail: "no such topic",
                records: 17,
                first: Position(1),
                last: Position(17),
                attempt: 2,
            },
        );
        drop(notes);
        self.collector.collect();
    }
}

fn note_accepted(writer: &TimelineWriter, id: &str, event_type: &str) {
    let step = TakenStep {
        source: "stream-video",
        verdict: TakenAs::Accepted,
        decided_by: DecidedBy::All,
        reason: "",
        id,
        event_source: "/stream/default",
        event_type,
        family: "video.call",
        key: None,
        bytes: 1812,
        position: Some(Position(1)),
        secret: Some("env:STREAM_SECRET"),
        configuration: None,
        taken_us: 900,
    };
    writer.open().taken(now(), &step);
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn summary() -> Summary {
    let sink = |name: &str, selection| SinkSummary {
        name: name.into(),
        kind: "file",
        topic: "{provider}.{family}".into(),
        selection,
        awaited: false,
    };
    let only = Selection::Only(["call.ended".to_owned()].into());
    Summary {
        fingerprint: "0123456789ab".into(),
        sources: Vec::new(),
        sinks: vec![sink("lake", Selection::All), sink("billing", only)],
        selection: Selection::All,
        catalogued: Box::new(|_, _| true),
        effective: Arc::default(),
        explained: Arc::default(),
    }
}

#[test]
fn steps_come_in_pages_that_leave_nothing_out() {
    let mut desk = Desk::new();
    let ledger: Vec<String> = (0..10_000).map(|number| format!("evt_{number:05}")).collect();
    for ids in ledger.chunks(500) {
        ids.iter().for_each(|id| note_accepted(&desk.writer, id, "call.created"));
        desk.collector.collect();
    }
    let (mut read, mut after) = (Vec::new(), "start".to_owned());
    loop {
        let page = desk.page(&format!("?after={after}&limit=733"));
        assert_eq!((&page["missed"], &page["restarted"]), (&0.into(), &false.into()));
        after = page["next"].as_str().unwrap().to_owned();
        match ids(&page["items"]) {
            ids if ids.is_empty() => break,
            ids => read.extend(ids),
        }
    }
    assert_eq!(read, ledger);
    let newest = desk.page("");
    assert_eq!(ids(&newest["items"]), ledger[9_900..], "without a cursor the newest hundred");
    assert_eq!(newest["next"], after.as_str());
}

#[test]
fn a_step_says_where_an_event_went_and_which_sinks_select_it() {
    let mut desk = Desk::new();
    desk.accept("evt_1", "call.created");
    desk.accept("evt_2", "call.ended");
    desk.publish_and_hold("evt_1");
    let page = desk.page("");
    let [created, ended, published, held] = page["items"].as_array().unwrap().as_slice() else {
        panic!("{page}")
    };
    assert_eq!((&created["step"], &created["verdict"]), (&"taken".into(), &"accepted".into()));
    assert_eq!(created["selected_by"], serde_json::json!(["lake"]));
    assert_eq!(ended["selected_by"], serde_json::json!(["lake", "billing"]));
    assert_eq!((&published["step"], &published["sink"]), (&"published".into(), &"lake".into()));
    assert_eq!(published["placement"], serde_json::json!({ "partition": 1, "offset": 42 }));
    assert_eq!((&held["reason"], &held["records"]), (&"unknown_topic".into(), &17.into()));
    assert!(published.get("selected_by").is_none(), "{published}");
    assert!(created["at"].as_str().unwrap().ends_with('Z'), "{created}");
}

#[test]
fn filters_combine() {
    let mut desk = Desk::new();
    desk.accept("sha256-9f2c81aa", "call.created");
    desk.accept("evt_2", "call.ended");
    desk.publish_and_hold("sha256-9f2c81aa");
    for (query, count) in [
        ("?id=9f2c", 2),
        ("?id=9f2c&sink=lake", 1),
        ("?type=call.created", 2),
        ("?type=call.created&verdict=accepted", 1),
        ("?source=stream-video", 3),
        ("?source=stream-video&sink=lake", 1),
        ("?failed=true", 1),
        ("?failed=true&sink=lake", 0),
        ("?failed=false&limit=1", 1),
        ("?verdict=held", 1),
        ("?type=call.created&type=call.ended", 400),
    ] {
        if count == 400 {
            assert_eq!(desk.get(&format!("/api/v1/events{query}")).status, 400, "{query}");
            continue;
        }
        assert_eq!(desk.page(query)["items"].as_array().unwrap().len(), count, "{query}");
    }
}

#[test]
fn a_parameter_that_cannot_be_used_is_named_with_what_was_expected() {
    let desk = Desk::new();
    for (query, words) in [
        ("?verdict=acepted", "`verdict` cannot be used: expected accepted, filtered"),
        ("?limit=0", "`limit` cannot be used: expected a number from 1 to 1000"),
        ("?limit=1001", "`limit` cannot be used"),
        ("?limit=-1", "`limit` cannot be used"),
        ("?wait=26s", "`wait` cannot be used: expected a time such as `20s`, at most `25s`"),
        ("?wait=20", "`wait` cannot be used"),
        ("?after=yesterday", "`after` cannot be used: expected a cursor"),
        ("?id=9f", "`id` cannot be used: the beginning of an id has 4 characters"),
        ("?failed=yes", "`failed` cannot be used: expected true or false"),
        ("?verdicts=held", "unknown field `verdicts`"),
        ("/stream?limit=3", "`limit` cannot be used: a stream has no such parameter"),
        ("/stream?wait=3s", "`wait` cannot be used"),
        ("/stream?after=1a2b.3", "`after` cannot be used"),
    ] {
        let answer = desk.get(&format!("/api/v1/events{query}"));
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(words), "{query}: {problem}");
    }
    assert_eq!(desk.get("/api/v1/nothing").status, 404);
}

#[test]
fn a_page_waits_for_the_next_step_and_no_longer_than_asked() {
    let mut desk = Desk::new();
    desk.accept("before", "call.created");
    let begun = Instant::now();
    let page = desk.page("?after=now&wait=300ms");
    assert_eq!(ids(&page["items"]), [""; 0]);
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());

    let (port, query) = (desk.port, "?after=now&wait=15s&type=call.ended");
    let waiting = thread::spawn(move || {
        let path = format!("/api/v1/events{query}");
        let answer = Client::new(port).with_timeout(DEADLINE).get(&path).expect("an answer");
        (serde_json::from_slice::<Value>(&answer.body).unwrap(), Instant::now())
    });
    // Steps that the reader does not want do not answer it.
    for number in 0..10 {
        thread::sleep(Duration::from_millis(20));
        desk.accept(&format!("other-{number}"), "call.created");
    }
    assert!(!waiting.is_finished());
    let noted = Instant::now();
    desk.accept("wanted", "call.ended");
    let (page, answered) = waiting.join().unwrap();
    assert_eq!(ids(&page["items"]), ["wanted"]);
    assert!(answered - noted < Duration::from_secs(5), "{:?}", answered - noted);
    // What was there before answers at once.
    assert_eq!(ids(&desk.page("?after=start&wait=15s&limit=1")["items"]), ["before"]);
}

#[test]
fn a_cursor_of_another_start_says_so() {
    let mut former = Desk::new();
    former.accept("former", "call.created");
    let cursor = former.page("")["next"].as_str().unwrap().to_owned();
    let mut desk = Desk::new();
    desk.accept("one", "call.created");
    let page = desk.page(&format!("?after={cursor}&wait=15s"));
    assert_eq!((ids(&page["items"]), &page["restarted"]), (vec!["one".to_owned()], &true.into()));
    let mut stream = LiveStream::open(desk.port, &format!("?after={cursor}"), "");
    stream.expect("restarted");
    assert_eq!(ids(&stream.expect("steps").data), ["one"]);
}

#[test]
fn a_stream_shows_what_comes_and_goes_on_behind_the_last_id_it_was_given() {
    let mut desk = Desk::new();
    desk.accept("before", "call.created");
    let mut stream = LiveStream::open(desk.port, "", "");
    desk.accept("one", "call.created");
    let event = stream.expect("steps");
    assert_eq!(ids(&event.data), ["one"], "a stream begins now");
    assert_eq!(event.data[0]["selected_by"], serde_json::json!(["lake"]));
    drop(stream);
    desk.accept("two", "call.created");
    desk.accept("three", "call.ended");
    let last = event.id.expect("steps say where to go on");
    let mut again = LiveStream::open(desk.port, "?after=now", &format!("last-event-id: {last}\r\n"));
    assert_eq!(ids(&again.expect("steps").data), ["two", "three"]);
    let mut ended = LiveStream::open(desk.port, "?type=call.ended&after=start", "");
    assert_eq!(ids(&ended.expect("steps").data), ["three"]);
    for header in ["last-event-id: yesterday\r\n", "last-event-id: 1\r\nlast-event-id: 2\r\n"] {
        let mut refused = BufReader::new(LiveStream::send(desk.port, "", header));
        let mut line = String::new();
        refused.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 400 "), "{header}: {line}");
    }
}

#[test]
fn a_stream_shows_the_newest_steps_and_counts_the_others() {
    let mut desk = Desk::new();
    for number in 0..700 {
        note_accepted(&desk.writer, &format!("evt_{number}"), "call.created");
    }
    desk.collector.collect();
    let mut stream = LiveStream::open(desk.port, "?after=start", "");
    let skipped = stream.expect("skipped");
    assert_eq!((&skipped.data["count"], skipped.id), (&500.into(), None));
    let shown = ids(&stream.expect("steps").data);
    assert_eq!((shown.len(), shown.last().unwrap().as_str()), (200, "evt_699"));
}

#[test]
fn a_live_stream_outlives_the_idle_timeout() {
    let second = Duration::from_secs(1);
    let limits = Limits { idle_timeout: second, header_timeout: second, ..Limits::default() };
    let mut desk = Desk::with(16 << 20, limits, None);
    let mut stream = LiveStream::open(desk.port, "", "");
    let sent: Vec<String> = (0..16).map(|number| format!("evt_{number}")).collect();
    let mut shown = Vec::new();
    for id in &sent {
        thread::sleep(second / 4);
        desk.accept(id, "call.created");
    }
    while shown.len() < sent.len() {
        shown.extend(ids(&stream.expect("steps").data));
    }
    assert_eq!(shown, sent);
}

#[test]
fn a_quiet_stream_outlives_the_idle_timeout() {
    let second = Duration::from_secs(1);
    let limits = Limits { idle_timeout: second, header_timeout: second, ..Limits::default() };
    let mut desk = Desk::with(16 << 20, limits, None);
    let mut stream = LiveStream::open(desk.port, "", "");
    thread::sleep(4 * second);
    desk.accept("late", "call.created");
    assert_eq!(ids(&stream.expect("steps").data), ["late"]);
}

#[test]
fn streams_and_waiting_pages_end_when_the_bridge_stops() {
    let mut desk = Desk::new();
    let mut stream = LiveStream::open(desk.port, "", "");
    let port = desk.port;
    let waiting = thread::spawn(move || {
        let mut client = Client::new(port).with_timeout(DEADLINE);
        client.get("/api/v1/events?after=now&wait=20s").expect("an answer").status
    });
    desk.accept("last", "call.created");
    let _ = stream.expect("steps");
    let stopped = Instant::now();
    desk.health.stop();
    let event = stream.expect("end");
    assert_eq!(event.data, serde_json::json!({ "because": "stopping" }));
    assert!(stream.next().is_none(), "nothing comes behind the end");
    assert_eq!(waiting.join().unwrap(), 200);
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    drop(desk.stop.take());
    desk.runtime.shutdown_timeout(Duration::from_secs(5));
}

#[test]
fn more_readers_than_there_are_places_are_turned_away_until_one_leaves() {
    let mut desk = Desk::new();
    let mut streams: Vec<_> = (0..PLACES).map(|_| LiveStream::open(desk.port, "", "")).collect();
    for path in ["/api/v1/events/stream", "/api/v1/events?after=now&wait=1s"] {
        let answer = desk.get(path);
        assert_eq!(answer.status, 503, "{path}");
        assert!(answer.text().contains("32 readers wait for steps already"), "{}", answer.text());
    }
    assert_eq!(desk.get("/api/v1/events").status, 200, "who does not wait takes no place");
    drop(streams.pop());
    // The bridge learns from a step or a comment that the reader has left.
    await_until("the place is free", DEADLINE, || {
        desk.accept("evt", "call.created");
        thread::sleep(Duration::from_millis(100));
        (desk.get("/api/v1/events?after=now&wait=1ms").status == 200).then_some(())
    });
}

#[test]
fn a_reader_that_never_reads_holds_nobody_up_and_is_cut() {
    let limits = Limits { idle_timeout: Duration::from_secs(1), ..Limits::default() };
    let mut desk = Desk::with(16 << 20, limits, None);
    let stuck = LiveStream::send(desk.port, "", "");
    let others: Vec<_> = (0..PLACES - 1).map(|_| LiveStream::open(desk.port, "?id=none", "")).collect();
    await_until("all places are taken", DEADLINE, || {
        (desk.get("/api/v1/events?after=now&wait=1ms").status == 503).then_some(())
    });
    // Long ids, so that what is not read fills the buffers of the sockets soon.
    let id = "x".repeat(290);
    let mut noted = 0_u64;
    await_until("the reader that never reads is cut", 3 * DEADLINE, || {
        for _ in 0..250 {
            note_accepted(&desk.writer, &id, "call.created");
        }
        noted += 250;
        desk.collector.collect();
        let begun = Instant::now();
        assert_eq!(desk.page("?limit=1")["items"].as_array().unwrap().len(), 1);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        thread::sleep(Duration::from_millis(100));
        // The one free place is taken while it is there.
        (desk.get("/api/v1/events?after=now&wait=1ms").status == 200).then_some(())
    });
    println!("cut after {noted} steps");
    drop((stuck, others));
}

#[test]
fn who_has_no_token_sees_no_step() {
    let mut desk = Desk::with(16 << 20, Limits::default(), Some("a-token-of-a-decent-length"));
    desk.accept("secret-id", "call.created");
    for path in ["/api/v1/events", "/api/v1/events/stream"] {
        for headers in ["", "authorization: Bearer another-token-of-decent-length\r\n"] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
            let answer = Client::new(desk.port).exchange(request.as_bytes()).expect("an answer");
            assert_eq!(answer.status, 401, "{path} {headers}");
            assert!(!answer.text().contains("secret-id"));
        }
        let request = format!("GET {path} HTTP/1.1\r\nhost: evil.example\r\n\r\n");
        let answer = Client::new(desk.port).exchange(request.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 421, "{path}");
    }
    let token = "authorization: Bearer a-token-of-a-decent-length\r\n";
    let mut stream = LiveStream::open(desk.port, "?after=start", token);
    assert_eq!(ids(&stream.expect("steps").data), ["secret-id"]);
}

#[test]
fn a_timeline_that_is_off_says_so() {
    let desk = Desk::with(0, Limits::default(), None);
    for path in ["/api/v1/events", "/api/v1/events/stream"] {
        let answer = desk.get(path);
        assert_eq!(answer.status, 409, "{path}");
        assert!(answer.text().contains("set `timeline.bytes_max`"), "{}", answer.text());
    }
}

#[test]
fn ten_readers_at_once_each_see_every_step_once_or_are_told_of_it() {
    let mut desk = Desk::new();
    let streams: Vec<_> = (0..10).map(|_| LiveStream::open(desk.port, "", "")).collect();
    let reading: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            thread::spawn(move || {
                let (mut seen, mut skipped) = (BTreeSet::new(), 0);
                while seen.len() as u64 + skipped < 1000 {
                    let event = stream.next().expect("the stream goes on");
                    match event.name.as_str() {
                        "skipped" => skipped += event.data["count"].as_u64().unwrap(),
                        _ => assert!(ids(&event.data).into_iter().all(|id| seen.insert(id)), "{event:?}"),
                    }
                }
                assert_eq!(seen.len() as u64 + skipped, 1000);
            })
        })
        .collect();
    // Fewer than a stream shows in its time.
    for number in 0..1000 {
        desk.accept(&format!("evt_{number}"), "call.created");
        thread::sleep(Duration::from_millis(2));
    }
    reading.into_iter().for_each(|reader| reader.join().unwrap());
}
