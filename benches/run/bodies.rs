//! Compressed bodies and large ones.

use serde::Serialize;
use std::fmt;

use crate::Plan;
use crate::sample::{Rows, Sample};
use crate::stage::{Load, Stage};
use crate::subject::{Subject, warm_up};

const SUBJECTS: [Subject; 3] = [Subject::Verify, Subject::Keep, Subject::Bridge];

/// Name, bytes, whether compressed, connections, and threads of the load: a body that does not fit a
/// socket's buffer holds its thread up.
const CASES: [(&str, usize, bool, usize, usize); 6] = [
    ("4 KiB", 4 << 10, false, 64, 1),
    ("4 KiB, gzip", 4 << 10, true, 64, 1),
    ("64 KiB", 64 << 10, false, 16, 4),
    ("64 KiB, gzip", 64 << 10, true, 16, 4),
    ("1 MiB", 1 << 20, false, 8, 8),
    ("1 MiB, gzip", 1 << 20, true, 8, 8),
];

/// What was found.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Bodies(Rows);

/// Measures the floors and the bridge in turn.
///
/// # Errors
/// When a subject does not come up or does not accept everything.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Bodies> {
    let mut bodies = Bodies::default();
    for round in 1..=plan.rounds {
        eprintln!("bodies: round {round} of {}", plan.rounds);
        let dir = stage.new_dir()?;
        let mut subjects = Vec::new();
        for subject in SUBJECTS {
            let running = subject.start(stage, dir.path())?;
            warm_up(stage, &running)?;
            subjects.push((subject, running));
        }
        for (name, body_bytes, gzip, connections, threads) in CASES {
            let threads = threads.to_string();
            let more = ["--threads", &threads, "--gzip"];
            for (subject, running) in &subjects {
                let load = Load {
                    body_bytes,
                    more: &more[..if gzip { 3 } else { 2 }],
                    ..Load::flat_out(&running.to, connections, plan.seconds)
                };
                let sample = Sample::take(stage, running, &load)?;
                bodies.0.add(format!("{name}, {connections} connections: {}", subject.name()), sample);
            }
        }
        for (_, running) in subjects {
            running.child.stop()?;
        }
    }
    Ok(bodies)
}

impl fmt::Display for Bodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "COMPRESSED AND LARGE BODIES; sizes are those before compression\n{}", self.0)
    }
}
