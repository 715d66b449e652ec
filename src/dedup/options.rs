//! For how long and how many deliveries are recognised as duplicates: the block `spool.duplicates`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::Reference;
use crate::scalars::Period;

/// The duplicate window.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DuplicatesOptions {
    /// How long a delivery is recognised as a duplicate.
    #[serde(with = "Period")]
    #[schemars(extend("formatMaximum" = "87600h"))]
    pub window: Duration,
    /// Most events that are remembered, at about 24 bytes of memory each.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub events_max: usize,
    /// Reference to the URL of a Redis (7.0 or later) or Valkey server in which replicas share a
    /// second window: `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS. All
    /// bridges with the same server, database and prefix must be replicas of each other.
    pub redis: Option<Reference>,
    /// Prefix of the keys in Redis. A bridge that publishes elsewhere needs another prefix.
    pub redis_prefix: String,
}

impl Default for DuplicatesOptions {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(86_400),
            events_max: 2_000_000,
            redis: None,
            redis_prefix: "fanbridge:".into(),
        }
    }
}
