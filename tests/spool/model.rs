//! Random lives against a plain vector that cannot be wrong.
//!
//! The vector holds, by position, the number of the event that was stored there, or nothing once the
//! disk has lost it. Whatever is done to the spool, what it reads and answers has to be what the
//! vector says.

use std::sync::Arc;
use std::time::Duration;

use fanbridge::event::Position;
use fanbridge::spool::{Appended, DeepVerify, SpoolOptions};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::sim::{Dice, Fate};
use crate::world::{Files, World, number_of, options};

/// Bytes in front of a segment's first frame.
const HEADER_BYTES: usize = 1024;

#[derive(Clone, Debug)]
enum Step {
    /// A group of new events.
    Append(u64),
    /// A group with copies of an earlier event and a new one.
    Repeat(Index),
    Read(Index, usize, usize),
    Settle(Index),
    Advance(i64),
    Tick,
    /// A power cut between two calls.
    Crash(u64),
    Restart,
    Kill,
    /// The segments that were opened by their footers are read.
    Verify,
    /// One bit of a frame or of a footer flips while the spool is stopped. Headers have a test of their
    /// own: two flips can take a segment's only two copies.
    Corrupt(Index, Index),
    /// The disk has so many bytes left, or plenty again.
    Fill(Option<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1_u64..8).prop_map(Step::Append),
        3 => any::<Index>().prop_map(Step::Repeat),
        4 => (any::<Index>(), 1_usize..20, 0_usize..6000)
            .prop_map(|(after, records, bytes)| Step::Read(after, records, bytes)),
        2 => any::<Index>().prop_map(Step::Settle),
        2 => (1_i64..60).prop_map(Step::Advance),
        2 => Just(Step::Tick),
        2 => any::<u64>().prop_map(Step::Crash),
        2 => Just(Step::Restart),
        1 => Just(Step::Kill),
        1 => Just(Step::Verify),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(file, bit)| Step::Corrupt(file, bit)),
        1 => proptest::option::of(0_u64..3000).prop_map(Step::Fill),
    ]
}

struct Model {
    world: World,
    /// The event at each position from 1 on.
    log: Vec<Option<u64>>,
}

impl Model {
    fn run(&mut self, step: &Step) {
        match step {
            Step::Append(count) => {
                let answers = self.world.append(*count);
                self.stored(&answers);
            }
            Step::Repeat(which) => self.repeat(which),
            Step::Read(after, records, bytes) => {
                let after = after.index(self.log.len() + 1) as u64;
                self.read(after, *records, *bytes);
            }
            Step::Settle(through) => self.world.settle(through.index(self.log.len() + 1) as u64),
            Step::Advance(seconds) => self.world.second += seconds,
            Step::Tick => self.world.tick(),
            Step::Crash(seed) => {
                self.world.crash_and_recover(Fate::Mixed, &mut Dice::new(*seed));
                self.learn();
            }
            Step::Restart => {
                self.world.stop();
                self.world.open().expect("a stopped spool opens");
                self.learn();
            }
            Step::Kill => {
                self.world.disk.kill();
                self.world.open().expect("a killed spool opens");
                self.learn();
            }
            Step::Verify => self.verify(),
            Step::Corrupt(file, bit) => self.corrupt(file, bit),
            Step::Fill(left) => {
                let used = self.world.disk.used();
                self.world.disk.set_capacity(left.map(|left| used + left));
            }
        }
    }

    fn stored(&mut self, answers: &[Result<Appended, fanbridge::spool::AppendError>]) {
        for answer in answers {
            if let Ok(Appended::Stored(position)) = answer {
                assert_eq!(position.0, self.log.len() as u64 + 1, "positions have no holes");
                self.log.push(Some(self.world.promised[&position.0]));
            }
        }
    }

    /// Two copies of one event in a group: both known, or the first stored and the second known, or
    /// both refused; never both stored.
    fn repeat(&mut self, which: &Index) {
        let known: Vec<u64> = self.log.iter().flatten().copied().collect();
        if known.is_empty() {
            return;
        }
        let first = self.world.reader().first().0;
        let number = known[which.index(known.len())];
        let fresh = self.log.iter().skip(first as usize - 1).flatten().any(|there| *there == number);
        if fresh {
            let window = self.world.options.duplicates.window.as_secs() as i64;
            let age = self.world.second - self.world.arrived[&number];
            // Around the end of the window either answer would do; then nothing is asked.
            if age < window {
                let answers = self.world.append_numbers(&[number, number]);
                assert_eq!(answers, [Ok(Appended::Duplicate), Ok(Appended::Duplicate)]);
            }
        }
    }

    fn read(&self, after: u64, records: usize, bytes: usize) {
        let reader = self.world.reader();
        let head = self.log.len() as u64;
        let Some(batch) = reader.read_now(Position(after), records, bytes).expect("the disk reads") else {
            assert!(after >= head, "there is something behind {after}");
            return;
        };
        assert!(batch.through.0 > after && batch.through.0 <= head && batch.entries.len() <= records);
        let first = reader.first().0;
        let expected: Vec<(u64, u64)> = (after + 1..=batch.through.0)
            .filter(|position| *position >= first)
            .filter_map(|position| Some((position, self.log[position as usize - 1]?)))
            .collect();
        assert_eq!(batch.damaged, batch.through.0 - after - batch.entries.len() as u64);
        let found = batch.entries.iter().map(|(position, entry)| (position.0, number_of(entry)));
        // What has been pruned may still be in memory.
        let found: Vec<(u64, u64)> = found.filter(|(position, _)| *position >= first).collect();
        assert_eq!(found, expected);
    }

    /// Takes over what the disk kept beyond what was promised, or lost of it. The first is allowed
    /// after a cut, the second only after damage, which the caller judges.
    fn learn(&mut self) -> usize {
        let first = self.world.reader().first().0;
        let (entries, _) = self.world.read_all();
        let mut log: Vec<Option<u64>> = vec![None; self.world.reader().head().0 as usize];
        for (position, entry) in entries {
            log[position as usize - 1] = Some(number_of(&entry));
        }
        let there = |position: &usize| *position + 1 >= first as usize && self.log[*position].is_some();
        let lost: Vec<usize> = (0..self.log.len())
            .filter(there)
            .filter(|&position| log.get(position).copied().flatten() != self.log[position])
            .collect();
        for &position in &lost {
            self.world.promised.remove(&(position as u64 + 1));
        }
        self.log = log;
        lost.len()
    }

    /// What is not damaged is verified, and a loss that readers have counted is not counted again.
    fn verify(&self) {
        let counted = || self.world.metrics.spool_corrupt.get();
        self.world.read_all();
        let before = counted();
        DeepVerify::unpaced(Arc::clone(&self.world.opened.as_ref().expect("it is open").reader)).run();
        assert_eq!(self.world.reader().usage().unverified_segments, 0);
        assert_eq!(counted(), before);
    }

    fn corrupt(&mut self, file: &Index, bit: &Index) {
        self.world.stop();
        let segments = self.world.disk.segments();
        if !segments.is_empty() {
            self.world.disk.tamper(&segments[file.index(segments.len())], |bytes| {
                if let Some(frames) = bytes.get_mut(HEADER_BYTES..).filter(|frames| !frames.is_empty()) {
                    let bit = bit.index(frames.len() * 8);
                    frames[bit / 8] ^= 1 << (bit % 8);
                }
            });
        }
        self.world.open().expect("a damaged spool opens");
        let lost = self.learn();
        assert!(lost <= 1, "one flipped bit takes {lost} records along");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spool_is_a_vector_that_survives(
        steps in proptest::collection::vec(step(), 1..60),
        segment_bytes in 1500_u64..8000,
        tail_bytes_max in 0_usize..8000,
        files in proptest::sample::select(&Files::ALL[..]),
    ) {
        let options = SpoolOptions {
            segment_bytes,
            tail_bytes_max,
            bytes_max: 60_000,
            retain: Duration::from_secs(30),
            ..options()
        };
        let mut model = Model { world: World::open_on(files, options), log: Vec::new() };
        for step in &steps {
            model.run(step);
        }
        model.world.check();
    }
}
