//! The newest file of one topic: opened after its last whole line, grown by whole lines, and
//! followed by the file of the next number when it is full or can no longer be trusted.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use crate::event::Placement;
use crate::files::has_lock;

pub(super) struct TopicFile {
    dir: PathBuf,
    number: u64,
    file: File,
    /// Durable bytes, all of them whole lines.
    len: u64,
    /// Set by a failed fdatasync, after which the system can take lost pages for written ones, and
    /// when another process was found to write to the file. The file gets no more lines then.
    distrusted: bool,
}

impl TopicFile {
    /// Opens the newest file of the directory, which is made if it is missing, and cuts off an
    /// unfinished line at its end.
    pub fn open(dir: PathBuf) -> Result<Self> {
        make_durable_dir(&dir)?;
        let number = newest_number(&dir)?.unwrap_or(1);
        Self::open_number(dir, number)
    }

    fn open_number(dir: PathBuf, number: u64) -> Result<Self> {
        let path = dir.join(Placement::file_name(number));
        let mut file = open_own(&path)?;
        // Makes the file's name durable: without it the lines would be lost with the name.
        File::open(&dir)?.sync_all()?;
        let len = end_of_last_line(&mut file)?;
        let torn_bytes = file.metadata()?.len() - len;
        if torn_bytes > 0 {
            tracing::warn!(
                path = %path.display(),
                torn_bytes,
                "file sink: an unfinished line at the end of the file was cut off, as after a crash; its \
                 record is written again"
            );
            file.set_len(len)?;
            file.sync_all()?;
        }
        Ok(Self { dir, number, file, len, distrusted: false })
    }

    /// Appends whole lines and makes them durable. Readers are allowed to remove files, even the
    /// current one: lines that went into a removed file are written again. More lines than the system
    /// lets one file hold go into several files.
    ///
    /// Returns where the first line is, if all of them are in one file, one behind the other.
    ///
    /// # Errors
    /// The lines are not accepted. Their written part is cut off, if that is possible; if not,
    /// opening the file again does so: drop the file after an error, unless it is distrusted.
    pub fn append(&mut self, lines: &[u8], rotate_bytes: u64) -> Result<Placement> {
        self.append_within(lines, rotate_bytes, getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX))
    }

    /// The same in files of at most `size_max` bytes.
    fn append_within(&mut self, lines: &[u8], rotate_bytes: u64, size_max: u64) -> Result<Placement> {
        let parts = parts(lines, size_max)?;
        for part in &parts {
            self.append_part(part, rotate_bytes.min(size_max))?;
        }
        Ok(match parts.len() {
            1 => Placement::Line { file: self.number, offset: self.len - lines.len() as u64 },
            _ => Placement::Unstated,
        })
    }

    fn append_part(&mut self, lines: &[u8], rotate_bytes: u64) -> Result<()> {
        let full = self.len > 0 && self.len + lines.len() as u64 > rotate_bytes;
        if full || self.distrusted {
            self.begin_next()?;
        }
        let written = match self.write(lines) {
            // The file system can have a size limit of its own.
            Err(error) if error.kind() == ErrorKind::FileTooLarge && self.len > 0 => false,
            written => written?,
        };
        if written {
            return Ok(());
        }
        // Readers might be done with the earlier numbers, so the next one is used.
        self.begin_next()?;
        match self.write(lines)? {
            true => Ok(()),
            false => Err(Error::other("the file was removed or changed twice while the sink wrote to it")),
        }
    }

    fn begin_next(&mut self) -> Result<()> {
        make_durable_dir(&self.dir)?;
        *self = Self::open_number(self.dir.clone(), self.number + 1)?;
        Ok(())
    }

    /// Writes lines durably. Returns whether a reader can find them: the file still has a name, and
    /// has the lines where they were written.
    fn write(&mut self, lines: &[u8]) -> Result<bool> {
        let mut written = 0;
        while written < lines.len() {
            match self.file.write(&lines[written..]) {
                Ok(0) => return Err(self.give_up(&lines[..written], ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.give_up(&lines[..written], error)),
            }
        }
        self.file.sync_data().inspect_err(|_| self.distrusted = true)?;
        self.len += lines.len() as u64;
        let metadata = self.file.metadata()?;
        let undisturbed = metadata.len() == self.len;
        if !undisturbed {
            self.distrusted = true;
            tracing::warn!(
                path = %self.path().display(),
                "another process writes to this file of a file sink: the last lines are written again, into \
                 the file of the next number; stop the other writer"
            );
        }
        Ok(undisturbed && metadata.nlink() > 0)
    }

    /// Cuts off the written part of the lines, unless another process has written after it. Returns
    /// the error of the write.
    fn give_up(&mut self, written: &[u8], error: Error) -> Error {
        match self.ends_with(written) {
            Ok(true) => {
                // If this fails, opening the file again cuts off the unfinished line.
                let _ = self.file.set_len(self.len);
            }
            Ok(false) => self.distrusted = true,
            Err(_) => {}
        }
        error
    }

    /// Whether the file consists of its durable bytes and, after them, exactly these.
    fn ends_with(&self, bytes: &[u8]) -> Result<bool> {
        if self.file.metadata()?.len() != self.len + bytes.len() as u64 {
            return Ok(false);
        }
        let mut end = vec![0; bytes.len()];
        self.file.read_exact_at(&mut end, self.len)?;
        Ok(end == bytes)
    }

    fn path(&self) -> PathBuf {
        self.dir.join(Placement::file_name(self.number))
    }

    /// Whether the next lines must go to the next number. Only this value knows that, so it must be
    /// kept.
    pub fn is_distrusted(&self) -> bool {
        self.distrusted
    }
}

/// Opens a regular file that no other process has locked, and locks it for as long as it is open.
fn open_own(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .mode(0o600)
        .custom_flags(super::no_follow())
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
                refused(path, "is a symbolic link, and a file sink follows none: remove it")
            }
            _ => error,
        })?;
    if !file.metadata()?.is_file() {
        return Err(refused(path, "is not a regular file: remove it"));
    }
    match has_lock(file.try_lock())? {
        true => Ok(file),
        false => Err(refused(path, "is locked by another process: end that process")),
    }
}

fn refused(path: &Path, why: &str) -> Error {
    Error::other(format!("{} {why}", path.display()))
}

/// Splits whole lines into parts of at most `size_max` bytes each.
fn parts(lines: &[u8], size_max: u64) -> Result<Vec<&[u8]>> {
    let size_max = usize::try_from(size_max).unwrap_or(usize::MAX);
    if lines.len() <= size_max {
        return Ok(vec![lines]);
    }
    let (mut parts, mut start, mut end) = (Vec::new(), 0, 0);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        // Checked before anything is written: the lines before this one would be written again and
        // again.
        if line.len() > size_max {
            let needed = line.len();
            let message = format!(
                "a line has {needed} bytes, but this process can write no file larger than {size_max} bytes: \
                 raise its file size limit (RLIMIT_FSIZE, `ulimit -f`)"
            );
            return Err(Error::new(ErrorKind::FileTooLarge, message));
        }
        if end + line.len() - start > size_max {
            parts.push(&lines[start..end]);
            start = end;
        }
        end += line.len();
    }
    parts.push(&lines[start..end]);
    Ok(parts)
}

/// Makes a directory and its missing ancestors durably. They are readable for this user only, because
/// events can hold private data.
pub(super) fn make_durable_dir(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return std::fs::create_dir(dir),
    };
    make_durable_dir(parent)?;
    DirBuilder::new().mode(0o700).create(dir)?;
    File::open(parent)?.sync_all()
}

fn newest_number(dir: &Path) -> Result<Option<u64>> {
    let mut newest = None;
    for entry in std::fs::read_dir(dir)? {
        let number = entry?.file_name().to_str().and_then(Placement::file_number);
        newest = newest.max(number);
    }
    Ok(newest)
}

/// The offset after the last line break, 0 if there is none.
fn end_of_last_line(file: &mut File) -> Result<u64> {
    const STEP_BYTES: u64 = 64 * 1024;
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP_BYTES);
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        (&*file).take(end - start).read_to_end(&mut block)?;
        if let Some(index) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + index as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn content(dir: &Path, number: u64) -> String {
        std::fs::read_to_string(dir.join(format!("{number:08}.jsonl"))).unwrap()
    }

    #[test]
    fn a_line_cut_short_at_any_byte_is_cut_off_before_the_next() {
        for cut in 0..6 {
            let dir = tempfile::tempdir().unwrap();
            let torn = &b"first\nsecond"[..6 + cut];
            std::fs::write(dir.path().join("00000007.jsonl"), torn).unwrap();
            TopicFile::open(dir.path().into()).unwrap().append(b"third\n", 1000).unwrap();
            assert_eq!(content(dir.path(), 7), "first\nthird\n");
        }
    }

    #[test]
    fn a_torn_line_longer_than_one_step_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let torn = [b"first\n".as_slice(), &[b'x'; 200_000]].concat();
        std::fs::write(dir.path().join("00000001.jsonl"), torn).unwrap();
        TopicFile::open(dir.path().into()).unwrap().append(b"next\n", 1 << 20).unwrap();
        assert_eq!(content(dir.path(), 1), "first\nnext\n");
    }

    #[test]
    fn a_file_that_would_grow_too_large_is_followed_by_the_next_number() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = TopicFile::open(dir.path().into()).unwrap();
        for line in ["one longer than the limit\n", "two\n", "three\n"] {
            file.append(line.as_bytes(), 10).unwrap();
        }
        assert_eq!(content(dir.path(), 1), "one longer than the limit\n");
        assert_eq!(content(dir.path(), 2), "two\nthree\n");
    }

    #[test]
    fn lines_that_went_into_a_removed_file_are_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let topic = dir.path().join("topic");
        let mut file = TopicFile::open(topic.clone()).unwrap();
        file.append(b"one\n", 1000).unwrap();
        std::fs::remove_file(topic.join("00000001.jsonl")).unwrap();
        file.append(b"two\n", 1000).unwrap();
        assert_eq!(file.append(b"three\n", 1000).unwrap(), Placement::Line { file: 2, offset: 4 });
        assert_eq!(content(&topic, 2), "two\nthree\n");
        std::fs::remove_dir_all(&topic).unwrap();
        assert_eq!(file.append(b"four\n", 1000).unwrap(), Placement::Line { file: 3, offset: 0 });
        assert_eq!(content(&topic, 3), "four\n");
    }

    /// What a writer that heeds no lock has put behind ours is not ours to cut off.
    #[test]
    fn a_failed_write_cuts_off_only_what_it_wrote_itself() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = TopicFile::open(dir.path().into()).unwrap();
        file.append(b"one\n", 1000).unwrap();
        file.file.write_all(b"half a li").unwrap();
        file.give_up(b"half a li", ErrorKind::StorageFull.into());
        assert_eq!(content(dir.path(), 1), "one\n");

        std::fs::write(dir.path().join("00000001.jsonl"), "one\nanother's\n").unwrap();
        file.give_up(b"", ErrorKind::StorageFull.into());
        assert_eq!(content(dir.path(), 1), "one\nanother's\n");
        file.append(b"two\n", 1000).unwrap();
        assert_eq!(
            (content(dir.path(), 1), content(dir.path(), 2)),
            ("one\nanother's\n".into(), "two\n".into())
        );
    }

    #[test]
    fn lines_that_went_into_several_files_say_no_place() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = TopicFile::open(dir.path().into()).unwrap();
        let mut append = |lines: &str| file.append_within(lines.as_bytes(), 1000, 10).unwrap();
        assert_eq!(append("one\n"), Placement::Line { file: 1, offset: 0 });
        assert_eq!(append("two\n"), Placement::Line { file: 1, offset: 4 });
        assert_eq!(append("three\nfour\n"), Placement::Unstated);
        assert_eq!(append("five\n"), Placement::Line { file: 3, offset: 5 });
        assert_eq!(content(dir.path(), 2) + &content(dir.path(), 3), "three\nfour\nfive\n");
    }

    #[test]
    fn lines_beside_those_of_somebody_else_are_written_again_into_the_next_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = TopicFile::open(dir.path().into()).unwrap();
        file.append(b"one\n", 1000).unwrap();
        std::fs::write(dir.path().join("00000001.jsonl"), "one\nanother's\n").unwrap();
        file.append(b"two\n", 1000).unwrap();
        assert_eq!(content(dir.path(), 2), "two\n");
    }

    #[test]
    fn a_file_that_another_writes_is_left_alone_however_its_directory_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let (topic, link) = (dir.path().join("topic"), dir.path().join("link"));
        let first = TopicFile::open(topic.clone()).unwrap();
        std::os::unix::fs::symlink(&topic, &link).unwrap();
        std::fs::write(topic.join("00000001.jsonl"), "not yet a whole li").unwrap();
        let error = TopicFile::open(link.clone()).err().unwrap().to_string();
        assert!(error.contains("is locked by another process: end that process"), "{error}");
        assert_eq!(content(&topic, 1), "not yet a whole li");
        drop(first);
        TopicFile::open(link).unwrap();
    }

    #[test]
    fn lines_are_split_between_lines_and_never_within_one() {
        let text = |parts: Vec<&[u8]>| -> Vec<String> {
            parts.into_iter().map(|part| String::from_utf8(part.to_vec()).unwrap()).collect()
        };
        assert_eq!(text(parts(b"one\ntwo\nthree\n", 14).unwrap()), ["one\ntwo\nthree\n"]);
        assert_eq!(text(parts(b"one\ntwo\nthree\n", 9).unwrap()), ["one\ntwo\n", "three\n"]);
        assert_eq!(text(parts(b"one\ntwo\nthree\n", 6).unwrap()), ["one\n", "two\n", "three\n"]);
        let error = parts(b"one\ntwo\nthree\n", 5).unwrap_err();
        assert!(error.to_string().contains("RLIMIT_FSIZE"), "{error}");
    }

    #[test]
    fn a_distrusted_file_gets_no_more_lines() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = TopicFile::open(dir.path().into()).unwrap();
        file.append(b"one\n", 1000).unwrap();
        file.distrusted = true;
        file.append(b"two\n", 1000).unwrap();
        assert_eq!((content(dir.path(), 1), content(dir.path(), 2)), ("one\n".into(), "two\n".into()));
    }
}
