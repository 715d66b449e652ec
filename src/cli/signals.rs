//! The signals that a running bridge handles.
//!
//! The first SIGTERM or SIGINT stops it in order. The second one ends it at once, which loses no
//! acknowledged delivery, because all of those are on disk. SIGHUP has the configuration read again. A
//! terminal that closes sends SIGHUP, too: this stops a bridge that was started from it, in order.

use std::io::{self, IsTerminal};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use crate::disk::survive_file_size_limit;

/// Exit code that a shell reports for a process ended by SIGTERM.
const EXIT_TERMINATED: i32 = 128 + 15;

/// How long the last log line can take to be written before the process ends at once.
const LAST_LINE_WITHIN: Duration = Duration::from_millis(100);

/// How long a terminal can take to close after the shell in it has sent SIGHUP.
const TERMINAL_CLOSES_WITHIN: Duration = Duration::from_millis(500);

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

    /// Cancels `stop` at the first signal to stop and ends the process at the second. Each SIGHUP that is no
    /// end of a terminal is handed on; while one waits there, others are the same request.
    pub(super) async fn watch(mut self, stop: CancellationToken, hangups: Sender<()>) {
        self.next(&hangups).await;
        stop.cancel();
        // A closing terminal can send SIGHUP twice.
        self.on_terminal = false;
        self.next(&hangups).await;
        tracing::warn!("second signal to stop: the bridge ends at once");
        // Another thread writes the line.
        tokio::time::sleep(LAST_LINE_WITHIN).await;
        std::process::exit(EXIT_TERMINATED);
    }

    /// Waits for the next signal to stop, which can be the end of the terminal.
    async fn next(&mut self, hangups: &Sender<()>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    if self.on_terminal && is_gone_soon().await {
                        return;
                    }
                    // The receiver is gone once the bridge stops.
                    let _ = hangups.try_send(());
                }
            }
        }
    }
}

/// Whether stdin is no terminal any more, or not much longer: a shell that ends can send SIGHUP before its
/// terminal closes.
async fn is_gone_soon() -> bool {
    if io::stdin().is_terminal() {
        tokio::time::sleep(TERMINAL_CLOSES_WITHIN).await;
    }
    !io::stdin().is_terminal()
}
