//! The targets, and whether they are met.

use serde::Serialize;

use crate::plain_table;

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
        match self.limit {
            Limit::AtLeast(limit) => self.measured >= limit,
            Limit::AtMost(limit) => self.measured <= limit,
        }
    }
}

/// As many as tell a number from its limit.
fn decimals(number: f64) -> usize {
    if number < 1.0 { 3 } else { 1 }
}

/// All targets as a table.
pub fn table(targets: &[Target]) -> comfy_table::Table {
    let mut table = plain_table(&["TARGET", "LIMIT", "MEASURED", ""]);
    for target in targets {
        let limit = match target.limit {
            Limit::AtLeast(limit) => format!(">= {limit} {}", target.unit),
            Limit::AtMost(limit) => format!("<= {limit} {}", target.unit),
        };
        let measured = format!("{:.*} {}", decimals(target.measured), target.measured, target.unit);
        let verdict = if target.met() { "met" } else { "MISSED" };
        table.add_row([target.name.as_str(), &limit, &measured, verdict]);
    }
    table
}
