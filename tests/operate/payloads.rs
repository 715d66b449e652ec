//! Bodies are shown only where that was allowed, and only known hosts are answered.

use std::fs;

use serde_json::Value;

use crate::support::bridge::{Bridge, Home};
use crate::support::client::{Answer, Client};
use crate::support::load::STREAM_PATH;
use crate::support::{signing, turns};

const BODY: &str = r#"{"type":"call.created","call_cid":"default:1","n":1.10}"#;

const TOKEN: &str = "a token that only the tests of this file know";

/// A bridge with files, whose admin listener has these keys too.
fn started(admin: &str) -> (Home, Bridge) {
    let home = Home::new();
    home.configure_files();
    let path = home.path("fanbridge.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("admin: {", &format!("admin: {{ {admin}"))).unwrap();
    let bridge = home.start();
    (home, bridge)
}

/// Sends a body; its id.
fn send(bridge: &Bridge, body: &[u8]) -> String {
    let answer = bridge.client().post(STREAM_PATH, &[("x-signature", &signing::stream(body))], body);
    let said: Value = serde_json::from_slice(&answer.expect("an answer").body).unwrap();
    said["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_payload_is_shown_only_where_it_was_allowed() {
    let _turn = turns::in_company();
    let (home, bridge) = started("");
    let id = send(&bridge, BODY.as_bytes());
    let hidden = bridge.admin().get(&format!("/api/v1/events/{id}?payload=1")).expect("an answer");
    let problem: Value = serde_json::from_slice(&hidden.body).unwrap();
    assert_eq!((hidden.status, &problem["code"]), (403, &"payloads_hidden".into()), "{problem}");
    let told = home.try_verb(&["explain", &id, "--payload"]);
    assert!(String::from_utf8_lossy(&told.stderr).contains("admin.show_payloads"), "{told:?}");
    assert!(!told.status.success() && told.stdout.is_empty(), "{told:?}");
    bridge.stop();

    let (home, bridge) = started("show_payloads: true,");
    let id = send(&bridge, BODY.as_bytes());
    let plain = home.run_verb(&["explain", &id, "--format", "json"]);
    assert!(!plain.contains("1.10"), "nobody asked for the body: {plain}");
    let json = home.run_verb(&["explain", &id, "--payload", "--format", "ndjson"]);
    assert!(json.contains(&format!(r#""data":{BODY}"#)), "byte for byte: {json}");
    let text = home.run_verb(&["explain", &id, "--payload"]);
    assert!(text.ends_with(&format!("body: {BODY}\n")), "{text}");
    // A delivery that cannot become an event has a body, too.
    let twice = send(&bridge, b"{\"type\":\"call.created\",\n\"type\":\"call.created\"}");
    let quarantined = home.run_verb(&["explain", &twice, "--payload", "--format", "ndjson"]);
    let quarantined: Value = serde_json::from_str(&quarantined).unwrap();
    assert!(quarantined["data_base64"].as_str().is_some(), "it has two lines: {quarantined}");
    let wrong = bridge.admin().get(&format!("/api/v1/events/{id}?payload=yes")).expect("an answer");
    assert_eq!(wrong.status, 400, "{}", wrong.text());
}

#[test]
fn a_host_is_known_by_its_whole_name_only() {
    let _turn = turns::in_company();
    let token = tempfile::NamedTempFile::new().unwrap();
    fs::write(token.path(), TOKEN).unwrap();
    let with_token = format!("token: \"file:{}\", hosts: [Ops.example.com],", token.path().display());
    let (home, bridge) = started(&with_token);
    let asked_as = |host: &str| -> Answer {
        let request =
            format!("GET /api/v1/status HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
        Client::new(home.admin).exchange(request.as_bytes()).expect("an answer")
    };
    for host in ["ops.example.com", "OPS.example.com:9090", "localhost", "127.0.0.1"] {
        assert_eq!(asked_as(host).status, 200, "{host}");
    }
    for host in ["example.com", "evil.ops.example.com", "ops.example.com.evil.org", "ops.example.co"] {
        let answer = asked_as(host);
        assert_eq!(answer.status, 421, "{host}");
        assert!(answer.text().contains("unknown_host"), "{}", answer.text());
    }
    drop(bridge);
    for host in ["*.example.com", "ops.example.com:9090", "10.0.0.1", "''", "a b"] {
        let text = fs::read_to_string(home.path("fanbridge.yaml")).unwrap();
        let line = text.lines().find(|line| line.starts_with("admin:")).unwrap();
        let admin = format!(
            "admin: {{ listen: 127.0.0.1:{}, hosts: [\"{}\"] }}",
            home.admin,
            host.trim_matches('\'')
        );
        fs::write(home.path("fanbridge.yaml"), text.replace(line, &admin)).unwrap();
        let checked = home.try_verb(&["check"]);
        assert_eq!(checked.status.code(), Some(78), "{host}");
        assert!(String::from_utf8_lossy(&checked.stdout).contains("is no host name"), "{host}: {checked:?}");
    }
}

#[test]
fn a_name_for_a_proxy_needs_a_token_and_no_page_of_another_site_is_answered() {
    let _turn = turns::in_company();
    let (home, bridge) = started("");
    let asked_from = |site: &str| {
        let headers = format!("host: localhost\r\nsec-fetch-site: {site}\r\n");
        let request = format!("GET /api/v1/status HTTP/1.1\r\n{headers}\r\n");
        Client::new(home.admin).exchange(request.as_bytes()).expect("an answer")
    };
    assert_eq!(asked_from("same-origin").status, 200);
    assert_eq!(asked_from("none").status, 200);
    for site in ["cross-site", "same-site"] {
        let answer = asked_from(site);
        assert!(answer.status == 403 && answer.text().contains("cross_site"), "{site}: {}", answer.text());
    }
    drop(bridge);
    let path = home.path("fanbridge.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("admin: {", "admin: { hosts: [ops.example.com],")).unwrap();
    let checked = home.try_verb(&["check"]);
    assert_eq!(checked.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("names without a token"), "{checked:?}");
}
