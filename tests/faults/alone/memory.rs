//! A million events that cannot leave: memory stays flat and intake keeps its pace.

use std::time::{Duration, Instant};

use crate::support::bridge::{Home, free_port};
use crate::support::client::Client;
use crate::support::load::Delivery;
use crate::support::{Tier, await_until, turns};

/// What the process may hold, whatever is pending.
const RESIDENT_BYTES_MAX: u64 = 100 * 1000 * 1000;
/// How much slower the last tenth of the intake may be than the first.
const SLOWDOWN_MAX: f64 = 0.15;
/// Connections of the intake: enough that groups share an fdatasync.
const CONNECTIONS: usize = 64;
const EVENT_BYTES: usize = 1024;

#[test]
fn undelivered_events_cost_disk_and_neither_memory_nor_pace() {
    let _turn = turns::alone();
    let events: usize = Tier::of_this_run().pick(50_000, 1_000_000, 5_000_000);
    let home = Home::new();
    let nowhere = free_port();
    home.configure(
        "bytes_max: 20 GiB",
        &format!("sinks:\n  lake: {{ kafka: {{ brokers: \"127.0.0.1:{nowhere}\" }} }}\n"),
    );
    let bridge = home.start();
    // A bridge without a backlog takes its turn at every step: what slows both is the machine.
    let unburdened = Home::new();
    unburdened.configure_files();
    let reference_bridge = unburdened.start();

    let (mut rank, mut reference) = (Rank::new(home.http), Rank::new(unburdened.http));
    let (mut rates, mut shares) = (Vec::new(), Vec::new());
    let mut resident_max = 0;
    const STEPS: usize = 50;
    const JUDGED: usize = STEPS / 5;
    // A backlog that slows the intake goes on doing so; anything else that does is over some time.
    for again in [true, true, false] {
        let steps = if rates.is_empty() { STEPS } else { JUDGED };
        for _ in 0..steps {
            let rate = rank.deliver(events / STEPS);
            rates.push(rate);
            shares.push(rate / reference.deliver(events / STEPS / 8));
            resident_max = resident_max.max(bridge.resident_bytes());
        }
        let of = |values: &[f64]| (median(&values[..JUDGED]), median(&values[values.len() - JUDGED..]));
        let ((first, last), (first_share, last_share)) = (of(&rates), of(&shares));
        println!(
            "{} undelivered events: {first:.0}/s at first, {last:.0}/s at last; beside a bridge without \
             a backlog {first_share:.2} at first, {last_share:.2} at last; {} MB resident at most",
            rank.sent,
            resident_max / 1_000_000
        );
        assert!(resident_max < RESIDENT_BYTES_MAX, "{resident_max} bytes resident");
        if last_share > first_share * (1.0 - SLOWDOWN_MAX) {
            break;
        }
        assert!(
            again,
            "the share of an unburdened bridge's intake went from {first_share:.2} to {last_share:.2}"
        );
    }
    reference_bridge.terminate();
    await_until("the lag to show that the sink was down", Duration::from_secs(5), || {
        (bridge.metric("fanbridge_sink_lag_events", &["sink=\"lake\""]) >= events as f64).then_some(())
    });
    bridge.terminate();
}

/// Many connections driven by one thread: a request on each, then an answer from each.
struct Rank {
    connections: Vec<Client>,
    sent: u64,
}

impl Rank {
    fn new(port: u16) -> Self {
        let connect = |_| Client::new(port).with_timeout(Duration::from_secs(30));
        Self { connections: (0..CONNECTIONS).map(connect).collect(), sent: 0 }
    }

    /// Delivers so many events, or a few more, and says at which rate.
    fn deliver(&mut self, events: usize) -> f64 {
        let (start, before) = (Instant::now(), self.sent);
        for _ in 0..events.div_ceil(CONNECTIONS) {
            for connection in &mut self.connections {
                self.sent += 1;
                let key = format!("default:pending-{}", self.sent % 1000);
                let delivery = Delivery::new("call.created", &key, self.sent, EVENT_BYTES);
                connection.send(&delivery.request).expect("the bridge takes requests");
            }
            for connection in &mut self.connections {
                let answer = connection.receive().expect("the bridge answers");
                assert!(answer.is_success(), "answered {}: {}", answer.status, answer.text());
            }
        }
        (self.sent - before) as f64 / start.elapsed().as_secs_f64()
    }
}

fn median(rates: &[f64]) -> f64 {
    let mut rates = rates.to_vec();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
