//! Durable intake of signed bodies, beside its floors; no sink in the way.
//!
//! Every round starts all subjects afresh and takes them in turn for each case. Shares are medians of
//! the shares within a round, not shares of medians, so a slow minute counts against both.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::sample::{Sample, is_bounded_by_load, note_of_load};
use crate::stage::{Load, Stage};
use crate::subject::{Setup, Subject};
use crate::verdict::{Limit, Target};
use crate::{Plan, median, plain_table};

/// By default one address has no more than the most that are measured.
const CONNECTIONS_MAX: &str = "connections_per_address_max: 2048";

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
    recycle: Vec<Sample>,
    bridge: Vec<Sample>,
    settled: Vec<Sample>,
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
    for &(body_bytes, connections) in &plan.intake {
        intake.cases.push(Case::new(body_bytes, connections));
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
            let setup = Setup { limits: CONNECTIONS_MAX, ..Setup::default() };
            let running = subject.start_with(stage, dir.path(), &setup)?;
            subject.warm_up(stage, &running)?;
            subjects.push((subject, running));
        }
        for case in &mut self.cases {
            case.append_per_second.push(append(stage, plan, case, &dir.path().join("appended"))?);
            for (subject, running) in &subjects {
                let load = Load {
                    body_bytes: case.body_bytes,
                    ..Load::flat_out(&running.to, case.connections, plan.seconds)
                };
                let sample = Sample::take(stage, running, &load)?;
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
        for case in self.cases.iter().filter(|case| [64, 256].contains(&case.connections)) {
            let name = format!("intake, {} B at {} connections", case.body_bytes, case.connections);
            let share = Target::new(
                format!("{name}: share of the verify-only floor"),
                case.share_percent(),
                Limit::AtLeast(70.0),
                "%",
            );
            let cpu = median(case.settled.iter().map(|sample| sample.cpu_us_per_event));
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
            recycle: Vec::new(),
            bridge: Vec::new(),
            settled: Vec::new(),
        }
    }

    fn samples(&self, subject: Subject) -> &[Sample] {
        match subject {
            Subject::Verify => &self.verify,
            Subject::Keep => &self.keep,
            Subject::Recycle => &self.recycle,
            Subject::Bridge => &self.bridge,
            Subject::Settled => &self.settled,
        }
    }

    fn samples_mut(&mut self, subject: Subject) -> &mut Vec<Sample> {
        match subject {
            Subject::Verify => &mut self.verify,
            Subject::Keep => &mut self.keep,
            Subject::Recycle => &mut self.recycle,
            Subject::Bridge => &mut self.bridge,
            Subject::Settled => &mut self.settled,
        }
    }

    /// The settled bridge's rate as a share of the verify-only floor's.
    fn share_percent(&self) -> f64 {
        let rounds = self.settled.iter().zip(&self.verify);
        median(rounds.map(|(bridge, verify)| 100.0 * bridge.per_second / verify.per_second))
    }
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
        writeln!(f, "DURABLE INTAKE, events/s; medians, no sink in the way")?;
        writeln!(f, "fanbridge: its log grows; settled: its log is at its bound; behind that, settled's")?;
        let mut table = plain_table(&[
            "BODY",
            "CONNECTIONS",
            "PLAIN FILE",
            "VERIFY ONLY",
            "+ PLAIN FILE",
            "RECYCLED",
            "FANBRIDGE",
            "SETTLED",
            "OF VERIFY ONLY",
            "LOWEST-HIGHEST",
            "p50 ms",
            "p99 ms",
        ]);
        for case in &self.cases {
            let rate = |samples: &[Sample]| median(samples.iter().map(|sample| sample.per_second));
            let rates = case.settled.iter().map(|sample| sample.per_second);
            table.add_row([
                case.body_bytes.to_string(),
                case.connections.to_string(),
                format!("{:.0}", median(case.append_per_second.iter().copied())),
                format!("{:.0}", rate(&case.verify)),
                format!("{:.0}", rate(&case.keep)),
                format!("{:.0}", rate(&case.recycle)),
                format!("{:.0}", rate(&case.bridge)),
                format!("{:.0}", rate(&case.settled)),
                format!("{:.0} %", case.share_percent()),
                format!("{:.0}-{:.0}", rates.clone().fold(f64::MAX, f64::min), rates.fold(0.0, f64::max)),
                format!("{:.2}", median(case.settled.iter().map(|sample| sample.p50_ms))),
                format!("{:.2}", median(case.settled.iter().map(|sample| sample.p99_ms))),
            ]);
        }
        writeln!(f, "{table}\n\nCPU time per event, us; the sender's is not part of the others'")?;
        let header = [
            "BODY",
            "CONNECTIONS",
            "VERIFY ONLY",
            "+ PLAIN FILE",
            "RECYCLED",
            "FANBRIDGE",
            "SETTLED",
            "SENDER",
        ];
        let mut table = plain_table(&header);
        for case in &self.cases {
            let cpu = |samples: &[Sample]| {
                format!("{:.1}", median(samples.iter().map(|sample| sample.cpu_us_per_event)))
            };
            let sender = median(case.settled.iter().map(|sample| sample.sender_cpu_us_per_event));
            table.add_row([
                case.body_bytes.to_string(),
                case.connections.to_string(),
                cpu(&case.verify),
                cpu(&case.keep),
                cpu(&case.recycle),
                cpu(&case.bridge),
                cpu(&case.settled),
                format!("{sender:.1}"),
            ]);
        }
        let peak = self.bridge_peak_mib.iter().copied().fold(0.0, f64::max);
        let all = self.cases.iter().flat_map(|case| Subject::ALL.map(|subject| (case, subject)));
        let bounded = all.filter(|(case, subject)| is_bounded_by_load(case.samples(*subject)));
        let name = |(case, subject): (&Case, Subject)| {
            format!("{} B, {} connections, {}", case.body_bytes, case.connections, subject.name())
        };
        let note = note_of_load(bounded.map(name));
        write!(
            f,
            "{table}{note}\n\nfanbridge's resident memory at its highest, while its log grows: {peak:.0} MiB"
        )
    }
}
