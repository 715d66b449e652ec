//! The one thread that writes: takes what waits, has it committed, again.
//!
//! Groups form by themselves: while one is being made durable the next ones wait, so a slow disk makes
//! larger groups and no timer adds latency to a fast one. The queue is bounded; a full one makes
//! appends wait. The thread ends when the spool is closed or its last handle dropped, after what was
//! queued has been answered.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::committer::{Append, Committer, weight};
use super::shared_log::{AppendGate, Life, SharedLog};
use crate::clock::Clock;

/// Appends that may wait for the writer.
pub(super) const QUEUE_MAX: usize = 1024;

/// Bytes after which a group takes no more: several fast fsyncs' worth, and 8 blocks of the tail.
pub(super) const GROUP_BYTES_MAX: usize = 1 << 20;

/// How often the writer looks after retention when nothing comes in.
const TICK_EVERY: Duration = Duration::from_secs(1);

/// How often it looks whether a shut gate can be opened.
const TICK_EVERY_SHUT: Duration = Duration::from_millis(100);

/// What comes through the queue.
#[expect(clippy::large_enum_variant, reason = "all but one message of a spool's life are appends")]
pub(super) enum WriterMessage {
    Append(Append),
    /// Take nothing more, answer what is queued, end.
    Close,
}

pub(super) struct WriterThread {
    pub(super) committer: Committer,
    pub(super) queue: mpsc::Receiver<WriterMessage>,
    pub(super) shared: Arc<SharedLog>,
    pub(super) clock: Clock,
}

impl WriterThread {
    /// Runs until the spool is closed.
    pub(super) fn run(mut self) {
        let end = End(Arc::clone(&self.shared));
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut waiting = Vec::with_capacity(QUEUE_MAX);
        let mut group = Vec::with_capacity(QUEUE_MAX);
        let mut ticked = Instant::now();
        loop {
            let tick_every =
                if self.shared.gate() == AppendGate::Open { TICK_EVERY } else { TICK_EVERY_SHUT };
            let patience = if waiting.is_empty() { tick_every } else { Duration::ZERO };
            let open = self.receive(&mut waiting, &waker, patience);
            if !open && waiting.is_empty() {
                break;
            }
            self.form_group(&mut waiting, &mut group);
            let underway = self.shared.outstanding.begin();
            self.committer.commit(&mut group, self.clock.now());
            if ticked.elapsed() >= tick_every {
                self.committer.tick(self.clock.now());
                ticked = Instant::now();
            }
            drop(underway);
        }
        // Who stops in order has to know as well whether what was acknowledged is still there.
        let underway = self.shared.outstanding.begin();
        self.committer.look_over_all();
        drop(underway);
        drop(end);
    }

    /// Takes what waits in the queue; if nothing does, waits for it that long. `false` when nothing
    /// will ever come again.
    fn receive(&mut self, waiting: &mut Vec<WriterMessage>, waker: &Waker, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let limit = QUEUE_MAX - waiting.len();
        if limit == 0 {
            return true;
        }
        loop {
            match self.queue.poll_recv_many(&mut Context::from_waker(waker), waiting, limit) {
                Poll::Ready(received) => return received > 0,
                Poll::Pending => match deadline.saturating_duration_since(Instant::now()) {
                    Duration::ZERO => return true,
                    left => thread::park_timeout(left),
                },
            }
        }
    }

    /// Moves the oldest of what waits into the group, up to the bytes of one.
    fn form_group(&mut self, waiting: &mut Vec<WriterMessage>, group: &mut Vec<Append>) {
        let mut bytes = 0;
        let fits = |message: &&WriterMessage| {
            let full = bytes >= GROUP_BYTES_MAX;
            bytes += if let WriterMessage::Append(append) = message { weight(&append.entry) } else { 0 };
            !full
        };
        let count = waiting.iter().take_while(fits).count();
        for message in waiting.drain(..count) {
            match message {
                WriterMessage::Append(append) => group.push(append),
                WriterMessage::Close => self.queue.close(),
            }
        }
    }
}

/// Says how the writer ended, even if by a panic.
struct End(Arc<SharedLog>);

impl Drop for End {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail("the spool's writer has panicked".to_owned().into());
        }
        self.0.set_gate(AppendGate::Closing);
        self.0.life.send_if_modified(|life| {
            let running = *life == Life::Running;
            if running {
                *life = Life::Closed;
            }
            running
        });
    }
}

/// Wakes the writer from its wait for the queue.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
