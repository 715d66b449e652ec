//! A provider's own settings, by a double of Stream's API.

use std::io::{Read, Write};
use std::net::TcpListener;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value as Json, json};
use sha2::Sha256;

use super::Diagnosis;
use crate::support::bridge::Home;
use crate::support::{signing, turns};

const KEY: &str = "key-of-the-doctor";

/// Serves the settings of an app to whoever has its key and a token that its secret signed; the address.
fn api(app: Json) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = vec![0; 8192];
            let length = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let (status, body) = if is_granted(&request) {
                ("200 OK", json!({ "app": app }).to_string())
            } else {
                ("401 Unauthorized", "{}".into())
            };
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    address
}

fn is_granted(request: &str) -> bool {
    let token = request.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or_default();
    let Some((text, signature)) = token.rsplit_once('.') else { return false };
    let mac = Hmac::<Sha256>::new_from_slice(signing::STREAM_SECRET.as_bytes()).unwrap().chain_update(text);
    let expected = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    request.starts_with(&format!("GET /api/v2/app?api_key={KEY} ")) && signature == expected
}

fn diagnosed(home: &Home, app: Json, key: &str) -> Diagnosis {
    let key = format!("STREAM_API_KEY={key}");
    let url = api(app);
    let words = ["--only", "provider.hook,provider.answer", "--provider-key", "env:STREAM_API_KEY"];
    Diagnosis::under(&["env", &key], home, &[&words[..], &["--provider-url", &url]].concat())
}

#[test]
fn hooks_that_do_not_deliver_here_are_told_and_one_that_does_is_tried() {
    let _turn = turns::in_company();
    let home = Home::new();
    let files = format!("sinks:\n  local: {{ file: {{ dir: {} }} }}\n", home.path("topics").display());
    home.configure("", &format!("select: [call.created, call.ended]\n{files}"));
    let url = format!("http://127.0.0.1:{}/in/stream-video", home.http);
    let hook = |more: Json| {
        let mut hook =
            json!({ "hook_type": "webhook", "enabled": true, "webhook_url": url, "event_types": [] });
        hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "event_hooks": [hook] })
    };
    diagnosed(&home, json!({ "event_hooks": [] }), KEY).fails("provider.hook", &["the app has no hook"]);
    diagnosed(&home, hook(json!({ "enabled": false })), KEY).fails("provider.hook", &["is not enabled"]);
    let elsewhere = json!({ "webhook_url": "https://a.example/hooks" });
    diagnosed(&home, hook(elsewhere), KEY).fails("provider.hook", &["none of the app's 1 hooks"]);
    let said = diagnosed(&home, hook(json!({ "event_types": ["call.created"] })), KEY);
    said.warns("provider.hook", &["does not send: call.ended"]);
    said.fails("provider.answer", &[&url, "cannot be reached"]);
    let denied = diagnosed(&home, hook(json!({})), "another-key");
    denied.fails("provider.hook", &["not of one app"]);

    let bridge = home.start();
    let said = diagnosed(&home, hook(json!({})), KEY);
    said.says("provider.hook", "ok", &["leads to it"]);
    said.says("provider.answer", "ok", &["refuses an unsigned delivery"]);
    assert_eq!(bridge.metric("fanbridge_events_total", &[]), 0.0, "nothing was taken in");
    for secret in [KEY, signing::STREAM_SECRET] {
        assert!(!said.report.to_string().contains(secret), "{:#}", said.report);
    }
    bridge.stop();
    let skipped = Diagnosis::of(&home, &["--only", "provider.hook"]);
    skipped.says("provider.hook", "skipped", &["--provider-key"]);
}
