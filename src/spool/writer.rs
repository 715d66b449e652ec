//! The one thread that writes to the log: it takes the appends that wait, has them committed as a group, and
//! starts over.
//!
//! Groups form by themselves: while one is being made durable, the next appends wait. So a slow disk makes
//! larger groups, and no timer adds latency to a fast one. The queue is bounded; while it is full, appends
//! wait. The thread ends when the spool is closed or its last handle is dropped, after every queued append
//! has been answered.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::committer::{Append, Committer, weight};
use super::shared_log::{AppendGate, Life, SharedLog};
use crate::clock::Clock;

/// How many appends can wait in the queue, and how many more the writer can have taken from it.
pub(super) const QUEUE_MAX: usize = 1024;

/// Bytes after which a group takes no more appends: what a fast disk writes in several fsyncs, and an eighth
/// of the tail.
pub(super) const GROUP_BYTES_MAX: usize = 1 << 20;

/// How often the writer does its periodic work while the gate is open.
const TICK_EVERY: Duration = Duration::from_secs(1);

/// How often it does so while the gate is shut, to open it soon.
const TICK_EVERY_SHUT: Duration = Duration::from_millis(100);

/// A message in the writer's queue.
pub(super) enum WriterMessage {
    Append(Append),
    /// Take no more appends, answer the queued ones, and end.
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
        // An orderly end, too, reports whether the files with acknowledged events are still there.
        let underway = self.shared.outstanding.begin();
        self.committer.close();
        self.committer.verify_all_files();
        drop(underway);
        drop(end);
    }

    /// Takes the messages that wait in the queue; if there is none, waits for one at most as long as
    /// `patience`. Returns `false` when no message will ever come again.
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

    /// Moves the oldest waiting appends into the group, up to [`GROUP_BYTES_MAX`].
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

/// Records how the writer ended when it is dropped, also after a panic.
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

/// Wakes the writer thread when a message comes.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
