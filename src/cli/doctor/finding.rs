//! What a check has found, with what to do about it (pure).

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::explain::cause::{plural, quoted};

/// What one check has found of one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The check's name, from [`super::CHECKS`].
    pub check: &'static str,
    /// What was looked at: a sink, a source, a directory.
    pub subject: String,
    /// How it is.
    pub verdict: FindingVerdict,
    /// What was found, in a sentence. Contains no secret and no body.
    pub found: String,
    /// What to do, if something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// A command that does it, or that shows more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// How long the check took.
    pub took_ms: u64,
}

/// How a subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FindingVerdict {
    /// It is as it has to be.
    Ok,
    /// It works, and will fail or lose events in a foreseeable case.
    Warning,
    /// It does not work.
    Failure,
    /// It cannot be told.
    Unknown,
    /// There is nothing to look at.
    Skipped,
}

impl FindingVerdict {
    /// The verdict's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }
}

impl Finding {
    pub(super) fn ok(check: &'static str, subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(FindingVerdict::Ok, check, subject, found)
    }

    pub(super) fn warning(check: &'static str, subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(FindingVerdict::Warning, check, subject, found)
    }

    pub(super) fn failure(check: &'static str, subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(FindingVerdict::Failure, check, subject, found)
    }

    pub(super) fn unknown(check: &'static str, subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(FindingVerdict::Unknown, check, subject, found)
    }

    pub(super) fn skipped(check: &'static str, subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(FindingVerdict::Skipped, check, subject, found)
    }

    /// A finding with this verdict, and nothing to be done.
    pub(super) fn new(
        verdict: FindingVerdict,
        check: &'static str,
        subject: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let (subject, found) = (subject.into(), found.into());
        Self { check, subject, verdict, found, fix: None, command: None, took_ms: 0 }
    }

    /// The same with what to do.
    pub(super) fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    /// The same with a command that shows more, unless all is well.
    pub(super) fn command_if_bad(self, command: impl Into<String>) -> Self {
        if self.verdict == FindingVerdict::Ok { self } else { self.command(command) }
    }

    /// The same with a command that does it.
    pub(super) fn command(self, command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..self }
    }
}

/// The first names of a list, and how many more there are.
pub(super) fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    const NAMED_MAX: usize = 3;
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(NAMED_MAX) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

/// A count with its noun.
pub(super) fn counted(count: usize, noun: &str) -> String {
    plural(count as u64, noun)
}

/// A size in the largest unit of which it has one.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => counted(usize::try_from(bytes).unwrap_or(usize::MAX), "byte"),
    }
}

/// A path as a word of a command.
pub(super) fn shown_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_shown_by_its_beginning_and_its_length() {
        assert_eq!(named(["a", "b", "c"]), "a, b, c");
        assert_eq!(named(["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
        assert_eq!(named([]), "");
    }

    #[test]
    fn a_size_is_written_in_its_unit() {
        assert_eq!((bytes(3 << 30), bytes(1536)), ("3.0 GiB".into(), "1.5 KiB".into()));
        assert_eq!(bytes(17), "17 bytes");
    }
}
