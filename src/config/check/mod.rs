//! The checks of meaning: whether the values of a configuration make sense, alone and together.
//!
//! [`Check`] has the report and what every check needs. Each other file adds the checks of its noun, so
//! that this one knows none of them.

mod ack;
mod attributes;
mod aws;
mod kafka;
mod limits;
pub(super) mod placeholders;
mod secrets;
pub(super) mod selection;
pub(super) mod sinks;
mod sizes;
pub(super) mod sources;
mod sources_together;
mod spool;
mod timeline;
mod traces;

use std::collections::BTreeSet;
use std::io;
use std::path::Path as FilePath;

use super::aws_secrets::FetchedSecrets;
use super::report::{Problem, Report, Severity};
use super::yaml::spans::{Path, Spans};
use crate::aws::AwsOptions;
use crate::event::Timestamp;
use crate::reference::AwsSecret;
use crate::scalars::{SIZE_TITLES, Size, out_of_bounds};

/// Access to the environment, for a configuration.
pub struct Environment<'o> {
    /// Reads an environment variable, `None` if it is not set.
    pub env: &'o dyn Fn(&str) -> Option<String>,
    /// Reads a file.
    pub read: &'o dyn Fn(&FilePath) -> io::Result<Vec<u8>>,
    /// The current time.
    pub now: Timestamp,
}

/// A configuration that is being checked.
pub(super) struct Check<'c> {
    pub(super) report: Report,
    pub(super) places: Spans,
    pub(super) outside: &'c Environment<'c>,
    /// How AWS is reached.
    pub(super) aws: AwsOptions,
    /// What AWS keeps, if it was asked.
    pub(super) fetched: Option<&'c FetchedSecrets>,
    /// What AWS is to be asked for.
    pub(super) aws_secrets: BTreeSet<AwsSecret>,
}

impl Check<'_> {
    /// Whether the file has a value at this path that was not refused: in place of a refused one stands the
    /// default, of which the file knows nothing.
    pub(super) fn has_usable(&self, at: &Path) -> bool {
        self.places.has(at) && !self.is_refused(at)
    }

    fn is_refused(&self, at: &Path) -> bool {
        let path = at.to_string();
        self.report
            .problems()
            .iter()
            .any(|problem| problem.severity == Severity::Error && problem.path == path)
    }

    /// Reports a size below its minimum, which another value demands.
    pub(super) fn at_least(&mut self, at: &Path, size: Size, least: Size) {
        if self.is_refused(at) {
            return;
        }
        if let Some((title, label)) = out_of_bounds(size, Some(least), None, SIZE_TITLES, &at.to_string()) {
            self.error(at, title, label);
        }
    }

    /// Reports an error at the value of `at`.
    pub(super) fn error(&mut self, at: &Path, title: &str, label: String) -> &mut Problem {
        let span = self.places.value(at);
        self.add(Severity::Error, span, at, title, label)
    }

    /// Reports an error at the key of `at`.
    pub(super) fn error_at_key(&mut self, at: &Path, title: &str, label: String) -> &mut Problem {
        let span = self.places.key(at);
        self.add(Severity::Error, span, at, title, label)
    }

    /// Reports a warning at the value of `at`.
    pub(super) fn warning(&mut self, at: &Path, title: &str, label: String) -> &mut Problem {
        let span = self.places.value(at);
        self.add(Severity::Warning, span, at, title, label)
    }

    fn add(
        &mut self,
        severity: Severity,
        span: std::ops::Range<usize>,
        at: &Path,
        title: &str,
        label: String,
    ) -> &mut Problem {
        let path = at.to_string();
        let (title, notes) = (title.into(), Vec::new());
        self.report.add(Problem { severity, title, label, notes, span, path, passes: false })
    }

    /// Reports a name that is not `[a-z0-9-]{1,63}`, because names become part of paths, files and
    /// labels.
    pub(super) fn check_name(&mut self, at: &Path, name: &str) {
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=63).contains(&name.len()) || !name.chars().all(fine) {
            let label = "expected 1 to 63 characters of a-z, 0-9 and `-`".into();
            self.error_at_key(at, &format!("unusable name `{}`", name.escape_debug()), label);
        }
    }

    /// Reports a name that has another meaning where names are shown.
    pub(super) fn check_free(&mut self, at: &Path, name: &str, (taken, meaning): (&str, &str)) {
        if name == taken {
            let label = format!("this name stands for {meaning}; choose another one");
            self.error_at_key(at, &format!("reserved name `{name}`"), label);
        }
    }
}
