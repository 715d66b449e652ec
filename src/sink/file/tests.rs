use super::*;
use crate::event::{Placement, Position};
use crate::sink::outcomes::tests::record;

fn new_sink(config: &FileSinkOptions) -> Result<FileSink, UnusableDirectory> {
    FileSink::new(config, &CarriedAttributes::default())
}

fn sink(dir: &std::path::Path) -> FileSink {
    new_sink(&FileSinkOptions { dir: dir.join("new/topics"), rotate_bytes: 1 << 20 }).unwrap()
}

#[tokio::test]
async fn a_topic_that_would_leave_the_directory_is_rejected_and_its_neighbours_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path());
    let batch = ["fine", "..", "../../out", "a/b", "/etc/x", "", "nul\0"].map(|topic| record(topic, None));
    let outcomes = sink.publish(batch.into()).await;
    assert!(outcomes[0].is_accepted(), "{outcomes:?}");
    for outcome in &outcomes[1..] {
        assert!(
            matches!(outcome, Outcome::Rejected(reason) if reason.cause == Cause::INVALID_TOPIC),
            "{outcome:?}"
        );
    }
    let topics = dir.path().join("new/topics");
    let made = std::fs::read_dir(&topics).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(made.count(), 1);
    assert!(topics.join("fine/00000001.jsonl").is_file());
}

#[tokio::test]
async fn more_topics_than_open_files_are_all_written() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path());
    for _ in 0..2 {
        for topic in 0..100 {
            let outcomes = sink.publish(vec![record(&format!("topic-{topic}"), None)]).await;
            assert!(outcomes[0].is_accepted(), "{outcomes:?}");
        }
    }
    for topic in 0..100 {
        let file = dir.path().join(format!("new/topics/topic-{topic}/00000001.jsonl"));
        assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 2);
    }
}

#[tokio::test]
async fn a_topic_that_cannot_be_opened_goes_again_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path());
    let topics = dir.path().join("new/topics");
    std::fs::write(topics.join("blocked"), b"a file where a directory should be").unwrap();
    let outcomes = sink.publish(vec![record("blocked", Some("k")), record("free", Some("k"))]).await;
    assert!(matches!(&outcomes[0], Outcome::Retry(reason) if reason.cause == Cause::IO), "{outcomes:?}");
    assert!(outcomes[1].is_accepted(), "{outcomes:?}");
    std::fs::remove_file(topics.join("blocked")).unwrap();
    assert!(sink.publish(vec![record("blocked", Some("k"))]).await[0].is_accepted());
}

#[tokio::test]
async fn a_symbolic_link_named_like_a_topics_file_is_not_written_through() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path());
    let topic = dir.path().join("new/topics/t");
    let (link, elsewhere) = (topic.join("00000001.jsonl"), dir.path().join("elsewhere"));
    std::fs::create_dir(&topic).unwrap();
    std::fs::write(&elsewhere, "not a whole line, and not the sink's").unwrap();
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    let outcomes = sink.publish(vec![record("t", Some("k"))]).await;
    let said = format!("{outcomes:?}");
    assert!(matches!(&outcomes[0], Outcome::Retry(reason) if reason.cause == Cause::IO), "{said}");
    assert!(said.contains("is a symbolic link"), "{said}");
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "not a whole line, and not the sink's");
    std::fs::remove_file(&link).unwrap();
    assert!(sink.publish(vec![record("t", Some("k"))]).await[0].is_accepted());
}

#[tokio::test]
async fn a_directory_has_one_sink_until_that_one_has_written_all_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let first = sink(dir.path());
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("new/topics"), &link).unwrap();
    let config = FileSinkOptions { dir: link, rotate_bytes: 1 << 20 };
    let second = new_sink(&config).err();
    assert!(matches!(second, Some(UnusableDirectory::Taken(_))), "{second:?}");
    drop(first.publish(vec![record("t", Some("k"))]));
    drop(first);
    let second = new_sink(&config).unwrap();
    assert!(second.publish(vec![record("t", Some("k"))]).await[0].is_accepted());
    let file = dir.path().join("new/topics/t/00000001.jsonl");
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn each_line_is_reported_where_it_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let sink = new_sink(&FileSinkOptions { dir: dir.path().into(), rotate_bytes: 4000 }).unwrap();
    let numbered = |position: u64| {
        let record = record(["one", "two"][usize::from(position.is_multiple_of(3))], Some("k"));
        Arc::new(Record { position: Position(position), ..(*record).clone() })
    };
    let mut files_used = std::collections::BTreeSet::new();
    for positions in [1..8, 8..9, 9..30, 30..60] {
        let batch: Vec<_> = positions.map(numbered).collect();
        for (record, outcome) in batch.iter().zip(sink.publish(batch.clone()).await) {
            let Outcome::Accepted(Placement::Line { file, offset }) = outcome else { panic!("{outcome:?}") };
            let path = dir.path().join(&*record.topic).join(format!("{file:08}.jsonl"));
            let text = std::fs::read_to_string(&path).unwrap();
            let (before, rest) = text.split_at(usize::try_from(offset).unwrap());
            assert!(before.is_empty() || before.ends_with('\n'), "{path:?} {offset}");
            let line = rest.lines().next().unwrap();
            assert!(line.contains(&format!(r#""sequence":"{:020}""#, record.position.0)), "{line}");
            files_used.insert(path);
        }
    }
    assert!(files_used.len() > 3, "{files_used:?}");
}
