//! A `select` list of two hundred names beside none.

use serde::Serialize;
use std::fmt;
use std::path::Path;

use crate::Plan;
use crate::body::kind;
use crate::sample::{Rows, Sample};
use crate::stage::{Load, Stage};
use crate::subject::{Running, Setup, Subject};

const CONNECTIONS: usize = 64;
const NAMES: usize = 200;
/// What is printed, and which of the bridge and its sink has the list.
const CASES: [(&str, bool, bool); 3] =
    [("all", false, false), ("the bridge's list", true, false), ("the sink's list", false, true)];

/// What was found.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Selection(Rows);

/// Measures the bridge with no list and with lists, in turn; every event is on the list.
///
/// # Errors
/// When a bridge does not come up, does not accept everything or does not deliver it in time.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Selection> {
    let mut selection = Selection::default();
    for round in 1..=plan.rounds {
        eprintln!("selection: round {round} of {}", plan.rounds);
        for (name, bridge_has, sink_has) in CASES {
            let dir = stage.new_dir()?;
            let bridge = start(stage, dir.path(), bridge_has, sink_has)?;
            let load = Load {
                count: Some(plan.sink_events),
                more: &["--types", "200"],
                ..Load::flat_out(&bridge.to, CONNECTIONS, 600.0)
            };
            selection.0.add(name, Sample::through(stage, &bridge, &load, |report| report.accepted)?);
            bridge.child.stop()?;
        }
    }
    Ok(selection)
}

fn start(stage: &Stage, dir: &Path, bridge_has: bool, sink_has: bool) -> anyhow::Result<Running> {
    let names = (0..NAMES).map(kind).collect::<Vec<_>>().join(", ");
    let list = |has: bool| if has { format!("[{names}]") } else { "all".into() };
    let ways = format!(
        r#"select: {bridge}
sources:
  bench: {{ provider: stream, secrets: ["env:BENCH_SECRET"], custom_types: [{names}] }}
sinks:
  files:
    file: {{ dir: "{dir}/out" }}
    topic: "{{provider}}.{{family}}"
    select: {sink}
"#,
        bridge = list(bridge_has),
        dir = dir.display(),
        sink = list(sink_has),
    );
    Subject::Bridge.start_with(stage, dir, &Setup { ways: &ways, ..Setup::default() })
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "A LIST OF {NAMES} SELECTED TYPES, 1 KiB, {CONNECTIONS} connections; into files, to the last one"
        )?;
        write!(f, "{}", self.0)
    }
}
