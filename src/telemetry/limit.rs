//! Limits how often one kind of log line is written. Used wherever a line could be logged per event.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Shortest time between two log lines of one kind.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Lets one line of a kind through per minute and counts the lines it holds back.
#[derive(Debug, Default)]
pub struct LogLimit {
    /// For each kind, of which there are a few dozen: when its last line was written, and the number
    /// of lines held back since.
    kinds: Mutex<HashMap<String, (Instant, u64)>>,
}

impl LogLimit {
    /// Whether a line of this kind is due now. Kinds are from a bounded set. The inner value is the
    /// number of lines held back since the last one, for the field `unsaid`; `None` for none, so that
    /// the field is left out.
    pub fn admit(&self, kind: &str) -> Option<Option<NonZeroU64>> {
        let mut kinds = self.kinds.lock();
        let now = Instant::now();
        match kinds.get_mut(kind) {
            Some((said, unsaid)) if now.duration_since(*said) < LOG_INTERVAL => {
                *unsaid += 1;
                None
            }
            Some(entry) => Some(NonZeroU64::new(std::mem::replace(entry, (now, 0)).1)),
            None => {
                kinds.insert(kind.to_owned(), (now, 0));
                Some(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_line_that_repeats_is_said_once_and_counted() {
        let limit = LogLimit::default();
        assert_eq!(limit.admit("FAIL"), Some(None));
        assert_eq!(limit.admit("FAIL"), None);
        assert_eq!(limit.admit("GETPID"), Some(None));
        limit.kinds.lock().get_mut("FAIL").expect("known").0 -= LOG_INTERVAL;
        assert_eq!(limit.admit("FAIL"), Some(NonZeroU64::new(1)));
    }
}
