//! Providers in front of a balancer: each tries an event again until it is answered 2xx, whoever answers,
//! sends some once more later, and counts what went wrong meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::client::{Client, Failure};
use crate::support::load::{Delivery, TYPES};
use crate::support::oracle::Ledger;

/// Of so many events one is sent once more, so many events later.
const ONCE_MORE: u64 = 4;
const LATER: usize = 16;
/// How many senders there are. Half of them open a connection for each event, the others keep theirs.
pub const SENDERS: usize = 6;
/// The pause between an answer and the next event of a sender.
const PAUSE: Duration = Duration::from_millis(5);
/// The pause between two attempts.
const AGAIN: Duration = Duration::from_millis(20);
/// How long an event may take until it is answered 2xx.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the senders met.
#[derive(Debug, Default)]
pub struct Met {
    /// New connections that were not answered at all: refused, or closed before an answer.
    pub refused: AtomicUsize,
    /// Kept connections that ended under a request.
    pub cut: AtomicUsize,
    /// Answers 503.
    pub put_off: AtomicUsize,
    /// Deliveries that took more than one attempt.
    pub tried_again: AtomicUsize,
    /// Events that were sent once more after their 2xx.
    pub sent_once_more: AtomicUsize,
}

/// One counter's value.
pub fn count(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}

/// Senders at work.
pub struct Traffic {
    /// Every promise made so far.
    pub ledger: Arc<Ledger>,
    /// What they met so far.
    pub met: Arc<Met>,
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Sends to a port until told to stop.
    pub fn start(port: u16) -> Self {
        Self::go_on((Arc::default(), Arc::default()), port)
    }

    /// The same behind earlier senders, whose promises hold and whose counts go on.
    pub fn go_on((ledger, met): (Arc<Ledger>, Arc<Met>), port: u16) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let stop = Arc::default();
        let senders = (0..SENDERS).map(|_| {
            // No two senders of a run have a key in common, so no two have an event in common.
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let (ledger, met, stop) = (Arc::clone(&ledger), Arc::clone(&met), Arc::clone(&stop));
            let sender = Sender { number, port, client: Client::new(port), ledger, met };
            thread::spawn(move || sender.run(&stop))
        });
        let senders = senders.collect();
        Self { ledger, met, stop, senders }
    }

    /// Waits until so many more events are acknowledged.
    pub fn await_more(&self, events: usize) {
        let (began, before) = (Instant::now(), self.ledger.acknowledged());
        while self.ledger.acknowledged() < before + events {
            assert!(began.elapsed() < PATIENCE, "too little is acknowledged: {:?}", self.met);
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Lets every sender finish the event that it is at.
    ///
    /// # Panics
    /// When a sender met an answer that no provider should.
    pub fn finish(mut self) -> (Arc<Ledger>, Arc<Met>) {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            if let Err(panic) = sender.join() {
                std::panic::resume_unwind(panic);
            }
        }
        (Arc::clone(&self.ledger), Arc::clone(&self.met))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Sender {
    number: usize,
    port: u16,
    client: Client,
    ledger: Arc<Ledger>,
    met: Arc<Met>,
}

impl Sender {
    fn run(mut self, stop: &AtomicBool) {
        let mut sent = VecDeque::new();
        for event in 0.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let (event_type, key) = (TYPES[event as usize % TYPES.len()], format!("default:{}", self.number));
            let delivery = Delivery::new(event_type, &key, event, 500);
            self.ledger.offer(&delivery.id, Some(&key), &delivery.body);
            if !self.insist(&delivery, stop) {
                return;
            }
            self.ledger.acknowledge(&delivery.id);
            sent.push_back(delivery);
            if sent.len() > LATER
                && let Some(delivery) = sent.pop_front()
                && event.is_multiple_of(ONCE_MORE)
                && self.insist(&delivery, stop)
            {
                self.met.sent_once_more.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Attempts a delivery until it is answered 2xx; whether it was, before the senders had to stop.
    fn insist(&mut self, delivery: &Delivery, stop: &AtomicBool) -> bool {
        let keeps = self.number.is_multiple_of(2);
        for attempt in 0.. {
            if !keeps {
                self.client = Client::new(self.port);
            }
            match delivery.send(&mut self.client) {
                Ok(answer) if answer.is_success() => return true,
                Ok(answer) if answer.status == 503 => self.met.put_off.fetch_add(1, Ordering::Relaxed),
                Ok(answer) => panic!("a delivery was answered {}: {}", answer.status, answer.text()),
                Err(Failure::NotSent(_)) => self.met.refused.fetch_add(1, Ordering::Relaxed),
                Err(Failure::Unanswered(_)) if keeps => self.met.cut.fetch_add(1, Ordering::Relaxed),
                Err(Failure::Unanswered(_)) => self.met.refused.fetch_add(1, Ordering::Relaxed),
            };
            if attempt == 0 {
                self.met.tried_again.fetch_add(1, Ordering::Relaxed);
            }
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            thread::sleep(AGAIN);
        }
        false
    }
}
