//! The interface between the log and the file system.
//!
//! The log is written against [`Disk`], so that a simulated disk can cut the power at every call,
//! tear sectors and run out of space. [`RealDisk`] is the only place that uses `std::fs` for the
//! log. A [`Disk`] retries and decides nothing: a call is one system call as far as possible, and its error
//! is returned as it is. The loops over short writes and reads are functions on top of it.

pub(crate) mod named_file;
pub(crate) mod outstanding;

use parking_lot::Mutex;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, FsWord, OFlags, StatxFlags, makedev};
use rustix::io::Errno;

pub use crate::files::FileId;
use crate::files::{attempt_for, has_lock};

/// A file system, as far as the log needs one.
pub trait Disk: Send + Sync + 'static {
    /// Makes the directory and its missing ancestors, for this user alone, and makes the new entries
    /// durable.
    fn create_dirs(&self, dir: &Path) -> io::Result<()>;
    /// Makes a file that must not exist yet, for this user alone, open for reading and writing.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading only.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// The names of the files in a directory, in no order; names that are not UTF-8 are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Takes a file's entry out of its directory. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the directory's entries durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Opens the directory for good, so that making its entries durable needs no descriptor that
    /// others have taken by then.
    fn hold_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
    /// The free bytes and inodes of the directory's file system, for this process.
    fn free(&self, dir: &Path) -> io::Result<Free>;
    /// The identity and length of what has this name now: the entry itself, not a symbolic link's target.
    fn look(&self, path: &Path) -> io::Result<Look>;
    /// The identity of the directory that this path leads to now, also through a symbolic link.
    fn dir_id(&self, dir: &Path) -> io::Result<FileId>;
    /// Gives a file a second name, which must not exist yet. Durable after [`Disk::sync_dir`].
    fn link(&self, path: &Path, second: &Path) -> io::Result<()>;
    /// Gives a file another name, and replaces what has that name. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Whether the directory's file system writes over bytes of a file where they are. Where it does, a file
    /// that is written over needs no new blocks, and syncing its data no other metadata.
    fn rewrites_in_place(&self, _dir: &Path) -> io::Result<bool> {
        Ok(false)
    }
    /// Takes the exclusive lock on a file, which is made if it is missing. `None` if another
    /// process holds it. The lock lasts until the returned value is dropped or the process ends.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>>;
    /// Takes a lock for reading on an existing file, which need not be writable; `NotFound` if there is no
    /// such file. A disk whose locks are no files takes the exclusive lock.
    fn lock_existing(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.lock(path)
    }
}

/// An open file. Reads and writes name their offset, so that a file can be shared.
pub trait DiskFile: Send + Sync {
    /// Writes some of the bytes at the offset and says how many: fewer than asked is normal.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Reads some bytes from the offset and says how many: 0 only at the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes the data, and the length needed to read it, durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Makes data and all metadata durable (fsync).
    fn sync_all(&self) -> io::Result<()>;
    /// Sets the file's length.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// The file's identity, whatever its name is by now.
    fn id(&self) -> io::Result<FileId>;
    /// Lets the system drop what it has of the file in memory, because it is not read again soon. A hint.
    fn drop_cached(&self) {}
    /// Whether the file holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
}

/// A lock on a directory, held until it is dropped.
pub trait DiskLock: Send + Sync {
    /// The identity of the locked file; `None` if the disk's locks are no files.
    fn id(&self) -> io::Result<Option<FileId>>;
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The identity of the file.
    pub id: FileId,
    /// The file's length in bytes.
    pub len: u64,
    /// How many names the file has.
    pub names: u64,
}

/// The free space of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// Bytes that this process can still allocate.
    pub bytes: u64,
    /// Files that can still be made; `None` if the file system has no such bound.
    pub inodes: Option<u64>,
}

/// The file systems that write in place, by the magic number that statfs(2) tells: ext2 to ext4, and XFS.
/// Others copy on write (btrfs, ZFS), keep no blocks of their own (overlay), have no disk (tmpfs) or have it
/// elsewhere (NFS).
const REWRITES_IN_PLACE: [FsWord; 2] = [0xef53, 0x5846_5342];

/// The disk of this machine.
#[derive(Debug, Default)]
pub struct RealDisk {
    lock_wait: Duration,
    /// The spool's directory, which stays open.
    held: Mutex<Option<HeldDir>>,
}

/// An open directory, and the path under which it was opened.
#[derive(Debug)]
struct HeldDir {
    path: PathBuf,
    dir: File,
}

impl HeldDir {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), dir: File::open(path)? })
    }

    /// Whether the path still leads to this directory, and not to one that has replaced it.
    fn is(&self, path: &Path) -> io::Result<bool> {
        if self.path != path {
            return Ok(false);
        }
        Ok(FileId::behind(path)? == FileId::of(&self.dir)?)
    }
}

impl RealDisk {
    /// A disk that waits this long for a lock that another process holds, as in a rolling update
    /// where the old process is still shutting down. The default does not wait.
    pub fn waiting(lock_wait: Duration) -> Self {
        Self { lock_wait, held: Mutex::default() }
    }
}

impl Disk for RealDisk {
    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> =
            dir.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        for made in missing {
            File::open(parent(made))?.sync_all()?;
        }
        Ok(())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        open(OpenOptions::new().read(true).write(true).create_new(true).mode(0o600), path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        open(OpenOptions::new().read(true).write(true), path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        open(OpenOptions::new().read(true), path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match self.held.lock().as_ref() {
            Some(held) if held.is(dir)? => held.dir.sync_all(),
            _ => File::open(dir)?.sync_all(),
        }
    }

    fn hold_dir(&self, dir: &Path) -> io::Result<()> {
        *self.held.lock() = Some(HeldDir::open(dir)?);
        Ok(())
    }

    fn free(&self, dir: &Path) -> io::Result<Free> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(Free {
            bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            // File systems without a fixed table of inodes (btrfs) report zero of them.
            inodes: (stat.f_files > 0).then_some(stat.f_favail),
        })
    }

    fn look(&self, path: &Path) -> io::Result<Look> {
        // Without its times: since Linux 6.13 a file whose times were asked for gets new ones with its very
        // next write, and on ext4 without a journal new times are a second write of each fdatasync.
        let wanted = StatxFlags::INO | StatxFlags::NLINK | StatxFlags::SIZE;
        match rustix::fs::statx(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted) {
            Ok(found) => Ok(Look {
                id: FileId {
                    device: makedev(found.stx_dev_major, found.stx_dev_minor),
                    inode: found.stx_ino,
                },
                len: found.stx_size,
                names: found.stx_nlink.into(),
            }),
            // A sandbox that knows no statx.
            Err(Errno::NOSYS | Errno::PERM) => {
                let metadata = fs::symlink_metadata(path)?;
                Ok(Look { id: FileId::from(&metadata), len: metadata.len(), names: metadata.nlink() })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn dir_id(&self, dir: &Path) -> io::Result<FileId> {
        FileId::behind(dir)
    }

    fn link(&self, path: &Path, second: &Path) -> io::Result<()> {
        fs::hard_link(path, second)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rewrites_in_place(&self, dir: &Path) -> io::Result<bool> {
        Ok(REWRITES_IN_PLACE.contains(&rustix::fs::statfs(dir)?.f_type))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = open_itself(&mut options, path)?;
        self.lock_file(file, File::try_lock)
    }

    fn lock_existing(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        // Over NFS an exclusive lock needs a writable file; a shared one keeps a writer out as well.
        self.lock_file(open_itself(OpenOptions::new().read(true), path)?, File::try_lock_shared)
    }
}

impl RealDisk {
    fn lock_file(
        &self,
        file: File,
        try_lock: fn(&File) -> Result<(), TryLockError>,
    ) -> io::Result<Option<Box<dyn DiskLock>>> {
        let locked = attempt_for(self.lock_wait, || Ok(has_lock(try_lock(&file))?.then_some(())))?;
        Ok(locked.map(|()| Box::new(FileLock(file)) as _))
    }
}

fn open(options: &mut OpenOptions, path: &Path) -> io::Result<Box<dyn DiskFile>> {
    Ok(Box::new(RealFile(open_itself(options, path)?)))
}

/// Opens the regular file that has this name. Refuses a symbolic link, whose target can be anybody's file,
/// and anything that is no regular file, because opening it can wait for ever.
pub(crate) fn open_itself(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = options.custom_flags(flags.bits().cast_signed()).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
        true => io::Error::new(error.kind(), "it is a symbolic link: put the file itself in its place"),
        false => error,
    })?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file: remove it from the spool's directory")),
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

pub(crate) struct RealFile(pub(crate) File);

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn id(&self) -> io::Result<FileId> {
        FileId::of(&self.0)
    }

    fn drop_cached(&self) {
        // Whether the system takes the hint makes no difference to what is read.
        let _ = rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// A locked file. The kernel releases the lock when the last handle of the open file is closed.
struct FileLock(File);

impl DiskLock for FileLock {
    fn id(&self) -> io::Result<Option<FileId>> {
        FileId::of(&self.0).map(Some)
    }
}

/// Whether a write failed for want of space, and not because the disk is broken: no space, a quota, a bound
/// on the size of files, or a write that takes no bytes.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge | WriteZero)
}

/// Writes all the bytes at the offset, in as many writes as that takes.
pub(crate) fn write_all_at(file: &dyn DiskFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Bytes of one page: if a sector cannot be read, its page counts as lost.
const PAGE_BYTES: usize = 4096;

/// Fills the buffer from the offset and returns how many bytes there were before the end of the file.
///
/// A page that the disk cannot read (EIO) is filled with zeros: no frame verifies there, so the damage is
/// found and counted like any other, and one bad sector does not make the other pages unreadable.
pub(crate) fn read_full_at(file: &dyn DiskFile, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    match read_until_end(file, bytes, offset) {
        Err(error) if is_unreadable(&error) => {}
        result => return result,
    }
    let mut total = 0;
    for page in bytes.chunks_mut(PAGE_BYTES) {
        let wanted = page.len();
        let read = match read_until_end(file, page, offset + total as u64) {
            Err(error) if is_unreadable(&error) => {
                page.fill(0);
                wanted
            }
            result => result?,
        };
        total += read;
        if read < wanted {
            break;
        }
    }
    Ok(total)
}

fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

fn read_until_end(file: &dyn DiskFile, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Makes a write beyond RLIMIT_FSIZE an error (EFBIG) instead of a signal that kills the process. Call it
/// once, inside the tokio runtime, before the first append.
pub fn survive_file_size_limit() -> io::Result<()> {
    // The number of SIGXFSZ on every Linux but MIPS and PA-RISC. The process keeps it caught after
    // the returned stream is dropped.
    const SIGXFSZ: i32 = 25;
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(SIGXFSZ)).map(drop)
}

#[cfg(test)]
mod tests;
