//! Bits flip, files are cut short, taken away or written by a later release.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fanbridge::event::{Entry, EventTime, Position};
use fanbridge::spool::verify::{SpoolReport, verify};
use fanbridge::spool::{AppendError, Appended, ReadError, Recovery, SpoolError, SpoolOptions};

use crate::footers::footer_of;
use crate::sim::{Call, Dice, EINTR, EIO, EMFILE, EMLINK, ENFILE, ENOMEM, EOPNOTSUPP, EPERM, ESTALE, Fate};
use crate::world::{DIR, World, entry, former_entry, number_of, options};

/// Options under which all records of a test stay in one segment, and are read from disk.
fn one_segment() -> SpoolOptions {
    SpoolOptions { segment_bytes: 1 << 20, tail_bytes_max: 0, ..options() }
}

/// A stopped spool with one segment, and where each of its records begins.
fn stopped(records: u64) -> (World, PathBuf, Vec<usize>) {
    let mut world = World::open_new(one_segment());
    let path = PathBuf::from(DIR).join("00000000000000000001.log");
    let mut starts = Vec::new();
    for _ in 0..records {
        world.append(1);
        starts.push(world.disk.contents(&path).len());
    }
    let mut begins = vec![1024];
    begins.extend(&starts[..starts.len() - 1]);
    world.opened = None;
    (world, path, begins)
}

/// Opens the spool, appends one more record, and says which events can be read.
fn survivors(world: &mut World) -> (Vec<u64>, Recovery) {
    let recovery = world.open().expect("a damaged spool opens");
    assert!(world.append(1)[0].is_ok(), "a damaged spool takes events");
    let (entries, _) = world.read_all();
    for (_, found) in &entries {
        assert_eq!(*found, entry(number_of(found), 0), "no damaged record is read");
    }
    (entries.iter().map(|(_, found)| number_of(found)).collect(), recovery)
}

fn looked_over(world: &World) -> SpoolReport {
    verify(Path::new(DIR), &world.disk).expect("a stopped spool can be looked over")
}

fn is_reported(report: &SpoolReport) -> bool {
    !report.is_clean() || report.segments.iter().any(|segment| segment.torn_tail.is_some())
}

#[test]
fn any_flipped_bit_is_reported_and_hides_no_other_record() {
    let (mut world, path, begins) = stopped(4);
    let whole = world.disk.contents(&path);
    let record_of = |at: usize| begins.iter().rposition(|&begin| begin <= at);
    for bit in 0..whole.len() * 8 {
        world.disk.tamper(&path, |bytes| {
            bytes.clone_from(&whole);
            bytes[bit / 8] ^= 1 << (bit % 8);
        });
        world.disk.segments().iter().filter(|other| **other != path).for_each(|other| world.disk.lose(other));
        assert!(is_reported(&looked_over(&world)), "bit {bit} is reported");

        let (found, recovery) = survivors(&mut world);
        world.opened = None;
        assert!(recovery.torn_tails + recovery.damaged.len() as u64 > 0, "bit {bit} is found at start");
        let lost = record_of(bit / 8).map(|record| record as u64);
        let expected: Vec<u64> = (0..4).filter(|number| Some(*number) != lost).collect();
        assert_eq!(found[..found.len() - 1], expected, "bit {bit} takes at most its own record along");
    }
}

#[test]
fn a_segment_cut_off_anywhere_in_its_last_record_loses_that_record_only() {
    let (mut world, path, begins) = stopped(3);
    let whole = world.disk.contents(&path);
    for len in begins[2]..whole.len() {
        world.disk.tamper(&path, |bytes| *bytes = whole[..len].to_vec());
        world.disk.segments().iter().filter(|other| **other != path).for_each(|other| world.disk.lose(other));
        let report = looked_over(&world);
        assert!(report.is_clean(), "a torn tail is no damage");
        assert_eq!(report.segments[0].torn_tail.is_some(), len > begins[2]);

        let (found, recovery) = survivors(&mut world);
        world.opened = None;
        assert_eq!(recovery.torn_tails, u64::from(len > begins[2]));
        assert!(recovery.damaged.is_empty() && recovery.missing.is_empty());
        assert_eq!(found[..2], [0, 1]);
        assert_eq!(footer_of(&world.disk.contents(&path)), begins[2], "the torn tail is cut");
        assert!(!is_reported(&looked_over(&world)), "after that nothing is wrong any more");
    }
}

#[test]
fn a_tail_torn_in_several_records_is_cut_whole() {
    let (mut world, path, begins) = stopped(5);
    world.disk.tamper(&path, |bytes| {
        for &begin in &begins[2..] {
            bytes[begin + 60] ^= 0xff;
        }
    });
    let (found, recovery) = survivors(&mut world);
    assert_eq!(found[..2], [0, 1]);
    assert_eq!((recovery.torn_tails, recovery.damaged.len()), (1, 0));
    assert_eq!(footer_of(&world.disk.contents(&path)), begins[2], "the footer is in its place");
}

#[test]
fn a_damaged_stretch_between_records_is_counted_by_positions() {
    let (mut world, path, begins) = stopped(9);
    world.disk.tamper(&path, |bytes| bytes[begins[2]..begins[5]].fill(0xee));
    let (found, recovery) = survivors(&mut world);
    assert_eq!(found[..6], [0, 1, 5, 6, 7, 8]);
    assert_eq!(recovery.missing, [3..=5]);
    assert_eq!(recovery.damaged[0].bytes, begins[2] as u64..begins[5] as u64);
    let batch = world.reader().read_now(Position(2), 1, 1).unwrap().unwrap();
    assert_eq!((batch.damaged, batch.through), (3, Position(6)));
    assert!(world.metrics.render().contains("fanbridge_spool_corrupt_records_total"));
}

#[test]
fn a_damaged_record_is_counted_once_however_many_read_there() {
    let mut world = World::open_new(one_segment());
    let path = PathBuf::from(DIR).join("00000000000000000001.log");
    let mut begins = Vec::new();
    for _ in 0..9 {
        begins.push(world.disk.segments().first().map_or(1024, |path| world.disk.contents(path).len()));
        world.append(1);
    }
    world.disk.tamper(&path, |bytes| bytes[begins[2]..begins[5]].fill(0xee));
    let counted = |world: &World| world.metrics.spool_corrupt.get();
    for _ in 0..4 {
        assert_eq!(world.read_all().1, 3, "each reader is told");
        assert_eq!(counted(&world), 3);
    }
    world.disk.tamper(&path, |bytes| bytes[begins[6]] ^= 0xff);
    assert_eq!((world.read_all().1, counted(&world)), (4, 4), "one more, and not again what is known");

    // A start counts what it finds, and its readers do not count that again.
    world.metrics = std::sync::Arc::default();
    world.open().expect("a damaged spool opens");
    assert_eq!((world.read_all().1, counted(&world)), (4, 4));
}

#[test]
fn a_segment_that_is_gone_leaves_a_gap_that_is_reported_and_passed() {
    let mut world = World::open_new(options());
    while world.disk.segments().len() < 4 {
        world.append(3);
    }
    let segments = world.disk.segments();
    let base_of = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    let gone = base_of(&segments[1])..=base_of(&segments[2]) - 1;
    world.opened = None;
    world.disk.lose(&segments[1]);

    let recovery = world.open().expect("a spool with a gap opens");
    assert_eq!(recovery.missing, std::slice::from_ref(&gone));
    let (entries, damaged) = world.read_all();
    assert_eq!(damaged, gone.clone().count() as u64);
    let expected: Vec<u64> = world.promised.keys().copied().filter(|at| !gone.contains(at)).collect();
    assert_eq!(entries.iter().map(|(position, _)| *position).collect::<Vec<_>>(), expected);
    world.opened = None;
    assert!(!looked_over(&world).is_clean());
}

#[test]
fn a_closed_segment_that_is_no_longer_what_it_was_is_passed_by_nobody_and_ends_a_running_spool() {
    type Harm = fn(&World, &Path);
    let harms: [Harm; 4] = [
        |world, path| world.disk.lose(path),
        // As long as it was, and something else.
        |world, path| world.disk.put(path, vec![7; world.disk.contents(path).len()]),
        |world, path| world.disk.tamper(path, |bytes| bytes.truncate(2000)),
        |world, path| world.disk.put(path, Vec::new()),
    ];
    for harm in harms {
        let mut world = World::open_new(SpoolOptions { tail_bytes_max: 0, ..options() });
        while world.disk.segments().len() < 3 {
            world.append(3);
        }
        let segments = world.disk.segments();
        harm(&world, &segments[0]);
        let read = world.reader().read_now(Position(0), 1, 1 << 20);
        assert!(matches!(read, Err(ReadError::Io { .. })), "{read:?}");
        world.tick();
        assert_eq!(world.append(1), [Err(AppendError::Failed)]);
    }
}

#[test]
fn a_copy_in_the_place_of_a_closed_segment_is_read_and_ends_nothing() {
    let mut world = World::open_new(SpoolOptions { tail_bytes_max: 0, ..options() });
    while world.disk.segments().len() < 4 {
        world.append(3);
    }
    let closed = world.disk.segments();
    for path in &closed[..3] {
        world.disk.put(path, world.disk.contents(path));
    }
    world.check();
    for _ in 0..3 {
        world.tick();
        world.check();
    }
    let appended = world.append(1);
    assert!(matches!(appended[..], [Ok(Appended::Stored(_))]), "{appended:?}");
    // Known by now, so that it is missed like any other; a look goes on where the one before ended.
    world.disk.lose(&closed[1]);
    world.tick();
    world.tick();
    assert_eq!(world.append(1), [Err(AppendError::Failed)]);
}

#[test]
fn a_copy_whose_fsync_fails_is_not_synced_again_and_called_durable() {
    let mut world = World::open_new(SpoolOptions { tail_bytes_max: 0, ..options() });
    while world.disk.segments().len() < 4 {
        world.append(3);
    }
    let oldest = world.disk.segments().remove(0);
    world.disk.put(&oldest, world.disk.contents(&oldest));
    world.disk.plan(Call::Sync, &[EIO]);
    world.tick();
    assert_eq!(world.append(1), [Err(AppendError::Failed)]);
}

#[test]
fn a_segment_that_nobody_waits_for_may_be_taken_away_and_counts_as_no_loss() {
    // The oldest, one between others, all that are closed.
    for gone in [0..1, 1..2, 0..3] {
        let mut world = World::open_new(SpoolOptions { tail_bytes_max: 0, ..options() });
        while world.disk.segments().len() < 4 {
            world.append(3);
        }
        let segments = world.disk.segments();
        let head = world.reader().head().0;
        let bytes: usize = segments[gone.clone()].iter().map(|path| world.disk.contents(path).len()).sum();
        let before = world.reader().usage().bytes;
        world.settle(head);
        segments[gone.clone()].iter().for_each(|path| world.disk.lose(path));
        world.tick();
        assert_eq!(world.reader().usage().bytes, before - bytes as u64, "{gone:?}");
        for _ in 0..40 {
            assert!(matches!(world.append(1)[..], [Ok(Appended::Stored(_))]), "{gone:?}");
        }
        let batch = world.reader().read_now(Position(head), 100, 1 << 20).unwrap().unwrap();
        assert_eq!((batch.entries[0].0, batch.damaged), (Position(head + 1), 0));
        assert_eq!(world.metrics.spool_corrupt.get(), 0, "{gone:?}");
        // What is left of the old ones still gives way by itself.
        world.second += 1_000;
        world.tick();
        assert!(world.reader().first() > Position(head - 3), "{gone:?}: {:?}", world.reader().first());
    }
}

#[test]
fn a_newest_segment_that_nobody_waits_for_leaves_its_positions_to_no_other_event() {
    let mut world = World::open_new(options());
    world.append(3);
    world.settle(3);
    world.open().expect("it opens again");
    let newest = world.disk.segments().pop().unwrap();
    world.disk.lose(&newest);
    world.tick();
    // Whoever starts next learns from a name how far the positions have got.
    world.settled = 0;
    world.promised.clear();
    world.open().expect("it opens again");
    let stored = world.append(1);
    assert_eq!(stored, [Ok(Appended::Stored(Position(4)))]);
}

#[test]
fn a_look_that_fails_once_or_is_interrupted_is_looked_again_and_refuses_nothing() {
    for once in [EINTR, EIO, ESTALE, ENOMEM] {
        let mut world = World::open_new(options());
        world.append(2);
        world.disk.plan(Call::Look, &[once, once]);
        let answers = world.append(1);
        assert!(matches!(answers[..], [Ok(Appended::Stored(_))]), "{once}: {answers:?}");
        world.disk.plan(Call::Look, &[once, once]);
        world.tick();
        assert!(matches!(world.append(1)[..], [Ok(Appended::Stored(_))]), "{once}");
        world.check();
    }
}

#[test]
fn while_the_system_does_not_say_what_is_there_nothing_is_acknowledged_and_then_all_goes_on() {
    for (errno, reason) in
        [(ENOMEM, "no_memory"), (EMFILE, "no_descriptors"), (EIO, "files_unseen"), (ESTALE, "files_unseen")]
    {
        let mut world = World::open_new(options());
        world.append(2);
        world.disk.plan(Call::Look, &[errno; 1000]);
        assert_eq!(world.append(2), [Err(AppendError::Full { reason }); 2]);
        world.second += 5;
        world.tick();
        assert_eq!(world.append(1), [Err(AppendError::Full { reason })]);
        world.disk.unplan();
        world.tick();
        let answers = world.append(1);
        assert_eq!(answers, [Ok(Appended::Stored(Position(3)))], "what was refused has no position");
        world.crash_and_recover(Fate::Mixed, &mut Dice::new(1));
    }
}

#[test]
fn a_system_that_never_says_what_is_there_ends_the_spool_unless_it_only_lacks_something() {
    for (errno, ends) in [(EIO, true), (ESTALE, true), (ENOMEM, false), (ENFILE, false)] {
        let mut world = World::open_new(options());
        world.append(2);
        world.disk.plan(Call::Look, &[errno; 1000]);
        for _ in 0..12 {
            world.tick();
            world.second += 1;
        }
        world.tick();
        let failed = world.append(1) == [Err(AppendError::Failed)];
        assert_eq!(failed, ends, "{errno}");
    }
}

#[test]
fn a_newest_segment_that_loses_its_name_is_acknowledged_into_no_more_and_put_back() {
    type Harm = fn(&World, &Path);
    let harms: [(Harm, bool); 2] = [
        (|world, path| world.disk.lose(path), false),
        (|world, path| world.disk.put(path, b"something else".to_vec()), true),
    ];
    for (harm, is_kept) in harms {
        let mut world = World::open_new(options());
        world.append(2);
        let path = world.disk.segments().pop().unwrap();
        harm(&world, &path);
        assert_eq!(world.append(1), [Err(AppendError::Failed)], "written, and to nowhere");
        // Power goes: what was put back is durable.
        world.crash_and_recover(Fate::Old, &mut Dice::new(1));
        assert!(world.promised.len() >= 2);
        let found = path.with_extension("log.found-1");
        if is_kept {
            assert_eq!(world.disk.contents(&found), b"something else", "and nobody else's bytes are lost");
        }
    }
}

#[test]
fn what_cannot_be_linked_is_moved_aside_when_a_segment_is_put_back() {
    // Another user's file, a file system without links, and one that gives a file no more of them.
    for refusal in [EPERM, EOPNOTSUPP, EMLINK] {
        let mut world = World::open_new(options());
        world.append(2);
        let path = world.disk.segments().pop().unwrap();
        world.disk.put(&path, b"something else".to_vec());
        world.disk.plan(Call::Link, &[refusal]);
        assert_eq!(world.append(1), [Err(AppendError::Failed)]);
        // Power goes: what was put back is durable, and so is where the other one is now.
        world.crash_and_recover(Fate::Old, &mut Dice::new(1));
        assert!(world.promised.len() >= 2);
        assert_eq!(world.disk.contents(&path.with_extension("log.found-1")), b"something else", "{refusal}");
        assert!(!world.disk.has(&path.with_extension("log.kept-1")), "{refusal}: no copy is left over");
    }
}

#[test]
fn the_newest_segment_gone_never_makes_a_cursor_pass_over_new_events() {
    let mut world = World::open_new(options());
    while world.disk.segments().len() < 3 {
        world.append(3);
    }
    let head = world.reader().head();
    world.settle(head.0);
    world.opened = None;
    let newest = world.disk.segments().pop().unwrap();
    world.disk.lose(&newest);

    world.open().expect("a spool without its newest segment opens");
    assert_eq!(world.reader().head(), head, "positions go on behind the cursor");
    world.append(1);
    let batch = world.reader().read_now(head, 10, 10_000).unwrap().unwrap();
    assert_eq!(batch.entries.len(), 1);
    assert_eq!(batch.entries[0].0, head.next());
}

#[test]
fn a_segment_without_any_header_is_kept_and_its_positions_are_not_given_twice() {
    let (mut world, path, _) = stopped(5);
    world.disk.tamper(&path, |bytes| bytes[..1024].fill(0));
    let recovery = world.open().expect("a spool with an unreadable segment opens");
    assert_eq!(recovery.damaged.len(), 1);
    assert!(world.reader().head() >= Position(5), "its records' positions are left out");
    world.append(2);
    let (entries, damaged) = world.read_all();
    assert_eq!(entries.len(), 2);
    assert!(damaged >= 5);
    assert!(world.disk.segments().contains(&path), "nothing is deleted");
    world.open().expect("and opens again");
    assert_eq!(world.read_all().0.len(), 2);
}

#[test]
fn a_sector_that_cannot_be_read_takes_no_other_record_along() {
    let (mut world, path, begins) = stopped(60);
    let len = world.disk.contents(&path).len();
    assert!(len > 3 * 4096, "the segment has several pages");
    world.open().unwrap();
    // Once for the chunk, then page by page: the second page is bad.
    world.disk.plan(Call::Read, &[EIO, 0, EIO]);
    let batch = world.reader().read_now(Position(0), 1000, 1 << 20).unwrap().unwrap();
    let first_bad = 1024 + 4096;
    let hit = |index: usize| {
        let end = begins.get(index + 1).copied().unwrap_or(len);
        begins[index] < first_bad + 4096 && end > first_bad
    };
    let expected: Vec<u64> = (0..60).filter(|&index| !hit(index)).map(|index| index as u64 + 1).collect();
    assert_eq!(batch.entries.iter().map(|(at, _)| at.0).collect::<Vec<_>>(), expected);
    assert_eq!(batch.damaged, 60 - expected.len() as u64);
}

#[test]
fn a_spool_of_a_later_release_is_refused_and_left_alone() {
    let (mut world, path, begins) = stopped(3);
    let torn = begins[2] + 10;
    world.disk.tamper(&path, |bytes| bytes.truncate(torn));
    let newer = PathBuf::from(DIR).join("00000000000000000009.log");
    let mut contents = world.disk.contents(&path);
    for copy in [0, 512] {
        contents[copy + 8..copy + 12].copy_from_slice(&4_u32.to_le_bytes());
        let crc = crc32c::crc32c(&contents[copy..copy + 60]);
        contents[copy + 60..copy + 64].copy_from_slice(&crc.to_le_bytes());
    }
    world.disk.put(&newer, contents);

    let calls = world.disk.calls();
    let refused = world.open().expect_err("a newer format is refused");
    assert!(matches!(&refused, SpoolError::NewerFormat { path, found: 4 } if *path == newer), "{refused}");
    assert_eq!(world.disk.calls(), calls, "nothing was changed, not even the torn tail");
}

#[test]
fn a_segment_in_the_first_format_is_still_read() {
    let mut world = World::new(options());
    let name = "00000000000000000001.log";
    let kept = include_bytes!("fixtures/format-1/00000000000000000001.log");
    world.disk.put(&PathBuf::from(DIR).join(name), kept.to_vec());
    let recovery = world.open().expect("a later release reads an earlier one's segments");
    assert_eq!((recovery.entries, recovery.torn_tails, recovery.damaged.len()), (6, 0, 0));
    let (entries, _) = world.read_all();
    for (number, (position, found)) in (0..).zip(entries) {
        assert_eq!((position, found), (number + 1, former_entry(number)));
    }
    assert_eq!(world.append_numbers(&[3]), [Ok(Appended::Duplicate)]);
}

#[test]
fn the_segment_that_the_architecture_draws_is_read_as_it_is_explained_there() {
    let document = include_str!("../../docs/ARCHITECTURE.md");
    let drawn = document.split("```hex\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a dump");
    let mut segment = Vec::new();
    for line in drawn.lines().filter(|line| *line != "*") {
        let (at, rest) = line.split_once(": ").expect("an offset");
        segment.resize(usize::from_str_radix(at, 16).unwrap(), 0);
        let digits: String = rest.split("  ").next().unwrap().split(' ').collect();
        segment.extend(hex::decode(digits).unwrap());
    }
    let mut world = World::new(options());
    let path = PathBuf::from(DIR).join("00000000000000000001.log");
    world.disk.put(&path, segment.clone());
    let recovery = world.open().expect("what a bridge wrote can be opened");
    assert_eq!((recovery.entries, recovery.torn_tails, recovery.damaged.len()), (1, 0, 0));
    assert_eq!((recovery.by_footer, recovery.scanned), (1, 0));
    // Without its footer, it gets the same one again.
    world.disk.tamper(&path, |bytes| bytes.truncate(0x4c1));
    assert_eq!(world.open().expect("the footer is not needed").scanned, 1);
    world.stop();
    assert_eq!(world.disk.contents(&path), segment);
    world.open().expect("and it can be opened again");
    let (entries, _) = world.read_all();
    let [(1, Entry::Event(event))] = &entries[..] else { panic!("one event at position 1: {entries:?}") };
    let texts =
        [&event.id, &event.source, &event.event_type, &event.provider, &event.family, &event.source_name];
    assert_eq!(texts, ["evt_1", "/acme/default", "invoice.paid", "acme", "invoices", "acme"]);
    assert_eq!((event.key.as_deref(), event.subject.as_deref()), (Some("c7"), Some("c7")));
    assert_eq!((&event.only_sink, event.extensions.len()), (&None, 0));
    assert_eq!(event.configuration, Some("81bc0f5a27e4".parse().unwrap()));
    assert_eq!(event.time, EventTime::Inferred(event.arrived));
    assert_eq!(event.arrived.to_rfc3339(), "2026-11-28T19:40:13.742157469Z");
    assert_eq!(event.body, r#"{"id":"evt_1","event":"invoice.paid","customer":"c7"}"#);
}

#[test]
fn a_second_opener_is_refused_while_the_first_one_lives() {
    let world = World::open_new(options());
    let mut second = World::new(options());
    second.disk = world.disk.clone();
    assert!(matches!(second.open(), Err(SpoolError::Locked(_))));
    assert!(matches!(verify(Path::new(DIR), &world.disk), Err(SpoolError::Locked(_))));
    drop(world);
    second.open().expect("the directory is free again");
}

#[test]
fn a_failed_sync_stops_everything_and_a_restart_has_what_was_promised() {
    let mut world = World::open_new(options());
    world.append(3);
    world.disk.plan(Call::Sync, &[EIO]);
    let failed = world.append(2);
    assert!(failed.iter().all(|answer| *answer == Err(AppendError::Failed)));
    assert_eq!(world.append(1), [Err(AppendError::Failed)], "and nothing after it");
    let calls = world.disk.calls();
    world.settle(3);
    world.tick();
    world.append_numbers(&[0]);
    assert_eq!(world.disk.calls(), calls, "the disk is left alone");
    assert_eq!(world.reader().head(), Position(3));

    // The process ends without a power cut: what never got to the disk is still in the page cache,
    // but it must not be mistaken for durable.
    world.disk.kill();
    world.open().unwrap();
    assert_eq!(world.reader().head(), Position(3));
    world.check();
}

#[test]
fn a_sync_that_always_fails_promises_nothing_and_loses_nothing() {
    for call in [Call::Sync, Call::SyncDir] {
        let mut world = World::open_new(options());
        world.append(2);
        for _ in 0..3 {
            world.disk.plan(call, &[EIO; 8]);
            let opened = world.open();
            if opened.is_ok() {
                assert!(world.append(1)[0].is_err());
            }
        }
        world.crash_and_recover(Fate::Mixed, &mut Dice::new(1));
        assert_eq!(world.promised.len(), 2);
    }
}

#[test]
fn a_wall_clock_that_jumps_forgets_no_duplicate_and_prunes_nothing_while_the_spool_runs() {
    let mut world = World::open_new(options());
    while world.disk.segments().len() < 3 {
        world.append(2);
    }
    let head = world.reader().head().0;
    world.settle(head);
    let mut now = world.now();
    now.wall.0 += Duration::from_secs(365 * 86_400).as_nanos() as i64;
    world.opened().committer.tick(now);
    assert_eq!(world.disk.segments().len(), 3);
    assert_eq!(world.append_numbers(&[0]), [Ok(Appended::Duplicate)]);
}
