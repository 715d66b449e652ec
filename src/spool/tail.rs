//! The tail: the newest groups, kept in memory as they were written.
//!
//! A reader that keeps up with the log gets entries whose texts and bodies are slices of these blocks: no
//! disk read, no copy, no checksum. The first reader decodes a block, and all others share what it decoded.
//! The tail is bounded in bytes; older groups are read from disk. A reader that keeps an entry keeps its
//! whole block in memory.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::codec;
use super::frame::{FRAME_HEADER_BYTES, FrameHeader};
use crate::event::{Entry, Position};

/// About how much memory a decoded entry takes beside its bytes.
const DECODED_BYTES: usize = 640;

/// The frames of one group, one after the other. Clones share the frames and what was decoded of them.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) first: Position,
    pub(super) last: Position,
    bytes: Bytes,
    entries: Arc<OnceLock<Vec<BlockEntry>>>,
}

/// One entry of a block.
#[derive(Debug)]
pub(super) struct BlockEntry {
    pub(super) position: Position,
    pub(super) payload_len: usize,
    /// `None` if the payload cannot be decoded.
    pub(super) entry: Option<Entry>,
}

impl Block {
    /// The block of the frames in `bytes`, which hold the entries at these positions.
    pub(super) fn new(first: Position, last: Position, bytes: Bytes) -> Self {
        Self { first, last, bytes, entries: Arc::default() }
    }

    /// The block's entries, in order. The first call decodes them for all readers.
    pub(super) fn entries(&self) -> &[BlockEntry] {
        self.entries.get_or_init(|| {
            let decoded = |(header, payload): (FrameHeader, Bytes)| BlockEntry {
                position: header.position,
                payload_len: payload.len(),
                entry: codec::decode(payload).ok(),
            };
            self.frames().map(decoded).collect()
        })
    }

    /// Bytes of memory that the block takes once its entries are decoded.
    fn memory(&self) -> usize {
        self.bytes.len() + (self.last.0 + 1 - self.first.0) as usize * DECODED_BYTES
    }

    /// The headers and payloads of the block's frames, in order.
    pub(super) fn frames(&self) -> impl Iterator<Item = (FrameHeader, Bytes)> + '_ {
        let mut offset = 0;
        std::iter::from_fn(move || {
            let bytes = self.bytes[offset..].first_chunk::<FRAME_HEADER_BYTES>()?;
            let header = FrameHeader::parse_unchecked(bytes);
            let payload = offset + FRAME_HEADER_BYTES..offset + header.frame_len();
            offset = payload.end;
            Some((header, self.bytes.slice(payload)))
        })
    }
}

/// The newest blocks, oldest first.
#[derive(Debug)]
pub(super) struct Tail {
    blocks: VecDeque<Block>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { blocks: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds a durable block, and drops the oldest ones while the tail is larger than its bound.
    pub(super) fn push(&mut self, block: Block) {
        self.bytes += block.memory();
        self.blocks.push_back(block);
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.blocks.pop_front()
        {
            self.bytes -= oldest.memory();
        }
    }

    /// The block with the entry after `after`, and the blocks behind it, up to about `bytes_max`. Empty if
    /// that entry is not in memory.
    pub(super) fn behind(&self, after: Position, bytes_max: usize) -> Vec<Block> {
        let start = self.blocks.partition_point(|block| block.last <= after);
        if self.blocks.get(start).is_none_or(|block| block.first > after.next()) {
            return Vec::new();
        }
        let mut bytes = 0;
        let wanted = self.blocks.range(start..).take_while(|block| {
            let enough = bytes >= bytes_max;
            bytes += block.bytes.len();
            !enough
        });
        wanted.cloned().collect()
    }
}
