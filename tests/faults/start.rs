//! Starts that must not be, and files that are taken away under way: each says so by its exit code.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use redb::{Database, TableDefinition};

use crate::support::bridge::{Bridge, Home};
use crate::support::load::Delivery;
use crate::support::turns;

/// The disk is not what it was.
const EXIT_IO: i32 = 74;
/// Somebody else has the spool.
const EXIT_TEMPORARY: i32 = 75;
/// Data of a later release.
const EXIT_CONFIG: i32 = 78;

/// Where the state says which release wrote it.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

fn ended(mut bridge: Bridge) -> (Option<i32>, String) {
    let status = bridge.await_exit(Duration::from_secs(20));
    (status.code(), bridge.log_tail())
}

#[test]
fn a_second_bridge_with_the_same_configuration_is_told_who_has_the_spool() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let first = home.start();
    // It finds the addresses in use as well; the directory says why.
    let (code, log) = ended(home.spawn_under(&[]));
    assert_eq!(code, Some(EXIT_TEMPORARY), "{log}");
    assert!(log.contains("is in use by another process"), "{log}");
    first.stop();
}

#[test]
fn a_state_of_a_later_release_is_refused_and_nothing_of_the_spool_is_changed() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    let delivery = Delivery::new("call.created", "default:call", 1, 0);
    assert!(delivery.send(&mut bridge.client()).expect("an answer").is_success());
    bridge.stop();

    let state = Database::open(home.path("spool/state.redb")).unwrap();
    let write = state.begin_write().unwrap();
    write.open_table(META).unwrap().insert("format", 1_000).unwrap();
    write.commit().unwrap();
    drop(state);
    // What a start of that release would cut off.
    let segment = segment(&home);
    File::options().append(true).open(segment).unwrap().write_all(b"a torn tail").unwrap();

    let before = files(&home);
    let (code, log) = ended(home.spawn_under(&[]));
    assert_eq!(code, Some(EXIT_CONFIG), "{log}");
    assert!(log.contains("has format 1000") && log.contains("run the release that wrote it"), "{log}");
    assert!(files(&home) == before, "the spool was changed");
}

#[test]
fn a_bridge_whose_files_are_removed_stops_acknowledging_and_says_which() {
    let _turn = turns::in_company();
    for (removed, exit) in [("spool", EXIT_CONFIG), ("spool/state.redb", EXIT_IO)] {
        let home = Home::new();
        home.configure_files();
        let bridge = home.start();
        let mut client = bridge.client();
        assert!(Delivery::new("call.created", "default:call", 1, 0).send(&mut client).is_ok());
        let path = home.path(removed);
        let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        gone.expect("it is there");
        let (code, log) = ended(bridge);
        assert_eq!(code, Some(exit), "{log}");
        assert!(log.contains("was removed from under the bridge"), "{log}");
    }
}

fn segment(home: &Home) -> PathBuf {
    let paths = fs::read_dir(home.path("spool")).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|kind| kind == "log")).max().expect("a segment")
}

/// Every file of the spool with its bytes.
fn files(home: &Home) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(home.path("spool")).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}
