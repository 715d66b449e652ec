//! A process that is measured from outside, through `/proc`, and stopped by its id.

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine::{field, kibibytes};

const STOP_MAX: Duration = Duration::from_secs(40);

/// A running process; killed when dropped.
pub struct Child(std::process::Child);

impl Child {
    /// Starts a process with its standard output on a pipe.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_owned();
        let child = command.stdin(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| format!("cannot start {}", name.display()))?))
    }

    /// The first line of its output, which must have been piped.
    ///
    /// # Errors
    /// When it ends without one.
    pub fn first_line(&mut self) -> anyhow::Result<String> {
        self.lines()?.next().context("the process ended before it said anything")?
    }

    /// The lines of its output, which must have been piped; for the first time only.
    ///
    /// # Errors
    /// When they have been asked for before.
    pub fn lines(&mut self) -> anyhow::Result<impl Iterator<Item = anyhow::Result<String>> + use<>> {
        let output = self.0.stdout.take().context("the output is not piped")?;
        Ok(BufReader::new(output).lines().map(|line| Ok(line?)))
    }

    /// Whether it is still running.
    pub fn running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// CPU time it has used so far, in user and kernel, in seconds.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds_of(self.0.id())
    }

    /// Its resident memory now and at its highest, in MiB.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_mib(&self) -> anyhow::Result<Resident> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let mib = |name| field(&status, name).map(|value| kibibytes(value) as f64 / 1024.0);
        let (Some(now), Some(peak)) = (mib("VmRSS"), mib("VmHWM")) else {
            anyhow::bail!("the process has ended");
        };
        Ok(Resident { now, peak })
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// When it does not stop in time; it is killed then.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let asked = Instant::now();
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).context("not a process id")?;
        kill_process(id, Signal::TERM)?;
        while self.running() {
            anyhow::ensure!(asked.elapsed() < STOP_MAX, "the process did not stop in {STOP_MAX:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody left to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Resident memory, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// Now.
    pub now: f64,
    /// The highest so far.
    pub peak: f64,
}

/// The CPU time of a process so far, all its threads together, in seconds.
///
/// # Errors
/// When there is no such process.
pub fn cpu_seconds_of(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold anything; utime and stime are fields 14 and 15 of proc(5).
    let (_, after) = stat.rsplit_once(") ").context("/proc/PID/stat has no name")?;
    let ticks: u64 = after.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
