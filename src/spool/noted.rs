//! The answer to an append, which reaches its `note` even if the caller has stopped waiting.
//!
//! The caller of an append can stop waiting: at a time-out, or because the sender hung up. An append that was
//! queued is stored all the same, and its `note` is called: by the caller that waits, or else by a task of
//! its own. There are no more of these tasks than queued appends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::committer::AppendReply;

/// Resolves to the answer, after `note` was called with it.
pub(super) struct Noted<S, N>(Option<Waiting<S, N>>)
where
    S: FnOnce() -> AppendReply + Send + 'static,
    N: FnOnce(&AppendReply) + Send + 'static;

struct Waiting<S, N> {
    answered: oneshot::Receiver<AppendReply>,
    /// The answer if the writer ended without giving one.
    silence: S,
    note: N,
}

impl<S, N> Waiting<S, N>
where
    S: FnOnce() -> AppendReply + Send + 'static,
    N: FnOnce(&AppendReply) + Send + 'static,
{
    fn end(self, answered: Result<AppendReply, oneshot::error::RecvError>) -> AppendReply {
        let answer = answered.unwrap_or_else(|_| (self.silence)());
        (self.note)(&answer);
        answer
    }

    async fn finish(mut self) {
        let answered = (&mut self.answered).await;
        let _ = self.end(answered);
    }
}

impl<S, N> Noted<S, N>
where
    S: FnOnce() -> AppendReply + Send + 'static,
    N: FnOnce(&AppendReply) + Send + 'static,
{
    pub(super) fn new(answered: oneshot::Receiver<AppendReply>, silence: S, note: N) -> Self {
        Self(Some(Waiting { answered, silence, note }))
    }
}

// No field is pinned.
impl<S, N> Unpin for Noted<S, N>
where
    S: FnOnce() -> AppendReply + Send + 'static,
    N: FnOnce(&AppendReply) + Send + 'static,
{
}

impl<S, N> Future for Noted<S, N>
where
    S: FnOnce() -> AppendReply + Send + 'static,
    N: FnOnce(&AppendReply) + Send + 'static,
{
    type Output = AppendReply;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<AppendReply> {
        let Some(waiting) = &mut self.0 else { unreachable!("polled again after it has answered") };
        let answered = ready!(Pin::new(&mut waiting.answered).poll(context));
        match self.0.take() {
            Some(waiting) => Poll::Ready(waiting.end(answered)),
            None => unreachable!("it was there a line ago"),
        }
    }
}

impl<S, N> Drop for Noted<S, N>
where
    S: FnOnce() -> AppendReply + Send + 'static,
    N: FnOnce(&AppendReply) + Send + 'static,
{
    fn drop(&mut self) {
        // Without a runtime the process is ending, and nothing is noted any more.
        if let Some(waiting) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(waiting.finish());
        }
    }
}
