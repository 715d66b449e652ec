//! One keep-alive HTTP/1.1 connection with at most one request on the wire.
//!
//! Every request has the same length and layout, so a request is patched in place and leaves in one
//! write; of an answer only the status and `content-length` are read. Sockets block, but are read
//! only when readable, and a request fits the send buffer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::body::{Bodies, ID_CHARS, Id, SIGNATURE_CHARS};

const ANSWER_HEAD_BYTES_MAX: usize = 4096;
const STALL_MAX: Duration = Duration::from_secs(10);

/// A connection and the request it has on the wire.
pub struct Connection {
    to: SocketAddr,
    stream: TcpStream,
    request: Vec<u8>,
    id_at: usize,
    signature_at: usize,
    body_at: usize,
    answer: Answer,
    pending: Option<Pending>,
}

/// A request on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// The id inside the body.
    pub id: Id,
    /// When the request should have been sent: latency counts from here.
    pub due: Instant,
}

/// What became readable.
pub enum Progress {
    /// Not all of the answer is here.
    Partial,
    /// The answer to this request is complete, with this status.
    Answered(Pending, u16),
}

impl Connection {
    /// Connects; `bodies` decides the length of every request.
    pub fn open(to: SocketAddr, path: &str, bodies: &Bodies) -> io::Result<Self> {
        let before = format!(
            "POST {path} HTTP/1.1\r\nhost: {to}\r\nuser-agent: fanbridge-load\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nx-webhook-attempt: 1\r\nx-webhook-id: ",
            bodies.bytes()
        );
        let mut request = before.into_bytes();
        let id_at = request.len();
        request.extend([b'0'; ID_CHARS]);
        request.extend(b"\r\nx-signature: ");
        let signature_at = request.len();
        request.extend([b'0'; SIGNATURE_CHARS]);
        request.extend(b"\r\n\r\n");
        let body_at = request.len();
        request.extend(bodies.blank());
        let stream = connect(to)?;
        Ok(Self { to, stream, request, id_at, signature_at, body_at, answer: Answer::new(), pending: None })
    }

    /// The socket, to wait for.
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether a request is on the wire.
    pub fn busy(&self) -> bool {
        self.pending.is_some()
    }

    /// Signs and sends event `number`, which was due at `due`.
    pub fn send(&mut self, bodies: &mut Bodies, number: u64, due: Instant) -> io::Result<()> {
        let body = &mut self.request[self.body_at..];
        let id = bodies.write(body, number);
        let signature = bodies.sign(body, number);
        self.request[self.id_at..][..ID_CHARS].copy_from_slice(&id);
        self.request[self.signature_at..][..SIGNATURE_CHARS].copy_from_slice(&signature);
        self.pending = Some(Pending { id, due });
        self.stream.write_all(&self.request)
    }

    /// Reads what is there; call when the socket is readable.
    pub fn receive(&mut self) -> io::Result<Progress> {
        let status = self.answer.read_from(&mut self.stream)?;
        match (status, self.pending) {
            (Some(status), Some(pending)) => {
                self.pending = None;
                Ok(Progress::Answered(pending, status))
            }
            (Some(_), None) => Err(io::Error::other("an answer without a request")),
            (None, _) => Ok(Progress::Partial),
        }
    }

    /// Replaces a broken connection; the request that was on the wire is given up.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.stream = connect(self.to)?;
        self.answer = Answer::new();
        self.pending = None;
        Ok(())
    }
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, STALL_MAX)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL_MAX))?;
    stream.set_write_timeout(Some(STALL_MAX))?;
    Ok(stream)
}

/// An answer as far as it has arrived.
struct Answer {
    head: Box<[u8; ANSWER_HEAD_BYTES_MAX]>,
    filled: usize,
    /// Once the head is read: the status and the bytes of the body still to come.
    rest: Option<(u16, usize)>,
}

impl Answer {
    fn new() -> Self {
        Self { head: Box::new([0; ANSWER_HEAD_BYTES_MAX]), filled: 0, rest: None }
    }

    /// One read; the status once the answer is complete, after which the next answer may begin.
    fn read_from(&mut self, stream: &mut impl Read) -> io::Result<Option<u16>> {
        let read = stream.read(&mut self.head[self.filled..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (status, left) = match self.rest {
            Some((status, left)) => (status, left.checked_sub(read)),
            None => {
                self.filled += read;
                let Some((status, end, length)) = parse_head(&self.head[..self.filled])? else {
                    return Ok(None);
                };
                let here = self.filled - end;
                self.filled = 0;
                (status, length.checked_sub(here))
            }
        };
        let left = left.ok_or_else(|| io::Error::other("an answer is longer than its content-length"))?;
        self.rest = (left > 0).then_some((status, left));
        Ok((left == 0).then_some(status))
    }
}

/// Status, where the body begins and how long it is; `None` if the head is not complete.
fn parse_head(bytes: &[u8]) -> io::Result<Option<(u16, usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        if bytes.len() == ANSWER_HEAD_BYTES_MAX {
            return Err(io::Error::other("an answer's head is over 4096 bytes"));
        }
        return Ok(None);
    };
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
        let whole = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nhello";
        for cut in 1..whole.len() {
            let mut answer = Answer::new();
            assert_eq!(answer.read_from(&mut &whole[..cut]).unwrap(), None);
            assert_eq!(answer.read_from(&mut &whole[cut..]).unwrap(), Some(503));
            assert_eq!(answer.read_from(&mut &whole[..]).unwrap(), Some(503), "the next one starts afresh");
        }
    }

    #[test]
    fn an_answer_without_a_length_is_an_error() {
        assert!(Answer::new().read_from(&mut &b"HTTP/1.1 200 OK\r\n\r\n"[..]).is_err());
        assert!(Answer::new().read_from(&mut &b""[..]).is_err());
    }
}
