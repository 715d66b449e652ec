//! Ten open pages at full load: how long the admin listener's answers take, and what that costs the intake.
//!
//! Each page does what the embedded one does: it follows the steps as server-sent events (Events), and asks
//! for status, metrics, history and sinks as often as its views do (Flow, Sinks).

use anyhow::Context;
use serde::Serialize;
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::sample::{Rows, Sample};
use crate::stage::{Load, Stage};
use crate::subject::{Running, Setup, Subject, get, warm_up};
use crate::verdict::{Limit, Target};
use crate::{Plan, median};

const CONNECTIONS: [usize; 2] = [64, 256];
const PAGES: u64 = 10;
/// How often a view asks, and what.
const EVERY: Duration = Duration::from_secs(2);
const ASKED: [&str; 4] = ["/api/v1/status", "/metrics", "/api/v1/history?minutes=60", "/api/v1/sinks"];
/// A round lasts long enough for each page to ask several times.
const ROUND_SECONDS: f64 = 8.0;
/// How long the stream of a page waits before it looks whether the round is over.
const LOOK: Duration = Duration::from_millis(200);

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Pages {
    rows: Rows,
    answers: Vec<Answers>,
}

/// The answers beside so many connections; one entry per round.
#[derive(Debug, Serialize)]
struct Answers {
    connections: usize,
    count: Vec<usize>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    /// MiB that came over all streams.
    streamed_mib: Vec<f64>,
}

/// What the pages of one round met.
#[derive(Debug, Default)]
struct Met {
    took: Vec<Duration>,
    streamed: usize,
}

/// Measures a bridge that nobody looks at and one with ten open pages, in turn.
///
/// # Errors
/// When a bridge does not come up, does not accept everything, or a page is not answered.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Pages> {
    let mut pages = Pages::default();
    let seconds = plan.seconds.max(ROUND_SECONDS);
    for round in 1..=plan.rounds {
        eprintln!("pages: round {round} of {}", plan.rounds);
        let dir = stage.new_dir()?;
        let ways = format!(
            r#"sources:
  bench: {{ provider: stream, secrets: ["env:BENCH_SECRET"] }}
sinks:
  files: {{ file: {{ dir: "{}/out" }}, topic: "{{provider}}.{{family}}" }}
"#,
            dir.path().display()
        );
        let running =
            Subject::Bridge.start_with(stage, dir.path(), &Setup { ways: &ways, ..Setup::default() })?;
        warm_up(stage, &running)?;
        for connections in CONNECTIONS {
            let load = Load::flat_out(&running.to, connections, seconds);
            // Each goes first as often as the other.
            for with_pages in if round % 2 == 0 { [true, false] } else { [false, true] } {
                pages.round(stage, &running, &load, connections, with_pages)?;
            }
        }
        running.child.stop()?;
    }
    Ok(pages)
}

impl Pages {
    fn round(
        &mut self,
        stage: &Stage,
        running: &Running,
        load: &Load<'_>,
        connections: usize,
        with_pages: bool,
    ) -> anyhow::Result<()> {
        if !with_pages {
            self.rows.add(name(connections, false), Sample::take(stage, running, load)?);
            return Ok(());
        }
        let admin = running.admin.context("a bridge has an admin listener")?;
        let (sample, met) = beside_pages(admin, || Sample::take(stage, running, load))?;
        self.rows.add(name(connections, true), sample);
        self.note(connections, met);
        Ok(())
    }

    fn note(&mut self, connections: usize, mut met: Met) {
        met.took.sort();
        let at = |share: f64| met.took[(met.took.len() as f64 * share) as usize].as_secs_f64() * 1e3;
        let (count, p50, p99) = (met.took.len(), at(0.5), at(0.99));
        let known = self.answers.iter().position(|answers| answers.connections == connections);
        let place = known.unwrap_or_else(|| {
            let (count, p50_ms, p99_ms, streamed_mib) = Default::default();
            self.answers.push(Answers { connections, count, p50_ms, p99_ms, streamed_mib });
            self.answers.len() - 1
        });
        let answers = &mut self.answers[place];
        answers.count.push(count);
        answers.p50_ms.push(p50);
        answers.p99_ms.push(p99);
        answers.streamed_mib.push(met.streamed as f64 / f64::from(1 << 20));
    }

    /// What the bridge has to reach here.
    pub fn targets(&self) -> Vec<Target> {
        let of = |answers: &Answers| {
            let title =
                format!("pages, {} connections: answers of the admin listener, p99", answers.connections);
            Target::new(title, median(answers.p99_ms.iter().copied()), Limit::AtMost(50.0), "ms")
        };
        self.answers.iter().map(of).collect()
    }
}

fn name(connections: usize, with_pages: bool) -> String {
    format!("{connections} connections, {}", if with_pages { "ten pages" } else { "no page" })
}

/// Does the work while ten pages are open, and says what these have met.
fn beside_pages<T>(admin: SocketAddr, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Met)> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let pages: Vec<_> = (0..PAGES)
            .map(|page| {
                let asking = scope.spawn({
                    let over = &over;
                    move || ask(admin, EVERY * page as u32 / PAGES as u32, over)
                });
                (asking, scope.spawn(|| follow(admin, &over)))
            })
            .collect();
        let done = work();
        over.store(true, Ordering::Relaxed);
        let mut met = Met::default();
        for (asking, following) in pages {
            let broken = |_| anyhow::anyhow!("a page broke down");
            met.took.extend(asking.join().map_err(broken)??);
            met.streamed += following.join().map_err(broken)??;
        }
        Ok((done?, met))
    })
}

/// Asks what a page asks, again and again; how long each answer took.
fn ask(admin: SocketAddr, begin: Duration, over: &AtomicBool) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    thread::sleep(begin);
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        for path in ASKED {
            let asked = Instant::now();
            get(admin, path)?;
            took.push(asked.elapsed());
        }
        thread::sleep(EVERY.saturating_sub(began.elapsed()));
    }
    Ok(took)
}

/// Follows the steps; how many bytes came.
fn follow(admin: SocketAddr, over: &AtomicBool) -> anyhow::Result<usize> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(LOOK))?;
    let path = "/api/v1/events/stream?after=now";
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {admin}\r\naccept: text/event-stream\r\n\r\n")?;
    let (mut buffer, mut bytes) = (vec![0; 1 << 16], 0);
    while !over.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => anyhow::bail!("the bridge closed a stream"),
            Ok(read) => bytes += read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "TEN OPEN PAGES, 1 KiB, flat out; into files")?;
        writeln!(f, "{}", self.rows)?;
        for answers in &self.answers {
            let middle = |values: &[f64]| median(values.iter().copied());
            let count: usize = answers.count.iter().sum();
            writeln!(
                f,
                "\nthe pages' answers beside {} connections: {count}, p50 {:.1} ms, p99 {:.1} ms (median of the \
                 rounds); {:.1} MiB of steps a round",
                answers.connections,
                middle(&answers.p50_ms),
                middle(&answers.p99_ms),
                middle(&answers.streamed_mib)
            )?;
        }
        Ok(())
    }
}
