//! The questions of appends: what comes up while one round is under way goes with the next.

use std::convert::Infallible;

use prometheus_client::metrics::histogram::Histogram;
use redis::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Skip;
use super::commands::{CommandBatch, Holder, KeyNames};
use super::connection::Pipe;
use super::error::ServerError;
use crate::dedup::DuplicateKey;

/// Appends that may wait for the server, and that one round takes: as many as there are connections
/// by default. Beyond it they go on without its word.
pub(super) const ASKS_MAX: usize = 4096;

/// What an append asks.
pub(super) enum ClaimRequest {
    /// To claim a key, or to say who has it.
    Claim { key: DuplicateKey, answer: oneshot::Sender<Result<Holder, Skip>> },
    /// To give a claim back.
    Release { key: DuplicateKey },
}

impl ClaimRequest {
    fn skip(self, reason: Skip) {
        if let Self::Claim { answer, .. } = self {
            // Whoever asked may have gone.
            let _ = answer.send(Err(reason));
        }
    }
}

/// Takes questions to the server and answers back.
pub(super) struct ClaimWorker {
    pub(super) asks: mpsc::Receiver<ClaimRequest>,
    /// The time that a round takes.
    pub(super) duration: Histogram,
}

impl ClaimWorker {
    /// Asks the server for as long as it answers. Who waits when this is dropped is answered, too:
    /// that the server is away.
    pub(super) async fn serve(&mut self, mut line: Pipe, keys: &KeyNames) -> ServerError {
        let mut asks = Vec::new();
        loop {
            if self.asks.recv_many(&mut asks, ASKS_MAX).await == 0 {
                // Nobody will ever ask again.
                std::future::pending::<()>().await;
            }
            if let Err(trouble) = self.round(&mut line, keys, &mut asks).await {
                return trouble;
            }
        }
    }

    async fn round(
        &self,
        line: &mut Pipe,
        keys: &KeyNames,
        asks: &mut Vec<ClaimRequest>,
    ) -> Result<(), ServerError> {
        let mut round = CommandBatch::new(keys, asks.len());
        for ask in &*asks {
            match ask {
                ClaimRequest::Claim { key, .. } => round.claim(*key),
                ClaimRequest::Release { key } => round.release(*key),
            }
        }
        let begun = Instant::now();
        let answers = line.ask(&round).await;
        self.duration.observe(begun.elapsed().as_secs_f64());
        match answers {
            Ok(answers) => hand_out(keys, asks, &answers),
            Err(trouble) => {
                asks.drain(..).for_each(|ask| ask.skip(trouble.skip()));
                Err(trouble)
            }
        }
    }

    /// Answers that the server is away, for as long as it is.
    pub(super) async fn decline(&mut self) -> Infallible {
        while let Some(ask) = self.asks.recv().await {
            ask.skip(Skip::Away);
        }
        std::future::pending().await
    }
}

/// Answers each question; the first answer that is none is returned.
fn hand_out(keys: &KeyNames, asks: &mut Vec<ClaimRequest>, answers: &[Value]) -> Result<(), ServerError> {
    let mut outcome = Ok(());
    for (ask, answer) in asks.drain(..).zip(answers) {
        // A claim that could not be given back is past its time soon.
        let ClaimRequest::Claim { answer: asker, .. } = ask else { continue };
        let holder = keys.holder(answer);
        // Whoever asked may have gone; the claim is past its time soon.
        let _ = asker.send(holder.as_ref().copied().map_err(ServerError::skip));
        outcome = outcome.and(holder.map(drop));
    }
    outcome
}
