//! Whether an open file still has its name, and what is done when it has not.
//!
//! A process writes to a file by its handle, not by its name. If a file is replaced under a running bridge
//! (by a restore, `mv`, rsync, `sed -i`), writes to the old file still succeed, and nobody can find them
//! again. But its bytes can be read as long as it is open: so they are put back under its name, and the file
//! that was found there is kept under another name next to it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Disk, DiskFile, FileId, read_full_at, write_all_at};

/// Bytes copied at once.
const CHUNK_BYTES: usize = 1 << 20;
/// How often a name is looked up before the answer is that the system does not say.
const LOOKS: usize = 3;
/// How long the bridge goes on while the system does not say whether a file is there. Want of descriptors or
/// memory is waited for without limit.
pub(crate) const UNSEEN_MAX: Duration = Duration::from_secs(10);
/// How many files that were found under one name are kept.
const FOUND_MAX: u32 = 100;

/// What became of the name of a file.
#[derive(Debug)]
pub(crate) enum NameFate {
    /// No file has the name.
    Removed,
    /// Another file has the name.
    Replaced,
    /// The file has its name, and this length in bytes, which is not the expected one.
    Resized(u64),
    /// The system does not say whether the file is there.
    Unknown(io::Error),
}

impl fmt::Display for NameFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed => write!(f, "was removed from under the bridge"),
            Self::Replaced => write!(f, "was replaced under the bridge by something else"),
            Self::Resized(len) => write!(f, "was changed under the bridge: it is {len} bytes long now"),
            Self::Unknown(error) => {
                write!(f, "cannot be looked up ({error}), so it is unknown whether it still exists")
            }
        }
    }
}

/// Checks that the file with this identity has this name and, if a length is given, is that long.
pub(crate) fn look(disk: &dyn Disk, path: &Path, id: FileId, len: Option<u64>) -> Result<(), NameFate> {
    match patiently(|| disk.look(path)) {
        Ok(found) if found.id != id => Err(NameFate::Replaced),
        Ok(found) if len.is_some_and(|len| len != found.len) => Err(NameFate::Resized(found.len)),
        Ok(_) => Ok(()),
        Err(error) => Err(unseen(error)),
    }
}

/// Checks that this path leads to the directory with this identity.
pub(crate) fn look_at_dir(disk: &dyn Disk, dir: &Path, id: FileId) -> Result<(), NameFate> {
    match patiently(|| disk.dir_id(dir)) {
        Ok(found) if found != id => Err(NameFate::Replaced),
        Ok(_) => Ok(()),
        Err(error) => Err(unseen(error)),
    }
}

/// What is told of a directory that lost its name. Its files are elsewhere: a start would make a new
/// directory and begin without them.
pub(crate) fn dir_mended(dir: &Path, fate: &NameFate) -> Mended {
    let needs_person = matches!(fate, NameFate::Removed | NameFate::Replaced);
    let advice = match needs_person {
        true => {
            "put the directory back as it was and start again, or start without it, which gives up the dead \
             letters and the events in it that no sink had delivered"
        }
        false => "the events in it are safe only if it is",
    };
    Mended { text: format!("{} {fate}: {advice}", dir.display()), needs_person }
}

/// Looks up again when the system does not say whether the file is there: a call can have been interrupted.
fn patiently<T>(look: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let is_said = |looked: &io::Result<T>| {
        looked.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::NotFound)
    };
    (1..LOOKS).map(|_| look()).find(is_said).unwrap_or_else(look)
}

fn unseen(error: io::Error) -> NameFate {
    if error.kind() == io::ErrorKind::NotFound { NameFate::Removed } else { NameFate::Unknown(error) }
}

/// What became of the bytes of a file that lost its name.
#[derive(Clone, Debug)]
pub(crate) struct Mended {
    /// What happened, and what a person has to do.
    pub text: String,
    /// Whether the bytes are somewhere else, so that a start before a person has moved them would begin
    /// without them.
    pub needs_person: bool,
}

impl Mended {
    fn by_itself(text: String) -> Self {
        Self { text, needs_person: false }
    }
}

/// Why a file's bytes could not be put back under its name, and where a whole copy of them is, if any.
struct Rescue {
    error: io::Error,
    copy: Option<PathBuf>,
}

/// An open file, and the name that it had when it was opened.
pub(crate) struct NamedFile {
    disk: Arc<dyn Disk>,
    dir_id: FileId,
    path: PathBuf,
    id: FileId,
    file: Arc<dyn DiskFile>,
}

impl NamedFile {
    /// A file that was just opened under this name, in the directory with this identity.
    pub(crate) fn of(
        disk: Arc<dyn Disk>,
        dir_id: FileId,
        path: PathBuf,
        file: Arc<dyn DiskFile>,
    ) -> io::Result<Self> {
        let id = file.id()?;
        Ok(Self { disk, dir_id, path, id, file })
    }

    /// The file's length in bytes, whatever its name is by now.
    pub(crate) fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    /// The file's identity.
    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Checks that the file still has its name and, if a length is given, is that long.
    pub(crate) fn look(&self, len: Option<u64>) -> Result<(), NameFate> {
        look(&*self.disk, &self.path, self.id, len)
    }

    /// Puts the first `len` bytes of a file that was removed or replaced back under its name, if it can, and
    /// returns what happened and what a person has to do.
    pub(crate) fn mend(&self, fate: &NameFate, len: u64) -> Mended {
        let path = self.path.display();
        let dir = self.path.parent().unwrap_or(Path::new("."));
        if !matches!(fate, NameFate::Removed | NameFate::Replaced) {
            return Mended::by_itself(format!("{path} {fate}; keep other programs out of this directory"));
        }
        if let Err(fate) = look_at_dir(&*self.disk, dir, self.dir_id) {
            return dir_mended(dir, &fate);
        }
        match self.put_back(dir, len) {
            Ok(None) => {
                Mended::by_itself(format!("{path} {fate}; all of its content was put back under its name"))
            }
            Ok(Some(found)) => Mended::by_itself(format!(
                "{path} {fate}; all of its content was put back under its name, and the file that was found \
                 there is now {}; keep other programs out of this directory",
                found.display()
            )),
            Err(Rescue { error, copy: Some(copy) }) => Mended {
                text: format!(
                    "{path} {fate}, and its content cannot be put back under its name ({error}): all of it \
                     is in {}; rename that file to {path} before you start again",
                    copy.display()
                ),
                needs_person: true,
            },
            Err(Rescue { error, copy: None }) => Mended::by_itself(format!(
                "{path} {fate}, and its content cannot be saved ({error}): what was written to it since then \
                 is lost"
            )),
        }
    }

    /// Writes the file's bytes under its name again, durably. A file that is found there gets another name,
    /// which is returned.
    fn put_back(&self, dir: &Path, len: u64) -> Result<Option<PathBuf>, Rescue> {
        let copy = self.free_name("kept").map_err(|error| Rescue { error, copy: None })?;
        self.copy(&copy, len).map_err(|error| Rescue { error, copy: None })?;
        self.take_over(&copy, dir).map_err(|error| Rescue { error, copy: Some(copy) })
    }

    /// Gives the copy the name of the file.
    fn take_over(&self, copy: &Path, dir: &Path) -> io::Result<Option<PathBuf>> {
        let found = self.set_aside()?;
        self.disk.rename(copy, &self.path)?;
        self.disk.sync_dir(dir)?;
        Ok(found)
    }

    fn copy(&self, to: &Path, len: u64) -> io::Result<()> {
        let copy = self.disk.create_new(to)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut offset = 0;
        while offset < len {
            let wanted = CHUNK_BYTES.min(usize::try_from(len - offset).unwrap_or(CHUNK_BYTES));
            let read = read_full_at(&*self.file, &mut chunk[..wanted], offset)?;
            if read == 0 {
                break;
            }
            write_all_at(&*copy, &chunk[..read], offset)?;
            offset += read as u64;
        }
        copy.sync_all()
    }

    /// Gives the file that is found under this file's name, if any, a second name, which is returned.
    fn set_aside(&self) -> io::Result<Option<PathBuf>> {
        let second = self.free_name("found")?;
        match self.disk.link(&self.path, &second) {
            Ok(()) => Ok(Some(second)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // The system can refuse to link a file of another user (fs.protected_hardlinks), and some file
            // systems have no links at all.
            Err(_) => self.disk.rename(&self.path, &second).map(|()| Some(second)),
        }
    }

    /// The first free name of this kind next to the file, so that no file that was kept before is replaced.
    fn free_name(&self, what: &str) -> io::Result<PathBuf> {
        let names = (1..=FOUND_MAX).map(|number| self.beside(&format!("{what}-{number}")));
        let is_free = |name: &PathBuf| match self.disk.look(name) {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(_) => false,
        };
        names.into_iter().find(is_free).ok_or_else(|| io::ErrorKind::AlreadyExists.into())
    }

    fn beside(&self, what: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{what}"));
        self.path.with_file_name(name)
    }
}
