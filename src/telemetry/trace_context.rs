//! The context of a trace, as W3C Trace Context writes it in `traceparent` (pure).
//!
//! A header or an attribute that is not written exactly so is no context: the recommendation has it ignored,
//! and a new trace begins.

use std::fmt;

/// The name of the header and of the CloudEvents extension that has a trace context.
pub const TRACEPARENT: &str = "traceparent";
/// The name of the header with what the tracing systems on the way have added.
pub const TRACESTATE: &str = "tracestate";
/// Most bytes of a `tracestate` that is passed on.
const STATE_BYTES_MAX: usize = 512;
/// Bytes of a `traceparent` of the version that is known.
const TEXT_BYTES: usize = 55;

/// The id that all spans of a trace share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// The id of one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

/// A span, by which others name it as their parent or link to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace that it belongs to.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether it is recorded.
    pub is_sampled: bool,
}

impl TraceContext {
    /// Reads the value of a `traceparent`. Of a later version it reads the part that is known.
    pub fn read(text: &str) -> Option<Self> {
        let known = text.get(..TEXT_BYTES)?;
        let (version, rest) = known.split_once('-')?;
        let (trace, rest) = rest.split_once('-')?;
        let (span, flags) = rest.split_once('-')?;
        let is_whole = match version {
            "ff" => false,
            "00" => text.len() == TEXT_BYTES,
            _ => text.len() == TEXT_BYTES || text[TEXT_BYTES..].starts_with('-'),
        };
        let ([_], trace, span) = (digits::<1>(version)?, digits(trace)?, digits(span)?);
        let [flags] = digits(flags)?;
        let is_valid = is_whole && trace != [0; 16] && span != [0; 8];
        is_valid.then_some(Self { trace: TraceId(trace), span: SpanId(span), is_sampled: flags & 1 == 1 })
    }

    /// The value of a `tracestate`, if it is one that can be passed on.
    pub fn state(text: &str) -> Option<Box<str>> {
        let fits = (1..=STATE_BYTES_MAX).contains(&text.len());
        (fits && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))).then(|| text.into())
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// So many bytes, written as lower-case hexadecimal digits.
fn digits<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * BYTES || !text.bytes().all(is_digit) {
        return None;
    }
    hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_written_as_it_was_read() {
        let context = TraceContext::read(TEXT).expect("a context");
        assert!(context.is_sampled);
        assert_eq!(context.to_string(), TEXT);
        assert_eq!(context.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let unsampled = TEXT.replace("-01", "-00");
        let context = TraceContext::read(&unsampled).expect("a context");
        assert!(!context.is_sampled);
        assert_eq!(context.to_string(), unsampled);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for (text, is_read) in [
            (TEXT.replacen("00", "01", 1), true),
            (format!("{}-more", TEXT.replacen("00", "cc", 1)), true),
            (format!("{}more", TEXT.replacen("00", "cc", 1)), false),
            (format!("{TEXT}-more"), false),
            (TEXT.replacen("00", "ff", 1), false),
        ] {
            assert_eq!(TraceContext::read(&text).is_some(), is_read, "{text}");
        }
    }

    #[test]
    fn what_is_not_written_exactly_so_is_no_context() {
        for text in [
            "",
            "00-1-1-01",
            "twice",
            &TEXT.to_uppercase(),
            &TEXT[..54],
            &TEXT.replace('-', "_"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-0xf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47é-00f067aa0ba902b7-01",
            &"é".repeat(55),
        ] {
            assert_eq!(TraceContext::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_state_is_short_and_printable() {
        assert_eq!(TraceContext::state("a=1,b=2").as_deref(), Some("a=1,b=2"));
        for text in ["", "a=\u{e9}", "a=\n", &"x".repeat(513)] {
            assert_eq!(TraceContext::state(text), None, "{text:?}");
        }
    }
}
