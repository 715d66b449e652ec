//! A start over a log that holds what a busy day has left, with nothing of it in memory.
//!
//! All events are delivered already: the bridge has to know what is there, and to publish nothing. Beside it
//! stands what reading the files once takes, which is the least that a start costs that reads them all. The
//! bridge is then asked what became of the oldest event, which it looks up in the footers of all segments:
//! once with a cold cache, and once more.

use anyhow::Context;
use rustix::fs::{Advice, fadvise};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::body::Bodies;
use crate::stage::{SECRET, Stage};
use crate::subject::{Running, Setup, get, launch};
use crate::verdict::Absent;
use crate::{Plan, median, plain_table};

const BODY_BYTES: usize = 1024;
/// How often it is asked whether the bridge is ready, and tried whether it takes an event.
const LOOK: Duration = Duration::from_millis(1);
const READY_MAX: Duration = Duration::from_secs(900);
/// What has to be left on the disk beside the log, in GiB.
const SPARE_GIB: f64 = 3.0;

/// What was found; one entry per round.
#[derive(Debug, Serialize)]
pub struct Start {
    /// What is retained.
    gib: f64,
    filled: Filled,
    /// How the page cache was emptied.
    emptied: &'static str,
    read_seconds: Vec<f64>,
    ready_seconds: Vec<f64>,
    accepted_seconds: Vec<f64>,
    resident_mib: Vec<f64>,
    explain_cold_seconds: Vec<f64>,
    explain_warm_seconds: Vec<f64>,
}

/// What the `fill` floor prints.
#[derive(Debug, Serialize, Deserialize)]
struct Filled {
    events: u64,
    bytes: u64,
    seconds: f64,
}

/// Fills a spool, then starts a bridge over it again and again.
///
/// # Errors
/// [`Absent`] when the disk has no room; when the bridge does not become ready or takes no event.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Start> {
    let disk = rustix::fs::statvfs(stage.dir())?;
    if (disk.f_bavail * disk.f_frsize) as f64 / f64::from(1 << 30) < plan.start_gib + SPARE_GIB {
        return Err(Absent("the disk has too little space for the log of `--start-gib`".into()).into());
    }
    eprintln!("start: filling a spool with {} GiB", plan.start_gib);
    let dir = stage.new_dir()?;
    let (spool, gib) = (dir.path().join("spool"), plan.start_gib.to_string());
    let path = spool.to_str().context("the build directory's path is not text")?;
    let mut start = Start {
        gib: plan.start_gib,
        filled: stage.run_floor("fill", &["--dir", path, "--gib", &gib])?,
        emptied: "",
        read_seconds: Vec::new(),
        ready_seconds: Vec::new(),
        accepted_seconds: Vec::new(),
        resident_mib: Vec::new(),
        explain_cold_seconds: Vec::new(),
        explain_warm_seconds: Vec::new(),
    };
    for round in 1..=plan.rounds {
        eprintln!("start: round {round} of {}", plan.rounds);
        start.emptied = empty_cache(&spool)?;
        start.read_seconds.push(read_all(&spool)?);
        start.emptied = empty_cache(&spool)?;
        start.round(stage, dir.path())?;
    }
    Ok(start)
}

impl Start {
    fn round(&mut self, stage: &Stage, dir: &Path) -> anyhow::Result<()> {
        let spool = format!("bytes_max: {} GiB", (self.gib + SPARE_GIB).ceil() * 2.0);
        let mut bodies = Bodies::new(BODY_BYTES, 1, SECRET.as_bytes())?;
        let over = AtomicBool::new(false);
        let began = Instant::now();
        let mut bridge = launch(stage, dir, &Setup { spool: &spool, ..Setup::default() })?;
        let to = bridge.to.strip_prefix("http://").and_then(|to| to.split_once('/')).context("no address")?;
        let address: SocketAddr = to.0.parse()?;
        let (ready, accepted) = std::thread::scope(|scope| {
            let accepting = scope.spawn(|| first_accepted(address, &mut bodies, began, &over));
            let ready = await_ready(&mut bridge, began);
            if ready.is_err() {
                over.store(true, Ordering::Relaxed);
            }
            (ready, accepting.join().expect("a sender does not panic"))
        });
        let (ready, accepted) = ready.and_then(|ready| Ok((ready, accepted?))).with_context(|| {
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            format!("the bridge did not start over {} GiB; it said:\n{log}", self.gib)
        })?;
        self.ready_seconds.push(ready);
        self.accepted_seconds.push(accepted);
        self.resident_mib.push(bridge.child.resident_mib()?.now);
        let admin = bridge.admin.context("a floor explains nothing")?;
        let oldest: serde_json::Value = serde_json::from_str(&get(admin, "/api/v1/events/position:1")?)?;
        let id = oldest["event"]["id"].as_str().context("the oldest event is there")?;
        let path = format!("/api/v1/events/{id}");
        // To be told the id, the bridge has looked it up already.
        empty_cache(&dir.join("spool"))?;
        for seconds in [&mut self.explain_cold_seconds, &mut self.explain_warm_seconds] {
            let asked = Instant::now();
            let answer = get(admin, &path)?;
            anyhow::ensure!(answer.contains(r#""found":"one""#), "{answer}");
            seconds.push(asked.elapsed().as_secs_f64());
        }
        bridge.child.stop()
    }
}

/// Seconds from the beginning until `/readyz` is answered 200.
fn await_ready(bridge: &mut Running, began: Instant) -> anyhow::Result<f64> {
    let admin = bridge.admin.context("a floor has no health")?;
    while get(admin, "/readyz").is_err() {
        anyhow::ensure!(bridge.child.running(), "the process ended");
        anyhow::ensure!(began.elapsed() < READY_MAX, "not ready after {READY_MAX:?}");
        std::thread::sleep(LOOK);
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Seconds from the beginning until an event is accepted that is sent again and again.
fn first_accepted(
    address: SocketAddr,
    bodies: &mut Bodies,
    began: Instant,
    over: &AtomicBool,
) -> anyhow::Result<f64> {
    let mut body = bodies.blank().to_vec();
    let id = bodies.write(&mut body, 0);
    let signature = bodies.sign(bodies.key(0, 0), &body);
    let head = format!(
        "POST /in/bench HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nx-webhook-id: {}\r\nx-signature: {}\r\n\r\n",
        body.len(),
        std::str::from_utf8(&id)?,
        std::str::from_utf8(&signature)?
    );
    let request = [head.as_bytes(), &body].concat();
    let mut last = String::new();
    while began.elapsed() < READY_MAX && !over.load(Ordering::Relaxed) {
        match ask(address, &request) {
            Ok(answer) if answer.starts_with("HTTP/1.1 20") => return Ok(began.elapsed().as_secs_f64()),
            Ok(answer) => last = answer,
            Err(error) => last = error.to_string(),
        }
        std::thread::sleep(LOOK);
    }
    anyhow::bail!("no event was accepted; the last answer: {last}")
}

fn ask(address: SocketAddr, request: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Lets nothing of the spool stay in memory, and says how: where it is allowed, nothing of anything.
fn empty_cache(spool: &Path) -> anyhow::Result<&'static str> {
    rustix::fs::sync();
    if fs::write("/proc/sys/vm/drop_caches", "3").is_ok() {
        return Ok("all of it, the program's file included (/proc/sys/vm/drop_caches)");
    }
    for path in files(spool)? {
        fadvise(File::open(path)?, 0, None, Advice::DontNeed)?;
    }
    Ok("the spool's files alone (posix_fadvise)")
}

/// Seconds that reading every file once takes.
fn read_all(spool: &Path) -> anyhow::Result<f64> {
    let (started, mut buffer) = (Instant::now(), vec![0; 1 << 20]);
    for path in files(spool)? {
        let mut file = File::open(path)?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(started.elapsed().as_secs_f64())
}

fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    Ok(entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Filled { events, bytes, seconds } = self.filled;
        writeln!(
            f,
            "A START with {events} events retained, {:.2} GiB (written in {seconds:.0} s); emptied of the page cache: {}",
            bytes as f64 / f64::from(1 << 30),
            self.emptied
        )?;
        let mut table = plain_table(&["", "MEDIAN", "LOWEST", "HIGHEST"]);
        for (name, values) in [
            ("reading the files once, s", &self.read_seconds),
            ("fanbridge ready, s", &self.ready_seconds),
            ("its first event accepted, s", &self.accepted_seconds),
            ("resident memory then, MiB", &self.resident_mib),
            ("its oldest event explained, cold, s", &self.explain_cold_seconds),
            ("its oldest event explained, warm, s", &self.explain_warm_seconds),
        ] {
            table.add_row([
                name.to_owned(),
                format!("{:.3}", median(values.iter().copied())),
                format!("{:.3}", values.iter().copied().fold(f64::MAX, f64::min)),
                format!("{:.3}", values.iter().copied().fold(0.0, f64::max)),
            ]);
        }
        write!(f, "{table}")
    }
}
