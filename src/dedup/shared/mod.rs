//! The duplicate window that replicas share: one key for each event in Redis or Valkey, in addition to the
//! local window of each replica.
//!
//! ```text
//!          claim                  fdatasync of the group
//! nobody's ─────▶ pending, by us ───────────────────────▶ durable, for as long as the window
//!     ▲                │ the append failed, or the claim has expired
//!     └────────────────┘
//! ```
//!
//! The shared window can only prevent a duplicate, never lose an event: `durable` is written after the
//! fdatasync and at no other time, so an event that is answered as a duplicate is on some replica's disk. An
//! append whose answer waits for sinks does not write it: once they have accepted the event its key says so,
//! with a fingerprint of those sinks, and nothing less makes the event a duplicate for another such append.
//! Whatever else the server answers, or fails to answer, the append goes on and the local window decides. One
//! task, the [`SharedWindowWorker`], speaks to the server; an append waits for two of its rounds at most, and
//! a bounded time longer while another replica is storing a copy of the event. While the server is away,
//! nothing waits for it.

mod claims;
mod commands;
mod confirms;
mod connection;
mod error;
pub mod options;
mod server;
mod worker;

pub use options::SharedWindowOptions;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::claims::{ClaimRequest, ClaimWorker, REQUESTS_MAX};
use self::commands::{Holder, KeyNames};
use self::confirms::{ConfirmWorker, GROUPS_MAX};
use self::connection::Dialler;
use super::DuplicateKey;
use crate::backoff::CLAIMED_KEY;
use crate::telemetry::{Metrics, Reason};

pub(crate) use self::confirms::DurableKeys;
pub use self::server::Server;
pub use self::worker::SharedWindowWorker;

/// Connects to the server, logs in and tries the command that makes a claim, as the bridge does at its start:
/// with a key that no event has and that ends by itself.
///
/// # Errors
/// Why the server cannot be used, in words without the login.
pub async fn try_out(options: &SharedWindowOptions) -> Result<(), String> {
    let keys = KeyNames::new(&options.prefix, 0, options.ack_timeout, options.window);
    let connected = Dialler::new(options.server.clone()).dial(&keys).await;
    connected.map(drop).map_err(|error| error.to_string())
}

/// How long an append can wait for the shared window, as parts of the time in which a delivery must be
/// answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deadlines {
    /// For one answer of the server.
    answer: Duration,
    /// For another replica that has claimed the key.
    claim: Duration,
}

impl Deadlines {
    /// 100 ms and 250 ms with the default `ack_timeout` of 5 s, and never more.
    fn within(ack_timeout: Duration) -> Self {
        let part = |of: u32, most: u64| {
            (ack_timeout / of).clamp(Duration::from_millis(1), Duration::from_millis(most))
        };
        Self { answer: part(50, 100), claim: part(20, 250) }
    }
}

/// What makes an event a duplicate for the append that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sufficient {
    /// A copy is durable on some replica.
    Durable,
    /// A copy is accepted by the sinks with this fingerprint.
    Accepted(u32),
}

/// What the shared window says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyClaim {
    /// There is a copy that is sufficient: durable in another replica's spool, or in this one's, or accepted.
    Known,
    /// This replica has claimed the key: store the event.
    Ours,
    /// Nothing is certain: store the event, unless the local window knows it.
    None,
}

/// Why an append went on without an answer of the shared window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    /// The server cannot be used.
    Away,
    /// Too many appends are waiting for the server already.
    Busy,
    /// The server refused the command.
    Error,
    /// Another replica has claimed the event and has neither stored nor released it in time.
    Pending,
    /// The server did not answer in time.
    Timeout,
}

impl Skip {
    const ALL: [Self; 5] = [Self::Away, Self::Busy, Self::Error, Self::Pending, Self::Timeout];

    /// The reason as a label of the metric.
    fn as_str(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Busy => "busy",
            Self::Error => "error",
            Self::Pending => "pending",
            Self::Timeout => "timeout",
        }
    }
}

/// The handle by which appends use the shared window. Its [`SharedWindowWorker`] must be run.
#[derive(Debug)]
pub struct SharedWindow {
    asks: mpsc::Sender<ClaimRequest>,
    groups: mpsc::Sender<Vec<DuplicateKey>>,
    usable: Arc<AtomicBool>,
    patience: Duration,
    skipped: [Counter; Skip::ALL.len()],
    duplicates: Counter,
    forgotten: Counter,
}

impl SharedWindow {
    /// Makes the window and its worker, after the first attempt to connect to the server, which takes a
    /// second at most. An attempt that fails is logged, counted and repeated, and does not fail the start.
    pub async fn open(config: &SharedWindowOptions, metrics: &Metrics) -> (Self, SharedWindowWorker) {
        let (asks, asked) = mpsc::channel(REQUESTS_MAX);
        let (groups, durable) = mpsc::channel(GROUPS_MAX);
        let patience = Deadlines::within(config.ack_timeout);
        let usable = Arc::new(AtomicBool::new(false));
        let forgotten = metrics.shared_untold.clone();
        let counter = |skip: Skip| {
            let reason = Reason { reason: skip.as_str().into() };
            metrics.shared_skipped.get_or_create_owned(&reason)
        };
        let window = Self {
            asks,
            groups,
            usable: Arc::clone(&usable),
            patience: patience.claim,
            skipped: Skip::ALL.map(counter),
            duplicates: metrics.shared_duplicates.clone(),
            forgotten: forgotten.clone(),
        };
        let claims = ClaimWorker { asks: asked, duration: metrics.shared_round.clone() };
        let confirms = ConfirmWorker::new(durable, forgotten);
        let degraded = metrics.shared_degraded.clone();
        let worker =
            SharedWindowWorker::open(config, patience.answer, claims, confirms, usable, degraded).await;
        (window, worker)
    }

    /// Claims the key of an event before it is appended.
    pub(crate) async fn claim(&self, key: DuplicateKey, sufficient: Sufficient) -> KeyClaim {
        let deadline = Instant::now() + self.patience;
        let mut asked = 0;
        loop {
            match self.ask(key).await {
                Ok(Holder::Nobody) => return KeyClaim::Ours,
                Ok(held @ (Holder::Durable | Holder::Accepted(_))) => match (sufficient, held) {
                    (Sufficient::Accepted(sinks), Holder::Accepted(by)) if by != sinks => {
                        return KeyClaim::None;
                    }
                    // On the disk of another replica alone.
                    (Sufficient::Accepted(_), Holder::Durable) => return KeyClaim::None,
                    _ => {
                        self.duplicates.inc();
                        return KeyClaim::Known;
                    }
                },
                // Another copy is being appended on this replica: the local window tells the two apart.
                Ok(Holder::Us) => return KeyClaim::None,
                Ok(Holder::Another) => {}
                Err(skip) => return self.skip(skip),
            }
            let now = Instant::now();
            if now >= deadline {
                return self.skip(Skip::Pending);
            }
            asked += 1;
            tokio::time::sleep_until(deadline.min(now + CLAIMED_KEY.step(asked))).await;
        }
    }

    async fn ask(&self, key: DuplicateKey) -> Result<Holder, Skip> {
        if !self.usable.load(Ordering::Relaxed) {
            return Err(Skip::Away);
        }
        let (answer, answered) = oneshot::channel();
        self.asks.try_send(ClaimRequest::Claim { key, answer }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Skip::Busy,
            mpsc::error::TrySendError::Closed(_) => Skip::Away,
        })?;
        answered.await.unwrap_or(Err(Skip::Away))
    }

    fn skip(&self, skip: Skip) -> KeyClaim {
        self.skipped[skip as usize].inc();
        KeyClaim::None
    }

    /// Releases a claim whose append failed. A claim that is not released expires soon.
    pub(crate) fn release(&self, key: DuplicateKey) {
        if self.usable.load(Ordering::Relaxed) {
            // If the queue is full, the claim is left to expire.
            let _ = self.asks.try_send(ClaimRequest::Release { key });
        }
    }

    /// Confirms that the sinks with this fingerprint have accepted an event. Never waits: if the server is
    /// away or the queue is full, another replica can store a copy of the event.
    pub(crate) fn accept(&self, key: DuplicateKey, sinks: u32) {
        let accept = ClaimRequest::Accept { key, sinks };
        if !self.usable.load(Ordering::Relaxed) || self.asks.try_send(accept).is_err() {
            self.forgotten.inc();
        }
    }

    /// The handle by which the committer confirms the keys of durable events.
    pub(crate) fn durable_keys(&self) -> DurableKeys {
        DurableKeys { groups: self.groups.clone(), forgotten: self.forgotten.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_a_small_share_of_the_time_for_an_answer_and_bounded() {
        for (ack_timeout, answer, claim) in
            [(5_000, 100, 250), (1_000, 20, 50), (60_000, 100, 250), (10, 1, 1)]
        {
            let millis = Duration::from_millis;
            let expected = Deadlines { answer: millis(answer), claim: millis(claim) };
            assert_eq!(Deadlines::within(millis(ack_timeout)), expected);
        }
    }

    #[test]
    fn each_reason_has_a_counter_of_its_own() {
        assert!(Skip::ALL.iter().enumerate().all(|(index, skip)| *skip as usize == index));
    }
}
