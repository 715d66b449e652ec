//! The file sink in bad company: a second writer, a disk that is full, a bound on the size of files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::bridge::Home;
use crate::support::inject::{self, Ballast};
use crate::support::load::{Delivery, Load, Shape};
use crate::support::oracle::Ledger;
use crate::support::{Tier, await_until, readers, turns};

/// What the process ends with when somebody else has what it needs (`EX_TEMPFAIL`).
const EXIT_TAKEN: i32 = 75;
/// What cannot be used as it is configured (`EX_CONFIG`).
const EXIT_CONFIG: i32 = 78;
const PATIENCE: Duration = Duration::from_secs(20);

fn sink(name: &str, dir: &Path) -> String {
    format!("sinks:\n  {name}: {{ file: {{ dir: {} }} }}\n", dir.display())
}

/// The sink's trouble, as the admin listener tells it.
fn trouble(bridge: &crate::support::bridge::Bridge) -> String {
    bridge.admin().get("/api/status").expect("an answer").text()
}

/// The one topic's directory.
fn topic_dir(home: &Home) -> PathBuf {
    let entries = std::fs::read_dir(home.path("topics")).expect("a directory");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    paths.find(|path| path.is_dir()).expect("the topic's directory")
}

#[test]
fn a_second_bridge_on_a_file_sinks_directory_ends_with_75_and_touches_no_line() {
    let _turn = turns::in_company();
    let (first, second) = (Home::new(), Home::new());
    first.configure_files();
    let link = second.path("link");
    std::os::unix::fs::symlink(first.path("topics"), &link).expect("made");
    second.configure("", &sink("other", &link));

    let bridge = first.start();
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    Delivery::new("call.created", "default:two", 1, 300).hand_over(&mut client, &ledger);
    readers::drained(&ledger, PATIENCE, || readers::files(&first.path("topics")));
    // A line that is just being written: who opened the file as its owner would cut it off.
    let file = topic_dir(&first).join("00000001.jsonl");
    let before = std::fs::read(&file).expect("there");
    std::fs::write(&file, [&before[..], b"{\"half"].concat()).expect("written");

    let status = second.spawn_under(&[]).await_exit(PATIENCE);
    assert_eq!(status.code(), Some(EXIT_TAKEN));
    let log = std::fs::read_to_string(second.path("log")).expect("a log");
    assert!(log.contains("is in use by another file sink") && log.contains("sink `other`"), "{log}");
    assert!(std::fs::read(&file).expect("there").ends_with(b"{\"half"));
    bridge.stop();
}

#[test]
fn writers_that_try_for_a_file_sinks_directory_under_load_cost_it_no_line() {
    let _turn = turns::in_company();
    let (first, second, third) = (Home::new(), Home::new(), Home::new());
    first.configure_files();
    let topics = first.path("topics");
    // Another bridge, and another one of which two sinks come to one directory.
    let links = [second.path("link"), third.path("link")];
    links.iter().for_each(|link| std::os::unix::fs::symlink(&topics, link).expect("made"));
    second.configure("", &sink("other", &links[0]));
    let twice =
        sink("direct", &topics) + &format!("  linked: {{ file: {{ dir: {} }} }}\n", links[1].display());
    third.configure("", &twice);

    let bridge = first.start();
    let shape =
        Shape { name: "writers", senders: 4, keys_per_sender: 4, body_bytes: 2000, pause: Duration::ZERO };
    let load = Load::start(first.http, shape);
    let rounds = Tier::of_this_run().pick(2, 4, 60);
    for _ in 0..rounds {
        let before = load.acknowledged();
        let status = second.spawn_under(&[]).await_exit(PATIENCE);
        assert_eq!(status.code(), Some(EXIT_TAKEN));
        let checked = third.try_verb(&["check"]);
        assert_eq!(checked.status.code(), Some(EXIT_CONFIG), "two sinks, one directory");
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(said.contains("directory used twice"), "{said}");
        assert_eq!(third.spawn_under(&[]).await_exit(PATIENCE).code(), Some(EXIT_CONFIG));
        await_until("the load flows", PATIENCE, || (load.acknowledged() > before + 100).then_some(()));
    }
    let (ledger, tally) = load.finish();
    readers::drained(&ledger, PATIENCE, || readers::files(&topics));
    bridge.stop();
    let (damaged, judged) = (damaged_lines(&topics), ledger.judge(&readers::files(&topics)));
    println!(
        "two writers: {rounds} attempts of a second bridge, {rounds} of one with two sinks for one directory, under \
         load: {} acknowledged, {} missing, {damaged} damaged lines, slowest answer {:.1?}",
        judged.acknowledged,
        judged.missing.len(),
        tally.slowest()
    );
    assert_eq!(damaged, 0);
    judged.assert_kept(0, 0);
}

/// Lines in the files of all topics that are no JSON, and ends of files that are no whole line.
fn damaged_lines(topics: &Path) -> usize {
    let entries = |dir: &Path| {
        let entries = std::fs::read_dir(dir).expect("a directory");
        entries.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()
    };
    let topics = entries(topics).into_iter().filter(|path| path.is_dir());
    let files = topics.flat_map(|topic| entries(&topic)).filter(|path| path.extension().is_some());
    let damaged = files.map(|file| {
        let bytes = std::fs::read(&file).expect("a topic's file");
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        lines
            .filter(|line| {
                serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err() || !line.ends_with(b"\n")
            })
            .count()
    });
    damaged.sum()
}

#[test]
fn a_file_sink_on_a_full_disk_holds_its_events_and_writes_them_whole_when_there_is_room() {
    let _turn = turns::in_company();
    if !inject::can_mount("a file sink on a full disk") {
        return;
    }
    let home = Home::new();
    home.configure_files();
    let topics = home.path("topics");
    let wrapper = inject::tiny_disk(&topics, 1024);
    let bridge = home.start_under(&wrapper.iter().map(String::as_str).collect::<Vec<_>>());
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    let mut hand_over = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            Delivery::new("call.created", "default:full", number, 2000).hand_over(&mut client, &ledger);
        }
    };
    hand_over(0..20);
    let inside = bridge.path_inside(&topics);
    readers::drained(&ledger, PATIENCE, || readers::files(&inside));
    let ballast = Ballast::fill(&inside);
    hand_over(20..60);
    await_until("the sink says that the disk is full", PATIENCE, || {
        trouble(&bridge).contains("disk_full").then_some(())
    });
    ballast.drop_it();
    let arrivals = readers::drained(&ledger, PATIENCE, || readers::files(&inside));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}

#[test]
fn a_bound_on_the_size_of_files_makes_more_files_and_stops_no_event() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure("segment_bytes: 2 MiB", &sink("local", &home.path("topics")));
    let text = std::fs::read_to_string(home.path("fanbridge.yaml")).expect("written");
    let limits = "limits: { body_bytes_max: 128 KiB, inflated_bytes_max: 128 KiB }\n";
    std::fs::write(home.path("fanbridge.yaml"), text + limits).expect("written");
    let bridge = home.start_under(&["prlimit", "--fsize=4194304"]);
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    for number in 0..100 {
        Delivery::new("call.created", "default:bound", number, 60_000).hand_over(&mut client, &ledger);
    }
    let arrivals = readers::drained(&ledger, PATIENCE, || readers::files(&home.path("topics")));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
    assert!(
        std::fs::read_dir(topic_dir(&home)).expect("a directory").count() > 1,
        "6 MB do not fit into 4 MiB"
    );
}
