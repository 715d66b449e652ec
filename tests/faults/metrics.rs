//! What the metrics say against what the client counted, once everything is settled.

use std::time::Duration;

use serde_json::Value;

use crate::support::bridge::{Bridge, Home};
use crate::support::load::Delivery;
use crate::support::proxy::call::Refusal;
use crate::support::proxy::{ANY, Fault, Proxy};
use crate::support::published::published;
use crate::support::{await_until, readers, signing, turns};

/// The topic of the sink that is down at first, and refuses what is large.
const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:counted";
/// How long that sink's oldest record waits before the sink is up again, at least.
const PENDING_SECONDS: f64 = 1.5;
const DEADLINE: Duration = Duration::from_secs(20);

/// What the client counted, each delivery under what its answer says.
#[derive(Debug, Default, PartialEq)]
struct Counted {
    accepted: u32,
    duplicate: u32,
    filtered: u32,
    quarantined: u32,
    refused: u32,
}

impl Counted {
    fn send(&mut self, bridge: &Bridge, body: &[u8], signature: &str) {
        let headers = [("x-signature", signature)];
        let answer = bridge.client().post("/in/stream-video", &headers, body).expect("an answer");
        let document: Value = serde_json::from_slice(&answer.body).expect("an answer is JSON");
        *match (answer.status, document["verdict"].as_str()) {
            (200, Some("accepted")) => &mut self.accepted,
            (200, Some("duplicate")) => &mut self.duplicate,
            (200, Some("filtered")) => &mut self.filtered,
            (200, Some("quarantined")) => &mut self.quarantined,
            (401, None) => &mut self.refused,
            other => panic!("answered {other:?}"),
        } += 1;
    }
}

#[test]
fn the_metrics_count_what_the_client_counted_and_nothing_is_pending_once_all_is_settled() {
    let _turn = turns::in_company();
    let sns = Proxy::before("http://127.0.0.1:9");
    sns.always("PublishBatch", Fault::Refuse(Refusal::UNAVAILABLE));
    let home = Home::new();
    configure(&home, &sns);
    let bridge = home.start();

    let (mut counted, sent) = (Counted::default(), deliveries());
    for (body, times) in &sent {
        (0..*times).for_each(|_| counted.send(&bridge, body, &signing::stream(body)));
    }
    (0..3).for_each(|_| counted.send(&bridge, &sent[0].0, &signing::stream(b"another body")));
    let expected = Counted { accepted: 12, duplicate: 4, filtered: 5, quarantined: 2, refused: 3 };
    assert_eq!(counted, expected);
    assert_front_agrees(&bridge, &counted);

    let longest = await_pending(&bridge);
    sns.heal();
    sns.always(ANY, Fault::Accept);
    await_until("everything is settled and kept", DEADLINE, || {
        let sum = |name: &str| bridge.metric(&format!("fanbridge_{name}"), &[]);
        let settled = delivered(&bridge, "billing") + dead(&bridge, "billing") >= 12.0;
        // What is kept is counted when its commit is done, and trouble is over when that is noticed.
        let kept = sum("dead_letters_kept") >= 4.0;
        (settled && kept && sum("sink_lag_events") == 0.0 && sum("sink_degraded") == 0.0).then_some(())
    });
    assert_sinks_agree(&bridge, &counted, longest);
    let metrics = bridge.admin().get("/metrics").expect("the metrics").text();
    bridge.stop();
    assert_eq!(readers::files(&home.path("topics")).len(), 12, "{metrics}");
    assert_eq!(published(&sns, TOPIC).len(), 10, "{metrics}");
}

/// A sink that takes everything at once, and the one that is down.
fn configure(home: &Home, sns: &Proxy) {
    home.configure(
        "",
        &format!(
            "select: [call.created, custom]\n\
             aws: {{ endpoint: \"{}\" }}\n\
             sinks:\n\
             \x20 local: {{ file: {{ dir: {} }} }}\n\
             \x20 billing: {{ sns: {{ message_bytes_max: 4KiB }}, topic: \"{TOPIC}\" }}\n",
            sns.endpoint(),
            home.path("topics").display()
        ),
    );
}

/// Bodies, each with how often it is sent: 12 events, of which 3 name no entity and 2 are too large for
/// one sink; 5 that nobody selected; 2 that are no events.
fn deliveries() -> Vec<(Vec<u8>, usize)> {
    let event =
        |kind: &str, number: u64, bytes: usize| Delivery::new(kind, "default:counted", number, bytes).body;
    let keyless = |number: u64| format!(r#"{{"type":"call.created","number":{number}}}"#).into_bytes();
    let mut bodies = Vec::new();
    bodies.extend((0..7).map(|number| (event("call.created", number, 0), 1)));
    bodies.extend((7..9).map(|number| (event("call.created", number, 5 << 10), 1)));
    bodies.extend((9..12).map(|number| (keyless(number), 1)));
    bodies.extend((0..5).map(|number| (event("call.ended", number, 0), 1)));
    bodies.extend([(b"[]".to_vec(), 1), (b"{}".to_vec(), 1)]);
    for (_, times) in &mut bodies[5..9] {
        *times += 1;
    }
    bodies
}

fn assert_front_agrees(bridge: &Bridge, counted: &Counted) {
    let count = |name: &str, label: &str| bridge.metric(name, &[label]) as u32;
    let events = |verdict: &str| count("fanbridge_events_total", &format!("verdict=\"{verdict}\""));
    let shown = Counted {
        accepted: events("accepted"),
        duplicate: events("duplicate"),
        filtered: events("filtered"),
        quarantined: events("quarantined"),
        refused: count("fanbridge_refused_total", "source=\"stream-video\""),
    };
    assert_eq!(shown, *counted);
    let answered = counted.accepted + counted.duplicate + counted.filtered + counted.quarantined;
    assert_eq!(count("fanbridge_requests_total", "code=\"200\""), answered);
    assert_eq!(count("fanbridge_requests_total", "code=\"401\""), counted.refused);
    assert_eq!(count("fanbridge_requests_total", ""), answered + counted.refused);
    assert_eq!(count("fanbridge_ack_duration_seconds_count", ""), answered);
    assert_eq!(count("fanbridge_events_without_key_total", "source=\"stream-video\""), 3);
}

/// Waits while the sink that is down falls behind, and it alone; how old its oldest record got.
fn await_pending(bridge: &Bridge) -> f64 {
    let pending =
        |sink: &str| bridge.metric("fanbridge_sink_oldest_pending_seconds", &[&format!("sink=\"{sink}\"")]);
    await_until("the other sink has everything", DEADLINE, || {
        (delivered(bridge, "local") >= 12.0 && pending("local") == 0.0).then_some(())
    });
    let early = await_until("its oldest record waits", DEADLINE, || {
        Some(pending("billing")).filter(|age| *age > 0.0)
    });
    let late = await_until("it waits for long", DEADLINE, || {
        Some(pending("billing")).filter(|age| *age > PENDING_SECONDS)
    });
    assert!(early < late && late < DEADLINE.as_secs_f64(), "from {early} s to {late} s");
    assert_eq!((pending("local"), delivered(bridge, "billing")), (0.0, 0.0));
    late
}

fn assert_sinks_agree(bridge: &Bridge, counted: &Counted, longest: f64) {
    for (sink, refused) in [("local", 0.0), ("billing", 2.0)] {
        let of_sink = format!("sink=\"{sink}\"");
        let metric = |name: &str| bridge.metric(&format!("fanbridge_{name}"), &[&of_sink]);
        assert_eq!(dead(bridge, sink), refused, "{sink}");
        assert_eq!(metric("dead_letters_kept"), refused, "{sink}");
        let delivered = delivered(bridge, sink);
        assert_eq!(delivered + refused, f64::from(counted.accepted), "{sink}");
        assert_eq!(metric("delivery_duration_seconds_count"), delivered, "{sink}");
        for name in ["sink_lag_events", "sink_in_flight", "sink_oldest_pending_seconds", "sink_degraded"] {
            assert_eq!(metric(name), 0.0, "{name} of {sink}");
        }
    }
    let quarantined = ["sink=\"quarantine\""];
    assert_eq!(bridge.metric("fanbridge_dead_letters_kept", &quarantined), f64::from(counted.quarantined));
    let took =
        |sink: &str| bridge.metric("fanbridge_delivery_duration_seconds_sum", &[&format!("sink=\"{sink}\"")]);
    // All that the sink got was there before it was seen to be behind.
    let bounds = longest..DEADLINE.as_secs_f64() * delivered(bridge, "billing");
    assert!(bounds.contains(&took("billing")), "{} s is not within {bounds:?}", took("billing"));
    assert!((0.0..took("billing")).contains(&took("local")), "{} s", took("local"));
}

fn delivered(bridge: &Bridge, sink: &str) -> f64 {
    bridge.metric("fanbridge_delivered_total", &[&format!("sink=\"{sink}\"")])
}

fn dead(bridge: &Bridge, sink: &str) -> f64 {
    bridge.metric("fanbridge_dead_letters_total", &[&format!("sink=\"{sink}\"")])
}
