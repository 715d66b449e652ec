use super::*;
use crate::event::Outcome;
use crate::sink::in_flight::tests::record;

fn sink(dir: &std::path::Path) -> FileSink {
    FileSink::new(&FileConfig { dir: dir.join("new/topics"), rotate_bytes: 1 << 20 }).unwrap()
}

#[tokio::test]
async fn a_topic_that_would_leave_the_directory_is_rejected_and_its_neighbours_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path());
    let batch = ["fine", "..", "../../out", "a/b", "/etc/x", "", "nul\0"].map(|topic| record(topic, None));
    let outcomes = sink.publish(batch.into()).await;
    assert_eq!(outcomes[0], Outcome::Accepted);
    for outcome in &outcomes[1..] {
        assert!(
            matches!(outcome, Outcome::Rejected(reason) if reason.word == "invalid_topic"),
            "{outcome:?}"
        );
    }
    let topics = dir.path().join("new/topics");
    assert_eq!(std::fs::read_dir(&topics).unwrap().count(), 1);
    assert!(topics.join("fine/00000001.jsonl").is_file());
}

#[tokio::test]
async fn more_topics_than_open_files_are_all_written() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path());
    for _ in 0..2 {
        for topic in 0..100 {
            let outcomes = sink.publish(vec![record(&format!("topic-{topic}"), None)]).await;
            assert_eq!(outcomes, [Outcome::Accepted]);
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
    assert!(matches!(&outcomes[0], Outcome::Retry(reason) if reason.word == "io"), "{outcomes:?}");
    assert_eq!(outcomes[1], Outcome::Accepted);
    std::fs::remove_file(topics.join("blocked")).unwrap();
    assert_eq!(sink.publish(vec![record("blocked", Some("k"))]).await, [Outcome::Accepted]);
}

/// `/dev/full` takes no byte, as a full disk; it cannot be cut either.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_holds_its_records_and_resumes_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path());
    let topic = dir.path().join("new/topics/t");
    std::fs::create_dir(&topic).unwrap();
    std::os::unix::fs::symlink("/dev/full", topic.join("00000001.jsonl")).unwrap();
    for _ in 0..3 {
        let outcomes = sink.publish(vec![record("t", Some("k")), record("t", Some("k"))]).await;
        for outcome in outcomes {
            assert!(matches!(&outcome, Outcome::Retry(reason) if reason.word == "disk_full"), "{outcome:?}");
        }
    }
    std::fs::remove_file(topic.join("00000001.jsonl")).unwrap();
    let outcomes = sink.publish(vec![record("t", Some("k")), record("t", Some("k"))]).await;
    assert_eq!(outcomes, [Outcome::Accepted, Outcome::Accepted]);
    assert_eq!(std::fs::read_to_string(topic.join("00000001.jsonl")).unwrap().lines().count(), 2);
}
