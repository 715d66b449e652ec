//! The configuration as used: every value is checked, every secret is read, and every topic is
//! possible.
//!
//! [`load()`] makes it from text, in three steps: `yaml` parses the text, remembers where everything is
//! written, and checks keys and forms against the types of [`mod@file`]; `check` checks the meaning; and
//! the rest becomes a [`Config`], which has the options of every room. The problems of all steps are in
//! one [`Report`]. This module opens no socket and writes no file, except for the secrets of
//! [`embedded`]. It stands on top of the rooms that it configures: only `cli` and `bridge` use it.

mod check;
pub mod embedded;
mod environment;
pub mod file;
mod load;
mod report;
mod suggest;
mod topics;
mod yaml;

pub use check::placeholders::PLACEHOLDER_ACCOUNT;
pub use environment::{Environment, read_configuration};
pub use file::schema;
pub use load::{Loaded, fingerprint, load, load_bytes};
pub use report::{Problem, Report, Severity};
pub use suggest::{did_you_mean, nearest};
pub use topics::Topic;

use std::path::PathBuf;
use std::time::Duration;

use crate::admin::AdminOptions;
use crate::aws::AwsOptions;
use crate::dedup::shared::SharedWindowOptions;
use crate::selection::Selection;
use crate::sink::SinkOptions;
use crate::source::SourceOptions;
use crate::source::http::HttpOptions;
use crate::spool::options::{SpoolOptions, TAIL_BYTES_MAX, segment_bytes};

/// The whole configuration of a bridge.
#[derive(Debug)]
pub struct Config {
    /// The public listener.
    pub http: HttpOptions,
    /// The admin listener.
    pub admin: AdminOptions,
    /// The log on disk.
    pub spool: SpoolConfig,
    /// How sources and sinks reach AWS.
    pub aws: AwsOptions,
    /// The sources.
    pub sources: Vec<SourceOptions>,
    /// The event types that the bridge accepts.
    pub selection: Selection,
    /// The sinks.
    pub sinks: Vec<SinkOptions>,
    /// How long a shutdown can take before it is cut short.
    pub shutdown_grace: Duration,
    /// First 12 hexadecimal digits of the SHA-256 of the configuration's text.
    pub fingerprint: String,
}

/// The log on disk and its limits.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// The spool's directory, which one process uses at a time.
    pub dir: PathBuf,
    /// Most bytes on disk; above it, deliveries are answered 503.
    pub bytes_max: u64,
    /// Bytes to leave free on the file system.
    pub free_bytes_min: u64,
    /// How long delivered events are kept. They are removed earlier when space runs short.
    pub retain: Duration,
    /// Size at which a segment is closed and the next one begun, in bytes.
    pub segment_bytes: u64,
    /// How long a delivery is recognised as a duplicate.
    pub duplicates_window: Duration,
    /// Most events that the duplicate window remembers.
    pub duplicates_events_max: usize,
    /// How long a delivery waits for the disk before it is answered 503.
    pub ack_timeout: Duration,
    /// The duplicate window that replicas share, if it is configured.
    pub shared_window: Option<SharedWindowOptions>,
}

impl SpoolConfig {
    /// The bounds of the spool itself.
    pub fn options(&self) -> SpoolOptions {
        SpoolOptions {
            bytes_max: self.bytes_max,
            free_bytes_min: self.free_bytes_min,
            segment_bytes: segment_bytes(self.segment_bytes, self.bytes_max),
            retain: self.retain,
            window: self.duplicates_window,
            window_events_max: self.duplicates_events_max,
            tail_bytes_max: TAIL_BYTES_MAX,
            answer_within: self.ack_timeout,
        }
    }
}
