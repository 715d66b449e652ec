//! TLS without a proxy in front: on connections that are kept, and on a new one for each request.
//!
//! The floor has the same certificate and the same TLS. New connections come from threads that each take one
//! after the other; with full handshakes both ends work, and on a small machine they share the cores: what
//! counts there is the CPU time.

use serde::Serialize;
use std::fmt;

use crate::identity::Identity;
use crate::sample::{Rows, Sample};
use crate::stage::{Load, Stage};
use crate::subject::{Setup, Subject, warm_up_with};
use crate::{Plan, median};

const SUBJECTS: [Subject; 2] = [Subject::Verify, Subject::Bridge];
const CONNECTIONS: usize = 64;
/// Threads that open connections one after the other.
const AT_ONCE: usize = 16;

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Tls {
    rows: Rows,
    /// How many of the connections that were to take up a session did.
    resumed_percent: Vec<f64>,
}

/// Measures the bridge and the verify-only floor, with TLS and without.
///
/// # Errors
/// When a subject does not come up or does not accept everything.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Tls> {
    let mut tls = Tls::default();
    let identity = Identity::make(stage.dir())?;
    let trust = ["--certificate", identity.certificate()?];
    for round in 1..=plan.rounds {
        eprintln!("tls: round {round} of {}", plan.rounds);
        for subject in SUBJECTS {
            tls.take(stage, plan, subject, None, &[])?;
            tls.take(stage, plan, subject, Some(&identity), &trust)?;
        }
    }
    Ok(tls)
}

impl Tls {
    fn take(
        &mut self,
        stage: &Stage,
        plan: &Plan,
        subject: Subject,
        identity: Option<&Identity>,
        trust: &[&str],
    ) -> anyhow::Result<()> {
        let dir = stage.new_dir()?;
        let setup = Setup { tls: identity, ..Setup::default() };
        let running = subject.start_with(stage, dir.path(), &setup)?;
        warm_up_with(stage, &running, trust)?;
        let (name, how) = (subject.name(), if identity.is_some() { "TLS" } else { "plain" });
        let kept = Load { more: trust, ..Load::flat_out(&running.to, CONNECTIONS, plan.seconds) };
        self.rows.add(format!("{name}, {how}, kept"), Sample::take(stage, &running, &kept)?);
        for kind in ["full", "resumed"].into_iter().take(if identity.is_some() { 2 } else { 1 }) {
            let more = [trust, &["--fresh", kind]].concat();
            let load = Load { more: &more, ..Load::flat_out(&running.to, AT_ONCE, plan.seconds) };
            let cpu = running.child.cpu_seconds()?;
            let report = stage.load(&load)?;
            let sample = Sample::of(&report, running.child.cpu_seconds()? - cpu);
            let kind = if identity.is_some() { format!(", {kind} handshake") } else { String::new() };
            self.rows.add(format!("{name}, {how}, new each time{kind}"), sample);
            if kind.contains("resumed") {
                self.resumed_percent.push(100.0 * report.resumed as f64 / report.accepted as f64);
            }
        }
        running.child.stop()
    }
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "TLS, 1 KiB; {CONNECTIONS} connections that are kept, or {AT_ONCE} threads that take a new one each time\n{}",
            self.rows
        )?;
        let resumed = median(self.resumed_percent.iter().copied());
        write!(f, "Of the connections that were to resume a session, {resumed:.0} % did.")
    }
}
