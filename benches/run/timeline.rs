//! The timeline beside none: what it costs to note each event twice, where it comes in and where it goes.

use serde::Serialize;
use std::fmt;
use std::path::Path;

use crate::sample::{Rows, Sample};
use crate::stage::{Load, Stage};
use crate::subject::{Running, Setup, Subject, warm_up};
use crate::verdict::{Limit, Target};
use crate::{Plan, median};

const CONNECTIONS: [usize; 2] = [64, 256];
/// What is printed, and the bridge's block.
const CASES: [(&str, &str); 2] = [("off", "timeline: { bytes_max: 0 }\n"), ("16 MiB", "")];

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Timeline {
    /// Events per second until the sink has the last one, by the number of connections.
    through: Rows,
    /// Highest resident memory in MiB without a timeline and with one, per round.
    peak_mib: [Vec<f64>; CASES.len()],
}

/// Measures a bridge without a timeline and one with it, in turn.
///
/// # Errors
/// When a bridge does not come up, does not accept everything or does not deliver it in time.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Timeline> {
    let mut timeline = Timeline::default();
    for round in 1..=plan.rounds {
        eprintln!("timeline: round {round} of {}", plan.rounds);
        let dirs = [stage.new_dir()?, stage.new_dir()?];
        let mut bridges = Vec::new();
        for (dir, (_, block)) in dirs.iter().zip(CASES) {
            let bridge = start(stage, dir.path(), block)?;
            warm_up(stage, &bridge)?;
            bridges.push(bridge);
        }
        for connections in CONNECTIONS {
            // Each goes first as often as the other.
            let order = if round % 2 == 0 { [1, 0] } else { [0, 1] };
            for case in order {
                let load = Load::flat_out(&bridges[case].to, connections, plan.seconds);
                let sample = Sample::through(stage, &bridges[case], &load, |report| report.accepted)?;
                timeline.through.add(name(connections, case), sample);
            }
        }
        for (case, bridge) in bridges.into_iter().enumerate() {
            timeline.peak_mib[case].push(bridge.child.resident_mib()?.peak);
            bridge.child.stop()?;
        }
    }
    Ok(timeline)
}

fn name(connections: usize, case: usize) -> String {
    format!("{connections} connections, {}", CASES[case].0)
}

fn start(stage: &Stage, dir: &Path, block: &str) -> anyhow::Result<Running> {
    let ways = format!(
        r#"{block}sources:
  bench: {{ provider: stream, secrets: ["env:BENCH_SECRET"] }}
sinks:
  files: {{ file: {{ dir: "{dir}/out" }}, topic: "{{provider}}.{{family}}" }}
"#,
        dir = dir.display(),
    );
    Subject::Bridge.start_with(stage, dir, &Setup { ways: &ways, ..Setup::default() })
}

impl Timeline {
    /// What the bridge has to reach here.
    pub fn targets(&self) -> Vec<Target> {
        let share = |connections: usize| {
            let [without, with] = [0, 1].map(|case| name(connections, case));
            let share = 100.0 * median(self.through.ratios(&with, &without));
            let title = format!("timeline, {connections} connections: of the rate without one");
            Target::new(title, share, Limit::AtLeast(96.0), "%")
        };
        let more = Target::new(
            "timeline: resident memory at its highest, more than without one",
            self.more_mib(),
            Limit::AtMost(24.0),
            "MiB",
        );
        CONNECTIONS.into_iter().map(share).chain([more]).collect()
    }

    fn more_mib(&self) -> f64 {
        let [without, with] = &self.peak_mib;
        median(with.iter().zip(without).map(|(with, without)| with - without))
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "THE TIMELINE, 1 KiB; into files, to the last one")?;
        writeln!(f, "{}", self.through)?;
        let [without, with] = &self.peak_mib;
        let middle = |values: &[f64]| median(values.iter().copied());
        write!(
            f,
            "\nresident memory at its highest: {:.0} MiB without a timeline, {:.0} MiB with one of 16 MiB",
            middle(without),
            middle(with)
        )
    }
}
