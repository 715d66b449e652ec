//! Compresses bodies in a millionth of a second, and honestly.
//!
//! What differs between two bodies is stored, as gzip allows, and what is the same is compressed once.
//! So all bodies have one length, and only the checksum has to be finished for each. The receiver has
//! no such short cut.

use flate2::{Compress, Compression, Crc, FlushCompress};
use std::ops::Range;

use crate::body::Bodies;

/// A header without a name and a time.
const HEAD: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];
/// Bytes in front of what is stored: the kind of the block, its length, and the length's complement.
const STORED_HEAD: usize = 5;

/// What all compressed bodies have in common.
#[derive(Debug)]
pub struct Gzip {
    template: Vec<u8>,
    /// What is the same in the plain body.
    same: Range<usize>,
    /// Where the tail is in the compressed body.
    tail_at: usize,
    /// Per key: the checksum of everything before the tail.
    begun: Vec<Crc>,
}

impl Gzip {
    /// The compressed form of these bodies.
    ///
    /// # Errors
    /// When what is stored is longer than gzip allows.
    pub fn new(bodies: &mut Bodies) -> anyhow::Result<Self> {
        let same = bodies.same();
        let blank = bodies.blank().to_vec();
        let mut template = HEAD.to_vec();
        store(&mut template, &blank[..same.start], false)?;
        compress(&mut template, &blank[same.clone()])?;
        store(&mut template, &blank[same.end..], true)?;
        let tail_at = template.len() - (blank.len() - same.end);
        template.extend([0; 4]);
        template.extend(u32::try_from(blank.len())?.to_le_bytes());
        let begun = (0..bodies.keys()).map(|key| checksum(bodies.start(key))).collect();
        Ok(Self { template, same, tail_at, begun })
    }

    /// A compressed body to hand to [`Gzip::write`]; all have its length.
    pub fn blank(&self) -> &[u8] {
        &self.template
    }

    /// Turns `compressed`, which began as [`Gzip::blank`], into the form of `plain`, which has this key.
    pub fn write(&self, key: usize, plain: &[u8], compressed: &mut [u8]) {
        let Range { start, end } = self.same;
        compressed[HEAD.len() + STORED_HEAD..][..start].copy_from_slice(&plain[..start]);
        let tail = &plain[end..];
        compressed[self.tail_at..][..tail.len()].copy_from_slice(tail);
        let mut crc = Crc::new();
        crc.combine(&self.begun[key]);
        crc.combine(&checksum(tail));
        compressed[self.tail_at + tail.len()..][..4].copy_from_slice(&crc.sum().to_le_bytes());
    }
}

fn checksum(bytes: &[u8]) -> Crc {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc
}

/// A block of bytes as they are.
fn store(to: &mut Vec<u8>, bytes: &[u8], last: bool) -> anyhow::Result<()> {
    let length = u16::try_from(bytes.len())?;
    to.push(u8::from(last));
    to.extend(length.to_le_bytes());
    to.extend((!length).to_le_bytes());
    to.extend(bytes);
    Ok(())
}

/// Blocks of compressed bytes that end with a whole byte.
fn compress(to: &mut Vec<u8>, bytes: &[u8]) -> anyhow::Result<()> {
    let mut compressed = Vec::with_capacity(bytes.len() + 1024);
    let mut compress = Compress::new(Compression::default(), false);
    compress.compress_vec(bytes, &mut compressed, FlushCompress::Sync)?;
    let taken = usize::try_from(compress.total_in())?;
    anyhow::ensure!(taken == bytes.len(), "{taken} of {} bytes compressed", bytes.len());
    to.extend(compressed);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::body::Kinds;
    use flate2::read::GzDecoder;
    use std::io::Read;

    #[test]
    fn every_compressed_body_inflates_to_its_plain_one() {
        for bytes in [1024, 4096, 65_536] {
            let kinds = Kinds { keys: 7, types: 7, parts: 1 };
            let mut bodies = Bodies::of_kinds(bytes, kinds, b"a secret of the bench").unwrap();
            let gzip = Gzip::new(&mut bodies).unwrap();
            let (mut plain, mut compressed) = (bodies.blank().to_vec(), gzip.blank().to_vec());
            assert!(compressed.len() < bytes);
            for number in 0..20 {
                let key = bodies.key(0, number);
                bodies.write_with(key, &mut plain, number);
                gzip.write(key, &plain, &mut compressed);
                let mut inflated = Vec::new();
                GzDecoder::new(&compressed[..]).read_to_end(&mut inflated).unwrap();
                assert_eq!(inflated, plain, "number {number}");
            }
        }
    }
}
