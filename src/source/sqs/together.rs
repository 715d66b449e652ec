//! Runs a few futures at once in one task.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Waits for all futures; returns their outputs in the order of the futures. They are first polled in
/// that order, so that they begin their appends in it, as [`Intake::keep`](crate::source::Intake)
/// promises. A task for each future would lose that order, and cost more.
pub(super) async fn together<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    poll_fn(move |cx| {
        let mut pending = false;
        for (future, output) in waiting.iter_mut().zip(&mut outputs).filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(cx) {
                Poll::Ready(done) => *output = Some(done),
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(outputs.drain(..).flatten().collect()) }
    })
    .await
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn all_begin_in_their_order_and_the_outputs_are_in_it_too() {
        let begun = Mutex::new(Vec::new());
        let task = async |number: usize| {
            begun.lock().push(number);
            for _ in 0..5 - number {
                yield_now().await;
            }
            number
        };
        assert_eq!(together((0..5).map(task).collect()).await, [0, 1, 2, 3, 4]);
        assert_eq!(*begun.lock(), [0, 1, 2, 3, 4]);
        assert!(together(Vec::<std::future::Ready<()>>::new()).await.is_empty());
    }
}
