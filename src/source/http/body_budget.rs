//! The budget of bytes that all bodies in memory share.
//!
//! Each body holds as many bytes of the budget as it has, until its delivery is answered. Bodies of
//! strangers share one part of it, and the bodies of one network of strangers a part of that part: so a
//! stranger leaves memory to known networks, and to other strangers who can be authentic.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::body_error::BodyError;
use super::networks::{Network, stranger};

/// The strangers' part is the budget divided by this.
const FOR_STRANGERS: usize = 2;
/// One network's part is the strangers' part divided by this.
const FOR_ONE_NETWORK: usize = 8;
/// Bytes that each network of strangers can have even if the strangers' part is used up: nearly every
/// delivery is smaller. So strangers who fill their part do not keep out the small bodies of others.
const ALWAYS_BYTES: usize = 64 << 10;

/// The budget of bytes that all bodies in memory share.
#[derive(Debug)]
pub(in crate::source) struct BodyBudget {
    all: Semaphore,
    strangers: Semaphore,
    each_bytes_max: usize,
}

/// The bytes that one body holds of the budget; they are given back when the permit is dropped.
#[derive(Debug)]
pub(in crate::source) struct BodyPermit<'a> {
    budget: &'a BodyBudget,
    permit: Option<SemaphorePermit<'a>>,
    /// The same bytes as part of the strangers' part, until the body proves authentic.
    stranger: Option<StrangersPart<'a>>,
}

#[derive(Debug)]
struct StrangersPart<'a> {
    network: Arc<Network>,
    /// All bytes of this body.
    bytes: usize,
    /// Those of its bytes that are taken from the strangers' part; the others are within
    /// [`ALWAYS_BYTES`].
    permit: Option<SemaphorePermit<'a>>,
}

impl BodyBudget {
    /// A budget of `bytes_max`. The strangers' part is at least as large as one largest body.
    pub(in crate::source) fn new(bytes_max: usize, body_bytes_max: usize) -> Self {
        let bytes_max = bytes_max.min(Semaphore::MAX_PERMITS);
        let strangers = (bytes_max / FOR_STRANGERS).max(body_bytes_max).min(bytes_max);
        let (all, each_bytes_max) = (Semaphore::new(bytes_max), strangers / FOR_ONE_NETWORK);
        Self { all, strangers: Semaphore::new(strangers), each_bytes_max }
    }

    /// A permit of no bytes yet, for the request that the current task serves.
    pub(in crate::source) fn permit(&self) -> BodyPermit<'_> {
        let stranger = stranger().map(|network| StrangersPart { network, bytes: 0, permit: None });
        BodyPermit { budget: self, permit: None, stranger }
    }

    #[cfg(test)]
    pub(in crate::source) fn bytes_free(&self) -> usize {
        self.all.available_permits()
    }
}

impl<'a> BodyPermit<'a> {
    /// Grows the permit to this many bytes in all; a larger permit stays as it is.
    ///
    /// # Errors
    /// [`BodyError::NoMemory`] when the other bodies leave too few bytes;
    /// [`BodyError::NoMemoryForStrangers`] when those of strangers do.
    pub(in crate::source) fn grow_to(&mut self, bytes: usize) -> Result<(), BodyError> {
        let so_far = self.permit.as_ref().map_or(0, SemaphorePermit::num_permits);
        let Some(more) = bytes.checked_sub(so_far).filter(|more| *more > 0) else { return Ok(()) };
        let more_permits = u32::try_from(more).map_err(|_| BodyError::TooLarge)?;
        let budget: &'a BodyBudget = self.budget;
        let Ok(permit) = budget.all.try_acquire_many(more_permits) else {
            return Err(BodyError::NoMemory);
        };
        if let Some(stranger) = &mut self.stranger {
            stranger.grow(budget, more, more_permits)?;
        }
        add(&mut self.permit, permit);
        Ok(())
    }

    /// Notes that the body is authentic: its bytes no longer count in the strangers' part.
    pub(in crate::source) fn prove(&mut self) {
        self.stranger = None;
    }
}

impl<'a> StrangersPart<'a> {
    fn grow(&mut self, budget: &'a BodyBudget, more: usize, more_permits: u32) -> Result<(), BodyError> {
        let network = more + self.network.body_bytes.fetch_add(more, Relaxed);
        let permit = budget.strangers.try_acquire_many(more_permits).ok();
        // The only body of a network can be larger than the network's part.
        let within = network <= budget.each_bytes_max || network <= self.bytes + more;
        if !within || (permit.is_none() && network > ALWAYS_BYTES) {
            self.network.body_bytes.fetch_sub(more, Relaxed);
            return Err(BodyError::NoMemoryForStrangers);
        }
        self.bytes += more;
        if let Some(permit) = permit {
            add(&mut self.permit, permit);
        }
        Ok(())
    }
}

impl Drop for StrangersPart<'_> {
    fn drop(&mut self) {
        self.network.body_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

fn add<'a>(permit: &mut Option<SemaphorePermit<'a>>, more: SemaphorePermit<'a>) {
    match permit {
        Some(permit) => permit.merge(more),
        none => *none = Some(more),
    }
}
