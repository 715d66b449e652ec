//! Reads saved bodies: a file, the files of a directory in the order of their names, or the lines of a file.
//!
//! A directory can hold anything. So nothing but regular files is opened in it, no link is followed, nothing
//! waits for a pipe, and no more is read of a file than a body may have.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::bufread::MultiGzDecoder;
use http::HeaderMap;
use rustix::fs::OFlags;

use crate::admin::{IMPORT_BYTES_MAX, SavedRequest};
use crate::cli::recorded::parse_headers;
use crate::cli::{Exit, Failure};

/// Most bytes of a body as it is in its file: in base64 it and its headers fit into a request.
pub(super) const BODY_BYTES_MAX: usize = IMPORT_BYTES_MAX / 4 * 3 - (64 << 10);
/// Most bytes of a file of headers.
const HEADERS_BYTES_MAX: usize = 32 << 10;
/// Most files of a directory.
const FILES_MAX: usize = 1_000_000;
/// The end of the name of a file with the headers of the body that has the rest of its name.
const HEADERS_END: &str = ".headers";
/// The ends of the names of files with a body on each line.
const LINES_ENDS: [&str; 4] = [".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz"];

/// Why a file or a line is no body: a word.
pub(super) type Unread = &'static str;
/// It is no regular file: a link, a pipe, a directory.
const NOT_A_FILE: Unread = "not_a_file";
/// It cannot be read.
const UNREADABLE: Unread = "unreadable";
/// It has more than [`BODY_BYTES_MAX`].
const TOO_LARGE: Unread = "too_large";
/// The file of its headers has none.
const BAD_HEADERS: Unread = "bad_headers";

/// A body that was found, or a place where none could be read.
#[derive(Debug)]
pub(super) struct FoundBody {
    /// The file, and the line if it has a body on each.
    pub(super) name: String,
    /// What to send.
    pub(super) saved: Result<SavedRequest, Unread>,
}

/// The bodies at a path.
pub(super) struct SavedBodies {
    files: std::vec::IntoIter<PathBuf>,
    lines: Option<SavedLines>,
    /// Whether the path itself was given, and so can be a link.
    is_named: bool,
}

/// A file with a body on each line.
struct SavedLines {
    name: String,
    number: u64,
    text: Box<dyn BufRead>,
}

impl SavedBodies {
    /// The bodies at this path: those of the file, or of the directory's files in the order of their names.
    ///
    /// # Errors
    /// When there is nothing at the path, or the directory cannot be read or has too many files.
    pub(super) fn at(path: &Path) -> Result<Self, Failure> {
        let failed = |error: &io::Error| Failure::io(format_args!("cannot read {}", path.display()), error);
        if !fs::metadata(path).map_err(|error| failed(&error))?.is_dir() {
            return Ok(Self { files: vec![path.to_owned()].into_iter(), lines: None, is_named: true });
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(|error| failed(&error))? {
            files.push(entry.map_err(|error| failed(&error))?.path());
            if files.len() > FILES_MAX {
                let message =
                    format!("{} has more than {FILES_MAX} files: import it in parts", path.display());
                return Err(Failure::new(Exit::Usage, message));
            }
        }
        files.sort_unstable();
        let is_companion =
            |file: &PathBuf| body_of(file).is_some_and(|body| files.binary_search(&body).is_ok());
        let bodies: Vec<PathBuf> = files.iter().filter(|file| !is_companion(file)).cloned().collect();
        Ok(Self { files: bodies.into_iter(), lines: None, is_named: false })
    }

    /// What a file has: its body, or the first of its lines.
    fn open(&mut self, path: &Path) -> Option<FoundBody> {
        let name = path.display().to_string();
        let opened = open(path, self.is_named);
        match opened {
            Err(word) => Some(FoundBody { name, saved: Err(word) }),
            Ok(file) if LINES_ENDS.iter().any(|end| name.ends_with(end)) => {
                let plain = BufReader::new(file);
                let text: Box<dyn BufRead> = match name.ends_with(".gz") {
                    true => Box::new(BufReader::new(MultiGzDecoder::new(plain))),
                    false => Box::new(plain),
                };
                self.lines = Some(SavedLines { name, number: 0, text });
                None
            }
            Ok(file) => {
                let body = read(file, BODY_BYTES_MAX);
                let saved = body.and_then(|body| Ok(request(headers_of(path)?, &body)));
                Some(FoundBody { name, saved })
            }
        }
    }
}

impl Iterator for SavedBodies {
    type Item = FoundBody;

    fn next(&mut self) -> Option<FoundBody> {
        loop {
            if let Some(found) = self.lines.as_mut().and_then(SavedLines::next) {
                return Some(found);
            }
            self.lines = None;
            let path = self.files.next()?;
            if let Some(found) = self.open(&path) {
                return Some(found);
            }
        }
    }
}

impl Iterator for SavedLines {
    type Item = FoundBody;

    /// The next line with a body on it. A line that is too long is passed over to its end.
    fn next(&mut self) -> Option<FoundBody> {
        loop {
            let mut line = Vec::new();
            self.number += 1;
            let read = self.text.by_ref().take(BODY_BYTES_MAX as u64 + 2).read_until(b'\n', &mut line);
            let name = format!("{}:{}", self.name, self.number);
            let is_whole = line.ends_with(b"\n");
            let body = line.strip_suffix(b"\n").unwrap_or(&line);
            let body = body.strip_suffix(b"\r").unwrap_or(body);
            let saved = match read {
                Ok(0) => return None,
                Err(_) => {
                    // Nothing behind it can be read either.
                    self.text = Box::new(io::empty());
                    Err(UNREADABLE)
                }
                Ok(_) if body.len() > BODY_BYTES_MAX => {
                    if !is_whole && self.text.skip_until(b'\n').is_err() {
                        self.text = Box::new(io::empty());
                    }
                    Err(TOO_LARGE)
                }
                Ok(_) if body.trim_ascii().is_empty() => continue,
                Ok(_) => Ok(request(BTreeMap::new(), body)),
            };
            return Some(FoundBody { name, saved });
        }
    }
}

fn request(headers: BTreeMap<String, String>, body: &[u8]) -> SavedRequest {
    SavedRequest { headers, body_base64: BASE64_STANDARD.encode(body) }
}

/// Opens a regular file. Nothing waits for the other end of a pipe.
fn open(path: &Path, follows: bool) -> Result<File, Unread> {
    let is_file = |metadata: io::Result<fs::Metadata>| match metadata {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(NOT_A_FILE),
        Err(_) => Err(UNREADABLE),
    };
    // Opening can have effects of its own, as with a device, so it comes second; and the name can have become
    // that of something else by then.
    is_file(if follows { fs::metadata(path) } else { fs::symlink_metadata(path) })?;
    let flags = if follows { OFlags::NONBLOCK } else { OFlags::NONBLOCK | OFlags::NOFOLLOW };
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = opened.map_err(|_| UNREADABLE)?;
    is_file(file.metadata())?;
    Ok(file)
}

fn read(file: File, bytes_max: usize) -> Result<Vec<u8>, Unread> {
    let mut content = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut content).map_err(|_| UNREADABLE)?;
    if content.len() > bytes_max { Err(TOO_LARGE) } else { Ok(content) }
}

/// The file with the body whose headers are in this file; `None` if it is no file of headers.
fn body_of(headers: &Path) -> Option<PathBuf> {
    headers.to_str()?.strip_suffix(HEADERS_END).map(PathBuf::from)
}

/// The headers in the file beside a body, if there is one. Of a header that occurs twice nobody could say
/// which one counts, so it is left out, as by a source.
fn headers_of(body: &Path) -> Result<BTreeMap<String, String>, Unread> {
    let mut path = body.as_os_str().to_owned();
    path.push(HEADERS_END);
    let path = PathBuf::from(path);
    if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(BTreeMap::new());
    }
    let text = open(&path, false).and_then(|file| read(file, HEADERS_BYTES_MAX)).map_err(|_| BAD_HEADERS)?;
    let text = String::from_utf8(text).map_err(|_| BAD_HEADERS)?;
    let headers: HeaderMap = parse_headers(&text).map_err(|_| BAD_HEADERS)?;
    let single = headers.keys().filter_map(|name| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
        Some((name.to_string(), value.to_owned()))
    });
    Ok(single.collect())
}
