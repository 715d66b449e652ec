//! The configuration of a running bridge changes in every way that a reload takes over, a hundred times by
//! turns and under load: each event goes where the configuration under which it was admitted sends it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::reload::{StopAtEnd, WITHIN, asked, counts, document, kept, series, write};
use crate::support::bridge::{Bridge, Home};
use crate::support::client::{Client, request};
use crate::support::load::STREAM_PATH;
use crate::support::oracle::{Arrival, Ledger};
use crate::support::{await_until, readers, servers, signing, turns};

/// The type that is always selected, and those that are selected by turns.
const ALWAYS: &str = "call.created";
const BY_TURNS: [&str; 2] = ["call.ended", "call.ring"];
/// The secrets that the source has by turns. Each was replaced a moment ago, so both are taken.
const SECRETS: [&str; 2] = [signing::STREAM_SECRET, "stream-signing-secret-for-tests-0002"];
/// The source that comes and goes.
const EXTRA_PATH: &str = "/in/extra";
/// After so many turns every value is again as it was.
const PERIOD: usize = 20;

/// A configuration, as far as it changes by turns.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    select: usize,
    secret: usize,
    has_extra: bool,
    has_guest: bool,
    moved: usize,
    ruled: usize,
    linger: usize,
}

impl Wanted {
    /// The next one; `None` in turns whose file cannot be taken over.
    fn next(self, turn: usize) -> Option<Self> {
        let other = |value: usize| 1 - value;
        Some(match turn % 10 {
            0 => Self { select: other(self.select), ..self },
            1 => Self { secret: other(self.secret), ..self },
            2 => Self { has_extra: !self.has_extra, ..self },
            4 => Self { has_guest: !self.has_guest, ..self },
            5 => Self { moved: other(self.moved), ..self },
            7 => Self { ruled: other(self.ruled), ..self },
            8 => Self { linger: other(self.linger), ..self },
            9 => Self {
                select: other(self.select),
                secret: other(self.secret),
                ruled: other(self.ruled),
                moved: other(self.moved),
                ..self
            },
            _ => return None,
        })
    }

    fn text(&self, scene: &Scene, more: &str) -> String {
        let Scene { home, kafka } = scene;
        let path = |name: &str| home.path(name).display().to_string();
        let source = |secret: usize| {
            format!("{{ provider: stream, secrets: [\"file:{}\"] }}", path(&format!("secret-{secret}")))
        };
        let file = |dir: &str| format!("file: {{ dir: {} }}", path(dir));
        let mut text = format!(
            "http: {{ listen: 127.0.0.1:{} }}\nadmin: {{ listen: 127.0.0.1:{} }}\n\
             spool: {{ dir: {}, free_bytes_min: 0 }}\n{more}select: [{ALWAYS}, {}]\n\
             sources:\n  stream-video: {}\n",
            home.http,
            home.admin,
            path("spool"),
            BY_TURNS[self.select],
            source(self.secret)
        );
        if self.has_extra {
            text.push_str(&format!("  extra: {}\n", source(0)));
        }
        let dir = path(&format!("moved-{}", self.moved));
        let rotate = ["64 KiB", "1 MiB"][self.moved];
        let types = [format!("[{ALWAYS}]"), "all".to_owned()];
        text.push_str(&format!(
            "sinks:\n  local: {{ {} }}\n  moved: {{ file: {{ dir: {dir}, rotate_bytes: {rotate} }} }}\n  \
             ruled: {{ select: {}, topic: \"ruled-{}\", {} }}\n",
            file("topics"),
            types[self.ruled],
            self.ruled,
            file("ruled")
        ));
        if self.has_guest {
            text.push_str(&format!("  guest: {{ {} }}\n", file("guest")));
        }
        if let Some((brokers, topic)) = kafka {
            let kafka =
                format!("{{ brokers: \"{brokers}\", properties: {{ linger.ms: {} }} }}", self.linger + 1);
            text.push_str(&format!("  broker: {{ topic: \"{topic}\", kafka: {kafka} }}\n"));
        }
        text
    }

    fn admits(&self, event_type: &str) -> bool {
        event_type == ALWAYS || event_type == BY_TURNS[self.select]
    }

    /// Whether that is what becomes of such a delivery by this configuration.
    fn explains(&self, sent: &Sent, is_ruled: bool) -> bool {
        match sent.verdict {
            Verdict::NotFound => sent.is_extra && !self.has_extra,
            _ if sent.is_extra && !self.has_extra => false,
            Verdict::Filtered => !self.admits(sent.event_type),
            Verdict::Accepted => {
                let goes_to_ruled = self.ruled == 1 || sent.event_type == ALWAYS;
                self.admits(sent.event_type) && goes_to_ruled == is_ruled
            }
        }
    }
}

/// A configuration that was taken over: when that was asked for, and when it was granted.
struct Begun {
    wanted: Wanted,
    fingerprint: Value,
    asked: Instant,
    granted: Instant,
}

struct Scene {
    home: Home,
    /// Brokers and topic, if there is a broker.
    kafka: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Filtered,
    NotFound,
}

/// One delivery, and what became of it.
struct Sent {
    event_type: &'static str,
    is_extra: bool,
    began: Instant,
    ended: Instant,
    verdict: Verdict,
}

/// What the senders have sent, by the ids of the events.
#[derive(Default)]
struct SentBySenders {
    sent: Mutex<BTreeMap<String, Sent>>,
    ledger: Ledger,
}

/// Sends events of every type until the end. Each sender has a secret of its own; the last one has the source
/// that comes and goes.
fn send_until(ended: &AtomicBool, port: u16, sender: usize, all: &SentBySenders) {
    let mut client = Client::new(port);
    let types = [ALWAYS, BY_TURNS[0], BY_TURNS[1]];
    let is_extra = sender == 4;
    let (path, secret) = if is_extra { (EXTRA_PATH, 0) } else { (STREAM_PATH, sender % 2) };
    for number in 0.. {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("default:sender-{sender}-{}", number % 4);
        let event_type = types[number / 4 % types.len()];
        let body = format!(r#"{{"type":"{event_type}","call_cid":"{key}","number":{number}}}"#).into_bytes();
        let signature = signing::stream_with(SECRETS[secret], &body);
        let began = Instant::now();
        let answer = client.exchange(&request(path, &[("x-signature", &signature)], &body));
        let (answer, ended) = (answer.expect("an answer"), Instant::now());
        let verdict = match answer.status {
            404 if is_extra => Verdict::NotFound,
            _ => match document(&answer)["verdict"].as_str() {
                Some("accepted") => Verdict::Accepted,
                Some("filtered") => Verdict::Filtered,
                _ => panic!("{event_type} of {sender} is answered {}: {}", answer.status, answer.text()),
            },
        };
        let id = signing::digest_id(&body);
        if verdict == Verdict::Accepted {
            all.ledger.offer(&id, Some(&key), &body);
            all.ledger.acknowledge(&id);
        }
        let sent = Sent { event_type, is_extra, began, ended, verdict };
        all.sent.lock().unwrap().insert(id, sent);
        thread::sleep(Duration::from_millis(3));
    }
}

/// Takes a file over, or has it refused. A sink takes one change after the other: one that is still at the
/// change before is waited for.
fn reload(scene: &Scene, bridge: &Bridge, wanted: Wanted, more: &str, expected: u16) -> Begun {
    write(&scene.home, &wanted.text(scene, more));
    let begun = Instant::now();
    loop {
        let asked_at = Instant::now();
        let answer = asked(bridge, &json!({}));
        let (granted, text) = (Instant::now(), answer.text());
        if text.contains("has not ended yet") && begun.elapsed() < WITHIN {
            thread::sleep(Duration::from_millis(10));
            continue;
        }
        assert_eq!(answer.status, expected, "{wanted:?}: {text}");
        let fingerprint = document(&answer)["fingerprint"].clone();
        return Begun { wanted, fingerprint, asked: asked_at, granted };
    }
}

/// Takes so many turns; the configurations that were taken over are added to `begun`.
fn take_turns(scene: &Scene, bridge: &Bridge, count: usize, begun: &mut Vec<Begun>) {
    for turn in 0..count {
        let last = begun.last().expect("the first one");
        let (wanted, fingerprint) = (last.wanted, last.fingerprint.clone());
        match wanted.next(turn) {
            Some(next) => begun.push(reload(scene, bridge, next, &format!("# {turn}\n"), 200)),
            None => {
                let (value, expected) = if turn % 10 == 3 { ("many", 422) } else { ("77", 409) };
                let wrong = Wanted { select: 1 - wanted.select, has_guest: !wanted.has_guest, ..wanted };
                reload(scene, bridge, wrong, &format!("limits: {{ connections_max: {value} }}\n"), expected);
                assert_eq!(counts(bridge)["fingerprint"], fingerprint, "turn {turn}");
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What each sink has.
fn arrivals(scene: &Scene) -> BTreeMap<&'static str, Vec<Arrival>> {
    let of = |dir: &str| readers::files(&scene.home.path(dir));
    let moved = ["moved-0", "moved-1"].map(|dir| {
        let renamed = move |one: Arrival| Arrival { lane: format!("{dir}/{}", one.lane), ..one };
        of(dir).into_iter().map(renamed).collect::<Vec<_>>()
    });
    let mut all = BTreeMap::from([
        ("local", of("topics")),
        ("moved", moved.concat()),
        ("ruled", of("ruled")),
        ("guest", of("guest")),
    ]);
    if let Some((brokers, topic)) = &scene.kafka {
        let records = readers::kafka(brokers, &[topic]);
        all.insert("broker", records.iter().map(readers::KafkaRecord::arrival).collect());
    }
    all
}

fn await_delivered(bridge: &Bridge) {
    let asked = |path: &str| document(&bridge.admin().get(path).expect("an answer"));
    let head = asked("/api/v1/log?limit=1")["items"][0]["position"].clone();
    await_until("every sink has passed all events", WITHIN, || {
        let status = asked("/api/status");
        let mut sinks = status["sinks"].as_array().expect("sinks").iter();
        sinks.all(|sink| sink["cursor"] == head).then_some(())
    });
}

fn p99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort();
    latencies[latencies.len() * 99 / 100]
}

/// Judges each delivery by the configurations that counted while it was under way.
fn judge(begun: &[Begun], all: &SentBySenders, arrived: &BTreeMap<&str, Vec<Arrival>>) -> Vec<String> {
    let ids = |sink: &str| -> BTreeSet<&str> { arrived[sink].iter().map(|one| one.id.as_str()).collect() };
    let (ruled, guest) = (ids("ruled"), ids("guest"));
    let whole: Vec<_> = arrived
        .keys()
        .filter(|sink| !["ruled", "guest"].contains(sink))
        .map(|sink| (*sink, ids(sink)))
        .collect();
    let first_guest = begun.iter().find(|one| one.wanted.has_guest).expect("a guest came");
    let sent = all.sent.lock().unwrap();
    let (mut exact, mut doubtful) = (0, Vec::new());
    let (mut during, mut others) = (Vec::new(), Vec::new());
    for (id, one) in sent.iter() {
        let next_granted = |at: usize| begun.get(at + 1).map_or(one.ended, |next| next.granted);
        let counted = |at: &usize| begun[*at].asked <= one.ended && one.began <= next_granted(*at);
        let counted: Vec<usize> = (0..begun.len()).filter(counted).collect();
        let explained = counted.iter().any(|at| begun[*at].wanted.explains(one, ruled.contains(&**id)));
        let by: Vec<_> = counted.iter().map(|at| begun[*at].wanted).collect();
        assert!(explained, "{id} ({}) was {:?} by none of {by:?}", one.event_type, one.verdict);
        let is_accepted = one.verdict == Verdict::Accepted;
        for (sink, ids) in &whole {
            assert_eq!(ids.contains(&**id), is_accepted, "{id} ({:?}) in {sink}", one.verdict);
        }
        if one.began > first_guest.granted {
            assert_eq!(guest.contains(&**id), is_accepted, "{id} in the guest");
        } else if one.ended < first_guest.asked {
            assert!(!guest.contains(&**id), "{id} came before the guest");
        }
        if counted.len() == 1 {
            exact += 1;
            others.push(one.ended - one.began);
        } else {
            during.push(one.ended - one.began);
            doubtful.extend(is_accepted.then(|| id.clone()));
        }
    }
    let (p99_during, p99_others) = (p99(during), p99(others));
    println!(
        "{} deliveries, {exact} under one configuration; p99 of answers during reloads {p99_during:.1?}, of \
         others {p99_others:.1?}",
        sent.len()
    );
    assert!(exact > 1_000, "only {exact} were judged by one configuration");
    doubtful
}

/// Each sink has nothing twice, nothing that was not sent, and all of a key in order.
fn judge_sinks(ledger: &Ledger, arrived: &BTreeMap<&str, Vec<Arrival>>) {
    for (sink, arrivals) in arrived {
        let judgement = ledger.judge(arrivals);
        println!("{sink}: {judgement}");
        for wrong in
            [&judgement.spurious, &judgement.corrupted, &judgement.out_of_order, &judgement.accepted_twice]
        {
            assert!(wrong.is_empty(), "{sink}: {judgement}, such as {:?}", wrong.first());
        }
        assert_eq!(judgement.duplicates, 0, "{sink} has events twice");
    }
}

/// What was admitted while a reload was under way is in the sink `ruled` by the configuration that it bears.
fn judge_by_fingerprint(
    scene: &Scene,
    begun: &[Begun],
    all: &SentBySenders,
    doubtful: &[String],
    ruled: &Path,
) {
    let ruled: BTreeSet<String> = readers::files(ruled).into_iter().map(|one| one.id).collect();
    let by_fingerprint: BTreeMap<&str, Wanted> =
        begun.iter().map(|one| (one.fingerprint.as_str().expect("a text"), one.wanted)).collect();
    let sent = all.sent.lock().unwrap();
    let step = doubtful.len().div_ceil(40).max(1);
    for id in doubtful.iter().step_by(step) {
        let said = scene.home.run_verb(&["explain", id, "--format", "json"]);
        let said: Value = serde_json::from_str(&said).expect("JSON");
        let wanted = by_fingerprint[said["event"]["configuration"].as_str().expect("a fingerprint")];
        assert!(wanted.explains(&sent[id], ruled.contains(id)), "{id} by {wanted:?}: {said}");
    }
}

mod alone {
    use super::*;

    #[test]
    fn a_hundred_reloads_of_every_kind_lose_nothing_and_send_each_event_where_its_configuration_says() {
        let _turn = turns::alone();
        let kafka = servers::kafka("reloads of a Kafka sink").map(|brokers| {
            let topic = servers::own_name("reload-turns");
            servers::create_topic(&brokers, &topic, &[]);
            (brokers, topic)
        });
        let scene = Scene { home: Home::new(), kafka };
        for (number, secret) in SECRETS.iter().enumerate() {
            fs::write(scene.home.path(&format!("secret-{number}")), secret).unwrap();
        }
        let first = Wanted::default();
        write(&scene.home, &first.text(&scene, ""));
        let bridge = scene.home.start();
        // From here on both secrets are taken.
        let mut begun = vec![reload(&scene, &bridge, Wanted { secret: 1, ..first }, "", 200)];

        let (ended, all) = (AtomicBool::new(false), SentBySenders::default());
        let (before, after) = thread::scope(|scope| {
            for sender in 0..5 {
                let (ended, port, all) = (&ended, bridge.http_port(), &all);
                scope.spawn(move || send_until(ended, port, sender, all));
            }
            let stop = StopAtEnd(&ended);
            take_turns(&scene, &bridge, PERIOD, &mut begun);
            let before = (kept(&bridge), series(&bridge));
            take_turns(&scene, &bridge, 5 * PERIOD, &mut begun);
            let after = await_until("what is kept is what was kept", WITHIN, || {
                let now = (kept(&bridge), series(&bridge));
                let is_as_before = now.0.iter().zip(&before.0).all(|(now, before)| *now <= before + 8);
                is_as_before.then_some(now)
            });
            // The guest stays, and gets what it has not got yet.
            let last = begun.last().expect("the last one").wanted;
            begun.push(reload(&scene, &bridge, Wanted { has_guest: true, ..last }, "# the last\n", 200));
            thread::sleep(Duration::from_millis(100));
            drop(stop);
            (before, after)
        });
        println!("threads, descriptors and series before {before:?}, after {after:?}");
        assert_eq!(before.1, after.1, "series come and stay");

        await_delivered(&bridge);
        let arrived = arrivals(&scene);
        judge_sinks(&all.ledger, &arrived);
        let doubtful = judge(&begun, &all, &arrived);
        judge_by_fingerprint(&scene, &begun, &all, &doubtful, &scene.home.path("ruled"));
        for code in ["401", "403", "503"] {
            assert_eq!(bridge.metric("fanbridge_requests_total", &[&format!("code=\"{code}\"")]), 0.0);
        }
        for sink in ["local", "moved", "ruled", "broker"] {
            let suspects =
                bridge.metric("fanbridge_possible_duplicates_total", &[&format!("sink=\"{sink}\"")]);
            assert_eq!(suspects, 0.0, "{sink} ended in order each time");
        }
        bridge.stop();
    }
}
