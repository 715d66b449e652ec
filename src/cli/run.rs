//! `fanbridge run`: runs the bridge until it is told to stop.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::channel;
use tokio_util::sync::CancellationToken;
use tracing::Level;

use super::signals::Signals;
use super::tail::LiveTail;
use super::{ConfigArgs, Exit, Failure, RunConfig, chain, configuration_to_run};
use crate::admin::ReloadTrigger;
use crate::bridge::listeners::{InheritedError, InheritedSockets};
use crate::bridge::{Bridge, BridgeError, descriptors};
use crate::config::Config;
use crate::config::embedded::remember_addresses;
use crate::scarce::Scarce;
use crate::sink::kafka;
use crate::source::http::Limits;
use crate::spool::SpoolError;
use crate::state::StateError;
use crate::telemetry::{Log, init_logging};

/// Most open files that the process asks for: the largest configuration needs no more.
pub(super) const FILES_MAX: u64 = 1 << 20;

/// Threads started beforehand for work that blocks on the disk, besides two per sink: one that reads
/// for it and one that commits its cursor.
const THREADS_STARTED: usize = 6;

/// How long an idle thread is kept: longer than a process lives.
const THREADS_LAST_FOR: Duration = Duration::from_secs(366 * 86_400);

/// How long the waiting log lines can take to be written at the end, if stderr is not read.
const LOG_ENDS_WITHIN: Duration = Duration::from_millis(1500);

/// How soon a SIGHUP is tried again that came while another reload is under way.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// How long to wait at the end for disk operations that are still underway.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(1);

/// Arguments of `fanbridge run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show what happens as it happens, the same lines as `fanbridge tail`; without a configuration this is
    /// the default on a terminal
    #[arg(long, overrides_with = "no_tail")]
    tail: bool,
    /// Show only the log
    #[arg(long, overrides_with = "tail")]
    no_tail: bool,
    /// Without a configuration: listen on this address, and for the admin API on the next port of this
    /// machine; port 0 takes free ones
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Take the listening sockets of the bridge that runs on the same spool, which then ends in order, so
    /// that no connection is refused; if none runs, start as usual
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Where the bridge has its listening sockets from.
enum SocketsFrom {
    /// Whoever has started it, if they were handed over.
    Starter(InheritedSockets),
    /// The bridge that runs on the same spool.
    RunningBridge,
}

impl Args {
    /// Where the listening sockets come from.
    ///
    /// # Errors
    /// Exit code 2 if there are some already and others are to be taken.
    fn sockets(&self, inherited: InheritedSockets) -> Result<SocketsFrom, Failure> {
        match self.take_over {
            false => Ok(SocketsFrom::Starter(inherited)),
            true if inherited.is_empty() => Ok(SocketsFrom::RunningBridge),
            true => {
                let message = "sockets were handed over by LISTEN_FDS, so none are to be taken from a \
                               running bridge: leave out --take-over";
                Err(Failure::new(Exit::Usage, message))
            }
        }
    }

    /// Whether to show what happens.
    ///
    /// # Errors
    /// Exit code 2 if this was asked for, and no steps are kept.
    fn shows_steps(&self, run: &RunConfig) -> Result<bool, Failure> {
        let keeps_steps = run.config.timeline.bytes_max > 0;
        if self.tail && !keeps_steps {
            let message = "no steps are kept, so --tail has nothing to show: set `timeline.bytes_max` to 1 \
                           MiB or more";
            return Err(Failure::new(Exit::Usage, message));
        }
        let is_usual = run.file.is_none() && io::stdout().is_terminal();
        Ok(keeps_steps && !self.no_tail && (self.tail || is_usual))
    }
}

/// Runs the bridge until it is told to stop.
///
/// # Errors
/// Exit code 78 if the configuration cannot be used, or if segments were taken away that a person can put
/// back; 75 if another process has the spool or a file sink's directory, or if memory or file descriptors
/// are short, or if a running bridge does not hand over; 74 if the disk or a listener failed.
pub fn run(args: &Args) -> Result<(), Failure> {
    // Before there is another thread.
    let sockets = args.sockets(InheritedSockets::take().map_err(unusable)?)?;
    let mut run = configuration_to_run(&args.config, args.listen)?;
    let shows_steps = args.shows_steps(&run)?;
    let log = init_logging().map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    share_descriptors(&mut run.config).map_err(logged)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(THREADS_LAST_FOR)
        .build()
        .map_err(|error| Failure::io("cannot start the runtime", &error))?;
    start_threads(&runtime, THREADS_STARTED + 2 * run.config.sinks.len());
    let ended = runtime.block_on(until_stopped(run, sockets, shows_steps));
    // An abandoned recovery could read for minutes, and is not waited for; other disk operations get
    // the time they need.
    runtime.shutdown_timeout(GIVEN_UP_AFTER);
    let ended = ended.map_err(logged);
    end_log(log);
    ended
}

/// The failure of a start with sockets that cannot be used.
fn unusable(error: InheritedError) -> Failure {
    Failure::new(Exit::Config, chain(&error))
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
        for (key, value) in [("connections_max", left), ("connections_per_address_max", per_address)] {
            config.effective.replace(&["limits", key], value, "the limit of open files");
        }
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

async fn until_stopped(run: RunConfig, sockets: SocketsFrom, shows_steps: bool) -> Result<(), Failure> {
    let RunConfig { config, file } = run;
    let is_embedded = file.is_none();
    let signals = Signals::new().map_err(|error| Failure::io("cannot install signal handlers", &error))?;
    let stop = CancellationToken::new();
    let (fingerprint, dir) = (config.fingerprint, config.spool.dir.clone());
    let advice = AddressAdvice::new(&config, is_embedded);
    let tail = shows_steps.then(|| LiveTail::new(&config));
    // A SIGHUP that comes during the recovery waits here.
    let (hangups, mut reloads) = channel(1);
    tokio::spawn(signals.watch(stop.clone(), hangups));
    let starting = async {
        match sockets {
            SocketsFrom::Starter(inherited) => Bridge::start_on(config, file, inherited).await,
            SocketsFrom::RunningBridge => Bridge::take_over(config, file).await,
        }
    };
    // A signal during a long recovery ends the process: no delivery has been taken yet.
    let bridge = tokio::select! {
        bridge = starting => bridge.map_err(|error| advice.failure(error))?,
        () = stop.cancelled() => {
            tracing::info!("the bridge was stopped before it had recovered the spool: no delivery was taken");
            return Ok(());
        }
    };
    if is_embedded {
        let remembered = remember_addresses(&dir, bridge.http_address(), bridge.admin_address());
        remembered.unwrap_or_else(|error| {
            tracing::warn!(
                %error,
                "the addresses of the bridge cannot be written down, so verbs without a configuration look \
                 for it at the usual ones"
            );
        });
    }
    let recovery = bridge.recovery();
    tracing::info!(
        http = %bridge.http_address(),
        admin = %bridge.admin_address(),
        configuration = %fingerprint,
        entries = recovery.entries,
        segments_by_footer = recovery.by_footer,
        segments_scanned = recovery.scanned,
        recovery_seconds = recovery.seconds,
        "the bridge is ready: deliveries are taken"
    );
    let tail = tail.map(|tail| tail.begin(bridge.timeline().clone(), bridge.selected_by()));
    let reloader = bridge.reloader();
    tokio::spawn(async move {
        while reloads.recv().await.is_some() {
            // What became of it is in the log. While another reload is under way, this one waits its turn.
            while reloader.reload(ReloadTrigger::Signal, false).await.is_err() {
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
            }
        }
    });
    let ended = bridge.run(stop).await.map_err(failure);
    tail.into_iter().for_each(|tail| tail.end());
    kafka::threads::ended().await;
    ended
}

/// What to do about an address that another process has.
struct AddressAdvice {
    admin: SocketAddr,
    is_embedded: bool,
}

impl AddressAdvice {
    fn new(config: &Config, is_embedded: bool) -> Self {
        Self { admin: config.admin.listen, is_embedded }
    }

    /// The failure of a start.
    fn failure(&self, error: BridgeError) -> Failure {
        let taken = match &error {
            BridgeError::Listen { address, source } if source.kind() == io::ErrorKind::AddrInUse => *address,
            _ => return failure(error),
        };
        let other = match (self.is_embedded, taken == self.admin) {
            (true, _) => "`fanbridge run --listen 127.0.0.1:0` takes free ports",
            (false, true) => "or set another `admin.listen`",
            (false, false) => "or set another `http.listen`",
        };
        let mut failure = failure(error);
        failure.message.push_str(&format!(
            " (another process has it, perhaps another fanbridge: `ss -ltnp 'sport = :{}'` says which one; \
             {other})",
            taken.port()
        ));
        failure
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
        | BridgeError::SinkInUse { .. }
        | BridgeError::NotHandedOver(_)
        | BridgeError::TakerGone
        | BridgeError::SinkStillChanging { .. } => Exit::Temporary,
        BridgeError::Spool(SpoolError::NewerFormat { .. })
        | BridgeError::State(StateError::Newer { .. })
        | BridgeError::Tls(_)
        | BridgeError::Trust(_)
        | BridgeError::Cryptography(_)
        | BridgeError::Sink { .. }
        | BridgeError::State(StateError::Gone { needs_person: true, .. })
        | BridgeError::Misplaced(_)
        | BridgeError::SegmentMissing { .. } => Exit::Config,
        BridgeError::Spool(SpoolError::Io { .. })
        | BridgeError::State(_)
        | BridgeError::From(_)
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
