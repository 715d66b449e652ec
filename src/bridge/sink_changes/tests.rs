//! Sinks that come, change and go over a real log and state: directories of files, and sinks that do nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::dispatchers::Instruments;
use super::super::sink_life::PreparedOutput;
use super::*;
use crate::ack::AwaitedSinks;
use crate::config::{Environment, load};
use crate::dedup::DuplicateKey;
use crate::dispatch::rules::RuleBook;
use crate::event::{Event, Record};
use crate::health::Health;
use crate::replay::{NewReplay, RATE_DEFAULT};
use crate::sink::{Publication, Sink};
use crate::state::{DeadFilter, ReplaySelection, ReplayState};
use crate::telemetry::Metrics;
use crate::testing::bench::{Bench, awaited};
use crate::testing::events::event;
use crate::timeline::TimelineWriter;

/// Long enough for whatever a test's sinks have to deliver.
const GRACE: Duration = Duration::from_secs(15);

/// A log with sinks that can be changed.
struct Changing {
    bench: Bench,
    dir: tempfile::TempDir,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    dispatchers: Dispatchers,
}

/// Takes records and never reports on them.
#[derive(Default)]
struct Mute(Arc<crate::sink::outcomes::OutcomeTable>);

impl Sink for Mute {
    fn publish(&self, batch: Vec<Arc<Record>>) -> Publication {
        self.0.open(&batch).1
    }
}

fn changes(added: &[&str], changed: &[&str], removed: &[&str]) -> NamedChanges {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let [added, changed, removed] = [added, changed, removed].map(names);
    NamedChanges { added, changed, removed, ..NamedChanges::default() }
}

/// A configuration with these sinks, each with more of its block.
fn config(dir: &Path, sinks: &[(&str, &str)]) -> Config {
    let sink = |(name, more): &(&str, &str)| {
        let dir = dir.join(name);
        format!("  {name}: {{ topic: all, file: {{ dir: '{}' }}{more} }}\n", dir.display())
    };
    let sinks: String = sinks.iter().map(sink).collect();
    let text = format!("sources: {{ a: {{ provider: stream, secrets: [env:A] }} }}\nsinks:\n{sinks}");
    let environment = Environment {
        env: &|_| Some("a-secret-of-the-tests-32-bytes-ok".into()),
        read: &|_| unreachable!("no file is named"),
        now: crate::event::Timestamp(0),
    };
    match load("test", &text, &environment) {
        Ok(loaded) => loaded.config,
        Err(report) => panic!("{report}"),
    }
}

/// The ids of the events in a sink's files, in their order.
fn delivered(dir: &Path, sink: &str) -> Vec<u64> {
    let mut files: Vec<_> = std::fs::read_dir(dir.join(sink).join("all"))
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).expect("readable")).collect();
    let id = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).expect("an event");
        event["id"].as_str().and_then(|id| id.strip_prefix("evt-")).expect("an id").parse().expect("a number")
    };
    // The last line can be written now.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(id).collect()
}

fn numbered(number: u64) -> Event {
    Event { id: format!("evt-{number}").into(), ..event("k") }
}

impl Changing {
    async fn new(sinks: &[(&str, &str)]) -> Self {
        let (bench, dir) = (Bench::new(), tempfile::tempdir().expect("a directory"));
        let config = config(dir.path(), sinks);
        let (metrics, health) = (Arc::new(Metrics::new()), Arc::new(Health::default()));
        let instruments = Instruments {
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            timeline: TimelineWriter::default(),
            tracer: None,
            aws: crate::aws::Aws::new(config.aws.clone()),
        };
        let mut made = Vec::new();
        for sink in &config.sinks {
            made.push(make_sink(sink, &instruments.aws).await.expect("it can be made"));
        }
        let log = (&bench.spool, &bench.state);
        let book = Arc::new(RuleBook::new(rules::rules(&config), []));
        let dispatchers =
            Dispatchers::start(&config, &book, made, log, &AwaitedSinks::default(), instruments);
        let dispatchers = dispatchers.expect("they start");
        Self { bench, dir, metrics, health, dispatchers }
    }

    /// Appends the events of these numbers.
    async fn append(&self, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            let taken = numbered(number);
            let key = DuplicateKey::of(&taken.source, &taken.id);
            self.bench.spool.append(taken.into(), Some(key)).await.expect("room");
        }
    }

    async fn prepare(
        &self,
        sinks: &[(&str, &str)],
        changes: &NamedChanges,
    ) -> Result<PreparedSinks, BridgeError> {
        self.dispatchers.prepare(&config(self.dir.path(), sinks), changes).await
    }

    /// Changes the sinks, once the change before is carried out as far as that needs.
    async fn change(&mut self, sinks: &[(&str, &str)], changes: NamedChanges) {
        let mut prepared = loop {
            match self.prepare(sinks, &changes).await {
                Err(BridgeError::SinkStillChanging { .. }) => {
                    tokio::time::sleep(Duration::from_millis(5)).await
                }
                prepared => break prepared.expect("they can be made"),
            }
        };
        self.dispatchers.add(&mut prepared).await.expect("room");
        self.dispatchers.replace_and_remove(prepared, Instant::now() + GRACE);
    }

    /// Waits for a condition, while the bridge would look for tasks that end.
    async fn until(&mut self, condition: impl FnMut() -> bool) {
        tokio::select! {
            broken = self.dispatchers.broken() => panic!("{broken}"),
            () = awaited(condition) => {}
        }
    }

    async fn until_delivered(&mut self, sink: &str, count: usize) -> Vec<u64> {
        let dir = self.dir.path().to_owned();
        self.until(|| delivered(&dir, sink).len() >= count).await;
        delivered(&dir, sink)
    }

    /// Waits until a sink that was removed is gone.
    async fn until_gone(&mut self, sink: &str) {
        let begun = Instant::now();
        while self.dispatchers.sinks.contains_key(sink) {
            assert!(begun.elapsed() < GRACE, "{sink} is still there");
            let looked = tokio::time::timeout(Duration::from_millis(5), self.dispatchers.broken()).await;
            assert!(looked.is_err(), "{looked:?}");
        }
        assert!(self.health.sink(sink).is_none(), "nobody asks for its health any more");
    }

    fn cursor(&self, sink: &str) -> Position {
        self.bench.state.cursor(sink).expect("readable").unwrap_or_default()
    }

    /// The gauges of a sink that are shown.
    fn gauges(&self, sink: &str) -> usize {
        let (text, label) = (self.metrics.render(), format!("sink=\"{sink}\""));
        let counts = ["_total", "_bucket", "_sum", "_count"];
        let is_gauge = |line: &&str| !counts.iter().any(|end| line.contains(&format!("{end}{{")));
        text.lines().filter(|line| line.contains(&label)).filter(is_gauge).count()
    }

    async fn end(self) {
        self.bench.spool.close().await;
        self.dispatchers.end(Instant::now() + GRACE).await.expect("they end");
    }
}

#[tokio::test]
async fn a_sink_that_is_added_gets_every_event_from_then_on_and_none_before_or_what_from_says() {
    let mut changing = Changing::new(&[("lake", "")]).await;
    changing.append(1..=50).await;
    let sinks = [("lake", ""), ("next", ""), ("all", ", from: earliest")];
    let mut prepared =
        changing.prepare(&sinks, &changes(&["next", "all"], &[], &[])).await.expect("they can be made");
    changing.append(51..=60).await;
    changing.dispatchers.add(&mut prepared).await.expect("room");
    changing.append(61..=100).await;
    changing.dispatchers.replace_and_remove(prepared, Instant::now() + GRACE);
    assert_eq!(changing.until_delivered("all", 100).await, (1..=100).collect::<Vec<_>>());
    assert_eq!(changing.until_delivered("next", 40).await, (61..=100).collect::<Vec<_>>());
    assert_eq!(changing.until_delivered("lake", 100).await, (1..=100).collect::<Vec<_>>());
    assert!(changing.health.sink("next").is_some() && changing.gauges("next") > 0);
    assert_eq!(changing.dispatchers.names(), ["all", "lake", "next", "(quarantine)"]);
    changing.end().await;
}

#[tokio::test]
async fn a_sink_that_changes_again_and_again_under_load_loses_and_repeats_nothing_in_its_one_directory() {
    let mut changing = Changing::new(&[("lake", "")]).await;
    let (spool, done) = (changing.bench.spool.clone(), Arc::new(AtomicBool::new(false)));
    let is_done = Arc::clone(&done);
    let load = tokio::spawn(async move {
        let mut number = 0;
        while !is_done.load(Ordering::Relaxed) {
            number += 1;
            spool.append(numbered(number).into(), None).await.expect("room");
        }
        number
    });
    for round in 0..10 {
        let more = [", linger: 1ms", ", linger: 60ms"][round % 2];
        changing.change(&[("lake", more)], changes(&[], &["lake"], &[])).await;
        let count = delivered(changing.dir.path(), "lake").len();
        changing.until_delivered("lake", count + 20).await;
    }
    done.store(true, Ordering::Relaxed);
    let last = load.await.expect("no panic");
    let all = changing.until_delivered("lake", usize::try_from(last).expect("few")).await;
    assert_eq!(all, (1..=last).collect::<Vec<_>>());
    assert_eq!(changing.health.sink("lake").expect("it is there").trouble(), None);
    changing.end().await;
}

#[tokio::test]
async fn a_sink_that_is_removed_delivers_what_was_accepted_before_and_leaves_counters_alone() {
    let mut changing = Changing::new(&[("lake", ""), ("billing", "")]).await;
    changing.append(1..=2000).await;
    changing.change(&[("lake", "")], changes(&[], &[], &["billing"])).await;
    changing.append(2001..=2100).await;
    changing.until_gone("billing").await;
    assert_eq!(delivered(changing.dir.path(), "billing"), (1..=2000).collect::<Vec<_>>());
    assert_eq!(changing.cursor("billing"), Position(2000));
    assert_eq!(changing.gauges("billing"), 0, "{}", changing.metrics.render());
    assert!(changing.metrics.render().contains(r#"delivered_total{sink="billing""#));
    changing.until_delivered("lake", 2100).await;
    let text =
        changing.dispatchers.around.pausing.pause("billing", "a while", false).expect_err("it is gone");
    assert_eq!(text.to_string(), "no sink is named `billing` (configured: lake)");

    changing.change(&[("lake", ""), ("billing", "")], changes(&["billing"], &[], &[])).await;
    let all = changing.until_delivered("billing", 2100).await;
    assert_eq!(all, (1..=2100).collect::<Vec<_>>(), "it goes on where it was");
    changing.end().await;
}

#[tokio::test]
async fn a_broken_sink_can_be_removed_within_the_grace_and_loses_nothing_when_it_comes_back_mended() {
    let mut changing = Changing::new(&[("lake", "")]).await;
    let with_both = config(changing.dir.path(), &[("lake", ""), ("broken", "")]);
    let options = with_both.sinks.iter().find(|sink| sink.name == "broken").expect("it is there").clone();
    let output = PreparedOutput::Made(Arc::new(Mute::default()));
    let rules = Some(rules::rules(&with_both));
    let mut prepared = PreparedSinks { rules, ..PreparedSinks::default() };
    prepared.added.push(PreparedSink { options, output });
    changing.dispatchers.add(&mut prepared).await.expect("room");
    changing.append(1..=10).await;
    changing.until_delivered("lake", 10).await;

    let begun = Instant::now();
    let prepared = changing.prepare(&[("lake", "")], &changes(&[], &[], &["broken"])).await.expect("it goes");
    changing.dispatchers.replace_and_remove(prepared, Instant::now() + Duration::from_secs(1));
    let both = [("lake", ""), ("broken", "")];
    let refused =
        changing.prepare(&both, &changes(&["broken"], &[], &[])).await.err().expect("it ends still");
    assert!(matches!(refused, BridgeError::SinkStillChanging { .. }), "{refused}");
    changing.until_gone("broken").await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());

    changing.change(&both, changes(&["broken"], &[], &[])).await;
    assert_eq!(changing.until_delivered("broken", 10).await, (1..=10).collect::<Vec<_>>());
    changing.end().await;
}

#[tokio::test]
async fn a_sink_that_is_removed_and_comes_back_has_no_gap_where_the_configuration_changed() {
    let mut changing = Changing::new(&[("lake", ""), ("guest", "")]).await;
    changing.append(1..=5).await;
    let both = [("lake", ""), ("guest", "")];
    let mut prepared =
        changing.prepare(&[("lake", "")], &changes(&[], &[], &["guest"])).await.expect("it goes");
    changing.dispatchers.add(&mut prepared).await.expect("room");
    changing.dispatchers.give_notice(&mut prepared);
    // What comes now is admitted under the new configuration, while the sink still runs.
    let configuration = Some(changing.dispatchers.around.rules.current());
    for number in 6..=10 {
        let key = DuplicateKey::of("a", &format!("evt-{number}"));
        let taken = Event { configuration, ..numbered(number) };
        changing.bench.spool.append(taken.into(), Some(key)).await.expect("room");
    }
    changing.until_delivered("lake", 10).await;
    changing.dispatchers.replace_and_remove(prepared, Instant::now() + Duration::from_secs(5));
    changing.until_gone("guest").await;
    assert_eq!(delivered(changing.dir.path(), "guest"), (1..=5).collect::<Vec<_>>());

    changing.change(&both, changes(&["guest"], &[], &[])).await;
    assert_eq!(changing.until_delivered("guest", 10).await, (1..=10).collect::<Vec<_>>());
    changing.end().await;
}

#[tokio::test]
async fn a_paused_sink_stays_paused_over_a_change_and_over_a_removal() {
    let mut changing = Changing::new(&[("lake", "")]).await;
    changing.dispatchers.around.pausing.pause("lake", "the consumers are moved", false).expect("room");
    changing.append(1..=10).await;
    changing.change(&[("lake", ", linger: 1ms")], changes(&[], &["lake"], &[])).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let paused = |changing: &Changing| changing.health.sink("lake").and_then(|sink| sink.paused());
    assert_eq!(paused(&changing).expect("it is paused").reason, "the consumers are moved");
    assert!(delivered(changing.dir.path(), "lake").is_empty());

    changing.change(&[("other", "")], changes(&["other"], &[], &["lake"])).await;
    changing.until_gone("lake").await;
    assert!(delivered(changing.dir.path(), "lake").is_empty());
    changing.change(&[("other", ""), ("lake", "")], changes(&["lake"], &[], &[])).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(paused(&changing).is_some() && delivered(changing.dir.path(), "lake").is_empty());
    changing.dispatchers.around.pausing.resume("lake").expect("room").expect("it was paused");
    assert_eq!(changing.until_delivered("lake", 10).await, (1..=10).collect::<Vec<_>>());
    changing.end().await;
}

#[tokio::test]
async fn a_replay_to_a_sink_that_is_removed_stops_and_says_so() {
    let mut changing = Changing::new(&[("lake", ""), ("billing", "")]).await;
    let replays = changing.dispatchers.around.replays.clone();
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(replays.clone().run(stop.clone()));
    changing.append(1..=100).await;
    changing.until_delivered("billing", 100).await;
    // A replay looks through what the sink has passed.
    let state = changing.bench.state.clone();
    let passed = ("billing".to_owned(), Position(100));
    changing.until(|| state.cursors().is_ok_and(|cursors| cursors.contains(&passed))).await;
    let events = ReplaySelection { since: Some(crate::event::Timestamp(0)), ..ReplaySelection::default() };
    let slow =
        |sink: &str| NewReplay { sink: sink.into(), events: events.clone(), select_all: false, rate: 1 };
    let begun = replays.begin(&slow("billing")).expect("it can be asked for");
    changing.change(&[("lake", "")], changes(&[], &[], &["billing"])).await;
    changing.until_gone("billing").await;
    let (row, _) = replays.show(begun.id).expect("there is one");
    assert_eq!(row.state, ReplayState::Stopped);
    assert_eq!(row.because.as_deref(), Some("sink `billing` is no longer configured"));
    let refused = replays.begin(&slow("billing")).expect_err("it is gone").to_string();
    assert_eq!(refused, "no sink is named `billing` (configured: lake)");

    // One that comes, and one that comes back, get what is asked for.
    changing.change(&[("lake", ""), ("billing", "")], changes(&["billing"], &[], &[])).await;
    for sink in ["lake", "billing"] {
        let wanted = NewReplay { rate: RATE_DEFAULT, ..slow(sink) };
        let begun = replays.begin(&wanted).expect("it can be asked for");
        changing.until(|| replays.show(begun.id).expect("there is one").0.state == ReplayState::Done).await;
    }
    stop.cancel();
    running.await.expect("no panic");
    changing.end().await;
}

#[tokio::test]
async fn events_for_a_removed_sink_alone_are_dead_letters_until_it_comes_back() {
    let mut changing = Changing::new(&[("lake", ""), ("billing", "")]).await;
    let only = |number| Event { only_sink: Some("billing".into()), ..numbered(number) };
    changing.change(&[("lake", "")], changes(&[], &[], &["billing"])).await;
    changing.until_gone("billing").await;
    changing.bench.append(only(1)).await;
    let state = changing.bench.state.clone();
    let letters = || state.dead_letters(&DeadFilter::default(), 0, 10).expect("readable").len();
    changing.until(|| letters() == 1).await;

    changing.change(&[("lake", ""), ("billing", "")], changes(&["billing"], &[], &[])).await;
    changing.bench.append(only(2)).await;
    assert_eq!(changing.until_delivered("billing", 1).await, [2], "the first is a dead letter already");
    assert_eq!(letters(), 1);
    changing.end().await;
}

#[tokio::test]
async fn a_directory_goes_from_one_sink_to_another() {
    let mut changing = Changing::new(&[("lake", "")]).await;
    changing.append(1..=10).await;
    let lake = changing.dir.path().join("lake");
    let mut config = config(changing.dir.path(), &[("heir", "")]);
    let Output::File(file) = &mut config.sinks[0].output else { panic!("it is one of files") };
    file.dir = lake;
    let wanted = changes(&["heir"], &[], &["lake"]);
    let mut prepared = changing.dispatchers.prepare(&config, &wanted).await.expect("it can be made later");
    changing.dispatchers.add(&mut prepared).await.expect("room");
    changing.dispatchers.replace_and_remove(prepared, Instant::now() + GRACE);
    changing.append(11..=20).await;
    changing.until_gone("lake").await;
    assert_eq!(changing.until_delivered("lake", 20).await, (1..=20).collect::<Vec<_>>());
    assert_eq!(changing.health.sink("heir").expect("it is there").trouble(), None);
    changing.end().await;
}

#[tokio::test]
async fn what_cannot_be_prepared_leaves_no_trace() {
    let mut changing = Changing::new(&[("lake", "")]).await;
    changing.append(1..=10).await;
    changing.until_delivered("lake", 10).await;
    std::fs::write(changing.dir.path().join("unusable"), "a file").expect("room");
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (before, cursors) = (tasks(), changing.bench.state.cursors().expect("readable").len());
    let sinks = [("new", ""), ("unusable", ""), ("lake", ", linger: 1ms")];
    let refused = changing.prepare(&sinks, &changes(&["new", "unusable"], &["lake"], &[])).await;
    assert!(
        matches!(refused.err(), Some(BridgeError::Sink { name, .. }) if name == "unusable"),
        "a file is no directory"
    );
    assert!(!changing.dir.path().join("new").exists(), "what was made is gone");

    let prepared = changing.prepare(&sinks[..1], &changes(&["new"], &[], &[])).await.expect("it can be made");
    assert!(changing.dir.path().join("new").exists());
    drop(prepared);
    assert!(!changing.dir.path().join("new").exists());
    assert_eq!((tasks(), changing.gauges("new")), (before, 0));
    assert_eq!(changing.bench.state.cursors().expect("readable").len(), cursors);
    assert!(changing.health.sink("new").is_none() && changing.dispatchers.sinks.len() == 1);
    changing.append(11..=20).await;
    changing.until_delivered("lake", 20).await;
    changing.end().await;
}

/// How many descriptors of this process are of something below a directory.
fn descriptors(dir: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("Linux").flatten();
    open.filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter(|path| path.starts_with(dir))
        .count()
}

#[tokio::test]
async fn a_hundred_changes_leave_no_task_no_descriptor_and_no_series_behind() {
    let mut changing = Changing::new(&[("lake", "")]).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut seen = Vec::new();
    let mut appended = 0;
    for round in 0..50_u64 {
        let more = [", linger: 1ms", ""][usize::try_from(round % 2).expect("small")];
        let sinks = [("lake", more), ("guest", "")];
        changing.change(&sinks, changes(&["guest"], &["lake"], &[])).await;
        changing.append(appended + 1..=appended + 2).await;
        appended += 2;
        let dir = changing.dir.path().to_owned();
        changing.until_delivered("lake", usize::try_from(appended).expect("few")).await;
        changing.change(&sinks[..1], changes(&[], &[], &["guest"])).await;
        changing.until_gone("guest").await;
        // The writer of a sink's files ends by itself, and so does the task.
        assert!(descriptors(&dir.join("lake")) <= 2, "its lock, and one file");
        changing.until(|| descriptors(&dir.join("guest")) == 0).await;
        let names = changing.dispatchers.names();
        assert_eq!(names, ["lake", "(quarantine)"], "round {round}");
        seen.push((tasks(), changing.gauges("guest"), changing.health.sinks().len()));
    }
    assert!(seen.iter().skip(5).all(|counts| *counts == seen[5]), "{seen:?}");
    assert_eq!(seen[5].1, 0, "gauges of the guest");
    assert_eq!(delivered(changing.dir.path(), "lake"), (1..=appended).collect::<Vec<_>>());
    changing.end().await;
}
