//! Every sink against one contract, with what each adds to it.
//!
//! The file sink writes to a temporary directory. The Kafka sink publishes to librdkafka's mock
//! cluster, and to a real broker too if `KAFKA_BROKERS` names one (`tests/servers/kafka.sh start`);
//! without it, what is skipped is printed. The SNS sink publishes to the emulator that `AWS_ENDPOINT`
//! names (`tests/servers/aws.sh start`), with the credentials of the environment.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod alone;
mod contract;
mod file;
mod kafka_cost;
mod kafka_faults;
mod kafka_mock;
mod kafka_real;
mod kafka_setup;
mod seen;
mod sns;
