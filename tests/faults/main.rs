//! Faults from outside, against the real binary: killed, stopped, traced, starved of disk, cut off
//! from its broker. After each the oracle compares what was promised with what arrived.
//!
//! `cargo test --test faults` is a quick version without a broker. `make test` runs all of it,
//! `FANBRIDGE_SOAK=1` the long version.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod ack_after;
mod alone;
mod attributes;
mod bad_inputs;
mod broker;
mod clock;
mod counted;
mod crash;
mod disk;
mod duplicates;
mod every_type;
mod files;
mod first_steps;
mod footers;
mod former_releases;
mod fsync;
mod hang;
mod log;
mod metrics;
mod msk;
mod no_room;
mod outlet;
mod reach;
mod redaction;
mod redrive;
mod replaced;
mod scarce;
mod scrape;
mod secrets;
mod secured_broker;
mod selection;
mod shutdown;
mod start;
mod topics;
mod trace;
