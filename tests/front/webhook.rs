//! What becomes of deliveries, and what is counted.

use std::time::Duration;

use fanbridge::selection::Selection;

use crate::support::{
    BODY_BYTES_MAX, Front, LARGE_BYTES_MAX, delivery, delivery_with, event, github, gzip, signature, timed,
};

#[tokio::test]
async fn an_event_is_accepted_once_and_then_a_duplicate() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    let first = peer.ask(delivery(&event(200))).await;
    assert_eq!((first.status, first.header("content-type")), (200, Some("application/json")));
    let answer: serde_json::Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!(answer["verdict"], "accepted");
    assert!(answer["id"].as_str().unwrap().starts_with("sha256-"));

    let second = peer.ask(delivery(&event(200))).await;
    let retried: serde_json::Value = serde_json::from_str(&second.body).unwrap();
    assert_eq!((&retried["verdict"], &retried["id"]), (&"duplicate".into(), &answer["id"]));
    front.assert_metric(r#"fanbridge_requests_total{source="stream",code="200"}"#, "2");
    front.assert_metric(r#"fanbridge_signature_secret_used_total{source="stream",secret="env:SECRET"}"#, "2");
    front.assert_metric(r#"fanbridge_ack_duration_seconds_count{source="stream"}"#, "2");
    let drained = front.types.drain().types;
    let [(provider, event_type, sightings)] = &drained[..] else { panic!("one type, not {drained:?}") };
    assert_eq!((&**provider, &**event_type), ("stream", "call.session_started"));
    assert_eq!((sightings.accepted, sightings.duplicates, sightings.filtered), (1, 1, 0));
}

#[tokio::test]
async fn a_type_that_is_not_selected_is_answered_as_a_success() {
    let selection = Selection::Only(["call.ring".to_owned()].into());
    let front = Front::start_with(|setting| setting.selection = selection).await;
    let reply = front.connect().await.ask(delivery(&event(200))).await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.starts_with(r#"{"verdict":"filtered","id":"#), "{}", reply.body);
    assert_eq!(front.types.drain().types[0].2.filtered, 1);
}

#[tokio::test]
async fn an_authentic_body_of_no_use_is_quarantined_and_answered_as_a_success() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    for (body, verdict) in [("not json", "quarantined"), ("not json", "duplicate"), ("[]", "quarantined")] {
        let reply = peer.ask(delivery(body)).await;
        assert_eq!(reply.status, 200);
        assert!(reply.body.contains(verdict), "{}", reply.body);
    }
}

#[tokio::test]
async fn an_unsigned_id_with_another_body_is_another_event_and_is_counted() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    for size in [200, 201, 201] {
        let reply = peer.ask(delivery_with("X-Webhook-Id: one-and-the-same\r\n", &event(size))).await;
        assert_eq!(reply.status, 200);
    }
    front.assert_metric(r#"fanbridge_id_reuse_total{source="stream"}"#, "1");
}

#[tokio::test]
async fn two_manual_deploys_with_equal_bodies_are_two_events_and_one_delivered_again_is_one() {
    const BODY: &str = r#"{"inputs":{"env":"prod"},"ref":"refs/heads/main","repository":{"id":1},"sender":{"id":2},"workflow":".github/workflows/deploy.yml"}"#;
    let front = Front::start().await;
    let mut peer = front.connect().await;
    for (headers, verdict) in [
        ("X-GitHub-Delivery: 1a\r\n", "accepted"),
        ("X-GitHub-Delivery: 2b\r\n", "accepted"),
        ("X-GitHub-Delivery: 1a\r\n", "duplicate"),
        ("", "accepted"),
        ("", "duplicate"),
        ("X-GitHub-Delivery: 1a\r\nX-GitHub-Delivery: 3c\r\n", "duplicate"),
    ] {
        let reply = peer.ask(github("workflow_dispatch", headers, BODY)).await;
        assert_eq!(reply.status, 200);
        assert!(reply.body.contains(verdict), "{headers}: {}", reply.body);
    }
    front.assert_metric(r#"fanbridge_id_reuse_total{source="github"}"#, "1");
}

#[tokio::test]
async fn a_type_with_spaces_or_letters_beyond_ascii_is_an_event_whether_header_or_body_states_it() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    for (event, body) in [
        ("repository_dispatch", r#"{"action":"deploy to prod"}"#),
        ("Push Hook", "{}"),
        ("événement", r#"{"action":"ausführen"}"#),
    ] {
        let reply = peer.ask(github(event, "X-GitHub-Delivery: 1\r\n", body)).await;
        assert!(reply.body.contains("accepted"), "{event}: {}", reply.body);
    }
    let seen = front.types.drain().types;
    let mut names: Vec<String> = seen.iter().map(|(_, name, _)| name.to_string()).collect();
    names.sort();
    assert_eq!(names, ["Push Hook", "repository_dispatch.deploy to prod", "événement.ausführen"]);
}

#[tokio::test]
async fn clocks_that_are_apart_show_also_where_nothing_is_accepted_for_it() {
    let front = Front::start().await;
    let mut peer = front.connect().await;
    for (seconds, status) in [(-4000, 401), (4000, 401), (-200, 200)] {
        let reply = peer.ask(timed(seconds, r#"{"type":"invoice.paid"}"#)).await;
        assert_eq!(reply.status, status, "{}", reply.body);
        let line = front.metric(r#"fanbridge_clock_skew_seconds{source="standard"}"#);
        let skew: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!((skew - seconds as f64).abs() <= 10.0, "{line}, sent {seconds} from now");
    }
    front.assert_metric(r#"fanbridge_refused_total{source="standard",reason="timestamp_too_old"}"#, "1");
}

#[tokio::test]
async fn a_full_spool_turns_deliveries_away_before_their_bodies() {
    let front = Front::start_with(|setting| setting.spool_full = true).await;
    let mut peer = front.connect().await;
    let request = delivery_with("Expect: 100-continue\r\n", &event(200));
    let reply = peer.ask(&request[..request.len() - 200]).await;
    assert_eq!((reply.status, reply.closing()), (503, true));
    assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    front.assert_metric(r#"fanbridge_requests_total{source="stream",code="503"}"#, "1");
}

#[tokio::test]
async fn a_delivery_that_waits_too_long_for_the_disk_is_to_be_sent_again() {
    let front = Front::start_with(|setting| {
        setting.fsync = Duration::from_millis(500);
        setting.limits.ack_timeout = Duration::from_millis(50);
    })
    .await;
    let reply = front.connect().await.ask(delivery(&event(200))).await;
    assert_eq!(reply.status, 503);
    assert!(reply.header("retry-after").is_some());
    front.assert_metric(r#"fanbridge_refused_total{source="stream",reason="ack_timeout"}"#, "1");
    // It is stored all the same, and counted as what it is then, though nobody waits for that.
    let accepted = r#"fanbridge_events_total{source="stream",family="video.session",verdict="accepted"}"#;
    let patience = std::time::Instant::now() + Duration::from_secs(20);
    while !front.has_metric(accepted, "1") && std::time::Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    front.assert_metric(accepted, "1");
}

#[tokio::test]
async fn bodies_beyond_the_memory_for_all_are_to_be_sent_again() {
    let front = Front::start_with(|setting| setting.limits.in_flight_bytes_max = 3000).await;
    let mut first = front.connect().await;
    let request = delivery(&event(2000));
    let (most, last) = request.split_at(request.len() - 1);
    first.send(most).await;

    let refused = async {
        loop {
            let reply = front.connect().await.ask(delivery(&event(1002))).await;
            // Until the front has read what the first one sent, there is room.
            if reply.status != 200 {
                break reply;
            }
        }
    };
    let refused = tokio::time::timeout(Duration::from_secs(10), refused).await.expect("no room in time");
    assert_eq!((refused.status, refused.closing()), (503, true));
    front.assert_metric(r#"fanbridge_refused_total{source="stream",reason="in_flight_bytes"}"#, "1");
    assert_eq!(first.ask(last).await.status, 200);
    assert_eq!(front.connect().await.ask(delivery(&event(1002))).await.status, 200, "room again");
}

#[tokio::test]
async fn a_length_that_is_only_stated_keeps_nobody_out() {
    let front = Front::start_with(|setting| setting.limits.in_flight_bytes_max = 3000).await;
    let mut promising = front.connect().await;
    let request = delivery_with("Expect: 100-continue\r\n", &event(3000));
    assert_eq!(promising.ask(&request[..request.len() - 3000]).await.status, 100);
    assert_eq!(front.connect().await.ask(delivery(&event(2000))).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_a_bound_of_its_own_takes_what_others_refuse() {
    let front = Front::start_with(|setting| setting.limits.in_flight_bytes_max = 8 << 20).await;
    let to_large = |request: &[u8]| {
        let at = request.windows(10).position(|ten| ten == b"/in/stream").unwrap();
        [&request[..at], b"/in/large", &request[at + 10..]].concat()
    };
    for (bytes, status) in [(BODY_BYTES_MAX + 1, 200), (LARGE_BYTES_MAX, 200), (LARGE_BYTES_MAX + 1, 413)] {
        let request = delivery(&event(bytes));
        assert_eq!(front.connect().await.ask(to_large(&request)).await.status, status, "{bytes}");
        assert_eq!(front.connect().await.ask(request).await.status, 413, "{bytes} for another source");
    }
    // What comes plain may also come compressed: beyond what others may inflate to.
    let mut dice = 1_u64;
    let noise = std::iter::repeat_with(|| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + (dice >> 60) as u8)
    });
    let noise: String = noise.take(3 << 19).collect();
    let plain = format!(r#"{{"type":"call.session_started","call_cid":"default:a","filler":"{noise}"}}"#);
    let zipped = gzip(plain.as_bytes());
    let head = format!(
        "POST /in/large HTTP/1.1\r\nHost: front\r\nX-Signature: {}\r\nContent-Encoding: gzip\r\n\
         Content-Length: {}\r\n\r\n",
        signature(plain.as_bytes()),
        zipped.len()
    );
    let answer = front.connect().await.ask([head.as_bytes(), &zipped].concat()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}
