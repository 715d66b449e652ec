//! What a request for steps asks for: where to begin, which steps, how many, and how long to wait (pure).

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::admin::ProblemAnswer;
use crate::problem::ProblemCode;
use crate::scalars::Period;
use crate::timeline::{StepFilter, TimelineCursor};

/// Most steps of a page, and steps of one without a `limit`.
const STEPS_MAX: usize = 1000;
const STEPS_DEFAULT: usize = 100;
/// Longest wait for a step: shorter than what proxies cut.
const WAIT_MAX: Duration = Duration::from_secs(25);

/// The parameters as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StepsQuery {
    after: Option<String>,
    limit: Option<String>,
    wait: Option<String>,
    source: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    verdict: Option<String>,
    sink: Option<String>,
    id: Option<String>,
    failed: Option<String>,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct WantedSteps {
    pub(super) after: Option<After>,
    pub(super) filter: StepFilter,
    pub(super) limit: usize,
    pub(super) wait: Duration,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum After {
    /// With the oldest step that is there.
    Start,
    /// With the next one that comes.
    Now,
    /// Behind what an earlier answer said.
    Cursor(TimelineCursor),
}

impl FromStr for After {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "start" => Ok(Self::Start),
            "now" => Ok(Self::Now),
            text => text.parse().map(Self::Cursor).map_err(|error| format!("{error}, `start` or `now`")),
        }
    }
}

impl StepsQuery {
    /// What a page is asked for.
    pub(super) fn of_page(self) -> Result<WantedSteps, ProblemAnswer> {
        let limit = parsed("limit", self.limit.as_deref(), |text: &str| {
            let limit = text.parse().ok().filter(|limit| (1..=STEPS_MAX).contains(limit));
            limit.ok_or_else(|| format!("expected a number from 1 to {STEPS_MAX}"))
        })?;
        let wait = parsed("wait", self.wait.as_deref(), |text: &str| {
            let wait = text.parse::<Period>().ok().filter(|wait| wait.0 <= WAIT_MAX);
            wait.ok_or_else(|| format!("expected a time such as `20s`, at most `{}`", Period(WAIT_MAX)))
        })?;
        let after = parsed("after", self.after.as_deref(), After::from_str)?;
        let (limit, wait) = (limit.unwrap_or(STEPS_DEFAULT), wait.map_or(Duration::ZERO, |wait| wait.0));
        Ok(WantedSteps { after, filter: self.filter()?, limit, wait })
    }

    /// Where a stream begins and what is in it.
    pub(super) fn of_stream(self) -> Result<(Option<After>, StepFilter), ProblemAnswer> {
        for (name, value) in [("limit", &self.limit), ("wait", &self.wait)] {
            if value.is_some() {
                return Err(bad_query(name, "a stream has no such parameter: it waits, and never ends"));
            }
        }
        let after = parsed("after", self.after.as_deref(), After::from_str)?;
        Ok((after, self.filter()?))
    }

    fn filter(self) -> Result<StepFilter, ProblemAnswer> {
        Ok(StepFilter {
            verdict: parsed("verdict", self.verdict.as_deref(), str::parse)?,
            id: parsed("id", self.id.as_deref(), str::parse)?,
            failed: parsed("failed", self.failed.as_deref(), |text: &str| {
                text.parse::<bool>().map_err(|_| "expected true or false")
            })?
            .unwrap_or_default(),
            source: self.source,
            event_type: self.event_type,
            sink: self.sink,
        })
    }
}

/// The value of a parameter, if it is there.
pub(super) fn parsed<T, E: Display>(
    name: &str,
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, ProblemAnswer> {
    text.map(|text| parse(text).map_err(|error| bad_query(name, error))).transpose()
}

/// The answer to a parameter that cannot be used.
pub(super) fn bad_query(name: &str, error: impl Display) -> ProblemAnswer {
    ProblemAnswer::of(ProblemCode::BadQuery, format!("the parameter `{name}` cannot be used: {error}"))
}
