//! A front on port 0 with short limits, and a peer that sends exactly the bytes it is told to.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fanbridge::ack::AckOptions;
use fanbridge::dedup::DuplicatesOptions;
use fanbridge::disk::{Disk, DiskFile, DiskLock, FileId, Free, Look, RealDisk};
use fanbridge::event::Timestamp;
use fanbridge::provider::{Definition, SigningSecret, builtin_named, sign};
use fanbridge::reference::Reference;
use fanbridge::selection::Selection;
use fanbridge::source::front::Front as Routes;
use fanbridge::source::http::connections::Connections;
use fanbridge::source::http::serve;
use fanbridge::source::http::tls::Tls;
use fanbridge::source::http::{HttpOptions, Limits, TlsOptions};
use fanbridge::source::types_seen::TypesSeen;
use fanbridge::source::{Channel, SourceOptions, SourceSecret};
use fanbridge::source::{Intake, SourceIntake};
use fanbridge::spool::{LockedDir, Spool, SpoolOptions};
use fanbridge::telemetry::Metrics;
use hmac::{Hmac, KeyInit, Mac};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The cap on bodies in these tests.
pub const BODY_BYTES_MAX: usize = 4096;
/// The secret of the source `stream`.
pub const SECRET: &str = "a-secret-of-the-tests-32-bytes-ok";
/// The same as Standard Webhooks write it.
const STANDARD_SECRET: &str = "whsec_YS1zZWNyZXQtb2YtdGhlLXRlc3RzLTMyLWJ5dGVzLW9r";
/// Nothing here may take longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a test may want to be different.
pub struct Setting {
    pub http: HttpOptions,
    pub limits: Limits,
    pub selection: Selection,
    pub spool_full: bool,
    /// How long the disk takes to make something durable.
    pub fsync: Duration,
    pub drain_timeout: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        let http = HttpOptions { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..HttpOptions::default() };
        let limits = Limits {
            body_bytes_max: BODY_BYTES_MAX,
            inflated_bytes_max: 1 << 20,
            inflate_ratio_max: 100,
            header_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(5),
            body_bytes_per_second_min: 0,
            idle_timeout: Duration::from_secs(5),
            ack_timeout: Duration::from_secs(3),
            connections_max: 100,
            connections_per_address_max: 100,
            in_flight_bytes_max: 1 << 20,
            largest_body_bytes: 1 << 20,
        };
        Self {
            http,
            limits,
            selection: Selection::All,
            spool_full: false,
            fsync: Duration::ZERO,
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// What the source `large` takes.
pub const LARGE_BYTES_MAX: usize = 2 << 20;
/// A running front with seven sources: `stream`, `large`, `github` and `standard` with [`SECRET`], and
/// `fastpix`, `mute` and `open` without any; `mute` is of Stream, `standard` of a sender of Standard
/// Webhooks, and whoever sends to `open` need not sign.
pub struct Front {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub served: JoinHandle<()>,
    metrics: Metrics,
    pub types: Arc<TypesSeen>,
    _dir: tempfile::TempDir,
}

impl Front {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Setting)) -> Self {
        let mut setting = Setting::default();
        change(&mut setting);
        let dir = tempfile::tempdir().unwrap();
        let metrics = Metrics::new();
        let types = Arc::new(TypesSeen::default());
        let spool = spool(dir.path().into(), setting.spool_full, setting.fsync);
        let intake = Intake::new(spool, setting.selection, types.clone());
        let sources = [
            ("stream", "stream", Some(SECRET)),
            ("large", "stream", Some(SECRET)),
            ("standard", "standard-webhooks", Some(STANDARD_SECRET)),
            ("fastpix", "fastpix", None),
            ("mute", "stream", None),
            ("github", "github", Some(SECRET)),
            ("open", "open", None),
        ];
        let mut routes = Routes::new(intake, &setting.limits, &metrics);
        for (name, provider, secret) in sources {
            routes.add_webhook(SourceIntake::new(source(name, provider, secret), &metrics));
        }
        let service = routes.service();

        let listener = TcpListener::bind(setting.http.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = setting.http.tls.as_ref().map(|files: &TlsOptions| Tls::load(files).unwrap());
        let (limits, drain) = (setting.limits, setting.drain_timeout);
        let connections = Connections::new("http", &metrics);
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, tls, limits, drain, connections, service, stop.clone()));
        Self { address, stop, served, metrics, types, _dir: dir }
    }

    pub async fn connect(&self) -> Peer<TcpStream> {
        Peer::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// A connection from another address of this machine.
    pub async fn connect_from(&self, last: u8) -> Peer<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
        Peer::new(socket.connect(self.address).await.unwrap())
    }

    /// The metric's line in the text format, by its beginning.
    pub fn metric(&self, beginning: &str) -> String {
        let text = self.metrics.render();
        text.lines().find(|line| line.starts_with(beginning)).unwrap_or_default().to_owned()
    }

    /// Asserts that a metric with these labels has this value.
    /// Whether a metric has this value by now.
    pub fn has_metric(&self, series: &str, value: &str) -> bool {
        self.metrics.render().lines().any(|line| line == format!("{series} {value}"))
    }

    pub fn assert_metric(&self, series: &str, value: &str) {
        assert_eq!(self.metric(series), format!("{series} {value}"));
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.served.abort();
    }
}

fn spool(dir: PathBuf, full: bool, fsync: Duration) -> Spool {
    let options = SpoolOptions {
        bytes_max: 1 << 30,
        free_bytes_min: if full { u64::MAX } else { 0 },
        segment_bytes: 1 << 20,
        retain: Duration::from_secs(60),
        duplicates: DuplicatesOptions {
            window: Duration::from_secs(60),
            events_max: 1000,
            ..Default::default()
        },
        tail_bytes_max: 1 << 20,
        answer_within: Duration::from_secs(60),
        ..SpoolOptions::default()
    };
    let disk = Arc::new(SlowDisk { disk: RealDisk::default(), fsync });
    Spool::open(LockedDir::take(&dir, disk).unwrap(), options, Arc::new(Metrics::new())).unwrap().0
}

fn source(name: &'static str, provider: &str, secret: Option<&str>) -> SourceOptions {
    let definition = builtin_named(provider).unwrap_or_else(unsigned);
    let secret =
        secret.map(|secret| SigningSecret::parse(secret, definition.secret_form(), None, None).unwrap());
    SourceOptions {
        name: name.into(),
        definition,
        app: "default".into(),
        secrets: secret
            .map(|secret| SourceSecret { kept: Reference::Env("SECRET".into()), secret })
            .into_iter()
            .collect(),
        channel: Channel::Webhook,
        ack: AckOptions::default(),
        body_bytes_max: (name == "large").then_some(LARGE_BYTES_MAX),
    }
}

/// A provider that signs nothing.
fn unsigned() -> Arc<Definition> {
    let text = "signature: { scheme: none, insecure_no_verification: true }\n\
                event: { type: { pointers: [/type] } }";
    Arc::new(Definition::compile("open", serde_saphyr::from_str(text).unwrap()).unwrap())
}

/// A disk that takes its time to make data durable.
struct SlowDisk {
    disk: RealDisk,
    fsync: Duration,
}

struct SlowFile {
    file: Box<dyn DiskFile>,
    fsync: Duration,
}

impl SlowDisk {
    fn slow(&self, file: io::Result<Box<dyn DiskFile>>) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SlowFile { file: file?, fsync: self.fsync }))
    }
}

impl Disk for SlowDisk {
    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dirs(dir)
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.slow(self.disk.create_new(path))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.slow(self.disk.open(path))
    }
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.slow(self.disk.open_read(path))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn free(&self, dir: &Path) -> io::Result<Free> {
        self.disk.free(dir)
    }
    fn look(&self, path: &Path) -> io::Result<Look> {
        self.disk.look(path)
    }
    fn dir_id(&self, dir: &Path) -> io::Result<FileId> {
        self.disk.dir_id(dir)
    }
    fn link(&self, path: &Path, second: &Path) -> io::Result<()> {
        self.disk.link(path, second)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.disk.lock(path)
    }
}

impl DiskFile for SlowFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        std::thread::sleep(self.fsync);
        self.file.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn id(&self) -> io::Result<FileId> {
        self.file.id()
    }
}

/// Stream's signature of a body.
pub fn signature(body: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// An authentic event of this many bytes.
pub fn event(bytes: usize) -> String {
    let (start, end) = (r#"{"type":"call.session_started","call_cid":"default:a","filler":""#, r#""}"#);
    format!("{start}{}{end}", "x".repeat(bytes - start.len() - end.len()))
}

/// A signed POST to `stream` with these headers besides; `\r\n` ends each.
pub fn delivery_with(headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /in/stream HTTP/1.1\r\nHost: front\r\nX-Signature: {}\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        signature(body.as_bytes()),
        body.len()
    )
    .into()
}

/// A signed POST to `stream`.
pub fn delivery(body: &str) -> Vec<u8> {
    delivery_with("", body)
}

/// A signed POST of this event to `github` with these headers besides.
pub fn github(event: &str, headers: &str, body: &str) -> Vec<u8> {
    let (signature, length) = (signature(body.as_bytes()), body.len());
    format!(
        "POST /in/github HTTP/1.1\r\nHost: front\r\nX-Hub-Signature-256: sha256={signature}\r\n\
         X-GitHub-Event: {event}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
    .into()
}

/// A POST to `standard`, signed so many seconds from now.
pub fn timed(seconds: i64, body: &str) -> Vec<u8> {
    let moment = Timestamp(Timestamp::from(SystemTime::now()).0 + seconds * 1_000_000_000);
    let definition = builtin_named("standard-webhooks").unwrap();
    let secret = SigningSecret::parse(STANDARD_SECRET, definition.secret_form(), None, None).unwrap();
    let signed = sign(&definition, &secret, body.as_bytes(), moment, "msg_1");
    let lines = signed.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
    let headers: String = lines.collect();
    let length = body.len();
    format!("POST /in/standard HTTP/1.1\r\nHost: front\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
        .into()
}

/// A signed POST to `stream` in chunks of this many bytes.
pub fn chunked(body: &str, bytes: usize) -> Vec<u8> {
    let head = format!(
        "POST /in/stream HTTP/1.1\r\nHost: front\r\nX-Signature: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        signature(body.as_bytes())
    );
    let chunks = body
        .as_bytes()
        .chunks(bytes)
        .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    head.into_bytes().into_iter().chain(chunks).chain(*b"0\r\n\r\n").collect()
}

/// One answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The status, and whether the connection is said to close.
    pub fn closing(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// The other end of a connection.
pub struct Peer<IO> {
    pub io: IO,
    unread: Vec<u8>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Peer<IO> {
    pub fn new(io: IO) -> Self {
        Self { io, unread: Vec::new() }
    }

    /// Sends bytes. That the front may have closed is for the reading side to notice.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = timeout(PATIENCE, self.io.write_all(bytes.as_ref())).await;
        let _ = sent.expect("the front should keep reading or close");
        let _ = self.io.flush().await;
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, request: impl AsRef<[u8]>) -> Reply {
        self.send(request).await;
        self.reply().await.expect("an answer")
    }

    /// The next answer; none if the connection ends first.
    pub async fn reply(&mut self) -> Option<Reply> {
        timeout(PATIENCE, self.read_reply()).await.expect("an answer or the end in time")
    }

    /// Whether what comes until the end is no HTTP.
    pub async fn reply_is_not_http(&mut self) -> bool {
        let read = async { while self.more().await.is_some() {} };
        timeout(PATIENCE, read).await.expect("the end in time");
        !self.unread.starts_with(b"HTTP")
    }

    /// Asserts that the connection ends without another byte.
    pub async fn assert_closed(&mut self) {
        let reply = self.reply().await;
        assert!(reply.is_none(), "the connection should have ended, but: {reply:?}");
    }

    async fn read_reply(&mut self) -> Option<Reply> {
        let head = self.take_through(b"\r\n\r\n").await?;
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: String::new() };
        let length: usize = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            self.more().await?;
        }
        reply.body = String::from_utf8(self.unread.drain(..length).collect()).unwrap();
        Some(reply)
    }

    async fn take_through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Some(self.unread.drain(..at + end.len()).collect());
            }
            self.more().await?;
        }
    }

    /// Reads more; none at the end of the connection, be it orderly or a reset.
    async fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 4096];
        let count = self.io.read(&mut buffer).await.unwrap_or(0);
        self.unread.extend_from_slice(&buffer[..count]);
        (count > 0).then_some(())
    }
}

/// Bytes that are no secret to anyone, compressed.
pub fn gzip(plain: &[u8]) -> Bytes {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap().into()
}
