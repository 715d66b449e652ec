//! The world around a configuration: variables, files and the time, and how much is read of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

use crate::event::Timestamp;

/// What a configuration may ask of the world around it.
pub struct Outside<'o> {
    /// An environment variable, if it is set.
    pub env: &'o dyn Fn(&str) -> Option<String>,
    /// A file's content.
    pub read: &'o dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// What time it is.
    pub now: Timestamp,
}

/// More than any secret or certificate has.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a file holds that a configuration names: a secret, a certificate, a key.
///
/// # Errors
/// When it cannot be read, is no file, or holds more than 1 MiB: what is named by mistake may have no
/// end, and a pipe may never begin.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // Asked before it is opened: to open a pipe is to wait for who writes to it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file, as a secret or a certificate would be"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    match content.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other("it holds more than 1 MiB, which is no secret and no certificate")),
        false => Ok(content),
    }
}

/// The text of a configuration, which may come through a pipe.
///
/// # Errors
/// When it cannot be read, is a pipe that nobody writes to, or is longer than 1 MiB, as what has no end is.
pub fn read_configuration(path: &Path) -> io::Result<Vec<u8>> {
    // To open a pipe otherwise is to wait for who writes to it.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut content = vec![0; 1];
    match (&file).read(&mut content) {
        Ok(0) if file.metadata()?.file_type().is_fifo() => {
            return Err(io::Error::other("it is a pipe that nobody writes to"));
        }
        Ok(read) => content.truncate(read),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => content.clear(),
        Err(error) => return Err(error),
    }
    // From here on it is waited for.
    rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    match content.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other("it holds more than 1 MiB, which is no configuration")),
        false => Ok(content),
    }
}

/// A path by which a place has one name, as far as it exists: absolute, links followed, and without `.`
/// and `..`, which are taken from where a link leads.
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
