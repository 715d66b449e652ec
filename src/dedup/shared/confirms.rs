//! Confirms the keys of durable events in the server. Keys that cannot be confirmed now are kept and
//! confirmed later, up to a bound; confirming a key twice is harmless.

use std::collections::VecDeque;
use std::convert::Infallible;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;

use super::commands::{CommandBatch, KeyNames};
use super::connection::Pipe;
use super::error::ServerError;
use crate::dedup::DuplicateKey;

/// How many groups of durable events can wait for the worker, of at most a thousand keys each.
pub(super) const GROUPS_MAX: usize = 64;

/// How many keys are confirmed in one round: about a millisecond of the server's time.
const ROUND_MAX: usize = 1024;

/// How many keys wait for the server to come back: a minute of a thousand events a second, a megabyte.
const UNCONFIRMED_MAX: usize = 65_536;

/// Passes the keys of durable events from the committer to the worker.
#[derive(Debug)]
pub(crate) struct DurableKeys {
    pub(super) groups: mpsc::Sender<Vec<DuplicateKey>>,
    pub(super) forgotten: Counter,
}

impl DurableKeys {
    /// Passes on keys whose events are on stable storage. Never waits: keys that do not fit are forgotten and
    /// counted, and another replica can then store a copy of their events.
    pub(crate) fn confirm(&self, keys: Vec<DuplicateKey>) {
        use mpsc::error::TrySendError::{Closed, Full};
        if keys.is_empty() {
            return;
        }
        if let Err(Full(keys) | Closed(keys)) = self.groups.try_send(keys) {
            self.forgotten.inc_by(keys.len() as u64);
        }
    }
}

/// Confirms keys of durable events in the server.
pub(super) struct ConfirmWorker {
    groups: mpsc::Receiver<Vec<DuplicateKey>>,
    /// The keys that are not yet confirmed, oldest first.
    unconfirmed: VecDeque<DuplicateKey>,
    forgotten: Counter,
}

impl ConfirmWorker {
    pub(super) fn new(groups: mpsc::Receiver<Vec<DuplicateKey>>, forgotten: Counter) -> Self {
        Self { groups, unconfirmed: VecDeque::new(), forgotten }
    }

    /// Confirms keys until a round fails, and returns why it failed.
    pub(super) async fn serve(&mut self, mut pipe: Pipe, keys: &KeyNames) -> ServerError {
        loop {
            if self.unconfirmed.is_empty() {
                self.wait().await;
            }
            if let Err(error) = self.round(&mut pipe, keys).await {
                return error;
            }
        }
    }

    /// Confirms the keys that are left at the end, until a round fails.
    pub(super) async fn finish(&mut self, mut pipe: Pipe, keys: &KeyNames) {
        self.receive();
        while !self.unconfirmed.is_empty() && self.round(&mut pipe, keys).await.is_ok() {}
    }

    /// How many keys are not yet confirmed.
    pub(super) fn unconfirmed(&mut self) -> usize {
        self.receive();
        self.unconfirmed.len()
    }

    /// Keeps the keys of durable events, for as long as the server is away.
    pub(super) async fn keep(&mut self) -> Infallible {
        loop {
            self.wait().await;
        }
    }

    async fn round(&mut self, pipe: &mut Pipe, keys: &KeyNames) -> Result<(), ServerError> {
        self.receive();
        let count = self.unconfirmed.len().min(ROUND_MAX);
        let mut round = CommandBatch::new(keys, count);
        self.unconfirmed.range(..count).for_each(|key| round.durable(*key));
        let answers = pipe.ask(&round).await?;
        match answers.iter().find_map(ServerError::of_answer) {
            Some(error) => Err(error),
            None => {
                self.unconfirmed.drain(..count);
                Ok(())
            }
        }
    }

    async fn wait(&mut self) {
        match self.groups.recv().await {
            Some(keys) => self.remember(keys),
            // Nothing will ever become durable again.
            None => std::future::pending().await,
        }
    }

    /// Takes the keys that have come in meanwhile.
    fn receive(&mut self) {
        while let Ok(keys) = self.groups.try_recv() {
            self.remember(keys);
        }
    }

    /// Keeps keys to be confirmed; beyond the bound the oldest are forgotten and counted.
    fn remember(&mut self, keys: Vec<DuplicateKey>) {
        self.unconfirmed.extend(keys);
        let over = self.unconfirmed.len().saturating_sub(UNCONFIRMED_MAX);
        self.unconfirmed.drain(..over);
        self.forgotten.inc_by(over as u64);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn keys(numbers: std::ops::Range<u64>) -> Vec<DuplicateKey> {
        let key = |number: u64| DuplicateKey(u128::from(number).to_le_bytes());
        numbers.map(key).collect()
    }

    #[test]
    fn beyond_the_bound_the_oldest_are_forgotten_and_counted() {
        let (groups, receiver) = mpsc::channel(GROUPS_MAX);
        let forgotten = Counter::default();
        let mut worker = ConfirmWorker::new(receiver, forgotten.clone());
        let durable = DurableKeys { groups, forgotten: forgotten.clone() };
        let most = UNCONFIRMED_MAX as u64;
        for group in 0..most / 1024 + 1 {
            durable.confirm(keys(group * 1024..(group + 1) * 1024));
            assert_eq!(worker.unconfirmed() as u64, most.min((group + 1) * 1024));
        }
        assert_eq!(forgotten.get(), 1024);
        assert_eq!(worker.unconfirmed.front(), keys(1024..1025).first());
        assert_eq!(worker.unconfirmed.back(), keys(most + 1023..most + 1024).first());
    }

    #[test]
    fn a_committer_that_nobody_hears_does_not_wait() {
        let (groups, receiver) = mpsc::channel(1);
        let durable = DurableKeys { groups, forgotten: Counter::default() };
        durable.confirm(Vec::new());
        durable.confirm(keys(0..3));
        durable.confirm(keys(3..8));
        assert_eq!(durable.forgotten.get(), 5);
        drop(receiver);
        durable.confirm(keys(8..10));
        assert_eq!(durable.forgotten.get(), 7);
    }
}
