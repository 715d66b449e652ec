//! A bridge that reads queues: its home, and what can be seen of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::support::aws::REGION;
use crate::support::aws::queue::Queue;
use crate::support::bridge::{Bridge, Home};
use crate::support::load::Delivery;
use crate::support::oracle::Arrival;
use crate::support::{await_until, inject, readers};

/// A command prefix with credentials that the emulator takes, and none from elsewhere.
pub const AS_TESTER: [&str; 4] =
    ["env", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true"];
/// How long anything may take on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// The topic of what [`events`] makes.
pub const TOPIC: &str = "stream.video.call-lifecycle";

/// A home whose bridge reads a queue as the source `queue`.
pub struct Inlet {
    pub home: Home,
}

impl Inlet {
    /// `sqs` holds more keys of the source, in flow style; `spool` those of the spool.
    pub fn new(endpoint: &str, queue_url: &str, sqs: &str, spool: &str) -> Self {
        let home = Home::new();
        let topics = home.path("topics");
        home.configure(
            spool,
            &format!(
                "\x20 queue: {{ provider: stream, sqs: {{ queue_url: \"{queue_url}\", {sqs} }} }}\n\
                 aws: {{ endpoint: \"{endpoint}\", region: {REGION} }}\n\
                 sinks:\n  local: {{ file: {{ dir: {} }} }}\n",
                topics.display()
            ),
        );
        Self { home }
    }

    /// Starts the bridge with credentials.
    pub fn start(&self) -> Bridge {
        self.home.start_under(&AS_TESTER)
    }

    /// Starts it under the tracer, which looks at the log alone, and does what the arguments say.
    pub fn start_traced(&self, arguments: &[&str]) -> Bridge {
        let log = self.home.path("spool").join("00000000000000000001.log");
        let arguments = [&["-P", log.to_str().unwrap()], arguments].concat();
        let trace = inject::trace(&self.home.path("trace"), &arguments);
        let line: Vec<&str> = AS_TESTER.into_iter().chain(trace.iter().map(String::as_str)).collect();
        self.home.start_under(&line)
    }

    /// Everything published so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        readers::files(&self.home.path("topics"))
    }

    /// Waits until so many events are published; all there were by then.
    #[track_caller]
    pub fn await_arrivals(&self, count: usize, deadline: Duration) -> Vec<Arrival> {
        let mut seen = 0;
        let waited = std::panic::AssertUnwindSafe(|| {
            await_until(&format!("{count} events are published"), deadline, || {
                // Reading it all is work; the bridge needs the machine, too.
                std::thread::sleep(Duration::from_millis(100));
                let arrivals = self.arrivals();
                seen = arrivals.len();
                (seen >= count).then_some(arrivals)
            })
        });
        std::panic::catch_unwind(waited).unwrap_or_else(|panic| {
            eprintln!("{seen} of {count} events are published");
            std::panic::resume_unwind(panic)
        })
    }

    /// Waits until all of a load is published and deleted, and checks that each is there once.
    #[track_caller]
    pub fn await_exactly(&self, load: &[Delivery], queue: &Queue, deadline: Duration) {
        let arrivals = self.await_arrivals(load.len(), deadline);
        queue.await_empty(deadline);
        assert_each_once(&arrivals, load);
    }
}

/// Waits until `/readyz` answers with this status and these words.
#[track_caller]
pub fn await_readiness(bridge: &Bridge, status: u16, words: &[&str]) {
    let mut said = String::new();
    let waited = std::panic::AssertUnwindSafe(|| {
        await_until("readiness says what is wrong", DEADLINE, || {
            let answer = bridge.admin().get("/readyz").ok()?;
            said = answer.text();
            (answer.status == status && words.iter().all(|word| said.contains(word))).then_some(())
        });
    });
    if let Err(panic) = std::panic::catch_unwind(waited) {
        eprintln!("it says: {said}, and not {words:?}");
        std::panic::resume_unwind(panic);
    }
}

/// Waits until nothing is in trouble.
#[track_caller]
pub fn await_untroubled(bridge: &Bridge) {
    await_until("nothing is in trouble", DEADLINE, || {
        (bridge.admin().get("/readyz").ok()?.text() == "ok\n").then_some(())
    });
    assert_eq!(bridge.metric("fanbridge_source_degraded", &["source=\"queue\""]), 0.0);
}

/// Checks that each event of a load arrived, once, with its bytes.
#[track_caller]
pub fn assert_each_once(arrivals: &[Arrival], load: &[Delivery]) {
    let digest = |arrival: &Arrival| format!("sha256-{}", hex::encode(arrival.sha256));
    assert!(arrivals.iter().all(|arrival| arrival.id == digest(arrival)), "an id is the body's digest");
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    let arrived = sorted(arrivals.iter().map(|arrival| arrival.id.clone()).collect());
    let sent = sorted(load.iter().map(|delivery| delivery.id.clone()).collect());
    let lost = sent.iter().filter(|id| arrived.binary_search(id).is_err()).count();
    assert_eq!((arrived.len(), lost), (sent.len(), 0), "each once: (arrived, lost)");
    assert!(arrived == sent, "nothing arrived that was not sent");
}

/// So many events about a few calls.
pub fn events(name: &str, count: usize) -> Vec<Delivery> {
    let event = |number: usize| {
        Delivery::new("call.created", &format!("default:{name}-{}", number % 7), number as u64, 300)
    };
    (0..count).map(event).collect()
}

/// The bodies as Stream sends them without compression.
pub fn texts(load: &[Delivery]) -> Vec<String> {
    load.iter().map(|delivery| String::from_utf8(delivery.body.clone()).unwrap()).collect()
}

/// The three forms in which Stream's documents have a body in a queue.
pub fn encodings(body: &str) -> [String; 3] {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(body.as_bytes()).unwrap();
    [body.to_owned(), BASE64_STANDARD.encode(body), BASE64_STANDARD.encode(gzip.finish().unwrap())]
}

/// A line of `fanbridge types --format json`.
#[derive(serde::Deserialize)]
struct CatalogueType {
    provider: String,
    #[serde(rename = "type")]
    name: String,
    family: String,
}

/// One type of each family of Stream's; the one with the trap in its own.
pub fn a_type_of_each_family(inlet: &Inlet) -> BTreeMap<String, String> {
    let types = inlet.home.run_verb(&["types", "--format", "json"]);
    let types: Vec<CatalogueType> = serde_json::from_str(&types).unwrap();
    let mut sample: BTreeMap<String, String> = BTreeMap::new();
    for known in types.into_iter().filter(|known| known.provider == "stream") {
        if known.name == "flag.updated" || !sample.contains_key(&known.family) {
            sample.insert(known.family, known.name);
        }
    }
    assert!(sample.len() > 20 && sample.values().any(|name| name == "flag.updated"), "{sample:?}");
    sample
}

/// A body of a type, told from others by a number; no parser would write it again as it is.
pub fn sample_of(event_type: &str, number: usize) -> String {
    // `Message` is what an envelope has too, but here it is an object.
    format!(
        "{{\n \"type\": {event_type:?}, \"about\": \"Notification\", \"Message\": {{\"number\": {number}}},\
         \"big\": 1778198400000000001, \"note\": \"é \\ud83c\\udf9e 0.10\" }}"
    )
}
