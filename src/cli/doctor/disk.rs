//! Checks of the disk: its space, and how long an fdatasync takes.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FsWord, statfs};

use super::context::Context;
use super::finding::{FindingVerdict, bytes, counted, shown_path};
use super::running::RunningFacts;
use super::{Finding, Probe};
use crate::disk::{Disk, RealDisk};
use crate::sink::Output;
use crate::spool::SpoolOptions;
use crate::spool::options::segment_bytes;

pub(super) const KIND: &str = "disk.kind";
pub(super) const SPACE: &str = "disk.space";
pub(super) const FDATASYNC: &str = "disk.fdatasync";

/// How long the disk is measured.
const MEASURE_FOR: Duration = Duration::from_secs(2);
/// Bytes of one write, about those of a small group of events.
const WRITE_BYTES: usize = 4096;
/// Bytes after which the file is written over from its beginning.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// From here on an fdatasync makes itself felt: each delivery waits for one.
const SLOW: Duration = Duration::from_millis(50);
/// Fewest fdatasyncs of a running bridge that say how its disk is.
const TOLD_MIN: u64 = 100;
/// Fewest free files of a file system that are enough for long.
const INODES_FEW: u64 = 1000;
/// Free space below which the topics of a file sink, which nothing bounds, are soon without any.
const TOPICS_BYTES_FEW: u64 = 1 << 30;
/// What statfs(2) tells of kinds of file systems.
const TMPFS: FsWord = 0x0102_1994;
const OVERLAY: FsWord = 0x794c_7630;
const NAMED: [(FsWord, &str); 5] = [
    (0xef53, "ext4 or one before it"),
    (0x5846_5342, "XFS"),
    (0x9123_683e, "btrfs"),
    (0x2fc1_2fc1, "ZFS"),
    (0x6969, "NFS"),
];

/// The checks of the spool's disk, and of those of file sinks.
pub(super) fn probes(context: &Context) -> Vec<Probe> {
    let config = &context.config;
    let dir = config.spool.dir.display().to_string();
    let (spool, kept_in) = (config.spool.clone(), config.spool.dir.clone());
    let mut probes = vec![Probe::blocking(&[KIND], &*dir, move |found| found.add(kind(&kept_in)))];
    probes.push(Probe::blocking(&[SPACE], &*dir, move |found| found.add(space(&spool))));
    let spool = config.spool.clone();
    probes.push(Probe::blocking(&[FDATASYNC], &*dir, move |found| found.add(speed(&spool))));
    for sink in &config.sinks {
        if let Output::File(file) = &sink.output {
            let (name, dir) = (sink.name.clone(), file.dir.clone());
            probes.push(Probe::blocking(&[SPACE], &*sink.name, move |found| {
                found.add(topics_space(&name, &dir));
            }));
        }
    }
    probes
}

/// Whether what is written outlives a restart of the machine, and of a container.
fn kind(dir: &Path) -> Finding {
    let there = existing(dir);
    let subject = dir.display().to_string();
    let show = format!("df -T {}", shown_path(&there));
    match statfs(&there).map(|system| system.f_type) {
        Ok(TMPFS) => {
            let found = "it is in memory (tmpfs): a restart of the machine loses what was acknowledged";
            Finding::failure(KIND, subject, found).fix("put spool.dir on a disk").command(show)
        }
        Ok(OVERLAY) => {
            let found = "it is in a container's own layer (overlayfs), which goes with the container";
            Finding::warning(KIND, subject, found).fix("mount a volume at spool.dir").command(show)
        }
        Ok(kind) => match NAMED.iter().find(|(known, _)| *known == kind) {
            Some((_, name)) => Finding::ok(KIND, subject, *name),
            None => {
                Finding::unknown(KIND, subject, format!("a file system that is not known here ({kind:x})"))
                    .fix("make sure that an fdatasync there outlives a restart of the machine")
                    .command(show)
            }
        },
        Err(error) => Finding::unknown(KIND, subject, format!("it cannot be told: {error}")),
    }
}

/// Whether the spool can grow to its bound.
fn space(spool: &SpoolOptions) -> Finding {
    let dir = spool.dir.display().to_string();
    let there = existing(&spool.dir);
    let (free, used) = match RealDisk::default().free(&there).and_then(|free| Ok((free, used(&spool.dir)?))) {
        Ok(read) => read,
        Err(error) => return Finding::unknown(SPACE, dir, format!("it cannot be read: {error}")),
    };
    let segment = segment_bytes(spool.segment_bytes, spool.bytes_max);
    let (usable, left) =
        (free.bytes.saturating_sub(spool.free_bytes_min), spool.bytes_max.saturating_sub(used));
    let show = format!("df -h {}", shown_path(&there));
    if let Some(inodes) = free.inodes.filter(|inodes| *inodes < INODES_FEW) {
        let found = format!("the file system has room for {} only", counted(inodes as usize, "file"));
        let verdict = if inodes < 8 { FindingVerdict::Failure } else { FindingVerdict::Warning };
        return Finding::new(verdict, SPACE, dir, found)
            .fix("remove files nobody needs")
            .command(format!("df -i {}", shown_path(&there)));
    }
    if left > 0 && usable < segment.min(left) {
        let found = format!(
            "{} free, of which free_bytes_min keeps {}: the next segment of {} does not fit, and then \
             deliveries are answered 503",
            bytes(free.bytes),
            bytes(spool.free_bytes_min),
            bytes(segment)
        );
        return Finding::failure(SPACE, dir, found)
            .fix("make room, or lower spool.free_bytes_min")
            .command(show);
    }
    if usable < left {
        let found = format!(
            "{} free, and the spool can grow by {} more to its bytes_max: the disk is full first",
            bytes(free.bytes),
            bytes(left)
        );
        let least = used.saturating_add(usable);
        return Finding::warning(SPACE, dir, found)
            .fix(format!("make room, or set spool.bytes_max to {} at most", bytes(least)))
            .command(show);
    }
    let found = format!(
        "{} free; the spool has {} of at most {}",
        bytes(free.bytes),
        bytes(used),
        bytes(spool.bytes_max)
    );
    Finding::ok(SPACE, dir, found)
}

fn topics_space(sink: &str, dir: &Path) -> Finding {
    let subject = format!("{sink} ({})", dir.display());
    match RealDisk::default().free(&existing(dir)) {
        Ok(free) if free.bytes < TOPICS_BYTES_FEW => {
            let found = format!("{} free, and nothing bounds the topics of a file sink", bytes(free.bytes));
            Finding::warning(SPACE, subject, found)
                .fix("make room, and move topic files away that are read")
                .command(format!("df -h {}", shown_path(&existing(dir))))
        }
        Ok(free) => Finding::ok(SPACE, subject, format!("{} free for topic files", bytes(free.bytes))),
        Err(error) => Finding::unknown(SPACE, subject, format!("it cannot be read: {error}")),
    }
}

/// The directory, or the nearest one above it that is there: a start makes what is missing.
pub(super) fn existing(dir: &Path) -> PathBuf {
    let above = dir.ancestors().find(|path| !path.as_os_str().is_empty() && path.exists());
    above.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// The bytes of the files in a directory, without those below it.
fn used(dir: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    // A segment can be removed meanwhile.
    let files = entries.flatten().filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file);
    Ok(files.map(|file| file.len()).sum())
}

/// How long an fdatasync takes, of a file without a name: nothing is left behind.
fn speed(spool: &SpoolOptions) -> Finding {
    let there = existing(&spool.dir);
    let dir = there.display().to_string();
    let mut taken = match measure(&there) {
        Ok(taken) => taken,
        Err(error) => {
            let found = format!("no file can be written and synced in it: {error}");
            return Finding::failure(FDATASYNC, &*dir, found)
                .fix("give the bridge's user the directory, on a disk that takes writes")
                .command(format!("ls -ld {}", shown_path(&there)));
        }
    };
    taken.sort_unstable();
    let at = |part: usize| taken.get(taken.len() * part / 100).copied().unwrap_or_default();
    let (half, most) = (at(50), at(99));
    judged(&dir, half, most, &format!("{} writes", taken.len()), spool.answer_within)
}

/// What the running bridge says of its disk; `None` if it has synced too little to say.
pub(super) fn told(dir: &str, facts: &RunningFacts, answer_within: Duration) -> Option<Finding> {
    let outstanding = Duration::from_millis(facts.disk_outstanding_ms);
    if outstanding > answer_within {
        let found = format!("the disk has not answered the bridge for {} s", outstanding.as_secs());
        return Some(
            Finding::failure(FDATASYNC, dir, format!("{found}: deliveries are answered 503"))
                .fix("look at the disk or the volume; the bridge goes on by itself")
                .command("dmesg"),
        );
    }
    let (half, most) = (facts.fdatasync_ms.p50?, facts.fdatasync_ms.p99?);
    if facts.fdatasyncs < TOLD_MIN {
        return None;
    }
    let (half, most) = (Duration::from_secs_f64(half / 1e3), Duration::from_secs_f64(most / 1e3));
    let of = format!("{} of the running bridge", facts.fdatasyncs);
    Some(judged(dir, half, most, &of, answer_within))
}

fn judged(dir: &str, half: Duration, most: Duration, of: &str, answer_within: Duration) -> Finding {
    let found = format!("p50 {}, p99 {} of {of}", millis(half), millis(most));
    if most >= answer_within {
        let found = format!("{found}: longer than ack_timeout, so deliveries are answered 503");
        return Finding::failure(FDATASYNC, dir, found).fix("a faster disk").command("iostat -x 1 5");
    }
    if most >= SLOW {
        return Finding::warning(FDATASYNC, dir, format!("{found}; each delivery waits for one"))
            .fix("a faster disk, or one that nothing else writes to")
            .command("iostat -x 1 5");
    }
    Finding::ok(FDATASYNC, dir, found)
}

fn measure(dir: &Path) -> io::Result<Vec<Duration>> {
    let mut file = tempfile::tempfile_in(dir)?;
    let (page, mut written) = (vec![0x5a; WRITE_BYTES], 0);
    let begun = Instant::now();
    let mut taken = Vec::new();
    while begun.elapsed() < MEASURE_FOR || taken.is_empty() {
        if written >= FILE_BYTES_MAX {
            io::Seek::rewind(&mut file)?;
            written = 0;
        }
        file.write_all(&page)?;
        written += page.len() as u64;
        let began = Instant::now();
        file.sync_data()?;
        taken.push(began.elapsed());
    }
    Ok(taken)
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
