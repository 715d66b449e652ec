//! Runs checks side by side, each within its time. What came before the time was over counts; a check of
//! which nothing came is `unknown`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::Mutex;

use super::Finding;
use crate::cli::Failure;

/// How long a check can take.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// How long a bridge can take to say that it runs. With [`LIMIT`] behind it all is said within 15 s.
pub(super) const RUNNING_WITHIN: Duration = Duration::from_secs(3);

/// Checks that ask the same server or disk, and so are made one after the other.
pub(super) struct Probe {
    /// The checks. Each of them has a finding in the end.
    pub checks: &'static [&'static str],
    subject: String,
    /// What it means if the first check is not over in time.
    silence: Option<Finding>,
    work: Work,
}

type Work = Box<dyn FnOnce(FoundSoFar) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// Collects what a probe has found so far.
#[derive(Clone)]
pub(super) struct FoundSoFar {
    findings: Arc<Mutex<Vec<Finding>>>,
    begun: Instant,
    tell: fn(&Finding),
}

impl FoundSoFar {
    /// Nothing yet; `tell` is called with each finding at once.
    fn new(tell: fn(&Finding)) -> Self {
        Self { findings: Arc::default(), begun: Instant::now(), tell }
    }

    /// Adds a finding, with the time since the probe began.
    pub(super) fn add(&self, finding: Finding) {
        let took_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let finding = Finding { took_ms, ..finding };
        (self.tell)(&finding);
        self.findings.lock().push(finding);
    }

    /// Whether the check has a finding already.
    pub(super) fn has(&self, check: &str) -> bool {
        self.findings.lock().iter().any(|finding| finding.check == check)
    }

    /// Adds a finding if there is one.
    pub(super) fn extend(&self, finding: Option<Finding>) {
        finding.into_iter().for_each(|finding| self.add(finding));
    }
}

impl Probe {
    /// A probe that waits for others.
    pub(super) fn new<W: Future<Output = ()> + Send + 'static>(
        checks: &'static [&'static str],
        subject: impl Into<String>,
        work: impl FnOnce(FoundSoFar) -> W + Send + 'static,
    ) -> Self {
        let work: Work = Box::new(|found| Box::pin(work(found)));
        Self { checks, subject: subject.into(), silence: None, work }
    }

    /// A probe that blocks its thread.
    pub(super) fn blocking(
        checks: &'static [&'static str],
        subject: impl Into<String>,
        work: impl FnOnce(&FoundSoFar) + Send + 'static,
    ) -> Self {
        Self::new(checks, subject, |found| async move {
            // A panic is told by the missing finding.
            let _ = tokio::task::spawn_blocking(move || work(&found)).await;
        })
    }

    /// The same, where it has a meaning that nothing comes within the time.
    pub(super) fn or_in_silence(self, finding: Finding) -> Self {
        Self { silence: Some(finding), ..self }
    }

    async fn run(self, tell: fn(&Finding)) -> Vec<Finding> {
        let Self { checks, subject, silence, work } = self;
        let found = FoundSoFar::new(tell);
        let working = tokio::spawn(work(found.clone()));
        let is_over = tokio::time::timeout(LIMIT, working).await.is_ok();
        if !is_over {
            silence.into_iter().filter(|silence| !found.has(silence.check)).for_each(|said| found.add(said));
        }
        let why = if is_over {
            "the check broke off".to_owned()
        } else {
            format!("nothing was found out within {} s", LIMIT.as_secs())
        };
        for check in checks {
            if !found.has(check) {
                found.add(Finding::unknown(check, subject.as_str(), why.as_str()));
            }
        }
        std::mem::take(&mut *found.findings.lock())
    }
}

/// Runs the probes side by side, and calls `tell` with each finding at once. A thread that hangs in a call is
/// left behind.
pub(super) fn examine(probes: Vec<Probe>, tell: fn(&Finding)) -> Result<Vec<Finding>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("cannot start the runtime", &error))?;
    let findings = runtime.block_on(join_all(probes.into_iter().map(|probe| probe.run(tell))));
    runtime.shutdown_background();
    Ok(findings.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::FindingVerdict;

    const CHECKS: &[&str] = &["first", "second"];

    #[tokio::test(start_paused = true)]
    async fn what_came_in_time_counts_and_the_rest_is_unknown() {
        let probe = Probe::new(CHECKS, "cache", |found| async move {
            found.add(Finding::ok("first", "cache", "it answers"));
            std::future::pending().await
        });
        let findings = probe.run(|_| ()).await;
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert_eq!(findings[0].verdict, FindingVerdict::Ok);
        assert_eq!((findings[1].check, findings[1].verdict), ("second", FindingVerdict::Unknown));
        assert!(findings[1].found.contains("within 10 s"), "{findings:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_that_means_something_is_no_mere_unknown() {
        let silent = || Probe::new(&["first"], "disk", |_| std::future::pending());
        let meant = silent().or_in_silence(Finding::failure("first", "disk", "it hangs")).run(|_| ()).await;
        assert_eq!((meant.len(), meant[0].verdict), (1, FindingVerdict::Failure));
        assert_eq!(silent().run(|_| ()).await[0].verdict, FindingVerdict::Unknown);
    }

    #[tokio::test]
    async fn a_check_that_breaks_off_is_unknown() {
        let findings = Probe::blocking(&["first"], "x", |_| panic!("a fault of the check")).run(|_| ()).await;
        assert_eq!((findings.len(), findings[0].verdict), (1, FindingVerdict::Unknown));
    }
}
