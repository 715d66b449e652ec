//! One, four and sixteen sinks: cost must grow with what is published and not with who is configured.
//!
//! The sinks write files, each in a directory of its own, so that no other server is what is measured. Events
//! have four types, and a sink takes one of them, or one that never comes.

use serde::Serialize;
use std::fmt;
use std::path::Path;

use crate::body::kind;
use crate::sample::{Rows, Sample};
use crate::stage::{Load, Stage};
use crate::subject::{Running, Setup, Subject};
use crate::verdict::{Limit, Target};
use crate::{Plan, median};

const CONNECTIONS: usize = 64;
/// Event types of the load. The one after them never comes.
const TYPES: usize = 4;
/// Sinks that each take a quarter of the events.
const SHARING: [usize; 3] = [1, 4, 16];
/// Sinks that take nothing.
const WANTING_NOTHING: [usize; 2] = [1, 16];

/// What was found, by the number of sinks.
#[derive(Debug, Default, Serialize)]
pub struct Sinks {
    /// Events per second until the last sink has the last one.
    quarter: Rows,
    /// Events per second that are accepted.
    nothing: Rows,
}

/// Measures the bridge with all numbers of sinks in turn.
///
/// # Errors
/// When a bridge does not come up, does not accept everything or does not deliver it in time.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Sinks> {
    let mut sinks = Sinks::default();
    for round in 1..=plan.rounds {
        eprintln!("sinks: round {round} of {}", plan.rounds);
        for count in SHARING {
            let dir = stage.new_dir()?;
            let bridge = start(stage, dir.path(), count, |sink| sink % TYPES)?;
            let load = Load { count: Some(plan.sink_events), seconds: 600.0, ..load(&bridge, plan) };
            let quarter = |accepted: u64| accepted / TYPES as u64 * count as u64;
            let sample = Sample::through(stage, &bridge, &load, |report| quarter(report.accepted))?;
            sinks.quarter.add(count.to_string(), sample);
            bridge.child.stop()?;
        }
        for count in WANTING_NOTHING {
            let dir = stage.new_dir()?;
            let bridge = start(stage, dir.path(), count, |_| TYPES)?;
            stage.load(&Load { seconds: 0.5, ..load(&bridge, plan) })?;
            sinks.nothing.add(count.to_string(), Sample::take(stage, &bridge, &load(&bridge, plan))?);
            bridge.child.stop()?;
        }
    }
    Ok(sinks)
}

fn load<'a>(bridge: &'a Running, plan: &Plan) -> Load<'a> {
    Load { more: &["--types", "4"], ..Load::flat_out(&bridge.to, CONNECTIONS, plan.seconds) }
}

/// A bridge with so many file sinks, each of which takes one type.
fn start(stage: &Stage, dir: &Path, sinks: usize, takes: fn(usize) -> usize) -> anyhow::Result<Running> {
    let types: Vec<_> = (0..=TYPES).map(kind).collect();
    let sink = |sink| {
        format!(
            "  s{sink}: {{ file: {{ dir: \"{}/out/{sink}\" }}, topic: \"{{provider}}.{{family}}\", select: [{}] }}\n",
            dir.display(),
            kind(takes(sink))
        )
    };
    let sinks: String = (0..sinks).map(sink).collect();
    let ways = format!(
        "sources:\n  bench: {{ provider: stream, secrets: [\"env:BENCH_SECRET\"], custom_types: [{}] }}\nsinks:\n{sinks}",
        types.join(", ")
    );
    Subject::Bridge.start_with(stage, dir, &Setup { ways: &ways, ..Setup::default() })
}

impl Sinks {
    /// What the bridge has to reach here.
    pub fn targets(&self) -> Vec<Target> {
        let cpu = |rows: &Rows, name: &str| rows.middle(name, |sample| sample.cpu_us_per_event);
        let own = cpu(&self.nothing, "16") - cpu(&self.nothing, "1");
        let share = median(self.nothing.ratios("16", "1"));
        vec![
            Target::new(
                "16 sinks that want nothing: intake beside 1",
                100.0 * share,
                Limit::AtLeast(95.0),
                "%",
            ),
            Target::new("a sink that does not want an event", own / 15.0, Limit::AtMost(0.2), "us/event"),
            Target::new(
                "16 sinks that want a quarter each: CPU beside 1",
                cpu(&self.quarter, "16") / cpu(&self.quarter, "1"),
                Limit::AtMost(4.0),
                "times",
            ),
        ]
    }
}

impl fmt::Display for Sinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "FILE SINKS THAT EACH TAKE A QUARTER OF THE EVENTS, by their number; to the last delivery"
        )?;
        writeln!(f, "{}\n\nFILE SINKS THAT TAKE NOTHING, by their number; intake", self.quarter)?;
        write!(f, "{}", self.nothing)
    }
}
