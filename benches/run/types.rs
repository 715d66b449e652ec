//! Many sources with many event types: cost must grow with the events and not with the names.

use serde::Serialize;
use std::fmt;

use crate::sample::{Rows, Sample};
use crate::stage::{Load, Stage};
use crate::subject::{NOWHERE, Setup, Subject};
use crate::{Plan, median, plain_table};

/// Sources, and event types of all together: few, and many. Connections are as many as sources there.
const CASES: [(usize, usize); 2] = [(1, 1), (100, 100_000)];
const CONNECTIONS: usize = 100;
/// Partition keys, which are the same number in both cases.
const KEYS: &str = "100000";

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Types {
    rows: Rows,
    resident: Vec<Resident>,
}

/// The bridge's memory after one round.
#[derive(Debug, Serialize)]
struct Resident {
    sources: usize,
    types: usize,
    mib: f64,
}

/// Measures the bridge with few types, and with many.
///
/// # Errors
/// When a bridge does not come up or does not accept everything.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Types> {
    let mut types = Types::default();
    for round in 1..=plan.rounds {
        eprintln!("types: round {round} of {}", plan.rounds);
        for (sources, kinds) in CASES {
            let (dir, ways) = (stage.new_dir()?, ways(sources));
            let setup = Setup { ways: &ways, ..Setup::default() };
            let running = Subject::Bridge.start_with(stage, dir.path(), &setup)?;
            let to = format!("{}-{{}}", running.to);
            let (source_count, type_count) = (sources.to_string(), kinds.to_string());
            let more = ["--sources", &source_count, "--types", &type_count, "--keys", KEYS];
            let warm_up = Load { more: &more, ..Load::flat_out(&to, CONNECTIONS, 0.5) };
            stage.load(&warm_up)?;
            let load = Load { count: Some(plan.type_events), seconds: 600.0, ..warm_up };
            let sample = Sample::take(stage, &running, &load)?;
            types.rows.add(format!("{sources} sources, {kinds} types"), sample);
            let mib = running.child.resident_mib()?.now;
            types.resident.push(Resident { sources, types: kinds, mib });
            running.child.stop()?;
        }
    }
    Ok(types)
}

fn ways(sources: usize) -> String {
    let source =
        |number| format!("  bench-{number}: {{ provider: stream, secrets: [\"env:BENCH_SECRET\"] }}\n");
    let sources: String = (0..sources).map(source).collect();
    format!(
        "sources:\n{sources}sinks:\n  lake: {{ kafka: {{ brokers: \"{NOWHERE}\" }}, topic: \"fanbridge-bench.{{family}}\" }}\n"
    )
}

impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "MANY SOURCES AND TYPES, 1 KiB, {CONNECTIONS} connections\n{}\n", self.rows)?;
        let mut table = plain_table(&["SOURCES", "TYPES", "RESIDENT MiB"]);
        for (sources, types) in CASES {
            let of_case = self.resident.iter().filter(|resident| resident.sources == sources);
            let mib = median(of_case.map(|resident| resident.mib));
            table.add_row([sources.to_string(), types.to_string(), format!("{mib:.0}")]);
        }
        write!(f, "{table}")
    }
}
