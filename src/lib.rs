//! fanbridge: webhooks, queues and notifications in, one durable log, one topic per event family out.
//!
//! ```text
//!  provider ──POST──▶ source/webhook ┐
//!  SNS ───────POST──▶ source/sns     ├─▶ verify ─▶ admit ─▶ SPOOL ─────────▶ dispatch ──┬─▶ sink/kafka
//!  SQS ◀──────poll─── source/sqs     ┘   (pure)    (pure)   (dedup, fsync)   per sink   ├─▶ sink/sns
//!                         ▲                                   │                 │       ├─▶ sink/file
//!                         └── 2xx / DeleteMessage ◀── durable ┘                 ▼       └─▶ dead letters
//!                                                           state: cursors, dead letters, types seen
//! ```
//!
//! The spool cuts the system in two. In front of it nothing knows of sinks: a source verifies,
//! decides, appends, and says yes once the record is on stable storage. Behind it nothing knows of
//! HTTP: one dispatcher per sink reads on from its own cursor. No acknowledgement travels through
//! the pipeline, one sink's outage reaches neither another sink nor the provider, and a restart
//! continues at the cursors. The one exception is asked for: with `ack.after` an answer also waits until
//! the named sinks have accepted the event.
//!
//! What always holds:
//! nothing is acknowledged before it is durable; accepted = delivered + dead letters + pending, per
//! sink; nothing unverified is spooled; bytes out are the signed bytes in, less redactions; no event
//! outside a selection reaches a sink; events of one key keep their accept order per sink; memory
//! and disk are bounded, and at the bound the answer is 503, never a drop, except for sinks that
//! detach; no secret and no body is in a log, metric or error.
//!
//! The modules, grouped in the order in which an event passes them. `event` is what they all speak of. Then
//! come the sources; the decisions about a delivery (`provider`, `admit`, `selection`); what is kept
//! (`dedup`, `spool`, `state`), and which answers wait for sinks (`ack`); the sinks and what leads to them
//! (`dispatch`, `routing`, `dead_letter`, `replay`). The last group serves all others: `bridge` wires and
//! starts the parts, `config` and `cli` stand above it, `admin`, `health` and `telemetry` report, `timeline`
//! has the last steps of every event and `explain` says what became of one, `disk`, `files` and `clock` are
//! the seams to the system, `reference` and `scalars` are how a configuration writes secrets, files, sizes
//! and times; `backoff`, `scarce` and `trust` are what sinks and sources share.

pub mod event;

pub mod source;

pub mod admit;
pub mod problem;
pub mod provider;
pub mod selection;

pub mod ack;
pub mod dedup;
pub mod spool;
pub mod state;

pub mod dead_letter;
pub mod dispatch;
pub mod explain;
pub mod replay;
pub mod routing;
pub mod sink;

pub mod admin;
pub mod aws;
pub mod backoff;
pub mod bridge;
pub mod cli;
pub mod clock;
pub mod config;
pub mod disk;
pub mod files;
pub mod health;
pub mod reference;
pub mod scalars;
pub mod scarce;
pub mod shape;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod timeline;
pub mod trust;
