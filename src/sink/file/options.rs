//! Which directory the files are in, and when a new one is begun.

use std::path::PathBuf;

/// A directory of JSON Lines files, one directory per topic.
#[derive(Clone, Debug)]
pub struct FileSinkOptions {
    /// Path of the directory.
    pub dir: PathBuf,
    /// Size at which a file is closed and the next one begun, in bytes.
    pub rotate_bytes: u64,
}
