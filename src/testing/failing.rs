//! A state on bytes that fail as they are told.

use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use redb::{BackendError, StorageBackend};

use crate::state::State;

/// When calls fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// So many calls that take room go well, then one finds none.
    OneIn(u64),
    /// No call that takes room finds any.
    All,
    /// One fsync fails, as it can where room is only looked for when pages are written back.
    OneSync,
}

/// The bytes of a file, which fail as they are told.
#[derive(Debug)]
struct Failing {
    bytes: Box<dyn StorageBackend>,
    faults: Faults,
}

impl Failing {
    fn take_room(&self) -> io::Result<()> {
        let mut fault = self.faults.0.lock();
        *fault = match *fault {
            Fault::OneIn(0) => Fault::None,
            Fault::OneIn(left) => Fault::OneIn(left - 1),
            Fault::All => Fault::All,
            Fault::None | Fault::OneSync => return Ok(()),
        };
        if matches!(*fault, Fault::OneIn(_)) { Ok(()) } else { Err(ErrorKind::StorageFull.into()) }
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.take_room()?;
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut fault = self.faults.0.lock();
        if *fault == Fault::OneSync {
            *fault = Fault::None;
            return Err(ErrorKind::StorageFull.into());
        }
        self.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.take_room()?;
        self.bytes.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.bytes.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.bytes.try_lock_range(start, end)
    }
}

/// Makes a state's bytes fail, and work again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<Mutex<Fault>>);

impl Faults {
    pub(crate) fn set(&self, fault: Fault) {
        *self.0.lock() = fault;
    }
}

/// Opens the state file that is there.
pub(crate) fn opened(path: &Path) -> (State, Faults) {
    let faults = Faults::default();
    let told = faults.clone();
    let state = State::open_behind(path, move |bytes| Box::new(Failing { bytes, faults: told.clone() }));
    (state, faults)
}
