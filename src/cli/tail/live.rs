//! The lines of `tail` where the bridge itself runs, from its own timeline.
//!
//! A thread of its own prints them: whatever reads stdout can stop, and holds no delivery up and no end. What
//! it has not read by the time the timeline is full is counted and left out.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::super::output::print_while_read;
use super::lines::{StepLines, missed, remark};
use crate::config::Config;
use crate::timeline::{StepFilter, StepKind, Timeline};

/// Most steps that are printed at once.
const STEPS_MAX: usize = 1000;
/// How long the last lines can take to be printed.
const ENDS_WITHIN: Duration = Duration::from_millis(500);

/// What the lines of a bridge need of its configuration.
#[derive(Debug)]
pub(in crate::cli) struct LiveTail {
    lines: StepLines,
}

/// Lines that are being printed.
#[derive(Debug)]
pub(in crate::cli) struct RunningTail {
    stop: CancellationToken,
    ended: Receiver<()>,
}

impl LiveTail {
    /// The lines of a bridge with this configuration.
    pub(in crate::cli) fn new(config: &Config) -> Self {
        Self { lines: StepLines::new(config.sinks.len(), false) }
    }

    /// Begins to print what is in the timeline and what comes. `selected_by` tells to which sinks an event of
    /// a type goes. Has to be called in a runtime.
    pub(in crate::cli) fn begin(
        mut self,
        timeline: Timeline,
        selected_by: impl Fn(&str) -> Vec<String> + Send + 'static,
    ) -> RunningTail {
        let (runtime, stop) = (Handle::current(), CancellationToken::new());
        let (ending, ended) = channel::<()>();
        let stopped = stop.clone();
        let printing = std::thread::Builder::new().name("tail".into()).spawn(move || {
            self.follow(&timeline, &selected_by, &stopped, &runtime);
            drop(ending);
        });
        if let Err(error) = printing {
            tracing::warn!(%error, "what happens cannot be shown: no thread can be started for it");
        }
        RunningTail { stop, ended }
    }

    /// Prints until nobody reads, or until it is stopped and nothing is left.
    fn follow(
        &mut self,
        timeline: &Timeline,
        selected_by: &dyn Fn(&str) -> Vec<String>,
        stop: &CancellationToken,
        runtime: &Handle,
    ) {
        let mut after = timeline.start();
        loop {
            // Asked first: what was noted before the stop is on the page then.
            let is_stopped = stop.is_cancelled();
            let page = timeline.page(Some(after), &StepFilter::default(), STEPS_MAX);
            after = page.next;
            let mut text = String::new();
            if page.missed > 0 {
                text.push_str(&remark(&missed(page.missed)));
            }
            for step in &page.steps {
                let selected_by = match &step.kind {
                    StepKind::Taken(taken) => Some(selected_by(&taken.event_type)),
                    _ => None,
                };
                if let Some(line) = self.lines.line(step, selected_by.as_deref(), &mut text) {
                    text.push_str(&line);
                    text.push('\n');
                }
            }
            if !text.is_empty() && !print_while_read(&text).unwrap_or(false) {
                return;
            }
            if page.steps.is_empty() {
                if is_stopped {
                    return;
                }
                runtime.block_on(async {
                    tokio::select! {
                        () = timeline.changed(after) => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
        }
    }
}

impl RunningTail {
    /// Prints what is left, for as long as that is read.
    pub(in crate::cli) fn end(self) {
        self.stop.cancel();
        // Both results are errors: the channel is closed because the thread has ended, or the time is over.
        let _ = self.ended.recv_timeout(ENDS_WITHIN);
    }
}
