//! The former routes of the admin API, which say what takes their place.

use serde_json::Value;

use crate::support::bridge::Home;
use crate::support::turns;

#[test]
fn a_former_route_answers_as_ever_and_says_what_takes_its_place() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    let mut admin = bridge.admin();
    for path in ["/api/status", "/api/types", "/api/dead?limit=5", "/api/dead/7", "/api/dead/export"] {
        let answer = admin.get(path).expect("an answer");
        assert_eq!(answer.status, if path.ends_with('7') { 404 } else { 200 }, "{path}: {}", answer.text());
        let since = answer.header("deprecation").and_then(|since| since.strip_prefix('@'));
        assert!(since.is_some_and(|since| since.parse::<u64>().is_ok()), "{path}");
        let link = answer.header("link").expect("a link").to_owned();
        let (target, relation) = link.split_once("; ").expect("a target and a relation");
        assert_eq!(relation, "rel=\"successor-version\"", "{path}");
        let successor = target.trim_start_matches('<').trim_end_matches('>').to_owned();
        assert_eq!(successor, path.split('?').next().unwrap_or_default().replace("/api/", "/api/v1/"));
        let there = admin.get(&successor).expect("an answer");
        assert_eq!(there.status, answer.status, "{successor}: {}", there.text());
        assert_eq!(there.header("deprecation"), None, "{successor}");
    }
    let change = [("x-fanbridge-request", "1")];
    for path in ["/api/dead/redrive", "/api/dead/drop"] {
        let answer = admin.post(path, &change, b"{}").expect("an answer");
        assert!(answer.header("deprecation").is_some(), "{path}: {}", answer.text());
        let there = admin.post(&path.replace("/api/", "/api/v1/"), &change, b"{}").expect("an answer");
        assert_eq!((there.status, there.header("deprecation")), (answer.status, None), "{path}");
    }
}

#[test]
fn verbs_show_the_types_that_came_by_the_routes_that_stay() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    home.run_verb(&["send", "stream-video", "call.created"]);
    let rows: Value = serde_json::from_str(&home.run_verb(&["types", "--seen", "--format", "json"])).unwrap();
    let row = &rows[0];
    assert_eq!((&row["type"], &row["accepted"]), (&"call.created".into(), &1.into()), "{rows}");
    assert!(row.get("verdicts").is_none() && row.get("count").is_none(), "{rows}");
    let said = home.run_verb(&["explain", "--type", "call.created", "--format", "json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["seen"][0]["count"], 1, "{said}");
    drop(bridge);
}
