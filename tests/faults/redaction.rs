//! Secrets inside payloads: what lets anybody broadcast, or watch, is gone before anything is kept.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::bridge::{Bridge, Home};
use crate::support::proxy::{ANY, Proxy};
use crate::support::published::published;
use crate::support::{await_until, readers, signing, turns};

/// What stands where FastPix puts stream keys, SRT secrets and a signed address.
const SECRETS: [&str; 6] = [
    "canary-stream-key",
    "canary-srt-secret",
    "canary-srt-secret-misspelt",
    "canary-playback-secret",
    "canary-simulcast-key",
    "canary-signed-address",
];
/// What all of those have in common.
const CANARY: &[u8] = b"canary-";
/// Stands beside them and is nobody's secret: found where it is looked for, it proves the looking.
const WITNESS: &[u8] = b"witness-of-the-search";
/// The topic of the sink that refuses what is large.
const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:redacted";

/// A delivery about an upload, with these values where the secrets are. It is one line, which no sink and
/// no dead letter has to encode.
fn body(id: &str, padding: &str, values: [&str; 6]) -> Vec<u8> {
    let [key, srt, misspelt, playback, simulcast, address] = values;
    format!(
        "{{ \"type\": \"video.media.upload\", \"id\": \"{id}\", \"createdAt\": \"2026-11-21T06:40:11.402Z\",  \
         \"object\": {{\"type\": \"media\", \"id\": \"entity\"}}, \"data\": {{\"streamKey\" : {key}, \
         \"srtSecret\":{srt}, \"srtSecert\": {misspelt}, \"number\": 1.50, \"big\": 1778198400000000001,  \
         \"srtPlaybackResponse\": {{\"srtPlaybackStreamId\": \"é \\u00e9\", \"srtPlaybackSecret\": {playback}}},  \
         \"simulcastResponses\": [{{\"url\": \"rtmp://x\"}}, {{ \"streamKey\":{simulcast}}} ], \"url\": {address} }},  \
         \"note\": \"witness-of-the-search\", \"padding\": \"{padding}\" }}"
    )
    .into_bytes()
}

#[test]
fn the_secrets_of_a_fastpix_delivery_are_kept_nowhere_and_all_else_of_it_is_delivered() {
    let _turn = turns::in_company();
    let sns = Proxy::alone();
    let home = Home::new();
    home.configure(
        "",
        &format!(
            "aws: {{ endpoint: \"{}\" }}\n\
             sinks:\n\
             \x20 local: {{ file: {{ dir: {} }} }}\n\
             \x20 billing: {{ sns: {{ message_bytes_max: 4KiB }}, topic: \"{TOPIC}\" }}\n",
            sns.endpoint(),
            home.path("topics").display()
        ),
    );
    let bridge = home.start();
    let large = "x".repeat(4 << 10);
    let secrets = SECRETS.map(|secret| format!("\"{secret}\""));
    let secrets = secrets.each_ref().map(String::as_str);
    let mut expected = Vec::new();
    for (id, padding) in [("event-small", ""), ("event-large", large.as_str())] {
        deliver(&bridge, &body(id, padding, secrets));
        expected.push(body(id, padding, ["\"[redacted]\""; 6]));
    }
    await_until("every sink has settled both", Duration::from_secs(20), || {
        // The letter is kept with the cursor, a moment after it is counted.
        let settled = bridge.metric("fanbridge_delivered_total", &[])
            + bridge.metric("fanbridge_dead_letters_kept", &["reason=\"too_large\""]);
        (settled >= 4.0).then_some(())
    });
    let letter = home.run_verb(&["dead", "show", "1"]);
    bridge.stop();

    let arrived = readers::files(&home.path("topics"));
    let digests: Vec<_> = arrived.iter().map(|arrival| arrival.sha256).collect();
    let redacted: Vec<_> = expected.iter().map(|body| signing::sha256(body)).collect();
    assert_eq!(digests, redacted, "what is not redacted stays as it was signed, byte for byte");
    let messages = published(&sns, TOPIC);
    let [message] = messages.as_slice() else { panic!("one of two is small enough: {messages:?}") };
    let message = readers::structured(TOPIC, message.field("Message").as_bytes());
    assert_eq!((message.id.as_str(), message.sha256), ("event-small", redacted[0]));

    let kept = std::str::from_utf8(&expected[1]).expect("text");
    assert!(letter.contains(kept), "{letter}");
    for call in sns.calls(ANY) {
        assert!(!holds(&call.body, CANARY), "{}", String::from_utf8_lossy(&call.body));
    }
    let mut witnesses = Vec::new();
    search(&home.path(""), &mut witnesses);
    for place in ["spool/00000000000000000001.log", "spool/state.redb", "topics"] {
        let place = home.path(place);
        assert!(witnesses.iter().any(|path| path.starts_with(&place)), "{place:?} not in {witnesses:?}");
    }
}

/// A provider's body with secrets in every place where its documents have one.
struct Carrier {
    source: &'static str,
    catalogued: &'static str,
    body: &'static str,
}

const CARRIERS: [Carrier; 4] = [
    Carrier {
        source: "stream-video",
        catalogued: "call.updated",
        body: r#"{"type":TYPE,"call_cid":"livestream:one","created_at":"2026-11-21T06:40:11.402Z","call":{"cid":"livestream:one",
            "egress":{"broadcasting":true,"rtmps":[{"name":"a","stream_key":"canary-1","stream_url":"rtmp://x"},
            {"name":"b","stream_url":"rtmp://y","stream_key" : "canary-2"}],"hls":null},
            "ingress":{"srt":{"address":"srt://x?passphrase={passphrase}"}}},"note":"witness-of-the-search"}"#,
    },
    Carrier {
        source: "mux",
        catalogued: "video.live_stream.active",
        body: r#"{"type":TYPE,"id":"NUMBER","created_at":"2026-11-21T06:40:11Z","data":{"id":"stream","stream_key":"canary-1",
            "srt_passphrase":"canary-2","simulcast_targets":[{"id":"t","stream_key":"canary-3","url":"srt://x?passphrase=canary-4"}]},
            "note":"witness-of-the-search"}"#,
    },
    Carrier {
        source: "stripe",
        catalogued: "payment_intent.payment_failed",
        body: r#"{"id":"NUMBER","object":"event","type":TYPE,"created":1795243211,"data":{"object":{"id":"pi_1","client_secret":"canary-1",
            "next_action":{"redirect_to_url":{"return_url":"https://shop","url":"https://x?client_secret=canary-2"}},
            "confirmation_secret":{"client_secret":"canary-3","type":"payment_intent"},"secret":"canary-4",
            "last_payment_error":{"setup_intent":{"id":"seti_1","client_secret":"canary-5"}}},
            "previous_attributes":{"status":"processing","client_secret":"canary-6"}},"note":"witness-of-the-search"}"#,
    },
    Carrier {
        source: "fastpix",
        catalogued: "video.live_stream.active",
        body: r#"{"type":TYPE,"id":"NUMBER","createdAt":"2026-11-21T06:40:11.402Z","object":{"type":"live","id":"entity"},
            "data":{"streamKey":"canary-1","srtSecret":"canary-2","simulcastResponses":[{"streamKey":"canary-3"}]},
            "note":"witness-of-the-search"}"#,
    },
];

/// The types that an event can have: one of the catalogue, one that resembles none, and none at all.
fn types(carrier: &Carrier) -> [String; 3] {
    [format!("{:?}", carrier.catalogued), "\"totally.made.up\"".into(), "7".into()]
}

#[test]
fn the_secrets_of_each_provider_are_kept_nowhere_whatever_becomes_of_the_delivery() {
    let _turn = turns::in_company();
    let home = Home::new();
    let topics = home.path("topics");
    home.configure(
        "",
        &format!(
            "\x20 mux: {{ provider: mux, secrets: [env:STREAM_SECRET] }}\n\
             \x20 stripe: {{ provider: stripe, secrets: [env:STREAM_SECRET] }}\n\
             sinks:\n\x20 local: {{ file: {{ dir: {} }} }}\n",
            topics.display()
        ),
    );
    let bridge = home.start();
    let mut expected = Vec::new();
    for carrier in &CARRIERS {
        // One line, which neither the file nor a dead letter has to encode.
        let line = carrier.body.replace('\n', " ");
        for (number, event_type) in types(carrier).iter().enumerate() {
            let body = line.replace("TYPE", event_type).replace("NUMBER", &format!("evt_{number}"));
            deliver_to(&bridge, carrier.source, body.as_bytes());
            if event_type != "7" {
                expected.push(signing::sha256(without_canaries(&body).as_bytes()));
            }
            // What no consumer would read alike is kept for the dead letters, less its secrets all the same.
            let twice = body.replacen('{', "{\"note\":1,", 1);
            deliver_to(&bridge, carrier.source, twice.as_bytes());
        }
        deliver_to(&bridge, carrier.source, &line.as_bytes()[..line.len() - 1]);
    }
    await_until("all that can be read is delivered", Duration::from_secs(20), || {
        (bridge.metric("fanbridge_delivered_total", &[]) >= expected.len() as f64).then_some(())
    });
    let letters = home.run_verb(&["dead", "list", "--format", "json"]);
    bridge.stop();

    let mut arrived: Vec<_> = readers::files(&topics).iter().map(|arrival| arrival.sha256).collect();
    arrived.sort_unstable();
    expected.sort_unstable();
    assert_eq!(arrived, expected, "what is not redacted stays as it was signed, byte for byte");
    for (reason, count) in [("type", 4), ("duplicate_key", 12), ("json", 4)] {
        assert_eq!(letters.matches(&format!("\"{reason}\"")).count(), count, "{reason}: {letters}");
    }
    let mut witnesses = Vec::new();
    search(&home.path(""), &mut witnesses);
    for place in ["spool/00000000000000000001.log", "spool/state.redb", "topics"] {
        let place = home.path(place);
        assert!(witnesses.iter().any(|path| path.starts_with(&place)), "{place:?} not in {witnesses:?}");
    }
}

/// A body with each string that holds a secret redacted.
fn without_canaries(body: &str) -> String {
    let parts = body.split('"').map(|part| if part.contains("canary-") { "[redacted]" } else { part });
    parts.collect::<Vec<_>>().join("\"")
}

fn deliver(bridge: &Bridge, body: &[u8]) {
    deliver_to(bridge, "fastpix", body);
}

fn deliver_to(bridge: &Bridge, source: &str, body: &[u8]) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let dated = || signing::stream(&[format!("{seconds}.").as_bytes(), body].concat());
    let (header, signature) = match source {
        "fastpix" => ("fastpix-signature", signing::fastpix(body)),
        "mux" => ("mux-signature", format!("t={seconds},v1={}", dated())),
        "stripe" => ("stripe-signature", format!("t={seconds},v1={}", dated())),
        _ => ("x-signature", signing::stream(body)),
    };
    let answer = bridge.client().post(&format!("/in/{source}"), &[(header, &signature)], body);
    let answer = answer.expect("an answer");
    assert!(answer.is_success(), "answered {}: {}", answer.status, answer.text());
}

/// Looks through everything that the bridge has written, and notes the files with the witness.
fn search(dir: &Path, witnesses: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory can be read") {
        let path = entry.expect("a directory can be read").path();
        if path.is_dir() {
            search(&path, witnesses);
            continue;
        }
        let bytes = fs::read(&path).expect("a file can be read");
        assert!(!holds(&bytes, CANARY), "a secret is kept in {}", path.display());
        if holds(&bytes, WITNESS) {
            witnesses.push(path);
        }
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
