//! The tail: the newest groups, kept in memory as they were written.
//!
//! A reader that keeps up with the log gets slices of these blocks: no disk read, no copy, no
//! checksum. The tail is bounded in bytes; older groups are read from disk. A reader that keeps an entry
//! keeps its whole block in memory.

use std::collections::VecDeque;

use bytes::Bytes;

use super::frame::{FRAME_HEADER_BYTES, FrameHeader};
use crate::event::Position;

/// The frames of one group, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) first: Position,
    pub(super) last: Position,
    pub(super) bytes: Bytes,
}

impl Block {
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
        self.bytes += block.bytes.len();
        self.blocks.push_back(block);
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.blocks.pop_front()
        {
            self.bytes -= oldest.bytes.len();
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
