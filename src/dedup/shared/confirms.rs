//! What has become durable, on its way to the server. What cannot be told now is told later, up to
//! a bound; telling it twice does no harm.

use std::collections::VecDeque;
use std::convert::Infallible;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;

use super::commands::{CommandBatch, KeyNames};
use super::connection::Pipe;
use super::error::ServerError;
use crate::dedup::DuplicateKey;

/// Groups of durable events that may wait for the keeper, of at most a thousand keys each.
pub(super) const GROUPS_MAX: usize = 64;

/// Keys that are told in one round: about a millisecond of the server's time.
const ROUND_MAX: usize = 1024;

/// Keys that wait for the server to come back: a minute of a thousand events a second, a megabyte.
const UNTOLD_MAX: usize = 65_536;

/// Takes the keys of what has become durable from the committer to the keeper.
#[derive(Debug)]
pub(crate) struct DurableKeys {
    pub(super) groups: mpsc::Sender<Vec<DuplicateKey>>,
    pub(super) forgotten: Counter,
}

impl DurableKeys {
    /// Every event with one of these keys is on stable storage. Never waits: what cannot be told
    /// may be stored by another replica, too.
    pub(crate) fn tell(&self, keys: Vec<DuplicateKey>) {
        use mpsc::error::TrySendError::{Closed, Full};
        if keys.is_empty() {
            return;
        }
        if let Err(Full(keys) | Closed(keys)) = self.groups.try_send(keys) {
            self.forgotten.inc_by(keys.len() as u64);
        }
    }
}

/// Tells the server what is durable.
pub(super) struct ConfirmWorker {
    groups: mpsc::Receiver<Vec<DuplicateKey>>,
    /// What is not yet told, oldest first.
    untold: VecDeque<DuplicateKey>,
    forgotten: Counter,
}

impl ConfirmWorker {
    pub(super) fn new(groups: mpsc::Receiver<Vec<DuplicateKey>>, forgotten: Counter) -> Self {
        Self { groups, untold: VecDeque::new(), forgotten }
    }

    /// Tells the server for as long as it takes it.
    pub(super) async fn serve(&mut self, mut line: Pipe, keys: &KeyNames) -> ServerError {
        loop {
            if self.untold.is_empty() {
                self.wait().await;
            }
            if let Err(trouble) = self.round(&mut line, keys).await {
                return trouble;
            }
        }
    }

    /// Tells what there is to tell at the end.
    pub(super) async fn finish(&mut self, mut line: Pipe, keys: &KeyNames) {
        self.hear();
        while !self.untold.is_empty() && self.round(&mut line, keys).await.is_ok() {}
    }

    /// How many keys are not told.
    pub(super) fn untold(&mut self) -> usize {
        self.hear();
        self.untold.len()
    }

    /// Keeps what becomes durable, for as long as the server is away.
    pub(super) async fn keep(&mut self) -> Infallible {
        loop {
            self.wait().await;
        }
    }

    async fn round(&mut self, line: &mut Pipe, keys: &KeyNames) -> Result<(), ServerError> {
        self.hear();
        let count = self.untold.len().min(ROUND_MAX);
        let mut round = CommandBatch::new(keys, count);
        self.untold.range(..count).for_each(|key| round.durable(*key));
        let answers = line.ask(&round).await?;
        match answers.iter().find_map(ServerError::of_answer) {
            Some(trouble) => Err(trouble),
            None => {
                self.untold.drain(..count);
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

    /// Takes what has become durable meanwhile.
    fn hear(&mut self) {
        while let Ok(keys) = self.groups.try_recv() {
            self.remember(keys);
        }
    }

    /// Keeps keys to be told, the newest of them if there is no room for all.
    fn remember(&mut self, keys: Vec<DuplicateKey>) {
        self.untold.extend(keys);
        let over = self.untold.len().saturating_sub(UNTOLD_MAX);
        self.untold.drain(..over);
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
        let mut telling = ConfirmWorker::new(receiver, forgotten.clone());
        let durable = DurableKeys { groups, forgotten: forgotten.clone() };
        let most = UNTOLD_MAX as u64;
        for group in 0..most / 1024 + 1 {
            durable.tell(keys(group * 1024..(group + 1) * 1024));
            assert_eq!(telling.untold() as u64, most.min((group + 1) * 1024));
        }
        assert_eq!(forgotten.get(), 1024);
        assert_eq!(telling.untold.front(), keys(1024..1025).first());
        assert_eq!(telling.untold.back(), keys(most + 1023..most + 1024).first());
    }

    #[test]
    fn a_committer_that_nobody_hears_does_not_wait() {
        let (groups, receiver) = mpsc::channel(1);
        let durable = DurableKeys { groups, forgotten: Counter::default() };
        durable.tell(Vec::new());
        durable.tell(keys(0..3));
        durable.tell(keys(3..8));
        assert_eq!(durable.forgotten.get(), 5);
        drop(receiver);
        durable.tell(keys(8..10));
        assert_eq!(durable.forgotten.get(), 7);
    }
}
