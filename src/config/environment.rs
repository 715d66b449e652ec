//! The environment of a configuration: variables, files and the time, and how much of a file is read.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

use crate::event::Timestamp;
use crate::reference::FILE_BYTES_MAX;

/// Access to the environment, for a configuration.
pub struct Environment<'o> {
    /// Reads an environment variable, `None` if it is not set.
    pub env: &'o dyn Fn(&str) -> Option<String>,
    /// Reads a file.
    pub read: &'o dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// The current time.
    pub now: Timestamp,
}

/// The text of a configuration file, which can be a pipe.
///
/// # Errors
/// When the file cannot be read, is a pipe without a writer, or is longer than 1 MiB.
pub fn read_configuration(path: &Path) -> io::Result<Vec<u8>> {
    // Without this flag, opening a pipe waits for its writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut content = vec![0; 1];
    match (&file).read(&mut content) {
        Ok(0) if file.metadata()?.file_type().is_fifo() => {
            return Err(io::Error::other("it is a pipe to which no process writes"));
        }
        Ok(read) => content.truncate(read),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => content.clear(),
        Err(error) => return Err(error),
    }
    // From here on, reading waits for the writer.
    rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    match content.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other("it is larger than 1 MiB, which no configuration is")),
        false => Ok(content),
    }
}

/// The same absolute path for every spelling of a place, as far as it exists: links are followed, and
/// `.` and `..` are resolved after them.
pub fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_default();
    absolute.components().fold(PathBuf::new(), |mut path, component| {
        match component {
            Component::ParentDir => drop(path.pop()),
            component => path.push(component),
        }
        path.canonicalize().unwrap_or(path)
    })
}
