//! The second half of an acknowledgement that waits for sinks.

use super::{Intake, Unavailable};
use crate::ack::{Awaiting, Sought, Unaccepted};
use crate::event::{Entry, Event};
use crate::spool::Appended;

impl Intake {
    /// Waits until the sinks have accepted an event that is durable here. If nobody can tell whether they
    /// have its first copy, the event is stored once more: a repetition is better than a loss.
    ///
    /// # Errors
    /// When a sink has rejected it or has not accepted it in time, or it cannot be stored once more.
    pub(super) async fn await_sinks(
        &self,
        awaiting: Awaiting,
        event: Event,
        appended: Appended,
    ) -> Result<(), Unavailable> {
        let sought = match appended {
            Appended::Stored(position) => Sought::At(position),
            Appended::Duplicate => awaiting.duplicate(|| self.spool.head()),
        };
        if awaiting.accepted(sought).await? {
            return Ok(());
        }
        // Its first copy has the duplicate key.
        match self.spool.append(Entry::Event(event), None).await? {
            Appended::Stored(position) => {
                awaiting.stored(position);
                match awaiting.accepted(Sought::At(position)).await? {
                    true => Ok(()),
                    false => Err(Unaccepted::Late.into()),
                }
            }
            Appended::Duplicate => unreachable!("an entry without a key is no duplicate"),
        }
    }
}
