//! The blocks of the log on disk and of the duplicate window.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::yaml::scalars::{Period, Size};
use crate::dedup::shared::options::PREFIX;
use crate::reference::Reference;
use crate::spool::options::{
    BYTES_MAX, DIR, FREE_BYTES_MIN, RETAIN, SEGMENT_BYTES, WINDOW, WINDOW_EVENTS_MAX,
};

/// The log on disk and its limits.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolFile {
    /// The spool's directory, which one process uses at a time.
    pub dir: String,
    /// Most bytes on disk; above it, deliveries are answered 503. Only a sink that detaches misses events.
    pub bytes_max: Size,
    /// Bytes to leave free on the file system.
    pub free_bytes_min: Size,
    /// How long delivered events are kept in the log. They are removed earlier when space runs short.
    pub retain: Period,
    /// Size at which a segment of the log is closed and the next one begun.
    pub segment_bytes: Size,
    /// How many deliveries are recognised as duplicates, and for how long.
    pub duplicates: DuplicatesFile,
}

impl Default for SpoolFile {
    fn default() -> Self {
        Self {
            dir: DIR.into(),
            bytes_max: Size(BYTES_MAX.default),
            free_bytes_min: Size(FREE_BYTES_MIN.default),
            retain: Period(RETAIN.default),
            segment_bytes: Size(SEGMENT_BYTES.default),
            duplicates: DuplicatesFile::default(),
        }
    }
}

/// The duplicate window.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DuplicatesFile {
    /// How long a delivery is recognised as a duplicate.
    pub window: Period,
    /// Most events that are remembered, at about 24 bytes of memory each.
    #[schemars(range(min = WINDOW_EVENTS_MAX.least, max = WINDOW_EVENTS_MAX.most))]
    pub events_max: usize,
    /// Reference to the URL of a Redis (7.0 or later) or Valkey server in which replicas share a
    /// second window: `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS. All
    /// bridges with the same server, database and prefix must be replicas of each other.
    pub redis: Option<Reference>,
    /// Prefix of the keys in Redis. A bridge that publishes elsewhere needs another prefix.
    pub redis_prefix: String,
}

impl Default for DuplicatesFile {
    fn default() -> Self {
        Self {
            window: Period(WINDOW.default),
            events_max: WINDOW_EVENTS_MAX.default,
            redis: None,
            redis_prefix: PREFIX.into(),
        }
    }
}
