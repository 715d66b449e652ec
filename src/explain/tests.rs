//! Explanations from log, state, health and configuration, without a running bridge.

use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::dedup::DuplicateKey;
use crate::event::{Entry, Event, Fingerprint, Position, Quarantined, REPLAY_EXTENSION, Timestamp};
use crate::health::{HeldStatus, PausedStatus};
use crate::provider::builtin_named;
use crate::routing::TopicTemplate;
use crate::selection::Selection;
use crate::state::{ConfigurationRow, NewDeadLetter, Progress, WhenFull};
use crate::testing::bench::Bench;
use crate::testing::events::{event, quarantined};

const TOPIC: &str = "stream.video.call-lifecycle";
const NOW: Fingerprint = Fingerprint([1; 6]);

fn selection(key: &str, types: Option<&[&str]>) -> ConfiguredSelection {
    let selection = match types {
        None => Selection::All,
        Some(types) => Selection::Only(types.iter().map(|name| (*name).to_owned()).collect()),
    };
    ConfiguredSelection {
        key: key.into(),
        selection,
        line: types.map(|_| "fanbridge.yaml:7:1".into()),
        listed: Default::default(),
    }
}

fn sink(name: &str, types: Option<&[&str]>, place: SinkPlace) -> ConfiguredSink {
    ConfiguredSink {
        name: name.into(),
        topic: TopicTemplate::parse(TopicTemplate::DEFAULT).expect("a template"),
        selection: selection(&format!("sinks.{name}.select"), types),
        place,
    }
}

/// Two sinks: `lake` takes everything, `billing` a list.
fn configuration(lake: Option<&[&str]>) -> ExplainedConfiguration {
    let kafka = SinkPlace::Kafka { brokers: "k1:9092".into(), is_secured: false };
    ExplainedConfiguration {
        fingerprint: Some(NOW),
        sources: vec![ConfiguredSource {
            name: "stream-video".into(),
            event_source: "/stream/default".into(),
            definition: builtin_named("stream").expect("built in").clone(),
            body_bytes_max: 2 << 20,
            is_posted_to: true,
        }],
        selection: selection("select", None),
        sinks: vec![
            sink("lake", lake, kafka),
            sink("billing", Some(&["call.ended"]), SinkPlace::Files("topics".into())),
        ],
    }
}

/// A log, a state and the health of two sinks.
struct Explained {
    bench: Bench,
    health: Arc<Health>,
    lake: Arc<crate::health::SinkStatus>,
    explainer: Explainer,
}

impl Explained {
    fn new() -> Self {
        Self::with(configuration(None))
    }

    fn with(configuration: ExplainedConfiguration) -> Self {
        let (bench, health) = (Bench::new(), Arc::new(Health::default()));
        let lake = health.add_sink("lake");
        health.add_sink("billing");
        let started = SystemTime::now().into();
        let (search, state) = (bench.spool.search(), bench.state.clone());
        let explainer = Explainer::new(search, state, Arc::clone(&health), Arc::new(configuration), started);
        Self { bench, health, lake, explainer }
    }

    /// Appends a first copy, which arrives now.
    async fn take(&self, id: &str) -> Position {
        let event = Event { id: id.into(), arrived: SystemTime::now().into(), ..event("k") };
        let key = DuplicateKey::of(&event.source, &event.id);
        self.append(event.into(), Some(key)).await
    }

    async fn append(&self, entry: Entry, key: Option<DuplicateKey>) -> Position {
        match self.bench.spool.append(entry, key).await.expect("room") {
            crate::spool::Appended::Stored(position) => position,
            other => unreachable!("it is no copy: {other:?}"),
        }
    }

    /// Commits the cursors of both sinks, with a dead letter of `lake` if there is one.
    fn commit(&self, cursor: Position, dead: Option<NewDeadLetter>) {
        let progress = |sink: &str, dead: Vec<NewDeadLetter>| Progress { sink: sink.into(), cursor, dead };
        let progress = [progress("lake", dead.into_iter().collect()), progress("billing", Vec::new())];
        self.bench.state.commit(&progress).expect("writable");
    }

    fn explain(&self, asked: &str) -> Explanation {
        let asked = asked.parse().expect("it names an event");
        self.explainer.event(&asked, &ExplainScope::default()).expect("readable")
    }

    /// What became of the event at `lake`.
    fn at_lake(&self, asked: &str) -> (SinkStanding, String) {
        let explanation = self.explain(asked);
        (explanation.sinks[0].state, explanation.cause)
    }
}

fn letter(id: &str, position: Position, reason: &str) -> NewDeadLetter {
    let now = SystemTime::now().into();
    NewDeadLetter {
        sink: Some("lake".into()),
        reason: reason.into(),
        detail: "Broker: Message size too large".into(),
        attempts: 3,
        first: now,
        last: now,
        position,
        topic: Some(TOPIC.into()),
        entry: Event { id: id.into(), ..event("k") }.into(),
    }
}

#[tokio::test]
async fn the_dead_letter_of_a_replayed_copy_is_told_of_its_replay_and_the_event_stays_delivered() {
    let explained = Explained::new();
    let position = explained.take("sha256-9f2c81aa").await;
    explained.commit(position, None);
    let at = "2026-11-21T06:00:00Z";
    let replay = serde_json::json!({
        "replay_id": "0a1b2c3d4e5f", "sink": "lake", "events": { "families": ["video.call-lifecycle"] },
        "select_all": true, "rate": 1000, "state": "done", "begun_at": 0, "end": 1, "read": 1, "last": 2,
        "sent": 1, "not_selected": 0, "lost": 0, "created": at, "changed": at,
    });
    let replay = serde_json::from_value(replay).expect("a row");
    explained.bench.state.add_replay(&replay).expect("room");
    let mut copy = Event { id: "sha256-9f2c81aa".into(), only_sink: Some("lake".into()), ..event("k") };
    copy.extensions.push((REPLAY_EXTENSION.into(), "0a1b2c3d4e5f".into()));
    let again = explained.append(copy.clone().into(), None).await;
    let dead = NewDeadLetter { entry: copy.into(), ..letter("sha256-9f2c81aa", again, "too_large") };
    explained.commit(again, Some(dead));

    let explanation = explained.explain("sha256-9f2c81aa");
    assert_eq!(explanation.sinks[0].state, SinkStanding::DeliveredBefore);
    let copy = &explanation.replays[0].copy;
    assert_eq!((copy.state, copy.dead_letter), (SinkStanding::DeadLetter, Some(1)));
    assert!(
        explanation.cause.contains("lake rejected the copy (too_large), dead letter 1"),
        "{explanation:?}"
    );
    let explanation = explained.explain("position:2");
    assert_eq!(explanation.sinks[0].state, SinkStanding::DeadLetter, "of the copy itself");
}

#[tokio::test]
async fn what_a_cursor_has_passed_and_what_a_sink_does_not_select_is_told() {
    let explained = Explained::new();
    let position = explained.take("sha256-9f2c81aa").await;
    explained.commit(position, None);
    for asked in ["sha256-9f2c81aa", "9f2c81aa", "9f2c", "sha256-9f2c", "position:1"] {
        let explanation = explained.explain(asked);
        assert_eq!(explanation.found, HowMany::One, "{asked}");
        let states: Vec<_> = explanation.sinks.iter().map(|sink| sink.state).collect();
        assert_eq!(states, [SinkStanding::DeliveredBefore, SinkStanding::NotSelected], "{asked}");
        assert_eq!(explanation.situation, Situation::Delivered);
        let words = ["lake has passed it", "billing does not select `call.created` (fanbridge.yaml:7:1)"];
        assert!(words.iter().all(|words| explanation.cause.contains(words)), "{}", explanation.cause);
        assert_eq!(explanation.fix.as_deref(), Some("add it to `sinks.billing.select`"));
        let event = explanation.event.expect("it was found");
        assert_eq!((event.position, event.key.as_deref()), (Some(1), Some("k")));
        assert_eq!(explanation.verdict.expect("it was accepted").word, "accepted");
        assert_eq!(explanation.sinks[0].topic.as_deref(), Some(TOPIC));
    }
}

#[tokio::test]
async fn what_waits_says_for_how_long_and_what_the_sink_says() {
    let explained = Explained::new();
    explained.take("evt_1").await;
    explained.commit(Position(0), None);
    let (state, cause) = explained.at_lake("evt_1");
    assert_eq!(state, SinkStanding::Pending);
    let is_pending = cause.contains("pending for ") && cause.contains("the sink has not got to it yet");
    assert!(is_pending, "{cause}");

    explained.lake.degraded("unreachable: no broker of `k1:9092` can be reached".into());
    let explanation = explained.explain("evt_1");
    assert!(explanation.cause.contains("no broker answers"), "{}", explanation.cause);
    let fix = explanation.fix.expect("there is one");
    assert!(fix.contains("network, TLS, credentials of `brokers`"), "{fix}");

    explained.lake.hold(vec![HeldStatus {
        topic: TOPIC.into(),
        reason: "unknown_topic",
        detail: "Broker: Unknown topic or partition".into(),
        since: Timestamp(1),
        attempts: 3,
        next: None,
        first: Some(Position(1)),
    }]);
    let explanation = explained.explain("evt_1");
    assert_eq!(explanation.sinks[0].state, SinkStanding::Held);
    let words = format!("lake holds {TOPIC}: unknown_topic, attempt 3: Broker: Unknown topic or partition");
    assert_eq!((explanation.situation, &*explanation.cause), (Situation::Held, &*words));
    assert!(explanation.fix.expect("there is one").contains("`fanbridge topics apply --sink lake`"));

    // Another topic's trouble is told as the sink's.
    explained.lake.hold(Vec::new());
    explained.lake.degraded("topic_forbidden: stream.user: Broker: Topic authorization failed".into());
    let (state, cause) = explained.at_lake("evt_1");
    assert_eq!(state, SinkStanding::Pending);
    assert!(cause.contains("topic_forbidden: stream.user: Broker"), "{cause}");
}

#[tokio::test]
async fn what_waits_for_a_paused_sink_says_since_when_why_and_how_it_goes_on() {
    let explained = Explained::new();
    let position = explained.take("sha256-9f2c81aa").await;
    explained.commit(Position(position.0 - 1), None);
    let reason = "its consumers move".to_owned();
    explained.lake.pause(Some(PausedStatus { since: Timestamp(0), reason }));
    let explanation = explained.explain("9f2c81aa");
    assert_eq!(explanation.sinks[0].state, SinkStanding::Paused);
    let words = "lake is paused since 1970-01-01 00:00:00Z (its consumers move), and it waits";
    assert_eq!((explanation.situation, &*explanation.cause), (Situation::Paused, words));
    assert_eq!(explanation.fix.as_deref(), Some("`fanbridge resume lake`"));

    explained.commit(position, None);
    assert_eq!(explained.at_lake("9f2c81aa").0, SinkStanding::DeliveredBefore, "it had passed before");
}

#[tokio::test]
async fn a_dead_letter_says_why_and_a_copy_of_it_that_waits_is_not_taken_for_delivered() {
    let explained = Explained::new();
    let position = explained.take("evt_1").await;
    explained.commit(position, Some(letter("evt_1", position, "too_large")));
    let explanation = explained.explain("evt_1");
    assert_eq!(explanation.sinks[0].state, SinkStanding::DeadLetter);
    assert_eq!(explanation.dead_letters.len(), 1);
    let words = "lake rejected it: too_large: Broker: Message size too large; it is dead letter 1";
    assert_eq!(explanation.cause, words);
    let fix = explanation.fix.expect("there is one");
    assert!(fix.contains("raise `max.message.bytes`") && fix.contains("dead redrive 1"), "{fix}");

    // Redriven: the letter is gone, and a copy for the sink waits behind its cursor.
    let copy = Event { id: "evt_1".into(), only_sink: Some("lake".into()), ..event("k") };
    explained.append(copy.into(), None).await;
    explained.bench.state.remove_dead_letters(&[1]).expect("writable");
    assert_eq!(explained.at_lake("evt_1").0, SinkStanding::Pending);
    explained.commit(Position(2), None);
    assert_eq!(explained.at_lake("evt_1").0, SinkStanding::DeliveredBefore);
    // The copy itself is for nobody else.
    let explanation = explained.explain("position:2");
    let states: Vec<_> = explanation.sinks.iter().map(|sink| sink.state).collect();
    assert_eq!(states, [SinkStanding::DeliveredBefore, SinkStanding::CopyForAnother]);
    assert!(!explanation.cause.contains("select `"), "{}", explanation.cause);
}

#[tokio::test]
async fn what_is_left_of_an_event_in_the_dead_letters_is_told_without_its_entry() {
    let explained = Explained::new();
    explained.take("evt_other").await;
    explained.commit(Position(1), Some(letter("evt_1", Position(1), "too_large")));
    let mut gone = letter("evt_2", Position(2), "sink_gone");
    gone.sink = Some("retired".into());
    explained
        .bench
        .state
        .commit(&[Progress { sink: "(gone) retired".into(), cursor: Position(2), dead: vec![gone] }])
        .expect("writable");
    let explanation = explained.explain("evt_1");
    assert_eq!((explanation.found, explanation.situation), (HowMany::One, Situation::DeadLetter));
    assert_eq!(explanation.verdict.expect("a verdict").known_from, KnownFrom::DeadLetter);
    let explanation = explained.explain("evt_2");
    assert_eq!(explanation.situation, Situation::SinkGone);
    assert!(explanation.cause.contains("sink_gone: retired was removed"), "{}", explanation.cause);
}

#[tokio::test]
async fn a_delivery_that_cannot_become_an_event_says_why() {
    let explained = Explained::new();
    let delivery = Quarantined { id: "sha256-77aa0000".into(), ..quarantined() };
    let key = DuplicateKey::of_letter(&delivery.source, &delivery.id);
    explained.append(delivery.into(), Some(key)).await;
    let explanation = explained.explain("77aa");
    assert_eq!(explanation.situation, Situation::Quarantined);
    assert_eq!(explanation.cause, "cannot become an event: json: expected a value at byte 1");
    assert!(explanation.sinks.is_empty());
    assert!(explanation.fix.expect("there is one").starts_with("tell the provider"));
}

#[tokio::test]
async fn what_no_sink_selects_is_accepted_and_goes_nowhere() {
    let explained = Explained::with(configuration(Some(&["call.ended"])));
    let position = explained.take("evt_1").await;
    explained.commit(position, None);
    let explanation = explained.explain("evt_1");
    assert_eq!(explanation.situation, Situation::NoSink);
    assert_eq!(explanation.cause, "accepted, and no sink selects `call.created`");
}

#[tokio::test]
async fn several_events_are_listed_and_a_whole_id_is_meant_before_its_continuations() {
    let explained = Explained::new();
    for id in ["evt_1", "evt_12", "evt_2"] {
        explained.take(id).await;
    }
    let explanation = explained.explain("evt_");
    assert_eq!((explanation.found, explanation.candidates.len()), (HowMany::Several, 3));
    assert!(explanation.cause.contains("3 events begin so"), "{}", explanation.cause);
    assert_eq!(explained.explain("evt_1").event.expect("one").id, "evt_1");
    let elsewhere = ExplainScope { source: Some("nowhere".into()), ..ExplainScope::default() };
    let asked = "evt_1".parse().expect("an id");
    let refused = explained.explainer.event(&asked, &elsewhere).expect_err("no such source");
    assert!(matches!(refused, ExplainError::UnknownSource(_)));
}

#[tokio::test]
async fn what_is_nowhere_says_where_it_was_looked_for() {
    let explained = Explained::new();
    explained.take("evt_1").await;
    let explanation = explained.explain("evt_9");
    assert_eq!((explanation.found, explanation.situation), (HowMany::None, Situation::Unknown));
    assert!(
        explanation.cause.starts_with("nothing with this id: searched the log from 20"),
        "{}",
        explanation.cause
    );
    assert!(explanation.looked.complete);
    assert_eq!(explained.explain("position:7").found, HowMany::None);
    // Nobody who has left waits for the search.
    let scope = ExplainScope::default();
    scope.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let asked = "evt_9".parse().expect("an id");
    assert!(!explained.explainer.event(&asked, &scope).expect("readable").looked.complete);
    assert!(explained.health.sinks().len() == 2);
}

#[test]
fn a_type_is_explained_by_the_catalogues_and_the_rules() {
    let definitions = crate::provider::builtin();
    let mut configuration = configuration(None);
    let explain =
        |configuration: &ExplainedConfiguration, name: &str| explain_type(configuration, definitions, name);
    let found = explain(&configuration, "call.ended");
    assert_eq!(found.situation, Situation::Delivered);
    assert_eq!(found.known[0].provider, "stream");
    assert_eq!(found.sinks[1].topics, [TOPIC]);
    let found = explain(&configuration, "call.created");
    assert_eq!(found.situation, Situation::NotSelected);
    assert!(
        found.cause.contains("billing does not select `call.created` (fanbridge.yaml:7:1)"),
        "{}",
        found.cause
    );

    let found = explain(&configuration, "connection.ok");
    assert_eq!(
        (found.situation, &*found.cause),
        (Situation::WebSocketOnly, "stream sends `connection.ok` to WebSocket clients only",)
    );
    let found = explain(&configuration, "call.sesion_ended");
    assert_eq!(found.situation, Situation::NobodySends);
    assert!(found.fix.expect("a hint").contains("did you mean `call.session_ended`?"));
    let found = explain(&configuration, "video.media.ready");
    assert!(found.fix.expect("a hint").contains("provider: fastpix"));

    configuration.selection = selection("select", Some(&["call.ended"]));
    let found = explain(&configuration, "call.created");
    let words = "filtered: `select` is a list of 1 type and `call.created` is not on it (fanbridge.yaml:7:1)";
    assert_eq!((found.situation, &*found.cause), (Situation::Filtered, words));
    assert_eq!(found.fix.as_deref(), Some("add `call.created` to `select`"));
    assert!(found.sinks.iter().all(|sink| !sink.takes && sink.topics.is_empty()));
}

/// The configuration before that of now.
const EARLIER: Fingerprint = Fingerprint([0xe; 6]);

#[tokio::test]
async fn an_event_is_explained_by_the_configuration_under_which_it_was_admitted() {
    let explained = Explained::with(configuration(Some(&["call.ended"])));
    let only = |name: &str| Selection::Only([name.to_owned()].into());
    let earlier = ConfigurationRow {
        fingerprint: EARLIER,
        began: Timestamp(7),
        head: Position(0),
        select: Selection::All,
        sinks: [("lake".to_owned(), only("call.created")), ("billing".to_owned(), only("call.updated"))]
            .into(),
    };
    explained.bench.state.begin_configuration(&earlier, Position(1), WhenFull::Refuse).expect("room");
    explained.commit(Position(0), None);
    for (id, event_type, configuration) in [
        ("sha256-9f2c81aa", "call.created", EARLIER),
        ("sha256-0a1b2c3d", "call.ended", EARLIER),
        ("sha256-55667788", "call.created", NOW),
    ] {
        let (arrived, configuration) = (SystemTime::now().into(), Some(configuration));
        let event =
            Event { id: id.into(), event_type: event_type.into(), arrived, configuration, ..event("k") };
        let key = DuplicateKey::of(&event.source, &event.id);
        explained.append(event.into(), Some(key)).await;
    }

    let explanation = explained.explain("9f2c81aa");
    let lake = &explanation.sinks[0];
    assert_eq!(
        (lake.state, lake.rule_of, lake.by_rule_of_now),
        (SinkStanding::Pending, Some(EARLIER), false)
    );
    assert_eq!(lake.rule.as_deref(), Some("list of 1 type, in it, by configuration 0e0e0e0e0e0e"));
    let words = "it was admitted under configuration 0e0e0e0e0e0e, which counts for it; by that of now \
                 (010101010101) lake would not take it";
    assert!(explanation.cause.contains(words), "{}", explanation.cause);
    assert_eq!(explanation.event.expect("it was found").configuration, Some(EARLIER));

    let explanation = explained.explain("0a1b2c3d");
    assert_eq!((explanation.situation, explanation.sinks[0].rule_of), (Situation::NoSink, Some(EARLIER)));
    let words = "which counts for it; by that of now (010101010101) lake would take it";
    assert!(explanation.cause.contains(words), "{}", explanation.cause);
    let fix = explanation.fix.expect("lake takes it now");
    assert_eq!(fix, "`fanbridge replay --sink lake --id sha256-0a1b2c3d --yes` sends it there now");

    explained.commit(Position(3), None);
    let explanation = explained.explain("9f2c81aa");
    assert_eq!(explanation.sinks[0].state, SinkStanding::DeliveredBefore);
    let words = "by configuration 0e0e0e0e0e0e billing does not select";
    assert!(explanation.cause.contains(words), "{}", explanation.cause);

    let explanation = explained.explain("55667788");
    assert_eq!((explanation.sinks[0].state, explanation.sinks[0].rule_of), (SinkStanding::NotSelected, None));
    assert!(!explanation.cause.contains("it was admitted under"), "{}", explanation.cause);
}
