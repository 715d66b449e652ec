//! What stands around an event in a queue: EventBridge's envelope, S3's records, and what SNS puts
//! there and asks there.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::inlet::{AS_TESTER, DEADLINE, Inlet, TOPIC, events, texts};
use crate::support::await_until;
use crate::support::aws::queue::Queue;
use crate::support::aws::{Aws, REGION, messages};
use crate::support::bridge::{Bridge, Home};
use crate::support::proxy::call::{Answer, Refusal};
use crate::support::proxy::{Fault, Proxy};
use crate::support::readers::{self, file_events};
use crate::support::signing::sha256;

/// The definitions that `docs/CONFIGURATION.md` shows.
const DEFINITIONS: &str = "\
providers:
  eventbridge:
    event:
      type: { pointers: [/detail-type] }
      id: [/id]
      time: [/time]
      key: [/detail/customer]
      data: /detail
    families: { orders: { types: { OrderPlaced: {}, OrderCancelled: {} } } }
  s3:
    event:
      type: { pointers: [/Records/0/eventName, /Event] }
      time: [/Records/0/eventTime, /Time]
      key: [/Records/0/s3/object/key]
";

/// A home whose bridge reads a queue by one of them.
fn home(aws: &Aws, provider: &str, queue: &Queue) -> Home {
    let home = Home::new();
    home.configure(
        "",
        &format!(
            "\x20 queue: {{ provider: {provider}, sqs: {{ queue_url: \"{}\" }} }}\n{DEFINITIONS}\
             aws: {{ endpoint: \"{}\", region: {REGION} }}\n\
             sinks:\n  local: {{ file: {{ dir: {} }} }}\n",
            queue.url,
            aws.endpoint(),
            home.path("topics").display()
        ),
    );
    home
}

fn letters(bridge: &Bridge) -> Vec<Value> {
    let list = bridge.admin().get("/api/dead?limit=1000").expect("the dead letters");
    serde_json::from_slice(&list.body).expect("a list")
}

#[track_caller]
pub fn await_letters(bridge: &Bridge, count: usize) -> Vec<Value> {
    await_until("the dead letters are kept", DEADLINE, || {
        Some(letters(bridge)).filter(|letters| letters.len() == count)
    })
}

#[test]
fn an_event_of_eventbridge_is_unwrapped_and_its_detail_passed_on_byte_for_byte() {
    let Some(aws) = Aws::connect("events of EventBridge") else { return };
    let (queue, topic) = (aws.queue("eventbridge", &[]), aws.topic("eventbridge", &[]));
    topic.subscribe(&queue, &[]);
    let home = home(&aws, "eventbridge", &queue);
    let detail = |n: usize| {
        format!("{{ \"customer\": \"c-{}\",  \"total\": {n}.10, \"note\": \"é \\u00e9\" }}", n % 3)
    };
    let envelope = |n: usize| {
        let kind = if n.is_multiple_of(2) { "OrderPlaced" } else { "OrderCancelled" };
        format!(
            "{{\"version\":\"0\",\"id\":\"event-{n}\",\"detail-type\":\"{kind}\",\"source\":\"shop.orders\",\
             \"account\":\"111111111111\",\"time\":\"2026-05-08T09:12:28Z\",\"region\":\"eu-west-1\",\
             \"resources\":[],\"detail\":{}}}",
            detail(n)
        )
    };
    // A rule's target is the queue, or a topic before it; a rule that matches twice sends twice.
    queue.send(&messages((0..20).map(envelope)));
    topic.publish(&messages((10..30).map(envelope)));
    queue.send(&messages([envelope(0).replace("detail\":{", "other\":{")]));

    let bridge = home.start_under(&AS_TESTER);
    queue.await_empty(DEADLINE);
    let letter = await_letters(&bridge, 1).remove(0);
    assert_eq!(
        (&letter["reason"], &letter["detail"]),
        (&json!("data"), &json!("no data at /detail, expected an object"))
    );
    await_until("all are published", DEADLINE, || {
        (readers::files(&home.path("topics")).len() >= 30).then_some(())
    });
    bridge.stop();

    let arrivals = readers::files(&home.path("topics"));
    let by_id: BTreeMap<_, _> = arrivals.iter().map(|arrival| (arrival.id.as_str(), arrival)).collect();
    assert_eq!((arrivals.len(), by_id.len()), (30, 30), "each once");
    for n in 0..30 {
        let arrival = by_id[format!("event-{n}").as_str()];
        assert_eq!(arrival.sha256, sha256(detail(n).as_bytes()), "event {n}");
        assert_eq!(
            (arrival.lane.as_str(), arrival.key.clone()),
            ("eventbridge.orders", Some(format!("c-{}", n % 3)))
        );
    }
    for event in file_events(&home.path("topics")) {
        assert_eq!(
            (&event["source"], &event["time"]),
            (&json!("/eventbridge/default"), &json!("2026-05-08T09:12:28Z"))
        );
    }
}

#[test]
fn a_notification_of_s3_is_one_event_with_all_of_its_records() {
    let Some(aws) = Aws::connect("notifications of S3") else { return };
    let queue = aws.queue("s3", &[]);
    let home = home(&aws, "s3", &queue);
    let record = |key: &str| {
        json!({ "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-west-1",
            "eventTime": "2026-05-08T09:12:28.800Z", "eventName": "ObjectCreated:Put",
            "s3": { "bucket": { "name": "media" }, "object": { "key": key, "size": 1024, "sequencer": "0A" } } })
    };
    let bodies = [
        json!({ "Records": [record("a/one.mp4")] }).to_string(),
        json!({ "Records": [record("a/two.mp4"), record("a/three.mp4")] }).to_string(),
        // What S3 sends once when notifications are set up.
        json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-05-08T09:12:28.800Z", "Bucket": "media" })
            .to_string(),
    ];
    queue.send(&messages(bodies.clone()));
    let bridge = home.start_under(&AS_TESTER);
    queue.await_empty(DEADLINE);
    bridge.stop();
    let arrivals = readers::files(&home.path("topics"));
    let mut found: Vec<_> = arrivals
        .iter()
        .map(|arrival| (arrival.event_type.as_str(), arrival.key.as_deref(), arrival.sha256))
        .collect();
    found.sort_unstable();
    let of = |n: usize| sha256(bodies[n].as_bytes());
    let mut expected = [
        ("ObjectCreated:Put", Some("a/one.mp4"), of(0)),
        ("ObjectCreated:Put", Some("a/two.mp4"), of(1)),
        ("s3:TestEvent", None, of(2)),
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn base64_in_lines_and_an_envelope_with_a_member_more_are_taken_as_what_they_are() {
    let Some(aws) = Aws::connect("forms at the edge") else { return };
    let queue = aws.queue("edge-forms", &[]);
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "", "");
    let load = events("edge-forms", 2);
    let bodies = texts(&load);
    let encoded = BASE64_STANDARD.encode(&bodies[0]);
    let lines: Vec<_> = encoded.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line)).collect();
    let replayed = json!({ "Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-west-1:000000000000:t",
        "Message": bodies[1], "Timestamp": "2026-05-08T09:12:28.800Z", "Replayed": true });
    // An event with an object of that name is no envelope.
    let flagged =
        r#"{"type":"flag.updated","created_at":"2026-05-08T09:12:28.8Z","Message":{"text":"Notification"}}"#;
    queue.send(&messages([lines.join("\r\n"), replayed.to_string(), flagged.to_owned()]));
    let bridge = inlet.start();
    queue.await_empty(DEADLINE);
    let arrivals = inlet.await_arrivals(3, DEADLINE);
    assert!(letters(&bridge).is_empty());
    bridge.stop();
    let digests: Vec<_> = arrivals.iter().map(|arrival| arrival.sha256).collect();
    assert!(
        bodies
            .iter()
            .map(String::as_str)
            .chain([flagged])
            .all(|body| digests.contains(&sha256(body.as_bytes())))
    );
    assert_eq!(arrivals.iter().filter(|arrival| arrival.lane == TOPIC).count(), 2);
}

pub const LISTED: &str = "arn:aws:sns:eu-west-1:222222222222:stream-events";
const CONFIRMED: &str = "<ConfirmSubscriptionResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
    <ConfirmSubscriptionResult><SubscriptionArn>arn:aws:sns:eu-west-1:222222222222:stream-events:6b0e71bd\
    </SubscriptionArn></ConfirmSubscriptionResult>\
    <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\
    </ConfirmSubscriptionResponse>";

/// What SNS puts into a queue of another account before it delivers there, and where anybody who
/// follows its URL would be seen.
pub fn question(kind: &str, topic: &str, proxy: &Proxy) -> String {
    json!({ "Type": kind, "MessageId": "m", "Token": "2336412f37fb687f5d51e6e2", "TopicArn": topic,
        "Message": "You have chosen to subscribe to the topic. To confirm the subscription, visit the SubscribeURL.",
        "SubscribeURL": format!("{}/followed", proxy.endpoint()), "Timestamp": "2026-05-08T09:12:28.800Z",
        "SignatureVersion": "1", "Signature": "AAAA", "SigningCertURL": format!("{}/followed", proxy.endpoint()) })
    .to_string()
}

#[test]
fn a_listed_topic_that_asks_in_the_queue_is_confirmed_through_the_api_and_any_other_is_a_letter() {
    let Some(aws) = Aws::connect("a topic that asks in a queue") else { return };
    let queue = aws.queue("asked", &[]);
    let proxy = Proxy::before(aws.endpoint());
    proxy.times(1, "ConfirmSubscription", Fault::Refuse(Refusal::DENIED));
    proxy.always(
        "ConfirmSubscription",
        Fault::Answer(Answer::new(200, CONFIRMED).with("content-type", "text/xml")),
    );
    let more = format!("visibility_timeout: 2s, confirm_topics: [\"{LISTED}\"]");
    let inlet = Inlet::new(&proxy.endpoint(), &queue.url, &more, "");
    let unlisted = LISTED.replace("stream", "other");
    let load = events("beside-questions", 5);
    queue.send(&messages([
        question("SubscriptionConfirmation", LISTED, &proxy),
        question("SubscriptionConfirmation", &unlisted, &proxy),
        question("UnsubscribeConfirmation", LISTED, &proxy),
    ]));
    queue.send(&messages(texts(&load)));
    let bridge = inlet.start();
    inlet.await_exactly(&load, &queue, DEADLINE);

    let calls = proxy.calls("ConfirmSubscription");
    assert_eq!(calls.len(), 2, "refused once, and asked again");
    assert!(calls.iter().all(|call| call.resource == LISTED));
    let form = String::from_utf8_lossy(&calls[0].body).into_owned();
    assert!(
        form.contains("Token=2336412f37fb687f5d51e6e2") && form.contains("AuthenticateOnUnsubscribe=true"),
        "{form}"
    );
    assert_eq!(proxy.count("/followed"), 0, "no URL in a message is followed");
    for outcome in ["confirmed", "failed", "refused"] {
        let labels = [format!("outcome=\"{outcome}\""), "source=\"queue\"".to_owned()];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        assert_eq!(bridge.metric("fanbridge_sns_subscriptions_total", &labels), 1.0, "{outcome}");
    }
    let mut letters = await_letters(&bridge, 2);
    letters.sort_by_key(|letter| letter["reason"].to_string());
    let (asked, ended) = (&letters[0], &letters[1]);
    assert_eq!(
        (&asked["reason"], &ended["reason"]),
        (&json!("subscription_confirmation"), &json!("unsubscribe_confirmation"))
    );
    let says =
        |letter: &Value, words: &str| letter["detail"].as_str().is_some_and(|detail| detail.contains(words));
    assert!(says(asked, "sqs.confirm_topics") && says(asked, "aws sns confirm-subscription"), "{asked}");
    assert!(says(ended, "subscribe the queue again"), "{ended}");
    // Admitted again it is still no event, and still says what to do.
    let again = inlet.home.try_verb(&["dead", "redrive", "--all", "--yes"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stdout).contains("subscription_confirmation"), "{again:?}");
    bridge.assert_logs("subscription confirmed");
    bridge.assert_logs("sns:ConfirmSubscription");
    assert!(!bridge.log().contains("2336412f37fb687f5d51e6e2"), "a token is a secret");
    bridge.stop();
}
