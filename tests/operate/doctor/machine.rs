//! The machine, the disk and the spool.

use std::fs;
use std::net::TcpListener;

use super::Diagnosis;
use crate::support::bridge::Home;
use crate::support::inject;
use crate::support::turns;

/// A wrapper as words.
pub(super) fn words(wrapper: &[String]) -> Vec<&str> {
    wrapper.iter().map(String::as_str).collect()
}

#[test]
fn a_machine_that_is_as_it_has_to_be_is_ok_and_is_left_as_it_was() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure("bytes_max: 1 GiB", &files(&home));
    let before = listing(&home);
    let checks = "config.check,process.descriptors,disk.space,disk.fdatasync,disk.lock,spool.format,\
                  secret.strength,secret.expiry,secret.reuse,listener.reachable";
    let said = Diagnosis::of(&home, &["--only", checks]);
    for check in ["config.check", "disk.space", "disk.lock", "secret.strength"] {
        said.says(check, "ok", &[]);
    }
    said.mentions("disk.fdatasync", &["p50", "p99"]);
    said.says("listener.reachable", "ok", &["http", "is free"]);
    said.says("spool.format", "skipped", &["no bridge has written"]);
    assert_eq!((said.code, &said.report["failures"]), (Some(0), &0.into()), "{:#}", said.report);
    assert_eq!(listing(&home), before, "nothing is left behind");

    let bridge = home.start();
    let said = Diagnosis::of(&home, &["--only", "disk.lock,spool.format,listener.reachable"]);
    said.says("disk.lock", "ok", &["the running bridge has it"]);
    said.says("spool.format", "ok", &["none of a later release"]);
    said.says("listener.reachable", "ok", &["http", "takes connections"]);
    bridge.stop();
    let said = Diagnosis::of(&home, &["--only", "disk.lock,spool.format"]);
    said.says("disk.lock", "ok", &["no process has it"]);
    said.says("spool.format", "ok", &["none of a later release"]);
}

#[test]
fn findings_fit_eighty_columns_and_only_the_named_checks_are_made() {
    let home = Home::new();
    home.configure_files();
    let ran = home.try_verb(&["doctor", "--only", "disk.space,secret.reuse"]);
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("disk.space") && text.contains("secret.reuse"), "{text}");
    assert!(!text.contains("disk.fdatasync") && !text.contains("config.check"), "{text}");
    assert!(String::from_utf8(ran.stderr).unwrap().contains("0 failures"));
    let unknown = home.try_verb(&["doctor", "--only", "disk.spaces"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("disk.space"), "the near one is named");
}

#[test]
fn a_configuration_that_cannot_be_used_is_a_failure_and_a_warning_is_one() {
    let home = Home::new();
    home.configure("", "sinks:\n  lake: { kafkas: { brokers: k } }\n");
    Diagnosis::of(&home, &[]).fails("config.check", &["error", "fanbridge check"]);
    let said = Diagnosis::of(&home, &["--only", "disk.space"]);
    said.fails("config.check", &["nothing else can be looked at"]);
    home.configure("", &format!("select: [call.creatd]\n{}", files(&home)));
    let ran = Diagnosis::of(&home, &["--only", "config.check"]);
    assert_ne!(ran.findings("config.check")[0]["verdict"], "ok", "{:#}", ran.report);
}

#[test]
fn too_few_open_files_are_a_failure_and_few_a_warning() {
    let home = Home::new();
    home.configure_files();
    let only = ["--only", "process.descriptors"];
    let said = Diagnosis::under(&["prlimit", "--nofile=64:64"], &home, &only);
    said.fails("process.descriptors", &["64 open files", "LimitNOFILE"]);
    let said = Diagnosis::under(&["prlimit", "--nofile=1024:1024"], &home, &only);
    said.warns("process.descriptors", &["1024 open files", "of 4096 connections"]);
    assert_eq!(said.code, Some(0), "a warning fails nothing");
    let strict =
        Diagnosis::under(&["prlimit", "--nofile=1024:1024"], &home, &[&only[..], &["--strict"]].concat());
    assert_eq!(strict.code, Some(1), "unless it is asked to");
}

#[test]
fn a_disk_without_room_is_a_failure_and_one_that_is_full_before_the_spool_a_warning() {
    let _turn = turns::in_company();
    if !inject::can_mount("a tiny disk") {
        return;
    }
    let home = Home::new();
    let wrapper = inject::tiny_disk(&home.path("spool"), 16 * 1024);
    let only = ["--only", "disk.space,disk.kind"];
    let limits = "limits: { body_bytes_max: 64 KiB, inflated_bytes_max: 64 KiB }\n";
    home.configure("bytes_max: 1 GiB, segment_bytes: 2 MiB", &format!("{limits}{}", files(&home)));
    let said = Diagnosis::under(&words(&wrapper), &home, &only);
    said.warns("disk.space", &["16.0 MiB free", "the disk is full first", "spool.bytes_max to 16.0 MiB"]);
    said.fails("disk.kind", &["in memory (tmpfs)", "put spool.dir on a disk"]);
    let text = fs::read_to_string(home.path("fanbridge.yaml")).unwrap();
    fs::write(home.path("fanbridge.yaml"), text.replace("free_bytes_min: 0", "free_bytes_min: 15 MiB"))
        .unwrap();
    let said = Diagnosis::under(&words(&wrapper), &home, &only);
    said.fails("disk.space", &["free_bytes_min keeps 15.0 MiB", "answered 503"]);
}

#[test]
fn a_directory_that_takes_no_writes_is_a_failure() {
    let _turn = turns::in_company();
    if !inject::can_mount("a directory that takes no writes") {
        return;
    }
    let home = Home::new();
    home.configure_files();
    fs::create_dir(home.path("spool")).unwrap();
    let wrapper = inject::read_only(&home.path("spool"));
    let said = Diagnosis::under(&words(&wrapper), &home, &["--only", "disk.fdatasync,disk.lock"]);
    said.fails("disk.fdatasync", &["no file can be written"]);
    said.fails("disk.lock", &["cannot be locked"]);
}

#[test]
fn a_disk_that_is_slow_is_a_warning_and_one_beyond_the_answers_time_a_failure() {
    let _turn = turns::in_company();
    if !inject::can_trace("a slow disk") {
        return;
    }
    let home = Home::new();
    let trace = |what: &str| inject::trace(&home.path("trace"), &["-e", &format!("inject=fdatasync:{what}")]);
    home.configure("", &format!("limits: {{ ack_timeout: 2s }}\n{}", files(&home)));
    let only = ["--only", "disk.fdatasync"];
    let said = Diagnosis::under(&words(&trace("delay_enter=100000")), &home, &only);
    said.warns("disk.fdatasync", &["each delivery waits for one"]);
    let said = Diagnosis::under(&words(&trace("delay_enter=2500000")), &home, &only);
    said.fails("disk.fdatasync", &["longer than ack_timeout"]);
}

#[test]
fn a_spool_of_a_later_release_or_of_another_process_is_a_failure() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let spool = home.path("spool");
    fs::create_dir(&spool).unwrap();
    fs::write(spool.join("lock"), "").unwrap();
    fs::write(spool.join("00000000000000000001.log"), header_of_format(99)).unwrap();
    let only = ["--only", "spool.format,disk.lock"];
    Diagnosis::of(&home, &only).fails("spool.format", &["has format 99", "run the release that wrote it"]);
    fs::write(spool.join("00000000000000000001.log"), [0; 2048]).unwrap();
    Diagnosis::of(&home, &only).warns("spool.format", &["1 of them with a header that does not verify"]);
    fs::remove_dir_all(&spool).unwrap();

    let bridge = home.start();
    let other = Home::new();
    other.configure_files();
    let text = fs::read_to_string(other.path("fanbridge.yaml")).unwrap();
    let theirs = other.path("spool").display().to_string();
    fs::write(other.path("fanbridge.yaml"), text.replace(&theirs, spool.to_str().unwrap())).unwrap();
    Diagnosis::of(&other, &only).fails("disk.lock", &["another process has it"]);
    bridge.stop();
}

#[test]
fn a_check_refuses_a_spool_of_a_later_release_and_takes_its_own() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let checked = || {
        let output = home.try_verb(&["check"]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(checked(), (Some(0), String::new()), "no bridge has run");
    let bridge = home.start();
    assert_eq!(checked(), (Some(0), String::new()), "beside the running bridge");
    bridge.stop();
    assert_eq!(checked(), (Some(0), String::new()), "after its end");
    let before = listing(&home);
    let newer = home.path("spool").join("00000000000000000099.log");
    fs::write(&newer, header_of_format(99)).unwrap();
    let (code, said) = checked();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("has format 99") && said.contains("run the release that wrote it"), "{said}");
    fs::remove_file(newer).unwrap();
    assert_eq!(listing(&home), before, "it changes nothing");
}

#[test]
fn an_address_that_another_process_has_is_a_failure() {
    let home = Home::new();
    home.configure_files();
    let taken = TcpListener::bind(("127.0.0.1", home.http)).unwrap();
    let said = Diagnosis::of(&home, &["--only", "listener.reachable"]);
    said.fails("listener.reachable", &["http", "in use", "ss -ltnp"]);
    said.says("listener.reachable", "ok", &["admin", "is free"]);
    drop(taken);
}

/// A file sink of the home's.
fn files(home: &Home) -> String {
    format!("sinks:\n  local: {{ file: {{ dir: {} }} }}\n", home.path("topics").display())
}

/// The names in a home, and those below its spool.
fn listing(home: &Home) -> Vec<String> {
    let names = |dir| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let mut all = names(home.path(""));
    all.extend(names(home.path("spool")));
    all.sort();
    all
}

/// A segment's header as a release of this format would write it.
fn header_of_format(version: u32) -> Vec<u8> {
    let mut copy = b"fanspool".to_vec();
    copy.extend(version.to_le_bytes());
    copy.resize(24, 0);
    copy.extend(1_u64.to_le_bytes());
    copy.resize(60, 0);
    copy.extend(crc32c::crc32c(&copy).to_le_bytes());
    copy.resize(512, 0);
    [copy.clone(), copy].concat()
}
