//! `fanbridge run`: the bridge itself, until it is told to stop.
//!
//! SIGTERM or SIGINT stops it in order; the second one at once, which loses nothing acknowledged,
//! because nothing acknowledged is only in memory. SIGHUP is what a terminal sends when it goes: it
//! stops a bridge that was started from one, in order, and changes nothing for any other, because there
//! is nothing to read again.

use std::io::{self, IsTerminal};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::Level;

use super::{ConfigArgs, Exit, Failure, chain, configuration_to_run};
use crate::bridge::{Bridge, BridgeError, descriptors};
use crate::config::{Config, HttpConfig};
use crate::scarce::Scarce;
use crate::spool::SpoolError;
use crate::spool::disk::survive_file_size_limit;
use crate::spool::state::StateError;
use crate::telemetry::{Log, init_logging};

/// What a shell reports for a process that SIGTERM ended.
const EXIT_TERMINATED: i32 = 128 + 15;

/// Files that the process asks to have open at most: as many as the largest configuration needs.
const FILES_MAX: u64 = 1 << 20;

/// Threads that are there from the start for what waits for the disk, beside two for every sink: one
/// that reads for it, one that keeps its cursor.
const THREADS_HELD: usize = 6;

/// How long a thread waits for work before it ends: longer than a process lives.
const THREADS_KEPT_FOR: Duration = Duration::from_secs(366 * 86_400);

/// How long the last line of a log may take that is ended at once.
const LAST_LINE_WITHIN: Duration = Duration::from_millis(100);

/// How long what waits in the log may take at the end, if nobody reads it.
const LOG_ENDS_WITHIN: Duration = Duration::from_millis(1500);

/// How long to wait at the end for what still reads or writes.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(1);

/// Arguments of `fanbridge run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the bridge until it is told to stop.
///
/// # Errors
/// Exit code 78 when the configuration cannot be used, or events were taken away that a person may put
/// back, 75 when another process has the spool, 74 when the disk or a listener failed.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut config = configuration_to_run(&args.config)?;
    let log = init_logging().map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    share_descriptors(&mut config).map_err(logged)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(THREADS_KEPT_FOR)
        .build()
        .map_err(|error| Failure::io("cannot begin to run", &error))?;
    hold_threads(&runtime, THREADS_HELD + 2 * config.sinks.len());
    let ended = runtime.block_on(until_stopped(config));
    // A recovery that was given up may still be reading for minutes, and nobody waits for it; what
    // else is on its way to the disk gets the time it needs.
    runtime.shutdown_timeout(GIVEN_UP_AFTER);
    let ended = ended.map_err(logged);
    end_log(log);
    ended
}

/// Has what waits in the log written, unless nobody reads it: the library may then wait for ever.
fn end_log(log: Log) {
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let waiting = std::thread::Builder::new().spawn(move || {
        drop(log);
        drop(ended);
    });
    // Without a thread for it, the log has ended where the closure was dropped.
    drop(waiting);
    // An error either way: it has ended, or it is waited for no longer.
    let _ = end.recv_timeout(LOG_ENDS_WITHIN);
}

/// Lets the process have as many files open as it may, and the listener no more connections than leave
/// enough of them for everything else.
fn share_descriptors(config: &mut Config) -> Result<(), Failure> {
    let files = raise_files_limit();
    let Some(left) = descriptors::connections(files, config) else {
        let least = descriptors::files_min(config);
        return Err(Failure::new(
            Exit::Config,
            format!(
                "this process may have {files} files open, and needs {least} at least with this configuration: \
                 raise the limit (LimitNOFILE, ulimit -n)"
            ),
        ));
    };
    let HttpConfig { connections_max, connections_per_address_max, .. } = &mut config.http;
    if left < *connections_max {
        // An address keeps its share of the whole.
        let share = left as f64 * (*connections_per_address_max as f64 / *connections_max as f64);
        let per_address = (share as usize).clamp(1, *connections_per_address_max);
        tracing::warn!(
            files,
            asked = *connections_max,
            "no more than {left} connections are taken, {per_address} from one address: of the files that may be \
             open, the rest is for the spool, the sinks and the admin listener; raise the limit (LimitNOFILE, ulimit -n) or \
             lower limits.connections_max"
        );
        *connections_per_address_max = per_address;
        *connections_max = left;
    }
    Ok(())
}

/// Raises the limit as far as that goes: a service manager's default of 1,024 is less than what the
/// listener would let in. What it is now.
fn raise_files_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(FILES_MAX, |maximum| maximum.min(FILES_MAX));
    if current.is_some_and(|files| files < wanted) {
        // Refused, it stays as it was; what that means is said by the caller.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Has threads made beforehand for what waits for the disk. When the system gives no more of them
/// later, commits and reads take turns on these, instead of failing for want of the first.
fn hold_threads(runtime: &Runtime, count: usize) {
    let door = Arc::new(RwLock::new(()));
    let shut = door.write();
    for _ in 0..count {
        let door = Arc::clone(&door);
        drop(runtime.spawn_blocking(move || drop(door.read())));
    }
    drop(shut);
}

/// Where the log is read by machines, the line that tells why it ends is one of theirs, unless they do
/// not want to hear of errors.
fn logged(failure: Failure) -> Failure {
    if io::stderr().is_terminal() || !tracing::enabled!(Level::ERROR) {
        return failure;
    }
    tracing::error!(exit_code = failure.exit as i32, "{failure}");
    Failure::new(failure.exit, "")
}

async fn until_stopped(config: Config) -> Result<(), Failure> {
    let signals = Signals::new().map_err(|error| Failure::io("cannot listen to signals", &error))?;
    let stop = CancellationToken::new();
    let fingerprint = config.fingerprint.clone();
    tokio::spawn(signals.watch(stop.clone()));
    // A signal during a long recovery ends the process: nothing has been taken in yet.
    let bridge = tokio::select! {
        bridge = Bridge::start(config) => bridge.map_err(failure)?,
        () = stop.cancelled() => {
            tracing::info!("stopped before the spool was recovered");
            return Ok(());
        }
    };
    let recovery = bridge.recovery();
    tracing::info!(
        http = %bridge.http_address(),
        admin = %bridge.admin_address(),
        configuration = fingerprint,
        records = recovery.records,
        recovery_seconds = recovery.seconds,
        "ready: deliveries are taken"
    );
    bridge.run(stop).await.map_err(failure)
}

/// The signals a bridge answers to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Asked at the beginning: a terminal that has gone is none any more.
    on_terminal: bool,
}

impl Signals {
    fn new() -> io::Result<Self> {
        // A file that may grow no more is then an error of the write, not the process's end.
        survive_file_size_limit()?;
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            on_terminal: io::stdin().is_terminal(),
        })
    }

    /// Cancels `stop` at the first signal and ends the process at the second.
    async fn watch(mut self, stop: CancellationToken) {
        self.next(self.on_terminal).await;
        stop.cancel();
        // A terminal that goes may say so twice.
        self.next(false).await;
        tracing::warn!("second signal: ending at once");
        // The line is written by another thread.
        tokio::time::sleep(LAST_LINE_WITHIN).await;
        std::process::exit(EXIT_TERMINATED);
    }

    /// The next one that asks for an end; SIGHUP does if it may.
    async fn next(&mut self, hangup_ends: bool) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => match hangup_ends {
                    true => return,
                    false => tracing::warn!("SIGHUP changes nothing: restart to read the configuration again"),
                },
            }
        }
    }
}

/// The exit code that tells a supervisor what to do, with the whole chain of causes.
pub(super) fn failure(error: BridgeError) -> Failure {
    Failure::new(exit_code(&error), chain(&error))
}

fn exit_code(error: &BridgeError) -> Exit {
    match error {
        error if is_for_want(error) => Exit::Temporary,
        BridgeError::Spool(SpoolError::Locked(_))
        | BridgeError::State(StateError::Locked(_))
        | BridgeError::SinkTaken { .. } => Exit::Temporary,
        BridgeError::Spool(SpoolError::NewerFormat { .. })
        | BridgeError::State(StateError::Newer { .. })
        | BridgeError::Tls(_)
        | BridgeError::Trust(_)
        | BridgeError::Sink { .. }
        | BridgeError::Taken { .. } => Exit::Config,
        BridgeError::Spool(SpoolError::Io { .. })
        | BridgeError::State(_)
        | BridgeError::Listen { .. }
        | BridgeError::Dispatch(_)
        | BridgeError::SpoolFailed(_)
        | BridgeError::Hangs { first: None, .. }
        | BridgeError::BrokeDown(_) => Exit::Io,
        BridgeError::Hangs { first: Some(first), .. } => exit_code(first),
    }
}

/// Whether only something was short that others may give back: nothing is broken.
fn is_for_want(error: &BridgeError) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|error| Scarce::of(error).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hung(first: Option<BridgeError>) -> Failure {
        let what = "the disk does not answer: the bridge ends without it".to_owned();
        failure(BridgeError::Hangs { what, first: first.map(Box::new) })
    }

    #[test]
    fn what_hangs_at_the_end_hides_neither_why_the_bridge_had_to_stop_nor_how_it_ends() {
        let alone = hung(None);
        assert_eq!((alone.exit, alone.to_string().contains("had to stop")), (Exit::Io, false), "{alone}");

        let source = io::Error::other("a cable is out");
        let listen = BridgeError::Listen { address: ([127, 0, 0, 1], 8080).into(), source };
        let io = hung(Some(listen));
        assert_eq!(io.exit, Exit::Io);
        let said = "it had to stop because of this: cannot listen on 127.0.0.1:8080: a cable is out";
        assert!(io.to_string().ends_with(said), "{io}");

        let (first, last) = (crate::event::Position(1), crate::event::Position(9));
        let taken =
            crate::spool::Taken { path: "spool/1.log".into(), fate: "was removed".into(), first, last };
        let person = hung(Some(BridgeError::Taken { taken, waiting: vec!["lake".into()] }));
        assert_eq!(person.exit, Exit::Config, "a supervisor does not pass what is gone");
        assert!(
            person.to_string().contains("positions 1 to 9, and `lake` has not got past them"),
            "{person}"
        );
    }
}
