//! Which directory the files are in, and when a new one is begun.

use std::path::PathBuf;

use crate::knob::Knob;

/// The directory, unless another one is configured.
pub const DIR: &str = "fanbridge-data/topics";

/// Size at which a file is closed and the next one begun.
pub const ROTATE_BYTES: Knob<u64> =
    Knob { key: "rotate_bytes", default: 128 << 20, least: 64 << 10, most: u64::MAX };

/// A directory of JSON Lines files, one directory per topic.
#[derive(Clone, Debug)]
pub struct FileSinkOptions {
    /// Path of the directory.
    pub dir: PathBuf,
    /// Size at which a file is closed and the next one begun, in bytes.
    pub rotate_bytes: u64,
}
