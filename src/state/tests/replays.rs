//! Replays and paused sinks are remembered, also by a state file that a former release made.

use super::*;

fn replay(sink: &str, state: ReplayState) -> ReplayRow {
    ReplayRow {
        id: 0,
        replay_id: "0a1b2c3d4e5f".into(),
        sink: sink.into(),
        events: ReplaySelection {
            since: Some(Timestamp(1_700_000_000_123_456_789)),
            types: ["call.ended".to_owned()].into(),
            ..ReplaySelection::default()
        },
        ids_of: ["/stream/default".to_owned()].into(),
        select_all: true,
        rate: 1000,
        state,
        because: None,
        begun_at: Position(7),
        end: Position(99),
        read: Position(12),
        first: Position(100),
        last: Position(100),
        sent: 3,
        not_selected: 2,
        lost: 1,
        created: Timestamp(1_700_000_001_000_000_000),
        changed: Timestamp(1_700_000_002_000_000_000),
    }
}

#[test]
fn a_replay_and_a_pause_are_there_after_the_process_ends_without_closing() {
    let (dir, state) = opened();
    assert_eq!(
        (state.replays().unwrap(), state.paused().unwrap()),
        (vec![], vec![]),
        "the tables are not there"
    );
    assert_eq!(state.replay(1).unwrap(), None);
    let running = replay("lake", ReplayState::Running);
    assert_eq!(state.add_replay(&running).unwrap(), 1);
    let changed = ReplayRow { id: 1, read: Position(50), sent: 9, ..running };
    state.record_replay(&changed).unwrap();
    let since = PausedSince { since: Timestamp(1_700_000_000_000_000_000), reason: "a while".into() };
    state.pause("lake", &since).unwrap();

    let crashed = dir.path().join("crashed.redb");
    fs::copy(dir.path().join(FILE_NAME), &crashed).unwrap();
    let state = State::open(&crashed).unwrap();
    assert_eq!(state.replays().unwrap(), [changed]);
    assert_eq!(state.paused().unwrap(), [("lake".to_owned(), since)]);
    state.resume("lake").unwrap();
    state.resume("lake").unwrap();
    assert_eq!(state.paused().unwrap(), []);
}

#[test]
fn of_a_thousand_replays_the_oldest_that_has_ended_gives_way_and_no_number_is_used_again() {
    let (_dir, state) = opened();
    state.add_replay(&replay("lake", ReplayState::Running)).unwrap();
    for _ in 1..1000 {
        state.add_replay(&replay("lake", ReplayState::Done)).unwrap();
    }
    assert_eq!(state.replays().unwrap().len(), 1000);
    assert_eq!(state.add_replay(&replay("lake", ReplayState::Running)).unwrap(), 1001);
    let ids: Vec<u64> = state.replays().unwrap().iter().map(|row| row.id).collect();
    assert_eq!((ids.len(), ids[0], ids[1], ids[999]), (1000, 1, 3, 1001), "the first one runs");
}

#[test]
fn a_cancelled_replay_is_remembered_until_its_sink_has_passed_its_copies() {
    let (_dir, state) = opened();
    let cancelled = ReplayRow { last: Position(90), ..replay("lake", ReplayState::Cancelled) };
    state.add_replay(&cancelled).unwrap();
    for _ in 1..1000 {
        state.add_replay(&replay("lake", ReplayState::Done)).unwrap();
    }
    let oldest = || state.replays().unwrap().first().map(|row| row.id);
    state.commit(&[progress("lake", 89, Vec::new())]).unwrap();
    state.add_replay(&replay("lake", ReplayState::Running)).unwrap();
    assert_eq!(oldest(), Some(1));
    state.commit(&[progress("lake", 90, Vec::new())]).unwrap();
    state.add_replay(&replay("lake", ReplayState::Running)).unwrap();
    assert_eq!(oldest(), Some(3));
}

#[test]
fn a_row_that_cannot_be_read_hides_no_other_and_a_pause_stays_a_pause() {
    let (_dir, state) = opened();
    let replays = redb::TableDefinition::<u64, &[u8]>::new("replays");
    let paused = redb::TableDefinition::<&str, &[u8]>::new("paused");
    let kept = state.add_replay(&replay("lake", ReplayState::Running)).unwrap();
    let unknown = &b"{\"state\":\"of a later release\"}"[..];
    state
        .file
        .write(&[], |write| Ok(write.open_table(replays)?.insert(kept + 1, unknown).map(drop)?))
        .unwrap();
    state.file.write(&[], |write| Ok(write.open_table(paused)?.insert("lake", unknown).map(drop)?)).unwrap();
    assert_eq!(state.replays().unwrap().iter().map(|row| row.id).collect::<Vec<_>>(), [kept]);
    assert_eq!(state.unreadable_replays().unwrap(), [kept + 1]);
    assert!(matches!(state.replay(kept + 1), Err(StateError::Damaged { .. })), "who asks for it hears of it");
    let rows = state.paused().unwrap();
    assert_eq!((rows.len(), rows[0].0.as_str()), (1, "lake"), "it publishes nothing until it is resumed");
    assert!(rows[0].1.reason.contains("cannot be read"), "{rows:?}");
    state.resume("lake").unwrap();
    assert_eq!(state.paused().unwrap(), []);
    assert_eq!(state.add_replay(&replay("lake", ReplayState::Running)).unwrap(), kept + 2);
}
