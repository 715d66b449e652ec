//! The alerts: when each fires, what it says, what to do, and series under which it has to fire and to stay
//! silent. From here come the rules for Prometheus, their tests, and a section of `docs/OPERATING.md`.

mod deliveries;
mod disk;
mod sinks;

/// How soon somebody has to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertSeverity {
    /// Now: events are refused, or lost for a sink.
    Critical,
    /// Today: nothing is lost yet.
    Warning,
}

impl AlertSeverity {
    /// The value of the label `severity`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// One alert.
#[derive(Clone, Copy, Debug)]
pub struct AlertRow {
    /// Its name.
    pub name: &'static str,
    /// The expression in PromQL.
    pub expr: &'static str,
    /// How long it has to be true, as Prometheus writes a duration.
    pub hold: &'static str,
    /// How soon somebody has to look.
    pub severity: AlertSeverity,
    /// What is wrong, with the labels of the series.
    pub summary: &'static str,
    /// What to do.
    pub advice: &'static str,
    /// When it has to fire.
    pub fires: AlertCase,
    /// Series under which it has to stay silent.
    pub silent: &'static [(&'static str, &'static str)],
}

/// Series, and the labels of the alert that they make.
#[derive(Clone, Copy, Debug)]
pub struct AlertCase {
    /// Series and their values, a minute apart, as `promtool test rules` reads them.
    pub series: &'static [(&'static str, &'static str)],
    /// When it is looked at.
    pub at: &'static str,
    /// The labels of the alert, besides its severity.
    pub labels: &'static [(&'static str, &'static str)],
}

/// Every alert.
pub fn alerts() -> impl Iterator<Item = &'static AlertRow> {
    [disk::DISK, deliveries::DELIVERIES, sinks::SINKS].into_iter().flatten()
}
