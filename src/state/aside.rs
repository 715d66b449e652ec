//! A storage for a file that is only read: everything that is written to it stays in memory.
//!
//! A database that was not closed in order has to be repaired before it can be read. With this storage the
//! repair is made in memory, and the file is not changed.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use redb::StorageBackend;

use super::storage::Opener;
use crate::disk::open_itself;

const PAGE_BYTES: usize = 4096;

type Page = Box<[u8; PAGE_BYTES]>;

/// An opener of a file, which need not be writable.
pub(super) fn file(path: &Path) -> io::Result<Opener> {
    let file = open_itself(OpenOptions::new().read(true), path)?;
    Ok(Box::new(move || {
        let len = file.metadata()?.len();
        let changed = Changed { len, of_file: len, pages: BTreeMap::new() };
        Ok(Box::new(Aside { file: file.try_clone()?, changed: Mutex::new(changed) }))
    }))
}

#[derive(Debug)]
struct Aside {
    file: File,
    changed: Mutex<Changed>,
}

/// The difference between the storage and the file.
#[derive(Debug)]
struct Changed {
    len: u64,
    /// Bytes from the start that are the file's unless a page has replaced them; those behind are zero.
    of_file: u64,
    pages: BTreeMap<u64, Page>,
}

impl Aside {
    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock()
    }

    /// The content of a page before any write to it.
    fn unchanged(&self, number: u64, of_file: u64) -> io::Result<Page> {
        let mut page = Box::new([0; PAGE_BYTES]);
        let start = number * PAGE_BYTES as u64;
        let there = usize::try_from(of_file.saturating_sub(start)).unwrap_or(PAGE_BYTES).min(PAGE_BYTES);
        self.file.read_exact_at(&mut page[..there], start)?;
        Ok(page)
    }
}

impl Changed {
    /// The pages that hold these bytes: the number of each, and where the bytes in it begin and end.
    fn parts(&self, offset: u64, len: usize) -> io::Result<Vec<(u64, usize, usize)>> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.len);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let page_bytes = PAGE_BYTES as u64;
        let part = |number: u64| {
            let within =
                |at: u64| (at.max(number * page_bytes) - number * page_bytes).min(page_bytes) as usize;
            (number, within(offset), within(end))
        };
        Ok((offset / page_bytes..end.div_ceil(page_bytes)).map(part).collect())
    }
}

impl StorageBackend for Aside {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changed().len)
    }

    fn read(&self, offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        let changed = self.changed();
        for (number, from, to) in changed.parts(offset, out.len())? {
            let (now, rest) = out.split_at_mut(to - from);
            match changed.pages.get(&number) {
                Some(page) => now.copy_from_slice(&page[from..to]),
                None => now.copy_from_slice(&self.unchanged(number, changed.of_file)?[from..to]),
            }
            out = rest;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changed = self.changed();
        if len < changed.len {
            let last = len / PAGE_BYTES as u64;
            changed.pages.split_off(&(last + 1));
            if let Some(page) = changed.pages.get_mut(&last) {
                page[(len % PAGE_BYTES as u64) as usize..].fill(0);
            }
            changed.of_file = changed.of_file.min(len);
        }
        changed.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, mut data: &[u8]) -> io::Result<()> {
        let mut changed = self.changed();
        for (number, from, to) in changed.parts(offset, data.len())? {
            if !changed.pages.contains_key(&number) {
                let page = self.unchanged(number, changed.of_file)?;
                changed.pages.insert(number, page);
            }
            let (now, rest) = data.split_at(to - from);
            if let Some(page) = changed.pages.get_mut(&number) {
                page[from..to].copy_from_slice(now);
            }
            data = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the same calls on bytes in memory.
        #[test]
        fn it_reads_as_a_file_would_and_the_file_stays(
            calls in prop::collection::vec((0..3_u8, 0..20_000_u64, 0..9_000_usize), 1..20),
        ) {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("file");
            let content: Vec<u8> = (0..10_000_u32).map(|n| (n % 251) as u8).collect();
            std::fs::write(&path, &content).expect("written");
            let aside = file(&path).expect("readable")().expect("open");
            let mut expected = content.clone();
            for (call, at, len) in calls {
                let start = at as usize;
                let inside = start + len <= expected.len();
                match call {
                    0 => {
                        expected.resize(start, 0);
                        aside.set_len(at).expect("any length");
                    }
                    1 => {
                        let data = vec![call + 100; len];
                        prop_assert_eq!(aside.write(at, &data).is_ok(), inside);
                        if inside {
                            expected[start..start + len].copy_from_slice(&data);
                        }
                    }
                    _ => {
                        let mut found = vec![0; len];
                        prop_assert_eq!(aside.read(at, &mut found).is_ok(), inside);
                        prop_assert!(!inside || found == expected[start..start + len]);
                    }
                }
            }
            let mut found = vec![0; expected.len()];
            aside.read(0, &mut found).expect("all of it");
            prop_assert!(found == expected);
            prop_assert!(std::fs::read(&path).expect("readable") == content);
        }
    }
}
