//! Providers under way: threads that send signed deliveries, each until it is answered 2xx, and
//! enter every promise in the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::{Answer, Client, Failure, request};
use super::oracle::Ledger;
use super::signing;

/// The path that Stream's deliveries go to.
pub const STREAM_PATH: &str = "/in/stream-video";

/// The types that the load carries: three families, hence three topics, so that keys cross topics.
pub const TYPES: [&str; 3] = ["call.session_started", "call.recording_ready", "call.created"];

/// The topics that the load's types go to under the default template.
pub const TOPICS: [&str; 3] =
    ["stream.video.session", "stream.video.recording", "stream.video.call-lifecycle"];

/// One signed delivery of Stream's, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The id its event will have.
    pub id: String,
    /// The partition key its event will have.
    pub key: String,
    /// The signed body.
    pub body: Vec<u8>,
    /// The whole request.
    pub request: Vec<u8>,
}

impl Delivery {
    /// An event of a type about a call, told from others by a number, padded to a size.
    pub fn new(event_type: &str, key: &str, number: u64, bytes_min: usize) -> Self {
        let start = format!(
            r#"{{"type":"{event_type}","created_at":"2026-11-21T06:40:11.402Z","call_cid":"{key}","number":{number},"padding":""#
        );
        let padding = noise(bytes_min.saturating_sub(start.len() + 2));
        let body = format!("{start}{padding}\"}}").into_bytes();
        let signature = signing::stream(&body);
        let request = request(STREAM_PATH, &[("x-signature", &signature)], &body);
        Self { id: signing::digest_id(&body), key: key.into(), body, request }
    }

    /// One attempt.
    pub fn send(&self, client: &mut Client) -> Result<Answer, Failure> {
        client.exchange(&self.request)
    }

    /// One attempt that is to succeed, entered in the ledger.
    ///
    /// # Panics
    /// When it is not answered 2xx.
    #[track_caller]
    pub fn hand_over(&self, client: &mut Client, ledger: &Ledger) {
        ledger.offer(&self.id, Some(&self.key), &self.body);
        let answer = self.send(client).expect("the bridge answers");
        assert!(answer.is_success(), "answered {}: {}", answer.status, answer.text());
        ledger.acknowledge(&self.id);
    }
}

/// How much load, and of what kind.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Goes into every key, so that one load's events are never another's.
    pub name: &'static str,
    /// Connections that send at the same time.
    pub senders: usize,
    /// Partition keys of each sender.
    pub keys_per_sender: u64,
    /// The size of a body.
    pub body_bytes: usize,
    /// The pause between an answer and the next delivery of a sender.
    pub pause: Duration,
}

impl Shape {
    fn key(&self, sender: usize, number: u64) -> String {
        format!("default:{}-sender-{sender}-call-{}", self.name, number % self.keys_per_sender)
    }
}

/// What the senders met, while they go on.
#[derive(Default)]
pub struct Tally {
    /// Deliveries answered 2xx.
    pub acknowledged: AtomicUsize,
    /// Attempts that left and were not answered.
    pub unanswered: AtomicUsize,
    /// Attempts answered 503.
    pub put_off: AtomicUsize,
    /// The longest that a 2xx took, in microseconds.
    pub slowest_micros: AtomicU64,
}

impl Tally {
    /// The longest that a 2xx took.
    pub fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest_micros.load(Ordering::Relaxed))
    }
}

/// Senders at work.
pub struct Load {
    /// Every promise made so far.
    pub ledger: Arc<Ledger>,
    /// What the senders met so far.
    pub tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    /// Sends to the bridge on a port until told to stop.
    pub fn start(port: u16, shape: Shape) -> Self {
        Self::start_with(Arc::default(), port, shape)
    }

    /// The same, with a ledger that holds earlier promises.
    pub fn start_with(ledger: Arc<Ledger>, port: u16, shape: Shape) -> Self {
        let (tally, stop) = (Arc::default(), Arc::default());
        let senders = (0..shape.senders).map(|number| {
            let sender = Sender {
                number,
                shape,
                client: Client::new(port),
                ledger: Arc::clone(&ledger),
                tally: Arc::clone(&tally),
                stop: Arc::clone(&stop),
            };
            std::thread::spawn(move || sender.run())
        });
        let senders = senders.collect();
        Self { ledger, tally, stop, senders }
    }

    /// Lets every sender finish the delivery it is at, and hands over the ledger.
    ///
    /// # Panics
    /// When a sender met an answer that no provider should.
    pub fn finish(self) -> (Arc<Ledger>, Arc<Tally>) {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders {
            if let Err(panic) = sender.join() {
                std::panic::resume_unwind(panic);
            }
        }
        (self.ledger, self.tally)
    }

    /// Deliveries answered 2xx so far.
    pub fn acknowledged(&self) -> usize {
        self.tally.acknowledged.load(Ordering::Relaxed)
    }
}

struct Sender {
    number: usize,
    shape: Shape,
    client: Client,
    ledger: Arc<Ledger>,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
}

impl Sender {
    fn run(mut self) {
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            number += 1;
            let key = self.shape.key(self.number, number);
            let event_type = TYPES[(number / self.shape.keys_per_sender) as usize % TYPES.len()];
            let delivery = Delivery::new(event_type, &key, number, self.shape.body_bytes);
            self.ledger.offer(&delivery.id, Some(&key), &delivery.body);
            self.insist(&delivery);
            self.ledger.acknowledge(&delivery.id);
            if !self.shape.pause.is_zero() {
                std::thread::sleep(self.shape.pause);
            }
        }
    }

    /// Attempts a delivery until it is answered 2xx, as a provider would with more patience.
    fn insist(&mut self, delivery: &Delivery) {
        const PATIENCE: Duration = Duration::from_secs(120);
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let attempt = Instant::now();
            match delivery.send(&mut self.client) {
                Ok(answer) if answer.is_success() => {
                    self.tally.acknowledged.fetch_add(1, Ordering::Relaxed);
                    let micros = attempt.elapsed().as_micros() as u64;
                    self.tally.slowest_micros.fetch_max(micros, Ordering::Relaxed);
                    return;
                }
                Ok(answer) if answer.status == 503 => {
                    assert!(answer.header("retry-after").is_some(), "a 503 says when to come back");
                    self.tally.put_off.fetch_add(1, Ordering::Relaxed);
                }
                Ok(answer) => {
                    panic!("an authentic delivery was answered {}: {}", answer.status, answer.text())
                }
                Err(Failure::Unanswered(_)) => {
                    self.tally.unanswered.fetch_add(1, Ordering::Relaxed);
                }
                Err(Failure::NotSent(_)) => {}
            }
            // A provider backs off; so short a pause keeps the pressure on a bridge that comes up.
            std::thread::sleep(Duration::from_millis(3));
        }
        panic!("no 2xx within {PATIENCE:?}");
    }
}

/// So many letters, in an order that no codec makes much smaller.
fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let letters = (0..bytes).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[(state >> 58) as usize],
        )
    });
    letters.collect()
}
