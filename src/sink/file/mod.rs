//! JSON Lines on the local disk: `<dir>/<topic>/<number>.jsonl`, one structured CloudEvent a line.
//!
//! One thread does all the writing, in the order of the calls. A record is accepted once an
//! fdatasync of its file has returned; calls that wait together share one. A file only ever grows
//! by whole lines: what a crash or a full disk left of a line is cut off before the next.
//! Files are never deleted here: what is written is the reader's. The directory and each open file are
//! locked, so that nothing is cut off that another writer has just begun.

mod dir_lock;
mod topic_file;
mod writer;

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use self::dir_lock::DirLock;
pub(crate) use self::writer::FILES_OPEN_MAX;
use self::writer::Writer;
use super::in_flight::{BatchNumber, InFlight, retry};
use super::{Publication, Sink};
use crate::config::FileConfig;
use crate::event::Record;

/// Batches that may wait for the disk: the dispatcher's window, if every record were a batch.
const BATCHES_WAITING_MAX: usize = 16_384;

/// A directory of JSON Lines files as a sink.
pub struct FileSink {
    /// Held while a batch is handed over: this is what keeps calls in order.
    to_writer: Mutex<SyncSender<Work>>,
    in_flight: Arc<InFlight>,
}

/// A directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableDirectory {
    /// The system refuses it.
    #[error("directory {dir} cannot be used: {error}")]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Another sink has it: exit code 75, try again when that one has ended.
    #[error(
        "directory {0} belongs to another file sink, of this bridge or of another process: give each sink \
         a directory of its own, or end the other one"
    )]
    Taken(PathBuf),
}

/// A batch for the writer.
struct Work {
    number: BatchNumber,
    records: Vec<Arc<Record>>,
}

impl FileSink {
    /// Makes the directory if it is missing, takes it for itself and starts the writer. Blocks for some
    /// seconds if another process has the directory.
    ///
    /// # Errors
    /// When the directory cannot be made, or is another's.
    pub fn new(config: &FileConfig) -> Result<Self, UnusableDirectory> {
        let unusable = |error| UnusableDirectory::Io { dir: config.dir.clone(), error };
        topic_file::make_durable_dir(&config.dir).map_err(unusable)?;
        let lock = DirLock::take(&config.dir).map_err(unusable)?;
        let lock = lock.ok_or_else(|| UnusableDirectory::Taken(config.dir.clone()))?;
        let in_flight = Arc::new(InFlight::default());
        let (to_writer, work) = sync_channel(BATCHES_WAITING_MAX);
        let writer = Writer::new(config, Arc::clone(&in_flight));
        std::thread::Builder::new()
            .name("file-sink".into())
            .spawn(move || {
                writer.run(&work);
                // Only now: what was handed over is written to the end.
                drop(lock);
            })
            .map_err(unusable)?;
        Ok(Self { to_writer: Mutex::new(to_writer), in_flight })
    }
}

impl Sink for FileSink {
    fn publish(&self, batch: Vec<Arc<Record>>) -> Publication {
        let to_writer = self.to_writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, claim) = self.in_flight.open(&batch);
        let sent = to_writer.try_send(Work { number, records: batch });
        drop(to_writer);
        if let Err(
            TrySendError::Full(Work { records, .. }) | TrySendError::Disconnected(Work { records, .. }),
        ) = sent
        {
            for index in 0..records.len() {
                self.in_flight.settle(number, index, retry("queue_full", "the disk does not keep up"));
            }
            self.in_flight.seal(number);
        }
        claim
    }
}

/// The flags under which a symbolic link is refused, and a pipe that nobody has at its other end waits for
/// no one.
fn no_follow() -> i32 {
    (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
