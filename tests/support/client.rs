//! A client that speaks just enough HTTP/1.1 to act as a provider: keep-alive, one request after
//! another, and a clear word on whether a failed delivery may have been taken in.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// What a connection is made of, encrypted or not.
trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// One connection to the bridge, opened when it is first needed and again after a failure.
pub struct Client {
    address: SocketAddr,
    /// The address to connect from, if not the usual one.
    from: Option<Ipv4Addr>,
    timeout: Duration,
    tls: Option<Arc<ClientConfig>>,
    connection: Option<BufReader<Box<dyn Wire>>>,
}

/// What the bridge said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether the delivery was taken in.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text, with `…` for the number of the request that a problem document has.
    pub fn text_without_request(&self) -> String {
        without_request(&self.text())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A problem document with `…` for the number of its request.
pub fn without_request(document: &str) -> String {
    match document.split_once("urn:fanbridge:request:") {
        Some((before, rest)) => format!("{before}urn:fanbridge:request:…{}", rest.get(16..).unwrap_or("?")),
        None => document.to_owned(),
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The request never left: the bridge cannot have seen all of it.
    NotSent(io::Error),
    /// The request left, the answer did not come: the bridge may or may not have taken it in.
    Unanswered(io::Error),
}

impl Client {
    /// A client of a port of this machine that waits ten seconds for an answer.
    pub fn new(port: u16) -> Self {
        let (address, timeout) = (([127, 0, 0, 1], port).into(), Duration::from_secs(10));
        Self { address, from: None, timeout, tls: None, connection: None }
    }

    /// The same client at another address of this machine, which is a network of its own.
    pub fn at(self, address: Ipv4Addr) -> Self {
        Self { from: Some(address), ..self }
    }

    /// The same client over TLS, of a server whose name is `localhost`.
    pub fn with_tls(self, tls: Arc<ClientConfig>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// The same client with another patience.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Asks for a page.
    pub fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        self.exchange(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes())
    }

    /// Hands a delivery in and waits for its answer.
    pub fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, Failure> {
        self.exchange(&request(path, headers, body))
    }

    /// Sends bytes that form one request and waits for the answer.
    ///
    /// An idle connection that the server closed meanwhile is opened afresh, once.
    pub fn exchange(&mut self, request: &[u8]) -> Result<Answer, Failure> {
        let reused = self.connection.is_some();
        let outcome = self.send(request).and_then(|()| self.receive());
        match outcome {
            Err(Failure::NotSent(_)) if reused => self.send(request).and_then(|()| self.receive()),
            outcome => outcome,
        }
    }

    /// Sends bytes without waiting for what they bring.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let connection = self.connected().map_err(Failure::NotSent)?;
        let sent = connection.get_mut().write_all(bytes);
        sent.map_err(|error| {
            self.connection = None;
            Failure::NotSent(error)
        })
    }

    /// Reads the next answer.
    pub fn receive(&mut self) -> Result<Answer, Failure> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(Failure::NotSent(io::ErrorKind::NotConnected.into()));
        };
        let answer = read_answer(connection);
        if !matches!(&answer, Ok(answer) if answer.header("connection") != Some("close")) {
            self.connection = None;
        }
        answer.map_err(Failure::Unanswered)
    }

    fn connected(&mut self) -> io::Result<&mut BufReader<Box<dyn Wire>>> {
        if self.connection.is_none() {
            let stream = match self.from {
                None => TcpStream::connect_timeout(&self.address, Duration::from_secs(2))?,
                Some(from) => connect_from(from, self.address)?,
            };
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(self.timeout))?;
            let wire: Box<dyn Wire> = match &self.tls {
                None => Box::new(stream),
                Some(tls) => {
                    let name = "localhost".try_into().map_err(io::Error::other)?;
                    let tls = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
                    Box::new(StreamOwned::new(tls, stream))
                }
            };
            self.connection = Some(BufReader::new(wire));
        }
        self.connection.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

fn connect_from(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        socket.connect(to).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A POST as it goes over the wire.
pub fn request(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

fn read_answer(connection: &mut impl BufRead) -> io::Result<Answer> {
    let status_line = read_line(connection)?;
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::Error::other(format!("{status_line:?} is not a status line")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(connection)?;
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => break,
        }
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if answer.header("transfer-encoding") == Some("chunked") {
        read_chunks(connection, &mut answer.body)?;
    } else if let Some(length) = answer.header("content-length").and_then(|text| text.parse().ok()) {
        answer.body = vec![0; length];
        connection.read_exact(&mut answer.body)?;
    }
    Ok(answer)
}

fn read_chunks(connection: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(connection)?;
        let length = u64::from_str_radix(&line, 16).map_err(io::Error::other)?;
        connection.take(length).read_to_end(body)?;
        read_line(connection)?;
        if length == 0 {
            return Ok(());
        }
    }
}

/// A line without its end; an end of the stream is an error.
fn read_line(connection: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end_and_no_further() {
        let mut wire: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\ncontent-length: 4\r\n\r\nfullHTTP/1.1 200 OK\r\n";
        let answer = read_answer(&mut wire).unwrap();
        assert_eq!(
            (answer.status, answer.header("retry-after"), answer.text()),
            (503, Some("2"), "full".into())
        );
        assert_eq!(wire, b"HTTP/1.1 200 OK\r\n");
    }

    #[test]
    fn a_chunked_answer_is_put_together() {
        let mut wire: &[u8] =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(read_answer(&mut wire).unwrap().text(), "abcde");
    }

    #[test]
    fn an_answer_that_breaks_off_is_no_answer() {
        for wire in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab"] {
            assert!(read_answer(&mut wire.as_bytes()).is_err(), "{wire:?}");
        }
    }
}
