//! The segment that is being written.

use std::io;
use std::sync::Arc;

use super::commit_error::CommitError;
use super::pages::WholePages;
use crate::disk::named_file::NamedFile;
use crate::disk::{DiskFile, write_all_at};
use crate::spool::footer::FooterDraft;
use crate::spool::frame::Seed;

/// The segment that is being written. Its file grows with its frames, or it is a recycled one: then old
/// bytes are behind the frames, which are written over.
pub(super) struct Active {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) named: Arc<NamedFile>,
    pub(super) seed: Seed,
    /// Bytes that are durable: the next group is written here, and a failed one is cut off here.
    pub(super) durable_len: u64,
    /// The length of the file; more than `durable_len` while there are old bytes behind it.
    pub(super) file_len: u64,
    /// How the file is written over, while there are old bytes behind the durable ones.
    pub(super) pages: Option<WholePages>,
    /// What its footer will be made of.
    pub(super) draft: FooterDraft,
}

impl Active {
    /// Bytes of the file that are behind the durable ones.
    pub(super) fn old_bytes(&self) -> u64 {
        self.file_len - self.durable_len
    }

    /// The length of the file when so many more bytes are durable.
    pub(super) fn file_len_after(&self, bytes: u64) -> u64 {
        self.file_len.max(self.durable_len + bytes)
    }

    /// Writes a group behind the durable bytes, where it is not durable yet.
    pub(super) fn write(&mut self, group: &[u8]) -> io::Result<()> {
        match &mut self.pages {
            Some(pages) => pages.write(&*self.file, group, self.durable_len, self.file_len),
            None => write_all_at(&*self.file, group, self.durable_len),
        }
    }

    /// Notes that so many more bytes are durable.
    pub(super) fn extend(&mut self, bytes: u64) {
        self.file_len = self.file_len_after(bytes);
        self.durable_len += bytes;
        self.pages.take_if(|_| self.file_len == self.durable_len);
    }

    /// Cuts off what is behind the durable length, and makes the cut durable: if a power failure undid it,
    /// refused entries could come back at positions that the next segment has given to others. The file grows
    /// from now on.
    pub(super) fn cut(&mut self) -> Result<(), CommitError> {
        let cut = self.file.truncate(self.durable_len).and_then(|()| self.file.sync_data());
        cut.map_err(|error| {
            CommitError::broken(format!("cannot cut the newest segment behind its last entry: {error}"))
        })?;
        self.file_len = self.durable_len;
        self.pages = None;
        Ok(())
    }
}
