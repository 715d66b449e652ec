//! Bounds hold, give way in the right order, and open again by themselves.

use fanbridge::event::Position;
use fanbridge::spool::{AppendError, Appended, SpoolOptions};

use crate::sim::{Call, Dice, EFBIG, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS, Fate};
use crate::world::{World, options};

fn full(reason: &'static str) -> Result<Appended, AppendError> {
    Err(AppendError::Full { reason })
}

fn is_stored(answers: &[Result<Appended, AppendError>]) -> bool {
    answers.iter().all(|answer| matches!(answer, Ok(Appended::Stored(_))))
}

#[test]
fn a_spool_at_its_bound_refuses_and_takes_again_when_records_are_settled() {
    let mut world = World::open_new(SpoolOptions { bytes_max: 30_000, ..options() });
    let mut refused = false;
    for _ in 0..200 {
        let answers = world.append(1);
        refused |= answers == [full("spool_full")];
        assert!(refused || is_stored(&answers));
        assert!(world.disk.used() <= 30_000 + 1024, "the bound holds");
    }
    assert!(refused);
    assert!(world.reader().first() == Position(1), "nothing unsettled gave way");
    world.check();

    let head = world.reader().head().0;
    world.settle(head);
    world.tick();
    assert!(is_stored(&world.append(1)), "what is settled gives way, even in the newest segment");
    world.check();
}

#[test]
fn bytes_of_other_files_count_as_the_spools() {
    let mut world = World::open_new(SpoolOptions { bytes_max: 30_000, ..options() });
    world.reader().set_other_bytes(29_500);
    assert_eq!(world.append(1), [full("spool_full")]);
    world.reader().set_other_bytes(0);
    assert!(is_stored(&world.append(1)));
}

#[test]
fn settled_records_give_way_before_anything_is_refused() {
    let mut world = World::open_new(SpoolOptions { bytes_max: 30_000, ..options() });
    for _ in 0..400 {
        assert!(is_stored(&world.append(2)));
        let head = world.reader().head().0;
        world.settle(head);
        assert!(world.disk.used() <= 30_000);
    }
    assert!(world.reader().first() > Position(1));
    world.check();
}

#[test]
fn what_may_be_done_without_gives_way_in_need_and_for_nothing_else() {
    let mut world = World::open_new(SpoolOptions { bytes_max: 30_000, ..options() });
    while world.append(1) != [full("spool_full")] {}
    let head = world.reader().head();
    // One reader stands at the head, another one at the beginning, which would rather do without.
    world.reader().allow_pruning_in_need(head);
    world.second += 1_000;
    world.tick();
    assert!(is_stored(&world.append(1)));
    let first = world.reader().first();
    assert!(Position(1) < first && first < head, "no more than has to: {first:?} of {head:?}");

    // Behind that position nothing gives way.
    for _ in 0..200 {
        world.append(1);
    }
    assert_eq!(world.append(1), [full("spool_full")]);
    let first = world.reader().first();
    assert!(first <= head.next(), "{first:?}: what came behind {head:?} is needed");
    let batch = world.reader().read_now(Position(0), 10, 10_000).unwrap().unwrap();
    assert_eq!(batch.entries.first().map(|(position, _)| *position), Some(first));
    assert_eq!(batch.damaged, first.0 - 1, "who stands at the beginning is told what it does not get");
}

#[test]
fn a_backlog_does_not_give_way_where_that_makes_no_room() {
    let mut world = World::open_new(SpoolOptions { bytes_max: 30_000, ..options() });
    while world.append(1) != [full("spool_full")] {}
    let head = world.reader().head();
    world.reader().allow_pruning_in_need(head);
    // Something else takes nearly all there may be: the whole backlog would not be room enough.
    world.reader().set_other_bytes(29_990);
    world.tick();
    assert_eq!(world.append(1), [full("spool_full")]);
    assert_eq!(world.reader().first(), Position(1), "nothing gave way for nothing");
    world.reader().set_other_bytes(0);
    world.tick();
    assert!(is_stored(&world.append(1)));
    assert!(world.reader().first() > Position(1));
}

#[test]
fn retention_keeps_settled_records_and_then_lets_whole_segments_go() {
    let mut world = World::open_new(options());
    while world.disk.segments().len() < 4 {
        world.append(3);
    }
    let head = world.reader().head().0;
    world.settle(head);
    world.second += 90;
    world.tick();
    assert_eq!(world.reader().first(), Position(1), "kept for replay and for the window");
    world.second += 20;
    world.tick();
    assert_eq!(world.disk.segments().len(), 1, "the newest stays, for its name");
    world.check();
    world.open().unwrap();
    assert_eq!(world.reader().head().0, head, "positions go on after a restart");
}

#[test]
fn low_free_space_refuses_before_the_disk_is_full() {
    let mut world = World::open_new(SpoolOptions { free_bytes_min: 5_000, ..options() });
    world.disk.set_capacity(Some(20_000));
    world.second += 1;
    let mut answers = Vec::new();
    while world.disk.used() < 12_000 {
        answers.extend(world.append(1));
        world.second += 1;
    }
    assert!(is_stored(&answers));
    for _ in 0..20 {
        answers.extend(world.append(1));
        world.second += 1;
    }
    // A short record may still fit where a long one does not.
    assert!(answers.contains(&full("disk_low")));
    // All but the header of a segment.
    assert!(world.disk.used() <= 15_000 + 1024, "what is to be left free is left free");
    world.disk.set_capacity(Some(60_000));
    world.second += 1;
    assert!(is_stored(&world.append(1)));
    world.check();
}

#[test]
fn a_full_disk_refuses_the_group_whole_and_resumes_by_itself() {
    let mut world = World::open_new(options());
    world.append(2);
    let used = world.disk.used();
    world.disk.set_capacity(Some(used + 300));
    let refused = world.append(5);
    assert!(refused.iter().all(|answer| *answer == full("disk_full")), "{refused:?}");
    assert_eq!(world.disk.used(), used, "what was written of it is taken back");
    world.disk.set_capacity(None);
    world.second += 1;
    world.tick();
    assert!(is_stored(&world.append_numbers(&[2, 3])), "the refused events are not taken for duplicates");
    world.check();
    world.open().unwrap();
    world.check();
}

#[test]
fn a_disk_that_is_full_from_the_start_does_not_keep_the_spool_from_opening() {
    let mut world = World::open_new(options());
    while world.disk.segments().len() < 2 {
        world.append(3);
    }
    let used = world.disk.used();
    world.disk.set_capacity(Some(used));
    world.open().expect("the backlog can be read from a full disk");
    assert_eq!(world.append(1), [full("disk_full")]);
    assert_eq!(world.read_all().0.len(), world.promised.len());
    world.disk.set_capacity(None);
    world.second += 1;
    assert!(is_stored(&world.append(1)));
    world.check();
}

#[test]
fn no_inodes_left_is_named_and_passes() {
    let mut world = World::open_new(options());
    world.disk.set_free_inodes(Some(0));
    assert_eq!(world.append(1), [full("no_inodes")]);
    world.disk.set_free_inodes(Some(9));
    world.second += 1;
    assert!(is_stored(&world.append(1)));
}

#[test]
fn a_segment_that_finds_no_descriptor_or_memory_is_tried_again_and_nothing_is_called_broken() {
    for (call, errno, reason) in [
        (Call::Create, EMFILE, "no_descriptors"),
        (Call::Create, ENFILE, "no_descriptors"),
        (Call::Create, ENOMEM, "no_memory"),
        (Call::SyncDir, EMFILE, "no_descriptors"),
        (Call::Write, ENOMEM, "no_memory"),
    ] {
        for begun in [false, true] {
            let mut world = World::open_new(options());
            while begun && world.disk.segments().len() < 2 {
                world.append(1);
            }
            // The write of the header, and for a segment that is there the one of a group.
            world.disk.plan(call, &[errno]);
            let mut answers = Vec::new();
            while !answers.contains(&full(reason)) {
                answers = world.append(1);
                assert!(answers == [full(reason)] || is_stored(&answers), "{call:?} {errno}: {answers:?}");
            }
            world.second += 1;
            assert!(is_stored(&world.append(3)), "{call:?} {errno}");
            world.check();
            world.open().unwrap();
            world.check();
        }
    }
}

#[test]
fn a_file_that_may_grow_no_more_is_followed_by_another() {
    let mut world = World::open_new(options());
    world.append(2);
    world.disk.plan(Call::Write, &[EFBIG]);
    assert_eq!(world.append(1), [full("disk_full")]);
    world.second += 1;
    assert!(is_stored(&world.append(1)));
    assert_eq!(world.disk.segments().len(), 2);
    world.check();
}

#[test]
fn nothing_is_pruned_for_a_group_that_no_file_may_hold() {
    let mut world = World::open_new(SpoolOptions { bytes_max: 30_000, ..options() });
    while world.disk.segments().len() < 4 {
        assert!(is_stored(&world.append(1)));
    }
    let head = world.reader().head();
    world.reader().allow_pruning_in_need(head);
    world.disk.plan(Call::Write, &[EFBIG]);
    assert_eq!(world.append(1), [full("disk_full")], "the next append begins a file");
    for is_new in [true, false, false] {
        world.second += 1;
        // The header of the new file is written, and the group is not.
        world.disk.plan(Call::Write, if is_new { &[0] } else { &[] });
        world.disk.plan(Call::Write, &[EFBIG; 20]);
        assert_eq!(world.append(1), [full("disk_full")]);
        world.disk.unplan();
    }
    assert_eq!(world.reader().first(), Position(1), "a sink that detaches still gets everything");
    world.second += 1;
    assert!(is_stored(&world.append(1)));
    world.check();
}

#[test]
fn a_refused_group_never_comes_back_in_place_of_a_promised_one() {
    for seed in 0..200 {
        let mut world = World::open_new(options());
        world.append(2);
        world.disk.write_short();
        // Some records of the group are written whole before the file may grow no more.
        let passes = [0; 14];
        world.disk.plan(Call::Write, &[&passes[..], &[EFBIG]].concat());
        assert_eq!(world.append(6)[0], full("disk_full"));
        world.second += 1;
        assert!(is_stored(&world.append(3)), "they are stored in a segment of their own");
        world.crash_and_recover(Fate::Mixed, &mut Dice::new(seed));
    }
}

#[test]
fn a_disk_gone_read_only_stops_the_spool() {
    let mut world = World::open_new(options());
    world.append(1);
    world.disk.plan(Call::Write, &[EROFS]);
    assert_eq!(world.append(1), [Err(AppendError::Failed)]);
    assert_eq!(world.append(1), [Err(AppendError::Failed)]);
    world.check_reads();
}

#[test]
fn a_failed_write_that_cannot_be_taken_back_stops_the_spool() {
    let mut world = World::open_new(options());
    world.append(1);
    world.disk.plan(Call::Write, &[ENOSPC]);
    world.disk.plan(Call::Truncate, &[EROFS]);
    assert_eq!(world.append(1), [Err(AppendError::Failed)]);
    world.disk.kill();
    world.open().unwrap();
    world.check();
}

#[test]
fn short_writes_are_carried_on_to_the_end() {
    let mut world = World::open_new(options());
    world.disk.write_short();
    for _ in 0..20 {
        assert!(is_stored(&world.append(4)));
    }
    world.check();
    world.open().unwrap();
    world.check();
}

#[test]
fn two_copies_in_one_group_become_one_record_and_both_are_answered() {
    let mut world = World::open_new(options());
    let answers = world.append_numbers(&[7, 7, 8, 7]);
    assert_eq!(
        answers,
        [
            Ok(Appended::Stored(Position(1))),
            Ok(Appended::Duplicate),
            Ok(Appended::Stored(Position(2))),
            Ok(Appended::Duplicate)
        ]
    );
    world.check();
}

#[test]
fn a_copy_of_an_event_whose_group_failed_is_not_called_a_duplicate() {
    let mut world = World::open_new(options());
    let used = {
        world.append(1);
        world.disk.used()
    };
    world.disk.set_capacity(Some(used));
    assert_eq!(world.append_numbers(&[50, 50]), [full("disk_full"), full("disk_full")]);
    world.disk.set_capacity(None);
    world.second += 1;
    assert!(is_stored(&world.append_numbers(&[50])));
}
