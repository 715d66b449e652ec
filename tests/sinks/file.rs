//! The file sink against the contract, and across a restart.

use std::path::{Path, PathBuf};

use fanbridge::sink::file::{FileSink, FileSinkOptions};
use fanbridge::sink::{CarriedAttributes, Sink};

use crate::contract;
use crate::seen::{Reader, Seen, assert_all_accepted, record};

struct Files(PathBuf);

impl Reader for Files {
    fn read(&self, topic: &str, count: usize) -> Vec<Seen> {
        let mut files: Vec<_> =
            std::fs::read_dir(self.0.join(topic)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        let seen: Vec<_> = text.lines().map(Seen::structured).collect();
        assert!(seen.len() >= count, "{} of {count}", seen.len());
        seen
    }
}

fn sink(dir: &Path) -> (FileSink, Files) {
    let config = FileSinkOptions { dir: dir.join("topics"), rotate_bytes: 64 * 1024 };
    (FileSink::new(&config, &CarriedAttributes::default()).unwrap(), Files(config.dir))
}

#[tokio::test]
async fn the_file_sink_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let (sink, files) = sink(dir.path());
    contract::an_empty_batch_has_no_outcomes(&sink).await;
    contract::a_keys_records_keep_their_order_across_pipelined_batches(&sink, &files, "order").await;
    contract::a_body_and_its_attributes_arrive_as_they_left(&sink, &files, "bytes").await;
    contract::a_record_without_a_key_stays_without(&sink, &files, "keyless").await;
    let refused = record("../out", 99, Some("key"));
    contract::a_refused_record_is_rejected_and_its_neighbours_are_accepted(
        &sink,
        &files,
        "refused",
        refused,
        "invalid_topic",
    )
    .await;
    contract::a_dropped_publication_withdraws_nothing(&sink, &files, "dropped").await;
    contract::what_is_settled_is_counted_and_known_while_nobody_waits_for_it(&sink, "counted").await;
}

#[tokio::test]
async fn files_are_rotated_by_size_and_read_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (sink, files) = sink(dir.path());
    for position in 0..400 {
        assert_all_accepted(&sink.publish(vec![record("t", position, Some("key"))]).await, 1);
    }
    assert!(std::fs::read_dir(dir.path().join("topics/t")).unwrap().count() > 2);
    let sequences: Vec<_> = files.read("t", 400).iter().map(Seen::sequence).collect();
    assert_eq!(sequences, (0..400).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_line_that_a_crash_left_unfinished_is_cut_off_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (first, files) = sink(dir.path());
    assert_all_accepted(&first.publish(vec![record("t", 1, Some("key"))]).await, 1);
    drop(first);
    let path = dir.path().join("topics/t/00000001.jsonl");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str(r#"{"specversion":"1.0","id":"id-2","#);
    std::fs::write(&path, text).unwrap();
    let (second, _) = sink(dir.path());
    assert_all_accepted(&second.publish(vec![record("t", 2, Some("key"))]).await, 1);
    let sequences: Vec<_> = files.read("t", 2).iter().map(Seen::sequence).collect();
    assert_eq!(sequences, [1, 2]);
}
