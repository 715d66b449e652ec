//! Makes the checks of the disk in a process of their own.
//!
//! A thread that waits for a disk that hangs cannot be ended, and neither can its process: the doctor leaves
//! that to a child, from which it reads findings as they come, and which it does not wait for.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::context::Context;
use super::disk::{self, FDATASYNC, KIND, SPACE};
use super::probe::{FoundSoFar, LIMIT, examine};
use super::running::RunningBridge;
use super::spool::{self, FORMAT, LOCK};
use super::{Finding, Probe, report};
use crate::cli::output::print;
use crate::cli::{ConfigArgs, Failure};

/// This program, also if its file was replaced since it began.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The checks that the child makes.
const CHECKS: &[&str] = &[KIND, SPACE, FDATASYNC, LOCK, FORMAT];

/// The checks of the disk, by a child.
pub(super) fn probe(context: &Context, args: &ConfigArgs) -> Probe {
    let dir = context.config.spool.dir.display().to_string();
    let hangs = format!("the disk has not answered for {} s: nothing can be stored", LIMIT.as_secs());
    let hangs =
        Finding::failure(FDATASYNC, &*dir, hangs).fix("look at the disk or the volume").command("dmesg");
    // Beside a bridge that has told how its disk is, nothing is measured.
    let told =
        context.running.facts().and_then(|facts| disk::told(&dir, facts, context.config.spool.answer_within));
    let wanted = CHECKS.iter().filter(|check| told.is_none() || **check != FDATASYNC);
    let wanted = wanted.copied().collect::<Vec<_>>().join(",");
    let is_running = if context.running.is_there() { "true" } else { "false" };
    let mut command = Command::new(THIS_PROGRAM);
    command.args(["doctor", "--disk-checks", is_running, "--only", &wanted]);
    if let Some(config) = &args.config {
        command.arg("--config").arg(config);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    Probe::blocking(CHECKS, dir, move |found| {
        found.extend(told);
        if let Err(error) = read_from(command, found) {
            found.add(Finding::unknown(
                FDATASYNC,
                "",
                format!("the checks of the disk cannot be made: {error}"),
            ));
        }
    })
    .or_in_silence(hangs)
}

fn read_from(mut command: Command, found: &FoundSoFar) -> io::Result<()> {
    let mut child = EndedChild(command.spawn()?);
    let Some(lines) = child.0.stdout.take() else { return Ok(()) };
    for line in BufReader::new(lines).lines() {
        // What the running bridge has told of its disk counts more than what is measured beside it.
        found.extend(
            report::read(&line?).filter(|finding| finding.check != FDATASYNC || !found.has(FDATASYNC)),
        );
    }
    Ok(())
}

/// A child that is ended, and not waited for, with this value.
struct EndedChild(Child);

impl Drop for EndedChild {
    fn drop(&mut self) {
        // Fails only if it has ended by itself.
        let _ = self.0.kill();
    }
}

/// What the child does: it makes the checks and prints each finding as a line, at once.
pub(super) fn serve(args: &ConfigArgs, is_running: bool, wanted: &[String]) -> Result<(), Failure> {
    let running =
        if is_running { RunningBridge::Silent("asked by the doctor".into()) } else { RunningBridge::Absent };
    let (_, context) = Context::read(args, Some(running))?;
    let Some(context) = context else { return Ok(()) };
    let mut probes = disk::probes(&context);
    probes.extend(spool::probes(&context));
    probes.retain(|probe| probe.checks.iter().any(|check| wanted.iter().any(|wanted| wanted == check)));
    examine(probes, |finding| {
        // The doctor may have stopped reading.
        let _ = print(&report::line(finding));
    })?;
    Ok(())
}
