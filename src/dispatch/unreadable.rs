//! What is logged while a reader cannot read the log: a line when that begins, one a minute, and one when it
//! ends.

use std::time::Instant;

use crate::spool::ReadError;
use crate::telemetry::Episode;

/// The time in which one reader cannot read the log.
pub(super) struct Unreadable {
    reader: String,
    episode: Episode<String>,
}

impl Unreadable {
    /// The reader of this name can read the log.
    pub(super) fn new(reader: &str) -> Self {
        Self { reader: reader.to_owned(), episode: Episode::reminding() }
    }

    /// Notes that a read failed, which is tried again in a second.
    pub(super) fn failed(&mut self, error: &ReadError) {
        if let Some(news) = self.episode.happens(error.to_string(), Instant::now()) {
            tracing::error!(
                reader = self.reader,
                seconds = news.seconds(),
                %error,
                "the spool cannot be read for this reader, which tries again every second: if this goes on, \
                 mend what the error says, such as want of open files or memory"
            );
        }
    }

    /// Notes that a read succeeded.
    pub(super) fn succeeded(&mut self) {
        if let Some(seconds) = self.episode.over(Instant::now()).map(|end| end.seconds()) {
            tracing::info!(reader = self.reader, seconds, "the spool can be read for this reader again");
        }
    }
}
