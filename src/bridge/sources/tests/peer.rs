//! A provider on one connection that it keeps.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::provider::{SigningSecret, builtin_named, sign};

/// Nothing here may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Peer {
    address: SocketAddr,
    connection: Option<TcpStream>,
    /// How often it had to connect.
    pub(super) connected: usize,
}

/// The status of an answer, and its body.
pub(super) type Reply = (u16, String);

impl Peer {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None, connected: 0 }
    }

    /// Posts an event of Stream to a source, signed with this secret.
    pub(super) async fn post(&mut self, source: &str, secret: &str, body: &str) -> Reply {
        let request = request(source, secret, body);
        timeout(PATIENCE, self.exchange(request.as_bytes())).await.expect("an answer in time")
    }

    /// Begins a delivery whose body is sent later: with [`Peer::end`].
    pub(super) async fn begin(&mut self, source: &str, secret: &str, body: &str) -> String {
        let request = request(source, secret, body);
        let head = request.len() - body.len();
        self.send(&request.as_bytes()[..head]).await;
        request[head..].to_owned()
    }

    pub(super) async fn end(&mut self, rest: &str) -> Reply {
        timeout(PATIENCE, self.exchange(rest.as_bytes())).await.expect("an answer in time")
    }

    async fn send(&mut self, bytes: &[u8]) {
        if self.connection.is_none() {
            self.connection = Some(TcpStream::connect(self.address).await.unwrap());
            self.connected += 1;
        }
        self.connection.as_mut().unwrap().write_all(bytes).await.unwrap();
    }

    async fn exchange(&mut self, request: &[u8]) -> Reply {
        self.send(request).await;
        let connection = self.connection.as_mut().unwrap();
        let mut read = Vec::new();
        let head = loop {
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(connection.read_buf(&mut read).await.unwrap() > 0, "the bridge closed before an answer");
        };
        let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
        let header = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(str::trim).unwrap_or_default().to_owned()
        };
        let length: usize = header("content-length").parse().unwrap();
        while read.len() < head + length {
            assert!(connection.read_buf(&mut read).await.unwrap() > 0, "the answer is cut off");
        }
        if header("connection") == "close" {
            self.connection = None;
        }
        let status = text.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
        (status, String::from_utf8_lossy(&read[head..head + length]).into_owned())
    }
}

/// An event of Stream of this type, told from others by a word.
pub(super) fn event(event_type: &str, word: &str) -> String {
    format!(r#"{{"type":"{event_type}","call_cid":"default:a","word":"{word}"}}"#)
}

fn request(source: &str, secret: &str, body: &str) -> String {
    let definition = builtin_named("stream").unwrap();
    let secret = SigningSecret::parse(secret, definition.secret_form(), None, None).unwrap();
    let signed = sign(&definition, &secret, body.as_bytes(), SystemTime::now().into(), "1");
    let lines = signed.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
    let (lines, length): (String, _) = (lines.collect(), body.len());
    format!("POST /in/{source} HTTP/1.1\r\nHost: bridge\r\nContent-Length: {length}\r\n{lines}\r\n{body}")
}
