//! Which directory the files are in, and when a new one is begun: the block `file` of a sink.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalars::Size;
use crate::spool::options::DIR;

/// A directory of JSON Lines files, one directory per topic.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FileSinkOptions {
    /// Path of the directory.
    pub dir: PathBuf,
    /// Size at which a file is closed and the next one begun.
    #[serde(with = "Size")]
    #[schemars(range(min = 64 << 10))]
    pub rotate_bytes: u64,
}

impl Default for FileSinkOptions {
    fn default() -> Self {
        Self { dir: Path::new(DIR).join("topics"), rotate_bytes: 128 << 20 }
    }
}
