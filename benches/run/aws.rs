//! Out of a queue and into topics, beside the SDK by itself.
//!
//! Both services are one stub, started afresh for each measurement, that answers at once: what is
//! compared is what happens at this end of the wire, and on a small machine that is CPU time. The queue
//! is read once more from a stub that takes as long for its answers as the service does: then loops
//! wait, and what is compared is how well they use their wait. Rates are read off the stub's counts,
//! from the first tenth to the last message, so that starting up is not measured.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::child::Child;
use crate::stage::{Load, Stage};
use crate::subject::{NOWHERE, Running, get, start_between};
use crate::verdict::{Limit, Target};
use crate::{Plan, median, plain_table};

const BODY_BYTES: usize = 1024;
const CONNECTIONS: usize = 64;
/// Receive loops of the bridge and of the bare loop.
const RECEIVERS: usize = 8;
/// Requests at once of the sink and of the bare publisher.
const REQUESTS: usize = 16;
const QUEUE_URL: &str = "https://sqs.eu-west-1.amazonaws.com/111111111111/bench";
const TOPIC_ARN: &str = "arn:aws:sns:eu-west-1:111111111111:bench-video-session";
/// The low end of "tens of milliseconds", which the service's own FAQ gives for a request.
const SERVICE: Duration = Duration::from_millis(10);
const AT_ONCE: Duration = Duration::ZERO;
/// Loops that wait take less: of so many messages one.
const WAITING_SHARE: u64 = 5;
/// How often it is asked how far things are.
const LOOK: Duration = Duration::from_millis(10);
const DONE_MAX: Duration = Duration::from_secs(300);

/// What was found; one entry per round.
#[derive(Debug, Default, Serialize)]
pub struct Aws {
    messages: u64,
    bare_receive: Vec<Sample>,
    receive: Vec<Sample>,
    /// The same with a service that answers after 10 ms.
    bare_receive_waiting: Vec<Sample>,
    receive_waiting: Vec<Sample>,
    bare_publish: Vec<Sample>,
    publish: Vec<Sample>,
}

/// One measurement of one subject; also what the bare loops print.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Sample {
    per_second: f64,
    cpu_us_per_event: f64,
    calls_per_event: f64,
}

/// What the stub has seen.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Counts {
    sqs_calls: u64,
    deleted: u64,
    sns_calls: u64,
    published: u64,
}

/// Measures both directions, the SDK by itself and the bridge in turn.
///
/// # Errors
/// When a subject does not come up, or not everything arrives in time.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Aws> {
    let mut aws = Aws { messages: plan.aws_messages, ..Aws::default() };
    for round in 1..=plan.rounds {
        eprintln!("aws: round {round} of {}", plan.rounds);
        let (all, some) = (aws.messages, aws.messages / WAITING_SHARE);
        aws.bare_receive.push(bare_receive(stage, all, AT_ONCE)?);
        aws.receive.push(receive(stage, all, AT_ONCE)?);
        aws.bare_receive_waiting.push(bare_receive(stage, some, SERVICE)?);
        aws.receive_waiting.push(receive(stage, some, SERVICE)?);
        aws.bare_publish.push(bare_publish(stage, all)?);
        aws.publish.push(publish(stage, all)?);
    }
    Ok(aws)
}

/// A stub that is up.
struct Stub {
    child: Child,
    address: SocketAddr,
}

impl Stub {
    fn start(stage: &Stage, answer_after: Duration) -> anyhow::Result<Self> {
        let (body_bytes, late) = (BODY_BYTES.to_string(), answer_after.as_millis().to_string());
        let arguments = ["--body-bytes", &body_bytes, "--answer-after-ms", &late];
        let mut child = Child::start(stage.floor_command("stub").args(arguments))?;
        let address = child.first_line()?.parse()?;
        Ok(Self { child, address })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn fill(&self, messages: u64) -> anyhow::Result<()> {
        get(self.address, &format!("/fill/{messages}")).map(drop)
    }

    fn counts(&self) -> anyhow::Result<Counts> {
        Ok(serde_json::from_str(&get(self.address, "/counts")?)?)
    }

    /// Waits until `done` of all messages are `share` of them; what the stub had seen, and when.
    fn await_share(&self, done: fn(&Counts) -> u64, messages: u64) -> anyhow::Result<(Counts, Instant)> {
        let started = Instant::now();
        loop {
            let counts = self.counts()?;
            if done(&counts) >= messages {
                return Ok((counts, Instant::now()));
            }
            anyhow::ensure!(
                started.elapsed() < DONE_MAX,
                "{} of {messages} messages after {DONE_MAX:?}",
                done(&counts)
            );
            std::thread::sleep(LOOK);
        }
    }

    /// Measures a bridge between the first tenth and the last of `messages`.
    fn watch(
        &self,
        bridge: &Running,
        messages: u64,
        done: fn(&Counts) -> u64,
        calls: fn(&Counts) -> u64,
    ) -> anyhow::Result<Sample> {
        let (first, began) = self.await_share(done, messages / 10)?;
        let cpu = bridge.child.cpu_seconds()?;
        let (last, ended) = self.await_share(done, messages)?;
        let count = (done(&last) - done(&first)) as f64;
        Ok(Sample {
            per_second: count / (ended - began).as_secs_f64(),
            cpu_us_per_event: (bridge.child.cpu_seconds()? - cpu) * 1e6 / count,
            calls_per_event: (calls(&last) - calls(&first)) as f64 / count,
        })
    }
}

fn bare_receive(stage: &Stage, messages: u64, answer_after: Duration) -> anyhow::Result<Sample> {
    let stub = Stub::start(stage, answer_after)?;
    stub.fill(messages)?;
    let (url, loops, count) = (stub.url(), RECEIVERS.to_string(), messages.to_string());
    let arguments = ["--endpoint", &url, "--queue-url", QUEUE_URL, "--loops", &loops, "--count", &count];
    let sample = stage.run_floor("receive", &arguments)?;
    stub.child.stop()?;
    Ok(sample)
}

fn receive(stage: &Stage, messages: u64, answer_after: Duration) -> anyhow::Result<Sample> {
    let (stub, dir) = (Stub::start(stage, answer_after)?, stage.new_dir()?);
    stub.fill(messages)?;
    let ways = format!(
        r#"aws: {{ endpoint: "{}" }}
sources:
  bench: {{ provider: stream, sqs: {{ queue_url: "{QUEUE_URL}", receivers_max: {RECEIVERS} }} }}
sinks:
  lake: {{ kafka: {{ brokers: "{NOWHERE}" }}, topic: "fanbridge-bench.{{family}}" }}
"#,
        stub.url()
    );
    let bridge = start_between(stage, dir.path(), &ways)?;
    let sample = stub.watch(&bridge, messages, |counts| counts.deleted, |counts| counts.sqs_calls)?;
    bridge.child.stop()?;
    stub.child.stop()?;
    Ok(sample)
}

fn bare_publish(stage: &Stage, messages: u64) -> anyhow::Result<Sample> {
    let stub = Stub::start(stage, AT_ONCE)?;
    let (url, requests) = (stub.url(), REQUESTS.to_string());
    let (count, bytes) = (messages.to_string(), BODY_BYTES.to_string());
    let (to, load) =
        (["--endpoint", &url, "--topic-arn", TOPIC_ARN], ["--count", &count, "--body-bytes", &bytes]);
    let sample = stage.run_floor("publish", &[&to[..], &load, &["--requests", &requests]].concat())?;
    stub.child.stop()?;
    Ok(sample)
}

/// Takes events in while there is no service, then starts over the same spool with one.
fn publish(stage: &Stage, messages: u64) -> anyhow::Result<Sample> {
    let dir = stage.new_dir()?;
    let filling = start_between(stage, dir.path(), &sns(&format!("http://{NOWHERE}")))?;
    stage.load(&Load {
        to: &filling.to,
        connections: CONNECTIONS,
        body_bytes: BODY_BYTES,
        seconds: 600.0,
        rate: None,
        count: Some(messages),
        more: &[],
    })?;
    filling.child.stop()?;

    let stub = Stub::start(stage, AT_ONCE)?;
    let draining = start_between(stage, dir.path(), &sns(&stub.url()))?;
    let sample = stub.watch(&draining, messages, |counts| counts.published, |counts| counts.sns_calls)?;
    draining.child.stop()?;
    stub.child.stop()?;
    Ok(sample)
}

impl Aws {
    /// What the bridge has to reach here.
    pub fn targets(&self) -> Vec<Target> {
        let share = |bridge: &[Sample], bare: &[Sample]| {
            let rounds = bridge.iter().zip(bare);
            median(rounds.map(|(bridge, bare)| 100.0 * bridge.per_second / bare.per_second))
        };
        let own = |bridge: &[Sample], bare: &[Sample]| {
            let rounds = bridge.iter().zip(bare);
            median(rounds.map(|(bridge, bare)| bridge.cpu_us_per_event - bare.cpu_us_per_event))
        };
        let calls = |samples: &[Sample]| median(samples.iter().map(|sample| sample.calls_per_event));
        vec![
            Target::new(
                "SQS: share of the bare loop, answers after 10 ms",
                share(&self.receive_waiting, &self.bare_receive_waiting),
                Limit::AtLeast(90.0),
                "%",
            ),
            Target::new(
                "SQS: share of the bare loop, answers at once",
                share(&self.receive, &self.bare_receive),
                Limit::AtLeast(90.0),
                "%",
            ),
            Target::new("SQS: calls", calls(&self.receive), Limit::AtMost(0.22), "per message"),
            Target::new(
                "SQS: CPU beyond the bare loop's",
                own(&self.receive, &self.bare_receive),
                Limit::AtMost(40.0),
                "us/message",
            ),
            Target::new("SNS: calls", calls(&self.publish), Limit::AtMost(0.12), "per event"),
        ]
    }
}

/// A webhook in, SNS out.
fn sns(endpoint: &str) -> String {
    format!(
        r#"aws: {{ endpoint: "{endpoint}" }}
sources:
  bench: {{ provider: stream, secrets: ["env:BENCH_SECRET"] }}
sinks:
  topics: {{ sns: {{ requests_max: {REQUESTS} }}, topic: "arn:aws:sns:eu-west-1:111111111111:bench-{{family}}" }}
"#
    )
}

impl fmt::Display for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "SQS AND SNS, {} messages of {BODY_BYTES} B; {RECEIVERS} receive loops, {REQUESTS} publishing requests; the stub shares the machine",
            self.messages
        )?;
        let mut table = plain_table(&["", "messages/s", "CPU us/message", "CALLS/message"]);
        for (name, samples) in [
            ("SQS, answers at once: the SDK's loop", &self.bare_receive),
            ("SQS, answers at once: fanbridge, durable", &self.receive),
            ("SQS, answers after 10 ms: the SDK's loop", &self.bare_receive_waiting),
            ("SQS, answers after 10 ms: fanbridge, durable", &self.receive_waiting),
            ("SNS: one Publish per event", &self.bare_publish),
            ("SNS: fanbridge drains", &self.publish),
        ] {
            let middle = |of: fn(&Sample) -> f64| median(samples.iter().map(of));
            table.add_row([
                name.to_owned(),
                format!("{:.0}", middle(|sample| sample.per_second)),
                format!("{:.1}", middle(|sample| sample.cpu_us_per_event)),
                format!("{:.3}", middle(|sample| sample.calls_per_event)),
            ]);
        }
        write!(f, "{table}")
    }
}
