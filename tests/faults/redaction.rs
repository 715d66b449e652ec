//! Secrets inside payloads: what lets anybody broadcast, or watch, is gone before anything is kept.

use std::fs;
use std::path::Path;
use std::time::Duration;

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

fn deliver(bridge: &Bridge, body: &[u8]) {
    let signature = signing::fastpix(body);
    let answer = bridge.client().post("/in/fastpix", &[("fastpix-signature", &signature)], body);
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
