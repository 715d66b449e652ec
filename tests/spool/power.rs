//! The power is cut: at every call of a scripted life, and at random ones of many random lives.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fanbridge::spool::SpoolOptions;

use crate::sim::{Call, Dice, EFBIG, Fate};
use crate::tier::Tier;
use crate::world::{Files, World, options};

/// A short life with everything in it: groups of several sizes, new segments, a full disk, pruning
/// by retention and for want of room, an orderly restart and a kill.
fn live(world: &mut World) -> Option<()> {
    world.append(1);
    world.append(4);
    world.append(9);
    world.append(2);
    alive(world)?;
    world.settle(10);
    world.second += 40;
    world.append(3);
    world.second += 70;
    world.tick();
    alive(world)?;

    let used = world.disk.used();
    world.disk.set_capacity(Some(used + 700));
    world.append(5);
    world.append(1);
    world.disk.set_capacity(None);
    world.second += 1;
    world.append(6);
    alive(world)?;

    world.stop();
    world.open().ok()?;
    world.append(2);
    alive(world)?;
    world.disk.kill();
    world.open().ok()?;
    world.settle(22);
    world.second += 200;
    world.tick();
    world.append(12);
    world.append(3);
    alive(world)
}

fn alive(world: &World) -> Option<()> {
    (!world.disk.is_dead()).then_some(())
}

fn small() -> SpoolOptions {
    SpoolOptions { segment_bytes: 3000, bytes_max: 40_000, ..options() }
}

#[test]
fn a_power_cut_at_every_call_of_a_life_loses_nothing_promised() {
    Files::ALL.into_iter().for_each(cut_the_power_at_every_call);
}

fn cut_the_power_at_every_call(files: Files) {
    let mut whole = World::open_on(files, small());
    live(&mut whole).expect("without a cut the life is lived to its end");
    whole.check();
    assert_eq!(
        whole.disk.renames() > 0,
        files == Files::AreWrittenOver,
        "a file was kept for the next segment"
    );
    let calls = whole.disk.calls();
    assert!(calls > 60, "the script makes {calls} calls");

    let fates =
        [Fate::Old, Fate::New, Fate::Zero, Fate::Garbage, Fate::Torn, Fate::Mixed, Fate::Mixed, Fate::Mixed];
    for call in 1..=calls {
        for (seed, fate) in fates.into_iter().enumerate() {
            let mut dice = Dice::new(call * 10 + seed as u64);
            let mut world = World::open_on(files, small());
            world.disk.cut_power_at(call);
            assert_eq!(live(&mut world), None, "the power goes at call {call}");
            world.disk.set_capacity(None);
            world.crash_and_recover(fate, &mut dice);
            world.append(3);
            world.check();
            world.crash_and_recover(Fate::Mixed, &mut dice);
        }
    }
}

#[test]
fn a_power_cut_while_recovering_from_a_power_cut_loses_nothing_promised() {
    for seed in 0..Tier::of_this_run().pick(300, 300, 3_000) {
        let mut dice = Dice::new(seed);
        let mut world = World::open_on(Files::ALL[seed as usize % 2], small());
        world.disk.cut_power_at(1 + dice.roll(80));
        let _ = live(&mut world);
        world.disk.set_capacity(None);
        world.disk.crash(Fate::Mixed, &mut dice);
        for call in 1..6 {
            world.disk.cut_power_at(call);
            let _ = world.open();
            world.disk.crash(Fate::Mixed, &mut dice);
        }
        world.open().unwrap();
        world.check();
    }
}

/// One random life, with up to three power cuts in it. Returns how many segments the starts after them took
/// by their footers, and how many they scanned.
fn live_at_random(seed: u64) -> (usize, usize) {
    let mut taken = (0, 0);
    let mut dice = Dice::new(seed);
    let mut world = World::open_on(
        Files::ALL[seed as usize / 2 % 2],
        SpoolOptions {
            segment_bytes: 1500 + dice.roll(6000),
            bytes_max: 12_000 + dice.roll(50_000),
            tail_bytes_max: dice.roll(6000) as usize,
            retain: Duration::from_secs(dice.roll(60)),
            ..options()
        },
    );
    if dice.roll(4) == 0 {
        world.disk.write_short();
    }
    for _ in 0..=dice.roll(3) {
        world.disk.cut_power_at(1 + dice.roll(40));
        for _ in 0..60 {
            act_at_random(&mut world, &mut dice);
            if world.disk.is_dead() {
                break;
            }
        }
        world.disk.set_capacity(None);
        let fate = [Fate::Old, Fate::New, Fate::Zero, Fate::Garbage, Fate::Torn][dice.roll(5) as usize];
        let fate = if dice.roll(2) == 0 { Fate::Mixed } else { fate };
        let recovery = world.crash_and_recover(fate, &mut dice);
        taken = (taken.0 + recovery.by_footer, taken.1 + recovery.scanned);
    }
    taken
}

fn act_at_random(world: &mut World, dice: &mut Dice) {
    world.second += dice.roll(8) as i64;
    match dice.roll(16) {
        0..=8 => {
            world.append(1 + dice.roll(6));
        }
        9 => {
            let newest = world.promised.keys().next_back().copied().unwrap_or(0);
            world.settle(dice.roll(newest + 1));
        }
        10 => world.tick(),
        11 => {
            let used = world.disk.used();
            world.disk.set_capacity(Some(used + dice.roll(3000)));
        }
        12 | 13 => world.disk.set_capacity(None),
        14 if dice.roll(2) == 0 => {
            let passes = vec![0; dice.roll(12) as usize];
            world.disk.plan(Call::Write, &[&passes[..], &[EFBIG]].concat());
        }
        14 => {
            // A restart, in order or not; the power may go during it.
            if dice.roll(2) == 0 {
                world.stop();
            }
            if world.open().is_err() {
                assert!(world.disk.is_dead(), "only a power cut keeps a spool from opening");
            }
        }
        _ => {
            let newest = world.promised.keys().next_back().copied().unwrap_or(0);
            world.settle(newest);
            world.tick();
        }
    }
}

/// Ten times as many where only time shows.
#[test]
fn ten_thousand_random_lives_with_power_cuts_keep_every_promise() {
    let lives = Tier::of_this_run().pick(10_000, 10_000, 100_000);
    let (by_footer, scanned) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for half in 0..2 {
            let (by_footer, scanned) = (&by_footer, &scanned);
            scope.spawn(move || {
                for seed in (half..lives).step_by(2) {
                    let life = std::panic::catch_unwind(|| live_at_random(seed));
                    let taken = life.unwrap_or_else(|_| panic!("the life of seed {seed} broke a promise"));
                    by_footer.fetch_add(taken.0, Ordering::Relaxed);
                    scanned.fetch_add(taken.1, Ordering::Relaxed);
                }
            });
        }
    });
    let (by_footer, scanned) = (by_footer.into_inner() as u64, scanned.into_inner() as u64);
    // Close to its bound a spool has no space for footers.
    assert!(10 * by_footer > 9 * lives && scanned > lives, "{by_footer} by their footers, {scanned} scanned");
}
