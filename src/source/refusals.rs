//! What is noted of a request that is refused, so that its sender or its secret can be mended: its size, its
//! digest and which headers it had. Never a body, and no value that could be a secret.
//!
//! Any stranger can have a request refused. So what that costs is bounded: of one source, fifty refusals a
//! second are noted, and beyond them no body is digested and no header looked at.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::HeaderMap;
use http_body::Body;
use sha2::{Digest, Sha256};

use super::SourceIntake;
use crate::provider::Definition;

/// Most refusals of one source that are noted in a second.
const NOTED_PER_SECOND: u32 = 50;

/// What is known of a request, in case it is refused.
#[derive(Debug)]
pub(super) struct Evidence<'r> {
    /// Name of the source; empty if no source has the path.
    pub(super) source: &'r str,
    pub(super) definition: Option<&'r Definition>,
    pub(super) headers: &'r HeaderMap,
    limit: &'r RefusalLimit,
    /// Bytes of the body, as the head states them.
    stated: Option<u64>,
    body: OnceLock<SentBody>,
    /// Whether the refusal is noted, and then how many before it were not.
    noted: OnceLock<Option<u32>>,
}

/// A body as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SentBody {
    /// Its bytes, read or at least stated.
    pub(super) bytes: Option<u64>,
    /// Its SHA-256, if it was read and does not prove its sender.
    pub(super) sha256: Option<[u8; 32]>,
}

impl<'r> Evidence<'r> {
    /// What is known of a request to a source before its body is read.
    pub(super) fn new(source: &'r SourceIntake, headers: &'r HeaderMap, body: &impl Body) -> Self {
        let (name, definition) = (source.name(), Some(&*source.definition));
        Self { source: name, definition, ..Self::stray(&source.refusals, headers, body) }
    }

    /// What is known of a request to a path that no source has.
    pub(super) fn stray(limit: &'r RefusalLimit, headers: &'r HeaderMap, body: &impl Body) -> Self {
        let stated = body.size_hint().exact();
        let (body, noted) = (OnceLock::new(), OnceLock::new());
        Self { source: "", definition: None, headers, limit, stated, body, noted }
    }

    /// Takes the digest of a body that was read and is refused, if the refusal is noted.
    pub(super) fn digest(&self, body: &[u8]) {
        let sha256 = self.noted().is_some().then(|| Sha256::digest(body).into());
        // A second call is ignored.
        let _ = self.body.set(SentBody { bytes: Some(body.len() as u64), sha256 });
    }

    /// The body, as far as it is known.
    pub(super) fn body(&self) -> SentBody {
        self.body.get().copied().unwrap_or(SentBody { bytes: self.stated, sha256: None })
    }

    /// Whether the refusal is noted, and then how many before it were not. The first call decides.
    pub(super) fn noted(&self) -> Option<u32> {
        *self.noted.get_or_init(|| self.limit.admit())
    }
}

/// Counts the refusals of one source in the present second.
#[derive(Debug)]
pub(super) struct RefusalLimit {
    since: Instant,
    /// The second in the upper half, the refusals in it in the lower half.
    counted: AtomicU64,
}

impl RefusalLimit {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), counted: AtomicU64::new(0) }
    }

    fn admit(&self) -> Option<u32> {
        self.admit_in(self.since.elapsed().as_secs())
    }

    /// Whether a refusal in this second is noted. The first one of a second says how many before it were not.
    fn admit_in(&self, second: u64) -> Option<u32> {
        let split = |counted: u64| (counted >> 32, counted as u32);
        let next = |counted| match split(counted) {
            (last, _) if last < second => Some(second << 32 | 1),
            // A thread that was late counts in the second of the others.
            (last, count) => Some(last << 32 | u64::from(count.saturating_add(1))),
        };
        let before = self.counted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let (last, count) = split(before.unwrap_or_else(|unchanged| unchanged));
        match last < second {
            true => Some(count.saturating_sub(NOTED_PER_SECOND)),
            false => (count < NOTED_PER_SECOND).then_some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    fn body(text: &'static str) -> Full<Bytes> {
        Full::new(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_flood_of_refusals_costs_its_sender_no_digest_beyond_fifty_a_second() {
        let (limit, headers) = (RefusalLimit::new(), HeaderMap::new());
        let digested = |second: u64| {
            let evidence = Evidence::stray(&limit, &headers, &body("forged"));
            let _ = evidence.noted.set(limit.admit_in(second));
            evidence.digest(b"forged");
            assert_eq!(evidence.body().bytes, Some(6));
            (evidence.noted(), evidence.body().sha256.is_some())
        };
        for second in [7, 8] {
            let flood: Vec<_> = (0..1000).map(|_| digested(second)).collect();
            let unsaid = if second == 8 { 950 } else { 0 };
            assert_eq!(flood[0], (Some(unsaid), true), "second {second}");
            assert!(flood[1..50].iter().all(|one| *one == (Some(0), true)));
            assert!(flood[50..].iter().all(|one| *one == (None, false)));
        }
        assert_eq!(digested(7), (None, false), "a thread that was late opens no second again");
        assert_eq!(digested(100), (Some(951), true));
    }

    #[test]
    fn a_body_that_was_not_read_has_the_size_that_its_head_states_and_no_digest() {
        let (limit, headers) = (RefusalLimit::new(), HeaderMap::new());
        let evidence = Evidence::stray(&limit, &headers, &body("never read"));
        assert_eq!(evidence.body(), SentBody { bytes: Some(10), sha256: None });
        evidence.digest(b"abc");
        let sha256 = evidence.body().sha256.map(hex::encode);
        assert_eq!(
            sha256.as_deref(),
            Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
    }
}
