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
use crate::spool::SpoolOptions;

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

/// The log on disk.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// The spool's directory, which one process uses at a time.
    pub dir: PathBuf,
    /// The bounds of the spool.
    pub options: SpoolOptions,
    /// The duplicate window that replicas share, if it is configured.
    pub shared_window: Option<SharedWindowOptions>,
}
