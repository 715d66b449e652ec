//! Strangers under way: what one without a secret can send, from four addresses of this machine, at a
//! bounded rate. Requests go out whether the ones before were answered or not.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::support::client::request;
use crate::support::load::STREAM_PATH;

/// The addresses that strangers come from.
const ADDRESSES: u8 = 4;
/// Connections that wait for an answer at the same time.
const AT_ONCE_MAX: usize = 600;
/// How long a body that does not end is held out: less than a body may take.
const HELD: Duration = Duration::from_secs(9);
/// The largest body that is read, and what one inflates to at most.
const BODY_BYTES: usize = 2 << 20;
const INFLATED_BYTES: usize = 16 << 20;

/// What strangers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bodies that inflate two hundredfold to all that is allowed, under signatures of the right form.
    Gzip,
    /// Small ones of that kind.
    SmallGzip,
    /// Bodies without a signature that stop before their last byte.
    Unsigned,
    /// The same under signatures of the right form.
    Forged,
    /// Probes, one on each connection, which then stays open.
    Probes,
    /// Connections on which nothing is said.
    Silent,
    /// New connections, each as soon as the one before had to make room.
    Connections,
    /// TLS handshakes, one on each connection, left once the server has done its part.
    Handshakes,
}

/// An attack that goes on until it is dropped.
pub struct Attack {
    runtime: Option<Runtime>,
    pub begun: Arc<AtomicUsize>,
}

impl Attack {
    /// Attacks the listener on this port; `connections` are those of each address, where they matter.
    pub fn start(kind: Kind, port: u16, connections: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let begun: Arc<AtomicUsize> = Arc::default();
        match kind {
            Kind::Probes | Kind::Silent => {
                for number in 0..connections * usize::from(ADDRESSES) {
                    runtime.spawn(hold(kind, number, port, begun.clone()));
                }
            }
            _ => drop(runtime.spawn(flood(kind, port, begun.clone()))),
        }
        Self { runtime: Some(runtime), begun }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Kind {
    /// What is sent, and of how many requests a second that is some megabytes.
    fn requests(self) -> (Vec<u8>, usize) {
        let forged = [("x-signature", &*"5".repeat(64))];
        match self {
            Self::Gzip => (request(STREAM_PATH, &forged, &gzip(INFLATED_BYTES)), 60),
            Self::SmallGzip => (request(STREAM_PATH, &forged, &gzip(INFLATED_BYTES / 16)), 600),
            Self::Unsigned => (request(STREAM_PATH, &[], &vec![b' '; BODY_BYTES]), 15),
            Self::Forged => (request(STREAM_PATH, &forged, &vec![b' '; BODY_BYTES]), 15),
            Self::Probes => (request("/in/fastpix", &[], b"{}"), 0),
            Self::Silent | Self::Connections => (Vec::new(), 0),
            Self::Handshakes => (hello(), 0),
        }
    }

    /// Connections that wait for an answer at the same time.
    fn at_once(self) -> usize {
        match self {
            // Fewer than strangers may have: none of them makes room for another before it costs anything.
            Self::Handshakes => 160,
            // More than that by so many that the system's own default would not keep them all.
            Self::Connections => 400,
            _ => AT_ONCE_MAX,
        }
    }

    /// Requests that are sent at once in the beginning.
    fn burst(self) -> usize {
        match self {
            Self::Unsigned | Self::Forged => 140,
            // As many as are answered or closed.
            Self::Handshakes | Self::Connections => usize::MAX,
            _ => 0,
        }
    }
}

/// What a client says first. Nothing in it tells that it was said before.
fn hello() -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// gzip of so many bytes, as short as the ratio of 200 allows.
fn gzip(inflated: usize) -> Vec<u8> {
    // What does not compress, by a generator of Marsaglia's.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let noise: Vec<u8> = (0..inflated / 230).map(|_| noise()).collect();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&noise).unwrap();
    encoder.write_all(&vec![b' '; inflated - noise.len() - 1]).unwrap();
    let body = encoder.finish().unwrap();
    assert!(body.len() * 200 >= inflated, "{} bytes are too few for {inflated}", body.len());
    body
}

async fn flood(kind: Kind, port: u16, begun: Arc<AtomicUsize>) {
    let (request, per_second) = kind.requests();
    let (request, places) = (Arc::new(request), Arc::new(Semaphore::new(kind.at_once())));
    let stalls = matches!(kind, Kind::Unsigned | Kind::Forged);
    for number in 0.. {
        if number >= kind.burst() {
            sleep(Duration::from_secs(1) / per_second as u32).await;
        }
        let place = places.clone().acquire_owned().await.unwrap();
        let (request, begun) = (request.clone(), begun.clone());
        tokio::spawn(async move {
            begun.fetch_add(1, Ordering::Relaxed);
            let bytes = &request[..request.len() - usize::from(stalls)];
            // Whatever the bridge makes of it.
            if let Ok(mut stream) = connect(number, port).await
                && stream.write_all(bytes).await.is_ok()
            {
                let mut answer = [0; 1024];
                let _ = timeout(HELD, stream.read(&mut answer)).await;
            }
            drop(place);
        });
    }
}

/// Keeps one connection, and makes it anew as often as it is closed.
async fn hold(kind: Kind, number: usize, port: u16, begun: Arc<AtomicUsize>) {
    let (request, _) = kind.requests();
    loop {
        begun.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut stream) = connect(number, port).await
            && stream.write_all(&request).await.is_ok()
        {
            let mut answer = [0; 1024];
            while stream.read(&mut answer).await.is_ok_and(|count| count > 0) {}
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn connect(number: usize, port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let address = Ipv4Addr::new(127, 0, 0, 2 + (number % usize::from(ADDRESSES)) as u8);
    socket.bind(SocketAddr::from((address, 0)))?;
    socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await
}
