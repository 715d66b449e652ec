//! Sources that poll, while they are swapped. The queues are in memory: when a receive is answered is for the
//! test to say.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_credential_types::Credentials;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::peer::event;
use super::*;
use crate::aws::AwsOptions;
use crate::testing::bench::awaited;
use crate::timeline::TakenAs;

/// The queues of a service, by the ends of their URLs.
#[derive(Default)]
struct Queues {
    waiting: Mutex<BTreeMap<String, Vec<String>>>,
    /// Receives under way.
    receiving: Mutex<BTreeMap<String, usize>>,
    deleted: Mutex<Vec<String>>,
}

impl Queues {
    async fn open() -> (Arc<Self>, String) {
        let queues = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(call).with_state(Arc::clone(&queues));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (queues, address)
    }

    fn send(&self, queue: &str, body: String) {
        self.waiting.lock().entry(queue.to_owned()).or_default().push(body);
    }

    fn receiving(&self, queue: &str) -> usize {
        self.receiving.lock().get(queue).copied().unwrap_or_default()
    }
}

/// Counts a receive while it is under way.
struct Receiving(Arc<Queues>, String);

impl Receiving {
    fn begin(queues: Arc<Queues>, queue: &str) -> Self {
        *queues.receiving.lock().entry(queue.to_owned()).or_default() += 1;
        Self(queues, queue.to_owned())
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        *self.0.receiving.lock().entry(self.1.clone()).or_default() -= 1;
    }
}

async fn call(State(queues): State<Arc<Queues>>, headers: HeaderMap, body: String) -> Response {
    let call: Json = serde_json::from_str(&body).unwrap();
    let queue = call["QueueUrl"].as_str().and_then(|url| url.rsplit('/').next()).unwrap().to_owned();
    let entries = call["Entries"].as_array().cloned().unwrap_or_default();
    let answer = match headers["x-amz-target"].to_str().unwrap() {
        "AmazonSQS.ReceiveMessage" => {
            let _receiving = Receiving::begin(Arc::clone(&queues), &queue);
            let messages = loop {
                match queues.waiting.lock().get_mut(&queue).map(std::mem::take) {
                    Some(messages) if !messages.is_empty() => break messages,
                    _ => {}
                }
                sleep(Duration::from_millis(10)).await;
            };
            let message = |body: &String| {
                let attributes = json!({ "ApproximateReceiveCount": "1", "SentTimestamp": "1764000000000" });
                json!({ "MessageId": body, "ReceiptHandle": body, "Body": body, "Attributes": attributes })
            };
            json!({ "Messages": messages.iter().map(message).collect::<Vec<_>>() })
        }
        action => {
            if action == "AmazonSQS.DeleteMessageBatch" {
                let receipts =
                    entries.iter().map(|entry| entry["ReceiptHandle"].as_str().unwrap().to_owned());
                queues.deleted.lock().extend(receipts);
            }
            let ids: Vec<Json> = entries.iter().map(|entry| json!({ "Id": entry["Id"] })).collect();
            json!({ "Successful": ids, "Failed": [] })
        }
    };
    ([(header::CONTENT_TYPE, "application/x-amz-json-1.0")], answer.to_string()).into_response()
}

/// A configuration with these queues, each with its app.
fn queues_of(endpoint: &str, select: &str, queues: &[(&str, &str)]) -> String {
    let source = |(name, app): &(&str, &str)| {
        format!(
            "\x20 {name}: {{ provider: stream, app: {app}, sqs: {{ queue_url: \
             '{endpoint}/000000000000/{name}', region: eu-central-1 }} }}\n"
        )
    };
    let sources: String = queues.iter().map(source).collect();
    format!("aws: {{ endpoint: '{endpoint}' }}\nselect: {select}\nsources:\n{sources}")
}

/// A bridge that calls the queues here.
async fn calling(endpoint: &str) -> Swapped {
    let mut bridge = Swapped::start("sources: { first: { provider: stream, secrets: [env:OLD] } }").await;
    let options = AwsOptions { endpoint: Some(endpoint.to_owned()), ..AwsOptions::default() };
    let credentials = Credentials::new("test", "test", None, None, "this test");
    bridge.bridge.sources.surroundings.aws = Aws::with_credentials(options, credentials).await;
    bridge
}

/// Whether the series of these gauges are there.
fn gauges(bridge: &Swapped, source: &str) -> Vec<bool> {
    let series = bridge.series();
    let names = ["sqs_receivers", "source_degraded", "sqs_paused"];
    let has = |name: &str| series.contains(&format!(r#"fanbridge_{name}{{source="{source}"}}"#));
    names.map(has).to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_stays_is_read_on_by_the_new_selection_and_others_come_change_and_go() {
    let (queues, endpoint) = Queues::open().await;
    let of = |select: &str, names: &[(&str, &str)]| queues_of(&endpoint, select, names);
    let mut bridge = calling(&endpoint).await;
    bridge.swap(&of("all", &[("stays", "a"), ("turns", "a"), ("goes", "a")]), &[]).await;
    let receives = |queue: &str| queues.receiving(queue);
    awaited(|| ["stays", "turns", "goes"].iter().all(|queue| receives(queue) == 1)).await;
    for queue in ["stays", "turns", "goes"] {
        queues.send(queue, event("call.ring", &format!("{queue} before")));
    }
    awaited(|| queues.deleted.lock().len() == 3).await;
    awaited(|| ["stays", "turns", "goes"].iter().all(|queue| receives(queue) == 1)).await;
    let statuses = |bridge: &Swapped| bridge.bridge.health().sources();
    let status = |bridge: &Swapped, name: &str| {
        let found = statuses(bridge).into_iter().find(|status| status.name() == name);
        found.expect("a source that polls")
    };
    let stays = status(&bridge, "stays");

    let next = of("[call.created]", &[("stays", "a"), ("turns", "b"), ("comes", "a")]);
    bridge.swap(&next, &["stays"]).await;
    awaited(|| receives("goes") == 0 && receives("turns") == 1 && receives("comes") == 1).await;
    assert_eq!(receives("stays"), 1, "its receive goes on");
    for queue in ["stays", "turns", "comes", "goes"] {
        queues.send(queue, event("call.ring", &format!("{queue} after")));
        queues.send(queue, event("call.created", &format!("{queue} after")));
    }
    awaited(|| queues.deleted.lock().len() == 9).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(queues.deleted.lock().len(), 9, "nobody reads the queue that is gone");
    let judged = |source: &str| {
        let taken = bridge.taken(source).into_iter();
        let mut judged: Vec<_> = taken
            .map(|taken| (taken.event_type, taken.verdict == TakenAs::Filtered, taken.event_source))
            .collect();
        judged.sort();
        judged.into_iter().map(|(name, filtered, by)| format!("{name} {filtered} {by}")).collect::<Vec<_>>()
    };
    awaited(|| judged("stays").len() == 3 && judged("turns").len() == 3 && judged("comes").len() == 2).await;
    let of_stays = ["call.created false /stream/a", "call.ring false /stream/a", "call.ring true /stream/a"];
    assert_eq!(judged("stays"), of_stays);
    let of_turns = ["call.created false /stream/b", "call.ring false /stream/a", "call.ring true /stream/b"];
    assert_eq!(judged("turns"), of_turns);
    assert_eq!(judged("goes"), ["call.ring false /stream/a"]);

    let names: Vec<String> = statuses(&bridge).iter().map(|status| status.name().to_owned()).collect();
    assert_eq!(names, ["comes", "stays", "turns"]);
    assert!(Arc::ptr_eq(&status(&bridge, "stays"), &stays), "what is known of it is kept");
    assert_eq!((gauges(&bridge, "goes"), gauges(&bridge, "turns")), (vec![false; 3], vec![true; 3]));
    awaited(|| bridge.bridge.sources.tasks() == (3, 0)).await;
    bridge.stop().await;
}
