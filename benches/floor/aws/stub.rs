//! The stub of SQS (JSON protocol) and SNS (query protocol).

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::body::Bodies;

/// The most messages in one answer, the service's own bound.
const BATCH: u64 = 10;

/// Serves both protocols.
#[derive(Args)]
pub struct Stub {
    /// Where to listen; the address is printed once it is open.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Bytes of each message in the queue.
    #[arg(long, default_value_t = 1024)]
    body_bytes: usize,
    /// Milliseconds until a call is answered.
    #[arg(long, default_value_t = 0)]
    answer_after_ms: u64,
}

/// What has happened since the start; `GET /counts` tells it, `GET /fill/{messages}` adds messages.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Requests of any kind to SQS.
    pub sqs_calls: u64,
    /// Messages handed out.
    pub received: u64,
    /// Messages deleted.
    pub deleted: u64,
    /// Requests of any kind to SNS.
    pub sns_calls: u64,
    /// Messages published.
    pub published: u64,
}

struct Queue {
    bodies: Bodies,
    body: Vec<u8>,
    /// Messages not handed out yet.
    waiting: u64,
    handed_out: u64,
}

struct Service {
    answer_after: Duration,
    queue: Mutex<Queue>,
    filled: Notify,
    sqs_calls: AtomicU64,
    deleted: AtomicU64,
    sns_calls: AtomicU64,
    published: AtomicU64,
}

impl Stub {
    /// Listens, prints where, and serves until it is killed.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn run(&self) -> anyhow::Result<()> {
        let bodies = Bodies::new(self.body_bytes, 1000, b"messages are not signed")?;
        let body = bodies.blank().to_vec();
        let service = Arc::new(Service {
            answer_after: Duration::from_millis(self.answer_after_ms),
            queue: Mutex::new(Queue { bodies, body, waiting: 0, handed_out: 0 }),
            filled: Notify::new(),
            sqs_calls: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
            sns_calls: AtomicU64::new(0),
            published: AtomicU64::new(0),
        });
        let router = Router::new()
            .route("/counts", get(counts))
            .route("/fill/{messages}", get(fill))
            .fallback(call)
            .with_state(service);
        let listener = TcpListener::bind(self.listen).await?;
        println!("{}", listener.local_addr()?);
        Ok(axum::serve(listener, router).await?)
    }
}

async fn counts(State(service): State<Arc<Service>>) -> axum::Json<Counts> {
    axum::Json(Counts {
        sqs_calls: service.sqs_calls.load(Ordering::Relaxed),
        received: service.queue().handed_out,
        deleted: service.deleted.load(Ordering::Relaxed),
        sns_calls: service.sns_calls.load(Ordering::Relaxed),
        published: service.published.load(Ordering::Relaxed),
    })
}

async fn fill(
    State(service): State<Arc<Service>>,
    axum::extract::Path(messages): axum::extract::Path<u64>,
) -> StatusCode {
    service.queue().waiting += messages;
    service.filled.notify_waiters();
    StatusCode::NO_CONTENT
}

/// A call of either service: SQS names its action in a header, SNS in the body.
async fn call(State(service): State<Arc<Service>>, headers: HeaderMap, body: Bytes) -> Response {
    if !service.answer_after.is_zero() {
        tokio::time::sleep(service.answer_after).await;
    }
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    match target.and_then(|target| target.strip_prefix("AmazonSQS.")) {
        Some(action) => {
            service.sqs_calls.fetch_add(1, Ordering::Relaxed);
            service.sqs(action, &body).await
        }
        None => {
            service.sns_calls.fetch_add(1, Ordering::Relaxed);
            service.sns(&body)
        }
    }
}

/// The fields that are read of any call to SQS.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SqsCall {
    #[serde(default)]
    wait_time_seconds: u64,
    #[serde(default)]
    entries: Vec<SqsEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SqsEntry {
    id: String,
}

impl Service {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sqs(&self, action: &str, body: &[u8]) -> Response {
        let Ok(call) = serde_json::from_slice::<SqsCall>(body) else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        match action {
            "ReceiveMessage" => json(self.receive(Duration::from_secs(call.wait_time_seconds)).await),
            "DeleteMessageBatch" => {
                self.deleted.fetch_add(call.entries.len() as u64, Ordering::Relaxed);
                json(successful(&call.entries))
            }
            "ChangeMessageVisibilityBatch" => json(successful(&call.entries)),
            _ => StatusCode::NOT_IMPLEMENTED.into_response(),
        }
    }

    /// Up to ten messages, or none when the wait is over.
    async fn receive(&self, wait: Duration) -> Vec<u8> {
        let until = tokio::time::Instant::now() + wait;
        loop {
            let filled = self.filled.notified();
            let answer = self.queue().hand_out();
            if let Some(answer) = answer {
                return answer;
            }
            if tokio::time::timeout_at(until, filled).await.is_err() {
                return b"{}".to_vec();
            }
        }
    }

    /// Each action answers in its own element; all that is read of it is the ids.
    fn sns(&self, body: &[u8]) -> Response {
        let ids = entry_ids(body);
        let published = ids.len().max(1) as u64;
        self.published.fetch_add(published, Ordering::Relaxed);
        let text = match ids.is_empty() {
            true => {
                "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>"
                    .to_owned()
            }
            false => {
                let members: String = ids
                    .iter()
                    .map(|id| format!("<member><Id>{id}</Id><MessageId>m</MessageId></member>"))
                    .collect();
                format!(
                    "<PublishBatchResponse><PublishBatchResult><Successful>{members}</Successful><Failed/></PublishBatchResult></PublishBatchResponse>"
                )
            }
        };
        ([(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"))], text).into_response()
    }
}

impl Queue {
    fn hand_out(&mut self) -> Option<Vec<u8>> {
        let count = self.waiting.min(BATCH);
        if count == 0 {
            return None;
        }
        let mut answer = br#"{"Messages":["#.to_vec();
        for number in self.handed_out..self.handed_out + count {
            self.bodies.write(&mut self.body, number);
            let text = std::str::from_utf8(&self.body).unwrap_or_default();
            let comma = if number == self.handed_out { "" } else { "," };
            let attributes =
                r#""Attributes":{"ApproximateReceiveCount":"1","SentTimestamp":"1764000000000"}"#;
            answer.extend_from_slice(
                format!(r#"{comma}{{"MessageId":"{number}","ReceiptHandle":"{number}",{attributes},"Body":"#)
                    .as_bytes(),
            );
            serde_json::to_writer(&mut answer, text).unwrap_or_default();
            answer.push(b'}');
        }
        answer.extend_from_slice(b"]}");
        self.handed_out += count;
        self.waiting -= count;
        Some(answer)
    }
}

fn successful(entries: &[SqsEntry]) -> Vec<u8> {
    let ids: Vec<_> = entries.iter().map(|entry| serde_json::json!({ "Id": entry.id })).collect();
    serde_json::json!({ "Successful": ids, "Failed": [] }).to_string().into_bytes()
}

fn json(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"))], body).into_response()
}

/// The ids of a batch's entries: the fields `PublishBatchRequestEntries.member.N.Id` of a form.
fn entry_ids(form: &[u8]) -> Vec<&str> {
    let fields = form.split(|byte| *byte == b'&').filter_map(|field| std::str::from_utf8(field).ok());
    let id = |field: &'_ str| field.starts_with("PublishBatchRequestEntries.member.");
    fields
        .filter(|field| id(field))
        .filter_map(|field| field.split_once('=').filter(|(name, _)| name.ends_with(".Id")))
        .map(|(_, value)| value)
        .collect()
}
