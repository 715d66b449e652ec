//! A segment file: a header in two sectors, frames one after the other and, once it is closed, a footer
//! ([`super::footer`]). In a recycled file that is not closed, a mark is behind the last frame, and what a
//! former segment left behind that.
//!
//! The header is written twice, each time in a sector of its own in which nothing else is, so one flipped
//! bit or one lost sector hides nothing. [`Scanner`] is the only reader of frames on disk:
//! behind damage it looks for the next frame that verifies, and it reports the bytes it passed over,
//! so damage is contained, counted and never silent. It does not judge positions; its callers know which
//! ones should be there.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use crc32c::crc32c;

use super::codec;
use super::frame::{FRAME_HEADER_BYTES, FrameHeader, MAGIC, Seed};
use crate::dedup::DuplicateKey;
use crate::disk::{Disk, DiskFile, read_full_at, write_all_at};
use crate::event::{Entry, Position, Timestamp};

/// The format version that this release writes, and the newest that it reads. Version 1 had no footer, and up
/// to version 2 no entry tells under which configuration it was admitted.
pub(super) const FORMAT_VERSION: u32 = 3;

/// The first version in which a footer can stand behind the frames.
const FOOTER_VERSION: u32 = 2;

/// Bytes in front of the first frame: two sectors, each with a copy of the header at its start.
pub(super) const HEADER_BYTES: u64 = 1024;

/// Bytes of a page, as the system and the file systems mostly have them. Where theirs are larger, they may
/// read one before they write a part of it, and nothing else changes.
pub(super) const PAGE_BYTES: u64 = 4096;

const SECTOR_BYTES: usize = 512;
const COPY_BYTES: usize = 64;
const COPY_CHECKED_BYTES: usize = COPY_BYTES - 4;
const HEADER_MAGIC: [u8; 8] = *b"fanspool";

/// A segment's header.
///
/// Magic, version and the checksum at byte 60 keep their place in every format to come, so that
/// an old release can tell a newer format from damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The format version of the segment.
    version: u32,
    /// The segment's id: a random number that seeds the checksums of its frames.
    pub(super) id: u64,
    /// The position of the first entry.
    pub(super) base: Position,
    /// When the segment was made.
    pub(super) created: Timestamp,
}

/// The header as it was found on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderState {
    /// Both copies are as written.
    Whole(Header),
    /// One copy is damaged; this is the other.
    Damaged(Header),
    /// No copy verifies, so no frame behind it can be verified.
    Lost,
    /// A later release wrote the segment in this format.
    Newer(u32),
}

impl Header {
    /// The header of a new segment.
    pub(super) fn new(id: u64, base: Position, created: Timestamp) -> Self {
        Self { version: FORMAT_VERSION, id, base, created }
    }

    /// Whether a footer can stand behind the segment's frames.
    pub(super) fn takes_footer(&self) -> bool {
        self.version >= FOOTER_VERSION
    }

    /// The value with which the checksums of the segment's frames and footer start.
    pub(super) fn seed(&self) -> Seed {
        Seed::of(self.id)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut copy = [0; COPY_BYTES];
        copy[0..8].copy_from_slice(&HEADER_MAGIC);
        copy[8..12].copy_from_slice(&self.version.to_le_bytes());
        copy[16..24].copy_from_slice(&self.id.to_le_bytes());
        copy[24..32].copy_from_slice(&self.base.0.to_le_bytes());
        copy[32..40].copy_from_slice(&self.created.0.to_le_bytes());
        let crc = crc32c(&copy[..COPY_CHECKED_BYTES]);
        copy[COPY_CHECKED_BYTES..].copy_from_slice(&crc.to_le_bytes());

        let mut bytes = vec![0; HEADER_BYTES as usize];
        bytes[..COPY_BYTES].copy_from_slice(&copy);
        bytes[SECTOR_BYTES..][..COPY_BYTES].copy_from_slice(&copy);
        bytes
    }

    /// Reads the header of a segment whose file is named after `base`.
    pub(super) fn read(file: &dyn DiskFile, base: Position) -> io::Result<HeaderState> {
        let mut bytes = vec![0; HEADER_BYTES as usize];
        read_full_at(file, &mut bytes, 0)?;
        let first = parse_copy(&bytes);
        let second = parse_copy(&bytes[SECTOR_BYTES..]);
        Ok(match first.or(second) {
            None => HeaderState::Lost,
            Some(header) if header.version > FORMAT_VERSION => HeaderState::Newer(header.version),
            Some(header) if header.base != base => HeaderState::Lost,
            Some(header) if header.encode() == bytes => HeaderState::Whole(header),
            Some(header) => HeaderState::Damaged(header),
        })
    }
}

/// Whether the file has the header of the segment with this base and this seed. The seed comes from the
/// segment's random id, so hardly any other segment has it.
pub(super) fn is_copy(file: &dyn DiskFile, base: Position, seed: Option<Seed>) -> io::Result<bool> {
    let (HeaderState::Whole(header) | HeaderState::Damaged(header)) = Header::read(file, base)? else {
        return Ok(false);
    };
    Ok(seed == Some(header.seed()))
}

fn parse_copy(bytes: &[u8]) -> Option<Header> {
    let copy = bytes.first_chunk::<COPY_BYTES>()?;
    let (checked, crc) = copy.split_at(COPY_CHECKED_BYTES);
    if !checked.starts_with(&HEADER_MAGIC) || crc != crc32c(checked).to_le_bytes() {
        return None;
    }
    let number = |at: usize| checked[at..].first_chunk::<8>().map(|field| u64::from_le_bytes(*field));
    Some(Header {
        version: u32::from_le_bytes(*checked[8..].first_chunk()?),
        id: number(16)?,
        base: Position(number(24)?),
        created: Timestamp(number(32)? as i64),
    })
}

/// The path of the segment that begins at this position.
pub(super) fn path(dir: &Path, base: Position) -> PathBuf {
    dir.join(format!("{base:020}.log", base = base.0))
}

/// The base of the segment whose file has this name; `None` if it is no segment's name.
pub(super) fn base_of(name: &str) -> Option<Position> {
    let digits = name.strip_suffix(".log")?;
    let canonical = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    canonical.then(|| digits.parse().ok().map(Position)).flatten()
}

/// Makes a segment's file with its header; neither is durable yet. `leftover` says that a file of
/// this name exists and holds no entry: it is used again rather than removed, because its name can
/// be all that still tells how far the positions have got.
pub(super) fn create(
    disk: &dyn Disk,
    dir: &Path,
    header: &Header,
    leftover: bool,
) -> io::Result<Box<dyn DiskFile>> {
    let path = path(dir, header.base);
    let file = if leftover { reopen_leftover(disk, &path)? } else { disk.create_new(&path)? };
    write_all_at(&*file, &header.encode(), 0)?;
    Ok(file)
}

/// Bytes of the mark behind the frames of a recycled file.
const END_MARK_BYTES: usize = 8;
const END_MARK_MAGIC: [u8; 4] = [0xf5, 0xe1, 0xd3, 0xed];

/// Appends what is behind the frames of a recycled file that end at `offset`: a mark by which a scan knows
/// the end of a group that was wholly written, and zeros up to the end of a page or of the file.
pub(super) fn end_page(pages: &mut Vec<u8>, seed: Seed, offset: u64, file_len: u64) {
    pages.extend_from_slice(&end_mark(seed, offset));
    let page_end = (offset + END_MARK_BYTES as u64).next_multiple_of(PAGE_BYTES);
    let behind = page_end.min(file_len).saturating_sub(offset) as usize;
    pages.resize(pages.len() - END_MARK_BYTES + behind, 0);
}

/// Whether the mark is in the file that says that the segment's frames end at `offset`.
pub(super) fn has_end_mark(file: &dyn DiskFile, seed: Seed, offset: u64) -> io::Result<bool> {
    let mut found = [0; END_MARK_BYTES];
    // The file can end within the mark.
    let read = read_full_at(file, &mut found, offset)?;
    Ok(read > 0 && found[..read] == end_mark(seed, offset)[..read])
}

fn end_mark(seed: Seed, offset: u64) -> [u8; END_MARK_BYTES] {
    let mut mark = [0; END_MARK_BYTES];
    mark[..4].copy_from_slice(&END_MARK_MAGIC);
    mark[4..].copy_from_slice(&seed.checksum(&offset.to_le_bytes()).to_le_bytes());
    mark
}

fn reopen_leftover(disk: &dyn Disk, path: &Path) -> io::Result<Box<dyn DiskFile>> {
    match disk.open(path) {
        Ok(file) => file.truncate(0).map(|()| file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create_new(path),
        Err(error) => Err(error),
    }
}

/// A frame that verified.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) header: FrameHeader,
    /// The offset in the file at which the frame begins.
    pub(super) offset: u64,
    /// The encoded entry, sharing the scanner's read buffer.
    pub(super) payload: Bytes,
}

impl Frame {
    /// The entry's duplicate key, if it has one. A quarantined delivery that an earlier release wrote under
    /// the key of an event has the right one: under the other, the event that the delivery becomes later
    /// would be taken for a duplicate of it.
    pub(super) fn key(&self) -> Option<DuplicateKey> {
        let written = self.header.key?;
        if !codec::is_quarantined(&self.payload) {
            return Some(written);
        }
        match codec::decode(self.payload.clone()) {
            Ok(Entry::Quarantined(delivery))
                if written == DuplicateKey::of(&delivery.source, &delivery.id) =>
            {
                Some(DuplicateKey::of_letter(&delivery.source, &delivery.id))
            }
            _ => Some(written),
        }
    }
}

/// What a scanner finds.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// A frame that verified.
    Frame(Frame),
    /// Bytes that are no frame. A frame follows them, or the end of the file.
    Damage(Range<u64>),
}

/// Reads the frames of a stretch of a segment file, in chunks, and passes over damage.
pub(super) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    seed: Seed,
    offset: u64,
    end: u64,
    chunk_bytes: usize,
    chunk: Bytes,
    chunk_offset: u64,
}

impl<'a> Scanner<'a> {
    /// Reads from the frame at the start of `range` to its end, `chunk_bytes` at a time.
    pub(super) fn new(file: &'a dyn DiskFile, seed: Seed, range: Range<u64>, chunk_bytes: usize) -> Self {
        let Range { start, end } = range;
        Self { file, seed, offset: start, end, chunk_bytes, chunk: Bytes::new(), chunk_offset: start }
    }

    /// The next frame or stretch of damage; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        let start = self.offset;
        if start >= self.end {
            return Ok(None);
        }
        let Some(header) = self.header_at(start)? else {
            self.offset = self.resync(start + 1)?;
            // The file can have turned out shorter than the caller thought.
            return Ok((self.offset > start).then(|| Found::Damage(start..self.offset)));
        };
        let Some(frame) = self.bytes_at(start, header.frame_len())? else {
            // The header verifies, so its length is right, and the end of the payload is missing.
            self.offset = self.end;
            return Ok(Some(Found::Damage(start..self.end)));
        };
        self.offset = start + header.frame_len() as u64;
        let payload = frame.slice(FRAME_HEADER_BYTES..);
        Ok(Some(if header.verifies(&payload, self.seed) {
            Found::Frame(Frame { header, offset: start, payload })
        } else {
            Found::Damage(start..self.offset)
        }))
    }

    fn header_at(&mut self, offset: u64) -> io::Result<Option<FrameHeader>> {
        let bytes = self.bytes_at(offset, FRAME_HEADER_BYTES)?;
        Ok(bytes.and_then(|bytes| FrameHeader::parse(&bytes, self.seed)))
    }

    /// The offset of the next header that verifies, at or behind `from`; the end if there is none.
    fn resync(&mut self, mut from: u64) -> io::Result<u64> {
        while self.bytes_at(from, FRAME_HEADER_BYTES)?.is_some() {
            let behind = (from - self.chunk_offset) as usize;
            let candidates = &self.chunk[behind..self.chunk.len() - (FRAME_HEADER_BYTES - MAGIC.len())];
            match candidates.windows(MAGIC.len()).position(|bytes| bytes == MAGIC) {
                None => from += (candidates.len() - MAGIC.len() + 1) as u64,
                Some(ahead) => {
                    from += ahead as u64;
                    if self.header_at(from)?.is_some() {
                        return Ok(from);
                    }
                    from += 1;
                }
            }
        }
        Ok(self.end)
    }

    /// `count` bytes from the offset on, or `None` if there are fewer before the end.
    fn bytes_at(&mut self, offset: u64, count: usize) -> io::Result<Option<Bytes>> {
        if self.end.saturating_sub(offset) < count as u64 {
            return Ok(None);
        }
        let chunk_end = self.chunk_offset + self.chunk.len() as u64;
        if offset < self.chunk_offset || offset + count as u64 > chunk_end {
            self.fill(offset, count)?;
        }
        let start = (offset - self.chunk_offset) as usize;
        let held = self.chunk.len() - start >= count;
        Ok(held.then(|| self.chunk.slice(start..start + count)))
    }

    fn fill(&mut self, offset: u64, count: usize) -> io::Result<()> {
        let wanted = (self.chunk_bytes.max(count) as u64).min(self.end - offset);
        let mut chunk = vec![0; wanted as usize];
        let read = read_full_at(self.file, &mut chunk, offset)?;
        chunk.truncate(read);
        if (read as u64) < wanted {
            self.end = offset + read as u64;
        }
        self.chunk = Bytes::from(chunk);
        self.chunk_offset = offset;
        Ok(())
    }
}
