#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use redb::StorageBackend;
use tempfile::TempDir;

use super::*;
use crate::event::{Entry, Event, Timestamp};
use crate::spool::codec;
use crate::testing::events;

mod no_room;
mod replays;
mod shapes;

impl State {
    /// Opens the state file that is there; all its bytes go through what `front` makes of them.
    pub(crate) fn open_behind(
        path: &Path,
        front: impl Fn(Box<dyn StorageBackend>) -> Box<dyn StorageBackend> + Send + Sync + 'static,
    ) -> Self {
        let (open, _) = storage::file(path).unwrap();
        let opener = Box::new(move || open().map(&front));
        Self::opened(path, StateFile::open(path, opener, None).unwrap()).unwrap()
    }
}

fn opened() -> (TempDir, State) {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(&dir.path().join(FILE_NAME)).unwrap();
    (dir, state)
}

fn event(event_type: &str) -> Entry {
    Entry::from(Event { event_type: event_type.into(), ..events::event("default:abc") })
}

fn quarantined() -> Entry {
    events::quarantined().into()
}

fn letter(sink: Option<&str>, position: u64, reason: &str) -> NewDeadLetter {
    NewDeadLetter {
        sink: sink.map(Into::into),
        reason: reason.into(),
        detail: "refused".into(),
        attempts: 1,
        first: Timestamp(1_700_000_000_123_456_789),
        last: Timestamp(1_700_000_001_000_000_000),
        position: Position(position),
        topic: sink.map(|_| "stream.video".into()),
        entry: if sink.is_some() { event("call.ring") } else { quarantined() },
    }
}

fn progress(sink: &str, cursor: u64, dead: Vec<NewDeadLetter>) -> Progress {
    Progress { sink: sink.into(), cursor: Position(cursor), dead }
}

fn all(state: &State) -> Vec<DeadLetterInfo> {
    state.dead_letters(&DeadFilter::default(), 0, usize::MAX).unwrap()
}

#[test]
fn a_sink_without_a_commit_has_no_cursor() {
    let (_dir, state) = opened();
    assert_eq!(state.cursor("lake").unwrap(), None);
    assert_eq!(state.cursors().unwrap(), []);
}

#[test]
fn a_commit_is_there_after_the_process_ends_without_closing() {
    let (dir, state) = opened();
    state.commit(&[progress("lake", 9, vec![letter(Some("lake"), 8, "too_large")])]).unwrap();

    // A copy of the file, taken while it is open, is what a crash would leave.
    let crashed = dir.path().join("crashed.redb");
    fs::copy(dir.path().join(FILE_NAME), &crashed).unwrap();
    let state = State::open(&crashed).unwrap();

    assert_eq!(state.cursor("lake").unwrap(), Some(Position(9)));
    let letters = all(&state);
    assert_eq!((letters.len(), letters[0].id, letters[0].position), (1, 1, Position(8)));
}

#[test]
fn how_far_a_bridge_had_got_can_be_told_without_touching_what_it_left() {
    let (dir, state) = opened();
    let path = dir.path().join(FILE_NAME);
    assert!(matches!(State::cursors_left(&path), Err(StateError::Locked(_))), "it is still running");
    state.commit(&[progress("lake", 9, Vec::new()), progress("slow", 2, Vec::new())]).unwrap();
    let crashed = dir.path().join("crashed.redb");
    fs::copy(&path, &crashed).unwrap();
    drop(state);
    for left in [path, crashed] {
        let before = fs::read(&left).unwrap();
        let cursors = [("lake".to_owned(), Position(9)), ("slow".to_owned(), Position(2))];
        assert_eq!(State::cursors_left(&left).unwrap(), cursors, "{}", left.display());
        assert!(fs::read(&left).unwrap() == before, "{}", left.display());
    }
    let missing = State::cursors_left(&dir.path().join("missing.redb"));
    assert!(matches!(missing, Err(StateError::Missing(_))), "{missing:?}");
}

#[test]
fn a_file_that_a_process_has_open_is_not_copied_and_a_copy_is_no_bar_to_opening_it() {
    let (dir, state) = opened();
    let path = dir.path().join(FILE_NAME);
    let copied = storage::copy(&path).map(drop);
    assert_eq!(copied.unwrap_err().kind(), io::ErrorKind::WouldBlock, "it could be torn");
    drop(state);
    let reader = State::open_to_read(&path).unwrap();
    State::open(&path).unwrap().commit(&[progress("lake", 9, Vec::new())]).unwrap();
    assert_eq!(reader.cursors().unwrap(), [], "the reader has its copy");
}

#[test]
fn a_dead_letter_comes_back_as_it_was_kept() {
    let (_dir, state) = opened();
    let kept = letter(Some("lake"), 8, "too_large");
    state.commit(&[progress("lake", 9, vec![kept.clone()])]).unwrap();

    let (info, payload) = state.dead_letter(1).unwrap().unwrap();

    assert_eq!(info, kept.info(1));
    assert_eq!(info.event_type.as_deref(), Some("call.ring"));
    assert_eq!(codec::decode(payload).unwrap(), kept.entry);
}

#[test]
fn a_repeated_commit_keeps_a_dead_letter_once() {
    let (_dir, state) = opened();
    let step = progress("lake", 9, vec![letter(Some("lake"), 8, "too_large")]);
    state.commit(&[step.clone(), step.clone()]).unwrap();
    state.commit(&[step]).unwrap();
    assert_eq!(all(&state).len(), 1);
    assert_eq!(state.dead_letter_counts().unwrap()[0].count, 1);
}

#[test]
fn the_same_position_is_a_dead_letter_of_each_sink_that_refuses_it() {
    let (_dir, state) = opened();
    state
        .commit(&[
            progress("lake", 9, vec![letter(Some("lake"), 8, "too_large")]),
            progress("billing", 8, vec![letter(Some("billing"), 8, "invalid")]),
        ])
        .unwrap();
    assert_eq!(state.cursors().unwrap(), [("billing".into(), Position(8)), ("lake".into(), Position(9))]);
    assert_eq!(all(&state).iter().map(|letter| letter.id).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_number_is_never_used_again() {
    let (_dir, state) = opened();
    state.commit(&[progress("lake", 1, vec![letter(Some("lake"), 1, "too_large")])]).unwrap();
    assert_eq!(state.remove_dead_letters(&[1, 1, 99]).unwrap(), [1]);
    state.commit(&[progress("lake", 2, vec![letter(Some("lake"), 2, "too_large")])]).unwrap();
    assert_eq!(all(&state)[0].id, 2);
    assert_eq!(state.dead_letter(1).unwrap(), None);
}

#[test]
fn filters_combine_and_pages_follow_each_other() {
    let (_dir, state) = opened();
    let dead = (1..=6)
        .map(|position| match position % 3 {
            0 => letter(None, position, "json"),
            1 => letter(Some("lake"), position, "too_large"),
            _ => letter(Some("lake"), position, "invalid"),
        })
        .collect();
    state.commit(&[progress("lake", 6, dead)]).unwrap();
    let ids = |filter: DeadFilter, after, limit| -> Vec<u64> {
        state.dead_letters(&filter, after, limit).unwrap().iter().map(|letter| letter.id).collect()
    };

    let lake = DeadFilter { sink: Some("lake".into()), ..DeadFilter::default() };
    assert_eq!(ids(lake.clone(), 0, 3), [1, 2, 4]);
    assert_eq!(ids(lake.clone(), 4, 3), [5]);
    assert_eq!(ids(DeadFilter { reason: Some("invalid".into()), ..lake }, 0, 9), [2, 5]);
    assert_eq!(ids(DeadFilter { quarantined: true, ..DeadFilter::default() }, 0, 9), [3, 6]);
    let ring = DeadFilter { event_type: Some("call.ring".into()), ..DeadFilter::default() };
    assert_eq!(ids(ring, u64::MAX, 9), [0_u64; 0]);
    let other = DeadFilter { event_type: Some("call.Ring".into()), ..DeadFilter::default() };
    assert_eq!(ids(other, 0, 9), [0_u64; 0]);
}

#[test]
fn a_letter_that_stays_takes_its_new_reason_and_its_total_along() {
    let (_dir, state) = opened();
    state.commit(&[progress("lake", 2, vec![letter(None, 1, "json"), letter(None, 2, "json")])]).unwrap();
    let bytes = state.dead_letter_counts().unwrap()[0].bytes / 2;

    let changed =
        Reassessment { id: 2, reason: "no_type".into(), detail: "no type at /type".into(), at: Timestamp(5) };
    state.reassess_dead_letters(&[changed.clone(), Reassessment { id: 7, ..changed }]).unwrap();

    let count = |reason: &str| DeadCount { sink: None, reason: reason.into(), count: 1, bytes };
    assert_eq!(state.dead_letter_counts().unwrap(), [count("json"), count("no_type")]);
    let (info, _) = state.dead_letter(2).unwrap().unwrap();
    assert_eq!((info.reason.as_str(), info.attempts, info.last), ("no_type", 2, Timestamp(5)));
}

#[test]
fn types_seen_add_up_by_verdict() {
    let (_dir, state) = opened();
    let seen = |verdict: &str, count, first, last| TypeSeen {
        provider: "stream".into(),
        event_type: "call.ring".into(),
        verdict: verdict.into(),
        count,
        first: Timestamp(first),
        last: Timestamp(last),
    };
    state.record_types(&[seen("accepted", 2, 10, 20), seen("filtered", 1, 15, 15)]).unwrap();
    state.record_types(&[seen("accepted", 3, 5, 12)]).unwrap();
    assert_eq!(state.types_seen().unwrap(), [seen("accepted", 5, 5, 20), seen("filtered", 1, 15, 15)]);
}

#[test]
fn types_beyond_the_bound_are_counted_as_other() {
    let (_dir, state) = opened();
    let seen = |name: String| TypeSeen {
        provider: "stream".into(),
        event_type: name,
        verdict: "accepted".into(),
        count: 1,
        first: Timestamp(1),
        last: Timestamp(1),
    };
    state.record_types(&[seen("x".repeat(TYPE_NAME_BYTES_MAX + 1))]).unwrap();
    let flood: Vec<_> = (0..TYPE_NAMES_MAX + 5).map(|n| seen(format!("type.{n}"))).collect();
    state.record_types(&flood).unwrap();
    state.record_types(&[seen("type.0".into())]).unwrap();

    let types = state.types_seen().unwrap();
    let count = |name: &str| types.iter().find(|seen| seen.event_type == name).map(|seen| seen.count);
    assert_eq!(types.len() as u64, TYPE_NAMES_MAX + 1);
    assert_eq!((count(OTHER_TYPE), count("type.0")), (Some(6), Some(2)));

    // What a catalogue has keeps its name all the same.
    let later = [seen("call.ring".into()), seen("call.rang".into())];
    state.record_types_beside(&later, &|provider, name| (provider, name) == ("stream", "call.ring")).unwrap();
    let types = state.types_seen().unwrap();
    let count = |name: &str| types.iter().find(|seen| seen.event_type == name).map(|seen| seen.count);
    assert_eq!((count("call.ring"), count("call.rang"), count(OTHER_TYPE)), (Some(1), None, Some(7)));
}

#[test]
fn a_file_of_a_later_format_is_refused_and_left_as_it_was() {
    let (dir, state) = opened();
    let path = dir.path().join(FILE_NAME);
    state
        .file
        .write(&[], |write| Ok(write.open_table(META)?.insert("format", FORMAT + 1).map(drop)?))
        .unwrap();
    drop(state);
    let before = fs::read(&path).unwrap();

    let refused = State::open(&path);

    assert!(matches!(refused, Err(StateError::Newer { found, .. }) if found == FORMAT + 1), "{refused:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_second_opening_is_told_that_the_file_is_in_use() {
    let (dir, _state) = opened();
    let second = State::open(&dir.path().join(FILE_NAME));
    assert!(matches!(second, Err(StateError::Locked(_))), "{second:?}");
}

#[test]
fn a_missing_file_is_not_made_by_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    assert!(matches!(State::open_existing(&path), Err(StateError::Missing(_))));
    assert!(!path.exists());
}

#[test]
fn a_start_that_was_cut_short_leaves_nothing_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    fs::write(path.with_extension("redb.new"), b"half a file").unwrap();
    let state = State::open(&path).unwrap();
    assert_eq!(state.cursors().unwrap(), []);
}

#[test]
fn bodies_are_readable_by_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, _state) = opened();
    let mode = fs::metadata(dir.path().join(FILE_NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[test]
fn a_file_that_is_something_else_is_called_damaged_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    for content in [&b"not a database"[..], &[0; 8192], &[]] {
        fs::write(&path, content).unwrap();
        let error = State::open(&path).unwrap_err();
        assert!(matches!(error, StateError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("move it away"), "{error}");
    }
}

#[test]
fn a_cursor_that_was_changed_on_disk_is_not_believed() {
    let (_dir, state) = opened();
    state.commit(&[progress("lake", 9, Vec::new())]).unwrap();
    let checksum = cursor_checksum("lake", 9);
    state
        .file
        .write(&[], |write| Ok(write.open_table(CURSORS)?.insert("lake", (10, checksum)).map(drop)?))
        .unwrap();
    assert!(matches!(state.cursor("lake"), Err(StateError::Damaged { .. })));
    assert!(matches!(state.cursors(), Err(StateError::Damaged { .. })));
}

/// Everything there is to read, so that damage is met wherever it lies.
fn read_all(path: &Path) -> Result<(), StateError> {
    let state = State::open(path)?;
    state.cursors()?;
    state.types_seen()?;
    state.dead_letter_counts()?;
    for letter in state.dead_letters(&DeadFilter::default(), 0, usize::MAX)? {
        state.dead_letter(letter.id)?;
    }
    state.commit(&[progress("lake", 99, vec![letter(Some("lake"), 99, "too_large")])])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damage_anywhere_in_the_file_never_panics(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let (dir, state) = opened();
        let dead = (1..20).map(|position| letter(Some("lake"), position, "too_large")).collect();
        state.commit(&[progress("lake", 20, dead)]).unwrap();
        drop(state);
        let path = dir.path().join(FILE_NAME);
        let mut bytes = fs::read(&path).unwrap();
        // Most of a new file is unused: aim at what is used.
        let used: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
        for (at, value) in damage {
            bytes[used[at.index(used.len())]] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        fs::write(&path, bytes).unwrap();
        let _ = read_all(&path);
    }
}

#[test]
fn letters_that_are_removed_give_their_space_back_while_the_bridge_runs() {
    let (_dir, state) = opened();
    for round in 0..20 {
        let mut big = letter(Some("lake"), 0, "too_large");
        if let Entry::Event(event) = &mut big.entry {
            let event = Arc::make_mut(event);
            event.body = vec![b'x'; 8192].into();
        }
        let dead = (0..500).map(|n| NewDeadLetter { position: Position(round * 500 + n), ..big.clone() });
        state.commit(&[progress("lake", round, dead.collect())]).unwrap();
    }
    let full = state.file_bytes().unwrap();
    assert!(full > SLACK_BYTES, "{full}");

    let ids: Vec<u64> = (2..=10_000).collect();
    let removed: usize = ids.chunks(1000).map(|ids| state.remove_dead_letters(ids).unwrap().len()).sum();
    assert_eq!(removed, 9_999);

    let left = state.file_bytes().unwrap();
    assert!(left <= SLACK_BYTES, "{left}");
    assert_eq!(all(&state).len(), 1);
    state.commit(&[progress("lake", 21, Vec::new())]).unwrap();
    assert_eq!(state.cursor("lake").unwrap(), Some(Position(21)));
}
