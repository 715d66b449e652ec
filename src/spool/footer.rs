//! The footer of a closed segment: what a start needs to know of it without reading its frames.
//!
//! A footer begins behind the last frame and ends with the file. It is written when the segment is closed,
//! and only if the segment has a whole entry at every position from its first to its last. Nothing waits
//! until it is durable: a footer that is missing, torn or damaged means that the segment is scanned. Its
//! checksums are seeded like those of the frames, so the footer of another segment, or bytes that a sender
//! made, never pass for it.
//!
//! Layout, little-endian: the duplicate keys by position, 24 bytes each (key 16, arrival 8); the index, 16
//! bytes a point (position 8, offset 8); the trailer, 64 bytes (magic 8, offset of the footer 8, last
//! position 8, newest moment 8, number of keys 8, number of points 8, CRC32C of the keys 4, CRC32C of the
//! index 4, zero 4, CRC32C of the 60 bytes before it 4). The keys stand apart, because a start reads them
//! only of the segments that the duplicate window needs.

use std::io;
use std::ops::Range;

use super::frame::Seed;
use super::segments::SegmentInfo;
use crate::dedup::DuplicateKey;
use crate::disk::{DiskFile, read_full_at};
use crate::event::{Position, Timestamp};

const MAGIC: [u8; 8] = *b"fanclose";
const TRAILER_BYTES: usize = 64;
const CHECKED_BYTES: usize = TRAILER_BYTES - 4;
const KEY_BYTES: usize = 24;
const POINT_BYTES: usize = 16;

/// Bytes read from a segment's end at once: the trailer and the index of a segment of up to 128 MiB.
pub(super) const END_BYTES: u64 = 32 * 1024;

/// What the footer of a segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// The offset at which the frames end and the footer begins.
    pub(super) begin: u64,
    /// The position of the segment's last entry. There is an entry at each position up to it.
    pub(super) last: Position,
    /// The latest of the segment's making and the arrivals of its entries.
    pub(super) newest: Timestamp,
    /// The sparse index: positions, and the offsets of their frames.
    pub(super) index: Vec<(Position, u64)>,
    /// Whether the index verifies; it is empty otherwise.
    pub(super) has_index: bool,
    /// How many entries have a duplicate key.
    pub(super) keys: u64,
    keys_crc: u32,
}

impl Footer {
    /// Reads the footer at the end of a segment of this length; `None` if none verifies there. Does not read
    /// the keys.
    pub(super) fn read(file: &dyn DiskFile, seed: Seed, file_bytes: u64) -> io::Result<Option<Self>> {
        let end_begin = file_bytes.saturating_sub(END_BYTES);
        let Some(end) = read_range(file, end_begin..file_bytes)? else { return Ok(None) };
        let Some(trailer) = end.last_chunk().and_then(|bytes| Trailer::parse(bytes, seed)) else {
            return Ok(None);
        };
        let Some(place) = trailer.place_of_index(file_bytes) else { return Ok(None) };
        let index = match place.start.checked_sub(end_begin) {
            Some(behind) => end.get(behind as usize..end.len() - TRAILER_BYTES).map(<[u8]>::to_vec),
            None => read_range(file, place)?,
        };
        // Without it the trailer still tells where the frames end, and which position is the last.
        let index = index.filter(|index| seed.checksum(index) == trailer.index_crc);
        Ok(Some(trailer.with(index.as_deref())))
    }

    /// How many entries of the segment with this base have no duplicate key.
    pub(super) fn keyless(&self, base: Position) -> u64 {
        self.last.next().0.saturating_sub(base.0).saturating_sub(self.keys)
    }

    /// Bytes of the duplicate keys.
    pub(super) fn keys_bytes(&self) -> u64 {
        self.keys * KEY_BYTES as u64
    }

    /// Reads the duplicate keys; `None` if they do not verify.
    pub(super) fn read_keys(&self, file: &dyn DiskFile, seed: Seed) -> io::Result<Option<FooterKeys>> {
        let keys = read_range(file, self.begin..self.begin + self.keys_bytes())?;
        Ok(keys.filter(|keys| seed.checksum(keys) == self.keys_crc).map(FooterKeys))
    }
}

/// The bytes of a range; `None` if the file ends within it.
fn read_range(file: &dyn DiskFile, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    let read = read_full_at(file, &mut bytes, range.start)?;
    Ok((read == bytes.len()).then_some(bytes))
}

/// The duplicate keys of a segment as they are in its footer.
#[derive(Debug, Default)]
pub(super) struct FooterKeys(Vec<u8>);

impl FooterKeys {
    fn push(&mut self, DuplicateKey(key): DuplicateKey, arrived: Timestamp) {
        self.0.extend_from_slice(&key);
        self.0.extend_from_slice(&arrived.0.to_le_bytes());
    }

    /// The keys by position, each with the arrival of its entry.
    pub(super) fn iter(&self) -> impl Iterator<Item = (DuplicateKey, Timestamp)> + '_ {
        let (keys, _) = self.0.as_chunks::<KEY_BYTES>();
        keys.iter()
            .map(|bytes| (DuplicateKey(field(bytes, 0)), Timestamp(i64::from_le_bytes(field(bytes, 16)))))
    }

    /// The earliest and the latest arrival; `None` without a key.
    pub(super) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let arrivals = || self.iter().map(|(_, arrived)| arrived);
        Some((arrivals().min()?, arrivals().max()?))
    }
}

/// What the footer of a segment will be made of, beside what is known of the segment itself: collected
/// while it is written, or while a start scans it. Takes 24 bytes of memory for each entry with a key.
#[derive(Debug)]
pub(super) struct FooterDraft {
    base: Position,
    /// How many entries were noted.
    entries: u64,
    keys: FooterKeys,
    newest: Timestamp,
}

impl FooterDraft {
    /// The draft for a segment that was made at this moment.
    pub(super) fn new(base: Position, created: Timestamp) -> Self {
        Self { base, entries: 0, keys: FooterKeys::default(), newest: created }
    }

    /// Notes the next entry of the segment.
    pub(super) fn note(&mut self, key: Option<DuplicateKey>, arrived: Timestamp) {
        self.entries += 1;
        self.newest = self.newest.max(arrived);
        if let Some(key) = key {
            self.keys.push(key, arrived);
        }
    }

    /// The bytes of the footer; `None` if every start must scan the segment, because some position has no
    /// entry, or if the draft is not that of the segment.
    pub(super) fn finish(self, seed: Seed, segment: &SegmentInfo) -> Option<Vec<u8>> {
        let Self { base, entries, keys: FooterKeys(mut bytes), newest } = self;
        let is_its_own = (base, entries) == (segment.base, segment.entries);
        if !is_its_own || entries == 0 || base.0 + entries != segment.last.next().0 {
            return None;
        }
        let keys = bytes.len();
        for (position, offset) in segment.index() {
            bytes.extend_from_slice(&position.0.to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
        }
        let trailer = Trailer {
            begin: segment.frames_end(),
            last: segment.last,
            newest,
            keys: (keys / KEY_BYTES) as u64,
            points: segment.index().len() as u64,
            keys_crc: seed.checksum(&bytes[..keys]),
            index_crc: seed.checksum(&bytes[keys..]),
        };
        bytes.extend_from_slice(&trailer.encode(seed));
        Some(bytes)
    }
}

/// The end of a footer.
struct Trailer {
    begin: u64,
    last: Position,
    newest: Timestamp,
    keys: u64,
    points: u64,
    keys_crc: u32,
    index_crc: u32,
}

impl Trailer {
    fn encode(&self, seed: Seed) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.begin.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.last.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.newest.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.keys.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.points.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.keys_crc.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.index_crc.to_le_bytes());
        let crc = seed.checksum(&bytes[..CHECKED_BYTES]);
        bytes[CHECKED_BYTES..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8; TRAILER_BYTES], seed: Seed) -> Option<Self> {
        let (checked, crc) = bytes.split_at(CHECKED_BYTES);
        let genuine = checked.starts_with(&MAGIC) && crc == seed.checksum(checked).to_le_bytes();
        genuine.then(|| Self {
            begin: u64::from_le_bytes(field(bytes, 8)),
            last: Position(u64::from_le_bytes(field(bytes, 16))),
            newest: Timestamp(i64::from_le_bytes(field(bytes, 24))),
            keys: u64::from_le_bytes(field(bytes, 32)),
            points: u64::from_le_bytes(field(bytes, 40)),
            keys_crc: u32::from_le_bytes(field(bytes, 48)),
            index_crc: u32::from_le_bytes(field(bytes, 52)),
        })
    }

    /// Where the index is in a file of this length; `None` if the footer does not end with the file.
    fn place_of_index(&self, file_bytes: u64) -> Option<Range<u64>> {
        let start = self.keys.checked_mul(KEY_BYTES as u64)?.checked_add(self.begin)?;
        let end = self.points.checked_mul(POINT_BYTES as u64)?.checked_add(start)?;
        (end.checked_add(TRAILER_BYTES as u64)? == file_bytes).then_some(start..end)
    }

    fn with(self, index: Option<&[u8]>) -> Footer {
        let (points, _) = index.unwrap_or_default().as_chunks::<POINT_BYTES>();
        let point = |bytes: &[u8; POINT_BYTES]| {
            (Position(u64::from_le_bytes(field(bytes, 0))), u64::from_le_bytes(field(bytes, 8)))
        };
        Footer {
            begin: self.begin,
            last: self.last,
            newest: self.newest,
            index: points.iter().map(point).collect(),
            has_index: index.is_some(),
            keys: self.keys,
            keys_crc: self.keys_crc,
        }
    }
}

fn field<const N: usize, const LEN: usize>(bytes: &[u8; LEN], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("every field lies within its layout")
}
