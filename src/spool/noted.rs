//! An answer that is heeded also when whoever asked has gone.
//!
//! Who waits for an append may stop waiting: at a time-out, or because the sender hung up. What was queued
//! is stored all the same, and what is to be done about that is done: here by who waits, and if nobody
//! does any more by a task of its own. There are no more of those than appends that are queued.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::committer::AppendReply;

/// Resolves to the answer, once `note` has been told of it.
pub(super) struct Noted<S: FnOnce() -> AppendReply + Send + 'static, N: FnOnce(&AppendReply) + Send + 'static>(
    Option<Waiting<S, N>>,
);

struct Waiting<S, N> {
    answered: oneshot::Receiver<AppendReply>,
    /// What it means that there is no answer.
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

    async fn alone(mut self) {
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

// Nothing in it is pinned.
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
        let Some(waiting) = &mut self.0 else { unreachable!("it is not polled again behind its answer") };
        let answered = ready!(Pin::new(&mut waiting.answered).poll(context));
        match self.0.take() {
            Some(waiting) => Poll::Ready(waiting.end(answered)),
            None => unreachable!("it was there a moment ago"),
        }
    }
}

impl<S, N> Drop for Noted<S, N>
where
    S: FnOnce() -> AppendReply + Send + 'static,
    N: FnOnce(&AppendReply) + Send + 'static,
{
    fn drop(&mut self) {
        // Without a runtime the process ends.
        if let Some(waiting) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(waiting.alone());
        }
    }
}
