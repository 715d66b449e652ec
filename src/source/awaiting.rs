//! The second half of an acknowledgement that waits for sinks.

use std::sync::Arc;

use super::{DeliveryFate, Intake, SourceIntake, Unavailable, fate};
use crate::ack::{Awaiting, Sought, Unaccepted};
use crate::event::{Entry, Event};
use crate::spool::Appended;

impl Intake {
    /// Waits until the sinks have accepted an event that is durable, and tells the other replicas what came
    /// of it.
    ///
    /// # Errors
    /// When a sink has rejected it or has not accepted it in time, or it cannot be stored once more.
    pub(super) async fn await_sinks(
        &self,
        source: &SourceIntake,
        awaiting: Awaiting,
        event: Arc<Event>,
        appended: Appended,
    ) -> Result<(), Unavailable> {
        let sought = match appended {
            Appended::Stored(position) => Sought::At(position),
            Appended::Duplicate => awaiting.duplicate(|| self.spool.head()),
            Appended::StoredElsewhere => return Ok(()),
        };
        let fate = fate(appended, DeliveryFate::Accepted);
        let accepted = self.await_here(source, &awaiting, event, sought, fate).await;
        match &accepted {
            Ok(()) => self.spool.accepted(awaiting.key(), awaiting.fingerprint()),
            Err(_) => self.spool.unaccepted(awaiting.key()),
        }
        accepted
    }

    /// Waits for the sinks of this replica. If nobody can tell whether they have the first copy of the event,
    /// it is stored once more: a repetition is better than a loss.
    async fn await_here(
        &self,
        source: &SourceIntake,
        awaiting: &Awaiting,
        event: Arc<Event>,
        sought: Sought,
        fate: DeliveryFate,
    ) -> Result<(), Unavailable> {
        let unaccepted = |why| Unavailable::Unaccepted(why, fate);
        if awaiting.accepted(sought).await.map_err(unaccepted)? {
            return Ok(());
        }
        // Its first copy has the duplicate key.
        let Appended::Stored(position) = self.spool.append(Entry::Event(Arc::clone(&event)), None).await?
        else {
            unreachable!("an entry without a key is no duplicate");
        };
        source.metrics.stored_again();
        self.steps.stored_again(&event, position);
        awaiting.stored(position);
        match awaiting.accepted(Sought::At(position)).await.map_err(unaccepted)? {
            true => Ok(()),
            false => Err(unaccepted(Unaccepted::Late)),
        }
    }
}
