//! Decides when trouble that lasts is logged (pure).
//!
//! Trouble that lasts is found again with every attempt, and the log has one line when it begins and one when
//! it ends. [`Episode`] says when such a line is due; its owner writes it, in words of its own.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Shortest time between two lines of one episode about the same cause.
const CAUSE_TOLD_EVERY: Duration = Duration::from_secs(60);
/// Most lines of one episode about changed causes within [`CAUSE_TOLD_EVERY`].
const CAUSES_TOLD_MAX: usize = 6;

/// Trouble that comes and goes, with its present cause.
#[derive(Clone, Debug)]
pub struct Episode<C> {
    /// How long it must stay away before its end is told.
    ends_after: Duration,
    /// Whether it is told again every [`CAUSE_TOLD_EVERY`], though its cause is the same.
    reminds: bool,
    ongoing: Option<Ongoing<C>>,
}

#[derive(Clone, Debug)]
struct Ongoing<C> {
    since: Instant,
    times: u64,
    /// How often it happened after it was told last.
    unsaid: u64,
    /// The causes that were told, the newest last, no cause twice. Entries older than [`CAUSE_TOLD_EVERY`] go
    /// when another cause comes.
    told: Vec<(C, Instant)>,
    over_since: Option<Instant>,
}

/// Why a line about an ongoing episode is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpisodeStage {
    /// It begins.
    Begins,
    /// It goes on for another cause.
    Changed,
    /// It goes on for the same cause, and nothing was told for long.
    Still,
}

/// A line that is due about an ongoing episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpisodeNews {
    /// Why the line is due.
    pub stage: EpisodeStage,
    /// How long the episode has lasted so far.
    pub lasts: Duration,
    /// How often it happened without a line since the last one; `None` for never, so that a field of
    /// the line is left out.
    pub unsaid: Option<NonZeroU64>,
}

impl EpisodeNews {
    /// How many seconds it has lasted, for the field `seconds` of the line; `None` if it begins.
    pub fn seconds(&self) -> Option<u64> {
        (self.stage != EpisodeStage::Begins).then_some(self.lasts.as_secs())
    }
}

/// The line that is due about the end of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpisodeEnd {
    /// How long it lasted.
    pub lasted: Duration,
    /// How often it happened.
    pub times: u64,
}

impl EpisodeEnd {
    /// How many seconds it lasted, for the field `seconds` of the line.
    pub fn seconds(&self) -> u64 {
        self.lasted.as_secs()
    }
}

impl<C> Default for Episode<C> {
    /// An episode whose end is told at once, and that is told again only if its cause changes.
    fn default() -> Self {
        Self { ends_after: Duration::ZERO, reminds: false, ongoing: None }
    }
}

impl<C: PartialEq> Episode<C> {
    /// An episode that counts as over once it has not happened for this long: what comes and goes faster is
    /// one episode.
    pub fn ending_after(ends_after: Duration) -> Self {
        Self { ends_after, ..Self::default() }
    }

    /// An episode whose end is told at once, and that is told again every minute.
    pub fn reminding() -> Self {
        Self { reminds: true, ..Self::default() }
    }

    /// Notes that it happens, or still lasts. Returns the line that is due, if one is: when the episode
    /// begins, when its cause is another than in the line before, and when a reminder is due. Alternating
    /// causes are told once a minute each, and no more than [`CAUSES_TOLD_MAX`] of them.
    pub fn happens(&mut self, cause: C, now: Instant) -> Option<EpisodeNews> {
        let Some(ongoing) = &mut self.ongoing else {
            let told = vec![(cause, now)];
            self.ongoing = Some(Ongoing { since: now, times: 1, unsaid: 0, told, over_since: None });
            return Some(EpisodeNews { stage: EpisodeStage::Begins, lasts: Duration::ZERO, unsaid: None });
        };
        ongoing.times += 1;
        ongoing.over_since = None;
        let Some(stage) = ongoing.stage_to_tell(cause, self.reminds, now) else {
            ongoing.unsaid += 1;
            return None;
        };
        let unsaid = NonZeroU64::new(std::mem::take(&mut ongoing.unsaid));
        Some(EpisodeNews { stage, lasts: now.saturating_duration_since(ongoing.since), unsaid })
    }

    /// Notes that it does not happen now. Returns the line about its end, once, when it has not happened for
    /// long enough; so this has to be called again while [`Episode::ends_at`] has a moment.
    pub fn over(&mut self, now: Instant) -> Option<EpisodeEnd> {
        let ongoing = self.ongoing.as_mut()?;
        let over_since = *ongoing.over_since.get_or_insert(now);
        if now.saturating_duration_since(over_since) < self.ends_after {
            return None;
        }
        let Ongoing { since, times, .. } = self.ongoing.take()?;
        Some(EpisodeEnd { lasted: over_since.saturating_duration_since(since), times })
    }

    /// Whether it lasts, or has not been over for long enough.
    pub fn is_ongoing(&self) -> bool {
        self.ongoing.is_some()
    }

    /// How long it has lasted, if it does.
    pub fn lasts(&self, now: Instant) -> Option<Duration> {
        self.ongoing.as_ref().map(|ongoing| now.saturating_duration_since(ongoing.since))
    }

    /// When its end has to be told if it does not happen before; `None` unless it is over.
    pub fn ends_at(&self) -> Option<Instant> {
        Some(self.ongoing.as_ref()?.over_since? + self.ends_after)
    }
}

impl<C: PartialEq> Ongoing<C> {
    /// Why a line is due; the cause counts as told then.
    fn stage_to_tell(&mut self, cause: C, reminds: bool, now: Instant) -> Option<EpisodeStage> {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < CAUSE_TOLD_EVERY;
        if let Some((last, told_at)) = self.told.last_mut()
            && *last == cause
        {
            return (reminds && !is_recent(*told_at)).then(|| {
                *told_at = now;
                EpisodeStage::Still
            });
        }
        self.told.retain(|(_, at)| is_recent(*at));
        let is_due = self.told.len() < CAUSES_TOLD_MAX && self.told.iter().all(|(told, _)| *told != cause);
        is_due.then(|| {
            self.told.push((cause, now));
            EpisodeStage::Changed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = CAUSE_TOLD_EVERY;

    fn after(seconds: u64) -> impl Fn(Instant) -> Instant {
        move |start| start + Duration::from_secs(seconds)
    }

    /// What is told of the causes, each of which is found after so many seconds.
    fn stages(
        episode: &mut Episode<&'static str>,
        start: Instant,
        found: &[(u64, &'static str)],
    ) -> Vec<Option<EpisodeStage>> {
        let stage = |(seconds, cause): &(u64, &'static str)| {
            Some(episode.happens(cause, after(*seconds)(start))?.stage)
        };
        found.iter().map(stage).collect()
    }

    #[test]
    fn what_lasts_is_told_when_it_begins_and_when_it_ends_with_how_long_and_how_often() {
        let (mut episode, start) = (Episode::default(), Instant::now());
        assert_eq!(episode.over(start), None, "it has not begun");
        let begins = EpisodeNews { stage: EpisodeStage::Begins, lasts: Duration::ZERO, unsaid: None };
        assert_eq!(episode.happens("full", start), Some(begins));
        for seconds in 1..=300 {
            assert_eq!(episode.happens("full", after(seconds)(start)), None, "after {seconds} s");
        }
        assert_eq!(episode.lasts(after(301)(start)), Some(Duration::from_secs(301)));
        let end = EpisodeEnd { lasted: Duration::from_secs(302), times: 301 };
        assert_eq!(episode.over(after(302)(start)), Some(end));
        assert_eq!((episode.over(after(303)(start)), episode.is_ongoing()), (None, false));
        assert_eq!(episode.happens("full", after(304)(start)), Some(begins), "another episode");
    }

    #[test]
    fn what_comes_and_goes_is_one_episode_until_it_has_stayed_away() {
        let (mut episode, start) = (Episode::ending_after(Duration::from_secs(5)), Instant::now());
        assert!(episode.happens("full", start).is_some());
        for seconds in [1, 5, 9] {
            assert_eq!(episode.over(after(seconds)(start)), None, "it can happen again");
            assert_eq!(episode.ends_at(), Some(after(seconds + 5)(start)));
            assert_eq!(episode.over(after(seconds + 3)(start)), None);
            assert_eq!(episode.happens("full", after(seconds + 4)(start)), None);
            assert_eq!(episode.ends_at(), None);
        }
        assert_eq!(episode.over(after(20)(start)), None);
        let end = EpisodeEnd { lasted: Duration::from_secs(20), times: 4 };
        assert_eq!(episode.over(after(25)(start)), Some(end), "it was over 5 s ago");
    }

    #[test]
    fn another_cause_is_told_at_once_and_one_that_comes_back_within_a_minute_is_not() {
        let (mut episode, start) = (Episode::default(), Instant::now());
        let told = stages(&mut episode, start, &[(0, "a"), (1, "b"), (2, "a"), (3, "b"), (59, "a")]);
        assert_eq!(told, [Some(EpisodeStage::Begins), Some(EpisodeStage::Changed), None, None, None]);
        let news = episode.happens("a", start + MINUTE);
        let lasts = MINUTE;
        let expected = EpisodeNews { stage: EpisodeStage::Changed, lasts, unsaid: NonZeroU64::new(3) };
        assert_eq!(news, Some(expected));
        assert_eq!(stages(&mut episode, start, &[(500, "a")]), [None], "it is what was told last");
    }

    #[test]
    fn causes_that_are_never_the_same_are_told_a_few_times_a_minute() {
        let (mut episode, start) = (Episode::default(), Instant::now());
        let mut tell = |from: u64| {
            let times = (0..600).map(|n| start + Duration::from_millis(from * 1000 + n * 100));
            times.filter(|now| episode.happens(format!("{now:?}"), *now).is_some()).count()
        };
        assert_eq!([tell(0), tell(60), tell(120)], [CAUSES_TOLD_MAX; 3]);
    }

    #[test]
    fn what_lasts_is_told_again_only_if_it_reminds() {
        let (mut episode, start) = (Episode::reminding(), Instant::now());
        let told = stages(&mut episode, start, &[(0, "a"), (59, "a"), (60, "a"), (61, "a"), (121, "a")]);
        let (begins, still) = (Some(EpisodeStage::Begins), Some(EpisodeStage::Still));
        assert_eq!(told, [begins, None, still, None, still]);
    }
}
