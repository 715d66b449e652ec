//! One topic's newest file: opened at its last whole line, grown by whole lines, followed by the
//! next number when it is large enough or can no longer be trusted.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Result, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(super) struct TopicFile {
    dir: PathBuf,
    number: u64,
    file: File,
    /// Bytes that are durable; all whole lines.
    len: u64,
    /// Set by a failed fdatasync: the system may since take lost pages for written ones, so this
    /// file gets no more lines.
    distrusted: bool,
}

impl TopicFile {
    /// Opens the newest file of the directory, which is made if it is missing. What a crash left
    /// of a line at its end is cut off.
    pub fn open(dir: PathBuf) -> Result<Self> {
        make_durable_dir(&dir)?;
        let number = newest_number(&dir)?.unwrap_or(1);
        Self::open_number(dir, number)
    }

    fn open_number(dir: PathBuf, number: u64) -> Result<Self> {
        let path = dir.join(format!("{number:08}.jsonl"));
        let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&path)?;
        // The name must last as long as the lines.
        File::open(&dir)?.sync_all()?;
        let len = end_of_last_line(&mut file)?;
        let torn_bytes = file.metadata()?.len() - len;
        if torn_bytes > 0 {
            tracing::warn!(path = %path.display(), torn_bytes, "cut off a line that was not finished");
            file.set_len(len)?;
            file.sync_all()?;
        }
        Ok(Self { dir, number, file, len, distrusted: false })
    }

    /// Appends whole lines; they are durable when this returns. Who reads the files may remove them,
    /// also the one that is written: lines that went into a removed one are written again.
    ///
    /// # Errors
    /// What was written of the lines is cut off if that is possible. If it is not, opening the file
    /// anew does it: so unless the file is distrusted, drop it.
    pub fn append(&mut self, lines: &[u8], rotate_bytes: u64) -> Result<()> {
        let full = self.len > 0 && self.len + lines.len() as u64 > rotate_bytes;
        if full || self.distrusted {
            *self = Self::open_number(self.dir.clone(), self.number + 1)?;
        }
        if self.write(lines)? {
            return Ok(());
        }
        // The next number: readers may have done with those before it.
        make_durable_dir(&self.dir)?;
        *self = Self::open_number(self.dir.clone(), self.number + 1)?;
        match self.write(lines)? {
            true => Ok(()),
            false => Err(std::io::Error::other("the file was removed while it was written, twice in a row")),
        }
    }

    /// Writes lines durably, and says whether they can be found: the file still has a name.
    fn write(&mut self, lines: &[u8]) -> Result<bool> {
        self.file.write_all(lines).inspect_err(|_| {
            // The error that counts is the one of the write.
            let _ = self.file.set_len(self.len);
        })?;
        self.file.sync_data().inspect_err(|_| self.distrusted = true)?;
        self.len += lines.len() as u64;
        Ok(self.file.metadata()?.nlink() > 0)
    }

    /// Whether the next lines must go to the next number, which only this value knows.
    pub fn is_distrusted(&self) -> bool {
        self.distrusted
    }
}

/// Makes a directory and its missing ancestors, so that they are there after a power cut too. What
/// is made, is for this user alone: events hold what their people would not show to others.
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
        let name = entry?.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_suffix(".jsonl")).and_then(|stem| stem.parse().ok());
        newest = newest.max(number);
    }
    Ok(newest)
}

/// Where the last whole line ends: looks backwards for a line break.
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
        file.append(b"three\n", 1000).unwrap();
        assert_eq!(content(&topic, 2), "two\nthree\n");
        std::fs::remove_dir_all(&topic).unwrap();
        file.append(b"four\n", 1000).unwrap();
        assert_eq!(content(&topic, 3), "four\n");
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
