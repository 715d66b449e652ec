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
#[path = "run/broker.rs"]
mod broker;
#[path = "run/child.rs"]
mod child;
#[path = "run/intake.rs"]
mod intake;
#[path = "run/kafka.rs"]
mod kafka;
#[path = "run/latency.rs"]
mod latency;
#[path = "run/machine.rs"]
mod machine;
#[path = "run/pair.rs"]
mod pair;
#[path = "load/report.rs"]
mod report;
#[path = "run/stage.rs"]
mod stage;
#[path = "run/subject.rs"]
mod subject;
#[path = "run/verdict.rs"]
mod verdict;

use broker::Broker;
use clap::{Parser, ValueEnum};
use machine::Machine;
use serde::Serialize;
use stage::Stage;
use std::path::{Path, PathBuf};
use verdict::Target;

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
    /// Another build of the bridge, such as the one before a change: measure only the two, in turn.
    #[arg(long, value_name = "BINARY", conflicts_with_all = ["only", "check"])]
    before: Option<PathBuf>,
    /// Where the results go as JSON; beside the build by default.
    #[arg(long)]
    json: Option<PathBuf>,
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
    /// Memory and speed while a backlog grows that no sink takes.
    Backlog,
    /// End to end into Kafka, and the drain of a backlog.
    Kafka,
    /// Out of SQS and into SNS, beside the SDK by itself; the services are stubs.
    Aws,
}

/// How much is measured.
#[derive(Clone, Debug, Serialize)]
struct Plan {
    rounds: usize,
    /// Seconds of load per measurement.
    seconds: f64,
    connections: Vec<usize>,
    body_bytes: Vec<usize>,
    /// Events of the backlog that memory is measured with.
    backlog_events: u64,
    /// Events that go through Kafka per round.
    kafka_events: u64,
    /// Messages that come from SQS, and go to SNS, per round.
    aws_messages: u64,
}

impl Plan {
    fn new(arguments: &Arguments) -> Self {
        let full = Self {
            rounds: 5,
            seconds: 2.0,
            connections: vec![1, 16, 64, 256],
            body_bytes: vec![1024, 4096],
            backlog_events: 1_000_000,
            kafka_events: 200_000,
            aws_messages: 100_000,
        };
        let quick = Self {
            rounds: 3,
            seconds: 1.0,
            connections: vec![64, 256],
            body_bytes: vec![1024],
            backlog_events: 200_000,
            kafka_events: 50_000,
            aws_messages: 30_000,
        };
        let plan = if arguments.quick { quick } else { full };
        Self { rounds: arguments.rounds.unwrap_or(plan.rounds), ..plan }
    }
}

/// Everything that was found, as written to the JSON file.
#[derive(Serialize)]
struct Results {
    machine: Machine,
    command: String,
    plan: Plan,
    intake: Option<intake::Intake>,
    latency: Option<latency::Latency>,
    backlog: Option<backlog::Backlog>,
    kafka: Option<kafka::Kafka>,
    aws: Option<aws::Aws>,
    pair: Option<pair::Pair>,
    targets: Vec<Target>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let stage = Stage::set()?;
    let mut results = Results {
        machine: Machine::look(stage.dir())?,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        plan: Plan::new(&arguments),
        intake: None,
        latency: None,
        backlog: None,
        kafka: None,
        aws: None,
        pair: None,
        targets: Vec::new(),
    };
    println!("{}\ncommand  {}", results.machine, results.command);
    match &arguments.before {
        Some(before) => compare(&arguments, before, &stage, &mut results)?,
        None => {
            measure(&arguments, &stage, &mut results)?;
            println!("\n{}", verdict::table(&results.targets));
        }
    }
    let json = arguments.json.clone().unwrap_or_else(|| stage.build_dir().join("bench.json"));
    std::fs::write(&json, serde_json::to_vec_pretty(&results)?)?;
    println!("results as JSON: {}", json.display());
    let missed = results.targets.iter().filter(|target| !target.met()).count();
    anyhow::ensure!(!arguments.check || missed == 0, "{missed} targets missed");
    Ok(())
}

fn compare(arguments: &Arguments, before: &Path, stage: &Stage, results: &mut Results) -> anyhow::Result<()> {
    let broker = Broker::at_or_started(arguments.brokers.as_deref(), stage)?;
    let pair = pair::measure([&stage.with_bridge(before)?, stage], &results.plan, &broker)?;
    println!("\n{pair}");
    results.pair = Some(pair);
    Ok(())
}

fn measure(arguments: &Arguments, stage: &Stage, results: &mut Results) -> anyhow::Result<()> {
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let plan = results.plan.clone();
    if wanted(Part::Intake) {
        let intake = intake::measure(stage, &plan)?;
        println!("\n{intake}");
        results.targets.extend(intake.targets());
        results.intake = Some(intake);
    }
    if wanted(Part::Latency) {
        let latency = latency::measure(stage, &plan)?;
        println!("\n{latency}");
        results.targets.extend(latency.targets());
        results.latency = Some(latency);
    }
    if wanted(Part::Backlog) {
        let backlog = backlog::measure(stage, &plan)?;
        println!("\n{backlog}");
        results.targets.extend(backlog.targets());
        results.backlog = Some(backlog);
    }
    if wanted(Part::Kafka) {
        match Broker::at_or_started(arguments.brokers.as_deref(), stage) {
            Ok(broker) => {
                let kafka = kafka::measure(stage, &plan, &broker)?;
                println!("\n{kafka}");
                results.targets.extend(kafka.targets());
                results.kafka = Some(kafka);
            }
            Err(error) => eprintln!("\nnot measured: end to end into Kafka, because {error:#}"),
        }
    }
    if wanted(Part::Aws) {
        let aws = aws::measure(stage, &plan)?;
        println!("\n{aws}");
        results.targets.extend(aws.targets());
        results.aws = Some(aws);
    }
    Ok(())
}

/// The middle of some measurements; the mean of the two middle ones if they are even in number.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match (values.len() / 2, values.len() % 2) {
        (0, 0) => f64::NAN,
        (middle, 0) => f64::midpoint(values[middle - 1], values[middle]),
        (middle, _) => values[middle],
    }
}

/// A table in the plain style that all parts print.
fn plain_table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header.iter().copied());
    for column in table.column_iter_mut() {
        column.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    table
}
