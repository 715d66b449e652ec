//! The signals that a running bridge handles.
//!
//! The first SIGTERM or SIGINT stops it in order. The second one ends it at once, which loses no
//! acknowledged delivery, because all of those are on disk. A terminal that closes sends SIGHUP: this
//! stops a bridge that was started from a terminal, in order. It changes nothing for any other
//! bridge, because the configuration is not read again.

use std::io::{self, IsTerminal};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::disk::survive_file_size_limit;

/// Exit code that a shell reports for a process ended by SIGTERM.
const EXIT_TERMINATED: i32 = 128 + 15;

/// How long the last log line can take to be written before the process ends at once.
const LAST_LINE_WITHIN: Duration = Duration::from_millis(100);

/// The signals that the bridge handles.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Whether stdin was a terminal at the start: a terminal that has closed is none any more.
    on_terminal: bool,
}

impl Signals {
    /// Begins to handle them.
    pub(super) fn new() -> io::Result<Self> {
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
    pub(super) async fn watch(mut self, stop: CancellationToken) {
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
