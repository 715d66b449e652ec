//! The answers on one connection: of each only the status and `content-length` are read.

use std::io::{self, Read};

/// More than the answers to all requests that are on the wire of one connection.
const BYTES_MAX: usize = 16 << 10;

/// Answers as far as they have arrived.
pub struct Answers {
    bytes: Box<[u8; BYTES_MAX]>,
    filled: usize,
    /// Once a head is read: the status and the bytes of the body still to come.
    rest: Option<(u16, usize)>,
}

impl Answers {
    /// None so far.
    pub fn new() -> Self {
        Self { bytes: Box::new([0; BYTES_MAX]), filled: 0, rest: None }
    }

    /// Whether the bytes so far end with an answer.
    pub fn at_end(&self) -> bool {
        self.filled == 0 && self.rest.is_none()
    }

    /// One read; appends the status of each answer that is complete with it.
    pub fn read_from(&mut self, stream: &mut impl Read, complete: &mut Vec<u16>) -> io::Result<()> {
        let read = stream.read(&mut self.bytes[self.filled..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.filled += read;
        let mut at = 0;
        loop {
            let (status, left) = match self.rest {
                Some(rest) => rest,
                None => match parse_head(&self.bytes[at..self.filled])? {
                    Some((status, end, length)) => {
                        at += end;
                        (status, length)
                    }
                    None => break,
                },
            };
            let here = left.min(self.filled - at);
            at += here;
            self.rest = (here < left).then_some((status, left - here));
            if self.rest.is_some() {
                break;
            }
            complete.push(status);
        }
        self.bytes.copy_within(at..self.filled, 0);
        self.filled -= at;
        if self.filled == BYTES_MAX {
            return Err(io::Error::other("an answer's head is over 16 KiB"));
        }
        Ok(())
    }
}

/// Status, where the body begins and how long it is; `None` if the head is not complete.
fn parse_head(bytes: &[u8]) -> io::Result<Option<(u16, usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(io::Error::other)?;
    let status = head.get(9..12).and_then(|digits| digits.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("an answer without a status"))?;
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let length = length.ok_or_else(|| io::Error::other("an answer without a content-length"))?;
    Ok(Some((status, end + 4, length)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_byte_however_it_is_cut() {
        let two = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nhello\
                    HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let first = two.len() - b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".len();
        for cut in 1..two.len() {
            let (mut answers, mut complete) = (Answers::new(), Vec::new());
            answers.read_from(&mut &two[..cut], &mut complete).unwrap();
            let expected: &[u16] = if cut >= first { &[503] } else { &[] };
            assert_eq!(complete, expected, "after {cut} bytes");
            assert_eq!(answers.at_end(), cut == first);
            answers.read_from(&mut &two[cut..], &mut complete).unwrap();
            assert_eq!(complete, [503, 200]);
            assert!(answers.at_end());
        }
    }

    #[test]
    fn an_answer_without_a_length_is_an_error() {
        let mut complete = Vec::new();
        assert!(Answers::new().read_from(&mut &b"HTTP/1.1 200 OK\r\n\r\n"[..], &mut complete).is_err());
        assert!(Answers::new().read_from(&mut &b""[..], &mut complete).is_err());
    }
}
