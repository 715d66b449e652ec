//! Undoes the transport encoding: the received bytes become the signed ones.
//!
//! gzip is recognised by its first bytes, whatever the header says, because proxies decompress bodies
//! and leave the header, or remove the header and leave the body; JSON cannot begin with these bytes.
//! This happens before the signature is checked, so size and ratio are limited. A plain body is not
//! copied.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::{HeaderMap, header::CONTENT_ENCODING};

use super::DeliveryRefusal;

/// The first bytes of gzip.
pub(super) const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
/// Bodies up to this size after decompression are exempt from the ratio, because short ones compress
/// well.
const RATIO_FREE_BYTES: usize = 64 * 1024;
/// Initial size of the buffer for decompression, in bytes.
const STEP_BYTES: usize = 16 * 1024;

/// Limits on decompression.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Largest body after decompression, and largest plain one, in bytes.
    pub inflated_bytes_max: usize,
    /// Largest ratio of decompressed to received bytes, for bodies above 64 KiB after decompression.
    pub inflate_ratio_max: usize,
}

/// The encodings that the headers allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Plain, or gzip if the body begins like gzip.
    Detect,
    /// Plain, whatever the body begins with.
    Plain,
}

/// Reads the content encoding. Supported are none and, if the provider compresses, gzip.
pub(super) fn encoding(headers: &HeaderMap, gzip: bool) -> Result<Encoding, DeliveryRefusal> {
    let mut named = headers.get_all(CONTENT_ENCODING).iter();
    let name = named.next().map_or(&b"identity"[..], |value| value.as_bytes().trim_ascii());
    let plain = name.is_empty() || name.eq_ignore_ascii_case(b"identity");
    let known = plain || (gzip && name.eq_ignore_ascii_case(b"gzip"));
    match (known && named.next().is_none(), gzip) {
        (false, _) => Err(DeliveryRefusal::UnsupportedEncoding),
        (true, true) => Ok(Encoding::Detect),
        (true, false) => Ok(Encoding::Plain),
    }
}

/// The signed bytes.
///
/// # Errors
/// [`DeliveryRefusal::TooLarge`] above the limits, [`DeliveryRefusal::Undecodable`] for invalid gzip or bytes
/// after it.
pub(super) fn decode(body: Bytes, encoding: Encoding, limits: &BodyLimits) -> Result<Bytes, DeliveryRefusal> {
    if encoding == Encoding::Detect && body.starts_with(&GZIP_MAGIC) {
        return inflate(&body, limits);
    }
    if body.len() > limits.inflated_bytes_max { Err(DeliveryRefusal::TooLarge) } else { Ok(body) }
}

/// A body that somebody has saved, plain or gzip, as the plain bytes; also of a provider that sends no gzip.
///
/// # Errors
/// [`DeliveryRefusal::TooLarge`] above the limits, [`DeliveryRefusal::Undecodable`] for invalid gzip.
pub fn plain_body(body: Bytes, limits: &BodyLimits) -> Result<Bytes, DeliveryRefusal> {
    decode(body, Encoding::Detect, limits)
}

/// Bytes to process when a body is decoded, roughly. JSON compresses to about a tenth. A hostile body
/// can be more, up to the ratio limit, and still takes less than a millisecond when it is estimated
/// too low.
pub fn body_heaviness(body: &[u8]) -> usize {
    if body.starts_with(&GZIP_MAGIC) { body.len().saturating_mul(10) } else { body.len() }
}

/// Most bytes to process when a hostile body is decoded.
pub fn body_heaviness_max(body: &[u8], limits: &BodyLimits) -> usize {
    if body.starts_with(&GZIP_MAGIC) { limits.inflated_max(body) } else { body.len() }
}

impl BodyLimits {
    /// Largest size of this body after decompression.
    fn inflated_max(&self, body: &[u8]) -> usize {
        let ratio_bytes_max = body.len().saturating_mul(self.inflate_ratio_max).max(RATIO_FREE_BYTES);
        self.inflated_bytes_max.min(ratio_bytes_max)
    }
}

pub(super) fn inflate(body: &[u8], limits: &BodyLimits) -> Result<Bytes, DeliveryRefusal> {
    let bytes_max = limits.inflated_max(body);
    // The decoder continues with the next gzip member until the input ends, and fails on anything
    // else.
    let mut decoder = MultiGzDecoder::new(body);
    let mut inflated = Vec::with_capacity(STEP_BYTES.min(bytes_max));
    // One byte above the limit shows that a body exceeds it.
    let bound = (bytes_max as u64).saturating_add(1);
    decoder
        .by_ref()
        .take(bound)
        .read_to_end(&mut inflated)
        .map_err(|_| DeliveryRefusal::Undecodable("bad_encoding"))?;
    if inflated.len() > bytes_max { Err(DeliveryRefusal::TooLarge) } else { Ok(inflated.into()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use http::HeaderValue;

    use super::*;

    const LIMITS: BodyLimits = BodyLimits { inflated_bytes_max: 5 << 20, inflate_ratio_max: 100 };
    const BROKEN: DeliveryRefusal = DeliveryRefusal::Undecodable("bad_encoding");

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(body: impl Into<Bytes>) -> Result<Bytes, DeliveryRefusal> {
        decode(body.into(), Encoding::Detect, &LIMITS)
    }

    fn named(values: &[&'static str]) -> Result<Encoding, DeliveryRefusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        encoding(&headers, true)
    }

    #[test]
    fn a_plain_body_passes_without_a_copy() {
        let body = Bytes::from_static(b"{}");
        assert_eq!(decoded(body.clone()).unwrap().as_ptr(), body.as_ptr());
    }

    #[test]
    fn a_gzip_body_is_inflated_whatever_the_header_says() {
        assert_eq!(decoded(gzip(b"{\"a\":1}")).unwrap(), "{\"a\":1}");
    }

    #[test]
    fn a_body_that_inflates_weighs_more_than_its_bytes() {
        assert_eq!(body_heaviness(b"{\"a\":1}"), 7);
        let body = gzip(b"{\"a\":1}");
        assert_eq!(body_heaviness(&body), 10 * body.len());
        assert_eq!(body_heaviness_max(b"{\"a\":1}", &LIMITS), 7);
        assert_eq!(body_heaviness_max(&body, &LIMITS), 64 * 1024, "as much as any may inflate to");
        assert_eq!(body_heaviness_max(&[&body[..], &[0; 1000]].concat(), &LIMITS), 100 * (1000 + body.len()));
        assert_eq!(body_heaviness_max(&[&body[..], &[0; 100_000]].concat(), &LIMITS), 5 << 20);
    }

    #[test]
    fn a_provider_that_never_compresses_gets_its_bytes_as_they_are() {
        let body = Bytes::from(gzip(b"{}"));
        assert_eq!(decode(body.clone(), Encoding::Plain, &LIMITS).unwrap(), body);
    }

    #[test]
    fn two_members_are_one_body() {
        let body = [gzip(b"{\"a\":"), gzip(b"1}")].concat();
        assert_eq!(decoded(body).unwrap(), "{\"a\":1}");
    }

    #[test]
    fn gzip_that_is_broken_anywhere_is_undecodable() {
        let whole = gzip(b"{\"type\":\"message.new\"}");
        for len in 2..whole.len() {
            assert_eq!(decoded(whole[..len].to_vec()), Err(BROKEN), "cut at {len}");
        }
        for garbage in [&b"x"[..], b"\0", b"\x1f\x8b", b"{}"] {
            assert_eq!(decoded([&whole, garbage].concat()), Err(BROKEN), "followed by {garbage:?}");
        }
        assert_eq!(decoded(&b"\x1f\x8bnot gzip at all"[..]), Err(BROKEN));
        let mut flipped = whole.clone();
        let last = flipped.len() - 8;
        flipped[last] ^= 1;
        assert_eq!(decoded(flipped), Err(BROKEN), "wrong checksum");
    }

    #[test]
    fn a_bomb_stops_at_the_ratio_and_at_the_size() {
        let zeros = vec![b' '; 6 << 20];
        assert_eq!(decoded(gzip(&zeros)), Err(DeliveryRefusal::TooLarge), "ratio");
        let loose = BodyLimits { inflate_ratio_max: 100_000, ..LIMITS };
        assert_eq!(
            decode(gzip(&zeros).into(), Encoding::Detect, &loose),
            Err(DeliveryRefusal::TooLarge),
            "size"
        );
        assert_eq!(decoded(gzip(&zeros[..64 * 1024])).map(|body| body.len()), Ok(64 * 1024));
        assert_eq!(
            decoded(gzip(&zeros[..64 * 1024 + 1])),
            Err(DeliveryRefusal::TooLarge),
            "beyond the free part"
        );
    }

    /// Whoever sends it needs no secret: inflating comes before the signature. A decoder that makes
    /// its tables anew for every block takes four seconds and more.
    #[test]
    fn two_megabytes_that_inflate_to_nothing_are_read_in_a_moment() {
        let (head, tail) = (&gzip(b"")[..10], &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        // Four empty blocks of ten bits each.
        let blocks = [0x02, 0x08, 0x20, 0x80, 0x00].repeat(400_000);
        // The thread's own time: what else the machine does is not measured.
        let spent = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let start = spent();
        assert_eq!(decoded([head, &blocks, tail].concat()).unwrap(), "");
        let seconds = (spent() - start).tv_sec;
        assert!(seconds < 2, "took {seconds} s and more");
    }

    #[test]
    fn a_body_at_its_bound_passes_and_one_byte_more_does_not() {
        let limits = BodyLimits { inflated_bytes_max: 10, inflate_ratio_max: 100 };
        let size = |body: Vec<u8>| decode(body.into(), Encoding::Detect, &limits).map(|body| body.len());
        assert_eq!(size(vec![b' '; 10]), Ok(10));
        assert_eq!(size(vec![b' '; 11]), Err(DeliveryRefusal::TooLarge));
        assert_eq!(size(gzip(&[b' '; 10])), Ok(10));
        assert_eq!(size(gzip(&[b' '; 11])), Err(DeliveryRefusal::TooLarge));
    }

    #[test]
    fn content_encodings_other_than_gzip_and_none_are_unsupported() {
        for known in [&[][..], &["gzip"], &["GZIP"], &["identity"], &[""]] {
            assert_eq!(named(known), Ok(Encoding::Detect), "{known:?}");
        }
        for unknown in [
            &["br"][..],
            &["zstd"],
            &["deflate"],
            &["gzip, br"],
            &["gzip", "gzip"],
            &["identity;q=0"],
            &["x-gzip"],
        ] {
            assert_eq!(named(unknown), Err(DeliveryRefusal::UnsupportedEncoding), "{unknown:?}");
        }
    }
}
