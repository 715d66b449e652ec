//! The lines of steps that follow each other, with a line where a new day begins.

use std::time::SystemTime;

use super::super::output::terminal_width;
use super::line::{LineOptions, day, line};
use crate::event::Timestamp;
use crate::explain::cause::grouped;
use crate::timeline::Step;

/// What the lines of steps that follow each other have in common.
#[derive(Debug)]
pub(super) struct StepLines {
    options: LineOptions,
    /// The day of the last line in UTC.
    day: String,
}

impl StepLines {
    /// Lines for stdout, of a bridge with so many sinks.
    pub(super) fn new(sinks: usize, shows_accepted: bool) -> Self {
        let options =
            LineOptions { names_sinks: sinks > 1, shows_accepted, width: terminal_width().map(usize::from) };
        Self { options, day: day(Timestamp::from(SystemTime::now())) }
    }

    /// The line of a step, if it has one. A new day is remarked in `text`.
    pub(super) fn line(
        &mut self,
        step: &Step,
        selected_by: Option<&[String]>,
        text: &mut String,
    ) -> Option<String> {
        let line = line(step, selected_by, self.options)?;
        let day = day(step.at);
        if self.day != day {
            text.push_str(&remark(&day));
            self.day = day;
        }
        Some(line)
    }
}

/// A line that is no step.
pub(super) fn remark(words: &str) -> String {
    format!("-- {words}\n")
}

/// What is said of steps that are gone.
pub(super) fn missed(steps: u64) -> String {
    format!("{} steps were not shown", grouped(steps))
}
