//! One HTTP/1.1 connection with some requests on the wire.
//!
//! Every request has the same length and layout, so a request is patched in place, and all that are sent
//! together leave in one write. Sockets block, but are read only when readable; a body that does not fit
//! the send buffer wants a thread of its own.

use rustls::ClientConfig;
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use crate::answer::Answers;
use crate::body::{Bodies, ID_CHARS, Id, SIGNATURE_CHARS};
use crate::gzip::Gzip;
use crate::wire::Wire;

/// What all connections have in common.
pub struct Target {
    /// The server.
    pub to: SocketAddr,
    /// The path; `{}` in it becomes the number of the source.
    pub path: String,
    /// How to encrypt, if at all.
    pub tls: Option<Arc<ClientConfig>>,
    /// How to compress, if at all.
    pub gzip: Option<Gzip>,
    /// Sources that connections are spread over.
    pub sources: usize,
    /// Most requests on the wire of one connection.
    pub depth: usize,
    /// Whether the server is asked to close the connection after each answer.
    pub close: bool,
}

/// A connection and the requests it has on the wire.
pub struct Connection {
    target: Arc<Target>,
    wire: Wire,
    source: usize,
    /// Requests that this connection has sent.
    sent: u64,
    request: Request,
    answers: Answers,
    pending: VecDeque<Pending>,
}

/// A request on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// The id inside the body.
    pub id: Id,
    /// When the request should have been sent: latency counts from here.
    pub due: Instant,
}

impl Connection {
    /// Connects; `bodies` decides the length of every request.
    pub fn open(target: &Arc<Target>, index: usize, bodies: &Bodies) -> io::Result<Self> {
        let source = index % target.sources;
        Ok(Self {
            wire: Wire::open(target.to, target.tls.as_ref())?,
            request: Request::blank(target, source, bodies),
            target: Arc::clone(target),
            source,
            sent: 0,
            answers: Answers::new(),
            pending: VecDeque::new(),
        })
    }

    /// The socket, to wait for.
    pub fn socket(&self) -> &TcpStream {
        self.wire.socket()
    }

    /// Whether its handshake took up a former session.
    pub fn is_resumed(&self) -> bool {
        self.wire.is_resumed()
    }

    /// Requests on the wire.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How many more requests can be sent now.
    pub fn room(&self) -> usize {
        self.target.depth - self.pending.len()
    }

    /// Signs and sends these events, each with its number and the moment it was due, in one write.
    pub fn send(&mut self, bodies: &mut Bodies, events: &[(u64, Instant)]) -> io::Result<()> {
        let mut together = Vec::new();
        for &(number, due) in events {
            // Numbers are shared by all connections: of one connection they can be all alike modulo
            // something.
            let turn = if self.target.sources > 1 { self.sent } else { number };
            let id = self.request.write(&self.target, bodies, bodies.key(self.source, turn), number);
            self.sent += 1;
            self.pending.push_back(Pending { id, due });
            if events.len() > 1 {
                together.extend_from_slice(&self.request.bytes);
            }
        }
        self.wire.send(if events.len() > 1 { &together } else { &self.request.bytes })
    }

    /// Reads what is there and appends the requests that are answered; call when the socket is readable.
    pub fn receive(&mut self, answered: &mut Vec<(Pending, u16)>) -> io::Result<()> {
        let mut statuses = Vec::new();
        loop {
            match self.answers.read_from(&mut self.wire, &mut statuses) {
                Ok(()) if self.wire.has_more() => {}
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        for status in statuses {
            let request = self.pending.pop_front();
            answered.push((request.ok_or_else(|| io::Error::other("an answer without a request"))?, status));
        }
        if self.pending.is_empty() && !self.answers.at_end() {
            return Err(io::Error::other("an answer is longer than its content-length"));
        }
        Ok(())
    }

    /// Replaces a broken connection; the requests that were on the wire are given up.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.wire = Wire::open(self.target.to, self.target.tls.as_ref())?;
        self.answers = Answers::new();
        self.pending.clear();
        Ok(())
    }
}

/// A request's bytes, and where they differ.
struct Request {
    bytes: Vec<u8>,
    id_at: usize,
    signature_at: usize,
    body_at: usize,
    /// The body before it is compressed.
    plain: Vec<u8>,
}

impl Request {
    fn blank(target: &Target, source: usize, bodies: &Bodies) -> Self {
        let (path, to) = (target.path.replace("{}", &source.to_string()), target.to);
        let body = target.gzip.as_ref().map_or(bodies.blank(), Gzip::blank);
        let encoding = if target.gzip.is_some() { "content-encoding: gzip\r\n" } else { "" };
        let close = if target.close { "connection: close\r\n" } else { "" };
        let before = format!(
            "POST {path} HTTP/1.1\r\nhost: {to}\r\nuser-agent: fanbridge-load\r\n{close}{encoding}\
             content-type: application/json\r\ncontent-length: {}\r\nx-webhook-attempt: 1\r\nx-webhook-id: ",
            body.len()
        );
        let mut bytes = before.into_bytes();
        let id_at = bytes.len();
        bytes.extend([b'0'; ID_CHARS]);
        bytes.extend(b"\r\nx-signature: ");
        let signature_at = bytes.len();
        bytes.extend([b'0'; SIGNATURE_CHARS]);
        bytes.extend(b"\r\n\r\n");
        let body_at = bytes.len();
        bytes.extend(body);
        let plain = if target.gzip.is_some() { bodies.blank().to_vec() } else { Vec::new() };
        Self { bytes, id_at, signature_at, body_at, plain }
    }

    /// Turns it into event `number` with this key.
    fn write(&mut self, target: &Target, bodies: &mut Bodies, key: usize, number: u64) -> Id {
        let body = &mut self.bytes[self.body_at..];
        let plain = if target.gzip.is_some() { &mut self.plain[..] } else { &mut *body };
        let id = bodies.write_with(key, plain, number);
        let signature = bodies.sign(key, plain);
        if let Some(gzip) = &target.gzip {
            gzip.write(key, &self.plain, body);
        }
        self.bytes[self.id_at..][..ID_CHARS].copy_from_slice(&id);
        self.bytes[self.signature_at..][..SIGNATURE_CHARS].copy_from_slice(&signature);
        id
    }
}
