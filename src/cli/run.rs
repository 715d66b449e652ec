//! `fanbridge run`: runs the bridge until it is told to stop.
//!
//! The first SIGTERM or SIGINT stops it in order. The second one ends it at once, which loses no
//! acknowledged delivery, because all of those are on disk. A terminal that closes sends SIGHUP: this
//! stops a bridge that was started from a terminal, in order. It changes nothing for any other
//! bridge, because the configuration is not read again.

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
use crate::config::Config;
use crate::disk::survive_file_size_limit;
use crate::scarce::Scarce;
use crate::sink::kafka;
use crate::source::http::Limits;
use crate::spool::SpoolError;
use crate::state::StateError;
use crate::telemetry::{Log, init_logging};

/// Exit code that a shell reports for a process ended by SIGTERM.
const EXIT_TERMINATED: i32 = 128 + 15;

/// Most open files that the process asks for: the largest configuration needs no more.
const FILES_MAX: u64 = 1 << 20;

/// Threads started beforehand for work that blocks on the disk, besides two per sink: one that reads
/// for it and one that commits its cursor.
const THREADS_STARTED: usize = 6;

/// How long an idle thread is kept: longer than a process lives.
const THREADS_LAST_FOR: Duration = Duration::from_secs(366 * 86_400);

/// How long the last log line can take to be written before the process ends at once.
const LAST_LINE_WITHIN: Duration = Duration::from_millis(100);

/// How long the waiting log lines can take to be written at the end, if stderr is not read.
const LOG_ENDS_WITHIN: Duration = Duration::from_millis(1500);

/// How long to wait at the end for disk operations that are still underway.
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
/// Exit code 78 if the configuration cannot be used, or if segments were taken away that a person can put
/// back; 75 if another process has the spool or a file sink's directory, or if memory or file descriptors
/// are short; 74 if the disk or a listener failed.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut config = configuration_to_run(&args.config)?;
    let log = init_logging().map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    share_descriptors(&mut config).map_err(logged)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(THREADS_LAST_FOR)
        .build()
        .map_err(|error| Failure::io("cannot start the runtime", &error))?;
    start_threads(&runtime, THREADS_STARTED + 2 * config.sinks.len());
    let ended = runtime.block_on(until_stopped(config));
    // An abandoned recovery could read for minutes, and is not waited for; other disk operations get
    // the time they need.
    runtime.shutdown_timeout(GIVEN_UP_AFTER);
    let ended = ended.map_err(logged);
    end_log(log);
    ended
}

/// Writes the waiting log lines, but gives up if stderr is not read: the library could wait for ever.
fn end_log(log: Log) {
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let waiting = std::thread::Builder::new().spawn(move || {
        drop(log);
        drop(ended);
    });
    // If no thread can be started, the log has ended when the closure was dropped.
    drop(waiting);
    // Both results are errors: the channel is closed because the log has ended, or the time is over.
    let _ = end.recv_timeout(LOG_ENDS_WITHIN);
}

/// Raises the process's limit of open files, and lowers the number of connections so that enough
/// files are left for everything else.
fn share_descriptors(config: &mut Config) -> Result<(), Failure> {
    let files = raise_files_limit();
    let Some(left) = descriptors::connections(files, config) else {
        let least = descriptors::files_min(config);
        return Err(Failure::new(
            Exit::Config,
            format!(
                "this process can open {files} files, but this configuration needs at least {least}: raise \
                 the limit (LimitNOFILE, ulimit -n)"
            ),
        ));
    };
    let Limits { connections_max, connections_per_address_max, .. } = &mut config.limits;
    if left < *connections_max {
        // The share of one address stays the same.
        let share = left as f64 * (*connections_per_address_max as f64 / *connections_max as f64);
        let per_address = (share as usize).clamp(1, *connections_per_address_max);
        tracing::warn!(
            files,
            asked = *connections_max,
            "the listener takes no more than {left} connections, {per_address} from one address, because the \
             spool, the sinks and the admin listener need the rest of the process's open files: raise the \
             limit (LimitNOFILE, ulimit -n) or lower limits.connections_max"
        );
        *connections_per_address_max = per_address;
        *connections_max = left;
    }
    Ok(())
}

/// Raises the limit of open files as far as possible and returns it: a service manager's default of
/// 1,024 is less than the listener's default number of connections.
fn raise_files_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(FILES_MAX, |maximum| maximum.min(FILES_MAX));
    if current.is_some_and(|files| files < wanted) {
        // If that fails, the limit stays as it was, and the caller reports what follows.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Starts threads for work that blocks on the disk. If the system gives no more threads later,
/// commits and reads take turns on these, instead of failing.
fn start_threads(runtime: &Runtime, count: usize) {
    let door = Arc::new(RwLock::new(()));
    let shut = door.write();
    for _ in 0..count {
        let door = Arc::clone(&door);
        drop(runtime.spawn_blocking(move || drop(door.read())));
    }
    drop(shut);
}

/// Logs the failure if the log is read by machines, unless its filter leaves out errors. Returns a
/// failure whose message is not printed again.
fn logged(failure: Failure) -> Failure {
    if io::stderr().is_terminal() || !tracing::enabled!(Level::ERROR) {
        return failure;
    }
    tracing::error!(exit_code = failure.exit as i32, "{failure}");
    Failure::new(failure.exit, "")
}

async fn until_stopped(config: Config) -> Result<(), Failure> {
    let signals = Signals::new().map_err(|error| Failure::io("cannot install signal handlers", &error))?;
    let stop = CancellationToken::new();
    let fingerprint = config.fingerprint.clone();
    tokio::spawn(signals.watch(stop.clone()));
    // A signal during a long recovery ends the process: no delivery has been taken yet.
    let bridge = tokio::select! {
        bridge = Bridge::start(config) => bridge.map_err(failure)?,
        () = stop.cancelled() => {
            tracing::info!("the bridge was stopped before it had recovered the spool: no delivery was taken");
            return Ok(());
        }
    };
    let recovery = bridge.recovery();
    tracing::info!(
        http = %bridge.http_address(),
        admin = %bridge.admin_address(),
        configuration = fingerprint,
        entries = recovery.entries,
        segments_by_footer = recovery.by_footer,
        segments_scanned = recovery.scanned,
        recovery_seconds = recovery.seconds,
        "the bridge is ready: deliveries are taken"
    );
    let ended = bridge.run(stop).await.map_err(failure);
    kafka::threads::ended().await;
    ended
}

/// The signals that the bridge handles.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Whether stdin was a terminal at the start: a terminal that has closed is none any more.
    on_terminal: bool,
}

impl Signals {
    fn new() -> io::Result<Self> {
        // At the file size limit a write then fails, instead of the process being killed.
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
        // A closing terminal can send SIGHUP twice.
        self.next(false).await;
        tracing::warn!("second signal to stop: the bridge ends at once");
        // Another thread writes the line.
        tokio::time::sleep(LAST_LINE_WITHIN).await;
        std::process::exit(EXIT_TERMINATED);
    }

    /// Waits for the next signal to stop; SIGHUP counts if `hangup_ends`.
    async fn next(&mut self, hangup_ends: bool) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => match hangup_ends {
                    true => return,
                    false => tracing::warn!(
                        "SIGHUP was ignored: to read the configuration again, restart the bridge"
                    ),
                },
            }
        }
    }
}

/// The failure with the exit code for the supervisor and the messages of all causes.
pub(super) fn failure(error: BridgeError) -> Failure {
    Failure::new(exit_code(&error), chain(&error))
}

fn exit_code(error: &BridgeError) -> Exit {
    match error {
        error if is_for_want(error) => Exit::Temporary,
        BridgeError::Spool(SpoolError::Locked(_))
        | BridgeError::State(StateError::Locked(_))
        | BridgeError::SinkInUse { .. } => Exit::Temporary,
        BridgeError::Spool(SpoolError::NewerFormat { .. })
        | BridgeError::State(StateError::Newer { .. })
        | BridgeError::Tls(_)
        | BridgeError::Trust(_)
        | BridgeError::Sink { .. }
        | BridgeError::State(StateError::Gone { needs_person: true, .. })
        | BridgeError::Misplaced(_)
        | BridgeError::SegmentMissing { .. } => Exit::Config,
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

/// Whether the error only says that a resource is short, such as memory or file descriptors.
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
        let segment = crate::spool::MissingSegment {
            path: "spool/1.log".into(),
            fate: "was removed".into(),
            first,
            last,
        };
        let person = hung(Some(BridgeError::SegmentMissing { segment, waiting: vec!["lake".into()] }));
        assert_eq!(person.exit, Exit::Config, "a supervisor does not pass what is gone");
        assert!(
            person.to_string().contains("positions 1 to 9, and `lake` has not got past them"),
            "{person}"
        );
    }
}
