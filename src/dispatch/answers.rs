//! What a dispatcher does for deliveries whose answer waits for its sink.

use std::mem::replace;
use std::sync::Arc;
use std::time::Duration;

use super::linger::Linger;
use super::{Dispatcher, PublishingBatch, certainty};
use crate::ack::{AwaitedSink, Settlements};
use crate::event::Position;

impl Dispatcher {
    /// The same with a sink that answers wait for, if they do. It does not linger: those who wait send
    /// nothing more before they are answered.
    pub fn awaited(self, sink: Option<&Arc<AwaitedSink>>) -> Self {
        let Some(sink) = sink else { return self };
        let settlements = Some(Settlements::new(Arc::clone(sink)));
        Self { settlements, linger: Linger::new(Duration::ZERO), ..self }
    }

    /// Tells the deliveries that wait for the sink what is settled.
    pub(super) fn tell(&mut self) {
        if let Some(settlements) = &mut self.settlements {
            settlements.tell(self.unsettled.cursor());
        }
    }

    /// Tells which records of unresolved publications the sink has accepted. One record that waits for its
    /// partition keeps its publication, and all behind it, from resolving.
    pub(super) fn tell_unresolved(&mut self) {
        let Some(settlements) = &mut self.settlements else { return };
        for PublishingBatch { records, publication, told, .. } in &mut self.publications {
            let settled = publication.settled();
            if replace(told, settled) < settled {
                publication.accepted().into_iter().for_each(|index| settlements.accepted(&records[index]));
            }
        }
        settlements.tell(self.unsettled.cursor());
    }

    /// Notes that records up to here are no longer in the log, before the cursor passes them.
    pub(super) fn note_missed(&mut self, through: Position) {
        if let Some(settlements) = &self.settlements {
            settlements.missed(through);
            self.checkpoint.mark(certainty::row(settlements.sink()), through);
        }
    }
}
