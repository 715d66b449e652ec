//! A stream of server-sent events, read as a browser reads it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// How long the next event may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// The ids of a page's steps, or of those of one event of a stream.
pub fn ids(items: &Value) -> Vec<String> {
    let items = items.as_array().expect("a list of steps");
    items.iter().map(|item| item["id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A stream of server-sent events that a test reads.
pub struct LiveStream(BufReader<TcpStream>);

/// One event of a stream.
#[derive(Debug)]
pub struct LiveEvent {
    /// The event's name.
    pub name: String,
    /// Where to go on, if the event says so.
    pub id: Option<String>,
    /// What it says.
    pub data: Value,
}

impl LiveStream {
    /// Opens a stream, without reading anything.
    pub fn send(port: u16, query: &str, headers: &str) -> TcpStream {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let request =
            format!("GET /api/v1/events/stream{query} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        socket
    }

    /// Opens a stream and reads the head of its answer.
    pub fn open(port: u16, query: &str, headers: &str) -> Self {
        let mut reader = BufReader::new(Self::send(port, query, headers));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "the head ends: {head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        assert!(head.contains("cache-control: no-store"), "{head}");
        Self(reader)
    }

    /// The next event; comments are passed over. `None` at the end of the stream.
    pub fn next(&mut self) -> Option<LiveEvent> {
        loop {
            let block = self.chunk()?;
            let field = |name: &str| {
                let mut lines = block.lines().filter_map(|line| line.split_once(": "));
                lines.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
            };
            if let (Some(name), Some(data)) = (field("event"), field("data")) {
                return Some(LiveEvent { name, id: field("id"), data: serde_json::from_str(&data).unwrap() });
            }
            assert!(block.starts_with(':'), "neither an event nor a comment: {block:?}");
        }
    }

    /// Each event is a chunk of its own.
    fn chunk(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let length = usize::from_str_radix(line.trim_end(), 16).ok().filter(|length| *length > 0)?;
        let mut chunk = vec![0; length + 2];
        self.0.read_exact(&mut chunk).unwrap();
        chunk.truncate(length);
        Some(String::from_utf8(chunk).unwrap())
    }

    /// The next event, which must have this name.
    #[track_caller]
    pub fn expect(&mut self, name: &str) -> LiveEvent {
        let event = self.next().expect("the stream goes on");
        assert_eq!(event.name, name, "{event:?}");
        event
    }
}
