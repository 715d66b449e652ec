//! The duplicate window that replicas share: one key an event in Redis or Valkey, beside the window
//! that each replica has of its own.
//!
//! ```text
//!          claim                  fdatasync of the group
//! nobody's ─────▶ pending, by us ───────────────────────▶ durable, for as long as the window
//!     ▲                │ the append failed, or the claim is past its time
//!     └────────────────┘
//! ```
//!
//! It can only save a repetition, never cost an event: `durable` is written after the fdatasync and
//! at no other time, so what is answered as a duplicate is on some replica's disk. Whatever else
//! the server says, or fails to say, the append goes on and the replica's own window decides. One
//! task, the [`Keeper`], speaks to the server; an append waits for two of its rounds at most, and a
//! bounded time longer while another replica has a copy of the event in hand. When the server is
//! away, nobody waits.

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

use self::claims::{ASKS_MAX, ClaimRequest, ClaimWorker};
use self::commands::Holder;
use self::confirms::{ConfirmWorker, GROUPS_MAX};
use super::DuplicateKey;
use crate::telemetry::{Metrics, Reason};

pub(crate) use self::confirms::DurableKeys;
pub use self::server::Server;
pub use self::worker::SharedWindowWorker;

/// The first pause before asking again after a key that another replica has claimed; each next one
/// is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// How long may be waited, as shares of the time in which a delivery must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deadlines {
    /// With one answer of the server.
    answer: Duration,
    /// With the replica that has claimed a key.
    claim: Duration,
}

impl Deadlines {
    /// 100 ms and 250 ms under the default of 5 s, and never more.
    fn within(ack_timeout: Duration) -> Self {
        let share = |of: u32, most: u64| {
            (ack_timeout / of).clamp(Duration::from_millis(1), Duration::from_millis(most))
        };
        Self { answer: share(50, 100), claim: share(20, 250) }
    }
}

/// What an append has to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyClaim {
    /// A copy is durable in another replica's spool, or in this one's.
    Durable,
    /// The event is ours to store.
    Ours,
    /// Nothing is certain: store it, unless the replica's own window knows it.
    None,
}

/// Why an append went on without the shared window's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    /// The server cannot be used.
    Away,
    /// Too many wait for it already.
    Busy,
    /// It refused.
    Error,
    /// Another replica has claimed the event and is not done with it.
    Pending,
    /// It did not answer in time.
    Timeout,
}

impl Skip {
    const ALL: [Self; 5] = [Self::Away, Self::Busy, Self::Error, Self::Pending, Self::Timeout];

    /// The word for the metric.
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

/// The handle that appends ask. The keeper behind it must be run.
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
    /// The window of this configuration, after the first attempt to reach its server, which takes a
    /// second at most. An attempt that fails is logged, counted and repeated, and nothing else.
    pub async fn open(config: &SharedWindowOptions, metrics: &Metrics) -> (Self, SharedWindowWorker) {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
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
        let asking = ClaimWorker { asks: asked, duration: metrics.shared_round.clone() };
        let telling = ConfirmWorker::new(durable, forgotten);
        let degraded = metrics.shared_degraded.clone();
        let keeper =
            SharedWindowWorker::open(config, patience.answer, asking, telling, usable, degraded).await;
        (window, keeper)
    }

    /// Asks for an event before it is appended.
    pub(crate) async fn claim(&self, key: DuplicateKey) -> KeyClaim {
        let deadline = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.ask(key).await {
                Ok(Holder::Nobody) => return KeyClaim::Ours,
                Ok(Holder::Durable) => {
                    self.duplicates.inc();
                    return KeyClaim::Durable;
                }
                // Two copies here: the replica's own window keeps them apart.
                Ok(Holder::Us) => return KeyClaim::None,
                Ok(Holder::Another) => {}
                Err(skip) => return self.skip(skip),
            }
            let now = Instant::now();
            if now >= deadline {
                return self.skip(Skip::Pending);
            }
            tokio::time::sleep_until(deadline.min(now + pause)).await;
            pause *= 2;
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

    /// Gives a claim back whose append failed. One that is not given back is past its time soon.
    pub(crate) fn release(&self, key: DuplicateKey) {
        if self.usable.load(Ordering::Relaxed) {
            // Full: it is past its time soon.
            let _ = self.asks.try_send(ClaimRequest::Release { key });
        }
    }

    /// Where the committer says what has become durable.
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
