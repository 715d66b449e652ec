//! What came out: readers of the sinks that know only the documented formats.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::value::RawValue;

use super::oracle::{Arrival, Ledger};
use super::signing::sha256;

/// Everything in a file sink's directory, topic by topic, in the order written.
///
/// An unfinished last line is what a crash leaves behind; it counts for nothing.
///
/// # Panics
/// When a finished line is not a structured CloudEvent.
pub fn files(dir: &Path) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    each_line(dir, |topic, line| arrivals.push(structured(topic, line)));
    arrivals
}

/// The same in the same order, as whole documents: for attributes that an arrival does not have.
///
/// # Panics
/// When a finished line is not JSON.
pub fn file_events(dir: &Path) -> Vec<serde_json::Value> {
    let mut events = Vec::new();
    each_line(dir, |_, line| {
        // Only the attributes: the data may hold numbers that this parser does not take.
        let attributes: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(line).expect("JSON");
        let attributes = attributes.into_iter().filter(|(name, _)| !name.starts_with("data"));
        let value =
            |raw: Box<RawValue>| -> serde_json::Value { serde_json::from_str(raw.get()).expect("JSON") };
        events.push(attributes.map(|(name, raw)| (name, value(raw))).collect());
    });
    events
}

/// Calls `each` with the topic and bytes of every finished line.
fn each_line(dir: &Path, mut each: impl FnMut(&str, &[u8])) {
    for topic in entries(dir) {
        for file in entries(&topic).into_iter().filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        {
            let text = fs::read(&file).expect("a topic's file can be read");
            let topic = topic.file_name().expect("a topic has a name").to_string_lossy();
            finished_lines(&text).for_each(|line| each(&topic, line));
        }
    }
}

/// The entries of a directory by name; none if there is no directory yet.
fn entries(dir: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a directory can be read").path()).collect();
    paths.sort();
    paths
}

fn finished_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let finished = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    text[..finished].split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

#[derive(serde::Deserialize)]
struct Structured<'a> {
    specversion: &'a str,
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    partitionkey: Option<String>,
    sequence: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

/// What a structured CloudEvent says, as one arrival in a lane.
///
/// # Panics
/// When it is none.
pub fn structured(topic: &str, line: &[u8]) -> Arrival {
    let event: Structured<'_> = serde_json::from_slice(line)
        .unwrap_or_else(|error| panic!("{topic}: {error} in {:?}", String::from_utf8_lossy(line)));
    assert_eq!(event.specversion, "1.0");
    let data = match (event.data, event.data_base64) {
        (Some(data), None) => data.get().as_bytes().to_vec(),
        (None, Some(text)) => base64::engine::general_purpose::STANDARD.decode(text).expect("base64"),
        _ => panic!("{topic}: an event has data or data_base64, and not both"),
    };
    Arrival {
        lane: topic.to_owned(),
        id: event.id,
        event_type: event.event_type,
        key: event.partitionkey,
        sequence: place(&event.sequence),
        sha256: sha256(&data),
    }
}

/// A `sequence`: 20 digits.
fn place(text: &str) -> u64 {
    assert_eq!(text.len(), 20, "a sequence has 20 digits, {text:?} has not");
    text.parse().expect("a sequence is a number")
}

/// One Kafka record, as kcat shows it.
#[derive(Clone, Debug)]
pub struct KafkaRecord {
    pub topic: String,
    pub partition: String,
    /// When its producer made it, or when the broker had it if the topic keeps that instead.
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub headers: BTreeMap<String, String>,
    pub value: Vec<u8>,
}

impl KafkaRecord {
    /// A header's value.
    ///
    /// # Panics
    /// When the header is missing.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.unwrap_or_else(|| panic!("no header {name} in a record of {}: {:?}", self.topic, self.headers))
    }

    /// The record as the judge wants it.
    pub fn arrival(&self) -> Arrival {
        Arrival {
            lane: format!("{}/{}", self.topic, self.partition),
            id: self.header("ce_id").into(),
            event_type: self.header("ce_type").into(),
            key: self.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned()),
            sequence: place(self.header("ce_sequence")),
            sha256: sha256(&self.value),
        }
    }
}

/// Everything in these topics, read by kcat: a consumer that shares nothing with the bridge but
/// the protocol.
///
/// # Panics
/// When kcat cannot be run or fails.
pub fn kafka(brokers: &str, topics: &[&str]) -> Vec<KafkaRecord> {
    let read = |topic: &&str| kafka_topic(brokers, topic, 60).expect("kcat reads a topic within its time");
    topics.iter().flat_map(read).collect()
}

/// Everything in a topic; `None` if kcat cannot tell within its time: a reader that asks for a
/// topic that was only just made waits for metadata and not for records.
pub fn kafka_topic(brokers: &str, topic: &str, limit_seconds: u32) -> Option<Vec<KafkaRecord>> {
    // Key and value are preceded by their lengths, so whatever bytes they hold, they are read whole.
    const FORMAT: &str = r"%p\n%T\n%K\n%k\n%h\n%S\n%s\n";
    const TIMED_OUT: i32 = 124;
    let output = Command::new("timeout")
        .args([
            &limit_seconds.to_string(),
            "kcat",
            "-C",
            "-q",
            "-e",
            "-o",
            "beginning",
            "-b",
            brokers,
            "-t",
            topic,
            "-f",
            FORMAT,
        ])
        .args(["-X", "check.crcs=true", "-X", "isolation.level=read_committed"])
        // At a topic's end the broker would let its answer wait for more, for half a second.
        .args(["-X", "fetch.wait.max.ms=10"])
        .stdin(Stdio::null())
        .output()
        .expect("kcat is installed");
    if output.status.code() == Some(TIMED_OUT) {
        return None;
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kcat could not read {topic}: {errors}");
    Some(kcat_records(topic, &output.stdout))
}

fn kcat_records(topic: &str, mut output: &[u8]) -> Vec<KafkaRecord> {
    let mut records = Vec::new();
    while !output.is_empty() {
        let partition = text(line(&mut output));
        let timestamp_ms = text(line(&mut output)).parse().expect("kcat writes a time");
        let key = sized(&mut output);
        let headers = text(line(&mut output));
        let headers = headers.split(',').filter_map(|header| header.split_once('='));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let value = sized(&mut output).unwrap_or_default();
        records.push(KafkaRecord { topic: topic.to_owned(), partition, timestamp_ms, key, headers, value });
    }
    records
}

/// A length in a line, then that many bytes in a line; a length of -1 is nothing at all.
fn sized(output: &mut &[u8]) -> Option<Vec<u8>> {
    let length: i64 = text(line(output)).parse().expect("kcat writes a length");
    let (bytes, rest) = output.split_at(usize::try_from(length).unwrap_or(0));
    *output = rest;
    assert!(line(output).is_empty(), "kcat's length fits what follows");
    (length >= 0).then(|| bytes.to_vec())
}

fn line<'a>(output: &mut &'a [u8]) -> &'a [u8] {
    let end = output.iter().position(|byte| *byte == b'\n').expect("kcat ends its lines");
    let (line, rest) = output.split_at(end);
    *output = &rest[1..];
    line
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("kcat's fields are text")
}

/// Reads a sink again and again until every promised event is there; then what it read last.
///
/// Returns what there is when nothing new has arrived for `patience`: the judge says what is missing.
pub fn drained(ledger: &Ledger, patience: Duration, mut read: impl FnMut() -> Vec<Arrival>) -> Vec<Arrival> {
    let mut arrivals = read();
    let mut last_progress = Instant::now();
    while !ledger.missing(arrivals.iter().map(|arrival| arrival.id.as_str())).is_empty() {
        if last_progress.elapsed() > patience {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
        let now = read();
        if now.len() > arrivals.len() {
            last_progress = Instant::now();
        }
        arrivals = now;
    }
    arrivals
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"specversion":"1.0","id":"a","type":"call.created","partitionkey":"k","sequence":"00000000000000000007","data":{"n": 1.0e0,"type":"call.created"}}"#;

    #[test]
    fn files_are_read_in_order_and_a_torn_end_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let topic = dir.path().join("stream.video");
        fs::create_dir(&topic).unwrap();
        let second = LINE.replace(r#""id":"a""#, r#""id":"b""#);
        fs::write(topic.join("00000001.jsonl"), format!("{LINE}\n{}", &LINE[..40])).unwrap();
        fs::write(topic.join("00000002.jsonl"), format!("{second}\n")).unwrap();
        let arrivals = files(dir.path());
        let ids: Vec<_> = arrivals.iter().map(|arrival| arrival.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!((arrivals[0].sequence, arrivals[0].lane.as_str()), (7, "stream.video"));
        assert_eq!(arrivals[0].sha256, sha256(br#"{"n": 1.0e0,"type":"call.created"}"#));
    }

    #[test]
    #[should_panic(expected = "stream.video")]
    fn a_broken_line_amid_others_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("stream.video")).unwrap();
        fs::write(dir.path().join("stream.video/1.jsonl"), format!("{}{LINE}\n", &LINE[..40])).unwrap();
        files(dir.path());
    }

    #[test]
    fn records_are_told_apart_whatever_bytes_they_hold() {
        let output = b"2\n17\n3\na\nb\nce_id=x,ce_type=t,ce_sequence=00000000000000000001\n5\n{\n\n,}\n0\n18\n-1\n\nce_id=y\n0\n\n";
        let records = kcat_records("topic", output);
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].key.as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(records[0].value, b"{\n\n,}");
        assert_eq!((records[0].header("ce_type"), records[0].partition.as_str()), ("t", "2"));
        assert_eq!((records[1].key.as_deref(), records[1].header("ce_id")), (None, "y"));
        assert_eq!((records[0].timestamp_ms, records[1].timestamp_ms), (17, 18));
    }
}
