//! The certificate host's double: TLS on a loopback port, files by path, and a memory of who connected.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Nobody waits longer here.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is at a path.
#[derive(Clone)]
pub enum File {
    /// This, at once.
    Here(Vec<u8>),
    /// This, after a while.
    Late(Vec<u8>, Duration),
    /// A bare status, with one header.
    Status(u16, &'static str, String),
    /// This, a byte every tenth of a second, and so not within any time that somebody should wait.
    Slow(Vec<u8>),
    /// More bytes than anybody should read, without a stated length.
    Endless,
    /// Nothing: the connection is closed.
    Cut,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The host that the request named.
    pub host: String,
    pub path: String,
}

pub struct Double {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    tls: Mutex<Arc<ServerConfig>>,
    files: Mutex<HashMap<String, File>>,
    connections: Mutex<usize>,
    visits: Mutex<Vec<Visit>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Double {
    /// Serves until the process ends.
    pub fn start(tls: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            tls: Mutex::new(tls),
            files: Mutex::default(),
            connections: Mutex::default(),
            visits: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&of_thread);
                *lock(&shared.connections) += 1;
                // That a peer goes away, or does not trust this host, is part of the tests.
                std::thread::spawn(move || stream.and_then(|stream| shared.serve(stream)));
            }
        });
        Self { address, shared }
    }

    /// Puts a file at a path.
    pub fn put(&self, path: &str, file: File) {
        lock(&self.shared.files).insert(path.to_owned(), file);
    }

    /// Presents another identity from now on.
    pub fn present(&self, tls: Arc<ServerConfig>) {
        *lock(&self.shared.tls) = tls;
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        *lock(&self.shared.connections)
    }

    /// The requests, in their order.
    pub fn visits(&self) -> Vec<Visit> {
        lock(&self.shared.visits).clone()
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let config = lock(&self.tls).clone();
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        self.answer(StreamOwned::new(connection, stream))
    }

    fn answer(&self, stream: impl Read + Write) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let (mut path, mut host) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end().split_once(": ") {
                None if line.trim_end().is_empty() => break,
                None => path = line.split(' ').nth(1).unwrap_or_default().to_owned(),
                Some((name, value)) if name.eq_ignore_ascii_case("host") => host = value.to_owned(),
                Some(_) => {}
            }
        }
        lock(&self.visits).push(Visit { host, path: path.clone() });
        let file = lock(&self.files).get(&path).cloned();
        let stream = stream.get_mut();
        match file.unwrap_or(File::Status(404, "x-none", "1".into())) {
            File::Here(bytes) => send(stream, &bytes),
            File::Late(bytes, wait) => {
                std::thread::sleep(wait);
                send(stream, &bytes)
            }
            File::Status(status, name, value) => {
                write!(stream, "HTTP/1.1 {status} Status\r\n{name}: {value}\r\ncontent-length: 0\r\n\r\n")?;
                stream.flush()
            }
            File::Slow(bytes) => {
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len())?;
                for byte in bytes {
                    stream.write_all(&[byte])?;
                    stream.flush()?;
                    std::thread::sleep(Duration::from_millis(100));
                }
                Ok(())
            }
            File::Endless => {
                write!(stream, "HTTP/1.1 200 OK\r\n\r\n")?;
                // It ends when the reader has had enough.
                while stream.write_all(&[b'x'; 1024]).is_ok() {}
                Ok(())
            }
            File::Cut => Ok(()),
        }
    }
}

fn send(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len())?;
    stream.write_all(bytes)?;
    stream.flush()
}
