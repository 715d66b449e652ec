//! The real binary as a child process: started, awaited, signalled, killed, questioned.
//!
//! A [`Home`] is what outlives a crash: the directory with configuration and spool, and the
//! ports. A [`Bridge`] is one life of the process in it; dropping it kills the process.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::client::Client;
use super::{await_until, aws, signing};

/// How long a start may take: a debug build on a busy machine, replaying its spool.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long a line may take from where it is logged into the file.
const LOGGED_WITHIN: Duration = Duration::from_secs(10);

/// Where a bridge lives, across its lives.
pub struct Home {
    dir: tempfile::TempDir,
    /// The public listener's port.
    pub http: u16,
    /// The private listener's port.
    pub admin: u16,
}

impl Home {
    /// A directory on the real disk and two free ports.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("fanbridge-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        Self {
            dir: dir.expect("the build directory takes a directory"),
            http: free_port(),
            admin: free_port(),
        }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a configuration: listeners, the spool in `spool/`, a source for each provider, and
    /// what the test adds. `spool` holds more keys of the spool's section, in flow style.
    pub fn configure(&self, spool: &str, rest: &str) {
        let spool_dir = self.path("spool");
        let (http, admin, spool_dir) = (self.http, self.admin, spool_dir.display());
        let text = format!(
            "http: {{ listen: 127.0.0.1:{http} }}\n\
             admin: {{ listen: 127.0.0.1:{admin} }}\n\
             spool: {{ dir: {spool_dir}, free_bytes_min: 0, {spool} }}\n\
             sources:\n\
             \x20 stream-video: {{ provider: stream, secrets: [env:STREAM_SECRET] }}\n\
             \x20 fastpix: {{ provider: fastpix, secrets: [env:FASTPIX_SECRET] }}\n\
             {rest}"
        );
        fs::write(self.path("fanbridge.yaml"), text).expect("the home takes a file");
    }

    /// Configures the sink that needs nothing: files under `topics/`.
    pub fn configure_files(&self) {
        self.configure("", &self.files());
    }

    /// The same for a bridge that takes only these event types.
    pub fn configure_files_for(&self, select: &str) {
        self.configure("", &format!("select: {select}\n{}", self.files()));
    }

    fn files(&self) -> String {
        format!("sinks:\n  local: {{ file: {{ dir: {} }} }}\n", self.path("topics").display())
    }

    /// The files of the log, oldest first.
    pub fn segments(&self) -> Vec<PathBuf> {
        let paths = fs::read_dir(self.path("spool")).expect("there is a spool");
        let paths = paths.map(|entry| entry.expect("the spool can be listed").path());
        let mut paths: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|kind| kind == "log")).collect();
        paths.sort();
        paths
    }

    /// Starts the bridge and waits until it is ready.
    pub fn start(&self) -> Bridge {
        self.start_under(&[])
    }

    /// The same, under a command that becomes the bridge in the end (`strace -D …`, `unshare …`).
    pub fn start_under(&self, wrapper: &[&str]) -> Bridge {
        let mut bridge = self.spawn_under(wrapper);
        bridge.await_ready();
        bridge
    }

    /// Starts the bridge without waiting.
    pub fn spawn_under(&self, wrapper: &[&str]) -> Bridge {
        self.spawn_with(wrapper, &[], Stdio::null())
    }

    /// Starts a process that takes the sockets of the bridge that runs here, without waiting.
    pub fn spawn_taking_over(&self) -> Bridge {
        self.spawn_with(&[], &["--take-over"], Stdio::null())
    }

    /// Starts the bridge on a public socket that the test holds, and waits until it is ready.
    pub fn start_on(&self, socket: &TcpListener) -> Bridge {
        let mut bridge = self.spawn_on(socket.try_clone().expect("a descriptor").into(), "http");
        bridge.await_ready();
        bridge
    }

    /// Starts the bridge under a command with this terminal as its stdin, and waits until it is ready.
    pub fn start_at(&self, wrapper: &[&str], terminal: OwnedFd) -> Bridge {
        let mut bridge = self.spawn_with(wrapper, &[], terminal.into());
        bridge.await_ready();
        bridge
    }

    /// Hands a socket over to the bridge as a service manager does, under each of these names.
    pub fn spawn_on(&self, socket: OwnedFd, names: &str) -> Bridge {
        self.spawn_on_with(socket, names, &[])
    }

    /// The same with more arguments.
    pub fn spawn_on_with(&self, socket: OwnedFd, names: &str, more: &[&str]) -> Bridge {
        let count = names.split(':').count();
        let script = format!(
            "exec 3<&0 4<&0 0</dev/null; export LISTEN_FDS={count} LISTEN_FDNAMES={names} LISTEN_PID=$$; \
             exec \"$@\""
        );
        self.spawn_with(&["sh", "-c", &script, "sh"], more, socket.into())
    }

    fn spawn_with(&self, wrapper: &[&str], more: &[&str], stdin: Stdio) -> Bridge {
        let config = self.path("fanbridge.yaml");
        let config = config.to_str().expect("the home's path is UTF-8");
        let line = [wrapper, &[env!("CARGO_BIN_EXE_fanbridge"), "run", "--config", config], more].concat();
        let mut command = self.command(line[0]);
        let log =
            File::options().create(true).append(true).open(self.path("log")).expect("the home takes a log");
        command.args(&line[1..]).stdin(stdin).stdout(log.try_clone().expect("a file handle")).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", line[0]));
        Bridge { child, log: self.path("log"), http: self.http, admin: self.admin }
    }

    /// Runs another verb against this home's configuration, however it ends.
    pub fn try_verb(&self, arguments: &[&str]) -> Output {
        self.try_verb_under(&[], arguments)
    }

    /// The same, under a command that becomes the verb in the end.
    pub fn try_verb_under(&self, wrapper: &[&str], arguments: &[&str]) -> Output {
        let line = [wrapper, &[env!("CARGO_BIN_EXE_fanbridge")], arguments].concat();
        let mut command = self.command(line[0]);
        command.args(&line[1..]).arg("--config").arg(self.path("fanbridge.yaml"));
        command.output().expect("the binary runs")
    }

    /// The same, what it says going into files; how it ended.
    pub fn verb_into(&self, wrapper: &[&str], arguments: &[&str], out: &Path, err: &Path) -> ExitStatus {
        let line = [wrapper, &[env!("CARGO_BIN_EXE_fanbridge")], arguments].concat();
        let mut command = self.command(line[0]);
        command.args(&line[1..]).arg("--config").arg(self.path("fanbridge.yaml"));
        let [out, err] = [out, err].map(|path| File::create(path).expect("the home takes a file"));
        command.stdout(out).stderr(err).status().expect("the binary runs")
    }

    /// Starts another verb against this home's configuration, and reads what it says meanwhile.
    pub fn spawn_verb_under(&self, wrapper: &[&str], arguments: &[&str]) -> Child {
        let line = [wrapper, &[env!("CARGO_BIN_EXE_fanbridge")], arguments].concat();
        let mut command = self.command(line[0]);
        command.args(&line[1..]).arg("--config").arg(self.path("fanbridge.yaml"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs")
    }

    /// The same of a verb that is to succeed; what it wrote to stdout.
    pub fn run_verb(&self, arguments: &[&str]) -> String {
        let output = self.try_verb(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} ended with {}: {errors}", output.status);
        String::from_utf8(output.stdout).expect("a verb's output is text")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .env("STREAM_SECRET", signing::STREAM_SECRET)
            .env("FASTPIX_SECRET", signing::FASTPIX_SECRET)
            // The machine's own credentials stay out of it, and so does its metadata service.
            .env("AWS_ACCESS_KEY_ID", aws::ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", aws::SECRET_ACCESS_KEY)
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }
}

/// One life of the bridge.
pub struct Bridge {
    child: Child,
    log: PathBuf,
    http: u16,
    admin: u16,
}

impl Bridge {
    /// Waits until `/readyz` says 200.
    pub fn await_ready(&mut self) {
        let mut client = Client::new(self.admin).with_timeout(Duration::from_secs(2));
        await_until("the bridge is ready", START_DEADLINE, || {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                panic!(
                    "the bridge ended with {status} instead of getting ready; its log ends:\n{}",
                    self.log_tail()
                );
            }
            client.get("/readyz").ok().filter(|answer| answer.status == 200)
        });
    }

    /// A client of the public listener.
    pub fn client(&self) -> Client {
        Client::new(self.http)
    }

    /// The public listener's port.
    pub fn http_port(&self) -> u16 {
        self.http
    }

    /// A client of the private listener.
    pub fn admin(&self) -> Client {
        Client::new(self.admin)
    }

    /// The sum of a metric over its series whose labels contain all of `labels`; 0 without any.
    ///
    /// `name` is the name as exposed, such as `fanbridge_events_total`; a label is `verdict="x"`.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        self.metric_while_it_runs(name, labels).expect("a running bridge shows its metrics")
    }

    /// The same of a bridge that may have ended meanwhile.
    pub fn metric_while_it_runs(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let answer = self.admin().get("/metrics").ok()?;
        Some(sum_of_series(&answer.text(), name, labels))
    }

    /// Why the first sink is degraded, if it is.
    pub fn degraded_because(&self) -> Option<String> {
        let status = self.admin().get("/api/v1/status").expect("a running bridge shows its status");
        let status: Value = serde_json::from_slice(&status.body).expect("JSON");
        status["sinks"][0]["degraded_because"].as_str().map(ToOwned::to_owned)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The memory the process holds now, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running process");
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel counts memory");
        let kibibytes = line.trim().trim_end_matches(" kB");
        kibibytes.parse::<u64>().expect("a number of kB") * 1024
    }

    /// A path as the bridge sees it, also inside its own mount namespace.
    pub fn path_inside(&self, path: &Path) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.pid()))
            .join(path.strip_prefix("/").expect("an absolute path"))
    }

    /// Ends the process as a power-cut would: at once, in the middle of whatever it does.
    pub fn kill(mut self) {
        self.child.kill().expect("the bridge can be killed");
        self.child.wait().expect("a killed child can be waited for");
    }

    /// Asks the process to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends any signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the bridge can be signalled");
    }

    /// How the process has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child can be asked")
    }

    /// Waits for the end of the process.
    pub fn await_exit(&mut self, deadline: Duration) -> ExitStatus {
        await_until("the bridge ends", deadline, || self.child.try_wait().expect("the child can be asked"))
    }

    /// Terminates and waits; how long that took.
    pub fn stop(mut self) -> Duration {
        let start = Instant::now();
        self.terminate();
        let status = self.await_exit(Duration::from_secs(60));
        assert!(status.success(), "the bridge ended with {status}; its log ends:\n{}", self.log_tail());
        start.elapsed()
    }

    /// Everything that all lives in this home have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for a line of the log with these words: lines are written by a thread of their own.
    #[track_caller]
    pub fn assert_logs(&self, words: &str) {
        let deadline = Instant::now() + LOGGED_WITHIN;
        while !self.log().contains(words) {
            assert!(Instant::now() < deadline, "not in the log: {words}\n{}", self.log_tail());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The last lines of the log.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // Fails only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the bridge's log ends:\n{}", self.log_tail());
        }
    }
}

/// A port that nobody listens on. Below the range from which the kernel takes ports for outgoing
/// connections, so that none takes it while the bridge is dead.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % u32::from(COUNT)) as u16;
    (0..COUNT)
        .map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one port of twelve thousand is free")
}

fn sum_of_series(text: &str, name: &str, labels: &[&str]) -> f64 {
    let series = text.lines().filter_map(|line| line.rsplit_once(' ')).filter(|(series, _)| {
        let (series_name, series_labels) = series.split_once('{').unwrap_or((series, ""));
        series_name == name && labels.iter().all(|label| series_labels.contains(label))
    });
    series.map(|(_, value)| value.parse::<f64>().expect("a metric's value is a number")).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_the_series_that_match() {
        let text =
            "# TYPE a counter\na_total{x=\"1\",y=\"2\"} 3\na_total{x=\"1\",y=\"3\"} 4\na_total_b 9\nb 0.5\n";
        assert_eq!(sum_of_series(text, "a_total", &["x=\"1\""]), 7.0);
        assert_eq!(sum_of_series(text, "a_total", &["x=\"1\"", "y=\"3\""]), 4.0);
        assert_eq!(sum_of_series(text, "b", &[]), 0.5);
        assert_eq!(sum_of_series(text, "c", &[]), 0.0);
    }
}
