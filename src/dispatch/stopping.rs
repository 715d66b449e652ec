//! The end of a dispatcher: what is known is settled and committed.

use std::mem::take;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::leave::LeaveOrder;
use super::{DispatchError, Dispatcher, PublishingBatch};
use crate::event::Timestamp;

impl Dispatcher {
    /// Settles the records that unresolved publications have settled. A record without an outcome, or
    /// with one to try again, stops the cursor before it, so those that have overtaken it go again too.
    fn settle_known(&mut self) {
        let wall = Timestamp::from(SystemTime::now());
        let steps = Arc::clone(&self.steps);
        let mut steps = steps.open(wall);
        for PublishingBatch { records, publication, .. } in take(&mut self.publications) {
            for (record, outcome) in records.iter().zip(publication.known()) {
                if let Some(outcome) = outcome {
                    self.settle(record, &outcome, wall, &mut steps);
                }
            }
        }
    }

    /// The last commits before the dispatcher ends. Records still in flight might arrive, and are
    /// published again after the next start.
    pub(super) async fn finish(mut self, cut: &CancellationToken) -> Result<(), DispatchError> {
        self.settle_known();
        self.tell();
        let kept = self.checkpoint.finish(self.unsettled.cursor(), cut).await;
        self.unsettled.commit(self.checkpoint.committed());
        // Do not report health here: an idle sink is not a healthy one.
        self.gauges.report(&self.unsettled, self.spool.head(), 0, self.started.elapsed());
        self.note_what_is_left();
        self.say_what_is_left();
        kept
    }

    /// The operator has to know about undelivered records before the volume is deleted. What a removed sink
    /// leaves is said by who removes it.
    fn say_what_is_left(&self) {
        let (sink, cursor) = (&*self.name, self.unsettled.committed().0);
        let left_in_spool = self.spool.head().0.saturating_sub(cursor);
        match self.leave.order() {
            None => tracing::info!(
                sink,
                cursor,
                left_in_spool,
                "the sink's dispatcher stopped: `left_in_spool` records are delivered after the next start"
            ),
            Some(LeaveOrder::Replaced) => tracing::info!(
                sink,
                cursor,
                left_in_spool,
                "the sink's dispatcher stopped: the sink goes on behind its cursor as it is configured now"
            ),
            Some(LeaveOrder::Removed(_)) => {}
        }
    }
}
