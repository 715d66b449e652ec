//! Whose turn it is to have a large body worked on.
//!
//! What is authentic never waits for what may not be: there is a line for each, and a third for bodies
//! that inflate, because a stranger behind the same proxy can make one cost two hundred times what
//! it took to send. Strangers stand in a line of their own, one body of each network at a time, so
//! that a newcomer waits for as many bodies as there are networks and not for as many as they sent.
//! With it is bounded what bodies inflate to before anybody knows whose they are.

use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::networks::stranger;
use crate::source::Unavailable;

/// Bodies beyond this are hashed, inflated and parsed off the runtime. At about a gigabyte a
/// second this is some 100 µs, the longest that other connections should wait for one.
const QUICK_BYTES_MAX: usize = 64 << 10;
/// How long a stranger's body waits for its turn, holding memory meanwhile.
const STRANGERS_WAIT: Duration = Duration::from_secs(2);

/// The bytes that working on a body goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) struct Weight {
    /// If its sender means well.
    pub likely: usize,
    /// If he does not.
    pub at_most: usize,
}

impl Weight {
    /// Of a body that does not inflate.
    pub(in crate::source) fn plain(bytes: usize) -> Self {
        Self { likely: bytes, at_most: bytes }
    }
}

/// The lines.
#[derive(Debug)]
pub(in crate::source) struct Turns {
    authentic: Semaphore,
    inflating: Semaphore,
    strangers: Semaphore,
}

impl Turns {
    /// As many turns at a time as there are cores, for strangers half as many.
    pub(in crate::source) fn new(cores: usize) -> Self {
        let line = Semaphore::new;
        Self { authentic: line(cores), inflating: line(cores), strangers: line((cores / 2).max(1)) }
    }

    /// Does work on a body that is authentic, of this size. Heavy work leaves the runtime's thread to
    /// the other connections; it stays in this task, so it can borrow, and a thread is made for it only
    /// then.
    pub(in crate::source) async fn authentic<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        if bytes <= QUICK_BYTES_MAX {
            return work();
        }
        in_turn(&self.authentic, work).await
    }

    /// Does work that is to tell whether a body is authentic.
    ///
    /// # Errors
    /// When too much of strangers is to be done before it.
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
        let _place = network.line.try_acquire().map_err(|_| Unavailable::Later("strangers_turn"))?;
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
        // There is no other thread to hand the connections to.
        _ => work(),
    }
}
