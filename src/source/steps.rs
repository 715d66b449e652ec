//! What the sources note beside the log: which types were seen, and the steps of the timeline.
//!
//! A step is noted where the delivery's fate is known: of what is appended, where the append is answered,
//! also if its sender has gone by then.

use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;

use super::refusals::{Evidence, SentBody};
use super::sampling::Sampler;
use super::secrets::UsedSecret;
use super::shown_headers::shown_headers;
use super::types_seen::TypesSeen;
use super::{Circumstances, DeliveryFate, SourceIntake, fate};
use crate::event::{Event, Filtered, Fingerprint, Position, Quarantined, Timestamp};
use crate::problem::RequestNumber;
use crate::selection::Selection;
use crate::spool::Appended;
use crate::timeline::{DecidedBy, RefusedStep, TakenAs, TakenStep, TimelineWriter, UnansweredStep};

/// What the sources note of each delivery.
pub(super) struct Steps {
    types: Arc<TypesSeen>,
    timeline: TimelineWriter,
    sampler: Sampler,
}

impl Steps {
    /// Counts the types, and notes nothing else.
    pub(super) fn new(types: Arc<TypesSeen>) -> Self {
        Self { types, timeline: TimelineWriter::default(), sampler: Sampler::default() }
    }

    /// The same with this timeline.
    pub(super) fn noting(&self, timeline: TimelineWriter) -> Self {
        Self { types: Arc::clone(&self.types), timeline, sampler: self.sampler.clone() }
    }

    /// The same with this sampler.
    pub(super) fn sampled_by(&self, sampler: Sampler) -> Self {
        Self { types: Arc::clone(&self.types), timeline: self.timeline.clone(), sampler }
    }

    /// Whether anything is noted in the timeline.
    pub(super) fn is_on(&self) -> bool {
        self.timeline.is_on()
    }

    /// Notes an event whose append was answered.
    pub(super) fn event(
        &self,
        event: &Arc<Event>,
        appended: Appended,
        by: DecidedBy,
        secret: Option<&UsedSecret>,
    ) {
        let seen_as = fate(appended, DeliveryFate::Accepted);
        if seen_as == DeliveryFate::Accepted {
            self.sampler.show(event);
        }
        self.types.seen(&event.provider, &event.event_type, seen_as, event.arrived);
        if self.is_on() {
            let (position, by) = place(appended, by);
            self.taken_event(event, seen_as.into(), by, position, secret);
        }
    }

    /// Notes that an event was stored once more, because nobody could tell whether sinks have the first copy.
    pub(super) fn stored_again(&self, event: &Event, position: Position) {
        if self.is_on() {
            let by = DecidedBy::StoredAgain;
            self.taken_event(event, TakenAs::Accepted, by, Some(position), None);
        }
    }

    fn taken_event(
        &self,
        event: &Event,
        verdict: TakenAs,
        decided_by: DecidedBy,
        position: Option<Position>,
        secret: Option<&UsedSecret>,
    ) {
        let at = now();
        let step = TakenStep {
            source: &*event.source_name,
            verdict,
            decided_by,
            reason: "",
            id: &*event.id,
            event_source: &*event.source,
            event_type: &*event.event_type,
            family: &*event.family,
            key: event.key.as_deref(),
            bytes: bytes(event.body.len()),
            position,
            secret: secret.and_then(UsedSecret::name),
            configuration: event.configuration.map(|fingerprint| fingerprint.0),
            taken_us: micros(event.arrived, at),
        };
        self.timeline.open().taken(at, &step);
    }

    /// Notes an event that the selection of a configuration has filtered.
    pub(super) fn filtered(
        &self,
        source: &SourceIntake,
        filtered: &Filtered,
        delivery: &Circumstances,
        configuration: Option<Fingerprint>,
    ) {
        let (seen_as, arrived) = (DeliveryFate::Filtered, delivery.arrived);
        self.types.seen(&source.definition.provider, &filtered.event_type, seen_as, arrived);
        if !self.is_on() {
            return;
        }
        let at = now();
        let step = TakenStep {
            source: &**source.name(),
            verdict: TakenAs::Filtered,
            decided_by: DecidedBy::NotOnList,
            reason: "",
            id: &*filtered.id,
            event_source: &**source.view.event_source(),
            event_type: &*filtered.event_type,
            family: &*filtered.family,
            key: None,
            bytes: bytes(delivery.bytes),
            position: None,
            secret: delivery.secret.as_ref().and_then(UsedSecret::name),
            configuration: configuration.map(|fingerprint| fingerprint.0),
            taken_us: micros(arrived, at),
        };
        self.timeline.open().taken(at, &step);
    }

    /// Notes a quarantined delivery whose append was answered.
    pub(super) fn quarantined(&self, delivery: &Quarantined, appended: Appended, about: &Circumstances) {
        if !self.is_on() {
            return;
        }
        let at = now();
        let (position, decided_by) = place(appended, DecidedBy::Unusable);
        let step = TakenStep {
            source: &*delivery.source_name,
            verdict: fate(appended, DeliveryFate::Quarantined).into(),
            decided_by,
            reason: &*delivery.reason,
            id: &*delivery.id,
            event_source: &*delivery.source,
            event_type: delivery.stated.event_type.as_deref().unwrap_or_default(),
            family: "",
            key: None,
            bytes: bytes(about.bytes),
            position,
            secret: about.secret.as_ref().and_then(UsedSecret::name),
            configuration: delivery.configuration.map(|fingerprint| fingerprint.0),
            taken_us: micros(delivery.arrived, at),
        };
        self.timeline.open().taken(at, &step);
    }

    /// Notes a request that is refused, unless there were too many.
    pub(super) fn refused(
        &self,
        evidence: &Evidence<'_>,
        status: StatusCode,
        reason: &str,
        request: RequestNumber,
    ) {
        if !self.is_on() {
            return;
        }
        let Some(unsaid) = evidence.noted() else { return };
        let SentBody { bytes, sha256 } = evidence.body();
        let headers = shown_headers(evidence.headers, evidence.definition);
        let step = RefusedStep {
            source: evidence.source,
            request: request.0,
            status: status.as_u16(),
            reason,
            bytes,
            sha256,
            headers: headers.iter().map(|(name, value)| (*name, &**value)).collect(),
            unsaid,
        };
        self.timeline.open().refused(now(), &step);
    }

    /// Notes that nobody waits for an append any more, should this be dropped before it is answered.
    pub(super) fn appending<'d>(
        &'d self,
        source: &'d str,
        id: &'d str,
        event_type: &'d str,
        arrived: Timestamp,
    ) -> Appending<'d> {
        let arrived = self.is_on().then_some(arrived);
        Appending { steps: self, source, id, event_type, arrived }
    }
}

/// An append for which its caller waits.
pub(super) struct Appending<'d> {
    steps: &'d Steps,
    source: &'d str,
    id: &'d str,
    event_type: &'d str,
    /// When the delivery arrived; `None` once the append is answered, and if nothing is noted.
    arrived: Option<Timestamp>,
}

impl Appending<'_> {
    /// The append is answered.
    pub(super) fn answered(mut self) {
        self.arrived = None;
    }
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        let Some(arrived) = self.arrived else { return };
        let at = now();
        let step = UnansweredStep {
            source: self.source,
            id: self.id,
            event_type: self.event_type,
            waited_ms: micros(arrived, at) / 1000,
        };
        self.steps.timeline.open().unanswered(at, &step);
    }
}

impl From<DeliveryFate> for TakenAs {
    fn from(fate: DeliveryFate) -> Self {
        match fate {
            DeliveryFate::Accepted => Self::Accepted,
            DeliveryFate::Filtered => Self::Filtered,
            DeliveryFate::Duplicate => Self::Duplicate,
            DeliveryFate::Quarantined => Self::Quarantined,
        }
    }
}

/// What lets an event of a type pass that this selection takes.
pub(super) fn passed_by(selection: &Selection) -> DecidedBy {
    match selection {
        Selection::All => DecidedBy::All,
        Selection::Only(_) => DecidedBy::OnList,
    }
}

/// Where an entry is, and what decided about its delivery; `by` decided if it is no duplicate.
fn place(appended: Appended, by: DecidedBy) -> (Option<Position>, DecidedBy) {
    match appended {
        Appended::Stored(position) => (Some(position), by),
        Appended::Duplicate => (None, DecidedBy::SeenHere),
        Appended::StoredElsewhere => (None, DecidedBy::SeenElsewhere),
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn bytes(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Microseconds between two moments; 0 if the clock was set back in between.
fn micros(from: Timestamp, until: Timestamp) -> u32 {
    u32::try_from(until.0.saturating_sub(from.0).max(0) / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::event::{HeaderClaims, Verified};
    use crate::provider::builtin_named;
    use crate::source::traced::SentContext;
    use crate::source::{Channel, Intake, SourceOptions};
    use crate::telemetry::TimelineMetrics;
    use crate::testing::bench::{Bench, awaited};
    use crate::timeline::{Collector, StepFilter, StepKind, StepWord, Timeline, TimelineOptions};

    /// A source of Stream's calls, and what it notes.
    struct Noted {
        bench: Bench,
        source: SourceIntake,
        intake: Intake,
        timeline: Timeline,
        collector: Collector,
    }

    impl Noted {
        fn new(options: &TimelineOptions, selection: Selection) -> Self {
            let bench = Bench::new();
            let (timeline, writer, collector) = Timeline::new(options, TimelineMetrics::new());
            let config = SourceOptions {
                name: "stream-video".into(),
                definition: builtin_named("stream").expect("it is built in"),
                app: "default".into(),
                secrets: Vec::new(),
                channel: Channel::Webhook,
                body_bytes_max: None,
                ack: crate::ack::AckOptions::default(),
            };
            let source = SourceIntake::new(config, &bench.metrics);
            let intake = Intake::new(bench.spool.clone(), selection, Arc::default()).noting(writer);
            Self { bench, source, intake, timeline, collector }
        }

        /// The words of all steps by now, and what they are about.
        fn words(&mut self) -> Vec<StepWord> {
            self.collector.collect();
            let steps = self.timeline.newest(None, &StepFilter::default(), 1000).steps;
            steps.iter().map(|step| step.kind.word()).collect()
        }
    }

    fn delivery(number: usize) -> Verified {
        Verified {
            body: format!(r#"{{"type":"call.created","call_cid":"default:a","n":{number}}}"#).into(),
            stated: HeaderClaims::default(),
            secret: 0,
            skew_seconds: None,
            arrived: now(),
        }
    }

    fn untraced() -> SentContext {
        SentContext::of_message(&[])
    }

    #[tokio::test]
    async fn a_caller_that_hangs_up_is_noted_and_so_is_the_event_that_it_left_behind() {
        let mut noted = Noted::new(&TimelineOptions::default(), Selection::All);
        let mut number = 0;
        loop {
            let mut receiving = pin!(noted.intake.receive(&noted.source, delivery(number), None, untraced));
            let polled = receiving.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            // A disk can be so quick that the answer is there at once.
            if polled.is_pending() {
                break;
            }
            number += 1;
        }
        assert_eq!(noted.words().last(), Some(&StepWord::Unanswered));
        awaited(|| noted.words().len() == number + 2).await;
        assert_eq!(noted.words().last(), Some(&StepWord::Accepted));
        assert_eq!(noted.bench.spool.head(), Position(number as u64 + 1));
    }

    #[test]
    fn noting_an_event_allocates_nothing() {
        let types = Arc::new(TypesSeen::default());
        let (_timeline, writer, _collector) =
            Timeline::new(&TimelineOptions::default(), TimelineMetrics::new());
        let steps = Steps::new(types).noting(writer);
        let event = Arc::new(crate::testing::events::event("k"));
        let noting = || steps.event(&event, Appended::Stored(Position(1)), DecidedBy::All, None);
        // The first event of a type is remembered by its name.
        noting();
        assert_eq!(allocation_counter::measure(|| (0..100).for_each(|_| noting())).count_total, 0);
    }

    #[tokio::test]
    async fn a_refused_append_is_no_step_of_an_event() {
        let mut noted = Noted::new(&TimelineOptions::default(), Selection::All);
        noted.bench.spool.close().await;
        let refused = noted.intake.receive(&noted.source, delivery(1), None, untraced).await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(noted.words(), [], "its answer says so, and its refusal is noted there");
    }

    #[tokio::test]
    async fn a_timeline_that_is_off_notes_nothing_and_counts_types_all_the_same() {
        let off = TimelineOptions { bytes_max: 0, ..TimelineOptions::default() };
        let mut noted = Noted::new(&off, Selection::Only(["call.ring".to_owned()].into()));
        let answer =
            noted.intake.receive(&noted.source, delivery(1), None, untraced).await.expect("it is filtered");
        assert_eq!((answer.fate, noted.words()), (DeliveryFate::Filtered, Vec::new()));
        let seen = noted.intake.steps.types.drain().to_rows();
        assert_eq!((seen.len(), &*seen[0].verdict), (1, "filtered"));
    }

    #[tokio::test]
    async fn what_is_stored_once_more_says_so() {
        let mut noted = Noted::new(&TimelineOptions::default(), Selection::All);
        let event = crate::testing::events::event("k");
        noted.intake.steps.stored_again(&event, Position(7));
        noted.collector.collect();
        let step = noted.timeline.newest(None, &StepFilter::default(), 1).steps.remove(0);
        let StepKind::Taken(taken) = step.kind else { panic!("{step:?}") };
        assert_eq!((taken.decided_by, taken.position), (DecidedBy::StoredAgain, Some(Position(7))));
    }
}
