//! The spool as the bridge uses it: many tasks, a thread, a real directory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use fanbridge::cli::Exit;
use fanbridge::cli::spool::{Args, run};
use fanbridge::dedup::DuplicateKey;
use fanbridge::dedup::DuplicatesOptions;
use fanbridge::disk::RealDisk;
use fanbridge::event::{Entry, Event, Position};
use fanbridge::spool::verify::verify;
use fanbridge::spool::{
    AppendError, Appended, ENTRY_BYTES_MAX, LockedDir, ReadError, Spool, SpoolError, SpoolFailure,
    SpoolOptions,
};
use fanbridge::state::{FILE_NAME, Progress, State};
use fanbridge::telemetry::Metrics;
use tokio::task::JoinSet;

use crate::footers::footer_of;
use crate::sim::{Call, EACCES, EIO, EMFILE, EPERM, SimDisk};
use crate::world::{entry, key, number_of, options};

fn open(dir: &Path, options: SpoolOptions) -> Result<Spool, SpoolError> {
    let held = LockedDir::take(dir, Arc::new(RealDisk::default()))?;
    Spool::open(held, options, Arc::new(Metrics::new())).map(|(spool, _)| spool)
}

fn open_simulated(disk: &SimDisk) -> Spool {
    let held = LockedDir::take(Path::new("/spool"), Arc::new(disk.clone())).unwrap();
    Spool::open(held, options(), Arc::new(Metrics::new())).unwrap().0
}

fn roomy() -> SpoolOptions {
    SpoolOptions {
        bytes_max: 1 << 30,
        segment_bytes: 64 * 1024,
        duplicates: DuplicatesOptions { events_max: 10_000, ..options().duplicates },
        ..options()
    }
}

async fn read_all(spool: &Spool) -> Vec<(Position, Entry)> {
    let mut entries = Vec::new();
    let mut after = Position(0);
    while after < spool.head() {
        let batch = spool.read(after, 100, 100_000).await.unwrap();
        assert_eq!(batch.damaged, 0);
        after = batch.through;
        entries.extend(batch.entries);
    }
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_appends_are_all_there_once_and_in_order_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/by/the/spool");
    let spool = open(&path, roomy()).unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..64_u64 {
        let spool = spool.clone();
        tasks.spawn(async move {
            let mut stored = Vec::new();
            for number in task * 100..task * 100 + 30 {
                match spool.append(entry(number, 0), Some(key(number))).await {
                    Ok(Appended::Stored(position)) => stored.push((position, number)),
                    other => panic!("append {number} was answered {other:?}"),
                }
            }
            stored
        });
    }
    let mut promised: Vec<(Position, u64)> = tasks.join_all().await.concat();
    assert!(promised.chunks(30).all(|task| task.is_sorted()), "one task's appends keep their order");
    promised.sort_unstable();
    spool.close().await;
    drop(spool);

    let spool = open(&path, SpoolOptions { tail_bytes_max: 0, ..roomy() }).unwrap();
    assert!(spool.usage().segments > 5);
    let found: Vec<_> = read_all(&spool).await;
    let numbers: Vec<_> = found.iter().map(|(position, entry)| (*position, number_of(entry))).collect();
    assert_eq!(numbers, promised);
    assert!(found.iter().all(|(_, found)| *found == entry(number_of(found), 0)));
}

#[tokio::test]
async fn readers_that_keep_up_share_what_the_first_of_them_decoded() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), SpoolOptions { tail_bytes_max: 1 << 20, ..roomy() }).unwrap();
    for number in 0..4 {
        spool.append(entry(number, 0), None).await.unwrap();
    }
    let read = async |after, count| spool.read(Position(after), count, usize::MAX).await.unwrap().entries;
    let (all, some) = (read(0, 9).await, read(1, 2).await);
    assert_eq!((all.len(), some.len()), (4, 2));
    for ((position, entry), again) in all[1..3].iter().zip(&some) {
        let (Entry::Event(first), Entry::Event(second)) = (entry, &again.1) else { panic!("{entry:?}") };
        assert!(Arc::ptr_eq(first, second), "{position:?} was decoded twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_copies_become_one_record_and_every_answer_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), roomy()).unwrap();
    for number in 0..20 {
        let mut copies = JoinSet::new();
        for _ in 0..16 {
            let spool = spool.clone();
            copies.spawn(async move {
                let answer = spool.append(entry(number, 0), Some(key(number))).await;
                (answer, spool.head())
            });
        }
        let answers = copies.join_all().await;
        let stored = answers.iter().filter(|(answer, _)| matches!(answer, Ok(Appended::Stored(_)))).count();
        let known = answers.iter().filter(|(answer, _)| *answer == Ok(Appended::Duplicate)).count();
        assert_eq!((stored, known), (1, 15));
        assert!(answers.iter().all(|(_, head)| head.0 == number + 1), "no answer came before the record");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_quarantined_by_an_earlier_release_is_not_taken_for_the_event_that_it_becomes() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), roomy()).unwrap();
    // Both had one key then.
    let shared = DuplicateKey::of("/test/default", "4");
    spool.append(entry(4, 0), Some(shared)).await.unwrap();
    spool.close().await;
    drop(spool);
    // It wrote no footers.
    let path = dir.path().join("00000000000000000001.log");
    let frames = footer_of(&std::fs::read(&path).unwrap());
    std::fs::File::options().write(true).open(path).unwrap().set_len(frames as u64).unwrap();

    let spool = open(dir.path(), roomy()).unwrap();
    assert_eq!(spool.append(entry(4, 0), Some(key(4))).await, Ok(Appended::Duplicate), "it is known itself");
    assert_eq!(spool.append(entry(5, 0), Some(shared)).await, Ok(Appended::Stored(Position(2))));
}

/// The numbers of all that is not for every sink, as a reader finds them that wants no others.
async fn read_apart(spool: &Spool) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut after = Position(0);
    while spool.pass_shared_entries(after) < spool.head() {
        let batch = spool.read_single_sink(after, 7, 100_000).await.unwrap();
        assert_eq!(batch.damaged, 0, "an event that is passed over is not damage");
        assert!(batch.through > after);
        after = batch.through;
        numbers.extend(batch.entries.iter().map(|(_, entry)| number_of(entry)));
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_what_is_not_for_every_sink_gets_that_alone_from_memory_and_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), SpoolOptions { tail_bytes_max: 1 << 20, ..roomy() }).unwrap();
    let entries = (0..98).map(|number| match entry(number, 0) {
        Entry::Event(event) if number % 7 == 0 => {
            Event { only_sink: Some("lake".into()), ..Arc::unwrap_or_clone(event) }.into()
        }
        entry => entry,
    });
    let entries: Vec<Entry> = entries.collect();
    for entry in &entries {
        spool.append(entry.clone(), None).await.unwrap();
    }
    let apart: Vec<u64> = entries.iter().filter(|entry| entry.is_single_sink()).map(number_of).collect();
    assert!((25..40).contains(&apart.len()), "some of each: {apart:?}");
    assert_eq!(read_apart(&spool).await, apart);
    spool.close().await;
    drop(spool);

    let spool = open(dir.path(), SpoolOptions { tail_bytes_max: 0, ..roomy() }).unwrap();
    assert_eq!(read_apart(&spool).await, apart);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_for_the_next_record_and_gets_it_from_memory() {
    let disk = SimDisk::default();
    let spool = open_simulated(&disk);
    let waiting = tokio::spawn({
        let spool = spool.clone();
        async move { spool.read(Position(0), 10, 10_000).await }
    });
    // Any read of the disk from now on would fail.
    disk.plan(Call::Read, &[5; 100]);
    spool.append(entry(1, 0), None).await.unwrap();
    let batch = waiting.await.unwrap().unwrap();
    assert_eq!((batch.entries.len(), batch.through, batch.damaged), (1, Position(1), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_answers_what_was_queued_and_refuses_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), roomy()).unwrap();
    let mut appends = JoinSet::new();
    for number in 0..500 {
        let spool = spool.clone();
        appends.spawn(async move { spool.append(entry(number, 0), Some(key(number))).await });
    }
    spool.append(entry(1_000, 0), None).await.unwrap();
    spool.close().await;
    let answers = appends.join_all().await;
    let stored = answers.iter().filter(|answer| matches!(answer, Ok(Appended::Stored(_)))).count();
    let refused = answers
        .iter()
        .filter(|answer| **answer == Err(AppendError::Full { reason: "shutting_down" }))
        .count();
    assert_eq!(stored + refused, 500, "every append was answered");
    assert_eq!(spool.accepting(), Err("shutting_down"));
    assert_eq!(read_all(&spool).await.len(), stored + 1);
    let end = spool.head();
    assert!(matches!(spool.read(end, 1, 1).await, Err(ReadError::Stopped)));
    drop(spool);
    assert_eq!(open(dir.path(), roomy()).unwrap().head(), end);
}

/// A disk with a stopped spool of several closed segments.
async fn stopped_on_a_simulated_disk() -> SimDisk {
    let disk = SimDisk::default();
    let spool = open_simulated(&disk);
    for number in 0..40 {
        spool.append(entry(number, 0), Some(key(number))).await.unwrap();
    }
    assert!(spool.usage().segments >= 3);
    spool.close().await;
    disk
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let come = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), come).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_cannot_be_read_for_a_moment_are_verified_later() {
    let disk = stopped_on_a_simulated_disk().await;
    disk.fail_reads_of("spool-verifier", Some(EMFILE));
    let spool = open_simulated(&disk);
    let segments = spool.usage().segments;
    until("the verifier tries", || disk.bad_reads() > 0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(disk.bad_reads() <= segments, "it pauses after an error");
    assert_eq!(spool.usage().unverified_segments, segments);
    disk.mend_reads();
    until("all of it is verified", || spool.usage().unverified_segments == 0).await;
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_whose_disk_does_not_answer_holds_no_close_up() {
    let disk = stopped_on_a_simulated_disk().await;
    disk.fail_reads_of("spool-verifier", None);
    let spool = open_simulated(&disk);
    until("the verifier waits for the disk", || disk.bad_reads() > 0).await;
    spool.append(entry(100, 0), Some(key(100))).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(20), spool.close()).await;
    disk.mend_reads();
    closed.expect("the writer has ended, and the verifier is not waited for");
    drop(spool);
    // The lock is held until the verifier has ended as well.
    let again = || LockedDir::take(Path::new("/spool"), Arc::new(disk.clone())).is_ok();
    until("the directory is free", again).await;
    assert_eq!(open_simulated(&disk).head(), Position(41));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_is_told_to_whoever_waits_for_it() {
    let disk = SimDisk::default();
    let spool = open_simulated(&disk);
    spool.append(entry(1, 0), None).await.unwrap();
    disk.plan(Call::Sync, &[EIO]);
    assert_eq!(spool.append(entry(2, 0), None).await, Err(AppendError::Failed));
    assert!(spool.failed().await.to_string().starts_with("cannot make events durable"));
    assert_eq!(spool.accepting(), Err("failed"));
    assert_eq!(spool.append(entry(3, 0), None).await, Err(AppendError::Failed));
    spool.close().await;
    assert_eq!(spool.append(entry(4, 0), None).await, Err(AppendError::Failed), "failed stays failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_neither_linked_nor_moved_leaves_a_whole_copy_and_says_where() {
    let disk = SimDisk::default();
    let spool = open_simulated(&disk);
    spool.append(entry(1, 0), None).await.unwrap();
    let path = disk.segments().pop().unwrap();
    let held = disk.contents(&path);
    disk.put(&path, b"something else".to_vec());
    disk.plan(Call::Link, &[EPERM]);
    disk.plan(Call::Rename, &[EACCES]);
    assert_eq!(spool.append(entry(2, 0), None).await, Err(AppendError::Failed));
    let (said, copy) = (spool.failed().await.to_string(), path.with_extension("log.kept-1"));
    let (kept, name) = (copy.display(), path.display());
    let told = format!("all of it is in {kept}; rename that file to {name} before you start again");
    assert!(said.contains("cannot be put back under its name") && said.contains(&told), "{said}");
    assert!(disk.contents(&copy).starts_with(&held), "a whole copy");
    assert_eq!(disk.contents(&path), b"something else", "untouched");
    let failure = spool.failed().await;
    assert!(matches!(failure, SpoolFailure::Misplaced(_)), "a start would begin without it: {failure:?}");
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_shuts_the_gate_until_there_is_room() {
    let disk = SimDisk::default();
    let spool = open_simulated(&disk);
    spool.append(entry(1, 0), None).await.unwrap();
    disk.set_capacity(Some(disk.used()));
    assert_eq!(spool.append(entry(2, 0), None).await, Err(AppendError::Full { reason: "disk_full" }));
    assert!(spool.accepting().is_err());
    disk.set_capacity(None);
    let opened = async {
        while spool.accepting().is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), opened).await.expect("the gate opens without an append");
    spool.append(entry(3, 0), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_can_never_fit_is_told_apart_and_a_large_one_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), SpoolOptions { tail_bytes_max: 0, ..roomy() }).unwrap();
    let with_body = |bytes: usize| match entry(1, 0) {
        Entry::Event(event) => {
            Event { body: Bytes::from(vec![7; bytes]), ..Arc::unwrap_or_clone(event) }.into()
        }
        other => other,
    };
    assert_eq!(spool.append(with_body(ENTRY_BYTES_MAX), None).await, Err(AppendError::TooLarge));
    spool.append(with_body(3 << 20), None).await.unwrap();
    spool.append(entry(2, 0), None).await.unwrap();
    let batch = spool.read(Position(0), 10, 1).await.unwrap();
    assert_eq!(batch.entries, [(Position(1), with_body(3 << 20))]);
    assert_eq!(read_all(&spool).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_refused_or_waits_for_the_first_as_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), roomy()).unwrap();
    assert!(matches!(open(dir.path(), roomy()), Err(SpoolError::Locked(path)) if path == dir.path()));

    let waiting = tokio::task::spawn_blocking({
        let dir = dir.path().to_owned();
        move || LockedDir::take(&dir, Arc::new(RealDisk::waiting(Duration::from_secs(20)))).map(|_| ())
    });
    first.close().await;
    drop(first);
    waiting.await.unwrap().expect("the second has the directory once the first is gone");
}

/// Set in the process that a test starts under a limit.
const LIMITED: &str = "FANBRIDGE_TEST_FILE_SIZE_IS_LIMITED";

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_the_size_of_files_refuses_and_goes_on_in_another_file() {
    if std::env::var_os(LIMITED).is_none() {
        let this = "handle::a_limit_on_the_size_of_files_refuses_and_goes_on_in_another_file";
        let limited = tokio::process::Command::new("sh")
            .args(["-c", "ulimit -f 64 && exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(this)
            .env(LIMITED, "1")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status();
        assert!(limited.await.unwrap().success(), "no signal ends the process");
        return;
    }
    fanbridge::disk::survive_file_size_limit().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), SpoolOptions { segment_bytes: 1 << 20, ..roomy() }).unwrap();
    let mut stored = 0;
    let mut refused = 0;
    for number in 0..400 {
        match spool.append(entry(number, 0), Some(key(number))).await {
            Ok(_) => stored += 1,
            Err(error) => {
                assert_eq!(error, AppendError::Full { reason: "disk_full" });
                refused += 1;
            }
        }
    }
    assert!(refused >= 2 && spool.usage().segments > refused, "{refused} files were full");
    assert_eq!(read_all(&spool).await.len(), stored);
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    spool: Args,
}

fn exit_of_verify(dir: &Path) -> Result<(), Exit> {
    let arguments = ["spool", "verify", dir.to_str().unwrap()];
    run(&Cli::parse_from(arguments).spool).map_err(|failure| failure.exit)
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_exits_by_what_it_finds() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), roomy()).unwrap();
    for number in 0..3 {
        spool.append(entry(number, 0), None).await.unwrap();
    }
    assert_eq!(exit_of_verify(dir.path()), Err(Exit::Temporary));
    spool.close().await;
    drop(spool);
    // Events, and nobody knows how far the sinks have got.
    assert_eq!(exit_of_verify(dir.path()), Err(Exit::Failed));
    drop(State::open(&dir.path().join(FILE_NAME)).unwrap());
    assert_eq!(exit_of_verify(dir.path()), Ok(()));

    let report = verify(dir.path(), &RealDisk::default()).unwrap();
    assert_eq!(report.segments[0].positions, Some(1..=3));
    let path = &report.segments[0].path;
    let mut bytes = std::fs::read(path).unwrap();
    bytes[1024] ^= 1;
    std::fs::write(path, bytes).unwrap();
    assert_eq!(exit_of_verify(dir.path()), Err(Exit::Failed));
    assert_eq!(exit_of_verify(&dir.path().join("nowhere")), Err(Exit::Io));
}

fn furthest(dir: &Path) -> Position {
    let cursors = State::cursors_left(&dir.join(FILE_NAME)).unwrap();
    cursors.into_iter().map(|(_, cursor)| cursor).max().unwrap()
}

/// What is in a directory, by name.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// A stopped spool of several segments, all of which a sink has delivered; its files, oldest first.
async fn delivered(dir: &Path) -> Vec<std::path::PathBuf> {
    let spool = open(dir, roomy()).unwrap();
    let mut head = Position(0);
    while spool.usage().segments < 3 {
        let Appended::Stored(position) = spool.append(entry(head.0, 0), None).await.unwrap() else {
            panic!("nothing here is a duplicate");
        };
        head = position;
    }
    let state = State::open(&dir.join(FILE_NAME)).unwrap();
    let cursor = |sink: &str, cursor| Progress { sink: sink.into(), cursor, dead: Vec::new() };
    state.commit(&[cursor("lake", head), cursor("slow", Position(1))]).unwrap();
    spool.close().await;
    drop((spool, state));
    verify(dir, &RealDisk::default()).unwrap().segments.into_iter().map(|segment| segment.path).collect()
}

#[test]
fn a_directory_that_holds_no_spool_is_not_called_clean_and_gets_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.txt"), "not a spool").unwrap();
    assert_eq!(exit_of_verify(dir.path()), Err(Exit::Io));
    assert_eq!(names(dir.path()), ["notes.txt"]);
    let error = verify(dir.path(), &RealDisk::default()).unwrap_err();
    assert!(error.to_string().starts_with("cannot find a spool in"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_cannot_be_written_can_be_looked_over() {
    // On the file system of the test's own program.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    delivered(dir.path()).await;
    let lock = dir.path().join("lock");
    std::fs::remove_file(&lock).unwrap();
    let before = names(dir.path());
    assert_eq!(exit_of_verify(dir.path()), Ok(()), "a copy without its lock");
    assert_eq!(names(dir.path()), before, "nothing is made");

    // What a link points to is somebody else's.
    std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &lock).unwrap();
    assert_eq!(exit_of_verify(dir.path()), Err(Exit::Io), "a link for a lock");
    std::fs::remove_file(&lock).unwrap();
    // A program that runs can be written by nobody, not even by root.
    std::fs::hard_link(std::env::current_exe().unwrap(), &lock).unwrap();
    assert_eq!(exit_of_verify(dir.path()), Ok(()), "a lock that is for reading only");
    let held = std::fs::File::open(&lock).unwrap();
    held.try_lock().unwrap();
    assert_eq!(exit_of_verify(dir.path()), Err(Exit::Temporary), "it is a lock all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_of_which_cannot_be_told_what_is_undelivered_is_not_called_clean() {
    let dir = tempfile::tempdir().unwrap();
    let segments = delivered(dir.path()).await;
    let (state, kept) = (dir.path().join(FILE_NAME), dir.path().join("kept"));
    std::fs::rename(&state, &kept).unwrap();
    for found in [&b""[..], &[0x5a; 100_000]] {
        std::fs::write(&state, found).unwrap();
        assert_eq!(exit_of_verify(dir.path()), Err(Exit::Failed), "{} bytes of nothing", found.len());
    }
    std::fs::remove_file(&state).unwrap();
    std::os::unix::fs::symlink(&kept, &state).unwrap();
    assert_eq!(exit_of_verify(dir.path()), Err(Exit::Io), "a link");
    std::fs::remove_file(&state).unwrap();
    assert_eq!(exit_of_verify(dir.path()), Err(Exit::Failed), "none");

    std::fs::rename(&kept, &state).unwrap();
    assert_eq!(exit_of_verify(dir.path()), Ok(()));
    // The sink that is slow has got the first event alone.
    std::fs::remove_file(&segments[0]).unwrap();
    assert_eq!(exit_of_verify(dir.path()), Err(Exit::Failed), "what it waits for is gone");
}

#[test]
fn a_link_that_is_named_as_a_file_of_the_spool_is_neither_written_through_nor_read() {
    for name in ["00000000000000000001.log", "lock", FILE_NAME] {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::fs::write(&elsewhere, "somebody else's").unwrap();
        let spool = dir.path().join("spool");
        std::fs::create_dir(&spool).unwrap();
        std::os::unix::fs::symlink(&elsewhere, spool.join(name)).unwrap();
        let refused = match name {
            FILE_NAME => State::open(&spool.join(name)).err().map(|error| format!("{error:?}")),
            _ => open(&spool, roomy()).err().map(|error| format!("{error:?}")),
        };
        let refused = refused.unwrap_or_else(|| panic!("{name} was followed"));
        assert!(refused.contains("it is a symbolic link"), "{refused}");
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "somebody else's");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_are_gone_at_the_end_are_missed_by_the_cursors() {
    let dir = tempfile::tempdir().unwrap();
    let segments = delivered(dir.path()).await;
    assert_eq!(exit_of_verify(dir.path()), Ok(()));
    let head = furthest(dir.path());
    let mut whole = verify(dir.path(), &RealDisk::default()).unwrap();
    whole.account_to(head);
    assert!(whole.is_clean());

    let newest = segments.last().unwrap();
    let base: u64 = newest.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    std::fs::remove_file(newest).unwrap();
    assert_eq!(exit_of_verify(dir.path()), Err(Exit::Failed));
    let mut report = verify(dir.path(), &RealDisk::default()).unwrap();
    report.account_to(head);
    assert_eq!(report.missing, [base..=head.0]);

    let metrics = Arc::new(Metrics::new());
    let held = LockedDir::take(dir.path(), Arc::new(RealDisk::default())).unwrap();
    let (spool, _) = Spool::open(held, roomy(), Arc::clone(&metrics)).unwrap();
    spool.resume_after(Position(1));
    spool.resume_after(head);
    spool.resume_after(head);
    let counted = format!("fanbridge_spool_corrupt_records_total {}\n", head.0 - base + 1);
    assert!(metrics.render().contains(&counted), "{}", metrics.render());
    assert_eq!(spool.append(entry(0, 0), None).await, Ok(Appended::Stored(head.next())));
    spool.close().await;
}

/// Where the file system writes in place, the file of a segment that every sink has passed becomes a later
/// one.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_disk_the_files_of_delivered_segments_come_back_as_later_ones() {
    let dir = tempfile::tempdir().unwrap();
    let kind = std::process::Command::new("stat").args(["-f", "-c", "%T"]).arg(dir.path()).output().unwrap();
    let writes_in_place = matches!(String::from_utf8(kind.stdout).unwrap().trim(), "ext2/ext3" | "xfs");
    let spool = open(dir.path(), SpoolOptions { bytes_max: 1 << 20, ..roomy() }).unwrap();
    assert_eq!(spool.usage().recycles, writes_in_place);
    let mut written_over = 0;
    for number in 0..6_000 {
        let appended = spool.append(entry(number, 0), Some(key(number))).await;
        assert!(matches!(appended, Ok(Appended::Stored(_))), "{appended:?}");
        spool.release(spool.head());
        written_over += u64::from(spool.usage().old_bytes > 0);
    }
    assert_eq!(written_over > 1_000, writes_in_place, "{written_over} of 6,000 were written over old bytes");
    spool.close().await;
    drop(spool);
    assert!(verify(dir.path(), &RealDisk::default()).unwrap().is_clean());
    let again = open(dir.path(), SpoolOptions { bytes_max: 1 << 20, ..roomy() }).unwrap();
    assert_eq!(again.usage().spare_bytes, 0);
    let read = again.read(Position(again.first().0 - 1), 10, 100_000).await.unwrap();
    assert_eq!((read.damaged, number_of(&read.entries[0].1)), (0, again.first().0 - 1));
    again.close().await;
}
