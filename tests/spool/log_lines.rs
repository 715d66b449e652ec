//! What the log says while something lasts: one line when it begins and one when it ends.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use fanbridge::spool::SpoolOptions;

use crate::sim::{Call, EACCES, EIO};
use crate::world::{World, options};

/// The log lines that this thread writes.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// How many lines `act` writes that contain these words.
    fn count(act: impl FnOnce(), words: &[&str]) -> Vec<usize> {
        let lines = Self::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(log, act);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        words.iter().map(|word| text.lines().filter(|line| line.contains(word)).count()).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets seconds pass, with the work of each.
fn pass(world: &mut World, seconds: i64) {
    for _ in 0..seconds {
        world.second += 1;
        world.tick();
    }
}

#[test]
fn a_segment_that_cannot_be_removed_is_told_once_and_so_is_that_it_can_be() {
    let mut world = World::open_new(options());
    while world.disk.segments().len() < 3 {
        world.append(1);
    }
    world.settle(world.reader().head().0);
    world.second += 200;
    world.disk.plan(Call::Remove, &[EACCES; 20]);
    let act = || pass(&mut world, 30);
    let told = Lines::count(act, &["cannot remove a prunable segment", "can be removed again"]);
    assert_eq!(told, [1, 1]);
}

#[test]
fn a_file_system_that_does_not_say_how_much_is_free_is_told_once_and_so_is_that_it_does() {
    let mut world = World::open_new(options());
    world.disk.plan(Call::Free, &[EIO; 20]);
    let act = || pass(&mut world, 30);
    let told = Lines::count(act, &["cannot read the free space", "can be read again"]);
    assert_eq!(told, [1, 1]);
}

#[test]
fn a_spool_that_is_full_is_told_once_whatever_is_refused() {
    let mut world = World::open_new(SpoolOptions { bytes_max: 30_000, ..options() });
    let act = || (0..200).for_each(|_| drop(world.append(1)));
    assert_eq!(Lines::count(act, &["the spool accepts no events"]), [1]);
}
