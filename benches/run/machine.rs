//! The machine that was measured on: numbers without it mean nothing.

use anyhow::Context;
use serde::Serialize;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A machine, as far as it matters here.
#[derive(Debug, Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    /// The file system that the spool is on.
    file_system: String,
    /// How busy the machine was with other things before the bench began.
    busy_percent: f64,
    date: String,
}

impl Machine {
    /// Looks at this machine; the spool will be in `dir`.
    ///
    /// # Errors
    /// When `/proc` cannot be read, or `dir` is in memory, where fdatasync costs nothing.
    pub fn look(dir: &Path) -> anyhow::Result<Self> {
        let file_system = file_system(&fs::read_to_string("/proc/mounts")?, &dir.canonicalize()?)
            .context("the build directory is on no mounted file system")?;
        anyhow::ensure!(
            !file_system.starts_with("tmpfs") && !file_system.starts_with("ramfs"),
            "{} is on {file_system}: expected a disk, where fdatasync costs what it costs",
            dir.display()
        );
        let cpu = field(&fs::read_to_string("/proc/cpuinfo")?, "model name").unwrap_or("unknown").into();
        let memory = field(&fs::read_to_string("/proc/meminfo")?, "MemTotal").map_or(0, kibibytes);
        let today = time::OffsetDateTime::now_utc().date();
        Ok(Self {
            cpu,
            cores: std::thread::available_parallelism()?.get(),
            memory_mib: memory / 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().into(),
            file_system,
            busy_percent: busy_percent()?,
            date: today.to_string(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "machine  {}, {} cores, {} MiB, Linux {}, spool on {}, {}, {:.0} % busy with other things",
            self.cpu,
            self.cores,
            self.memory_mib,
            self.kernel,
            self.file_system,
            self.date,
            self.busy_percent
        )
    }
}

/// How much of a second all cores together spent on something.
fn busy_percent() -> anyhow::Result<f64> {
    /// Ticks idle, and ticks in all: idle and iowait are the 4th and 5th of the first line of proc_stat(5).
    fn ticks() -> anyhow::Result<(u64, u64)> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("/proc/stat is empty")?;
        let ticks: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        Ok((ticks.iter().skip(3).take(2).sum(), ticks.iter().sum()))
    }
    let (idle_before, all_before) = ticks()?;
    std::thread::sleep(Duration::from_secs(1));
    let (idle, all) = ticks()?;
    let idle = (idle - idle_before) as f64 / (all - all_before).max(1) as f64;
    Ok(100.0 * (1.0 - idle))
}

/// The value of `name: value` in one of the files of `/proc`.
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// Reads `1234 kB`.
pub fn kibibytes(value: &str) -> u64 {
    value.trim_end_matches("kB").trim().parse().unwrap_or(0)
}

/// Type and device of the file system that `path` is on: the longest mount point above it.
fn file_system(mounts: &str, path: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (device, point, kind) = (words.next()?, words.next()?, words.next()?);
            path.starts_with(point).then(|| (point.len(), format!("{kind} ({device})")))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, found)| found)
}
