//! `fanbridge dead` as a person runs it: against a running bridge's admin listener, and against the
//! file that a stopped one left.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use fanbridge::event::{Entry, Position, Quarantined};
use fanbridge::state::{FILE_NAME, Progress, State};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::bench::{BODY, Bench, event, letter, refused, unusable};
use crate::support::bridge::Home;
use crate::support::{inject, turns};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A configuration that names the bench's spool and this admin port.
pub fn configured(bench: &Bench, port: u16) -> PathBuf {
    let dir = bench.dir.path();
    let text = format!(
        "admin: {{ listen: \"127.0.0.1:{port}\", token: env:ADMIN_TOKEN }}\n\
         spool: {{ dir: \"{dir}\" }}\n\
         sources:\n  stream-video: {{ provider: stream, secrets: [env:STREAM_SECRET] }}\n\
         sinks:\n  lake: {{ file: {{ dir: \"{dir}/topics\" }} }}\n",
        dir = dir.display()
    );
    let path = dir.join("fanbridge.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

pub async fn dead(config: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fanbridge"))
        .arg("dead")
        .args(args)
        .arg("--config")
        .arg(config)
        .env("ADMIN_TOKEN", TOKEN)
        .env("STREAM_SECRET", "a-secret-of-the-tests-that-is-long-enough")
        .output()
        .await
        .unwrap()
}

pub fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The bench's routes behind a real listener; its port.
pub async fn served(bench: &Bench) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = bench.router_at(&address.to_string(), Some(TOKEN));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address.port()
}

/// A port that nobody listens on.
async fn unused_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_bridge_lists_shows_exports_redrives_and_drops() {
    let bench = Bench::new();
    bench.bury(vec![refused("lake", 1), refused("lake", 2), unusable(3), refused("billing", 4)]);
    let config = configured(&bench, served(&bench).await);

    let listed =
        dead(&config, &["list", "--sink", "lake", "--reason", "too_large", "--format", "ndjson"]).await;
    assert!(listed.status.success(), "{}", said(&listed));
    assert_eq!(lines(&listed).iter().map(|letter| letter["id"].clone()).collect::<Vec<_>>(), [1, 2]);

    let shown = dead(&config, &["show", "1"]).await;
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&format!(r#""data":{BODY}"#)));
    let missing = dead(&config, &["show", "99"]).await;
    assert_eq!(missing.status.code(), Some(1), "{}", said(&missing));

    let exported = dead(&config, &["export"]).await;
    assert_eq!(lines(&exported).len(), 4);

    let unsure = dead(&config, &["redrive", "--sink", "lake"]).await;
    assert_eq!(unsure.status.code(), Some(2), "{}", said(&unsure));
    let vague = dead(&config, &["redrive", "--yes"]).await;
    assert_eq!(vague.status.code(), Some(2), "{}", said(&vague));
    let counted = dead(&config, &["redrive", "--sink", "lake", "--dry-run"]).await;
    assert!(said(&counted).contains("2 dead letters would be redriven"), "{}", said(&counted));
    assert_eq!(bench.ids(), [1, 2, 3, 4]);

    let done = dead(&config, &["redrive", "--sink", "lake", "--yes"]).await;
    assert!(done.status.success() && said(&done).contains("redriven 2, kept 0"), "{}", said(&done));
    let kept = dead(&config, &["redrive", "3", "--yes", "--format", "ndjson"]).await;
    assert_eq!((kept.status.code(), &lines(&kept)[0]["reason"]), (Some(1), &Value::from("json")));

    let dropped = dead(&config, &["drop", "3", "4", "--yes"]).await;
    assert!(said(&dropped).contains("dropped 2"), "{}", said(&dropped));
    assert_eq!(bench.ids(), [0_u64; 0]);
    assert_eq!(bench.spooled().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_as_large_as_any_are_shown_and_exported_by_a_running_bridge() {
    let bench = Bench::new();
    // In base64 this one alone is beyond 16 MiB, and an export's page ends behind it.
    let large = |n| match unusable(n).entry {
        Entry::Quarantined(quarantined) => {
            Quarantined { body: vec![0xff; 16 << 20].into(), ..Arc::unwrap_or_clone(quarantined) }.into()
        }
        Entry::Event(_) => unreachable!("unusable deliveries are none"),
    };
    bench.bury(vec![refused("lake", 1), letter(None, 2, "utf8", large(2)), refused("lake", 3)]);
    let config = configured(&bench, served(&bench).await);

    let exported = dead(&config, &["export"]).await;
    assert!(exported.status.success(), "{}", said(&exported));
    assert_eq!(lines(&exported).len(), 3);
    let shown = dead(&config, &["show", "2"]).await;
    assert!(shown.status.success() && shown.stdout.len() > 16 << 20, "{}", said(&shown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_of_everything_goes_through_all_pages_once() {
    let bench = Bench::new();
    bench.bury((1..=450).map(|n| refused("lake", n)).collect());
    let config = configured(&bench, served(&bench).await);

    let done = dead(&config, &["redrive", "--all", "--yes"]).await;

    assert!(done.status.success() && said(&done).contains("redriven 450, kept 0"), "{}", said(&done));
    assert_eq!(bench.spooled().await.len(), 450);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_bridges_letters_can_be_read_and_not_changed() {
    let bench = Bench::new();
    bench.bury(vec![refused("lake", 1), unusable(2)]);
    let config = configured(&bench, unused_port().await);

    let all: [&[&str]; 3] = [&["list"], &["redrive", "--all", "--yes"], &["drop", "1", "--yes"]];
    let assert_busy = async || {
        for words in all {
            let busy = dead(&config, words).await;
            assert_eq!(busy.status.code(), Some(74), "{words:?}: {}", said(&busy));
            let told = "but its admin listener does not answer: cannot connect to 127.0.0.1 port";
            assert!(said(&busy).contains("a bridge is running on the spool in"), "{}", said(&busy));
            assert!(said(&busy).contains(told), "{}", said(&busy));
            assert!(!said(&busy).contains("`fanbridge run`"), "it runs: {}", said(&busy));
        }
    };
    // While another process holds the file, it is not opened.
    assert_busy().await;
    let Bench { dir, state, spool, .. } = bench;
    // Nor while one has the directory that is about to open it.
    drop(state);
    assert_busy().await;
    spool.close().await;
    drop(spool);
    let listed = dead(&config, &["list", "--format", "ndjson"]).await;
    assert_eq!(lines(&listed).len(), 2, "{}", said(&listed));
    let exported = dead(&config, &["export", "--quarantined"]).await;
    assert_eq!(lines(&exported)[0]["data_base64"], "ew==");
    for change in [&["redrive", "--all", "--yes"][..], &["drop", "1", "--yes"]] {
        let refused = dead(&config, change).await;
        assert_eq!(refused.status.code(), Some(75), "{}", said(&refused));
        assert!(said(&refused).contains("no bridge is running"), "{}", said(&refused));
        assert!(said(&refused).contains("start it with `fanbridge run`"), "{}", said(&refused));
    }
    // Nor where none has ever run.
    let elsewhere = tempfile::tempdir().unwrap();
    let kept = elsewhere.path().join("fanbridge.yaml");
    std::fs::copy(&config, &kept).unwrap();
    drop(dir);
    let refused = dead(&kept, &["drop", "1", "--yes"]).await;
    assert_eq!(refused.status.code(), Some(75), "{}", said(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_hostile_names_does_not_steer_the_terminal() {
    let bench = Bench::new();
    let hostile = event("a\r\n\u{1b}]0;owned\u{7}", "call\u{1b}[2J\u{202e}\u{9b}31m");
    bench.bury(vec![letter(Some("lake"), 1, "invalid", hostile.into())]);
    let config = configured(&bench, served(&bench).await);

    let listed = dead(&config, &["list"]).await;

    let table = String::from_utf8(listed.stdout.clone()).unwrap();
    assert!(table.contains(r"\u{1b}[2J"), "{table}");
    assert!(!table.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{table:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_no_letter_has_is_named_and_the_others_are_done() {
    let bench = Bench::new();
    bench.bury((1..=4).map(|n| refused("lake", n)).collect());
    let config = configured(&bench, served(&bench).await);
    for (words, done, left) in [
        (&["redrive", "98", "99", "--yes"][..], "", &[1, 2, 3, 4][..]),
        (&["redrive", "98", "99"], "", &[1, 2, 3, 4]),
        (&["drop", "98", "99", "--yes"], "", &[1, 2, 3, 4]),
        (&["redrive", "1", "98", "99", "--dry-run"], "1 dead letter would be redriven", &[1, 2, 3, 4]),
        (&["redrive", "1", "98", "99", "--yes"], "redriven 1, kept 0", &[2, 3, 4]),
        (&["drop", "2", "98", "99", "--dry-run"], "1 dead letter would be dropped", &[2, 3, 4]),
        (&["drop", "2", "98", "99", "--yes"], "dropped 1", &[3, 4]),
    ] {
        let ran = dead(&config, words).await;
        assert_eq!(ran.status.code(), Some(1), "{words:?}: {}", said(&ran));
        let told = format!("{done}\nerror: there is no dead letter 98, 99\n");
        assert!(said(&ran).ends_with(told.trim_start()), "{words:?}: {}", said(&ran));
        assert_eq!(bench.ids(), left, "{words:?}");
    }
    let nothing = dead(&config, &["redrive", "--sink", "nobody", "--yes"]).await;
    assert!(nothing.status.success(), "a filter that takes nothing: {}", said(&nothing));
}

#[test]
fn a_stopped_bridges_letters_are_read_where_nothing_can_be_written_however_it_ended() {
    let _turn = turns::in_company();
    if !inject::can_mount("letters on a read-only mount") {
        return;
    }
    let home = Home::new();
    home.configure_files();
    home.start().stop();
    let file = home.path("spool").join(FILE_NAME);
    let state = State::open(&file).unwrap();
    let dead = vec![refused("local", 1), unusable(2)];
    state.commit(&[Progress { sink: "local".into(), cursor: Position(0), dead }]).unwrap();
    drop(state);
    let wrapper = inject::read_only(&home.path("spool"));
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    for killed in [false, true] {
        let bridge = home.start();
        if killed {
            bridge.kill();
        } else {
            bridge.stop();
        }
        let before = std::fs::read(&file).unwrap();
        for (words, count) in [
            (&["dead", "list", "--format", "ndjson"][..], 2),
            (&["dead", "list", "--quarantined", "--format", "ndjson"], 1),
            (&["dead", "show", "1"], 1),
            (&["dead", "export"], 2),
        ] {
            let ran = home.try_verb_under(&wrapper, words);
            assert!(ran.status.success(), "killed: {killed}, {words:?}: {}", said(&ran));
            assert_eq!(lines(&ran).len(), count, "killed: {killed}, {words:?}: {}", said(&ran));
        }
        assert!(std::fs::read(&file).unwrap() == before, "not a byte is changed");
        assert!(!home.path("spool").join("written").exists());
    }
    // What was only read is as good as before.
    home.start().stop();
}

#[test]
fn letters_of_a_stopped_bridge_that_cannot_be_copied_are_not_read_and_what_to_do_is_said() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    home.start().stop();
    let ran = home.try_verb_under(&["env", "TMPDIR=/nowhere"], &["dead", "list"]);
    assert_eq!(ran.status.code(), Some(74), "{}", said(&ran));
    let told = said(&ran);
    assert!(told.contains("bytes cannot be copied to /nowhere") && told.contains("set TMPDIR"), "{told}");
    assert_eq!(home.try_verb_under(&["env"], &["dead", "list"]).status.code(), Some(0));
}
