//! Durable intake of signed bodies, beside its floors; no sink in the way.
//!
//! Every round starts all subjects afresh and takes them in turn for each case. Shares are medians of
//! the shares within a round, not shares of medians, so a slow minute counts against both.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::stage::{Load, Stage};
use crate::subject::{Running, Subject};
use crate::verdict::{Limit, Target};
use crate::{Plan, median, plain_table};

/// What was found, by case.
#[derive(Debug, Serialize)]
pub struct Intake {
    cases: Vec<Case>,
    /// The bridge's highest resident memory per round, in MiB.
    bridge_peak_mib: Vec<f64>,
}

/// One body size at one number of connections; one entry per round.
#[derive(Debug, Serialize)]
struct Case {
    body_bytes: usize,
    connections: usize,
    /// The plain file without HTTP, in appends per second.
    append_per_second: Vec<f64>,
    verify: Vec<Sample>,
    keep: Vec<Sample>,
    bridge: Vec<Sample>,
}

/// One measurement of one subject.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    per_second: f64,
    cpu_us_per_event: f64,
    p50_ms: f64,
    p99_ms: f64,
    sender_cpu_us_per_event: f64,
}

/// The part that is read of what the `append` floor prints.
#[derive(Deserialize)]
struct Appended {
    accepted_per_second: f64,
}

/// Measures all cases.
///
/// # Errors
/// When a subject does not come up or does not accept everything.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Intake> {
    let mut intake = Intake { cases: Vec::new(), bridge_peak_mib: Vec::new() };
    for &body_bytes in &plan.body_bytes {
        for &connections in &plan.connections {
            intake.cases.push(Case::new(body_bytes, connections));
        }
    }
    for round in 1..=plan.rounds {
        eprintln!("intake: round {round} of {}", plan.rounds);
        intake.round(stage, plan)?;
    }
    Ok(intake)
}

impl Intake {
    fn round(&mut self, stage: &Stage, plan: &Plan) -> anyhow::Result<()> {
        let dir = stage.new_dir()?;
        let mut subjects = Vec::new();
        for subject in Subject::ALL {
            let running = subject.start(stage, dir.path())?;
            warm_up(stage, &running)?;
            subjects.push((subject, running));
        }
        for case in &mut self.cases {
            case.append_per_second.push(append(stage, plan, case, &dir.path().join("appended"))?);
            for (subject, running) in &subjects {
                let sample = Sample::take(stage, plan, case, running)?;
                case.samples_mut(*subject).push(sample);
            }
        }
        for (subject, running) in subjects {
            if subject == Subject::Bridge {
                self.bridge_peak_mib.push(running.child.resident_mib()?.peak);
            }
            running.child.stop()?;
        }
        Ok(())
    }

    /// What the bridge has to reach here.
    pub fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for case in self.cases.iter().filter(|case| case.connections >= 64) {
            let name = format!("intake, {} B at {} connections", case.body_bytes, case.connections);
            let share = Target::new(
                format!("{name}: share of the verify-only floor"),
                case.share_percent(),
                Limit::AtLeast(70.0),
                "%",
            );
            let cpu = median(case.bridge.iter().map(|sample| sample.cpu_us_per_event));
            targets.push(share);
            targets.push(Target::new(format!("{name}: CPU"), cpu, Limit::AtMost(18.0), "us/event"));
        }
        let peak = self.bridge_peak_mib.iter().copied().fold(0.0, f64::max);
        targets.push(Target::new("intake: resident memory at its highest", peak, Limit::AtMost(64.0), "MiB"));
        targets
    }
}

impl Case {
    fn new(body_bytes: usize, connections: usize) -> Self {
        Self {
            body_bytes,
            connections,
            append_per_second: Vec::new(),
            verify: Vec::new(),
            keep: Vec::new(),
            bridge: Vec::new(),
        }
    }

    fn samples_mut(&mut self, subject: Subject) -> &mut Vec<Sample> {
        match subject {
            Subject::Verify => &mut self.verify,
            Subject::Keep => &mut self.keep,
            Subject::Bridge => &mut self.bridge,
        }
    }

    /// The bridge's rate as a share of the verify-only floor's.
    fn share_percent(&self) -> f64 {
        let rounds = self.bridge.iter().zip(&self.verify);
        median(rounds.map(|(bridge, verify)| 100.0 * bridge.per_second / verify.per_second))
    }
}

impl Sample {
    fn take(stage: &Stage, plan: &Plan, case: &Case, running: &Running) -> anyhow::Result<Self> {
        let cpu = running.child.cpu_seconds()?;
        let report = stage.load(&Load {
            to: &running.to,
            connections: case.connections,
            body_bytes: case.body_bytes,
            seconds: plan.seconds,
            rate: None,
            count: None,
        })?;
        let cpu = running.child.cpu_seconds()? - cpu;
        Ok(Self {
            per_second: report.accepted_per_second,
            cpu_us_per_event: cpu * 1e6 / report.accepted as f64,
            p50_ms: report.p50_ms,
            p99_ms: report.p99_ms,
            sender_cpu_us_per_event: report.sender_cpu_us_per_event,
        })
    }
}

/// Lets a fresh subject fault in its memory and open its first segment.
pub fn warm_up(stage: &Stage, running: &Running) -> anyhow::Result<()> {
    let load =
        Load { to: &running.to, connections: 64, body_bytes: 1024, seconds: 0.5, rate: None, count: None };
    stage.load(&load)?;
    Ok(())
}

fn append(stage: &Stage, plan: &Plan, case: &Case, file: &std::path::Path) -> anyhow::Result<f64> {
    let tasks = case.connections.to_string();
    let (bytes, seconds) = (case.body_bytes.to_string(), (plan.seconds / 2.0).to_string());
    let file = file.display().to_string();
    let arguments = ["--file", &file, "--tasks", &tasks, "--body-bytes", &bytes, "--seconds", &seconds];
    let appended: Appended = stage.run_floor("append", &arguments)?;
    Ok(appended.accepted_per_second)
}

impl fmt::Display for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "DURABLE INTAKE, events/s; medians, no sink in the way (its broker does not exist)")?;
        let mut table = plain_table(&[
            "BODY",
            "CONNECTIONS",
            "PLAIN FILE",
            "VERIFY ONLY",
            "+ PLAIN FILE",
            "FANBRIDGE",
            "OF VERIFY ONLY",
            "LOWEST-HIGHEST",
            "p50 ms",
            "p99 ms",
        ]);
        for case in &self.cases {
            let rate = |samples: &[Sample]| median(samples.iter().map(|sample| sample.per_second));
            let rates = case.bridge.iter().map(|sample| sample.per_second);
            table.add_row([
                case.body_bytes.to_string(),
                case.connections.to_string(),
                format!("{:.0}", median(case.append_per_second.iter().copied())),
                format!("{:.0}", rate(&case.verify)),
                format!("{:.0}", rate(&case.keep)),
                format!("{:.0}", rate(&case.bridge)),
                format!("{:.0} %", case.share_percent()),
                format!("{:.0}-{:.0}", rates.clone().fold(f64::MAX, f64::min), rates.fold(0.0, f64::max)),
                format!("{:.2}", median(case.bridge.iter().map(|sample| sample.p50_ms))),
                format!("{:.2}", median(case.bridge.iter().map(|sample| sample.p99_ms))),
            ]);
        }
        writeln!(f, "{table}\n\nCPU time per event, us; the sender's is not part of the others'")?;
        let mut table =
            plain_table(&["BODY", "CONNECTIONS", "VERIFY ONLY", "+ PLAIN FILE", "FANBRIDGE", "SENDER"]);
        for case in &self.cases {
            let cpu = |samples: &[Sample]| {
                format!("{:.1}", median(samples.iter().map(|sample| sample.cpu_us_per_event)))
            };
            let sender = median(case.bridge.iter().map(|sample| sample.sender_cpu_us_per_event));
            table.add_row([
                case.body_bytes.to_string(),
                case.connections.to_string(),
                cpu(&case.verify),
                cpu(&case.keep),
                cpu(&case.bridge),
                format!("{sender:.1}"),
            ]);
        }
        let peak = self.bridge_peak_mib.iter().copied().fold(0.0, f64::max);
        write!(f, "{table}\n\nfanbridge's resident memory at its highest: {peak:.0} MiB")
    }
}
