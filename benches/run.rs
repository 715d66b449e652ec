//! The bench: the bridge beside its floors, in one run on one machine.
//!
//! Starts release binaries as child processes, loads them in turn, and prints medians of several
//! rounds with the targets they meet or miss. What is compared is measured alternately, seconds
//! apart, so that a machine that changes its mood changes it for both. Everything it starts it stops,
//! by process id; everything it writes goes under the build directory.
//!
//! `benches/run.sh [--quick]`, or `cargo bench [-- --quick]` for a build without LTO.

#[path = "run/aws.rs"]
mod aws;
#[path = "run/backlog.rs"]
mod backlog;
#[path = "run/bodies.rs"]
mod bodies;
#[allow(dead_code, unused_imports, reason = "the load writes most of the bodies, and has the tests")]
#[path = "load/body.rs"]
mod body;
#[path = "run/broker.rs"]
mod broker;
#[path = "run/child.rs"]
mod child;
#[path = "run/compression.rs"]
mod compression;
#[allow(dead_code, unused_imports, reason = "the tests run with the example `figures`")]
#[path = "run/flat.rs"]
mod flat;
#[allow(dead_code, unused_imports, reason = "the tests run with the example `figures`")]
#[path = "run/goals.rs"]
mod goals;
#[path = "run/identity.rs"]
mod identity;
#[path = "run/idle.rs"]
mod idle;
#[path = "run/intake.rs"]
mod intake;
#[path = "run/kafka.rs"]
mod kafka;
#[path = "run/latency.rs"]
mod latency;
#[path = "run/machine.rs"]
mod machine;
#[path = "run/pages.rs"]
mod pages;
#[path = "run/pair.rs"]
mod pair;
#[path = "run/pipelining.rs"]
mod pipelining;
#[allow(dead_code, unused_imports, reason = "the tests run with the example `figures`")]
#[path = "run/plot.rs"]
mod plot;
#[path = "run/redis.rs"]
mod redis;
#[path = "load/report.rs"]
mod report;
#[path = "run/sample.rs"]
mod sample;
#[path = "run/selection.rs"]
mod selection;
#[path = "run/sinks.rs"]
mod sinks;
#[path = "run/stage.rs"]
mod stage;
#[path = "run/start.rs"]
mod start;
#[path = "run/subject.rs"]
mod subject;
#[path = "run/table.rs"]
mod table;
#[path = "run/timeline.rs"]
mod timeline;
#[path = "run/tls.rs"]
mod tls;
#[path = "run/types.rs"]
mod types;
#[path = "run/verdict.rs"]
mod verdict;

use anyhow::Context;
use broker::Broker;
use clap::{Parser, ValueEnum};
use machine::Machine;
use serde::Serialize;
use stage::Stage;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use table::{median, plain_table};
use verdict::{Absent, Target};

/// Measures the bridge beside its floors.
#[derive(Parser)]
struct Arguments {
    /// Fewer cases, shorter and fewer rounds: a look, not a result.
    #[arg(long)]
    quick: bool,
    /// Rounds to take medians of.
    #[arg(long)]
    rounds: Option<usize>,
    /// Measure only this; may be repeated.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// The Kafka cluster for the end-to-end part; without one, a broker of its own is started.
    #[arg(long, env = "KAFKA_BROKERS")]
    brokers: Option<String>,
    /// Another build of the bridge, such as the one before a change: measure only the two, in turn. With
    /// `--only`, one of the parts that compare no floor's rate.
    #[arg(long, value_name = "BINARY", conflicts_with = "check")]
    before: Option<PathBuf>,
    /// Where the results go as JSON; beside the build by default.
    #[arg(long)]
    json: Option<PathBuf>,
    /// GiB that the log holds in the measurement of a start.
    #[arg(long)]
    start_gib: Option<f64>,
    /// Where the plot of throughput and latency goes; beside the build by default.
    #[arg(long, value_name = "SVG")]
    plot: Option<PathBuf>,
    /// Exit with 1 if a target is missed.
    #[arg(long)]
    check: bool,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Durable intake beside its floors.
    Intake,
    /// Acknowledgement latency at half load.
    Latency,
    /// TLS on connections that are kept, and on new ones with full and resumed handshakes.
    Tls,
    /// Compressed bodies and large ones.
    Bodies,
    /// Thousands of connections with nothing to say.
    Idle,
    /// Several requests on the wire of one connection.
    Pipelining,
    /// Many sources with many event types.
    Types,
    /// One, four and sixteen sinks.
    Sinks,
    /// A list of selected types.
    Selection,
    /// The timeline beside none.
    Timeline,
    /// Ten open pages at full load.
    Pages,
    /// The duplicate window in Redis.
    Redis,
    /// Memory and speed while a backlog grows that no sink takes.
    Backlog,
    /// A start over a log that holds much.
    Start,
    /// End to end into Kafka, and the drain of a backlog.
    Kafka,
    /// Compression into Kafka.
    Compression,
    /// Out of SQS and into SNS, beside the SDK by itself; the services are stubs.
    Aws,
}

impl Part {
    /// As it is called on the command line and in the results.
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// How much is measured.
#[derive(Clone, Debug, Serialize)]
struct Plan {
    rounds: usize,
    /// Seconds of load per measurement.
    seconds: f64,
    /// Body size in bytes, and connections, of each case of the intake.
    intake: Vec<(usize, usize)>,
    /// Events of the backlog that memory is measured with.
    backlog_events: u64,
    /// Events that go through Kafka per round.
    kafka_events: u64,
    /// Messages that come from SQS, and go to SNS, per round.
    aws_messages: u64,
    /// Events that go through file sinks per round.
    sink_events: u64,
    /// Events of many types per round.
    type_events: u64,
    /// GiB that the log holds at a start.
    start_gib: f64,
}

impl Plan {
    fn new(arguments: &Arguments) -> Self {
        let full = Self {
            rounds: 5,
            seconds: 2.0,
            intake: vec![
                (1024, 1),
                (1024, 8),
                (1024, 64),
                (1024, 256),
                (1024, 1024),
                (4096, 64),
                (4096, 256),
            ],
            backlog_events: 1_000_000,
            kafka_events: 200_000,
            aws_messages: 100_000,
            sink_events: 100_000,
            type_events: 200_000,
            start_gib: 2.0,
        };
        let quick = Self {
            rounds: 3,
            seconds: 1.0,
            intake: vec![(1024, 64), (1024, 256)],
            backlog_events: 200_000,
            kafka_events: 50_000,
            aws_messages: 30_000,
            sink_events: 20_000,
            type_events: 100_000,
            start_gib: 0.25,
        };
        let plan = if arguments.quick { quick } else { full };
        let start_gib = arguments.start_gib.unwrap_or(plan.start_gib);
        Self { rounds: arguments.rounds.unwrap_or(plan.rounds), start_gib, ..plan }
    }
}

/// Everything that was found, as written to the JSON file.
#[derive(Serialize)]
struct Results {
    machine: Machine,
    command: String,
    plan: Plan,
    /// What was found by part.
    #[serde(flatten)]
    found: serde_json::Map<String, serde_json::Value>,
    pair: Option<pair::Pair>,
    targets: Vec<Target>,
    /// Parts that were to be measured and were not, and why.
    not_measured: Vec<String>,
}

impl Results {
    fn save(&self, json: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        std::fs::write(json, text).with_context(|| format!("cannot write {}", json.display()))
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let stage = Stage::set()?;
    let mut results = Results {
        machine: Machine::look(stage.dir())?,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        plan: Plan::new(&arguments),
        found: serde_json::Map::new(),
        pair: None,
        targets: Vec::new(),
        not_measured: Vec::new(),
    };
    println!("{}\ncommand  {}", results.machine, results.command);
    let json = arguments.json.clone().unwrap_or_else(|| stage.build_dir().join("bench.json"));
    let failures = match &arguments.before {
        Some(before) => {
            compare(&arguments, before, &stage, &mut results)?;
            0
        }
        None => measure(&arguments, &stage, &mut results, &json)?,
    };
    let value = serde_json::to_value(&results)?;
    if arguments.before.is_none() {
        println!("\n{}", verdict::table(&results.targets));
        println!("\n{}", goals::table(&goals::goals(&value)));
    }
    results.save(&json)?;
    println!("\nresults as JSON: {}", json.display());
    if let Some(svg) = plot::svg(&value) {
        let path = arguments.plot.clone().unwrap_or_else(|| stage.build_dir().join("bench.svg"));
        std::fs::write(&path, svg)?;
        println!("throughput and latency as a plot: {}", path.display());
    }
    results.not_measured.iter().for_each(|part| println!("not measured: {part}"));
    anyhow::ensure!(failures == 0, "{failures} parts could not be measured");
    let missed = results.targets.iter().filter(|target| !target.met()).count();
    anyhow::ensure!(!arguments.check || missed == 0, "{missed} targets missed");
    Ok(())
}

fn compare(arguments: &Arguments, before: &Path, stage: &Stage, results: &mut Results) -> anyhow::Result<()> {
    let (before, plan) = (stage.with_bridge(before)?, &results.plan);
    let stages = [&before, stage];
    let broker = || Broker::at_or_started(arguments.brokers.as_deref(), stage);
    let pair = match &arguments.only[..] {
        [] => pair::measure(stages, plan, &broker()?)?,
        parts => {
            let needs_broker = parts.contains(&Part::Compression);
            let broker = needs_broker.then(broker).transpose()?;
            let once = Plan { rounds: 1, ..plan.clone() };
            pair::measure_parts(stages, plan.rounds, parts, |part, stage| {
                one_round(part, stage, &once, broker.as_ref())
            })?
        }
    };
    println!("\n{pair}");
    results.pair = Some(pair);
    Ok(())
}

/// One round of a part that can be compared between two builds.
fn one_round(
    part: Part,
    stage: &Stage,
    plan: &Plan,
    broker: Option<&Broker>,
) -> anyhow::Result<serde_json::Value> {
    Ok(match part {
        Part::Tls => serde_json::to_value(tls::measure(stage, plan)?)?,
        Part::Bodies => serde_json::to_value(bodies::measure(stage, plan)?)?,
        Part::Idle => serde_json::to_value(idle::measure(stage, plan)?)?,
        Part::Pipelining => serde_json::to_value(pipelining::measure(stage, plan)?)?,
        Part::Types => serde_json::to_value(types::measure(stage, plan)?)?,
        Part::Sinks => serde_json::to_value(sinks::measure(stage, plan)?)?,
        Part::Selection => serde_json::to_value(selection::measure(stage, plan)?)?,
        Part::Timeline => serde_json::to_value(timeline::measure(stage, plan)?)?,
        Part::Pages => serde_json::to_value(pages::measure(stage, plan)?)?,
        Part::Redis => serde_json::to_value(redis::measure(stage, plan)?)?,
        Part::Compression => {
            let broker = broker.context("a broker was started for this part")?;
            serde_json::to_value(compression::measure(stage, plan, broker)?)?
        }
        Part::Intake | Part::Latency | Part::Kafka => {
            anyhow::bail!(
                "leave `--only` out: intake, latency and kafka are what `--before` compares by itself"
            )
        }
        Part::Backlog | Part::Aws | Part::Start => {
            anyhow::bail!("`--before` does not compare backlog, aws and start")
        }
    })
}

/// Measures every part that is wanted; how many failed for another reason than what this machine lacks. A
/// part that fails leaves the others to be measured.
fn measure(
    arguments: &Arguments,
    stage: &Stage,
    results: &mut Results,
    json: &Path,
) -> anyhow::Result<usize> {
    let (plan, mut run) = (results.plan.clone(), Run { arguments, results, json, failures: 0 });
    run.part(Part::Intake, intake::Intake::targets, || intake::measure(stage, &plan))?;
    run.part(Part::Latency, latency::Latency::targets, || latency::measure(stage, &plan))?;
    run.part(Part::Tls, no_targets, || tls::measure(stage, &plan))?;
    run.part(Part::Bodies, no_targets, || bodies::measure(stage, &plan))?;
    run.part(Part::Idle, no_targets, || idle::measure(stage, &plan))?;
    run.part(Part::Pipelining, no_targets, || pipelining::measure(stage, &plan))?;
    run.part(Part::Types, no_targets, || types::measure(stage, &plan))?;
    run.part(Part::Sinks, sinks::Sinks::targets, || sinks::measure(stage, &plan))?;
    run.part(Part::Selection, no_targets, || selection::measure(stage, &plan))?;
    run.part(Part::Timeline, timeline::Timeline::targets, || timeline::measure(stage, &plan))?;
    run.part(Part::Pages, pages::Pages::targets, || pages::measure(stage, &plan))?;
    run.part(Part::Redis, no_targets, || redis::measure(stage, &plan))?;
    run.part(Part::Backlog, backlog::Backlog::targets, || backlog::measure(stage, &plan))?;
    run.part(Part::Start, no_targets, || start::measure(stage, &plan))?;
    run.with_broker(stage, &plan)?;
    run.part(Part::Aws, aws::Aws::targets, || aws::measure(stage, &plan))?;
    Ok(run.failures)
}

/// For a part that has none.
fn no_targets<T>(_: &T) -> Vec<Target> {
    Vec::new()
}

/// A run that goes on.
struct Run<'r> {
    arguments: &'r Arguments,
    results: &'r mut Results,
    json: &'r Path,
    failures: usize,
}

impl Run<'_> {
    fn wants(&self, part: Part) -> bool {
        self.arguments.only.is_empty() || self.arguments.only.contains(&part)
    }

    /// Measures a part if it is wanted, prints it, and saves what the run has found so far.
    fn part<T: Display + Serialize>(
        &mut self,
        part: Part,
        targets: impl FnOnce(&T) -> Vec<Target>,
        measure: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<()> {
        if !self.wants(part) {
            return Ok(());
        }
        let name = part.name();
        match measure() {
            Ok(found) => {
                println!("\n{found}");
                self.results.targets.extend(targets(&found));
                self.results.found.insert(name, serde_json::to_value(found)?);
            }
            Err(error) => {
                eprintln!("\nnot measured: {name}, because {error:#}");
                self.failures += usize::from(!error.is::<Absent>());
                self.results.not_measured.push(format!("{name}: {error:#}"));
            }
        }
        self.results.save(self.json)
    }

    /// The parts that need a broker.
    fn with_broker(&mut self, stage: &Stage, plan: &Plan) -> anyhow::Result<()> {
        if !self.wants(Part::Kafka) && !self.wants(Part::Compression) {
            return Ok(());
        }
        let broker = Broker::at_or_started(self.arguments.brokers.as_deref(), stage);
        let broker = || broker.as_ref().map_err(|error| anyhow::Error::new(Absent(format!("{error:#}"))));
        self.part(Part::Kafka, kafka::Kafka::targets, || kafka::measure(stage, plan, broker()?))?;
        self.part(Part::Compression, no_targets, || compression::measure(stage, plan, broker()?))
    }
}
