//! What the client last complained about: the why of a sink that gives no answer.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;

/// How long a complaint counts. The client repeats itself at least every few seconds while it
/// cannot connect.
const HOLDS_GOOD: Duration = Duration::from_secs(30);

/// The last complaint of a client, if it is not old.
#[derive(Debug, Default)]
pub(super) struct Complaint(Mutex<Option<(Instant, String)>>);

impl Complaint {
    /// Notes what the client says. That no broker is left only sums up what it said before.
    pub fn note(&self, code: Option<Code>, reason: &str) {
        if code != Some(Code::AllBrokersDown) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((Instant::now(), reason.to_owned()));
        }
    }

    /// The complaint that holds now.
    pub fn last(&self) -> Option<String> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, reason) = last.as_ref()?;
        (at.elapsed() < HOLDS_GOOD).then(|| reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_kept_until_it_is_old_and_a_summary_does_not_replace_it() {
        let complaint = Complaint::default();
        assert_eq!(complaint.last(), None);
        complaint.note(Some(Code::Resolve), "failed to resolve `kafka`");
        complaint.note(Some(Code::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(complaint.last(), Some("failed to resolve `kafka`".into()));
        complaint.0.lock().expect("not poisoned").as_mut().expect("noted").0 -= HOLDS_GOOD;
        assert_eq!(complaint.last(), None);
    }
}
