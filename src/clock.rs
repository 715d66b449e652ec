//! Two clocks read at once: the wall clock for times that are recorded, a steady clock for ages.
//!
//! Ages are measured on the steady clock, so setting the wall clock while the bridge runs neither makes it
//! forget duplicate keys nor removes retained segments early. Only at start are recorded arrival times
//! converted to the steady clock. The log takes moments as arguments and reads no clock itself.

use std::time::{Duration, Instant, SystemTime};

use crate::event::Timestamp;

/// Nanoseconds on the steady clock since the spool was opened; negative before that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steady(pub i64);

impl Steady {
    /// The moment a span after this one.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// The moment a span before this one.
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
    /// The time on the wall clock: UTC.
    pub wall: Timestamp,
    /// The time on the steady clock.
    pub steady: Steady,
}

impl Moment {
    /// The moment of an arrival that an earlier process recorded, on the steady clock of this process. An
    /// arrival that seems to be in the future counts as now.
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
