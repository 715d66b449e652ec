//! Checks of the spool's directory: that it can be locked, and that no later release has written to it.

use std::io;
use std::path::Path;

use super::context::Context;
use super::finding::counted;
use super::{Finding, Probe};
use crate::cli::chain;
use crate::disk::{Disk, RealDisk};
use crate::explain::cause::quoted;
use crate::spool::verify::{SeenHeaders, look_at_headers};
use crate::spool::{SpoolError, lock_to_read};
use crate::state::{FILE_NAME, State, StateError};

pub(super) const LOCK: &str = "disk.lock";
pub(super) const FORMAT: &str = "spool.format";

/// Attempts to read a directory from which a running bridge removes segments meanwhile.
const ATTEMPTS: usize = 3;

/// The checks of the spool's directory.
pub(super) fn probes(context: &Context) -> Vec<Probe> {
    let (dir, is_running) = (context.config.spool.dir.clone(), context.running.is_there());
    let subject = dir.display().to_string();
    // One after the other: the lock is held while the state is looked at, so that no start finds it in use.
    vec![Probe::blocking(&[LOCK, FORMAT], subject, move |found| {
        let disk = RealDisk::default();
        let lock = lock_to_read(&disk, &dir);
        found.add(match &lock {
            Ok(None) => try_lock(&disk, &dir),
            lock => locked(&dir, lock.as_ref().map(|_| ()), is_running),
        });
        found.add(format(&disk, &dir));
        drop(lock);
    })]
}

/// Whether a directory that no bridge has used yet can be locked.
fn try_lock(disk: &RealDisk, dir: &Path) -> Finding {
    let there = super::disk::existing(dir);
    let subject = there.display().to_string();
    let locked = tempfile::NamedTempFile::new_in(&there).and_then(|file| disk.lock_existing(file.path()));
    match locked {
        Ok(_) => Finding::ok(LOCK, subject, "its file system gives locks"),
        Err(error) => unlockable(&subject, &error.to_string()),
    }
}

fn locked(dir: &Path, lock: Result<(), &SpoolError>, is_running: bool) -> Finding {
    let subject = dir.display().to_string();
    match lock {
        Ok(()) => Finding::ok(LOCK, subject, "it can be locked, and no process has it"),
        Err(SpoolError::Locked(_)) if is_running => Finding::ok(LOCK, subject, "the running bridge has it"),
        Err(SpoolError::Locked(_)) => {
            let found = "another process has it, and it is no bridge at the admin listener's address";
            Finding::failure(LOCK, &*subject, found)
                .fix("one process for each directory: end the other one")
                .command(format!("fuser -v {}", quoted(&format!("{subject}/lock"))))
        }
        Err(error) => unlockable(&subject, &chain(error)),
    }
}

fn unlockable(subject: &str, problem: &str) -> Finding {
    Finding::failure(LOCK, subject, format!("it cannot be locked: {problem}"))
        .fix("a directory of the bridge's user, on a file system with flock")
        .command(format!("ls -ld {}", quoted(subject)))
}

/// Whether this release can read what is there.
fn format(disk: &dyn Disk, dir: &Path) -> Finding {
    let subject = dir.display().to_string();
    let mut seen = look_at_headers(dir, disk);
    for _ in 1..ATTEMPTS {
        if matches!(&seen, Err(SpoolError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound)
            && dir.exists()
        {
            seen = look_at_headers(dir, disk);
        }
    }
    let verify = format!("fanbridge spool verify {}", quoted(&subject));
    let newer = "run the release that wrote it: this one refuses to start, and changes nothing";
    let SeenHeaders { segments, lost } = match seen {
        Ok(seen) => seen,
        Err(_) if !dir.exists() => {
            return Finding::skipped(FORMAT, subject, "no bridge has written to it yet");
        }
        Err(error @ SpoolError::NewerFormat { .. }) => {
            return Finding::failure(FORMAT, subject, error.to_string()).fix(newer);
        }
        Err(error) => return Finding::unknown(FORMAT, subject, chain(&error)),
    };
    let counted = counted(segments, "segment");
    match State::refuse_newer(&dir.join(FILE_NAME)) {
        Err(error @ StateError::Newer { .. }) => {
            Finding::failure(FORMAT, subject, error.to_string()).fix(newer)
        }
        Err(error @ StateError::Damaged { .. }) => Finding::failure(FORMAT, subject, error.to_string()).fix(
            "restore state.redb from a back-up, or move it away: sinks then deliver again what the log holds",
        ),
        // The running bridge has read it at its start.
        Ok(()) | Err(StateError::Locked(_)) if lost > 0 => {
            let found = format!("{counted}, and {lost} of them with a header that does not verify");
            Finding::warning(FORMAT, subject, found)
                .fix("see what is lost, with the bridge stopped")
                .command(verify)
        }
        Ok(()) | Err(StateError::Locked(_)) => {
            Finding::ok(FORMAT, subject, format!("{counted}, none of a later release"))
        }
        Err(error) => Finding::unknown(FORMAT, subject, chain(&error)),
    }
}
