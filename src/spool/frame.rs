//! A frame: one entry on disk, with a header that verifies by itself and then the payload.
//!
//! Both checksums are seeded with the segment's random id, so the blocks of a deleted segment, or
//! bytes that a sender puts in a body, never look like a frame of this segment. The header has its
//! own checksum: its length can be trusted before the payload is read, a damaged payload costs
//! exactly one entry, and looking for the next frame behind damage reads 52 bytes a candidate.
//!
//! Layout, little-endian: magic 4, payload length 4, position 8, arrival 8, duplicate key 16,
//! flags 4, payload CRC32C 4, CRC32C of the 48 bytes before it 4.

use crc32c::{crc32c, crc32c_append};

use super::codec;
use crate::dedup::DuplicateKey;
use crate::event::{Entry, Position, Timestamp};

/// Bytes in front of each payload.
pub(super) const FRAME_HEADER_BYTES: usize = 52;

/// What every frame begins with; not ASCII and not UTF-8, so that text cannot contain it.
pub(super) const MAGIC: [u8; 4] = [0xfb, 0xf2, 0xa3, 0x9e];

const CHECKED_BYTES: usize = FRAME_HEADER_BYTES - 4;
const HAS_KEY: u32 = 1;

/// The value with which the checksums of one segment's frames, and of its footer, start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed(u32);

impl Seed {
    /// The seed of the segment with this id.
    pub(super) fn of(segment_id: u64) -> Self {
        Self(crc32c(&segment_id.to_le_bytes()))
    }

    /// The checksum of these bytes, if they are a part of the segment.
    pub(super) fn checksum(self, bytes: &[u8]) -> u32 {
        crc32c_append(self.0, bytes)
    }
}

/// A frame header whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) payload_len: usize,
    pub(super) position: Position,
    pub(super) arrived: Timestamp,
    pub(super) key: Option<DuplicateKey>,
    payload_crc: u32,
}

impl FrameHeader {
    /// The header at the start of `bytes`; `None` if none verifies there.
    pub(super) fn parse(bytes: &[u8], seed: Seed) -> Option<Self> {
        let bytes = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
        let (checked, crc) = bytes.split_at(CHECKED_BYTES);
        let genuine = checked.starts_with(&MAGIC) && crc == seed.checksum(checked).to_le_bytes();
        genuine.then(|| Self::parse_unchecked(bytes))
    }

    /// The header at the start of bytes that this process wrote itself and still holds in memory.
    pub(super) fn parse_unchecked(bytes: &[u8; FRAME_HEADER_BYTES]) -> Self {
        let flags = u32::from_le_bytes(field(bytes, 40));
        Self {
            payload_len: u32::from_le_bytes(field(bytes, 4)) as usize,
            position: Position(u64::from_le_bytes(field(bytes, 8))),
            arrived: Timestamp(i64::from_le_bytes(field(bytes, 16))),
            key: (flags & HAS_KEY != 0).then(|| DuplicateKey(field(bytes, 24))),
            payload_crc: u32::from_le_bytes(field(bytes, 44)),
        }
    }

    /// Whether these bytes are the payload that the header was written for.
    pub(super) fn verifies(&self, payload: &[u8], seed: Seed) -> bool {
        seed.checksum(payload) == self.payload_crc
    }

    /// Bytes of header and payload together.
    pub(super) fn frame_len(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload_len
    }
}

fn field<const N: usize>(bytes: &[u8; FRAME_HEADER_BYTES], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("every field lies within the header")
}

/// Appends the entry's frame to `out` and returns its length in bytes.
///
/// The caller cuts it off again if the payload is longer than [`super::ENTRY_BYTES_MAX`].
pub(super) fn encode(
    entry: &Entry,
    position: Position,
    key: Option<DuplicateKey>,
    seed: Seed,
    out: &mut Vec<u8>,
) -> usize {
    let start = out.len();
    out.resize(start + FRAME_HEADER_BYTES, 0);
    codec::encode(entry, out);
    let (header, payload) = out[start..].split_at_mut(FRAME_HEADER_BYTES);
    header[0..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&position.0.to_le_bytes());
    header[16..24].copy_from_slice(&entry.arrived().0.to_le_bytes());
    if let Some(DuplicateKey(key)) = key {
        header[24..40].copy_from_slice(&key);
        header[40..44].copy_from_slice(&HAS_KEY.to_le_bytes());
    }
    header[44..48].copy_from_slice(&seed.checksum(payload).to_le_bytes());
    let crc = seed.checksum(&header[..CHECKED_BYTES]);
    header[CHECKED_BYTES..].copy_from_slice(&crc.to_le_bytes());
    FRAME_HEADER_BYTES + payload.len()
}
