//! What the client last complained about: the why of a sink that gives no answer.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::error::RDKafkaErrorCode as Code;

/// How long a complaint counts. While it cannot connect the client says something new at once, and
/// repeats what does not change every 30 s, when its next attempt has failed; one attempt may take 10 s.
const HOLDS_GOOD: Duration = Duration::from_secs(60);

/// What clients that are turned away say, in parts of their words, and what that means in words of
/// the configuration. The first that fits counts.
const MEANINGS: &[(&str, &str)] = &[
    (
        "certificate verify failed",
        "the broker's certificate is not signed by an authority in `tls.ca`, or is for another host",
    ),
    ("alert bad certificate", CLIENT_CERTIFICATE),
    ("alert certificate", CLIENT_CERTIFICATE),
    ("alert unknown ca", CLIENT_CERTIFICATE),
    ("SSL handshake failed", "the port may not speak TLS"),
    ("SASL authentication error", "the broker refuses what `sasl` shows it"),
    ("mechanism handshake failed", "the broker does not offer this `sasl.mechanism`"),
    ("in state APIVERSION_QUERY", "the broker hangs up: its port may want `tls`"),
    ("Disconnected", "the broker hangs up: it may want `sasl`"),
];
const CLIENT_CERTIFICATE: &str = "the broker wants a client it knows: `tls.certificate` and `tls.key`";

/// What the client says, with what it means before it.
pub(super) fn explained(reason: &str) -> String {
    match MEANINGS.iter().find(|(part, _)| reason.contains(part)) {
        Some((_, meaning)) => format!("{meaning}: {reason}"),
        None => reason.to_owned(),
    }
}

/// The complaint in a log line, if it is one that the client does not also report as an error: of
/// a connection that the broker closes, it only logs.
pub(super) fn in_log_line<'l>(level: Level, kind: &str, line: &'l str) -> Option<&'l str> {
    let only_logged = matches!(level, Level::Warning | Level::Notice | Level::Info);
    // The thread's name goes before the broker's, which is mostly the same.
    let reason = line.split_once("]: ").map_or(line, |(_, reason)| reason);
    (only_logged && kind == "FAIL").then_some(reason)
}

/// The last complaint of a client, if it is not old.
#[derive(Debug, Default)]
pub(super) struct Complaint(Mutex<Option<(Instant, String)>>);

impl Complaint {
    /// Notes what the client says. That no broker is left only sums up what it said before.
    pub fn note(&self, code: Option<Code>, reason: &str) {
        if code != Some(Code::AllBrokersDown) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((Instant::now(), explained(reason)));
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
    #[test]
    fn what_is_only_logged_is_a_complaint_without_the_threads_name() {
        let line = "[thrd:b:9092/bootstrap]: b:9092/bootstrap: Disconnected (after 3ms in state UP)";
        let reason = in_log_line(Level::Info, "FAIL", line).expect("a complaint");
        assert_eq!(reason, "b:9092/bootstrap: Disconnected (after 3ms in state UP)");
        assert_eq!(explained(reason), format!("the broker hangs up: it may want `sasl`: {reason}"));
        assert_eq!(in_log_line(Level::Error, "FAIL", line), None);
        assert_eq!(in_log_line(Level::Info, "CONFWARN", line), None);
    }
}
