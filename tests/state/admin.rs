//! The admin listener's routes and the rules that every request meets first.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use fanbridge::ack::AwaitedSinks;
use fanbridge::admin::{Access, router};
use fanbridge::event::Timestamp;
use fanbridge::health::SourceTrouble;
use fanbridge::state::TypeSeen;
use http::{Method, Request, Response, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::bench::{
    BODY, Bench, event, get, json as parsed, letter, never, nothing_to_note, post, quarantined, refused,
    send, unusable,
};

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

fn assert_problem(response: &Response<Bytes>, status: StatusCode) {
    assert_eq!(response.status(), status, "{:?}", response.body());
    assert_eq!(header(response, "content-type"), Some("application/problem+json"));
    let document = parsed(response);
    assert_eq!(document["status"], status.as_u16());
    let code = document["code"].as_str().unwrap();
    assert_eq!(document["type"], format!("urn:fanbridge:problem:{code}"));
    assert!(document["instance"].as_str().unwrap().starts_with("urn:fanbridge:request:"), "{document}");
    assert!(document["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
}

async fn status_of(bench_listen: &str, token: Option<&str>, request: Request<Body>) -> StatusCode {
    let bench = Bench::new();
    send(&bench.router_at(bench_listen, token), request).await.status()
}

fn with_host(host: &str) -> Request<Body> {
    Request::get("/api/status").header("host", host).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_page_that_rebinds_its_name_is_not_answered() {
    let bench = Bench::new();
    let router = bench.router();
    for host in ["evil.example", "localhost.evil.example:9090", "10.0.0.1:9090", "", "a b", "user@localhost"]
    {
        assert_problem(&send(&router, with_host(host)).await, StatusCode::MISDIRECTED_REQUEST);
    }
    for host in ["localhost", "LOCALHOST:9090", "127.0.0.1:9090", "[::1]:9090", "127.0.0.1:18080"] {
        assert_eq!(send(&router, with_host(host)).await.status(), StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn a_request_without_one_clear_host_is_not_answered() {
    let bench = Bench::new();
    let none = Request::get("/api/status").body(Body::empty()).unwrap();
    assert_problem(&send(&bench.router(), none).await, StatusCode::MISDIRECTED_REQUEST);
    let two = Request::get("/api/status").header("host", "localhost").header("host", "evil.example");
    let response = send(&bench.router(), two.body(Body::empty()).unwrap()).await;
    assert_problem(&response, StatusCode::MISDIRECTED_REQUEST);
    let absolute = Request::get("http://evil.example/api/status").header("host", "localhost");
    let response = send(&bench.router(), absolute.body(Body::empty()).unwrap()).await;
    assert_problem(&response, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn a_listener_for_all_addresses_answers_to_any_address_and_no_name() {
    let asked = |host: &str| {
        let request =
            Request::get("/api/status").header("host", host).header("authorization", "Bearer s3cret");
        request.body(Body::empty()).unwrap()
    };
    assert_eq!(status_of("0.0.0.0:9090", Some("s3cret"), asked("10.1.2.3:9090")).await, StatusCode::OK);
    let named = status_of("0.0.0.0:9090", Some("s3cret"), asked("evil.example:9090")).await;
    assert_eq!(named, StatusCode::MISDIRECTED_REQUEST);
    let other = status_of("10.1.2.3:9090", Some("s3cret"), asked("10.1.2.4:9090")).await;
    assert_eq!(other, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn a_process_with_a_loop_that_hangs_is_not_alive_until_the_loop_goes_on() {
    let bench = Bench::new();
    let router = bench.router();
    let alive = async || send(&router, get("/livez")).await;
    let heart = bench.health.add_heart("dispatch lake", Duration::from_secs(1));
    assert_eq!(alive().await.status(), StatusCode::OK);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let hung = alive().await;
    assert_problem(&hung, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(parsed(&hung)["detail"], "dispatch lake has given no sign of life: restart the bridge");
    heart.beat();
    assert_eq!(alive().await.status(), StatusCode::OK);
}

#[tokio::test]
async fn without_the_right_token_nothing_but_the_probes_is_answered() {
    let bench = Bench::new();
    let router = bench.router_at("127.0.0.1:9090", Some("s3cret"));
    let asked = |path: &str, authorization: Option<&str>| {
        let mut request = get(path);
        if let Some(value) = authorization {
            request.headers_mut().insert("authorization", value.parse().unwrap());
        }
        request
    };
    let wrong =
        [None, Some("s3cret"), Some("Bearer"), Some("Bearer "), Some("Bearer s3cret2"), Some("Bearer s3cre")];
    let wrong =
        wrong.into_iter().chain([Some("Basic s3cret"), Some("Bearer  s3cret"), Some("Bearer S3CRET")]);
    for authorization in wrong {
        for path in ["/api/status", "/metrics", "/api/dead", "/api/dead/1", "/nothing"] {
            let response = send(&router, asked(path, authorization)).await;
            assert_problem(&response, StatusCode::UNAUTHORIZED);
            assert_eq!(header(&response, "www-authenticate"), Some("Bearer"));
        }
    }
    for authorization in ["Bearer s3cret", "bearer s3cret"] {
        assert_eq!(send(&router, asked("/api/status", Some(authorization))).await.status(), StatusCode::OK);
    }
    assert_eq!(send(&router, asked("/livez", None)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_token_for_the_metrics_reads_them_and_nothing_else() {
    let bench = Bench::new();
    let [token, metrics_token] = ["s3cret", "m3trics"].map(SecretString::from);
    let access = Access::new("10.1.2.3:9090".parse().unwrap(), Some(&token));
    let router = bench.router_of(access.with_metrics_token(Some(&metrics_token)));
    let asked = async |method: Method, path: &str, token: &str| {
        let request = Request::builder().method(method).uri(path).header("host", "10.1.2.3");
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.header("x-fanbridge-request", "1").header("content-type", "application/json");
        send(&router, request.body(Body::empty()).unwrap()).await
    };
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(asked(method, "/metrics", "m3trics").await.status(), StatusCode::OK);
    }
    let denied = [
        (Method::POST, "/metrics"),
        (Method::GET, "/metrics/"),
        (Method::GET, "//metrics"),
        (Method::GET, "/metrics/../api/v1/status"),
        (Method::GET, "/api/v1/status"),
        (Method::GET, "/api/v1/events"),
        (Method::GET, "/api/v1/configuration"),
        (Method::GET, "/api/v1/dead/export"),
        (Method::GET, "/api/status"),
        (Method::POST, "/api/v1/reload"),
        (Method::POST, "/api/v1/sinks/lake/pause"),
        (Method::GET, "/nothing"),
    ];
    for (method, path) in denied {
        let response = asked(method.clone(), path, "m3trics").await;
        assert_problem(&response, StatusCode::UNAUTHORIZED);
        assert_eq!(parsed(&response)["code"], "token_wrong", "{method} {path}");
    }
    // It makes nobody less of a stranger to the probes, and the operator's token reads the metrics, too.
    assert_eq!(asked(Method::GET, "/livez", "m3trics").await.status(), StatusCode::OK);
    assert_eq!(asked(Method::GET, "/metrics", "s3cret").await.status(), StatusCode::OK);
    assert_eq!(asked(Method::GET, "/metrics", "m3trics2").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn two_tokens_are_as_good_as_none() {
    let mut request = get("/api/status");
    request.headers_mut().append("authorization", "Bearer s3cret".parse().unwrap());
    request.headers_mut().append("authorization", "Bearer other".parse().unwrap());
    assert_eq!(status_of("127.0.0.1:9090", Some("s3cret"), request).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_listener_off_loopback_without_a_token_answers_the_probes_alone() {
    let request = |path: &str| Request::get(path).header("host", "10.1.2.3").body(Body::empty()).unwrap();
    assert_eq!(status_of("10.1.2.3:9090", None, request("/api/status")).await, StatusCode::FORBIDDEN);
    assert_eq!(status_of("10.1.2.3:9090", None, request("/metrics")).await, StatusCode::FORBIDDEN);
    assert_eq!(status_of("10.1.2.3:9090", None, request("/readyz")).await, StatusCode::OK);
}

#[tokio::test]
async fn who_may_not_see_the_rest_is_told_by_the_probes_that_something_is_wrong_and_not_what() {
    let bench = Bench::new();
    let admin = bench.admin("10.1.2.3:9090", Some("s3cret"));
    admin.open(
        bench.state.clone(),
        bench.spool.clone(),
        never(),
        nothing_to_note(),
        &AwaitedSinks::default(),
    );
    admin.health.start();
    admin.health.add_sink("lake").degraded("unknown_topic: broker-7.internal".into());
    let source = admin.health.add_source("queue");
    source.reach();
    let denied = "on https://sqs/111111111111/q".into();
    source.degraded(SourceTrouble { reason: "denied", advice: denied, lacks_credentials: false });
    let router = router(admin.clone());
    let ask = |host: &str, token: Option<&str>| {
        let mut request = Request::get("/readyz").header("host", host);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.body(Body::empty()).unwrap()
    };
    let vague = "ok\nsource queue is degraded\nsink lake is degraded\n";
    let text = async |request| {
        let answer = send(&router, request).await;
        String::from_utf8(answer.into_body().to_vec()).unwrap()
    };
    assert_eq!(text(ask("10.1.2.3", None)).await, vague);
    assert_eq!(text(ask("10.1.2.3", Some("other"))).await, vague);
    assert_eq!(text(ask("evil.example", Some("s3cret"))).await, vague, "a name that was rebound");
    assert_eq!(
        text(ask("10.1.2.3", Some("s3cret"))).await,
        "ok\nsource queue is degraded: on https://sqs/111111111111/q\n\
         sink lake is degraded: unknown_topic: broker-7.internal\n"
    );
    // Credentials that were never there make the bridge unready, and are as secret.
    let never = admin.health.add_source("other");
    let missing = "no file /home/x/.aws".into();
    never.degraded(SourceTrouble { reason: "credentials", advice: missing, lacks_credentials: true });
    assert!(!text(ask("10.1.2.3", None)).await.contains("/home/x"));
    assert!(text(ask("10.1.2.3", Some("s3cret"))).await.contains("source other cannot receive: no file"));
}

#[tokio::test]
async fn a_change_that_a_web_page_could_send_changes_nothing() {
    let bench = Bench::new();
    bench.bury(vec![refused("lake", 1)]);
    let router = bench.router();
    let body = json!({ "ids": [1], "confirm": 1 });

    let mut forged = post("/api/dead/drop", &body);
    forged.headers_mut().remove("x-fanbridge-request");
    assert_problem(&send(&router, forged).await, StatusCode::FORBIDDEN);
    let mut form = post("/api/dead/drop", &body);
    form.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_problem(&send(&router, form).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let mut preflight = Request::options("/api/dead/drop").header("host", "localhost");
    preflight = preflight.header("origin", "https://evil.example");
    let response = send(&router, preflight.body(Body::empty()).unwrap()).await;
    assert_problem(&response, StatusCode::FORBIDDEN);
    assert_eq!(header(&response, "access-control-allow-origin"), None);

    assert_eq!(bench.ids(), [1]);
}

#[tokio::test]
async fn every_answer_forbids_framing_sniffing_and_keeping() {
    let bench = Bench::new();
    let router = bench.router();
    for request in [get("/livez"), get("/api/status"), get("/nothing"), with_host("evil.example")] {
        let response = send(&router, request).await;
        assert!(header(&response, "content-security-policy").unwrap().starts_with("default-src 'none'"));
        assert_eq!(header(&response, "x-content-type-options"), Some("nosniff"));
        assert_eq!(header(&response, "x-frame-options"), Some("DENY"));
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        assert_eq!(header(&response, "access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_answered_with_a_problem() {
    let bench = Bench::new();
    let router = bench.router();
    assert_problem(&send(&router, get("/nothing")).await, StatusCode::NOT_FOUND);
    assert_problem(&send(&router, get("/api/dead/7")).await, StatusCode::NOT_FOUND);
    assert_problem(&send(&router, get("/api/dead/seven")).await, StatusCode::BAD_REQUEST);
    assert_problem(&send(&router, get("/api/dead?limit=many")).await, StatusCode::BAD_REQUEST);
    assert_problem(&send(&router, get("/api/dead?sinks=lake")).await, StatusCode::BAD_REQUEST);
    let response = send(&router, get("/api/dead/redrive")).await;
    assert_problem(&response, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(header(&response, "allow"), Some("POST"));
    for body in [json!({}), json!({ "ids": [] }), json!({ "ids": [1], "filter": {} }), json!({ "idz": [1] })]
    {
        assert_problem(&send(&router, post("/api/dead/redrive", &body)).await, StatusCode::BAD_REQUEST);
    }
    let ids: Vec<u64> = (1..=1001).collect();
    let response = send(&router, post("/api/dead/redrive", &json!({ "ids": ids }))).await;
    assert_problem(&response, StatusCode::BAD_REQUEST);
    let huge = json!({ "ids": [1], "confirm": 1, "x": "x".repeat(300 << 10) });
    assert_problem(&send(&router, post("/api/dead/drop", &huge)).await, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn readiness_follows_the_spool_and_liveness_does_not() {
    let bench = Bench::new();
    let router = bench.router();
    assert_eq!(send(&router, get("/readyz")).await.status(), StatusCode::OK);

    bench.spool.close().await;

    let response = send(&router, get("/readyz")).await;
    assert_problem(&response, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&response, "retry-after"), Some("5"));
    assert_eq!(send(&router, get("/livez")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_bridge_that_recovers_is_alive_and_neither_started_nor_ready() {
    let bench = Bench::new();
    let recovering = Bench::new();
    let health = std::sync::Arc::new(fanbridge::health::Health::default());
    let admin = {
        let mut admin = recovering.admin("127.0.0.1:9090", None);
        admin.health = std::sync::Arc::clone(&health);
        admin
    };
    let router = router(admin.clone());
    assert_eq!(send(&router, get("/livez")).await.status(), StatusCode::OK);
    for path in ["/startupz", "/readyz", "/api/dead", "/api/types"] {
        assert_problem(&send(&router, get(path)).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(parsed(&send(&router, get("/api/status")).await)["ready"], false);
    assert_eq!(send(&router, get("/metrics")).await.status(), StatusCode::OK);

    admin.open(
        bench.state.clone(),
        bench.spool.clone(),
        never(),
        nothing_to_note(),
        &AwaitedSinks::default(),
    );
    health.start();

    for path in ["/startupz", "/readyz", "/api/dead", "/api/types"] {
        assert_eq!(send(&router, get(path)).await.status(), StatusCode::OK, "{path}");
    }
    health.stop();
    assert_problem(&send(&router, get("/readyz")).await, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn metrics_tell_the_dead_letters_that_are_kept_and_forget_those_that_are_not() {
    let bench = Bench::new();
    bench.bury(vec![refused("lake", 1), refused("lake", 2), unusable(3)]);
    let router = bench.router();

    let response = send(&router, get("/metrics")).await;
    let expected = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(header(&response, "content-type"), Some(expected));
    let text = String::from_utf8_lossy(response.body()).into_owned();
    assert!(text.contains(r#"fanbridge_dead_letters_kept{sink="lake",reason="too_large"} 2"#), "{text}");
    assert!(text.contains(r#"fanbridge_dead_letters_kept{sink="quarantine",reason="json"} 1"#), "{text}");

    bench.state.remove_dead_letters(&[1, 2, 3]).unwrap();
    let text = String::from_utf8_lossy(send(&router, get("/metrics")).await.body()).into_owned();
    assert!(!text.contains("fanbridge_dead_letters_kept{"), "{text}");
    assert!(text.contains("fanbridge_dead_letters_kept_bytes 0"), "{text}");
}

#[tokio::test]
async fn the_status_tells_what_is_wrong_with_a_sink() {
    let bench = Bench::new();
    bench.health.add_sink("lake").degraded("unknown topic stream.video".into());
    bench.bury(vec![refused("lake", 1)]);

    let status = parsed(&send(&bench.router(), get("/api/status")).await);

    assert_eq!(status["fingerprint"], "0123456789ab");
    assert_eq!(status["ready"], true);
    assert_eq!(status["sinks"][0]["degraded_because"], "unknown topic stream.video");
    assert_eq!(status["sinks"][1].get("degraded_because"), None);
    assert_eq!(status["dead_letters"][0]["count"], 1);
    assert_eq!(status["sources"][0]["name"], "stream-video");
    assert!(status["spool"]["bytes_max"].as_u64().is_some());
}

#[tokio::test]
async fn types_tell_which_are_new_and_who_selects_them() {
    let bench = Bench::new();
    let seen = |event_type: &str, verdict: &str| TypeSeen {
        provider: "stream".into(),
        event_type: event_type.into(),
        verdict: verdict.into(),
        count: 2,
        first: Timestamp(0),
        last: Timestamp(1),
    };
    bench.state.record_types(&[seen("call.ring", "accepted"), seen("call.teleported", "accepted")]).unwrap();

    let types = parsed(&send(&bench.router(), get("/api/types")).await);

    assert_eq!((&types[0]["type"], &types[0]["new"]), (&json!("call.teleported"), &json!(true)));
    assert_eq!((&types[1]["type"], &types[1]["new"]), (&json!("call.ring"), &json!(false)));
    assert_eq!(types[1]["selected_by"], json!(["lake", "billing"]));
    assert_eq!(types[1]["accepted"], 2);
}

#[tokio::test]
async fn a_list_holds_no_body_and_a_single_letter_holds_it_verbatim() {
    let bench = Bench::new();
    let hostile = "call\r\n\u{1b}[31m<script>\u{202e}";
    bench.bury(vec![letter(Some("lake"), 1, "invalid", event("evt-1", hostile).into())]);
    let router = bench.router();

    let list = send(&router, get("/api/dead?sink=lake")).await;
    assert_eq!(parsed(&list)[0]["event_type"], hostile);
    assert!(!String::from_utf8_lossy(list.body()).contains("1.10"));

    let shown = send(&router, get("/api/dead/1")).await;
    let text = String::from_utf8_lossy(shown.body()).into_owned();
    assert!(text.contains(&format!(r#""data":{BODY}"#)), "{text}");
    let document: Value = parsed(&shown);
    assert_eq!(
        (&document["key"], &document["extensions"]["webhookid"]),
        (&json!("default:abc"), &json!("w-1"))
    );
}

#[tokio::test]
async fn a_body_that_is_not_one_line_of_json_is_shown_in_base64() {
    let bench = Bench::new();
    let bodies: [&[u8]; 4] = [b"{\"a\":\n1}", b"\xff", b" {}", b""];
    let letters = bodies.iter().zip(1..);
    bench.bury(letters.map(|(body, n)| letter(None, n, "json", quarantined(body).into())).collect());
    let router = bench.router();

    let export = send(&router, get("/api/dead/export")).await;

    assert_eq!(header(&export, "content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = export.body().lines();
    let encoded: Vec<_> = lines.iter().map(|line| line["data_base64"].as_str().unwrap()).collect();
    assert_eq!(encoded, ["eyJhIjoKMX0=", "/w==", "IHt9", ""]);
    assert!(lines.iter().all(|line| line.get("data").is_none()));
}

trait Lines {
    fn lines(&self) -> Vec<Value>;
}

impl Lines for Bytes {
    fn lines(&self) -> Vec<Value> {
        std::str::from_utf8(self).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn an_export_goes_on_where_its_last_page_ended() {
    let bench = Bench::new();
    bench.bury((1..=5).map(|n| refused("lake", n)).collect());
    let router = bench.router();
    let mut found = Vec::new();
    let mut next = Some("0".to_owned());
    while let Some(after) = next {
        let page = send(&router, get(&format!("/api/dead/export?limit=2&after={after}"))).await;
        found.extend(page.body().lines().iter().map(|line| line["id"].as_u64().unwrap()));
        next = header(&page, "x-fanbridge-next").map(str::to_owned);
    }
    assert_eq!(found, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_dry_run_counts_and_a_redrive_redrives() {
    let bench = Bench::new();
    bench.bury(vec![refused("lake", 1), refused("billing", 2), unusable(3)]);
    let router = bench.router();
    let filter = json!({ "sink": "lake" });

    let counted =
        send(&router, post("/api/dead/redrive", &json!({ "filter": filter, "dry_run": true }))).await;
    assert_eq!(parsed(&counted), json!({ "dry_run": true, "count": 1, "through": 1 }));
    assert_eq!(bench.ids(), [1, 2, 3]);

    let done = parsed(&send(&router, post("/api/dead/redrive", &json!({ "filter": filter }))).await);
    assert_eq!((&done["redriven"], &done["last"]), (&json!(1), &json!(1)));
    let done = parsed(&send(&router, post("/api/dead/redrive", &json!({ "ids": [2, 3] }))).await);
    assert_eq!((&done["redriven"], &done["kept"][0]["id"]), (&json!(1), &json!(3)));
    assert_eq!(bench.ids(), [3]);
    assert_eq!(bench.spooled().await.len(), 2);
}

#[tokio::test]
async fn dropping_needs_the_count_said_twice() {
    let bench = Bench::new();
    bench.bury(vec![refused("lake", 1), refused("lake", 2)]);
    let router = bench.router();

    let wrong = send(&router, post("/api/dead/drop", &json!({ "ids": [1, 1], "confirm": 2 }))).await;
    assert_problem(&wrong, StatusCode::CONFLICT);
    let silent = send(&router, post("/api/dead/drop", &json!({ "ids": [1] }))).await;
    assert_problem(&silent, StatusCode::BAD_REQUEST);
    assert_eq!(bench.ids(), [1, 2]);

    let done = send(&router, post("/api/dead/drop", &json!({ "ids": [1, 7], "confirm": 2 }))).await;
    assert_eq!(parsed(&done), json!({ "dropped": 1, "missing": [7] }));
    assert_eq!(bench.ids(), [2]);
}

#[tokio::test]
async fn a_dry_run_counts_what_the_same_request_would_redrive() {
    let bench = Bench::new();
    bench.bury((1..=6).map(|n| refused(if n == 4 { "billing" } else { "lake" }, n)).collect());
    let router = bench.router();
    for (bounds, count, through) in [
        (json!({}), 5, 6),
        (json!({ "after": 2 }), 3, 6),
        (json!({ "limit": 2 }), 2, 2),
        (json!({ "after": 2, "limit": 2 }), 2, 5),
        (json!({ "after": 1, "through": 4 }), 2, 3),
        (json!({ "after": 6 }), 0, 0),
        (json!({ "after": 5, "through": 3 }), 0, 0),
    ] {
        let mut request = bounds.clone();
        request["filter"] = json!({ "sink": "lake" });
        request["dry_run"] = true.into();
        let counted = send(&router, post("/api/dead/redrive", &request)).await;
        let expected = json!({ "dry_run": true, "count": count, "through": through });
        assert_eq!(parsed(&counted), expected, "{bounds}");
    }
    assert_eq!(bench.ids(), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_letter_that_is_redriven_and_dropped_at_once_is_one_of_both_and_not_there_for_the_other() {
    const LETTERS: u64 = 200;
    let bench = Bench::new();
    bench.bury((1..=LETTERS).map(|n| refused("lake", n)).collect());
    let router = bench.router();
    let (mut redriven, mut dropped) = (0, 0);
    for ids in (1..=LETTERS).collect::<Vec<_>>().chunks(4) {
        let redrive = post("/api/dead/redrive", &json!({ "ids": ids }));
        let drop = post("/api/dead/drop", &json!({ "ids": ids, "confirm": ids.len() }));
        let ask = |request| {
            let router = router.clone();
            tokio::spawn(async move { parsed(&send(&router, request).await) })
        };
        let (redrive, drop) = (ask(redrive), ask(drop));
        let (redrive, drop) = (redrive.await.unwrap(), drop.await.unwrap());
        let count = |answer: &Value, what: &str| answer[what].as_u64().unwrap();
        let missing = |answer: &Value| answer["missing"].as_array().map_or(0, Vec::len) as u64;
        assert_eq!(count(&redrive, "redriven") + missing(&redrive), 4, "{redrive}");
        assert_eq!(count(&drop, "dropped") + missing(&drop), 4, "{drop}");
        assert_eq!(count(&redrive, "redriven") + count(&drop, "dropped"), 4, "{redrive} {drop}");
        redriven += count(&redrive, "redriven");
        dropped += count(&drop, "dropped");
    }
    assert_eq!((redriven + dropped, bench.ids().len()), (LETTERS, 0));
    assert_eq!(bench.spooled().await.len() as u64, redriven, "what was dropped is not delivered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_drops_at_once_one_has_each_letter() {
    let bench = Bench::new();
    bench.bury((1..=50).map(|n| refused("lake", n)).collect());
    let router = bench.router();
    let ids: Vec<u64> = (1..=50).collect();
    let drop = || {
        let request = post("/api/dead/drop", &json!({ "ids": ids, "confirm": 50 }));
        let router = router.clone();
        tokio::spawn(async move { parsed(&send(&router, request).await)["dropped"].as_u64().unwrap() })
    };
    let (one, other) = (drop(), drop());
    assert_eq!(one.await.unwrap() + other.await.unwrap(), 50);
}
