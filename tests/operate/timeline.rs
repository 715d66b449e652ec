//! What the timeline of a running bridge has of each delivery and each record.
//!
//! The bridge runs in this process, so that its timeline can be asked. Deliveries come by HTTP, as they do
//! everywhere.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fanbridge::bridge::Bridge;
use fanbridge::config::{Environment, load};
use fanbridge::event::{Placement, Timestamp};
use fanbridge::timeline::{DecidedBy, Step, StepFilter, StepKind, StepWord, TakenAs, Timeline};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::bridge::{Home, free_port};
use crate::support::client::{Answer, Client, request};
use crate::support::inject::{self, FileFault};
use crate::support::load::{Delivery, STREAM_PATH};
use crate::support::{await_until, signing};

const PATIENCE: Duration = Duration::from_secs(20);
/// The topic of the calls that these tests send.
const TOPIC: &str = "stream.video.call-lifecycle";

/// A bridge in this process.
struct Running {
    timeline: Timeline,
    http: u16,
    stop: CancellationToken,
    ends: JoinHandle<()>,
}

impl Running {
    /// Starts the bridge of a home.
    async fn start(home: &Home) -> Self {
        let text = fs::read_to_string(home.path("fanbridge.yaml")).unwrap();
        let env = |name: &str| match name {
            "STREAM_SECRET" => Some(signing::STREAM_SECRET.to_owned()),
            "FASTPIX_SECRET" => Some(signing::FASTPIX_SECRET.to_owned()),
            _ => None,
        };
        let read = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let now = Timestamp::from(SystemTime::now());
        let outside = Environment { env: &env, read: &read, now };
        let loaded = load("fanbridge.yaml", &text, &outside).unwrap_or_else(|report| panic!("{report:?}"));
        let bridge = Bridge::start(loaded.config).await.unwrap();
        let (timeline, http) = (bridge.timeline().clone(), bridge.http_address().port());
        let stop = CancellationToken::new();
        let ends = tokio::spawn({
            let stop = stop.clone();
            async move { bridge.run(stop).await.unwrap() }
        });
        Self { timeline, http, stop, ends }
    }

    fn client(&self) -> Client {
        Client::new(self.http).with_timeout(PATIENCE)
    }

    /// All steps by now.
    fn steps(&self) -> Vec<Step> {
        self.timeline.newest(None, &StepFilter::default(), usize::MAX).steps
    }

    /// The steps of this word, once there are so many.
    fn of(&self, word: StepWord, count: usize) -> Vec<StepKind> {
        await_until(&format!("{count} steps are {}", word.as_str()), PATIENCE, || {
            let kinds = self.steps().into_iter().map(|step| step.kind);
            let found: Vec<_> = kinds.filter(|kind| kind.word() == word).collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// The only step of this word.
    fn only(&self, word: StepWord) -> StepKind {
        let mut found = self.of(word, 1);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    async fn end(self) {
        self.stop.cancel();
        self.ends.await.unwrap();
    }
}

/// A home whose bridge takes two types and hands them to a file sink, and one of them to a sink that takes no
/// record of more than 1,000 bytes. It waits a second for its disk.
fn home() -> Home {
    let home = Home::new();
    let topics = home.path("topics");
    let rest = format!(
        "limits: {{ ack_timeout: 1s }}\n\
         select: [call.created, call.session_started]\n\
         sinks:\n\
         \x20 local: {{ select: [call.created], file: {{ dir: {} }} }}\n\
         \x20 small:\n\
         \x20   select: [call.session_started]\n\
         \x20   kafka: {{ brokers: \"127.0.0.1:{}\", properties: {{ message.max.bytes: 1000 }} }}\n",
        topics.display(),
        free_port()
    );
    home.configure("", &rest);
    home
}

/// A call that is created.
fn call(number: u64) -> Delivery {
    Delivery::new("call.created", "default:timeline", number, 0)
}

/// Hands a body in under its right signature.
fn post(client: &mut Client, body: &[u8]) -> Answer {
    client.post(STREAM_PATH, &[("x-signature", &signing::stream(body))], body).unwrap()
}

fn assert_taken(kind: &StepKind, verdict: TakenAs, by: DecidedBy, id: &str) {
    let StepKind::Taken(taken) = kind else { panic!("{kind:?}") };
    assert_eq!((taken.verdict, taken.decided_by, &*taken.id), (verdict, by, id), "{taken:?}");
    assert_eq!((&*taken.source, &*taken.event_source), ("stream-video", "/stream/default"), "{taken:?}");
    assert_eq!(taken.secret.as_deref(), Some("env:STREAM_SECRET"), "{taken:?}");
    let is_stored = matches!(verdict, TakenAs::Accepted | TakenAs::Quarantined);
    assert_eq!(taken.position.is_some(), is_stored, "{taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_verdict_on_a_delivery_is_a_step_with_what_decided_it() {
    let home = home();
    let bridge = Running::start(&home).await;
    let mut client = bridge.client();
    let (accepted, filtered) = (call(1), Delivery::new("call.ring", "default:timeline", 2, 0));
    for (delivery, status) in [(&accepted, 200), (&accepted, 200), (&filtered, 200)] {
        assert_eq!(delivery.send(&mut client).unwrap().status, status);
    }
    let twice = br#"{"type":"call.created","type":"call.created"}"#;
    assert_eq!(post(&mut client, twice).status, 200);

    let step = bridge.only(StepWord::Accepted);
    assert_taken(&step, TakenAs::Accepted, DecidedBy::OnList, &accepted.id);
    let StepKind::Taken(taken) = step else { unreachable!("it was taken") };
    assert_eq!((&*taken.event_type, &*taken.family), ("call.created", "video.call-lifecycle"));
    assert_eq!((taken.key.as_deref(), taken.bytes as usize), (Some("default:timeline"), accepted.body.len()));
    assert_taken(&bridge.only(StepWord::Duplicate), TakenAs::Duplicate, DecidedBy::SeenHere, &accepted.id);
    assert_taken(&bridge.only(StepWord::Filtered), TakenAs::Filtered, DecidedBy::NotOnList, &filtered.id);

    let step = bridge.only(StepWord::Quarantined);
    assert_taken(&step, TakenAs::Quarantined, DecidedBy::Unusable, &signing::digest_id(twice));
    let StepKind::Taken(taken) = step else { unreachable!("it was taken") };
    assert_eq!((&*taken.reason, taken.bytes as usize), ("duplicate_key", twice.len()));
    bridge.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_an_event_is_and_that_a_sink_rejects_one_are_steps() {
    let home = home();
    let bridge = Running::start(&home).await;
    let mut client = bridge.client();
    let large = Delivery::new("call.session_started", "default:timeline", 2, 2000);
    for delivery in [&call(1), &large] {
        assert_eq!(delivery.send(&mut client).unwrap().status, 200);
    }
    let StepKind::Published(published) = bridge.only(StepWord::Published) else { panic!("not published") };
    assert_eq!((&*published.sink, &*published.topic, &*published.id), ("local", TOPIC, &*call(1).id));
    assert_eq!((published.position.0, published.attempts, published.replay), (1, 1, false));
    assert_eq!(published.placement, Placement::Line { file: 1, offset: 0 });
    let line = fs::read_to_string(home.path(&format!("topics/{TOPIC}/00000001.jsonl"))).unwrap();
    assert!(line.contains(&*published.id), "{line}");

    let StepKind::Rejected(rejected) = bridge.only(StepWord::Rejected) else { panic!("not rejected") };
    assert_eq!((&*rejected.sink, &*rejected.id, &*rejected.reason), ("small", &*large.id, "too_large"));
    assert_eq!((rejected.position.0, rejected.attempts), (2, 1));
    bridge.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_records_that_wait_for_one_cause_are_one_step_an_attempt() {
    const EVENTS: u64 = 1000;
    let home = home();
    fs::create_dir(home.path("topics")).unwrap();
    let blocked = home.path(&format!("topics/{TOPIC}"));
    fs::write(&blocked, "a file where a directory should be").unwrap();
    let bridge = Running::start(&home).await;
    let http = bridge.http;
    let senders = (0..8).map(|sender| {
        std::thread::spawn(move || {
            let mut client = Client::new(http).with_timeout(PATIENCE);
            for number in (0..EVENTS).filter(|number| number % 8 == sender) {
                assert_eq!(call(number).send(&mut client).unwrap().status, 200);
            }
        })
    });
    senders.collect::<Vec<_>>().into_iter().for_each(|sender| sender.join().unwrap());
    let all = await_until("one step stands for all of them", PATIENCE, || {
        let is_of_all = |kind: StepKind| match kind {
            StepKind::Held(held) if u64::from(held.records) == EVENTS => Some(held),
            _ => None,
        };
        bridge.of(StepWord::Held, 1).into_iter().find_map(is_of_all)
    });
    assert_eq!((&*all.sink, &*all.topic, &*all.reason), ("local", TOPIC, "io"));
    assert_eq!((all.first.0, all.last.0), (1, EVENTS));
    assert!(all.attempt > 1 && !all.detail.is_empty(), "{all:?}");
    let held = bridge.of(StepWord::Held, 1).len();
    assert!(held < 100, "{held} steps of one topic and one cause");

    fs::remove_file(&blocked).unwrap();
    let published = bridge.of(StepWord::Published, EVENTS as usize);
    let after_all = |kind: &StepKind| matches!(kind, StepKind::Published(step) if step.attempts > 1);
    assert!(published.iter().any(after_all), "none was tried again");
    bridge.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_step_with_its_reason_its_size_and_the_digest_of_what_was_read() {
    let home = home();
    let bridge = Running::start(&home).await;
    let mut client = bridge.client();
    let body = br#"{"type":"call.created"}"#;
    let forged = signing::stream_with("another-secret-of-somebody-0001", body);
    assert_eq!(client.post(STREAM_PATH, &[("x-signature", &forged)], body).unwrap().status, 401);
    assert_eq!(client.post(STREAM_PATH, &[], body).unwrap().status, 401);
    assert_eq!(client.post("/in/nobody", &[], body).unwrap().status, 404);
    assert_eq!(client.get(STREAM_PATH).unwrap().status, 405);
    let large = vec![b' '; 20 << 20];
    let signed = request(STREAM_PATH, &[("x-signature", &forged)], &large[..1]);
    let head = String::from_utf8(signed).unwrap().replace("content-length: 1", "content-length: 20971520");
    assert_eq!(bridge.client().exchange(head.as_bytes()).unwrap().status, 413);

    let refused: Vec<_> = bridge.of(StepWord::Refused, 5);
    let refused: Vec<_> = refused
        .into_iter()
        .map(|kind| match kind {
            StepKind::Refused(refused) => refused,
            other => panic!("{other:?}"),
        })
        .collect();
    let told: Vec<_> = refused.iter().map(|step| (&*step.source, step.status, &*step.reason)).collect();
    let expected = [
        ("stream-video", 401, "wrong_signature"),
        ("stream-video", 401, "missing_signature"),
        ("", 404, "no_such_path"),
        ("stream-video", 405, "no_such_method"),
        ("stream-video", 413, "body_bytes"),
    ];
    assert_eq!(told, expected);
    let digests: Vec<_> = refused.iter().map(|step| (step.bytes, step.sha256)).collect();
    let stated = Some(body.len() as u64);
    let expected = [
        (stated, Some(signing::sha256(body))),
        (stated, None),
        (stated, None),
        (Some(0), None),
        (Some(20 << 20), None),
    ];
    assert_eq!(digests, expected, "what was not read has the size that its head states");
    let form = ("x-signature".to_owned(), "hex, 64 digits".to_owned());
    assert!(refused[0].headers.contains(&form), "{refused:?}");
    let mut requests: Vec<_> = refused.iter().map(|step| step.request).collect();
    requests.dedup();
    assert_eq!(requests.len(), 5, "each has a number of its own");
    bridge.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_value_of_a_stranger_is_in_a_step() {
    const CANARY: &str = "canary-7d1f";
    let home = home();
    let bridge = Running::start(&home).await;
    let mut client = bridge.client();
    let body = format!(r#"{{"type":"call.created","text":"{CANARY}"}}"#);
    let basic = format!("Basic {CANARY}");
    for signature in [CANARY, &format!("sha256={CANARY}"), &format!("t={CANARY},v1={CANARY}"), ""] {
        let headers = [
            ("x-signature", signature),
            ("authorization", &*basic),
            ("cookie", CANARY),
            ("x-webhook-attempt", CANARY),
            ("x-anything", CANARY),
        ];
        assert_eq!(client.post(STREAM_PATH, &headers, body.as_bytes()).unwrap().status, 401);
    }
    let refused = format!("{:?}", bridge.of(StepWord::Refused, 4));
    assert!(refused.contains("x-anything") && refused.contains("application/json"), "{refused}");
    assert!(!refused.contains(CANARY), "{refused}");
    bridge.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_gets_no_answer_from_the_disk_in_time_is_a_step_and_so_is_the_event_that_came() {
    if !inject::can_attach("a disk that is slow") {
        return;
    }
    let home = home();
    let bridge = Running::start(&home).await;
    let mut client = bridge.client();
    assert_eq!(call(1).send(&mut client).unwrap().status, 200);
    let segment = home.path("spool/00000000000000000001.log");
    let fault = FileFault::begin(std::process::id(), &segment, "fdatasync:delay_enter=3000000");
    let late = call(2);
    assert_eq!(late.send(&mut client).unwrap().status, 503);
    let StepKind::Unanswered(unanswered) = bridge.only(StepWord::Unanswered) else { panic!("answered") };
    assert_eq!((&*unanswered.id, &*unanswered.event_type), (&*late.id, "call.created"));
    assert!((1000..3000).contains(&unanswered.waited_ms), "{unanswered:?}");
    let StepKind::Refused(refused) = bridge.only(StepWord::Refused) else { panic!("not refused") };
    assert_eq!((refused.status, &*refused.reason), (503, "ack_timeout"));
    drop(fault);
    let taken = bridge.of(StepWord::Accepted, 2).remove(1);
    assert_taken(&taken, TakenAs::Accepted, DecidedBy::OnList, &late.id);
    bridge.end().await;
}
