//! Segments that are closed with a footer: a start by footers knows what a scan knows, and nothing hangs on
//! a footer that is not there, torn or damaged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fanbridge::event::Position;
use fanbridge::spool::verify::{FooterState, SpoolReport, verify};
use fanbridge::spool::{Appended, DeepVerify, Recovery, SpoolError, SpoolOptions};

use crate::sim::{Call, Dice, EACCES, EIO, ENOSPC, Fate};
use crate::world::{DIR, World, entry, former_entry, number_of, options};

/// Bytes of a segment's header, of a duplicate key in a footer, and of a footer's trailer.
const HEADER_BYTES: usize = 1024;
const KEY_BYTES: usize = 24;
const TRAILER_BYTES: usize = 64;

/// Options under which every reader reads from disk.
fn from_disk() -> SpoolOptions {
    SpoolOptions { tail_bytes_max: 0, ..options() }
}

/// A running spool with at least so many segments.
fn with_segments(count: usize) -> World {
    let mut world = World::open_new(from_disk());
    while world.disk.segments().len() < count {
        world.append(2);
    }
    world
}

/// A spool that was stopped in order, with at least so many segments: each has a footer.
fn stopped_with_segments(count: usize) -> World {
    let mut world = with_segments(count);
    world.stop();
    world
}

fn report(world: &World) -> SpoolReport {
    verify(Path::new(DIR), &world.disk).expect("a stopped spool can be verified")
}

/// Where the footer of a segment begins.
pub fn footer_of(bytes: &[u8]) -> usize {
    let trailer = &bytes[bytes.len() - TRAILER_BYTES..];
    assert!(trailer.starts_with(b"fanclose"), "the segment has a footer");
    u64::from_le_bytes(trailer[8..16].try_into().unwrap()) as usize
}

fn taken(recovery: &Recovery) -> (usize, usize) {
    (recovery.by_footer, recovery.scanned)
}

fn verify_deeply(world: &World) {
    DeepVerify::unpaced(std::sync::Arc::clone(&world.opened.as_ref().unwrap().reader)).run();
}

#[test]
fn a_spool_that_was_stopped_in_order_is_opened_by_its_footers_alone() {
    let mut world = stopped_with_segments(5);
    let segments = world.disk.segments().len();
    let recovery = world.open().unwrap();
    assert_eq!(taken(&recovery), (segments, 0));
    assert_eq!(recovery.entries, world.promised.len() as u64);
    world.check();
    // What comes behind it is in a new segment, and the next start knows both.
    world.append(1);
    world.check();
    world.stop();
    assert_eq!(taken(&world.open().unwrap()), (segments + 1, 0));
    world.check();
}

#[test]
fn after_a_kill_only_the_newest_segment_is_scanned_and_it_is_closed_by_the_next_life() {
    let mut world = with_segments(5);
    let segments = world.disk.segments().len();
    for life in 0..3 {
        world.disk.kill();
        assert_eq!(taken(&world.open().unwrap()), (segments - 1 + life, 1), "life {life}");
        world.check();
        world.append(1);
    }
    world.stop();
    assert_eq!(taken(&world.open().unwrap()), (segments + 3, 0));
    world.check();
}

#[test]
fn a_life_that_appends_nothing_closes_what_the_one_before_left_open() {
    let mut world = with_segments(2);
    world.disk.kill();
    assert_eq!(world.open().unwrap().scanned, 1);
    world.stop();
    assert_eq!(world.open().unwrap().scanned, 0);
    world.check();
}

#[test]
fn no_bit_of_any_footer_loses_or_invents_an_entry_or_a_duplicate_key() {
    let mut world = stopped_with_segments(3);
    let segments = world.disk.segments();
    let promised = world.promised.clone();
    // One in the middle, and the newest.
    for path in &segments[1..] {
        let whole = world.disk.contents(path);
        for bit in footer_of(&whole) * 8..whole.len() * 8 {
            world.disk.tamper(path, |bytes| {
                bytes.clone_from(&whole);
                bytes[bit / 8] ^= 1 << (bit % 8);
            });
            let found = report(&world);
            let is_newest = path == segments.last().unwrap();
            let told = |report: &SpoolReport| {
                report.segments.iter().any(|segment| {
                    segment.path == *path
                        && (matches!(segment.footer, FooterState::Damaged(_)) || segment.torn_tail.is_some())
                })
            };
            assert!(found.is_clean() && told(&found), "bit {bit}: a bad footer is told, and is no loss");

            let recovery = world.open().expect("a spool with a bad footer opens");
            assert_eq!(taken(&recovery), (segments.len() - 1, 1), "bit {bit}: this one is scanned");
            assert_eq!((recovery.damaged.len(), recovery.missing.len()), (0, 0), "bit {bit}");
            assert_eq!(recovery.entries, promised.len() as u64);
            assert!(recovery.torn_tails == 0 || is_newest, "bit {bit}");
            // Only known events: nothing is stored, so nothing changes for the next bit.
            world.check();
            assert_eq!(world.promised, promised);
            assert_eq!(world.metrics.spool_corrupt.get(), 0);
            world.opened = None;
        }
        world.disk.tamper(path, |bytes| bytes.clone_from(&whole));
    }
}

#[test]
fn any_flipped_bit_of_a_closed_segment_is_found_and_takes_at_most_its_own_entry_along() {
    let mut world = World::open_new(SpoolOptions { segment_bytes: 1500, ..from_disk() });
    let (mut ends, path) = (Vec::new(), PathBuf::from(DIR).join("00000000000000000001.log"));
    while world.disk.segments().len() < 2 {
        ends.push(world.disk.segments().first().map_or(HEADER_BYTES, |_| world.disk.contents(&path).len()));
        world.append(1);
    }
    world.stop();
    let (whole, count) = (world.disk.contents(&path), world.promised.len() as u64);
    // Where each entry of the segment begins, and where the footer does.
    let begins = &ends[..ends.len() - 1];
    let footer = footer_of(&whole);
    for bit in 0..whole.len() * 8 {
        world.disk.tamper(&path, |bytes| {
            bytes.clone_from(&whole);
            bytes[bit / 8] ^= 1 << (bit % 8);
        });
        let lost = begins.iter().rposition(|&begin| begin <= bit / 8 && bit / 8 < footer);
        let lost = lost.map(|index| index as u64 + 1);
        world.metrics = std::sync::Arc::default();
        let recovery = world.open().expect("a damaged spool opens");
        assert_eq!(
            recovery.scanned,
            usize::from(lost.is_none()),
            "bit {bit}: header and footer are looked at"
        );
        verify_deeply(&world);
        let (entries, damaged) = world.read_all();
        let found: Vec<u64> = entries.iter().map(|(position, _)| *position).collect();
        let expected: Vec<u64> = (1..=count).filter(|position| Some(*position) != lost).collect();
        assert_eq!(found, expected, "bit {bit} takes at most its own entry along");
        assert_eq!(damaged, u64::from(lost.is_some()));
        let is_of_header = bit / 8 < HEADER_BYTES;
        let counted = world.metrics.spool_corrupt.get();
        assert_eq!(counted, u64::from(lost.is_some() || is_of_header), "bit {bit} is counted once");
        world.opened = None;
    }
}

#[test]
fn a_footer_cut_short_anywhere_is_no_damage() {
    let mut world = stopped_with_segments(3);
    let path = world.disk.segments()[1].clone();
    let whole = world.disk.contents(&path);
    let begin = footer_of(&whole);
    for len in begin..whole.len() {
        world.disk.tamper(&path, |bytes| *bytes = whole[..len].to_vec());
        assert!(report(&world).is_clean(), "{len} of {}", whole.len());
        let recovery = world.open().unwrap();
        assert_eq!((taken(&recovery).1, recovery.damaged.len(), recovery.torn_tails), (1, 0, 0), "{len}");
        assert_eq!(world.check(), 0);
        world.opened = None;
    }
}

#[test]
fn the_footer_of_another_segment_is_no_footer() {
    let mut world = stopped_with_segments(4);
    let segments = world.disk.segments();
    let other = world.disk.contents(&segments[1]);
    let footer = other[footer_of(&other)..].to_vec();
    world.disk.tamper(&segments[2], |bytes| {
        let begin = footer_of(bytes);
        bytes.truncate(begin);
        bytes.extend_from_slice(&footer);
    });
    assert_eq!(taken(&world.open().unwrap()).1, 1);
    world.check();
}

#[test]
fn a_damaged_entry_under_a_good_footer_is_counted_once_by_whoever_finds_it() {
    for reads_first in [false, true] {
        let mut world = stopped_with_segments(4);
        let path = world.disk.segments()[1].clone();
        world.disk.tamper(&path, |bytes| bytes[HEADER_BYTES + 60] ^= 0x10);
        // A start that scans, as a yardstick.
        let mut scanned = World::new(from_disk());
        for path in world.disk.segments() {
            let bytes = world.disk.contents(&path);
            let frames = footer_of(&bytes);
            scanned.disk.put(&path, bytes[..frames].to_vec());
        }
        let found = scanned.open().unwrap();
        assert_eq!((found.by_footer, found.missing.len()), (0, 1));

        let recovery = world.open().unwrap();
        assert_eq!((recovery.scanned, recovery.missing.len()), (0, 0), "a start by footers does not see it");
        let usage = world.reader().usage();
        assert_eq!((usage.unverified_segments, usage.unverified_bytes), (usage.segments, usage.bytes));
        let counted = || world.metrics.spool_corrupt.get();
        if reads_first {
            assert_eq!((world.read_all().1, counted()), (1, 1));
        }
        verify_deeply(&world);
        assert_eq!(counted(), scanned.metrics.spool_corrupt.get());
        let usage = world.reader().usage();
        assert_eq!((usage.unverified_segments, usage.unverified_bytes), (0, 0), "all of it was read");
        assert_eq!(world.read_all(), scanned.read_all());
        assert_eq!(counted(), 1, "and a reader does not count it again");
    }
}

#[test]
fn an_event_whose_entry_is_damaged_is_taken_again_once_that_is_known() {
    let mut world = stopped_with_segments(4);
    let path = world.disk.segments()[1].clone();
    let first = path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    world.disk.tamper(&path, |bytes| bytes[HEADER_BYTES + 60] ^= 0x10);
    world.open().unwrap();
    let numbers: Vec<u64> = world.promised.values().copied().collect();
    let lost = world.promised.remove(&first).unwrap();
    verify_deeply(&world);
    world.tick();
    let answers = world.append_numbers(&numbers);
    let stored = |answer: &Result<_, _>| matches!(answer, Ok(Appended::Stored(_)));
    let again: Vec<u64> = numbers
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| stored(answer))
        .map(|(number, _)| *number)
        .collect();
    assert_eq!(again, [lost], "the one that is lost and no other");
    assert_eq!(world.append_numbers(&[lost]), [Ok(Appended::Duplicate)]);
}

/// Deeply verifies, and takes what was lost in again. Returns which of the events were stored anew.
fn redeliver(world: &mut World, numbers: &[u64]) -> Vec<u64> {
    verify_deeply(world);
    assert_eq!(world.reader().usage().unverified_segments, 0);
    world.tick();
    let answers = world.append_numbers(numbers);
    let stored = |answer: &Result<_, _>| matches!(answer, Ok(Appended::Stored(_)));
    numbers.iter().zip(&answers).filter(|(_, answer)| stored(answer)).map(|(number, _)| *number).collect()
}

#[test]
fn an_event_that_was_taken_again_is_known_in_every_later_life() {
    let mut world = stopped_with_segments(4);
    let path = world.disk.segments()[1].clone();
    let first = path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    world.disk.tamper(&path, |bytes| bytes[HEADER_BYTES + 60] ^= 0x10);
    let lost = world.promised.remove(&first).unwrap();
    world.open().unwrap();
    assert_eq!(redeliver(&mut world, &[lost, lost - 1]), [lost]);
    for life in 0..3 {
        world.stop();
        assert_eq!(world.open().unwrap().scanned, 0);
        assert_eq!(
            redeliver(&mut world, &[lost]),
            [0_u64; 0],
            "life {life}: the damaged entry is found again"
        );
        world.append(1);
        world.disk.kill();
        world.open().unwrap();
        assert_eq!(redeliver(&mut world, &[lost]), [0_u64; 0], "life {life}, after a kill");
    }
}

#[test]
fn an_event_that_is_twice_in_one_segment_is_known_while_the_later_entry_is_whole() {
    let mut options = SpoolOptions { segment_bytes: 1 << 20, ..from_disk() };
    options.duplicates.events_max = 3;
    let mut world = World::open_new(options);
    // The window has forgotten 0 when it comes again.
    for number in [0, 1, 2, 3, 0] {
        assert!(matches!(world.append_numbers(&[number])[..], [Ok(Appended::Stored(_))]));
    }
    world.stop();
    world.options.duplicates.events_max = 1000;
    let path = world.disk.segments()[0].clone();
    let whole = world.disk.contents(&path);
    world.disk.tamper(&path, |bytes| bytes[HEADER_BYTES + 60] ^= 0x10);
    world.open().unwrap();
    assert_eq!(redeliver(&mut world, &[0, 1, 2, 3]), [0_u64; 0]);
    // The other way round it is stored again, because the later entry stands for the later delivery.
    world.opened = None;
    world.disk.tamper(&path, |bytes| {
        bytes.clone_from(&whole);
        bytes[footer_of(&whole) - 1] ^= 1;
    });
    world.open().unwrap();
    assert_eq!(redeliver(&mut world, &[0, 1, 2, 3]), [0]);
}

#[test]
fn a_lost_entry_that_is_older_than_the_window_takes_no_key_of_a_later_one_along() {
    let mut world = with_segments(3);
    world.second += 300;
    // The event of the first position comes again once the window has forgotten it.
    assert!(matches!(world.append_numbers(&[0])[..], [Ok(Appended::Stored(_))]));
    while world.disk.segments().len() < 6 {
        world.append(2);
    }
    world.stop();
    let path = world.disk.segments()[0].clone();
    world.disk.tamper(&path, |bytes| bytes[HEADER_BYTES + 60] ^= 0x10);
    world.open().unwrap();
    assert_eq!(redeliver(&mut world, &[0]), [0_u64; 0]);
}

#[test]
fn the_newest_segment_is_verified_first() {
    let mut world = stopped_with_segments(4);
    for path in world.disk.segments() {
        world.disk.tamper(&path, |bytes| bytes[HEADER_BYTES + 60] ^= 0x10);
    }
    let newest = world.disk.segments().pop().unwrap();
    let first = newest.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    world.open().unwrap();
    let lost = world.promised[&first];
    // It can read one segment only: header, end, frames, and twice the keys.
    world.disk.plan(Call::Read, &[0, 0, 0, 0, 0, EACCES, EACCES, EACCES]);
    verify_deeply(&world);
    let answers = world.append_numbers(&[lost, world.promised[&1]]);
    assert!(matches!(answers[..], [Ok(Appended::Stored(_)), Ok(Appended::Duplicate)]), "{answers:?}");
}

#[test]
fn the_last_entry_of_a_closed_segment_is_missed_if_it_is_damaged_and_its_position_is_not_given_twice() {
    let mut world = stopped_with_segments(2);
    let newest = world.disk.segments().pop().unwrap();
    let head = *world.promised.keys().next_back().unwrap();
    world.disk.tamper(&newest, |bytes| {
        let frames = footer_of(bytes);
        bytes[frames - 1] ^= 1;
    });
    assert!(!report(&world).is_clean());
    let whole = world.disk.contents(&newest);
    // If the keys or the index do not verify, the segment is scanned; the trailer says which position is the
    // last.
    for (at, footer_is_good) in
        [(whole.len(), true), (footer_of(&whole), false), (whole.len() - TRAILER_BYTES - 1, false)]
    {
        world.disk.tamper(&newest, |bytes| {
            bytes.clone_from(&whole);
            bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1);
        });
        let recovery = world.open().unwrap();
        assert_eq!(recovery.scanned, usize::from(!footer_is_good));
        assert_eq!(world.reader().head(), Position(head));
        assert_eq!(world.read_all().1, 1);
        world.opened = None;
    }
    world.promised.remove(&head);
    world.open().unwrap();
    assert_eq!(world.append(1), [Ok(Appended::Stored(Position(head + 1)))]);
    world.check();
}

#[test]
fn what_cannot_be_read_is_not_called_verified_and_what_is_pruned_meanwhile_is_left_out() {
    let mut world = stopped_with_segments(5);
    world.open().unwrap();
    // The system has no answer for the first one; its second page is a bad sector is another matter.
    world.disk.plan(Call::Read, &[13]);
    verify_deeply(&world);
    assert_eq!(world.reader().usage().unverified_segments, 1);
    verify_deeply(&world);
    assert_eq!(world.reader().usage().unverified_segments, 0, "and it can be tried again");

    world.opened = None;
    world.open().unwrap();
    let head = world.reader().head().0;
    world.settle(head);
    world.second += 1_000;
    world.tick();
    assert_eq!(world.reader().usage().unverified_segments, 1, "the newest is kept");
    verify_deeply(&world);
    assert_eq!(world.reader().usage().unverified_segments, 0);
    assert_eq!(world.metrics.spool_corrupt.get(), 0);
}

#[test]
fn a_sector_that_cannot_be_read_is_found_by_the_verification() {
    let mut world = World::open_new(SpoolOptions { segment_bytes: 1 << 20, ..from_disk() });
    (0..30).for_each(|_| drop(world.append(2)));
    world.stop();
    assert_eq!(world.open().unwrap().scanned, 0);
    // The header, the end, and then the frames: once for the chunk, and page by page.
    world.disk.plan(Call::Read, &[0, 0, EIO, 0, EIO]);
    verify_deeply(&world);
    assert!(world.metrics.spool_corrupt.get() >= 1);
}

#[test]
fn a_full_disk_leaves_the_footer_out_and_nothing_else() {
    for errno in [ENOSPC, EIO] {
        let mut world = with_segments(2);
        let newest = world.disk.segments().pop().unwrap();
        let before = world.disk.contents(&newest);
        world.disk.plan(Call::Write, &[errno]);
        world.opened().committer.close();
        assert_eq!(world.disk.contents(&newest), before, "{errno}: what was written of it is cut off");
        assert_eq!(world.reader().usage().bytes, world.segment_bytes());
        world.opened = None;
        assert_eq!(world.open().unwrap().scanned, 1);
        world.check();
    }
}

#[test]
fn a_footer_takes_no_byte_beyond_the_bounds_of_the_spool() {
    // The bound is such that most footers do not fit.
    let mut world = World::open_new(SpoolOptions { bytes_max: 20_000, ..from_disk() });
    for _ in 0..100 {
        world.append(1);
        assert!(world.reader().usage().bytes <= 20_000 + HEADER_BYTES as u64);
        assert_eq!(world.reader().usage().bytes, world.segment_bytes());
    }
    world.stop();
    assert!(world.disk.used() <= 20_000 + HEADER_BYTES as u64);
    world.open().unwrap();
    world.check();

    // And none is written into space that is to be left free.
    let mut world = with_segments(2);
    world.options.free_bytes_min = 1_000;
    world.disk.set_capacity(Some(world.disk.used() + 1_000 + 2 * KEY_BYTES as u64));
    world.open().unwrap();
    let used = world.disk.used();
    world.stop();
    assert_eq!(world.disk.used(), used);
}

#[test]
fn a_footer_takes_no_more_of_the_history_for_replay_than_it_needs() {
    // Whatever the file system has left, beyond what is to stay free, when the sinks get to the head and the
    // spool stops.
    let mut pruned = std::collections::BTreeSet::new();
    for left in (0..=8_000).step_by(100) {
        let mut options = SpoolOptions { bytes_max: 40_000, ..from_disk() };
        options.free_bytes_min = 100_000;
        let mut world = World::open_new(options);
        while world.disk.segments().len() < 6 {
            world.append(1);
        }
        world.disk.set_capacity(Some(world.disk.used() + 100_000 + left));
        world.second += 1;
        world.tick();
        let head = world.reader().head().0;
        world.settle(head);
        let (before, newest) = (world.disk.segments().len(), world.disk.segments().pop().unwrap());
        world.stop();
        let after = world.disk.segments().len();
        assert!(after + 2 >= before, "{left} bytes are left: {after} of {before} segments");
        if after < before {
            assert!(footer_of(&world.disk.contents(&newest)) > HEADER_BYTES, "and not for nothing");
        }
        pruned.insert(before - after);
    }
    assert_eq!(pruned, [0, 1, 2].into(), "it must be tried with enough space and with too little");
}

#[test]
fn a_footer_takes_no_space_that_the_next_group_needs() {
    let mut bounds = 0;
    for bytes_max in (14_880..17_000).step_by(4) {
        let mut world = World::open_new(SpoolOptions { bytes_max, ..from_disk() });
        // As much as there has to be for a group while appends are taken.
        while bytes_max - world.reader().usage().bytes >= bytes_max / 8 {
            let segments = world.disk.segments().len();
            let answers = world.append(1);
            assert!(matches!(answers[..], [Ok(Appended::Stored(_))]), "{bytes_max}: {answers:?}");
            let is_last = bytes_max - world.reader().usage().bytes < bytes_max / 8;
            bounds += usize::from(is_last && world.disk.segments().len() > segments);
        }
    }
    assert!(bounds > 5, "the bound is met at the end of a segment: {bounds}");
}

#[test]
fn a_segment_that_is_pruned_a_moment_later_gets_no_footer() {
    let bytes_max = 12_000;
    let mut world = World::open_new(SpoolOptions { bytes_max, segment_bytes: 1 << 20, ..from_disk() });
    while bytes_max - world.reader().usage().bytes >= bytes_max / 8 {
        world.append(1);
    }
    let head = world.reader().head().0;
    world.settle(head);
    // The second write fails: the next tick begins a segment, and writes nothing but its header.
    world.disk.plan(Call::Write, &[0, EIO]);
    world.tick();
    assert_eq!((world.disk.segments().len(), world.reader().usage().bytes), (1, HEADER_BYTES as u64));
    assert!(matches!(world.append(1)[..], [Err(_)]), "the failing write was not used up");
}

#[test]
fn a_torn_footer_of_any_kind_is_found_after_a_power_cut_and_costs_nothing() {
    let mut torn = 0;
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let mut world = with_segments(3);
        world.stop();
        let fate = [Fate::Zero, Fate::Garbage, Fate::Mixed][dice.roll(3) as usize];
        let recovery = world.crash_and_recover(fate, &mut dice);
        torn += recovery.scanned;
        assert_eq!(recovery.damaged.len(), 0, "seed {seed}");
        assert_eq!(recovery.entries, world.promised.len() as u64, "seed {seed}");
    }
    assert!(torn > 100, "too few footers were torn: {torn}");
}

/// Puts the files of a directory of fixtures on the disk of a new world.
pub fn fixture(name: &str) -> (World, Vec<PathBuf>) {
    let world = World::new(from_disk());
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spool/fixtures").join(name);
    let mut names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort_unstable();
    let put = |path: &PathBuf| {
        let at = PathBuf::from(DIR).join(path.file_name().unwrap());
        world.disk.put(&at, std::fs::read(path).unwrap());
        at
    };
    let paths = names.iter().map(put).collect();
    (world, paths)
}

fn version_of(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[8..12].try_into().unwrap())
}

/// How many entries are in the fixture of format 2.
pub const FORMAT_2_ENTRIES: usize = 25;

#[test]
fn a_spool_of_format_1_is_read_to_its_end_and_continued() {
    let (mut world, paths) = former_spool("format-1-segments", 1, 17);
    // Its segments have no footers, so each start scans them until they are pruned.
    let recovery = world.open().unwrap();
    assert_eq!(taken(&recovery), (3, paths.len()));
    assert_eq!(report_after_stop(&mut world).segments.len(), paths.len() + 3);
}

#[test]
fn a_spool_of_format_2_is_read_to_its_end_and_continued() {
    let (mut world, paths) = former_spool("format-2-segments", 2, FORMAT_2_ENTRIES as u64);
    let recovery = world.open().unwrap();
    assert_eq!(taken(&recovery), (paths.len() + 3, 0), "the newest one has got its footer");
    verify_deeply(&world);
    assert_eq!(report_after_stop(&mut world).segments.len(), paths.len() + 3);
}

/// Opens a spool of a former format that ends with an unfinished write, reads it, and appends until three
/// more segments are full. The spool is stopped then.
fn former_spool(name: &str, format: u32, count: u64) -> (World, Vec<PathBuf>) {
    let (mut world, paths) = fixture(name);
    assert!(paths.len() >= 3 && paths.iter().all(|path| version_of(&world.disk.contents(path)) == format));
    let former: Vec<Vec<u8>> = paths.iter().map(|path| world.disk.contents(path)).collect();
    assert_eq!(report(&world).entries(), count);

    let recovery = world.open().expect("a spool of a former format opens");
    let footers = if format == 1 { 0 } else { paths.len() - 1 };
    assert_eq!((taken(&recovery), recovery.entries), ((footers, paths.len() - footers), count));
    assert_eq!((recovery.torn_tails, recovery.damaged.len()), (1, 0), "it ends with an unfinished write");
    let is_as_written = |world: &World| {
        let (entries, damaged) = world.read_all();
        assert_eq!(damaged, 0);
        for (number, (position, found)) in (0..).zip(&entries) {
            let written = if number < count { former_entry(number) } else { entry(number, 0) };
            assert_eq!((*position, found), (number + 1, &written));
        }
        entries.len() as u64
    };
    assert_eq!(is_as_written(&world), count);
    let known: Vec<u64> = (0..count).collect();
    assert!(world.append_numbers(&known).iter().all(|answer| *answer == Ok(Appended::Duplicate)));

    // It goes on in segments of this format, and what was there before stays what it was.
    while world.disk.segments().len() < paths.len() + 3 {
        let next = world.reader().head().0;
        assert_eq!(world.append_numbers(&[next]), [Ok(Appended::Stored(Position(next + 1)))]);
    }
    let appended = is_as_written(&world);
    world.stop();
    for (path, former) in paths.iter().zip(&former) {
        let bytes = world.disk.contents(path);
        let frames = if format == 1 { bytes.len() } else { footer_of(&bytes) };
        assert!(former.starts_with(&bytes[..frames]), "no frame was added to a former segment");
    }
    for path in &world.disk.segments()[paths.len()..] {
        let bytes = world.disk.contents(path);
        assert!(version_of(&bytes) == 3 && footer_of(&bytes) > HEADER_BYTES);
    }
    world.open().expect("what was continued opens again");
    assert_eq!(is_as_written(&world), appended);
    world.stop();
    (world, paths)
}

fn report_after_stop(world: &mut World) -> SpoolReport {
    world.stop();
    let report = report(world);
    assert!(report.is_clean());
    report
}

/// Reads the format version as every release does since the first: in this order and at these places.
#[test]
fn a_former_release_sees_a_whole_header_of_a_later_format_and_refuses_it() {
    let world = stopped_with_segments(2);
    for path in world.disk.segments() {
        let bytes = world.disk.contents(&path);
        for copy in [0, 512] {
            let (checked, crc) = bytes[copy..copy + 64].split_at(60);
            assert!(checked.starts_with(b"fanspool"));
            assert_eq!(crc, crc32c::crc32c(checked).to_le_bytes());
            assert_eq!(version_of(&bytes[copy..]), 3, "more than 2 is a later format, exit code 78");
        }
    }
}

#[test]
fn a_segment_of_a_later_format_is_refused_before_anything_is_changed() {
    let mut world = with_segments(3);
    world.disk.kill();
    let path = world.disk.segments()[1].clone();
    world.disk.tamper(&path, |bytes| {
        for copy in [0, 512] {
            bytes[copy + 8..copy + 12].copy_from_slice(&4_u32.to_le_bytes());
            let crc = crc32c::crc32c(&bytes[copy..copy + 60]);
            bytes[copy + 60..copy + 64].copy_from_slice(&crc.to_le_bytes());
        }
    });
    let calls = world.disk.calls();
    assert!(matches!(world.open(), Err(SpoolError::NewerFormat { found: 4, .. })));
    assert_eq!(world.disk.calls(), calls);
}

#[test]
fn the_window_takes_no_more_keys_than_it_may_and_knows_the_newest() {
    for events_max in [1, 7, 40, 1000] {
        let mut options = from_disk();
        options.duplicates.events_max = events_max;
        let mut world = World::open_new(options);
        while world.disk.segments().len() < 6 {
            world.append(2);
        }
        world.stop();
        let recovery = world.open().unwrap();
        assert_eq!(recovery.scanned, 0);
        assert!(world.reader().usage().window_events <= events_max);
        world.check();
    }
}

#[test]
fn keys_older_than_the_window_are_not_known_after_a_start_by_footers() {
    let mut world = with_segments(3);
    let old: Vec<u64> = world.promised.values().copied().collect();
    world.second += 300;
    while world.disk.segments().len() < 6 {
        world.append(2);
    }
    world.check();
    world.stop();
    assert_eq!(world.open().unwrap().scanned, 0);
    world.check();
    let before = world.reader().usage().window_events;
    assert!(before < world.promised.len() - old.len() / 2, "{before} keys");
    let again = world.append_numbers(&old[..3]);
    assert!(again.iter().all(|answer| matches!(answer, Ok(Appended::Stored(_)))), "{again:?}");
}

#[test]
fn a_clock_that_was_ahead_neither_removes_a_segment_nor_forgets_a_key() {
    let mut world = World::open_new(SpoolOptions { retain: Duration::from_secs(50), ..from_disk() });
    world.second = 1_000_000;
    while world.disk.segments().len() < 4 {
        world.append(2);
    }
    world.stop();
    world.second = 10;
    assert_eq!(world.open().unwrap().scanned, 0);
    let settled = world.reader().head().0;
    world.settle(settled);
    world.tick();
    assert_eq!(world.reader().first(), Position(1));
    let (entries, _) = world.read_all();
    let numbers: Vec<u64> = entries.iter().map(|(_, entry)| number_of(entry)).collect();
    let answers = world.append_numbers(&numbers);
    assert!(answers.iter().all(|answer| *answer == Ok(Appended::Duplicate)));
}
