//! How long an acknowledgement takes at half load.
//!
//! Half of what 64 connections can drive through a settled bridge at most, found right before, and then sent
//! at that rate whatever the bridge does: an answer's time counts from when its request was due.

use serde::Serialize;
use std::fmt;

use crate::stage::{Load, Stage};
use crate::subject::Subject;
use crate::verdict::{Limit, Target};
use crate::{Plan, median, plain_table};

const CONNECTIONS: usize = 64;
const BODY_BYTES: usize = 1024;

/// What was found; one entry per round.
#[derive(Debug, Default, Serialize)]
pub struct Latency {
    verify: Vec<Sample>,
    bridge: Vec<Sample>,
}

/// One measurement of one subject.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    /// Requests per second, half of the bridge's most.
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

/// Measures the bridge, and the verify-only floor at the same rate.
///
/// # Errors
/// When a subject does not come up or does not accept everything.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Latency> {
    let mut latency = Latency::default();
    for round in 1..=plan.rounds {
        eprintln!("latency: round {round} of {}", plan.rounds);
        let dir = stage.new_dir()?;
        let bridge = Subject::Settled.start(stage, dir.path())?;
        let verify = Subject::Verify.start(stage, dir.path())?;
        Subject::Settled.warm_up(stage, &bridge)?;
        Subject::Verify.warm_up(stage, &verify)?;
        let flat_out = Load {
            to: &bridge.to,
            connections: CONNECTIONS,
            body_bytes: BODY_BYTES,
            seconds: plan.seconds,
            rate: None,
            count: None,
            more: &[],
        };
        let rate = stage.load(&flat_out)?.accepted_per_second / 2.0;
        for (running, samples) in [(&verify, &mut latency.verify), (&bridge, &mut latency.bridge)] {
            let half = Load { to: &running.to, rate: Some(rate), seconds: 2.5 * plan.seconds, ..flat_out };
            let report = stage.load(&half)?;
            samples.push(Sample {
                rate,
                p50_ms: report.p50_ms,
                p99_ms: report.p99_ms,
                p999_ms: report.p999_ms,
                max_ms: report.max_ms,
            });
        }
        bridge.child.stop()?;
    }
    Ok(latency)
}

impl Latency {
    /// What the bridge has to reach here.
    pub fn targets(&self) -> Vec<Target> {
        let p99 = median(self.bridge.iter().map(|sample| sample.p99_ms));
        vec![Target::new("acknowledgement at half load: p99", p99, Limit::AtMost(10.0), "ms")]
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = median(self.bridge.iter().map(|sample| sample.rate));
        writeln!(
            f,
            "ACKNOWLEDGEMENT LATENCY at half load, ms; {rate:.0} events/s of {BODY_BYTES} B, {CONNECTIONS} connections"
        )?;
        let mut table = plain_table(&["", "p50", "p99", "p99.9", "HIGHEST"]);
        for (name, samples) in [("verify only", &self.verify), ("fanbridge", &self.bridge)] {
            let middle = |of: fn(&Sample) -> f64| format!("{:.2}", median(samples.iter().map(of)));
            table.add_row([
                name.to_owned(),
                middle(|sample| sample.p50_ms),
                middle(|sample| sample.p99_ms),
                middle(|sample| sample.p999_ms),
                middle(|sample| sample.max_ms),
            ]);
        }
        write!(f, "{table}")
    }
}
