//! Follows the message framing of one connection's incoming bytes, beside the HTTP parser (pure).
//!
//! The parser drops a `Content-Length` that comes together with a `Transfer-Encoding` before
//! anyone can see that both were sent, which is the mark of request smuggling. So [`Framing`] reads the
//! heads as well, for this alone. It skips a body of stated length by counting. A head with a
//! `Transfer-Encoding` is the last one that it follows: the connection is closed after that request, so
//! there is no second reader of chunks that could understand them in another way. Any other fault of a
//! head is left to the parser, which refuses it and closes.

use memchr::memchr;

/// What is known of a connection's incoming bytes so far.
#[derive(Debug, Default)]
pub(in crate::source) struct Framing {
    stage: Stage,
    /// The beginning of a head's line whose end has not arrived. The parser stops reading at its head
    /// limit, which bounds this buffer too.
    line: Vec<u8>,
    heads: u64,
    transfer: Option<Transfer>,
}

/// Where in a message the next byte falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::source) enum Stage {
    /// Between messages.
    #[default]
    Rest,
    /// In a head.
    Head(Head),
    /// In a body with this many bytes to come.
    Body(u64),
    /// After a head with a `Transfer-Encoding`: the bytes are no longer followed.
    Unfollowed,
}

/// What a head has said so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::source) struct Head {
    begun: bool,
    length: Option<u64>,
    transfer_encoding: bool,
}

/// How a head with a `Transfer-Encoding` frames its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Transfer {
    /// By the `Transfer-Encoding` alone.
    Plain,
    /// By a `Content-Length` as well.
    WithLength,
}

impl Framing {
    /// Reads the next bytes of the connection.
    pub(in crate::source) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.stage {
                Stage::Rest => self.stage = Stage::Head(Head::default()),
                Stage::Head(head) => bytes = self.follow_line(head, bytes),
                Stage::Body(left) => {
                    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[skipped..];
                    self.stage = body(left - skipped as u64);
                }
                Stage::Unfollowed => return,
            }
        }
    }

    /// Where in a message the next byte falls.
    pub(in crate::source) fn stage(&self) -> Stage {
        self.stage
    }

    /// How many heads have been read to their end.
    pub(in crate::source) fn heads(&self) -> u64 {
        self.heads
    }

    /// The framing of the head with a `Transfer-Encoding`, if there was one: it is the last head followed.
    pub(in crate::source) fn transfer(&self) -> Option<Transfer> {
        self.transfer
    }

    /// Reads at most one line of a head; returns the bytes after it.
    fn follow_line<'a>(&mut self, mut head: Head, bytes: &'a [u8]) -> &'a [u8] {
        let Some((line, rest)) = split_line(bytes) else {
            self.line.extend_from_slice(bytes);
            return &[];
        };
        let ended = if self.line.is_empty() {
            head.read(line)
        } else {
            self.line.extend_from_slice(line);
            let ended = head.read(&self.line);
            self.line.clear();
            ended
        };
        self.stage = if ended { self.end(head) } else { Stage::Head(head) };
        rest
    }

    fn end(&mut self, head: Head) -> Stage {
        self.heads += 1;
        if head.transfer_encoding {
            self.transfer = Some(if head.length.is_some() { Transfer::WithLength } else { Transfer::Plain });
            return Stage::Unfollowed;
        }
        body(head.length.unwrap_or(0))
    }
}

/// The bytes before the first `\n` and those after it.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    memchr(b'\n', bytes).map(|end| (&bytes[..end], &bytes[end + 1..]))
}

/// The stage with this much of a body to come.
fn body(left: u64) -> Stage {
    if left == 0 { Stage::Rest } else { Stage::Body(left) }
}

impl Head {
    /// Reads a line without its `\n`; returns whether it ends the head. Lines end in `\n` with
    /// or without a `\r`, and empty ones before the request line do not count: as in the parser.
    fn read(&mut self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return self.begun;
        }
        if !self.begun {
            self.begun = true;
        } else if let Some(value) = value_of(b"content-length:", line) {
            // The parser refuses a second length unless it is the same, and one that is no number; the latter
            // still counts as sent here.
            self.length = Some(number(value).unwrap_or(0));
        } else if value_of(b"transfer-encoding:", line).is_some() {
            self.transfer_encoding = true;
        }
        false
    }
}

/// The value of a header's line, if it begins with this name and colon, in any case.
fn value_of<'a>(name: &[u8], line: &'a [u8]) -> Option<&'a [u8]> {
    let (found, value) = line.split_at_checked(name.len())?;
    found.eq_ignore_ascii_case(name).then_some(value)
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(bytes: &[u8]) -> Framing {
        let mut framing = Framing::default();
        framing.follow(bytes);
        framing
    }

    #[test]
    fn pipelined_messages_of_stated_length_are_all_seen() {
        let stream = b"\r\nPOST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\n\r\n\nGET / HTTP/1.1\nHost: x\n\n";
        let framing = framing(stream);
        assert_eq!((framing.heads(), framing.stage(), framing.transfer()), (2, Stage::Rest, None));
    }

    #[test]
    fn the_way_the_bytes_are_cut_changes_nothing() {
        let stream = b"POST /a HTTP/1.1\r\ncOnTeNt-LeNgTh: \t 5 \r\n\r\n12345POST /b HTTP/1.1\r\n\
            content-length:7\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        for cut in 1..stream.len() {
            let mut framing = Framing::default();
            stream.chunks(cut).for_each(|bytes| framing.follow(bytes));
            assert_eq!(framing.heads(), 2, "cut every {cut} bytes");
            assert_eq!(framing.transfer(), Some(Transfer::WithLength), "cut every {cut} bytes");
        }
    }

    #[test]
    fn both_framings_in_one_head_are_seen_in_either_order() {
        for (head, expected) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", Transfer::WithLength),
            ("TRANSFER-ENCODING: chunked\r\ncontent-length: 5", Transfer::WithLength),
            ("Transfer-Encoding: chunked\r\nContent-Length: five", Transfer::WithLength),
            ("Transfer-Encoding: chunked\r\nX-Content-Length: 5", Transfer::Plain),
        ] {
            let framing = framing(format!("POST / HTTP/1.1\r\n{head}\r\n\r\n").as_bytes());
            assert_eq!((framing.transfer(), framing.stage()), (Some(expected), Stage::Unfollowed), "{head}");
        }
    }

    #[test]
    fn a_head_that_lies_inside_a_body_is_not_a_head() {
        let body = "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n";
        let framing =
            framing(format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        assert_eq!((framing.heads(), framing.transfer(), framing.stage()), (1, None, Stage::Rest));
    }

    #[test]
    fn a_body_is_awaited_to_its_last_byte() {
        let mut framing = framing(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n1234");
        assert_eq!(framing.stage(), Stage::Body(6));
        framing.follow(b"567890");
        assert_eq!(framing.stage(), Stage::Rest);
        framing.follow(b"\r");
        assert!(matches!(framing.stage(), Stage::Head(_)), "even an empty line begins a head");
    }
}
