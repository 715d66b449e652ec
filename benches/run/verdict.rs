//! The targets, and whether they are met.

use serde::Serialize;

use crate::plain_table;

/// Something that a measurement needs and this machine does not have: no failure of the bridge.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Absent(pub String);

/// A number that has to be on one side of a limit.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    name: String,
    measured: f64,
    limit: Limit,
    unit: &'static str,
}

/// Which side.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum Limit {
    /// The number or more.
    AtLeast(f64),
    /// The number or less.
    AtMost(f64),
}

impl Target {
    /// `measured` in `unit` against a limit.
    pub fn new(name: impl Into<String>, measured: f64, limit: Limit, unit: &'static str) -> Self {
        Self { name: name.into(), measured, limit, unit }
    }

    /// Whether it is on the right side. What could not be measured is not.
    pub fn met(&self) -> bool {
        self.limit.met_by(self.measured)
    }
}

impl Limit {
    /// Whether the number is on the right side.
    pub fn met_by(self, number: f64) -> bool {
        match self {
            Self::AtLeast(limit) => number >= limit,
            Self::AtMost(limit) => number <= limit,
        }
    }

    /// As it is printed.
    pub fn text(self, unit: &str) -> String {
        match self {
            Self::AtLeast(limit) => format!(">= {limit} {unit}"),
            Self::AtMost(limit) => format!("<= {limit} {unit}"),
        }
    }
}

/// As it is printed.
pub fn verdict_of(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

/// As many as tell a number from its limit.
fn decimals(number: f64) -> usize {
    if number < 1.0 { 3 } else { 1 }
}

/// All targets as a table.
pub fn table(targets: &[Target]) -> comfy_table::Table {
    let mut table = plain_table(&["TARGET", "LIMIT", "MEASURED", ""]);
    for target in targets {
        let limit = target.limit.text(target.unit);
        let measured = format!("{:.*} {}", decimals(target.measured), target.measured, target.unit);
        table.add_row([target.name.as_str(), &limit, &measured, verdict_of(target.met())]);
    }
    table
}
