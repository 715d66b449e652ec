//! Where the bench plays: the binaries it starts and the directory it writes to.

use anyhow::Context;
use rustix::process::{Resource, Rlimit};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::report::LoadReport;

/// What every child is given to sign and verify with.
pub const SECRET: &str = "a signing secret that only the bench knows";

/// The binaries of one build, and a directory that goes away with the last of its stages.
pub struct Stage {
    bridge: PathBuf,
    examples: PathBuf,
    dir: Arc<tempfile::TempDir>,
}

impl Stage {
    /// Builds the binaries with the profile that this one was built with.
    ///
    /// # Errors
    /// When they cannot be built.
    pub fn set() -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let profile = own.parent().and_then(Path::parent).context("not in a build directory")?;
        build_with(profile)?;
        // Idle connections are many, and children inherit the limit.
        let limit = rustix::process::getrlimit(Resource::Nofile);
        rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
        let build = profile.parent().context("not in a build directory")?;
        let dir = Arc::new(tempfile::Builder::new().prefix("bench-").tempdir_in(build)?);
        Ok(Self { bridge: profile.join("fanbridge"), examples: profile.join("examples"), dir })
    }

    /// The same, with another build of the bridge.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn with_bridge(&self, bridge: &Path) -> anyhow::Result<Self> {
        let bridge = bridge.canonicalize().with_context(|| format!("no bridge at {}", bridge.display()))?;
        Ok(Self { bridge, examples: self.examples.clone(), dir: Arc::clone(&self.dir) })
    }

    /// The directory of this run, on the disk that the build is on.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where results stay.
    pub fn build_dir(&self) -> &Path {
        self.dir.path().parent().unwrap_or(self.dir.path())
    }

    /// A new empty directory for one subject.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new_dir(&self) -> anyhow::Result<tempfile::TempDir> {
        Ok(tempfile::tempdir_in(self.dir())?)
    }

    /// The bridge itself.
    pub fn bridge_command(&self) -> Command {
        with_secret(Command::new(&self.bridge))
    }

    /// One of the floors.
    pub fn floor_command(&self, floor: &str) -> Command {
        let mut command = with_secret(Command::new(self.examples.join("floor")));
        command.arg(floor).stdout(Stdio::piped());
        command
    }

    /// Runs a floor that ends by itself, and reads the line of JSON it prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn run_floor<T: serde::de::DeserializeOwned>(
        &self,
        floor: &str,
        arguments: &[&str],
    ) -> anyhow::Result<T> {
        last_line_of(self.floor_command(floor).args(arguments))
    }

    /// Runs the load.
    ///
    /// # Errors
    /// When it fails, or when not every request was accepted: then the rate means nothing.
    pub fn load(&self, load: &Load<'_>) -> anyhow::Result<LoadReport> {
        let report = last_line_of(&mut self.load_command(load))?;
        load.expect_accepted(&report)?;
        Ok(report)
    }

    /// The command that runs the load.
    pub fn load_command(&self, load: &Load<'_>) -> Command {
        let mut command = with_secret(Command::new(self.examples.join("load")));
        command.args(["--to", load.to, "--connections", &load.connections.to_string()]);
        command.args(["--body-bytes", &load.body_bytes.to_string(), "--seconds", &load.seconds.to_string()]);
        if let Some(rate) = load.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        if let Some(count) = load.count {
            command.args(["--count", &count.to_string()]);
        }
        command.args(load.more);
        command
    }
}

/// Builds what is measured and what measures, into the directory of this profile.
fn build_with(profile: &Path) -> anyhow::Result<()> {
    let name = profile.file_name().context("a profile has a directory")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--bin", "fanbridge", "--example", "load", "--example", "floor"]);
    // The one profile whose directory has another name.
    let name = if name == "debug" { "dev".as_ref() } else { name };
    command.arg("--profile").arg(name).arg("--target-dir").arg(profile.with_file_name(""));
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
    anyhow::ensure!(status.success(), "cargo could not build what is measured");
    Ok(())
}

/// What to load with.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// The URL of a webhook.
    pub to: &'a str,
    /// Connections.
    pub connections: usize,
    /// Bytes of each body.
    pub body_bytes: usize,
    /// At most how long.
    pub seconds: f64,
    /// Requests per second of an open loop.
    pub rate: Option<f64>,
    /// At most how many.
    pub count: Option<u64>,
    /// More arguments.
    pub more: &'a [&'a str],
}

impl<'a> Load<'a> {
    /// So many connections with small bodies, as fast as they are answered.
    pub fn flat_out(to: &'a str, connections: usize, seconds: f64) -> Self {
        Self { to, connections, body_bytes: 1024, seconds, rate: None, count: None, more: &[] }
    }

    /// Checks that every request was accepted: otherwise the rate means nothing.
    ///
    /// # Errors
    /// When one was not.
    pub fn expect_accepted(&self, report: &LoadReport) -> anyhow::Result<()> {
        let refused: u64 = report.statuses.values().sum::<u64>() - report.accepted;
        anyhow::ensure!(
            refused + report.errors == 0,
            "{} connections with {} bytes: {} requests without an answer, the others were answered {:?}",
            self.connections,
            self.body_bytes,
            report.errors,
            report.statuses
        );
        Ok(())
    }
}

fn with_secret(mut command: Command) -> Command {
    command.env("BENCH_SECRET", SECRET);
    // The stub of AWS asks for none, but no request is signed without.
    command.env("AWS_ACCESS_KEY_ID", "bench").env("AWS_SECRET_ACCESS_KEY", "bench");
    command
}

fn last_line_of<T: serde::de::DeserializeOwned>(command: &mut Command) -> anyhow::Result<T> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let name = command.get_program().display().to_string();
    anyhow::ensure!(output.status.success(), "{name} failed: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().last().with_context(|| format!("{name} printed nothing"))?;
    Ok(serde_json::from_str(line)?)
}
