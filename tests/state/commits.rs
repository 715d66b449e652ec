//! The state's one promise, under an uncooperative order of events: what committed is there, whole.

use std::fs;

use fanbridge::event::Position;
use fanbridge::state::{DeadFilter, FILE_NAME, Progress, State};
use proptest::prelude::*;

use crate::bench::refused;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Commits, repeats of commits, removals and crashes in any order: the cursor is the last one
    /// committed, and the letters are those committed and not removed, once each.
    #[test]
    fn a_model_and_the_file_agree_after_any_history(
        history in proptest::collection::vec((0_u8..5, 1_u64..6), 1..25)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut path = dir.path().join(FILE_NAME);
        let mut state = State::open(&path).unwrap();
        let (mut cursor, mut alive, mut last_id) = (0, Vec::<(u64, u64)>::new(), 0);
        let mut last_commit = None;
        for (at, (step, amount)) in history.into_iter().enumerate() {
            match step {
                0 | 1 => {
                    let dead: Vec<_> = (cursor + 1..=cursor + amount).map(|n| refused("lake", n)).collect();
                    for position in cursor + 1..=cursor + amount {
                        last_id += 1;
                        alive.push((last_id, position));
                    }
                    cursor += amount;
                    let progress = Progress { sink: "lake".into(), cursor: Position(cursor), dead };
                    state.commit(std::slice::from_ref(&progress)).unwrap();
                    last_commit = Some((alive.len(), progress));
                }
                // Repeated, as after a commit whose answer was lost; only if nothing was removed since.
                2 => if let Some((count, progress)) = &last_commit && *count == alive.len() {
                    state.commit(std::slice::from_ref(progress)).unwrap();
                },
                3 => {
                    let removed: Vec<u64> = alive.iter().take(amount as usize).map(|(id, _)| *id).collect();
                    state.remove_dead_letters(&removed).unwrap();
                    alive.drain(..removed.len());
                }
                _ => {
                    // The file as a crash leaves it: copied while it is open.
                    let crashed = dir.path().join(format!("crashed-{at}.redb"));
                    fs::copy(&path, &crashed).unwrap();
                    path = crashed;
                    state = State::open(&path).unwrap();
                }
            }
        }
        let expected = (cursor > 0).then_some(Position(cursor));
        prop_assert_eq!(state.cursor("lake").unwrap(), expected);
        let letters = state.dead_letters(&DeadFilter::default(), 0, usize::MAX).unwrap();
        let found: Vec<_> = letters.iter().map(|letter| (letter.id, letter.position.0)).collect();
        prop_assert_eq!(&found, &alive);
        let counted: u64 = state.dead_letter_counts().unwrap().iter().map(|count| count.count).sum();
        prop_assert_eq!(counted, alive.len() as u64);
    }
}
