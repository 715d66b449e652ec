//! Thousands of connections that have nothing to say: what they take, and what one busy connection notices.

use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use crate::child::Child;
use crate::identity::Identity;
use crate::report::LoadReport;
use crate::sample::{Rows, Sample};
use crate::stage::{Load, Stage};
use crate::subject::{Running, Setup, Subject, warm_up_with};
use crate::{Plan, median, plain_table};

const SUBJECTS: [Subject; 2] = [Subject::Verify, Subject::Bridge];
const CONNECTIONS: usize = 10_000;
/// With TLS, of so many connections one: a handshake takes its time.
const TLS_SHARE: usize = 5;
/// How long what opening them has caused takes; shorter than the load waits before it goes on.
const SETTLE: Duration = Duration::from_millis(5800);
/// Opening so many takes its time, and what they take hardly differs.
const ROUNDS_MAX: usize = 3;
/// Files that a process has open beside its connections, at most.
const OTHER_FILES: usize = 512;

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Idle {
    /// Connections that this machine allows.
    connections: usize,
    memory: Vec<Memory>,
    rows: Rows,
}

/// What connections take of one subject; one entry per round.
#[derive(Debug, Serialize)]
struct Memory {
    name: String,
    connections: usize,
    kib_per_connection: Vec<f64>,
}

/// What the load says once its idle connections are open.
#[derive(Deserialize)]
struct Opened {
    idle: usize,
}

/// Measures the bridge and the verify-only floor, plain and with TLS.
///
/// # Errors
/// When a subject does not come up, does not accept everything, or closes a connection.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Idle> {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let allowed = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(OTHER_FILES);
    let mut idle = Idle { connections: CONNECTIONS.min(allowed), ..Idle::default() };
    if allowed < CONNECTIONS {
        eprintln!("idle: {files} open files are allowed, so {allowed} connections instead of {CONNECTIONS}");
    }
    let identity = Identity::make(stage.dir())?;
    let rounds = plan.rounds.min(ROUNDS_MAX);
    for round in 1..=rounds {
        eprintln!("idle: round {round} of {rounds}");
        for subject in SUBJECTS {
            idle.round(stage, plan, subject, None)?;
            idle.round(stage, plan, subject, Some(&identity))?;
        }
    }
    Ok(idle)
}

impl Idle {
    fn round(
        &mut self,
        stage: &Stage,
        plan: &Plan,
        subject: Subject,
        tls: Option<&Identity>,
    ) -> anyhow::Result<()> {
        let (dir, connections_max) = (stage.new_dir()?, 2 * CONNECTIONS);
        let limits =
            format!("connections_max: {connections_max}, connections_per_address_max: {connections_max}");
        let setup = Setup { tls, limits: &limits, ..Setup::default() };
        let running = subject.start_with(stage, dir.path(), &setup)?;
        let trust = match tls {
            Some(identity) => vec!["--certificate", identity.certificate()?],
            None => Vec::new(),
        };
        warm_up_with(stage, &running, &trust)?;
        let name = format!("{}, {}", subject.name(), if tls.is_some() { "TLS" } else { "plain" });
        let alone = Load { more: &trust, ..Load::flat_out(&running.to, 1, plan.seconds) };
        self.rows.add(format!("{name}: one connection by itself"), Sample::take(stage, &running, &alone)?);
        let count = if tls.is_some() { self.connections / TLS_SHARE } else { self.connections };
        let text = count.to_string();
        let more = [&trust[..], &["--idle", &text]].concat();
        let (kib, sample) = beside(stage, &running, &Load { more: &more, ..alone }, count)?;
        self.rows.add(format!("{name}: one beside {count} idle"), sample);
        self.note(name, count, kib);
        running.child.stop()
    }

    fn note(&mut self, name: String, connections: usize, kib: f64) {
        match self.memory.iter_mut().find(|memory| memory.name == name) {
            Some(memory) => memory.kib_per_connection.push(kib),
            None => self.memory.push(Memory { name, connections, kib_per_connection: vec![kib] }),
        }
    }
}

/// What each idle connection takes, in KiB, and what one busy connection does beside them.
fn beside(stage: &Stage, running: &Running, load: &Load<'_>, count: usize) -> anyhow::Result<(f64, Sample)> {
    let before = running.child.resident_mib()?.now;
    let mut child = Child::start(stage.load_command(load).stdout(Stdio::piped()))?;
    let mut lines = child.lines()?;
    let mut line = || lines.next().unwrap_or_else(|| Err(anyhow::anyhow!("the load ended without a word")));
    let opened: Opened = serde_json::from_str(&line()?)?;
    std::thread::sleep(SETTLE);
    let (after, cpu) = (running.child.resident_mib()?.now, running.child.cpu_seconds()?);
    let report: LoadReport = serde_json::from_str(&line()?)?;
    let sample = Sample::of(&report, running.child.cpu_seconds()? - cpu);
    load.expect_accepted(&report)?;
    anyhow::ensure!(
        (opened.idle, report.idle) == (count, count),
        "of {count} idle connections {} are left",
        report.idle
    );
    Ok(((after - before) * 1024.0 / count as f64, sample))
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "IDLE CONNECTIONS, 1 KiB; each had one request before\n{}\n", self.rows)?;
        let mut table = plain_table(&["", "CONNECTIONS", "KiB/connection"]);
        for Memory { name, connections, kib_per_connection } in &self.memory {
            let kib = median(kib_per_connection.iter().copied());
            table.add_row([name.clone(), connections.to_string(), format!("{kib:.1}")]);
        }
        write!(f, "{table}")?;
        if self.connections < CONNECTIONS {
            write!(f, "\nThis machine does not allow {CONNECTIONS}: raise its limit of open files.")?;
        }
        Ok(())
    }
}
