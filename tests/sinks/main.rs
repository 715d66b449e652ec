//! Every sink against one contract, with what each adds to it.
//!
//! The file sink writes to a temporary directory. The Kafka sink publishes to librdkafka's mock
//! cluster, and to a real broker too if `KAFKA_BROKERS` names one (`tests/servers/kafka.sh start`);
//! without it, what is skipped is printed.
#![allow(clippy::unwrap_used, missing_docs)]

mod contract;
mod file;
mod kafka_mock;
mod kafka_real;
mod kafka_setup;
mod seen;
