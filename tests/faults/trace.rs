//! Reads a system-call trace for one question: was every 2xx preceded by a successful fdatasync of
//! the very event it answers?

use std::collections::{BTreeMap, BTreeSet};

/// The calls that a trace must hold.
pub const CALLS: &str = "trace=read,readv,recvfrom,recvmsg,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,\
                         fdatasync,fsync,sync_file_range";

/// How an event is recognised in a trace: put this, with its number, into the event's key.
pub fn marker(number: u64) -> String {
    format!("marker-{number:06}")
}

/// One system call. Lines of the trace are moments: what returned in an earlier line than the
/// other was entered had ended before the other began.
#[derive(Debug)]
struct Call {
    name: String,
    descriptor: String,
    /// Arguments and result as strace writes them.
    text: String,
    entered: usize,
    returned: usize,
    succeeded: bool,
}

impl Call {
    fn parse(line: &str, entered: usize, returned: usize) -> Option<Self> {
        let (name, text) = line.split_once('(')?;
        let descriptor = text.split([',', ')']).next()?.trim().to_owned();
        let result = text.rsplit_once(" = ").map_or("-1", |(_, result)| result);
        let succeeded = !result.starts_with('-') && !result.starts_with('?');
        Some(Self { name: name.to_owned(), descriptor, text: text.to_owned(), entered, returned, succeeded })
    }

    fn markers(&self) -> BTreeSet<String> {
        let found = self.text.match_indices("marker-");
        found.filter_map(|(at, _)| self.text.get(at..at + marker(0).len())).map(Into::into).collect()
    }

    fn makes_entry(&self) -> bool {
        self.name.starts_with("mkdir") || (self.name.starts_with("open") && self.text.contains("O_CREAT"))
    }

    /// The first path among its arguments.
    fn path(&self) -> Option<&str> {
        self.text.split('"').nth(1)
    }

    fn reads(&self) -> bool {
        self.name.starts_with("read") || self.name.starts_with("recv")
    }

    fn is_success_answer(&self) -> bool {
        !self.reads() && self.text.contains("HTTP/1.1 2")
    }
}

/// What a trace shows.
#[derive(Debug, Default)]
pub struct Findings {
    /// Events whose 2xx followed an fdatasync of theirs.
    pub in_order: BTreeSet<String>,
    /// Events whose 2xx did not.
    pub premature: BTreeSet<String>,
    /// fdatasync calls that succeeded.
    pub synced: usize,
    /// fdatasync calls that failed.
    pub failed: usize,
}

/// Examines a trace written by `strace -f -o`.
pub fn examine(trace: &str) -> Findings {
    let calls = calls(trace);
    let syncs: Vec<&Call> = calls.iter().filter(|call| call.name == "fdatasync").collect();
    let mut findings = Findings {
        synced: syncs.iter().filter(|sync| sync.succeeded).count(),
        failed: syncs.iter().filter(|sync| !sync.succeeded).count(),
        ..Findings::default()
    };
    for answer in calls.iter().filter(|call| call.is_success_answer()) {
        let Some(event) = last_request(&calls, answer) else { continue };
        let written = |call: &&Call| !call.reads() && call.succeeded && call.markers().contains(&event);
        let durable = calls.iter().filter(written).any(|write| {
            syncs.iter().any(|sync| {
                sync.succeeded
                    && sync.descriptor == write.descriptor
                    && write.returned < sync.entered
                    && sync.returned < answer.entered
            })
        });
        if durable {
            findings.in_order.insert(event)
        } else {
            findings.premature.insert(event)
        };
    }
    findings
}

/// The calls that a trace must hold, with the paths of descriptors (`-y`), for [`durable_entries`].
pub const ENTRY_CALLS: &str = "trace=mkdir,mkdirat,open,openat,fsync,write,writev,sendto,sendmsg";

/// Directories and files that were made below a directory before the first delivery was accepted, each
/// with whether the entry in its parent was durable by then.
pub fn durable_entries(trace: &str, below: &str) -> BTreeMap<String, bool> {
    let calls = calls(trace);
    let accepted = |call: &&Call| call.is_success_answer() && call.text.contains("accepted");
    let answer = calls.iter().find(accepted).expect("the trace holds the answer to a delivery");
    let made =
        calls.iter().filter(|call| call.succeeded && call.makes_entry() && call.returned < answer.entered);
    let entries =
        made.filter_map(|call| Some((call.path()?, call))).filter(|(path, _)| path.starts_with(below));
    let durable = |(path, made): (&str, &Call)| {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let synced = calls.iter().any(|sync| {
            sync.succeeded
                && sync.name == "fsync"
                && sync.descriptor.ends_with(&format!("<{parent}>"))
                && made.returned < sync.entered
                && sync.returned < answer.entered
        });
        (path.to_owned(), synced)
    };
    entries.map(durable).collect()
}

/// The event of the request that was read last on an answer's connection.
fn last_request(calls: &[Call], answer: &Call) -> Option<String> {
    let read =
        |call: &&Call| call.reads() && call.descriptor == answer.descriptor && call.returned < answer.entered;
    calls
        .iter()
        .filter(read)
        .filter_map(|read| Some((read.returned, read.markers().pop_last()?)))
        .max()
        .map(|r| r.1)
}

/// The calls of all threads, those that were interrupted by another thread's put together again.
fn calls(trace: &str) -> Vec<Call> {
    let mut unfinished: BTreeMap<&str, (String, usize)> = BTreeMap::new();
    let mut calls = Vec::new();
    for (moment, line) in trace.lines().enumerate() {
        let Some((thread, line)) = line.split_once(' ') else { continue };
        let line = line.trim_start();
        if let Some(start) = line.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (start.to_owned(), moment));
        } else if line.starts_with("<... ") {
            let Some((start, entered)) = unfinished.remove(thread) else { continue };
            let rest = line.split_once("resumed>").map_or("", |(_, rest)| rest);
            calls.extend(Call::parse(&(start + rest), entered, moment));
        } else {
            calls.extend(Call::parse(line, moment, moment));
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str =
        r#"7 recvfrom(9, "POST /in/s HTTP/1.1\r\n\r\n{\"k\":\"marker-000001\"}", 8192, 0, NULL, NULL) = 44"#;
    const WRITE: &str = r#"8 write(5, "\1\0{\"k\":\"marker-000001\"}", 22) = 22"#;
    const SYNC: &str = "8 fdatasync(5) = 0";
    const ANSWER: &str = r#"7 writev(9, [{iov_base="HTTP/1.1 200 OK\r\n", iov_len=17}], 1) = 17"#;

    fn premature(lines: &[&str]) -> usize {
        let findings = examine(&lines.join("\n"));
        assert_eq!(findings.in_order.len() + findings.premature.len(), 1, "the answer is found");
        findings.premature.len()
    }

    #[test]
    fn an_answer_after_its_sync_is_in_order() {
        assert_eq!(premature(&[REQUEST, WRITE, SYNC, ANSWER]), 0);
    }

    #[test]
    fn an_answer_without_before_or_despite_its_sync_is_premature() {
        assert_eq!(premature(&[REQUEST, WRITE, ANSWER]), 1);
        assert_eq!(premature(&[REQUEST, WRITE, ANSWER, SYNC]), 1);
        assert_eq!(premature(&[REQUEST, SYNC, WRITE, ANSWER]), 1);
        let failed = "8 fdatasync(5) = -1 EIO (Input/output error) (INJECTED)";
        assert_eq!(premature(&[REQUEST, WRITE, failed, ANSWER]), 1);
        assert_eq!(premature(&[REQUEST, WRITE, "8 fdatasync(6) = 0", ANSWER]), 1, "another file");
        let other = WRITE.replace("000001", "000002");
        assert_eq!(premature(&[REQUEST, &other, SYNC, ANSWER]), 1, "another event");
    }

    #[test]
    fn a_sync_that_was_under_way_does_not_cover_a_write_beside_it() {
        let (begun, ended) = ("8 fdatasync(5 <unfinished ...>", "8 <... fdatasync resumed>) = 0");
        let write = WRITE.replace("8 write", "6 write");
        assert_eq!(premature(&[REQUEST, &write, begun, ended, ANSWER]), 0);
        assert_eq!(premature(&[REQUEST, begun, &write, ended, ANSWER]), 1);
        assert_eq!(premature(&[REQUEST, &write, begun, ANSWER, ended]), 1);
    }

    #[test]
    fn an_entry_is_durable_once_its_directory_was_synced_after_it_and_before_the_answer() {
        const MADE: &str = r#"7 openat(AT_FDCWD</>, "/s/1.log", O_RDWR|O_CREAT|O_EXCL, 0600) = 5</s/1.log>"#;
        const SYNC: &str = "8 fsync(6</s>) = 0";
        let answer =
            r#"7 writev(9, [{iov_base="HTTP/1.1 200 OK\r\n\r\n{\"verdict\":\"accepted\"}"}], 1) = 40"#;
        let durable =
            |lines: &[&str]| durable_entries(&lines.join("\n"), "/s").into_values().collect::<Vec<_>>();
        assert_eq!(durable(&[MADE, SYNC, answer]), [true]);
        assert_eq!(durable(&[SYNC, MADE, answer]), [false]);
        assert_eq!(durable(&[MADE, answer, SYNC]), [false]);
        assert_eq!(durable(&[MADE, "8 fsync(6</s>) = -1 EIO (x)", answer]), [false]);
        assert_eq!(durable(&[MADE, "8 fsync(6</s/1.log>) = 0", answer]), [false]);
        assert_eq!(durable(&[SYNC, answer, MADE]), [false; 0], "of no concern yet");
    }

    #[test]
    fn a_read_that_was_interrupted_is_put_together() {
        let (head, tail) = REQUEST.split_once("\"POST").unwrap();
        let begun = format!("{head} <unfinished ...>");
        let ended = format!("7 <... recvfrom resumed>\"POST{tail}");
        assert_eq!(premature(&[&begun, "8 fsync(3) = 0", &ended, WRITE, SYNC, ANSWER]), 0);
    }
}
