//! Whether a file still has the name under which it was opened, and what is done when it has not.
//!
//! A file is known by its handle, not by its name. One that is replaced under a running bridge (by a
//! restore, `mv`, rsync, `sed -i`) goes on taking what is written to it, and nobody will find that
//! again. Its bytes can still be read as long as it is open: so they are put back under its name, and
//! what was found there is kept beside it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Disk, DiskFile, FileId, read_full_at, write_all_at};

/// Bytes copied at once.
const CHUNK_BYTES: usize = 1 << 20;
/// How often a name is looked at before it counts that the system does not say.
const LOOKS: usize = 3;
/// How long the system may not say whether a file is there. What it is short of is waited for as long as it
/// takes.
pub(crate) const UNSEEN_MAX: Duration = Duration::from_secs(10);
/// So many files that were found under one name are kept.
const FOUND_MAX: u32 = 100;

/// What is the matter with a name.
#[derive(Debug)]
pub(crate) enum NameFate {
    /// Nothing has it.
    Removed,
    /// Something else has it.
    Replaced,
    /// The file has it, and is not as long as it was.
    Resized(u64),
    /// The system does not say.
    Unknown(io::Error),
}

impl fmt::Display for NameFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed => write!(f, "was removed from under the bridge"),
            Self::Replaced => write!(f, "was replaced under the bridge by something else"),
            Self::Resized(len) => write!(f, "was changed under the bridge: it is {len} bytes long now"),
            Self::Unknown(error) => {
                write!(f, "cannot be looked at ({error}), so that nobody can tell whether it is still there")
            }
        }
    }
}

/// Looks whether that file has this name, and is that long if its length is known.
pub(crate) fn look(disk: &dyn Disk, path: &Path, id: FileId, len: Option<u64>) -> Result<(), NameFate> {
    match patiently(|| disk.look(path)) {
        Ok(found) if found.id != id => Err(NameFate::Replaced),
        Ok(found) if len.is_some_and(|len| len != found.len) => Err(NameFate::Resized(found.len)),
        Ok(_) => Ok(()),
        Err(error) => Err(unseen(error)),
    }
}

/// Looks whether that directory has this name.
pub(crate) fn look_at_dir(disk: &dyn Disk, dir: &Path, id: FileId) -> Result<(), NameFate> {
    match patiently(|| disk.dir_id(dir)) {
        Ok(found) if found != id => Err(NameFate::Replaced),
        Ok(_) => Ok(()),
        Err(error) => Err(unseen(error)),
    }
}

/// What is told of a directory that is not under its name any more. What is in it is there, elsewhere: a
/// start would make a new directory and begin without it.
pub(crate) fn dir_mended(dir: &Path, fate: &NameFate) -> Mended {
    let needs_person = matches!(fate, NameFate::Removed | NameFate::Replaced);
    let advice = match needs_person {
        true => {
            "put it back as it was and start again, or start without it, which gives up the events in it \
                 that no sink had delivered and the dead letters"
        }
        false => "the events in it are safe only if it is",
    };
    Mended { text: format!("{} {fate}: {advice}", dir.display()), needs_person }
}

/// Asks again when the system does not say: a call may have been interrupted.
fn patiently<T>(look: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let is_said = |looked: &io::Result<T>| {
        looked.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::NotFound)
    };
    (1..LOOKS).map(|_| look()).find(is_said).unwrap_or_else(look)
}

fn unseen(error: io::Error) -> NameFate {
    if error.kind() == io::ErrorKind::NotFound { NameFate::Removed } else { NameFate::Unknown(error) }
}

/// What was the matter with a name, and what became of the file's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Mended {
    /// Both, and what a person has to do, as a sentence.
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

/// Why a file's bytes are not under its name again, and where a whole copy of them is, if there is one.
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
    /// The place of a file that was just opened under this name, in this directory.
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

    /// Which file it is.
    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Looks whether the file still has its name, and its length if that is known.
    pub(crate) fn look(&self, len: Option<u64>) -> Result<(), NameFate> {
        look(&*self.disk, &self.path, self.id, len)
    }

    /// Does what can be done about that fate, for as many bytes of the file as count, and says what was
    /// the matter and what is to be done now.
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
                Mended::by_itself(format!("{path} {fate}; all that it held was put back under its name"))
            }
            Ok(Some(found)) => Mended::by_itself(format!(
                "{path} {fate}; all that it held was put back under its name, and what was found there is \
                 {} now; keep other programs out of this directory",
                found.display()
            )),
            Err(Rescue { error, copy: Some(copy) }) => Mended {
                text: format!(
                    "{path} {fate}, and what it held cannot be put back under its name ({error}): all of it \
                     is in {}; move that to {path} and start again",
                    copy.display()
                ),
                needs_person: true,
            },
            Err(Rescue { error, copy: None }) => Mended::by_itself(format!(
                "{path} {fate}, and what it held cannot be kept ({error}): what was written to it since then \
                 is lost"
            )),
        }
    }

    /// Writes the file's bytes under its name again, durably. What is found there gets another name,
    /// which is returned.
    fn put_back(&self, dir: &Path, len: u64) -> Result<Option<PathBuf>, Rescue> {
        let copy = self.free_name("kept").map_err(|error| Rescue { error, copy: None })?;
        self.copy(&copy, len).map_err(|error| Rescue { error, copy: None })?;
        self.take_over(&copy, dir).map_err(|error| Rescue { error, copy: Some(copy) })
    }

    /// Gives the copy the file's name.
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

    /// Gives what is found under the file's name a second one, if anything is.
    fn set_aside(&self) -> io::Result<Option<PathBuf>> {
        let second = self.free_name("found")?;
        match self.disk.link(&self.path, &second) {
            Ok(()) => Ok(Some(second)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // A file of another user may not be linked (fs.protected_hardlinks), and some file systems
            // have no links at all.
            Err(_) => self.disk.rename(&self.path, &second).map(|()| Some(second)),
        }
    }

    /// The first name of this kind beside the file that nothing has: nothing that was kept before is lost
    /// for what is kept now.
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
