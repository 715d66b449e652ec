//! Dead letters by their cause, over HTTP and on the command line.

use std::path::Path;

use fanbridge::state::NewDeadLetter;
use serde_json::{Value, json};

use crate::bench::{Bench, get, json as parsed, post, refused, send, unusable};
use crate::cli::{configured, dead, lines, said, served};

/// Letters that differ in their numbers alone.
fn too_large(count: u64) -> Vec<NewDeadLetter> {
    let letter = |number| NewDeadLetter {
        detail: format!("a record of {} bytes, at most 1000", 1000 + number),
        ..refused("lake", number)
    };
    (1..=count).map(letter).collect()
}

/// The groups that a running bridge lists.
async fn groups(config: &Path) -> Vec<Value> {
    let listed = dead(config, &["groups", "--format", "ndjson"]).await;
    assert!(listed.status.success(), "{}", said(&listed));
    lines(&listed)
}

#[tokio::test(flavor = "multi_thread")]
async fn four_thousand_letters_of_one_cause_are_one_group_and_go_in_one_command() {
    let bench = Bench::new();
    let mut letters = too_large(4000);
    letters.extend([refused("billing", 5001), unusable(5002)]);
    bench.bury(letters);
    let config = configured(&bench, served(&bench).await);

    let found = groups(&config).await;
    assert_eq!(found.len(), 3, "{found:?}");
    let largest = &found[0];
    assert_eq!(
        (&largest["count"], &largest["sink"], &largest["reason"]),
        (&json!(4000), &json!("lake"), &json!("too_large"))
    );
    assert_eq!(
        (&largest["detail"], &largest["type"]),
        (&json!("a record of N bytes, at most N"), &json!("call.ring"))
    );
    let id = largest["id"].as_str().unwrap();
    let table = dead(&config, &["list", "--sink", "lake", "--limit", "2"]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    let words = format!("1 cause, 4,000 events; `fanbridge dead redrive --group {id}` takes all of it\n");
    assert!(table.starts_with(&words), "{table}");
    let of_group = dead(&config, &["list", "--group", &id[..6], "--limit", "3", "--format", "ndjson"]).await;
    assert_eq!(lines(&of_group).len(), 3, "{}", said(&of_group));

    let unsure = dead(&config, &["redrive", "--group", id]).await;
    assert_eq!(unsure.status.code(), Some(2), "{}", said(&unsure));
    assert!(said(&unsure).contains("4000 dead letters would be redriven"), "{}", said(&unsure));
    let done = dead(&config, &["redrive", "--group", &id[..6], "--yes"]).await;
    assert!(done.status.success() && said(&done).contains("redriven 4000, kept 0"), "{}", said(&done));
    assert_eq!(bench.ids(), [4001, 4002], "the others stay");
    assert_eq!(bench.spooled().await.len(), 4000);
    let none = dead(&config, &["redrive", "--group", id, "--yes"]).await;
    assert_eq!(none.status.code(), Some(1), "{}", said(&none));
    assert!(said(&none).contains("`fanbridge dead groups` lists those that there are"), "{}", said(&none));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_dropped_as_a_whole_and_only_if_its_size_is_confirmed() {
    let bench = Bench::new();
    let mut letters = too_large(1500);
    letters.push(refused("billing", 5001));
    bench.bury(letters);
    let router = bench.router();
    let listed = parsed(&send(&router, get("/api/v1/dead/groups?sink=lake")).await);
    let id = &listed["items"][0]["id"];
    let drop =
        |group: &Value, confirm| post("/api/v1/dead/drop", &json!({ "group": group, "confirm": confirm }));
    for (request, status) in [
        (drop(id, 1499), 409),
        (drop(&json!("000000000000"), 1500), 409),
        (post("/api/v1/dead/drop", &json!({ "group": id, "ids": [1], "confirm": 1 })), 400),
        (post("/api/v1/dead/redrive", &json!({ "group": id, "ids": [1] })), 400),
    ] {
        assert_eq!(send(&router, request).await.status().as_u16(), status);
    }
    assert_eq!(bench.ids().len(), 1501);
    let config = configured(&bench, served(&bench).await);
    let counted = dead(&config, &["drop", "--group", id.as_str().unwrap(), "--dry-run"]).await;
    assert!(said(&counted).contains("1500 dead letters would be dropped"), "{}", said(&counted));
    let dropped = dead(&config, &["drop", "--group", id.as_str().unwrap(), "--yes"]).await;
    assert!(said(&dropped).contains("dropped 1500"), "{}", said(&dropped));
    assert_eq!(bench.ids(), [1501]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_the_letters_leave_nothing_out() {
    let bench = Bench::new();
    bench.bury(too_large(25));
    let router = bench.router();
    let (mut ids, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let page = parsed(&send(&router, get(&format!("/api/v1/dead?limit=10&after={after}"))).await);
        let items = page["items"].as_array().unwrap();
        ids.extend(items.iter().map(|letter| letter["id"].as_u64().unwrap()));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(ids, (1..=25).collect::<Vec<_>>());
    let shown = parsed(&send(&router, get("/api/v1/dead/7")).await);
    assert_eq!((&shown["id"], &shown["provider"]), (&json!(7), &json!("stream")));
    assert_eq!(send(&router, get("/api/v1/dead/99")).await.status().as_u16(), 404);
    let exported = send(&router, get("/api/v1/dead/export?limit=3")).await;
    assert_eq!(exported.headers()["x-fanbridge-next"], "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_bridges_letters_have_their_causes_too() {
    let bench = Bench::new();
    bench.bury(too_large(3));
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let config = configured(&bench, port);
    let Bench { dir: _kept, state, spool, .. } = bench;
    drop(state);
    spool.close().await;
    drop(spool);
    let found = groups(&config).await;
    assert_eq!((found.len(), &found[0]["count"]), (1, &json!(3)));
    let listed = dead(&config, &["list", "--group", found[0]["id"].as_str().unwrap()]).await;
    let table = String::from_utf8(listed.stdout).unwrap();
    assert!(table.starts_with("1 cause, 3 events; "), "{table}");
}
