//! Bounds how many large bodies are hashed, inflated and parsed at a time.
//!
//! Work on authentic bodies never waits for work on bodies that are not proven authentic: each kind has a
//! queue. A third queue is for bodies of known networks that inflate, because a stranger behind the same
//! proxy can make such a body cost two hundred times what it took to send. Strangers have the queue
//! `strangers`, and each network has one body at a time in it: so a newcomer waits for as many bodies as
//! there are networks, and not for as many as those networks sent. This also bounds the memory that
//! bodies inflate to before they are known to be authentic.

use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Unavailable;
use super::http::networks::stranger;

/// Larger bodies are hashed, inflated and parsed off the runtime's threads. At about a gigabyte a second
/// a body of this size takes some 100 µs, the longest that other connections should wait for one.
const QUICK_BYTES_MAX: usize = 64 << 10;
/// How long a stranger's body waits for its turn before it is answered 503. It holds memory meanwhile.
const STRANGERS_WAIT: Duration = Duration::from_secs(2);

/// How many bytes have to be processed for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) struct Weight {
    /// For a body of an honest sender.
    pub likely: usize,
    /// For a body that was made to cost as much as the limits allow.
    pub at_most: usize,
}

impl Weight {
    /// The weight of a body that is not compressed.
    pub(in crate::source) fn plain(bytes: usize) -> Self {
        Self { likely: bytes, at_most: bytes }
    }
}

/// The queues in which large bodies wait for their turn.
#[derive(Debug)]
pub(in crate::source) struct Turns {
    authentic: Semaphore,
    inflating: Semaphore,
    strangers: Semaphore,
}

impl Turns {
    /// Queues with as many turns at a time as there are cores; strangers have half as many.
    pub(in crate::source) fn new(cores: usize) -> Self {
        let line = Semaphore::new;
        Self { authentic: line(cores), inflating: line(cores), strangers: line((cores / 2).max(1)) }
    }

    /// Works on an authentic body of this size. Work on a large body hands the other connections of the
    /// runtime's thread to another thread; the work itself stays in this task, so it can borrow.
    pub(in crate::source) async fn authentic<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        if bytes <= QUICK_BYTES_MAX {
            return work();
        }
        in_turn(&self.authentic, work).await
    }

    /// Does the work that finds out whether a body is authentic.
    ///
    /// # Errors
    /// When too many bodies of strangers are before it, or its turn does not come within two seconds.
    pub(in crate::source) async fn unproven<T>(
        &self,
        weight: Weight,
        work: impl FnOnce() -> T,
    ) -> Result<T, Unavailable> {
        let Some(network) = stranger() else {
            let inflates = weight.at_most > weight.likely && weight.likely > QUICK_BYTES_MAX;
            return Ok(match inflates {
                true => in_turn(&self.inflating, work).await,
                false => self.authentic(weight.likely, work).await,
            });
        };
        if weight.at_most <= QUICK_BYTES_MAX {
            return Ok(work());
        }
        let _waiting = network.waiting.try_acquire().map_err(|_| Unavailable::Later("strangers_turn"))?;
        let waiting = async { (network.turn.acquire().await, self.strangers.acquire().await) };
        let turn = timeout(STRANGERS_WAIT, waiting).await;
        let _turn = turn.map_err(|_| Unavailable::Later("strangers_turn"))?;
        Ok(off_the_runtime(work))
    }
}

async fn in_turn<T>(line: &Semaphore, work: impl FnOnce() -> T) -> T {
    let _turn = line.acquire().await.expect("the semaphore is never closed");
    off_the_runtime(work)
}

fn off_the_runtime<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        // A runtime of one thread cannot hand its connections to another thread.
        _ => work(),
    }
}
