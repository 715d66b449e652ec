//! Whether the file system has space for the state's writes, when to try again, and what the log says.
//!
//! A shortage begins with the first write that finds no space, and ends when every writer that was deferred
//! or failed has written. So a small write that fits does not hide a large one that does not.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use schemars::JsonSchema;
use serde::Serialize;

use crate::backoff::STATE_SPACE;
use crate::telemetry::Episode;

/// A rest lasts at least this many times as long as the attempt took: most of an attempt is opening the file
/// again, which takes long if the file is large, and nobody can read it meanwhile.
const REST_FACTOR: u32 = 10;

/// The writes of the state that wait for space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Shortage {
    /// For how many seconds.
    pub seconds: u64,
    /// Whose writes wait: sinks that cannot commit their cursors, `(quarantine)`, `(types seen)`.
    pub waiting: Vec<String>,
    /// The system's error at the last attempt.
    pub detail: String,
}

/// The shortage of space of one file, if there is one.
#[derive(Debug, Default)]
pub(super) struct NoSpace {
    short: Mutex<Deferral>,
    failures: OnceLock<Counter>,
}

#[derive(Debug, Default)]
struct Deferral {
    waiting: BTreeSet<String>,
    /// The time in which writes wait, for the system's error.
    lasts: Episode<String>,
    failed_in_a_row: u32,
    rests_until: Option<Instant>,
    detail: String,
}

impl NoSpace {
    /// Counts every write that finds no space in this counter, from now on.
    pub(super) fn count_in(&self, failures: Counter) {
        // A second counter is ignored: a state belongs to one bridge.
        let _ = self.failures.set(failures);
    }

    /// Whether the rest is over, so that a write is tried and the file is opened again for it.
    pub(super) fn may_try(&self, now: Instant) -> bool {
        self.short().rests_until.is_none_or(|until| until <= now)
    }

    /// Notes that these writers' writes were deferred without an attempt.
    pub(super) fn deferred(&self, who: &[&str]) {
        let mut short = self.short();
        // Only an attempt begins a shortage.
        if short.lasts.is_ongoing() {
            short.waiting.extend(who.iter().map(|&name| name.to_owned()));
        }
    }

    /// Notes that a write of these writers found no space, and how long the attempt took.
    pub(super) fn failed(&self, who: &[&str], detail: String, took: Duration, now: Instant) {
        if let Some(failures) = self.failures.get() {
            failures.inc();
        }
        let mut short = self.short();
        short.failed_in_a_row = short.failed_in_a_row.saturating_add(1);
        let rest = STATE_SPACE.step(short.failed_in_a_row);
        short.rests_until = Some(now + rest.max(took * REST_FACTOR));
        short.detail.clone_from(&detail);
        short.waiting.extend(who.iter().map(|&name| name.to_owned()));
        if short.waiting.is_empty() {
            return;
        }
        if let Some(news) = short.lasts.happens(detail, now) {
            tracing::error!(
                seconds = news.seconds(),
                waiting = ?short.waiting,
                detail = short.detail,
                "the state file cannot be written for now: the commits of {waiting:?} wait, each sink among \
                 them stops at 8,192 uncommitted records, and a crash repeats what was delivered since its \
                 last commit; mend what the detail says, such as no space on the file system of `spool.dir`",
                waiting = short.waiting
            );
        }
    }

    /// Notes that a write of these writers took effect.
    pub(super) fn wrote(&self, who: &[&str], now: Instant) {
        let mut short = self.short();
        (short.failed_in_a_row, short.rests_until) = (0, None);
        for name in who {
            short.waiting.remove(*name);
        }
        if short.waiting.is_empty()
            && let Some(end) = short.lasts.over(now)
        {
            let seconds = end.seconds();
            tracing::info!(seconds, "there is space for the state file again: every waiting commit was made");
        }
    }

    /// The shortage, if there is one.
    pub(super) fn shortage(&self, now: Instant) -> Option<Shortage> {
        let short = self.short();
        Some(Shortage {
            seconds: short.lasts.lasts(now)?.as_secs(),
            waiting: short.waiting.iter().cloned().collect(),
            detail: short.detail.clone(),
        })
    }

    /// The system's error at the last attempt.
    pub(super) fn detail(&self) -> String {
        self.short().detail.clone()
    }

    fn short(&self) -> MutexGuard<'_, Deferral> {
        self.short.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::ZERO;

    fn failed(space: &NoSpace, who: &str, took: Duration, now: Instant) {
        space.failed(&[who], "no space left".into(), took, now);
    }

    #[test]
    fn a_shortage_lasts_until_all_who_were_turned_away_are_served() {
        let (space, now) = (NoSpace::default(), Instant::now());
        space.deferred(&["early"]);
        assert_eq!(space.shortage(now), None, "no attempt has failed yet");
        failed(&space, "(quarantine)", QUICK, now);
        space.deferred(&["lake"]);
        space.wrote(&["lake"], now);
        let later = now + Duration::from_secs(7);
        let shortage =
            Shortage { seconds: 7, waiting: vec!["(quarantine)".into()], detail: "no space left".into() };
        assert_eq!(space.shortage(later), Some(shortage), "a small write that fits is not the end of it");
        space.wrote(&["(quarantine)"], later);
        assert_eq!(space.shortage(later), None);
    }

    #[test]
    fn rests_grow_to_a_second_and_begin_anew_after_a_write_that_took_effect() {
        let (space, now) = (NoSpace::default(), Instant::now());
        let rest = |took| {
            failed(&space, "lake", took, now);
            (0..200).map(|n| Duration::from_millis(50 * n)).find(|after| space.may_try(now + *after))
        };
        let rests: Vec<_> = (0..4).map(|_| rest(QUICK).expect("it ends").as_millis()).collect();
        assert_eq!(rests, [250, 500, 1000, 1000]);
        space.wrote(&["lake"], now);
        assert!(space.may_try(now));
        assert_eq!(rest(QUICK), Some(Duration::from_millis(250)));
        assert_eq!(rest(Duration::from_millis(600)), Some(Duration::from_secs(6)), "a slow attempt");
    }

    #[test]
    fn a_write_that_nobody_will_repeat_is_no_shortage() {
        let (space, now) = (NoSpace::default(), Instant::now());
        space.failed(&[], "no space left".into(), QUICK, now);
        assert_eq!(space.shortage(now), None);
        assert!(!space.may_try(now));
    }
}
