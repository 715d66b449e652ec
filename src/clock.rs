//! Two clocks read at once: the wall for what is recorded, a steady one for what expires.
//!
//! Ages are measured on the steady clock, so a wall clock that is set while the bridge runs neither
//! forgets duplicates nor drops retained segments early. Only at start are recorded arrival times
//! carried over onto the steady clock. The log takes moments as arguments and reads no clock itself.

use std::time::{Duration, Instant, SystemTime};

use crate::event::Timestamp;

/// Nanoseconds on the steady clock since the spool was opened; negative before that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steady(pub i64);

impl Steady {
    /// This moment and a span later.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// This moment and a span earlier.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// What the wall clock says.
    pub wall: Timestamp,
    /// What the steady clock says.
    pub steady: Steady,
}

impl Moment {
    /// When an earlier process recorded this arrival, on the steady clock of this one. An arrival
    /// that seems to lie in the future counts as now.
    pub fn steady_of(self, arrived: Timestamp) -> Steady {
        let age = self.wall.0.saturating_sub(arrived.0).max(0);
        Steady(self.steady.0.saturating_sub(age))
    }
}

/// Reads both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    opened: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { opened: Instant::now() }
    }

    pub(super) fn now(self) -> Moment {
        Moment { wall: SystemTime::now().into(), steady: Steady::default().plus(self.opened.elapsed()) }
    }
}
