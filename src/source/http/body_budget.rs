//! The memory that all bodies share.
//!
//! Each holds its bytes' share of one budget until it is answered. Bodies of strangers have a part of
//! it among themselves, and those of one network of strangers a part of that: whoever sends without
//! being known leaves room for who is, and for who may yet turn out to be.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::body_error::BodyError;
use super::networks::{Network, stranger};

/// The part of the memory for strangers: one in so many.
const FOR_STRANGERS: usize = 2;
/// The part of that for one network: one in so many.
const FOR_ONE_NETWORK: usize = 8;
/// What a network of strangers may have in any case, beside what others have taken: as much as nearly
/// every delivery takes. So those who fill the strangers' part keep nobody out.
const ALWAYS_BYTES: usize = 64 << 10;

/// The memory that all bodies share.
#[derive(Debug)]
pub(in crate::source) struct BodyBudget {
    all: Semaphore,
    strangers: Semaphore,
    each_bytes_max: usize,
}

/// A body's share of the memory; given back when dropped.
#[derive(Debug)]
pub(in crate::source) struct BodyPermit<'a> {
    memory: &'a BodyBudget,
    held: Option<SemaphorePermit<'a>>,
    /// The same bytes once more, as long as a stranger holds them.
    stranger: Option<StrangersPart<'a>>,
}

#[derive(Debug)]
struct StrangersPart<'a> {
    network: Arc<Network>,
    /// All that it has.
    bytes: usize,
    /// What of it is of the strangers' part.
    held: Option<SemaphorePermit<'a>>,
}

impl BodyBudget {
    /// So many bytes, of which strangers may have their part, or as many as the largest body takes.
    pub(in crate::source) fn new(bytes_max: usize, body_bytes_max: usize) -> Self {
        let bytes_max = bytes_max.min(Semaphore::MAX_PERMITS);
        let strangers = (bytes_max / FOR_STRANGERS).max(body_bytes_max).min(bytes_max);
        let (all, each_bytes_max) = (Semaphore::new(bytes_max), strangers / FOR_ONE_NETWORK);
        Self { all, strangers: Semaphore::new(strangers), each_bytes_max }
    }

    /// Nothing yet, for the request at hand.
    pub(in crate::source) fn share(&self) -> BodyPermit<'_> {
        let stranger = stranger().map(|network| StrangersPart { network, bytes: 0, held: None });
        BodyPermit { memory: self, held: None, stranger }
    }

    #[cfg(test)]
    pub(in crate::source) fn bytes_free(&self) -> usize {
        self.all.available_permits()
    }
}

impl<'a> BodyPermit<'a> {
    /// Grows the share to this many bytes in all; one that is larger already stays.
    ///
    /// # Errors
    /// [`BodyError::NoMemory`] when the other bodies leave no room.
    pub(in crate::source) fn grow_to(&mut self, bytes: usize) -> Result<(), BodyError> {
        let held = self.held.as_ref().map_or(0, SemaphorePermit::num_permits);
        let Some(more) = bytes.checked_sub(held).filter(|more| *more > 0) else { return Ok(()) };
        let more_permits = u32::try_from(more).map_err(|_| BodyError::TooLarge)?;
        let memory: &'a BodyBudget = self.memory;
        let Ok(permit) = memory.all.try_acquire_many(more_permits) else {
            return Err(BodyError::NoMemory);
        };
        if let Some(stranger) = &mut self.stranger {
            stranger.grow(memory, more, more_permits)?;
        }
        add(&mut self.held, permit);
        Ok(())
    }

    /// The body is authentic: strangers have its room again.
    pub(in crate::source) fn prove(&mut self) {
        self.stranger = None;
    }
}

impl<'a> StrangersPart<'a> {
    fn grow(&mut self, memory: &'a BodyBudget, more: usize, more_permits: u32) -> Result<(), BodyError> {
        let network = more + self.network.body_bytes.fetch_add(more, Relaxed);
        let permit = memory.strangers.try_acquire_many(more_permits).ok();
        // A single body may be larger than the part of its network.
        let within = network <= memory.each_bytes_max || network <= self.bytes + more;
        if !within || (permit.is_none() && network > ALWAYS_BYTES) {
            self.network.body_bytes.fetch_sub(more, Relaxed);
            return Err(BodyError::NoMemoryForStrangers);
        }
        self.bytes += more;
        if let Some(permit) = permit {
            add(&mut self.held, permit);
        }
        Ok(())
    }
}

impl Drop for StrangersPart<'_> {
    fn drop(&mut self) {
        self.network.body_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

fn add<'a>(held: &mut Option<SemaphorePermit<'a>>, more: SemaphorePermit<'a>) {
    match held {
        Some(permit) => permit.merge(more),
        none => *none = Some(more),
    }
}
