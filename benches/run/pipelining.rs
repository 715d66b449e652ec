//! Several requests on the wire of one connection, as proxies and gateways send them.

use serde::Serialize;
use std::fmt;

use crate::Plan;
use crate::sample::{Rows, Sample};
use crate::stage::{Load, Stage};
use crate::subject::{Subject, warm_up};

const SUBJECTS: [Subject; 3] = [Subject::Verify, Subject::Keep, Subject::Bridge];

/// Connections, and requests on the wire of each: the last two have as many requests at once.
const CASES: [(usize, usize); 3] = [(4, 1), (4, 16), (64, 1)];

/// What was found.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Pipelining(Rows);

/// Measures the floors and the bridge in turn.
///
/// # Errors
/// When a subject does not come up or does not accept everything.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Pipelining> {
    let mut pipelining = Pipelining::default();
    for round in 1..=plan.rounds {
        eprintln!("pipelining: round {round} of {}", plan.rounds);
        let dir = stage.new_dir()?;
        let mut subjects = Vec::new();
        for subject in SUBJECTS {
            let running = subject.start(stage, dir.path())?;
            warm_up(stage, &running)?;
            subjects.push((subject, running));
        }
        for (connections, depth) in CASES {
            let text = depth.to_string();
            for (subject, running) in &subjects {
                let load = Load {
                    more: &["--pipeline", &text],
                    ..Load::flat_out(&running.to, connections, plan.seconds)
                };
                let name = format!("{connections} connections, {depth} at once on each: {}", subject.name());
                pipelining.0.add(name, Sample::take(stage, running, &load)?);
            }
        }
        for (_, running) in subjects {
            running.child.stop()?;
        }
    }
    Ok(pipelining)
}

impl fmt::Display for Pipelining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PIPELINED REQUESTS, 1 KiB\n{}", self.0)
    }
}
