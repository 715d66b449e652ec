//! A disk in memory that loses what was not synced, as real ones may.
//!
//! Until a file is synced, each 512-byte sector that was written may come out of a power cut as it was, as
//! any of the versions written since, as the beginning of one and the end of another, as zeros or as garbage,
//! and the length as any it had. What a sector was is what the file held there at its last sync: in a file
//! that is written over, bytes of its former life. Names made or removed may or may not be there until the
//! directory is synced. Every call that changes something is counted, and the power can be cut at any of
//! them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use fanbridge::disk::{Disk, DiskFile, DiskLock, FileId, Free, Look};

pub const SECTOR: usize = 512;

pub const ENOSPC: i32 = 28;
pub const EINTR: i32 = 4;
pub const EIO: i32 = 5;
pub const EPERM: i32 = 1;
pub const EACCES: i32 = 13;
pub const EMLINK: i32 = 31;
pub const EOPNOTSUPP: i32 = 95;
pub const ESTALE: i32 = 116;
pub const EFBIG: i32 = 27;
pub const EROFS: i32 = 30;
pub const ENFILE: i32 = 23;
pub const EMFILE: i32 = 24;
pub const ENOMEM: i32 = 12;

/// The calls that faults can be planned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Create,
    Write,
    Truncate,
    Sync,
    SyncDir,
    Remove,
    Read,
    Look,
    Free,
    Link,
    Rename,
}

/// What a power cut makes of what was not synced.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Old,
    New,
    Zero,
    Garbage,
    /// The sector is new up to a byte, and old from there on.
    Torn,
    Mixed,
}

/// A small generator of numbers: the same seed, the same run.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides.max(1)
    }
}

#[derive(Default)]
struct Inode {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// What the file held after each change since the last sync.
    snapshots: Vec<Vec<u8>>,
    /// The sectors that were changed since the last sync.
    touched: BTreeSet<usize>,
}

impl Inode {
    /// Notes that the bytes of a range have changed.
    fn note(&mut self, from: usize, to: usize) {
        self.snapshots.push(self.current.clone());
        self.touched.extend(from / SECTOR..to.div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        self.durable.clone_from(&self.current);
        self.snapshots.clear();
        self.touched.clear();
    }

    fn crash(&mut self, fate: Fate, dice: &mut Dice) {
        self.current = match fate {
            _ if self.snapshots.is_empty() => self.durable.clone(),
            Fate::Old => self.durable.clone(),
            Fate::New => self.current.clone(),
            // The changes got to the disk in order, up to one of them.
            Fate::Mixed if dice.roll(3) == 0 => self.snapshot(dice).clone(),
            Fate::Zero | Fate::Garbage | Fate::Torn | Fate::Mixed => self.scramble(fate, dice),
        };
        self.sync();
    }

    fn snapshot(&self, dice: &mut Dice) -> &Vec<u8> {
        &self.snapshots[dice.roll(self.snapshots.len() as u64) as usize]
    }

    /// Each sector goes its own way.
    fn scramble(&self, fate: Fate, dice: &mut Dice) -> Vec<u8> {
        let mut after = self.durable.clone();
        after.resize(self.length_after(fate, dice), 0);
        for &sector in &self.touched {
            let one = match fate {
                Fate::Mixed => {
                    let all = [Fate::Old, Fate::New, Fate::New, Fate::Zero, Fate::Garbage, Fate::Torn];
                    all[dice.roll(6) as usize]
                }
                fate => fate,
            };
            let picked = self.snapshot(dice);
            let torn_at = sector * SECTOR + dice.roll(SECTOR as u64) as usize;
            for at in sector * SECTOR..((sector + 1) * SECTOR).min(after.len()) {
                let kept = self.durable.get(at);
                // A byte that nobody changed is on the disk, whatever becomes of its sector.
                if kept.is_some() && self.snapshots.iter().all(|snapshot| snapshot.get(at) == kept) {
                    continue;
                }
                after[at] = match one {
                    Fate::Old => continue,
                    Fate::Torn if at >= torn_at => continue,
                    Fate::New | Fate::Torn => picked.get(at).copied().unwrap_or(0),
                    Fate::Zero => 0,
                    Fate::Garbage | Fate::Mixed => dice.roll(256) as u8,
                };
            }
        }
        after
    }

    fn length_after(&self, fate: Fate, dice: &mut Dice) -> usize {
        let kept = self.durable.len();
        match fate {
            Fate::Mixed => match dice.roll(3) {
                0 => kept,
                1 => self.snapshot(dice).len(),
                _ => {
                    let longest = self.snapshots.iter().map(Vec::len).max().unwrap_or(kept).max(kept);
                    kept + dice.roll((longest - kept) as u64 + 1) as usize
                }
            },
            _ => self.current.len(),
        }
    }
}

#[derive(Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    made: u64,
    calls: u64,
    cut_at: Option<u64>,
    dead: bool,
    /// Which power-up it is: what was opened before a power cut stays dead.
    boot: u64,
    locks: BTreeSet<PathBuf>,
    faults: BTreeMap<Call, VecDeque<i32>>,
    capacity: Option<u64>,
    free_inodes: Option<u64>,
    short_writes: bool,
    /// Whether bytes are written where they are.
    in_place: bool,
    renames: u64,
    /// What comes in between when a file is read the next time.
    before_read: Option<Box<dyn FnOnce() + Send>>,
    /// The name of a thread whose reads fail with this error or, without one, do not return.
    bad_reader: Option<(&'static str, Option<i32>)>,
    /// How many reads failed or waited for that reason.
    bad_reads: usize,
    /// How many bytes were read.
    bytes_read: u64,
}

impl State {
    /// One call that changes something: the power may go, or a planned fault come.
    fn step(&mut self, call: Call, boot: u64) -> io::Result<()> {
        self.alive(boot)?;
        self.calls += 1;
        if self.cut_at == Some(self.calls) {
            self.dead = true;
        }
        self.alive(boot)?;
        self.fault(call)
    }

    fn alive(&self, boot: u64) -> io::Result<()> {
        if self.dead || boot != self.boot { Err(io::Error::other("no power")) } else { Ok(()) }
    }

    fn fault(&mut self, call: Call) -> io::Result<()> {
        match self.faults.get_mut(&call).and_then(VecDeque::pop_front) {
            Some(0) | None => Ok(()),
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn used(&self) -> u64 {
        let inodes: BTreeSet<u64> = self.names.values().copied().collect();
        inodes.iter().map(|inode| self.inodes[inode].current.len() as u64).sum()
    }

    fn room(&self) -> u64 {
        self.capacity.map_or(u64::MAX / 2, |capacity| capacity.saturating_sub(self.used()))
    }

    fn inode(&mut self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the simulated disk")
    }

    /// How many calls have changed something.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// How many files got another name.
    pub fn renames(&self) -> u64 {
        self.state().renames
    }

    /// Cuts the power at that call, counted from now; it has no effect any more.
    pub fn cut_power_at(&self, call: u64) {
        let mut state = self.state();
        state.cut_at = Some(state.calls + call);
    }

    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// The power is gone, if it was not before, and comes back.
    pub fn crash(&self, fate: Fate, dice: &mut Dice) {
        let mut state = self.state();
        let state = &mut *state;
        let all: BTreeSet<PathBuf> = state.names.keys().chain(state.durable_names.keys()).cloned().collect();
        for name in all {
            let (old, new) = (state.durable_names.get(&name).copied(), state.names.get(&name).copied());
            let keep_new = match fate {
                Fate::Old => false,
                Fate::New | Fate::Zero | Fate::Garbage | Fate::Torn => true,
                Fate::Mixed => dice.roll(2) == 0,
            };
            match if keep_new { new } else { old } {
                Some(inode) => state.names.insert(name, inode),
                None => state.names.remove(&name),
            };
        }
        state.inodes.values_mut().for_each(|inode| inode.crash(fate, dice));
        state.durable_names = state.names.clone();
        state.dead = false;
        state.cut_at = None;
        state.restart();
    }

    /// The process is killed: the page cache stays, handles and locks go.
    pub fn kill(&self) {
        self.state().restart();
    }

    /// Forgets what was planned.
    pub fn unplan(&self) {
        self.state().faults.clear();
    }

    /// Plans what the next calls of a kind return; 0 lets one pass.
    pub fn plan(&self, call: Call, errnos: &[i32]) {
        self.state().faults.entry(call).or_default().extend(errnos);
    }

    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.state().capacity = capacity;
    }

    pub fn set_free_inodes(&self, inodes: Option<u64>) {
        self.state().free_inodes = inodes;
    }

    pub fn write_short(&self) {
        self.state().short_writes = true;
    }

    /// Lets no read of the threads of this name succeed: each fails with the error or, without one, waits
    /// until that is over.
    pub fn fail_reads_of(&self, thread: &'static str, errno: Option<i32>) {
        self.state().bad_reader = Some((thread, errno));
    }

    /// Ends that.
    pub fn mend_reads(&self) {
        self.state().bad_reader = None;
    }

    /// How many reads have failed or waited for that reason.
    pub fn bad_reads(&self) -> usize {
        self.state().bad_reads
    }

    /// How many bytes were read from all files.
    pub fn bytes_read(&self) -> u64 {
        self.state().bytes_read
    }

    /// The disk writes over bytes where they are, so that files of former segments are used again.
    pub fn write_in_place(&self) {
        self.state().in_place = true;
    }

    /// What comes in between when a file is read the next time, after it was opened.
    pub fn before_next_read(&self, before: impl FnOnce() + Send + 'static) {
        self.state().before_read = Some(Box::new(before));
    }

    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// The segment files, by name.
    pub fn segments(&self) -> Vec<PathBuf> {
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|is| is == "log");
        self.logs().into_iter().filter(is_segment).collect()
    }

    /// The segment files and the spare, by name.
    pub fn logs(&self) -> Vec<PathBuf> {
        let state = self.state();
        let is_log = |path: &&PathBuf| path.extension().is_some_and(|is| is == "log" || is == "spare");
        state.names.keys().filter(is_log).cloned().collect()
    }

    pub fn contents(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.inodes[&state.names[path]].current.clone()
    }

    pub fn has(&self, path: &Path) -> bool {
        self.state().names.contains_key(path)
    }

    /// Changes a file behind everybody's back, durably.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let inode = state.names[path];
        let inode = state.inodes.get_mut(&inode).expect("a name has its inode");
        change(&mut inode.current);
        inode.sync();
    }

    /// Takes a file away behind everybody's back, durably.
    pub fn lose(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    /// Puts a file there behind everybody's back, durably.
    pub fn put(&self, path: &Path, contents: Vec<u8>) {
        let mut state = self.state();
        state.made += 1;
        let number = state.made;
        state
            .inodes
            .insert(number, Inode { durable: contents.clone(), current: contents, ..Inode::default() });
        state.names.insert(path.to_owned(), number);
        state.durable_names.insert(path.to_owned(), number);
    }
}

impl State {
    fn restart(&mut self) {
        self.boot += 1;
        self.locks.clear();
        self.faults.clear();
    }
}

impl SimDisk {
    fn pass_reader(&self) -> io::Result<()> {
        let this = std::thread::current();
        let is_bad = || {
            let mut state = self.state();
            let (_, errno) = state.bad_reader.filter(|(thread, _)| this.name() == Some(*thread))?;
            state.bad_reads += 1;
            Some(errno)
        };
        while let Some(errno) = is_bad() {
            if let Some(errno) = errno {
                return Err(io::Error::from_raw_os_error(errno));
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn create_dirs(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let boot = state.boot;
        state.step(Call::Create, boot)?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.free_inodes == Some(0) {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        state.made += 1;
        let inode = state.made;
        state.inodes.insert(inode, Inode::default());
        state.names.insert(path.to_owned(), inode);
        Ok(Box::new(SimFile { disk: self.clone(), inode, boot }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let boot = state.boot;
        state.alive(boot)?;
        let inode = state.inode(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode, boot }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive(state.boot)?;
        let inside = state.names.keys().filter_map(|path| path.strip_prefix(dir).ok());
        Ok(inside.map(|name| name.display().to_string()).collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let boot = state.boot;
        state.step(Call::Remove, boot)?;
        state.names.remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let boot = state.boot;
        state.step(Call::SyncDir, boot)?;
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn free(&self, _dir: &Path) -> io::Result<Free> {
        let mut state = self.state();
        state.fault(Call::Free)?;
        Ok(Free { bytes: state.room(), inodes: state.free_inodes })
    }

    fn look(&self, path: &Path) -> io::Result<Look> {
        let mut state = self.state();
        state.alive(state.boot)?;
        state.fault(Call::Look)?;
        let inode = state.inode(path)?;
        let names = state.names.values().filter(|other| **other == inode).count() as u64;
        Ok(Look { id: id(inode), len: state.inodes[&inode].current.len() as u64, names })
    }

    fn dir_id(&self, _dir: &Path) -> io::Result<FileId> {
        Ok(id(0))
    }

    fn link(&self, path: &Path, second: &Path) -> io::Result<()> {
        let mut state = self.state();
        let boot = state.boot;
        state.step(Call::Link, boot)?;
        let inode = state.inode(path)?;
        if state.names.contains_key(second) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.names.insert(second.to_owned(), inode);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let boot = state.boot;
        state.step(Call::Rename, boot)?;
        let inode = state.inode(from)?;
        // As rename(2): between two names of one file it does nothing.
        if state.names.get(to) != Some(&inode) {
            state.renames += 1;
            state.names.remove(from);
            state.names.insert(to.to_owned(), inode);
        }
        Ok(())
    }

    fn rewrites_in_place(&self, _dir: &Path) -> io::Result<bool> {
        Ok(self.state().in_place)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut state = self.state();
        let boot = state.boot;
        state.alive(boot)?;
        let taken = state.locks.insert(path.to_owned());
        Ok(taken.then(|| Box::new(SimLock { disk: self.clone(), path: path.to_owned(), boot }) as _))
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    boot: u64,
}

impl DiskLock for SimLock {
    fn id(&self) -> io::Result<Option<FileId>> {
        Ok(None)
    }
}

fn id(inode: u64) -> FileId {
    FileId { device: 0, inode }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.boot == self.boot {
            state.locks.remove(&self.path);
        }
    }
}

struct SimFile {
    disk: SimDisk,
    inode: u64,
    boot: u64,
}

impl SimFile {
    fn change<T>(&self, call: Call, change: impl FnOnce(&mut Inode) -> T) -> io::Result<T> {
        let mut state = self.disk.state();
        state.step(call, self.boot)?;
        Ok(change(state.inodes.get_mut(&self.inode).expect("inodes are kept")))
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.step(Call::Write, self.boot)?;
        let short =
            if state.short_writes { bytes.len().min(100 + state.calls as usize % 400) } else { bytes.len() };
        let room = state.room();
        let inode = state.inodes.get_mut(&self.inode).expect("inodes are kept");
        let offset = offset as usize;
        let grown = (offset + short).saturating_sub(inode.current.len()) as u64;
        let count = short - grown.saturating_sub(room).min(short as u64) as usize;
        if count == 0 {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        let from = offset.min(inode.current.len());
        if inode.current.len() < offset + count {
            inode.current.resize(offset + count, 0);
        }
        inode.current[offset..offset + count].copy_from_slice(&bytes[..count]);
        inode.note(from, offset + count);
        Ok(count)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let before = self.disk.state().before_read.take();
        before.into_iter().for_each(|before| before());
        self.disk.pass_reader()?;
        let mut state = self.disk.state();
        state.alive(self.boot)?;
        state.fault(Call::Read)?;
        let contents = &state.inodes[&self.inode].current;
        let start = (offset as usize).min(contents.len());
        let count = bytes.len().min(contents.len() - start);
        bytes[..count].copy_from_slice(&contents[start..start + count]);
        state.bytes_read += count as u64;
        Ok(count)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(Call::Sync, Inode::sync)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(Call::Truncate, |inode| {
            let before = inode.current.len();
            inode.current.resize(len as usize, 0);
            inode.note(before.min(len as usize), before.max(len as usize));
        })
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.alive(self.boot)?;
        Ok(state.inodes[&self.inode].current.len() as u64)
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(id(self.inode))
    }
}
