//! The running bridge's side of a hand-over: it offers its listening sockets to a new process.
//!
//! Its descriptors stay open until the bridge has ended, so that a connection in their queues is reset only
//! if the taker has gone by then, too.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::wire::{DESCRIPTORS_MAX, Door, GiverSays, TakerSays, hear, same_user, say};
use super::{ANSWERS_WITHIN, CLOSES_WITHIN};
use crate::bridge::BridgeError;
use crate::bridge::ending::LATE_MAX;
use crate::bridge::listeners::NAMES;
use crate::bridge::task::Task;
use crate::health::Health;
use crate::spool;
use crate::state;

/// How long the giver pauses after it could not accept a process that asks.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listening sockets, to be given to a new process.
pub(in crate::bridge) struct SocketCopies([OwnedFd; DESCRIPTORS_MAX]);

impl SocketCopies {
    /// The descriptors of the public and the admin listener once more.
    pub(in crate::bridge) fn of(http: &TcpListener, admin: &TcpListener) -> io::Result<Self> {
        Ok(Self([http.as_fd().try_clone_to_owned()?, admin.as_fd().try_clone_to_owned()?]))
    }
}

/// Offers the sockets for as long as the bridge runs.
pub(in crate::bridge) struct Giver {
    task: Option<Task>,
    /// Cancelled once a new process has the sockets.
    taken: CancellationToken,
    /// Whether that process has ended since.
    gone: Arc<AtomicBool>,
}

impl Giver {
    /// Begins to offer the sockets in the spool's directory, which this process has locked. If that cannot
    /// be done the bridge runs without it, and says so.
    pub(in crate::bridge) fn open(
        dir: &Path,
        copies: io::Result<SocketCopies>,
        grace: Duration,
        health: &Arc<Health>,
    ) -> Self {
        let (taken, gone) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let task = match copies.and_then(|copies| Ok((copies, listen(dir)?))) {
            Ok((SocketCopies(sockets), (listener, door))) => {
                let ends_within = grace + LATE_MAX + CLOSES_WITHIN;
                let (taken, gone, health) = (taken.clone(), gone.clone(), health.clone());
                let offer = Offer { listener, door, sockets, ends_within, health, taken, gone };
                Some(Task::spawn("the hand-over", |stop| offer.run(stop)))
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    dir = %dir.display(),
                    "no process can take the listening sockets over from this bridge, because there can be \
                     no socket in the spool's directory"
                );
                None
            }
        };
        Self { task, taken, gone }
    }

    /// Resolves once a new process has the sockets: the bridge then ends in order.
    pub(in crate::bridge) async fn taken(&self) {
        self.taken.cancelled().await;
    }

    /// Gives its descriptors up if no process has taken the sockets. Connections are then refused as soon as
    /// the listeners stop.
    ///
    /// # Errors
    /// When the giver broke down.
    pub(in crate::bridge) async fn close_unless_taken(&mut self) -> Result<(), BridgeError> {
        match self.task.take_if(|_| !self.taken.is_cancelled()) {
            Some(task) => task.end().await,
            None => Ok(()),
        }
    }

    /// Ends the watch over the process that has taken the sockets. The spool is locked until then.
    ///
    /// # Errors
    /// When that process has ended, so that no bridge runs after this one.
    pub(in crate::bridge) async fn end(self) -> Result<(), BridgeError> {
        if let Some(task) = self.task {
            task.end().await?;
        }
        if self.gone.load(Ordering::Relaxed) { Err(BridgeError::TakerGone) } else { Ok(()) }
    }
}

/// Listens in the spool's directory. What a killed bridge has left there goes: this one has the lock.
fn listen(dir: &Path) -> io::Result<(UnixListener, Door)> {
    let door = Door::of(dir)?;
    match fs::remove_file(&door.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&door.path)?;
    // Also if the directory is open to others.
    fs::set_permissions(&door.path, Permissions::from_mode(0o600))?;
    Ok((listener, door))
}

/// The giver's task.
struct Offer {
    listener: UnixListener,
    door: Door,
    sockets: [OwnedFd; DESCRIPTORS_MAX],
    ends_within: Duration,
    health: Arc<Health>,
    taken: CancellationToken,
    gone: Arc<AtomicBool>,
}

impl Offer {
    async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.give_and_watch()).await;
        // If that fails, the next bridge removes it.
        let _ = fs::remove_file(&self.door.path);
    }

    /// Gives the sockets to one process and then watches over it, for ever.
    async fn give_and_watch(&self) {
        let taker = loop {
            let taker = self.next().await;
            match self.refusing_others(self.give(&taker)).await {
                Ok(()) => break taker,
                Err(reason) => tracing::warn!(
                    reason,
                    "a process that asked for the listening sockets has not taken them: this bridge goes on"
                ),
            }
        };
        let pid = taker.peer_cred().ok().and_then(|process| process.pid());
        tracing::info!(
            pid,
            "a new process has the listening sockets: this bridge ends in order, and connections wait until \
             the new one accepts them"
        );
        self.health.hand_over();
        self.taken.cancel();
        self.refusing_others(closed(&taker)).await;
        self.gone.store(true, Ordering::Relaxed);
        tracing::error!(
            "the process that has taken the listening sockets has ended before this bridge: start the bridge \
             again"
        );
        self.refusing_others(std::future::pending()).await
    }

    /// Does some work, and meanwhile refuses whoever else asks.
    async fn refusing_others<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let other = tokio::select! {
                biased;
                done = &mut work => return done,
                other = self.next() => other,
            };
            tracing::warn!("a second process asked for the listening sockets and was refused");
            let reason = "another process is taking them over".to_owned();
            // It may have gone.
            let _ = say(&other, &GiverSays::Refused { reason }, &[]).await;
        }
    }

    /// The next process that asks.
    async fn next(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    /// Gives the sockets to a process that asks.
    ///
    /// # Errors
    /// When it has not taken them; why, as a sentence without a full stop.
    async fn give(&self, taker: &UnixStream) -> Result<(), String> {
        match timeout(ANSWERS_WITHIN, self.talk(taker)).await {
            Ok(Ok(given)) => given,
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err("it went away".to_owned()),
            Ok(Err(error)) => Err(format!("it cannot be talked with: {error}")),
            Err(_) => Err(format!("it was not done within {} s", ANSWERS_WITHIN.as_secs())),
        }
    }

    async fn talk(&self, taker: &UnixStream) -> io::Result<Result<(), String>> {
        let asked = hear(taker, &mut Vec::new()).await?;
        if let Err(reason) = same_user(taker).and_then(|()| reads_what_is_here(&asked)) {
            say(taker, &GiverSays::Refused { reason: reason.clone() }, &[]).await?;
            return Ok(Err(reason));
        }
        let names = NAMES.map(str::to_owned).into();
        let ends_within_ms = u64::try_from(self.ends_within.as_millis()).unwrap_or(u64::MAX);
        let sockets = GiverSays::Sockets { names, pid: std::process::id(), ends_within_ms };
        say(taker, &sockets, &self.sockets.each_ref().map(AsFd::as_fd)).await?;
        match hear(taker, &mut Vec::new()).await? {
            TakerSays::Have => {}
            TakerSays::Take { .. } => return Ok(Err("it asked twice".to_owned())),
        }
        // An error here says that it has gone since.
        say(taker, &GiverSays::Ends, &[]).await?;
        Ok(Ok(()))
    }
}

/// Whether a process can open the log and the state of this one.
fn reads_what_is_here(asked: &TakerSays) -> Result<(), String> {
    let TakerSays::Take { release, spool_format, state_format } = asked else {
        return Err("it says that it has what it did not ask for".to_owned());
    };
    if *spool_format >= spool::NEWEST_FORMAT && *state_format >= state::NEWEST_FORMAT {
        return Ok(());
    }
    Err(format!(
        "release {release} reads formats up to {spool_format} of the log and {state_format} of the state, \
         but the running release {} writes {} and {}",
        env!("CARGO_PKG_VERSION"),
        spool::NEWEST_FORMAT,
        state::NEWEST_FORMAT,
    ))
}

/// Resolves when the other process has closed its end, or has ended.
async fn closed(stream: &UnixStream) {
    let mut bytes = [0; 64];
    loop {
        let read = stream.readable().await.and_then(|()| stream.try_read(&mut bytes));
        match read {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_cannot_read_what_is_here_takes_nothing() {
        let take = |spool_format, state_format| TakerSays::Take {
            release: "0.0.9".into(),
            spool_format,
            state_format,
        };
        let (log, state) = (spool::NEWEST_FORMAT, state::NEWEST_FORMAT);
        assert_eq!(reads_what_is_here(&take(log, state)), Ok(()));
        assert_eq!(reads_what_is_here(&take(log + 1, state + 1)), Ok(()));
        for older in [take(log - 1, state), take(log, state - 1)] {
            let reason = reads_what_is_here(&older).expect_err("it is older");
            assert!(reason.contains("release 0.0.9 reads formats up to"), "{reason}");
        }
        assert!(reads_what_is_here(&TakerSays::Have).is_err());
    }
}
