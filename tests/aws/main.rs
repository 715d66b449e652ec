//! SQS and SNS, with an emulator of both (`AWS_ENDPOINT`) for the service.
//!
//! `make test` starts the emulator; so does `tests/servers/aws.sh start`. Without it a plain
//! `cargo test` says what it skipped.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod alone;
mod emulator;
mod envelopes;
mod inlet;
mod proxy;
mod questions;
mod requests;
mod roles;
mod rotation;
mod secrets;
mod sns_faults;
mod sns_out;
mod sns_set_up;
mod sqs;
mod sqs_ack;
mod sqs_crash;
mod sqs_durable;
mod sqs_faults;
mod sqs_kafka;
mod sqs_order;
