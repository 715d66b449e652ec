//! Takes the claims of appends to the server. Claims that come while one round is under way go with the next.

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

/// How many appends can wait for the server, and how many claims one round takes: as many as there are
/// connections by default. Further appends go on without the shared window.
pub(super) const REQUESTS_MAX: usize = 4096;

/// What an append asks of the server.
pub(super) enum ClaimRequest {
    /// Claim a key, or return its holder.
    Claim { key: DuplicateKey, answer: oneshot::Sender<Result<Holder, Skip>> },
    /// Release a claim.
    Release { key: DuplicateKey },
    /// Confirm that the sinks with this fingerprint have accepted the key's event.
    Accept { key: DuplicateKey, sinks: u32 },
}

impl ClaimRequest {
    fn skip(self, reason: Skip) {
        if let Self::Claim { answer, .. } = self {
            // The append can have stopped waiting.
            let _ = answer.send(Err(reason));
        }
    }
}

/// Takes requests to the server and answers back.
pub(super) struct ClaimWorker {
    pub(super) asks: mpsc::Receiver<ClaimRequest>,
    /// The time that a round takes, in seconds.
    pub(super) duration: Histogram,
}

impl ClaimWorker {
    /// Takes requests to the server until a round fails, and returns why it failed. Requests that wait when
    /// this is dropped are answered with `Away`.
    pub(super) async fn serve(&mut self, mut pipe: Pipe, keys: &KeyNames) -> ServerError {
        let mut asks = Vec::new();
        loop {
            if self.asks.recv_many(&mut asks, REQUESTS_MAX).await == 0 {
                // No request will ever come again.
                std::future::pending::<()>().await;
            }
            if let Err(error) = self.round(&mut pipe, keys, &mut asks).await {
                return error;
            }
        }
    }

    async fn round(
        &self,
        pipe: &mut Pipe,
        keys: &KeyNames,
        asks: &mut Vec<ClaimRequest>,
    ) -> Result<(), ServerError> {
        let mut round = CommandBatch::new(keys, asks.len());
        for ask in &*asks {
            match ask {
                ClaimRequest::Claim { key, .. } => round.claim(*key),
                ClaimRequest::Release { key } => round.release(*key),
                ClaimRequest::Accept { key, sinks } => round.accepted(*key, *sinks),
            }
        }
        let begun = Instant::now();
        let answers = pipe.ask(&round).await;
        self.duration.observe(begun.elapsed().as_secs_f64());
        match answers {
            Ok(answers) => hand_out(keys, asks, &answers),
            Err(error) => {
                asks.drain(..).for_each(|ask| ask.skip(error.skip()));
                Err(error)
            }
        }
    }

    /// Answers every request with `Away`, for as long as the server is.
    pub(super) async fn decline(&mut self) -> Infallible {
        while let Some(ask) = self.asks.recv().await {
            ask.skip(Skip::Away);
        }
        std::future::pending().await
    }
}

/// Answers each request, and returns the first answer that is an error.
fn hand_out(keys: &KeyNames, asks: &mut Vec<ClaimRequest>, answers: &[Value]) -> Result<(), ServerError> {
    let mut outcome = Ok(());
    for (ask, answer) in asks.drain(..).zip(answers) {
        // A claim that could not be released, or confirmed as accepted, expires soon; another replica can
        // store the event again then.
        let ClaimRequest::Claim { answer: asker, .. } = ask else { continue };
        let holder = keys.holder(answer);
        // The append can have stopped waiting; its claim expires soon.
        let _ = asker.send(holder.as_ref().copied().map_err(ServerError::skip));
        outcome = outcome.and(holder.map(drop));
    }
    outcome
}
