//! Whether there is room for what the state is to keep, when to try again, and what the log says.
//!
//! The state is short of room from the first write that found none until all who were turned away
//! have been served: so what is small and fits does not hide what does not.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use serde::Serialize;

/// The first rest after a write that found no room; the second is twice as long, and so on.
const REST_MIN: Duration = Duration::from_millis(250);
/// The longest rest, unless attempts are slow: somebody who made room sees it used at once.
const REST_MAX: Duration = Duration::from_secs(1);
/// A rest lasts at least so many times what the attempt took: of a large file most of that is
/// opening it again, and nobody can read it meanwhile.
const REST_FACTOR: u32 = 10;

/// What cannot be kept for want of room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shortage {
    /// For how long.
    pub seconds: u64,
    /// Whose writes wait: sinks that cannot keep their cursors, `(quarantine)`, `(types seen)`.
    pub waiting: Vec<String>,
    /// What the system said.
    pub detail: String,
}

/// The room of one file.
#[derive(Debug, Default)]
pub(super) struct NoSpace {
    short: Mutex<Deferral>,
    failures: OnceLock<Counter>,
}

#[derive(Debug, Default)]
struct Deferral {
    waiting: BTreeSet<String>,
    since: Option<Instant>,
    failed_in_a_row: u32,
    rests_until: Option<Instant>,
    detail: String,
}

impl NoSpace {
    /// Counts every write that finds no room here, from now on.
    pub(super) fn count_in(&self, failures: Counter) {
        // Whoever came first stays: there is one bridge to a state.
        let _ = self.failures.set(failures);
    }

    /// Whether a write may be tried, and the file be opened again for it.
    pub(super) fn may_try(&self, now: Instant) -> bool {
        self.short().rests_until.is_none_or(|until| until <= now)
    }

    /// These were turned away untried.
    pub(super) fn deferred(&self, who: &[&str]) {
        let mut short = self.short();
        // They are part of a shortage, and never its beginning.
        if short.since.is_some() {
            short.waiting.extend(who.iter().map(|&name| name.to_owned()));
        }
    }

    /// A write of theirs found no room, after so long.
    pub(super) fn failed(&self, who: &[&str], detail: String, took: Duration, now: Instant) {
        if let Some(failures) = self.failures.get() {
            failures.inc();
        }
        let mut short = self.short();
        let rest = (REST_MIN * (1 << short.failed_in_a_row.min(2))).min(REST_MAX);
        short.failed_in_a_row = short.failed_in_a_row.saturating_add(1);
        short.rests_until = Some(now + rest.max(took * REST_FACTOR));
        short.detail = detail;
        short.waiting.extend(who.iter().map(|&name| name.to_owned()));
        if !short.waiting.is_empty() && short.since.is_none() {
            short.since = Some(now);
            tracing::error!(
                waiting = ?short.waiting,
                detail = short.detail,
                "no room to keep the cursor: delivery goes on as far as the window of each sink allows, and \
                 a crash now repeats what was delivered since; make room on the file system of `spool.dir`"
            );
        }
    }

    /// A write of theirs took effect.
    pub(super) fn wrote(&self, who: &[&str], now: Instant) {
        let mut short = self.short();
        (short.failed_in_a_row, short.rests_until) = (0, None);
        for name in who {
            short.waiting.remove(*name);
        }
        if short.waiting.is_empty()
            && let Some(since) = short.since.take()
        {
            let seconds = now.saturating_duration_since(since).as_secs();
            tracing::info!(seconds, "there is room again: all cursors are kept");
        }
    }

    /// The shortage, if there is one.
    pub(super) fn shortage(&self, now: Instant) -> Option<Shortage> {
        let short = self.short();
        Some(Shortage {
            seconds: now.saturating_duration_since(short.since?).as_secs(),
            waiting: short.waiting.iter().cloned().collect(),
            detail: short.detail.clone(),
        })
    }

    /// What the system said last.
    pub(super) fn detail(&self) -> String {
        self.short().detail.clone()
    }

    /// Every change is whole before anything that could panic.
    fn short(&self) -> MutexGuard<'_, Deferral> {
        self.short.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::ZERO;

    fn failed(room: &NoSpace, who: &str, took: Duration, now: Instant) {
        room.failed(&[who], "no space left".into(), took, now);
    }

    #[test]
    fn a_shortage_lasts_until_all_who_were_turned_away_are_served() {
        let (room, now) = (NoSpace::default(), Instant::now());
        room.deferred(&["early"]);
        assert_eq!(room.shortage(now), None, "nobody has been told that there is no room");
        failed(&room, "(quarantine)", QUICK, now);
        room.deferred(&["lake"]);
        room.wrote(&["lake"], now);
        let later = now + Duration::from_secs(7);
        let shortage =
            Shortage { seconds: 7, waiting: vec!["(quarantine)".into()], detail: "no space left".into() };
        assert_eq!(room.shortage(later), Some(shortage), "a small write that fits is not the end of it");
        room.wrote(&["(quarantine)"], later);
        assert_eq!(room.shortage(later), None);
    }

    #[test]
    fn rests_grow_to_a_second_and_begin_anew_after_a_write_that_took_effect() {
        let (room, now) = (NoSpace::default(), Instant::now());
        let rest = |took| {
            failed(&room, "lake", took, now);
            (0..200).map(|n| Duration::from_millis(50 * n)).find(|after| room.may_try(now + *after))
        };
        let rests: Vec<_> = (0..4).map(|_| rest(QUICK).expect("it ends").as_millis()).collect();
        assert_eq!(rests, [250, 500, 1000, 1000]);
        room.wrote(&["lake"], now);
        assert!(room.may_try(now));
        assert_eq!(rest(QUICK), Some(Duration::from_millis(250)));
        assert_eq!(rest(Duration::from_millis(600)), Some(Duration::from_secs(6)), "a slow attempt");
    }

    #[test]
    fn a_write_that_nobody_will_repeat_is_no_shortage() {
        let (room, now) = (NoSpace::default(), Instant::now());
        room.failed(&[], "no space left".into(), QUICK, now);
        assert_eq!(room.shortage(now), None);
        assert!(!room.may_try(now));
    }
}
