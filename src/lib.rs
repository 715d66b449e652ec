//! fanbridge: webhooks, queues and notifications in, one durable log, one topic per event family out.
//!
//! ```text
//!  provider ──POST──▶ source/webhook ┐
//!  SNS ──────POST──▶ source/sns      ├─▶ verify ─▶ admit ─▶ SPOOL ─▶ dispatch ─▶ sink/kafka  topic per family
//!  SQS ◀─────poll─── source/sqs      ┘    (pure)   (pure)  (fsync)     │  one per sink, own cursor
//!                         ▲                                   │         ├─▶ sink/sns    topic per family
//!                         └── 2xx / DeleteMessage ◀── durable ┘         ├─▶ sink/file   JSON Lines per topic
//!                                                                       └─▶ dead letters (kept, listed, redriven)
//! ```
//!
//! The spool cuts the system in two. In front of it nothing knows of sinks: a source verifies,
//! decides, appends, and says yes once the record is on stable storage. Behind it nothing knows of
//! HTTP: one dispatcher per sink reads on from its own cursor. No acknowledgement travels through
//! the pipeline, one sink's outage reaches neither another sink nor the provider, and a restart
//! continues at the cursors.
//!
//! What always holds:
//! nothing is acknowledged before it is durable; accepted = delivered + dead letters + pending, per
//! sink; nothing unverified is spooled; bytes out are the signed bytes in, less redactions; no event
//! outside a selection reaches a sink; events of one key keep their accept order per sink; memory
//! and disk are bounded, and at the bound the answer is 503, never a drop; no secret and no body is
//! in a log, metric or error.
//!
//! The modules, in the order an event meets them:

pub mod event;

pub mod source;

pub mod admit;
pub mod provider;
pub mod selection;

pub mod dedup;
pub mod spool;
pub mod state;

pub mod dead_letter;
pub mod dispatch;
pub mod routing;
pub mod sink;

pub mod admin;
pub mod aws;
pub mod bridge;
pub mod cli;
pub mod clock;
pub mod config;
pub mod disk;
pub mod files;
pub mod health;
pub mod knob;
pub mod reference;
pub mod scarce;
pub mod telemetry;
pub mod trust;
