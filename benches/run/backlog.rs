//! What a backlog costs that no sink takes: memory, and the speed of the intake as it grows.

use serde::Serialize;
use std::fmt;

use crate::stage::{Load, Stage};
use crate::subject::{Subject, warm_up};
use crate::verdict::{Limit, Target};
use crate::{Plan, median, plain_table};

const STEPS: u64 = 10;
/// How many steps at each end are compared: a single one would be noise.
const COMPARED: usize = 3;
const CONNECTIONS: usize = 64;
const BODY_BYTES: usize = 1024;

/// What was found, step by step.
#[derive(Debug, Serialize)]
pub struct Backlog {
    steps: Vec<Step>,
    peak_mib: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Step {
    /// Events that no sink has taken.
    undelivered: u64,
    per_second: f64,
    resident_mib: f64,
}

/// Fills the spool while the only sink is down.
///
/// # Errors
/// When the bridge does not come up or does not accept everything.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Backlog> {
    eprintln!("backlog: {} events that no sink takes", plan.backlog_events);
    let dir = stage.new_dir()?;
    let bridge = Subject::Bridge.start(stage, dir.path())?;
    warm_up(stage, &bridge)?;
    let mut steps = Vec::new();
    for step in 1..=STEPS {
        let report = stage.load(&Load {
            to: &bridge.to,
            connections: CONNECTIONS,
            body_bytes: BODY_BYTES,
            seconds: 600.0,
            rate: None,
            count: Some(plan.backlog_events / STEPS),
            more: &[],
        })?;
        steps.push(Step {
            undelivered: step * plan.backlog_events / STEPS,
            per_second: report.accepted_per_second,
            resident_mib: bridge.child.resident_mib()?.now,
        });
    }
    let peak_mib = bridge.child.resident_mib()?.peak;
    bridge.child.stop()?;
    Ok(Backlog { steps, peak_mib })
}

impl Backlog {
    fn slower_percent(&self) -> f64 {
        let rates = |steps: &[Step]| median(steps.iter().map(|step| step.per_second));
        let first = rates(&self.steps[..COMPARED]);
        let last = rates(&self.steps[self.steps.len() - COMPARED..]);
        100.0 * (1.0 - last / first)
    }

    /// What the bridge has to reach here.
    pub fn targets(&self) -> Vec<Target> {
        let events = self.steps.last().map_or(0, |step| step.undelivered);
        let name = format!("backlog of {events}");
        vec![
            Target::new(
                format!("{name}: resident memory at its highest"),
                self.peak_mib,
                Limit::AtMost(100.0),
                "MiB",
            ),
            Target::new(format!("{name}: intake slower by"), self.slower_percent(), Limit::AtMost(15.0), "%"),
        ]
    }
}

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "A BACKLOG GROWS; the sink is down, {BODY_BYTES} B, {CONNECTIONS} connections")?;
        let mut table = plain_table(&["UNDELIVERED", "events/s", "RESIDENT MiB"]);
        for step in &self.steps {
            table.add_row([
                step.undelivered.to_string(),
                format!("{:.0}", step.per_second),
                format!("{:.0}", step.resident_mib),
            ]);
        }
        write!(f, "{table}")
    }
}
