//! What former releases left on disk, as they left it when they were killed: this release goes on with it.
//! And what a later release writes is refused.
//!
//! `tests/fixtures/releases/make.sh` says what is in the archives and made them, with the last binary of each
//! format of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::bridge::{Bridge, Home};
use crate::support::load::Delivery;
use crate::support::{await_until, readers, turns};

/// The log's formats so far, each with an archive.
const FORMATS: [u32; 3] = [1, 2, 3];
/// The events in each archive, by number. All wait for the sink `away`.
const EVENTS: std::ops::RangeInclusive<u64> = 1..=9;
/// The newest of them, of which the sink `local` can have the first ones or not.
const NEWEST: std::ops::RangeInclusive<u64> = 7..=9;
/// Data of a later release.
const EXIT_CONFIG: i32 = 78;
/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

fn delivery(number: u64) -> Delivery {
    Delivery::new("call.created", &format!("default:call-{number}"), number, 0)
}

fn ids(numbers: impl Iterator<Item = u64>) -> BTreeSet<String> {
    numbers.map(|number| delivery(number).id).collect()
}

/// A home with the spool that a release with this format left. The sink that was away takes files now.
fn left_by(format: u32) -> Home {
    let home = Home::new();
    let sink = |name: &str| format!("  {name}: {{ file: {{ dir: {} }} }}\n", home.path(name).display());
    home.configure("", &format!("sinks:\n{}{}", sink("local"), sink("away")));
    let archive = format!("tests/fixtures/releases/format-{format}.tar.gz");
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join(archive);
    let unpacked = Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(home.path("")).status();
    assert!(unpacked.expect("tar runs").success(), "{} cannot be unpacked", archive.display());
    assert_eq!(version(&home.segments()[0]), format);
    home
}

fn version(segment: &Path) -> u32 {
    let bytes = fs::read(segment).expect("a segment can be read");
    u32::from_le_bytes(bytes[8..12].try_into().unwrap())
}

fn arrived(home: &Home, sink: &str) -> BTreeSet<String> {
    readers::files(&home.path(sink)).into_iter().map(|arrival| arrival.id).collect()
}

#[track_caller]
fn verdict(bridge: &Bridge, delivery: &Delivery) -> String {
    let answer = delivery.send(&mut bridge.client()).expect("the bridge answers");
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).expect("an answer is JSON");
    answer["verdict"].as_str().expect("an answer has a verdict").to_owned()
}

/// Every file of the spool with its bytes.
fn files(home: &Home) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(home.path("spool")).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn what_a_killed_former_release_left_is_delivered_known_and_continued_whatever_its_format() {
    let _turn = turns::in_company();
    for format in FORMATS {
        let home = left_by(format);
        let bridge = home.start();
        // What waited is delivered with its bytes, and what was delivered is not sent again.
        await_until("what waited is delivered", DEADLINE, || {
            (arrived(&home, "away") == ids(EVENTS)).then_some(())
        });
        for arrival in readers::files(&home.path("away")) {
            let sent = EVENTS.map(delivery).find(|sent| sent.id == arrival.id).expect("it was sent");
            assert_eq!(arrival.sha256, crate::support::signing::sha256(&sent.body), "format {format}");
            assert_eq!(arrival.key.as_deref(), Some(&*sent.key), "format {format}");
        }
        assert!(
            arrived(&home, "local").is_subset(&ids(NEWEST)),
            "format {format}: {:?}",
            arrived(&home, "local")
        );
        // What came is known: a provider's retry over the upgrade is published once.
        for number in EVENTS {
            assert_eq!(verdict(&bridge, &delivery(number)), "duplicate", "format {format}, event {number}");
        }
        // What could be no event is still there for a person.
        let letters = home.run_verb(&["dead", "list", "--format", "ndjson"]);
        assert_eq!(letters.lines().count(), 1, "format {format}: {letters}");
        assert!(home.run_verb(&["dead", "export"]).contains(r#""data":{"no":"type"}"#), "format {format}");
        assert_eq!(verdict(&bridge, &delivery(10)), "accepted", "format {format}");
        bridge.stop();
        assert_eq!(arrived(&home, "away"), ids(1..=10), "format {format}");
        home.run_verb(&["spool", "verify"]);

        // What was continued opens again, and repeats nothing.
        let before = ["local", "away"].map(|sink| readers::files(&home.path(sink)).len());
        let bridge = home.start();
        assert_eq!(verdict(&bridge, &delivery(10)), "duplicate", "format {format}");
        bridge.stop();
        let after = ["local", "away"].map(|sink| readers::files(&home.path(sink)).len());
        assert_eq!(before, after, "format {format}");
        let newest = home.segments().pop().expect("a segment");
        assert_eq!(version(&newest), *FORMATS.last().unwrap(), "new segments have the newest format");
    }
}

#[test]
fn a_log_of_the_format_after_this_one_is_refused_by_every_verb_that_opens_it_and_left_alone() {
    let _turn = turns::in_company();
    let newest = *FORMATS.last().unwrap();
    let home = left_by(newest);
    let segment = home.segments().pop().expect("a segment");
    let mut bytes = fs::read(&segment).unwrap();
    for copy in [0, 512] {
        bytes[copy + 8..copy + 12].copy_from_slice(&(newest + 1).to_le_bytes());
        let crc = crc32c::crc32c(&bytes[copy..copy + 60]);
        bytes[copy + 60..copy + 64].copy_from_slice(&crc.to_le_bytes());
    }
    fs::write(&segment, bytes).unwrap();
    let before = files(&home);
    let words =
        format!("has format {}, expected at most {newest}: run the release that wrote it", newest + 1);

    let mut bridge = home.spawn_under(&[]);
    assert_eq!(bridge.await_exit(DEADLINE).code(), Some(EXIT_CONFIG), "{}", bridge.log_tail());
    assert!(bridge.log().contains(&words), "{}", bridge.log_tail());
    for verb in [&["spool", "verify"][..], &["explain", &delivery(1).id]] {
        let output = home.try_verb(verb);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(&words), "{verb:?}: {} {said}", output.status);
    }
    assert!(files(&home) == before, "the spool was changed");
}
