//! The thread that writes a file sink's files: it takes the waiting batches, appends their records
//! topic by topic, syncs each file, and reports the outcomes.

use std::collections::HashMap;
use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::FileSinkOptions;
use super::Work;
use super::topic_file::TopicFile;
use crate::event::{Placement, Record};
use crate::routing::kafka_topic_problem;
use crate::scarce::Scarce;
use crate::sink::envelope;
use crate::sink::outcomes::{BatchNumber, OutcomeTable, held};
use crate::sink::{CarriedAttributes, Cause, Outcome};

/// Body bytes of one group, which is written before its fdatasync. Bounds the buffers and the wait of
/// the group's first record.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Most files kept open at once. A configuration can name more topics than that.
pub(crate) const FILES_OPEN_MAX: usize = 64;

pub(super) struct FileWriter {
    dir: PathBuf,
    rotate_bytes: u64,
    carried: CarriedAttributes,
    outcomes: Arc<OutcomeTable>,
    files: HashMap<Arc<str>, OpenFile>,
    /// Number of groups written, to find the file that was used longest ago.
    group: u64,
}

struct OpenFile {
    file: TopicFile,
    last_group: u64,
}

/// The lines of one topic in a group, and the records whose outcome depends on them.
#[derive(Default)]
struct TopicLines {
    text: Vec<u8>,
    waiting: Vec<RecordLine>,
}

/// The line of one record of a batch.
struct RecordLine {
    batch: BatchNumber,
    index: usize,
    /// Bytes of the text in front of the line.
    start: usize,
}

impl RecordLine {
    /// Where the line is, if the text begins there.
    fn place(&self, text: Placement) -> Placement {
        match text {
            Placement::Line { file, offset } => Placement::Line { file, offset: offset + self.start as u64 },
            other => other,
        }
    }
}

impl FileWriter {
    pub fn new(config: &FileSinkOptions, carried: CarriedAttributes, outcomes: Arc<OutcomeTable>) -> Self {
        let (dir, rotate_bytes) = (config.dir.clone(), config.rotate_bytes);
        Self { dir, rotate_bytes, carried, outcomes, files: HashMap::new(), group: 0 }
    }

    /// Writes batches until the sink is dropped.
    pub fn run(mut self, work: &Receiver<Work>) {
        while let Ok(first) = work.recv() {
            let bytes =
                |work: &Work| work.records.iter().map(|record| record.event.body.len()).sum::<usize>();
            let mut group_bytes = bytes(&first);
            let mut group = vec![first];
            while group_bytes < GROUP_BYTES_MAX
                && let Ok(next) = work.try_recv()
            {
                group_bytes += bytes(&next);
                group.push(next);
            }
            self.write(group);
        }
    }

    fn write(&mut self, group: Vec<Work>) {
        self.group += 1;
        let mut topics: HashMap<Arc<str>, TopicLines> = HashMap::new();
        for work in &group {
            for (index, record) in work.records.iter().enumerate() {
                let refused = refusal(record, self.outcomes.is_held(record));
                if let Some(outcome) = refused {
                    self.outcomes.settle(work.number, index, outcome);
                    continue;
                }
                let lines = topics.entry(Arc::clone(&record.topic)).or_default();
                lines.waiting.push(RecordLine { batch: work.number, index, start: lines.text.len() });
                envelope::structured_line(record, &self.carried, &mut lines.text);
            }
        }
        for (topic, lines) in topics {
            let appended = self.append(&topic, &lines.text);
            for line in lines.waiting {
                let accepted = |text: &Placement| Outcome::Accepted(line.place(*text));
                let outcome = appended.as_ref().map_or_else(outcome_of, accepted);
                self.outcomes.settle(line.batch, line.index, outcome);
            }
        }
        for work in group {
            self.outcomes.seal(work.number);
        }
    }

    /// Returns where the first line of the text is.
    fn append(&mut self, topic: &Arc<str>, text: &[u8]) -> std::io::Result<Placement> {
        if !self.files.contains_key(topic) {
            self.make_room();
            let file = TopicFile::open(self.dir.join(&**topic))?;
            self.files.insert(Arc::clone(topic), OpenFile { file, last_group: self.group });
        }
        let open = self.files.get_mut(topic).expect("the file was opened above");
        open.last_group = self.group;
        let appended = open.file.append(text, self.rotate_bytes);
        if appended.is_err() && !open.file.is_distrusted() {
            self.files.remove(topic);
        }
        appended
    }

    /// Closes the file that was used longest ago if [`FILES_OPEN_MAX`] are open.
    fn make_room(&mut self) {
        if self.files.len() < FILES_OPEN_MAX {
            return;
        }
        let oldest =
            self.files.iter().min_by_key(|(_, open)| open.last_group).map(|(topic, _)| Arc::clone(topic));
        if let Some(topic) = oldest {
            self.files.remove(&topic);
        }
    }
}

/// The outcome of a record that is not written, `None` for one that is. A topic with a path in its
/// name could leave the directory; the configuration refuses such topics, and this check does so
/// again.
fn refusal(record: &Record, is_held: bool) -> Option<Outcome> {
    match kafka_topic_problem(&record.topic) {
        Some(problem) => Some(Outcome::rejected(Cause::INVALID_TOPIC, problem)),
        None => is_held.then(held),
    }
}

fn outcome_of(error: &Error) -> Outcome {
    let cause = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Cause::DISK_FULL,
        // RLIMIT_FSIZE, or the file system's own limit: freeing space does not help.
        ErrorKind::FileTooLarge => Cause::FILE_SIZE_LIMIT,
        _ => Scarce::of(error).map_or(Cause::IO, Cause::from),
    };
    Outcome::retry(cause, error.to_string())
}
