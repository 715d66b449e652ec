//! Writes JSON Lines to the local disk: `<dir>/<topic>/<number>.jsonl`, one structured CloudEvent per
//! line.
//!
//! One thread writes all files, in the order of the calls. A record is accepted once an fdatasync of
//! its file has returned; batches that wait together share one. A file grows by whole lines only: an
//! unfinished line that a crash or a full disk left is cut off before the next line is written.
//! fanbridge never deletes these files: their reader does. The directory and each open file are
//! locked, so that no line of another writer is cut off.

mod dir_lock;
mod new_directories;
pub mod options;
mod topic_file;
mod writer;

use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use self::dir_lock::DirLock;
pub(crate) use self::writer::FILES_OPEN_MAX;
use self::writer::FileWriter;
use super::outcomes::{BatchNumber, OutcomeTable};
use super::{CarriedAttributes, Cause, Outcome, Publication, Sink};
use crate::event::Record;

/// Most batches that wait for the disk: more than the dispatcher's window holds, even at one record
/// each.
const BATCHES_WAITING_MAX: usize = 16_384;

/// A directory of JSON Lines files as a sink.
pub struct FileSink {
    /// One lock while a batch is handed over: two concurrent calls keep their order.
    to_writer: Mutex<SyncSender<Work>>,
    outcomes: Arc<OutcomeTable>,
}

/// Why a file sink's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableDirectory {
    /// The system reported an error.
    #[error("the file sink's directory {dir} cannot be used: {error}")]
    Io {
        /// Path from the sink's `dir`.
        dir: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// Another file sink has the directory. The process ends with exit code 75: start it again when
    /// the other sink has ended.
    #[error(
        "directory {0} is in use by another file sink, of this bridge or of another process: give each file \
         sink a directory of its own, or end the other process"
    )]
    Taken(PathBuf),
}

/// A batch for the writer.
struct Work {
    number: BatchNumber,
    records: Vec<Arc<Record>>,
}

impl FileSink {
    /// Makes the directory if it is missing, locks it and starts the writer. Blocks for up to two
    /// seconds if another process has the directory.
    ///
    /// # Errors
    /// When the directory cannot be made or used, or another file sink has it.
    pub fn new(config: &FileSinkOptions, carried: &CarriedAttributes) -> Result<Self, UnusableDirectory> {
        let unusable = |error| UnusableDirectory::Io { dir: config.dir.clone(), error };
        Self::make_dir(config)?;
        let lock = DirLock::take(&config.dir).map_err(unusable)?;
        let lock = lock.ok_or_else(|| UnusableDirectory::Taken(config.dir.clone()))?;
        let outcomes = Arc::new(OutcomeTable::default());
        let (to_writer, work) = sync_channel(BATCHES_WAITING_MAX);
        let writer = FileWriter::new(config, carried.clone(), Arc::clone(&outcomes));
        std::thread::Builder::new()
            .name("file-sink".into())
            .spawn(move || {
                writer.run(&work);
                // The lock is held until every batch that was handed over is written.
                drop(lock);
            })
            .map_err(unusable)?;
        Ok(Self { to_writer: Mutex::new(to_writer), outcomes })
    }

    /// Makes the directory if it is missing, and takes no lock: another file sink can have it.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn make_dir(config: &FileSinkOptions) -> Result<(), UnusableDirectory> {
        let unusable = |error| UnusableDirectory::Io { dir: config.dir.clone(), error };
        topic_file::make_durable_dir(&config.dir).map_err(unusable)
    }
}

impl Sink for FileSink {
    fn publish(&self, batch: Vec<Arc<Record>>) -> Publication {
        let to_writer = self.to_writer.lock();
        let (number, publication) = self.outcomes.open(&batch);
        let sent = to_writer.try_send(Work { number, records: batch });
        drop(to_writer);
        if let Err(
            TrySendError::Full(Work { records, .. }) | TrySendError::Disconnected(Work { records, .. }),
        ) = sent
        {
            for index in 0..records.len() {
                let outcome = Outcome::retry(Cause::QUEUE_FULL, "the disk is slower than the records arrive");
                self.outcomes.settle(number, index, outcome);
            }
            self.outcomes.seal(number);
        }
        publication
    }
}

/// Open flags that refuse a symbolic link, and do not wait for the other end of a named pipe.
fn no_follow() -> i32 {
    (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use new_directories::NewDirectories;
pub use options::FileSinkOptions;
