//! The last complaint of the Kafka client: it explains why a sink gives no answer.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::error::RDKafkaErrorCode as Code;

/// How long a complaint is shown. A client that cannot connect logs a new problem at once and repeats
/// an unchanged one every 30 s, after its next failed attempt; one attempt can take 10 s.
const HOLDS_GOOD: Duration = Duration::from_secs(60);

/// Parts of the client's messages when a broker turns it away, and their meaning in the words of the
/// configuration. The first match counts.
const MEANINGS: &[(&str, &str)] = &[
    (
        "certificate verify failed",
        "the broker's certificate is not signed by an authority in `tls.ca`, or is for another host",
    ),
    ("alert bad certificate", CLIENT_CERTIFICATE),
    ("alert certificate", CLIENT_CERTIFICATE),
    ("alert unknown ca", CLIENT_CERTIFICATE),
    ("SSL handshake failed", "the TLS handshake failed: the broker's port might not speak TLS"),
    ("SASL authentication error", "the broker refuses the credentials in `sasl`"),
    ("mechanism handshake failed", "the broker does not offer this `sasl.mechanism`"),
    (
        "in state APIVERSION_QUERY",
        "the broker closes the connection: its port might expect TLS, which `tls` turns on",
    ),
    ("Disconnected", "the broker closes the connection: it might expect credentials in `sasl`"),
];
const CLIENT_CERTIFICATE: &str = "the broker expects a client certificate that it trusts: check \
    `tls.certificate` and `tls.key`";

/// The client's message, preceded by its meaning if it is a known one.
pub(super) fn explained(reason: &str) -> String {
    match MEANINGS.iter().find(|(part, _)| reason.contains(part)) {
        Some((_, meaning)) => format!("{meaning}: {reason}"),
        None => reason.to_owned(),
    }
}

/// The complaint in a log line of the client. Errors are left out, because the client reports them as
/// errors too; a connection that the broker closes is only logged.
pub(super) fn in_log_line<'l>(level: Level, kind: &str, line: &'l str) -> Option<&'l str> {
    let only_logged = matches!(level, Level::Warning | Level::Notice | Level::Info);
    // The line names the thread and then the broker, which are mostly the same: only the rest counts.
    let reason = line.split_once("]: ").map_or(line, |(_, reason)| reason);
    (only_logged && kind == "FAIL").then_some(reason)
}

/// The last complaint of a client, with the moment it was made.
#[derive(Debug, Default)]
pub(super) struct Complaint(Mutex<Option<(Instant, String)>>);

impl Complaint {
    /// Remembers the client's message, unless it only says that all brokers are down: the messages
    /// before it say why.
    pub fn note(&self, code: Option<Code>, reason: &str) {
        if code != Some(Code::AllBrokersDown) {
            *self.0.lock() = Some((Instant::now(), explained(reason)));
        }
    }

    /// The last complaint, unless it is older than [`HOLDS_GOOD`].
    pub fn last(&self) -> Option<String> {
        let last = self.0.lock();
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
        complaint.0.lock().as_mut().expect("noted").0 -= HOLDS_GOOD;
        assert_eq!(complaint.last(), None);
    }
    #[test]
    fn what_is_only_logged_is_a_complaint_without_the_threads_name() {
        let line = "[thrd:b:9092/bootstrap]: b:9092/bootstrap: Disconnected (after 3ms in state UP)";
        let reason = in_log_line(Level::Info, "FAIL", line).expect("a complaint");
        assert_eq!(reason, "b:9092/bootstrap: Disconnected (after 3ms in state UP)");
        assert_eq!(
            explained(reason),
            format!("the broker closes the connection: it might expect credentials in `sasl`: {reason}")
        );
        assert_eq!(in_log_line(Level::Error, "FAIL", line), None);
        assert_eq!(in_log_line(Level::Info, "CONFWARN", line), None);
    }
}
