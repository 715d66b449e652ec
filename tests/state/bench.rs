//! A spool and a state in a temporary directory, with dead letters in it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use fanbridge::ack::AwaitedSinks;
use fanbridge::admin::{Access, AdminState, Note, SinkSummary, SourceSummary, Summary, router};
use fanbridge::dead_letter::{Readmit, Redrive};
use fanbridge::dedup::DuplicatesOptions;
use fanbridge::disk::RealDisk;
use fanbridge::event::{Entry, Event, EventTime, HeaderClaims, Position, Quarantined, Timestamp, Verdict};
use fanbridge::health::Health;
use fanbridge::selection::Selection;
use fanbridge::spool::{LockedDir, Spool, SpoolOptions};
use fanbridge::state::{DeadFilter, DeadLetterInfo, FILE_NAME, NewDeadLetter, Progress, State};
use fanbridge::telemetry::Metrics;
use http::{Request, Response};
use http_body_util::BodyExt;
use secrecy::SecretString;
use tempfile::TempDir;
use tower::ServiceExt;

/// What a stopped bridge would have left, opened.
pub struct Bench {
    pub dir: TempDir,
    pub state: State,
    pub spool: Spool,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with_bytes_max(64 << 20)
    }

    pub fn with_bytes_max(bytes_max: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new());
        let options = SpoolOptions {
            bytes_max,
            free_bytes_min: 0,
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
        let held = LockedDir::take(dir.path(), Arc::new(RealDisk::default())).unwrap();
        let (spool, _) = Spool::open(held, options, Arc::clone(&metrics)).unwrap();
        let state = State::open(&dir.path().join(FILE_NAME)).unwrap();
        let health = Arc::new(Health::default());
        health.start();
        Self { dir, state, spool, metrics, health }
    }

    /// Adds dead letters; their numbers count from 1.
    pub fn bury(&self, dead: Vec<NewDeadLetter>) {
        self.state.commit(&[Progress { sink: "lake".into(), cursor: Position(99), dead }]).unwrap();
    }

    pub fn letters(&self) -> Vec<DeadLetterInfo> {
        self.state.dead_letters(&DeadFilter::default(), 0, usize::MAX).unwrap()
    }

    pub fn ids(&self) -> Vec<u64> {
        self.letters().iter().map(|letter| letter.id).collect()
    }

    pub fn redrive(&self, readmit: Readmit) -> Redrive {
        Redrive::new(
            self.state.clone(),
            self.spool.clone(),
            ["lake".to_owned(), "billing".to_owned()],
            readmit,
        )
    }

    /// What is in the spool, oldest first.
    pub async fn spooled(&self) -> Vec<Event> {
        if self.spool.head() == Position(0) {
            return Vec::new();
        }
        let batch = self.spool.read(Position(0), 10_000, 16 << 20).await.unwrap();
        let event = |(_, entry)| match entry {
            Entry::Event(event) => Arc::unwrap_or_clone(event),
            Entry::Quarantined(delivery) => panic!("{delivery:?} was not to be spooled"),
        };
        batch.entries.into_iter().map(event).collect()
    }

    /// The admin listener's state, for a listener at this address.
    pub fn admin(&self, listen: &str, token: Option<&str>) -> AdminState {
        let token = token.map(|token| SecretString::from(token.to_owned()));
        self.admin_of(Access::new(listen.parse().unwrap(), token.as_ref()))
    }

    fn admin_of(&self, access: Access) -> AdminState {
        AdminState::new(Arc::clone(&self.metrics), Arc::clone(&self.health), summary(), access)
    }

    /// The routes of a listener on loopback without a token, open.
    pub fn router(&self) -> Router {
        self.router_at("127.0.0.1:9090", None)
    }

    pub fn router_at(&self, listen: &str, token: Option<&str>) -> Router {
        self.opened(self.admin(listen, token))
    }

    /// The routes under these rules of access, open.
    pub fn router_of(&self, access: Access) -> Router {
        self.opened(self.admin_of(access))
    }

    fn opened(&self, admin: AdminState) -> Router {
        admin.open(
            self.state.clone(),
            self.spool.clone(),
            never(),
            nothing_to_note(),
            &AwaitedSinks::default(),
        );
        router(admin)
    }
}

fn summary() -> Summary {
    let sink = |name: &str| SinkSummary {
        name: name.into(),
        kind: "file",
        topic: "{provider}.{family}".into(),
        selection: Selection::All,
        awaited: false,
    };
    Summary {
        fingerprint: "0123456789ab".into(),
        sources: vec![SourceSummary {
            name: "stream-video".into(),
            kind: "webhook",
            provider: "stream".into(),
            event_source: "/stream/default".into(),
        }],
        sinks: vec![sink("lake"), sink("billing")],
        selection: Selection::All,
        catalogued: Box::new(|_, event_type| event_type == "call.ring"),
        effective: Arc::default(),
        explained: Arc::default(),
    }
}

/// Readmits nothing.
pub fn never() -> Readmit {
    Arc::new(|delivery| Verdict::Quarantine(delivery.clone().into()))
}

/// Has nothing in memory to write down.
pub fn nothing_to_note() -> Note {
    Arc::new(|_| Ok(()))
}

pub const BODY: &str = r#"{"type":"call.ring","n":1.10}"#;

pub fn event(id: &str, event_type: &str) -> Event {
    Event {
        id: id.into(),
        source: "/stream/default".into(),
        event_type: event_type.into(),
        provider: "stream".into(),
        family: "video.call".into(),
        source_name: "stream-video".into(),
        key: Some("default:abc".into()),
        subject: Some("default:abc".into()),
        time: EventTime::Stated("2026-01-02T03:04:05Z".into()),
        arrived: Timestamp(7),
        configuration: None,
        extensions: vec![("webhookid".into(), "w-1".into())],
        only_sink: None,
        body: Bytes::from_static(BODY.as_bytes()),
    }
}

pub fn quarantined(body: &'static [u8]) -> Quarantined {
    Quarantined {
        id: "sha256-00".into(),
        source: "/stream/default".into(),
        provider: "stream".into(),
        source_name: "stream-video".into(),
        reason: "json".into(),
        detail: "expected a value at byte 1".into(),
        stated: HeaderClaims::default(),
        arrived: Timestamp(7),
        configuration: None,
        body: Bytes::from_static(body),
    }
}

pub fn letter(sink: Option<&str>, position: u64, reason: &str, entry: Entry) -> NewDeadLetter {
    NewDeadLetter {
        sink: sink.map(Into::into),
        reason: reason.into(),
        detail: "refused".into(),
        attempts: 1,
        first: Timestamp(1_700_000_000_000_000_000),
        last: Timestamp(1_700_000_000_000_000_000),
        position: Position(position),
        topic: sink.map(|_| "stream.video.call".into()),
        entry,
    }
}

/// A letter of this sink with an event of its own.
pub fn refused(sink: &str, position: u64) -> NewDeadLetter {
    letter(Some(sink), position, "too_large", event(&format!("evt-{position}"), "call.ring").into())
}

/// A quarantined delivery.
pub fn unusable(position: u64) -> NewDeadLetter {
    letter(None, position, "json", quarantined(b"{").into())
}

/// Sends a request through the routes.
pub async fn send(router: &Router, request: Request<Body>) -> Response<Bytes> {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

/// A request as a local tool would send it.
pub fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "localhost:9090").body(Body::empty()).unwrap()
}

pub fn post(path: &str, body: &serde_json::Value) -> Request<Body> {
    Request::post(path)
        .header("host", "localhost:9090")
        .header("x-fanbridge-request", "1")
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

pub fn json(response: &Response<Bytes>) -> serde_json::Value {
    serde_json::from_slice(response.body()).unwrap()
}
