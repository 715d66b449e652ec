//! Divides the file descriptors that the process can have (pure).
//!
//! Each connection takes one descriptor, and strangers decide how many connections are asked for. So
//! connections get only the descriptors that nothing else needs: without one the log cannot begin its next
//! segment, a sink cannot reach its brokers, and the admin listener cannot answer.

use crate::config::Config;
use crate::sink::Output;
use crate::sink::file::FILES_OPEN_MAX;
use crate::source::Channel;
use crate::source::http::ADMIN_CONNECTIONS_MAX;

/// Descriptors for the standard streams, the runtime, name look-ups, files of certificates and tokens that
/// are read again, connections that are closed as soon as they are accepted, and what a new process takes the
/// listening sockets over with.
const OWN: usize = 56;
/// Descriptors for the spool's directory and its lock, the segment that is written, a segment that is
/// checked, and the state file.
const SPOOL: usize = 12;
/// Descriptors for reading the log and committing for one sink.
const READING: usize = 4;
/// Descriptors for the brokers of one cluster, whose number is known only once they are reached.
const BROKERS: usize = 64;
/// Descriptors for the connections of one AWS client beside its configured ones.
const AWS: usize = 8;
/// Descriptors for the connections of the shared duplicate window.
const SHARED_WINDOW: usize = 4;
/// Fewest connections with which the public listener is of use.
const CONNECTIONS_MIN: usize = 16;

/// How many connections the public listener can have if the process can open this many files; `None` if
/// they are too few to run.
pub fn connections(files: u64, config: &Config) -> Option<usize> {
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    files.checked_sub(beside_connections(config)).filter(|left| *left >= CONNECTIONS_MIN)
}

/// The fewest files that the process must be allowed to have open.
pub fn files_min(config: &Config) -> usize {
    beside_connections(config) + CONNECTIONS_MIN
}

/// Most descriptors of everything but the public listener's connections.
fn beside_connections(config: &Config) -> usize {
    let sinks: usize = config.sinks.iter().map(|sink| READING + of_output(&sink.output)).sum();
    let sources: usize = config.sources.iter().map(|source| of_channel(&source.channel)).sum();
    let shared = config.shared_window.as_ref().map_or(0, |_| SHARED_WINDOW);
    OWN + SPOOL + ADMIN_CONNECTIONS_MAX + sinks + sources + shared
}

fn of_output(output: &Output) -> usize {
    match output {
        Output::Kafka(_) => BROKERS,
        Output::Sns(sns) => AWS.saturating_add(sns.requests_max),
        Output::File(_) => FILES_OPEN_MAX + 1,
    }
}

fn of_channel(channel: &Channel) -> usize {
    match channel {
        Channel::Webhook => 0,
        // Each receive loop takes one connection to receive and one to delete.
        Channel::Sqs(sqs) => AWS.saturating_add(sqs.receivers_max.saturating_mul(2)),
        Channel::Sns(_) => AWS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load};

    fn config(more: &str) -> Config {
        let text = format!(
            "sources: {{ a: {{ provider: stream, secrets: [env:A] }} {more} }}\n\
             sinks: {{ l: {{ file: {{ dir: x }} }} }}"
        );
        let environment = Environment {
            env: &|_| Some("a-secret-of-the-tests-32-bytes-ok".into()),
            read: &|_| unreachable!("no file is named"),
            now: crate::event::Timestamp(0),
        };
        load("test", &text, &environment).expect("it can be used").config
    }

    #[test]
    fn connections_get_what_is_left_once_all_else_has_its_own() {
        let config = config("");
        let least = files_min(&config);
        assert_eq!(connections(least as u64, &config), Some(CONNECTIONS_MIN));
        assert_eq!(connections(least as u64 - 1, &config), None);
        assert_eq!(connections(1024, &config), Some(1024 - least + CONNECTIONS_MIN));
        assert!(connections(1024, &config) > Some(512), "a service manager's default is of use");
        assert!(connections(u64::MAX, &config).is_some());
    }

    #[test]
    fn a_queue_takes_two_for_each_of_its_loops() {
        let queue = ", q: { provider: stream, sqs: { receivers_max: 8, \
                     queue_url: 'https://sqs.eu-west-1.amazonaws.com/123456789012/q' } }";
        assert_eq!(files_min(&config(queue)), files_min(&config("")) + 16 + AWS);
    }
}
