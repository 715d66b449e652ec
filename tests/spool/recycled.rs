//! Segments that are written over the files of former ones: what is left of those is never read, and takes no
//! space from anybody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fanbridge::disk::Disk;
use fanbridge::event::Position;
use fanbridge::spool::verify::verify;
use fanbridge::spool::{AppendError, Appended, SpoolOptions};

use crate::sim::{Call, Dice, EFBIG, EIO, EMFILE, Fate};
use crate::world::{DIR, Files, World, entry, number_of, options};

const PAGE_BYTES: usize = 4096;
const END_MARK_MAGIC: [u8; 4] = [0xf5, 0xe1, 0xd3, 0xed];

fn spare() -> PathBuf {
    Path::new(DIR).join("next.spare")
}

/// Options under which every reader reads from disk, and segments have several pages.
fn several_pages() -> SpoolOptions {
    SpoolOptions { segment_bytes: 12_000, tail_bytes_max: 0, ..options() }
}

/// A world with a spare and one segment beside it, which holds one entry or more.
fn with_spare(options: SpoolOptions) -> World {
    let mut world = World::open_on(Files::AreWrittenOver, options);
    while world.disk.segments().len() < 2 {
        world.append(2);
    }
    prune_settled(&mut world);
    assert!(world.disk.has(&spare()), "the file of the pruned segment is kept");
    world
}

fn prune_settled(world: &mut World) {
    let head = world.reader().head().0;
    world.settle(head);
    world.second += 200;
    world.tick();
}

/// A world whose newest segment was begun in a recycled file, and its path.
fn recycling(options: SpoolOptions) -> (World, PathBuf) {
    let mut world = with_spare(options);
    let begun = world.disk.segments().len();
    while world.disk.segments().len() == begun {
        world.append(1);
    }
    assert!(!world.disk.has(&spare()));
    let newest = world.disk.segments().pop().expect("there are segments");
    (world, newest)
}

fn numbers(world: &World) -> Vec<u64> {
    world.read_all().0.iter().map(|(_, found)| number_of(found)).collect()
}

#[test]
fn the_file_of_a_pruned_segment_becomes_the_next_segment() {
    let mut world = with_spare(several_pages());
    let was = world.disk.look(&spare()).unwrap();
    let before = world.disk.segments();
    while world.disk.segments() == before {
        world.append(1);
    }
    let newest = world.disk.segments().pop().unwrap();
    let is = world.disk.look(&newest).unwrap();
    assert_eq!((is.id, is.len), (was.id, was.len), "{}", newest.display());
    world.append(3);
    assert_eq!(world.disk.look(&newest).unwrap().len, was.len, "it does not grow");
    world.check();
    assert!(world.reader().usage().recycles);
}

#[test]
fn where_bytes_are_not_written_in_place_every_segment_grows() {
    let mut world = World::open_new(several_pages());
    while world.disk.segments().len() < 3 {
        world.append(2);
    }
    prune_settled(&mut world);
    assert_eq!(world.disk.logs().len(), 1);
    assert!(!world.reader().usage().recycles);
}

#[test]
fn only_one_file_is_kept_and_only_one_as_long_as_a_segment() {
    let mut world = World::open_on(Files::AreWrittenOver, several_pages());
    while world.disk.segments().len() < 5 {
        world.append(2);
    }
    prune_settled(&mut world);
    assert_eq!((world.disk.segments().len(), world.disk.logs().len()), (1, 2));

    // An orderly end closes a segment early: its file is short, and is not kept.
    let mut world = World::open_on(Files::AreWrittenOver, several_pages());
    world.append(2);
    world.stop();
    world.open().unwrap();
    while world.disk.segments().len() < 2 {
        world.append(2);
    }
    prune_settled(&mut world);
    assert_eq!(world.disk.logs(), world.disk.segments());
}

#[test]
fn a_killed_spool_is_opened_without_what_the_former_segment_left() {
    for more in 0..12 {
        let (mut world, newest) = recycling(several_pages());
        world.append(more);
        let expected = numbers(&world);
        world.disk.kill();
        let report = verify(Path::new(DIR), &world.disk).unwrap();
        assert!(report.is_clean() && report.segments.iter().all(|segment| segment.torn_tail.is_none()));
        let length = world.disk.contents(&newest).len();
        let recovery = world.open().unwrap();
        assert_eq!((recovery.torn_tails, recovery.damaged.len(), recovery.missing.len()), (0, 0, 0));
        assert_eq!(numbers(&world), expected);
        assert!(world.disk.contents(&newest).len() < length, "old bytes are cut off");
        world.check();
    }
}

/// A frame that verifies, with the payload of the segment's first frame and another position: what somebody
/// can have put into a body who guessed the seed of a segment to come.
fn forged(segment: &[u8], position: u64) -> Vec<u8> {
    let length = u32::from_le_bytes(segment[1024 + 4..1024 + 8].try_into().unwrap()) as usize;
    let mut frame = segment[1024..1024 + 52 + length].to_vec();
    frame[8..16].copy_from_slice(&position.to_le_bytes());
    let seed = crc32c::crc32c(&segment[16..24]);
    let crc = crc32c::crc32c_append(seed, &frame[..48]);
    frame[48..52].copy_from_slice(&crc.to_le_bytes());
    frame
}

#[test]
fn a_frame_among_old_bytes_at_a_position_that_cannot_be_there_is_no_entry() {
    for position in [10_000, u64::MAX] {
        let (mut world, newest) = recycling(several_pages());
        world.append(2);
        let (expected, head) = (numbers(&world), world.reader().head());
        world.disk.kill();
        world.disk.tamper(&newest, |bytes| {
            let frame = forged(bytes, position);
            let at = bytes.len() - frame.len();
            bytes[at..].copy_from_slice(&frame);
        });
        let recovery = world.open().unwrap();
        assert_eq!((recovery.torn_tails, recovery.damaged.len(), recovery.missing.len()), (0, 0, 0));
        assert_eq!((numbers(&world), world.reader().head()), (expected, head));
        assert_eq!(world.append(1), [Ok(Appended::Stored(head.next()))]);
    }
}

#[test]
fn a_recycled_segment_is_closed_with_its_footer_and_holds_nothing_old_behind_it() {
    let (mut world, newest) = recycling(several_pages());
    world.append(2);
    world.stop();
    assert_eq!(world.disk.logs(), world.disk.segments(), "an orderly end leaves no spare");
    let contents = world.disk.contents(&newest);
    assert!(contents.len() < several_pages().segment_bytes as usize);
    assert!(crate::footers::footer_of(&contents) > 1024);
    let recovery = world.open().unwrap();
    assert_eq!((recovery.by_footer, recovery.scanned), (recovery.segments, 0));
    world.check();
}

#[test]
fn a_group_that_was_not_written_to_its_end_shows_old_bytes_and_is_cut_off() {
    let (mut world, newest) = recycling(several_pages());
    world.append(3);
    let expected = numbers(&world);
    let old = world.disk.contents(&newest);
    world.append(12);
    let (new, all) = (world.disk.contents(&newest), numbers(&world));
    let from = (0..old.len()).find(|&at| old[at] != new[at]).unwrap();
    let mark = new.windows(4).rposition(|bytes| bytes == END_MARK_MAGIC).unwrap();
    assert!(mark - from > PAGE_BYTES, "the group takes several pages");
    for kept in (from + 1..mark + 8).step_by(97).chain([mark, mark + 7]) {
        world.disk.tamper(&newest, |bytes| {
            bytes.clone_from(&old);
            bytes[..kept].copy_from_slice(&new[..kept]);
        });
        world.disk.kill();
        let recovery = world.open().unwrap();
        assert_eq!((recovery.torn_tails, recovery.damaged.len()), (1, 0), "up to {kept}");
        let found = numbers(&world);
        assert!(all.starts_with(&found) && found.len() >= expected.len(), "{found:?}");
        world.opened = None;
    }
}

#[test]
fn any_flipped_bit_of_a_recycled_segment_takes_at_most_one_entry_along() {
    let (mut world, newest) = recycling(SpoolOptions { segment_bytes: 5000, ..several_pages() });
    world.append(2);
    let expected = numbers(&world);
    let whole = world.disk.contents(&newest);
    let frames_end = whole.windows(4).position(|bytes| bytes == END_MARK_MAGIC).unwrap();
    let earlier: Vec<_> = world.disk.segments().into_iter().filter(|path| *path != newest).collect();
    let earlier: Vec<_> = earlier.iter().map(|path| (path.clone(), world.disk.contents(path))).collect();
    // One bit of each byte, and all of them in turn.
    for bit in (0..whole.len()).map(|at| at * 8 + at % 8) {
        world.disk.kill();
        world.disk.segments().iter().for_each(|path| world.disk.lose(path));
        earlier.iter().for_each(|(path, contents)| world.disk.put(path, contents.clone()));
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        world.disk.put(&newest, flipped);
        world.open().unwrap();
        let found = numbers(&world);
        let lost = expected.iter().filter(|number| !found.contains(number)).count();
        assert!(
            lost <= usize::from(bit / 8 < frames_end) && found.iter().all(|number| expected.contains(number)),
            "bit {bit}: {found:?}"
        );
        assert!(matches!(world.append(1)[0], Ok(Appended::Stored(_))));
        world.opened = None;
    }
}

#[test]
fn a_spare_gives_way_before_anything_is_pruned_or_refused() {
    let mut world =
        World::open_on(Files::AreWrittenOver, SpoolOptions { bytes_max: 80_000, ..several_pages() });
    while world.disk.segments().len() < 2 {
        world.append(2);
    }
    world.second += 200;
    while world.disk.segments().len() < 4 {
        world.append(2);
    }
    let head = world.reader().head().0;
    world.settle(head);
    world.tick();
    assert!(world.disk.has(&spare()) && world.disk.segments().len() > 2, "the others are retained");
    assert_eq!(world.reader().usage().bytes, world.segment_bytes(), "the spare counts");
    let first = world.reader().first();
    world.reader().set_other_bytes(80_000 - world.reader().usage().bytes + 1);
    world.second += 1;
    world.tick();
    assert!(!world.disk.has(&spare()));
    assert!(matches!(world.append(1)[0], Ok(Appended::Stored(_))));
    assert_eq!(world.reader().first(), first);
    world.check();
}

#[test]
fn old_bytes_behind_the_newest_entry_give_way_when_a_bound_is_passed() {
    let (mut world, newest) = recycling(SpoolOptions { bytes_max: 100_000, ..several_pages() });
    let long = world.disk.look(&newest).unwrap().len;
    world.reader().set_other_bytes(100_000 - world.reader().usage().bytes + 1);
    world.second += 1;
    world.tick();
    let short = world.disk.look(&newest).unwrap().len;
    assert!(short < long, "{short} of {long} bytes");
    assert_eq!(world.reader().usage().bytes, world.segment_bytes());
    assert!(matches!(world.append(2)[0], Ok(Appended::Stored(_))), "it grows from now on");
    world.check();
}

#[test]
fn a_spool_at_its_bound_goes_round_in_the_files_it_has() {
    let bytes_max = 100_000;
    let mut world = World::open_on(Files::AreWrittenOver, SpoolOptions { bytes_max, ..several_pages() });
    let mut ids = std::collections::BTreeSet::new();
    let mut refused = 0;
    for _ in 0..600 {
        let answers = world.append(2);
        refused += answers.iter().filter(|answer| answer.is_err()).count();
        let head = world.reader().head().0;
        world.settle(head);
        for path in world.disk.segments() {
            ids.insert(format!("{:?}", world.disk.look(&path).unwrap().id));
        }
        assert!(world.reader().usage().bytes <= bytes_max);
        assert_eq!(world.reader().usage().bytes, world.segment_bytes());
    }
    assert_eq!(refused, 0, "what is delivered gives way");
    assert!(world.reader().first().0 > 500, "hundreds of entries were pruned");
    assert!(ids.len() <= 12, "{} files were made for {} entries", ids.len(), world.promised.len());
    world.check();
}

#[test]
fn a_reader_of_a_segment_that_is_pruned_and_written_over_meanwhile_passes_it() {
    let mut world = World::open_on(Files::AreWrittenOver, several_pages());
    while world.disk.segments().len() < 2 {
        world.append(2);
    }
    let (log, disk) = (Arc::clone(&world.opened().reader), world.disk.clone());
    let metrics = Arc::clone(&world.metrics);
    let (segments, oldest) = (disk.segments(), disk.segments()[0].clone());
    let was = disk.look(&oldest).unwrap().id;
    disk.before_next_read(move || {
        prune_settled(&mut world);
        while world.disk.segments().len() < segments.len() {
            world.append(1);
        }
        let newest = world.disk.segments().pop().unwrap();
        assert_eq!(world.disk.look(&newest).unwrap().id, was, "it is the file that is being read");
        world.append(4);
    });
    let batch = log.read_now(Position(0), 100, 1 << 20).unwrap().unwrap();
    assert!(!disk.has(&oldest));
    assert!(batch.through < log.first());
    for (position, found) in &batch.entries {
        assert_eq!(*found, entry(number_of(found), 0), "what is left at {position:?} is whole");
    }
    assert!(batch.damaged > 0, "its first entries are written over");
    assert_eq!(metrics.spool_corrupt.get(), 0, "what was pruned is no damage");
}

#[test]
fn a_recycled_segment_that_loses_its_name_is_put_back_without_old_bytes() {
    let (mut world, newest) = recycling(several_pages());
    world.append(2);
    let (expected, usage) = (numbers(&world), world.reader().usage());
    let length = world.disk.contents(&newest).len() as u64;
    world.disk.lose(&newest);
    world.tick();
    assert_eq!(world.append(1), [Err(AppendError::Failed)]);
    assert_eq!(world.disk.contents(&newest).len() as u64, length - usage.old_bytes);
    world.opened = None;
    world.disk.kill();
    world.open().unwrap();
    assert_eq!(numbers(&world), expected);
}

#[test]
fn a_file_that_somebody_put_in_the_place_of_the_spare_is_not_written_over() {
    let mut world = with_spare(several_pages());
    let length = world.disk.contents(&spare()).len();
    world.disk.put(&spare(), vec![7; length]);
    let before = world.disk.segments().len();
    while world.disk.segments().len() == before {
        assert!(matches!(world.append(1)[0], Ok(Appended::Stored(_))));
    }
    let newest = world.disk.segments().pop().unwrap();
    assert!(world.disk.contents(&newest).len() < length, "another file was made");
    world.check();
}

#[test]
fn a_segment_with_a_second_name_is_not_written_over() {
    let backup = Path::new("/backup.log");
    let mut world = World::open_on(Files::AreWrittenOver, several_pages());
    while world.disk.segments().len() < 2 {
        world.append(2);
    }
    let oldest = world.disk.segments()[0].clone();
    let contents = world.disk.contents(&oldest);
    world.disk.link(&oldest, backup).unwrap();
    prune_settled(&mut world);
    assert!(!world.disk.has(&oldest) && !world.disk.has(&spare()));
    assert_eq!(world.disk.contents(backup), contents);

    // The spare itself can get one, too.
    let mut world = with_spare(several_pages());
    let contents = world.disk.contents(&spare());
    world.disk.link(&spare(), backup).unwrap();
    let before = world.disk.segments().len();
    while world.disk.segments().len() == before {
        assert!(matches!(world.append(1)[0], Ok(Appended::Stored(_))));
    }
    assert_eq!(world.disk.contents(backup), contents);
}

#[test]
fn a_write_that_fails_in_a_recycled_file_leaves_nothing_of_its_group() {
    for (errno, refusal) in [(EFBIG, AppendError::Full { reason: "disk_full" }), (EIO, AppendError::Failed)] {
        let (mut world, newest) = recycling(several_pages());
        let expected = numbers(&world);
        // A part of the group is in the file before the error.
        world.disk.write_short();
        world.disk.plan(Call::Write, &[0, errno]);
        assert_eq!(world.append(3), [Err(refusal), Err(refusal), Err(refusal)]);
        let durable = world.disk.contents(&newest).len();
        assert!(durable < several_pages().segment_bytes as usize, "old bytes and the group are cut off");
        world.disk.kill();
        world.open().unwrap();
        assert_eq!(numbers(&world), expected);
        world.check();
    }
}

#[test]
fn no_power_cut_between_two_segments_in_one_file_loses_or_invents_an_entry() {
    for call in 1..=10 {
        for seed in 0..40 {
            let mut world = with_spare(several_pages());
            let newest = world.disk.segments().pop().unwrap();
            while (world.disk.contents(&newest).len() as u64) < world.options.segment_bytes {
                world.append(1);
            }
            world.disk.cut_power_at(call);
            // Footer; header, its sync, name, old name away, two syncs; group and its sync.
            world.append(1);
            assert_eq!(world.disk.is_dead(), call <= 9, "call {call}");
            let recovery = world.crash_and_recover(Fate::Mixed, &mut Dice::new(call * 100 + seed));
            assert!(recovery.missing.is_empty() && recovery.damaged.is_empty(), "call {call}: {recovery:?}");
        }
    }
}

#[test]
fn no_power_cut_while_a_file_is_kept_loses_an_entry() {
    for call in 1..=3 {
        for seed in 0..40 {
            let mut world = World::open_on(Files::AreWrittenOver, several_pages());
            while world.disk.segments().len() < 2 {
                world.append(2);
            }
            let head = world.reader().head().0;
            world.settle(head);
            world.second += 200;
            world.disk.cut_power_at(call);
            world.tick();
            assert_eq!(world.disk.is_dead(), call <= 2, "call {call}");
            let recovery = world.crash_and_recover(Fate::Mixed, &mut Dice::new(call * 100 + seed));
            assert!(recovery.missing.is_empty() && recovery.damaged.is_empty(), "call {call}: {recovery:?}");
        }
    }
}

#[test]
fn a_recycled_file_whose_directory_cannot_be_synced_takes_no_space_meanwhile() {
    let mut world = with_spare(several_pages());
    let newest = world.disk.segments().pop().unwrap();
    while (world.disk.contents(&newest).len() as u64) < world.options.segment_bytes {
        world.append(1);
    }
    world.disk.plan(Call::SyncDir, &[EMFILE]);
    assert!(matches!(world.append(1)[0], Err(AppendError::Full { .. })));
    world.check();
    world.second += 1;
    assert!(matches!(world.append(1)[0], Ok(Appended::Stored(_))));
    world.check();
}

#[test]
fn a_spool_that_is_told_not_to_writes_over_nothing() {
    let options = SpoolOptions { recycle_segments: false, ..several_pages() };
    let mut world = World::open_on(Files::AreWrittenOver, options);
    while world.disk.segments().len() < 3 {
        world.append(2);
    }
    prune_settled(&mut world);
    assert_eq!((world.disk.logs().len(), world.disk.renames()), (1, 0));
    assert!(!world.reader().usage().recycles);
}
