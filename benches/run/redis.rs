//! The duplicate window that replicas share in Redis, beside the window in memory.

use serde::Serialize;
use std::fmt;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Plan;
use crate::child::Child;
use crate::sample::{Rows, Sample};
use crate::stage::{Load, Stage};
use crate::subject::{Setup, Subject, free_address, warm_up};
use crate::verdict::Absent;

/// What the server is called, and what else it is: in Debian and Ubuntu the check of its files is the same
/// program, in a package that starts no service. It goes by the name it is called by.
const PROGRAMS: [&str; 2] = ["redis-server", "redis-check-rdb"];
const ANSWERS_MAX: Duration = Duration::from_secs(10);
const CONNECTIONS: [usize; 2] = [64, 256];

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Redis {
    rows: Rows,
    /// CPU time of the server per event; one entry per measurement.
    server_us_per_event: Vec<f64>,
}

/// Measures the bridge with either window in turn.
///
/// # Errors
/// [`Absent`] when this machine has no server; when a bridge does not come up or does not accept everything.
pub fn measure(stage: &Stage, plan: &Plan) -> anyhow::Result<Redis> {
    let Some(program) = PROGRAMS.into_iter().find(|program| is_server(program)) else {
        return Err(Absent("there is no redis-server in PATH; `make setup` installs it".into()).into());
    };
    let mut redis = Redis::default();
    for round in 1..=plan.rounds {
        eprintln!("redis: round {round} of {}", plan.rounds);
        let dir = stage.new_dir()?;
        let address = free_address()?;
        let mut command = server(program);
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
        let child = Child::start(command.arg(dir.path()).stdout(Stdio::null()))?;
        await_answer(address.port())?;
        let url = dir.path().join("url");
        std::fs::write(&url, format!("redis://{address}"))?;
        let spool = format!(r#"duplicates: {{ redis: "file:{}" }}"#, url.display());
        for (name, spool) in [("in memory", ""), ("in Redis", &*spool)] {
            let dir = stage.new_dir()?;
            let bridge =
                Subject::Bridge.start_with(stage, dir.path(), &Setup { spool, ..Setup::default() })?;
            warm_up(stage, &bridge)?;
            for connections in CONNECTIONS {
                let before = child.cpu_seconds()?;
                let load = Load::flat_out(&bridge.to, connections, plan.seconds);
                let sample = Sample::take(stage, &bridge, &load)?;
                redis.rows.add(format!("{name}, {connections} connections"), sample);
                if !spool.is_empty() {
                    let events = sample.per_second * plan.seconds;
                    redis.server_us_per_event.push((child.cpu_seconds()? - before) * 1e6 / events);
                }
            }
            bridge.child.stop()?;
        }
        child.stop()?;
    }
    Ok(redis)
}

fn server(program: &str) -> Command {
    let mut command = Command::new(program);
    command.arg0("redis-server");
    command
}

fn is_server(program: &str) -> bool {
    let version = server(program).arg("--version").stdin(Stdio::null()).output();
    version.is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains(" server v=")
    })
}

fn await_answer(port: u16) -> anyhow::Result<()> {
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        anyhow::ensure!(
            started.elapsed() < ANSWERS_MAX,
            "redis-server does not answer after {ANSWERS_MAX:?}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = crate::median(self.server_us_per_event.iter().copied());
        writeln!(f, "THE DUPLICATE WINDOW THAT REPLICAS SHARE, 1 KiB\n{}", self.rows)?;
        write!(f, "The server's own CPU time: {server:.1} us/event")
    }
}
